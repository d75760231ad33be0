use prost_types::{Duration as Span, FieldMask};

use super::*;

const AT: FieldPath<'static> = FieldPath::Top("subscription");
const MASK: FieldPath<'static> = FieldPath::Top("update_mask");

fn seconds(seconds: i64) -> Option<Span> {
    Some(Span { seconds, nanos: 0 })
}

fn backoff(min: Option<Span>, max: Option<Span>) -> pb::Subscription {
    pb::Subscription { backoff: Some(pb::Backoff { min, max }), ..Default::default() }
}

fn config(message: pb::Subscription) -> SubscriptionConfig {
    SubscriptionConfig::from_message(&message, &AT).unwrap()
}

fn fields(faults: Result<SubscriptionConfig, FieldFaults>) -> Vec<String> {
    faults.unwrap_err().kept.into_iter().map(|fault| fault.field).collect()
}

/// Every field set, none as it is by default.
fn unusual() -> pb::Subscription {
    pb::Subscription {
        name: "oms".into(),
        filter: Some(pb::Filter {
            accounts: vec!["acme".into()],
            skus: vec!["A".into(), "B".into()],
            ..Default::default()
        }),
        mode: pb::SubscriptionMode::Exclusive as i32,
        lease_duration: Some(Span { seconds: 5, nanos: 1 }),
        max_attempts: Some(0),
        backoff: Some(pb::Backoff { min: seconds(0), max: seconds(3) }),
        hold_retention: Some(false),
        paused: Some(true),
        feed: pb::Feed::OrderUpdates as i32,
        ..Default::default()
    }
}

#[test]
fn what_is_not_asked_for_has_a_default() {
    let expected = SubscriptionConfig {
        feed: FeedName::CancelIntents,
        filter: pb::Filter::default(),
        mode: OrderingMode::KeyOrdered,
        lease_duration: Duration::from_secs(30),
        max_attempts: 20,
        backoff_min: Duration::from_secs(1),
        backoff_max: Duration::from_secs(300),
        hold_retention: true,
        paused: false,
        client: String::new(),
    };
    assert_eq!(config(pb::Subscription::default()), expected);
    assert_eq!(SubscriptionConfig::default(), expected);
    assert!(expected.wanted().is_all());
}

#[test]
fn what_is_asked_for_is_taken() {
    let expected = SubscriptionConfig {
        feed: FeedName::OrderUpdates,
        filter: unusual().filter.unwrap(),
        mode: OrderingMode::Exclusive,
        lease_duration: Duration::new(5, 1),
        max_attempts: 0,
        backoff_min: Duration::ZERO,
        backoff_max: Duration::from_secs(3),
        hold_retention: false,
        paused: true,
        client: String::new(),
    };
    assert_eq!(config(unusual()), expected);
    assert_eq!(expected.wanted(), EventFilter::new(&expected.filter, &AT).unwrap());
    for (mode, read) in [
        (0, OrderingMode::KeyOrdered),
        (1, OrderingMode::KeyOrdered),
        (2, OrderingMode::Unordered),
        (3, OrderingMode::Exclusive),
    ] {
        assert_eq!(config(pb::Subscription { mode, ..Default::default() }).mode, read);
    }
}

#[test]
fn the_longest_backoff_is_never_shorter_than_the_shortest() {
    assert_eq!(config(backoff(seconds(400), None)).backoff_max, Duration::from_secs(400));
    assert_eq!(config(backoff(seconds(200), None)).backoff_max, Duration::from_secs(300));
    assert_eq!(config(backoff(seconds(400), seconds(400))).backoff_max, Duration::from_secs(400));
    assert_eq!(
        fields(SubscriptionConfig::from_message(&backoff(seconds(400), seconds(399)), &AT)),
        ["subscription.backoff.max"]
    );
    assert_eq!(
        fields(SubscriptionConfig::from_message(&backoff(None, Some(Span { seconds: 0, nanos: 999 })), &AT)),
        ["subscription.backoff.max"]
    );
}

#[test]
fn bounds_are_kept() {
    let lease = |lease_duration| pb::Subscription { lease_duration, ..Default::default() };
    let attempts = |n| pb::Subscription { max_attempts: Some(n), ..Default::default() };
    for fine in [
        lease(seconds(5)),
        lease(seconds(600)),
        attempts(0),
        attempts(1_000),
        backoff(seconds(0), seconds(0)),
        backoff(seconds(3_600), seconds(86_400)),
    ] {
        assert!(SubscriptionConfig::from_message(&fine, &AT).is_ok(), "{fine:?}");
    }
    let nearly = |seconds, nanos| Some(Span { seconds, nanos });
    for (wrong, field) in [
        (lease(nearly(4, 999_999_999)), "subscription.lease_duration"),
        (lease(nearly(600, 1)), "subscription.lease_duration"),
        (lease(seconds(-30)), "subscription.lease_duration"),
        (lease(seconds(i64::MAX)), "subscription.lease_duration"),
        (lease(nearly(i64::MIN, i32::MIN)), "subscription.lease_duration"),
        (lease(nearly(i64::MAX, i32::MAX)), "subscription.lease_duration"),
        (attempts(1_001), "subscription.max_attempts"),
        (backoff(seconds(3_601), None), "subscription.backoff.min"),
        (backoff(seconds(-1), None), "subscription.backoff.min"),
        (backoff(None, seconds(86_401)), "subscription.backoff.max"),
        (backoff(None, seconds(-1)), "subscription.backoff.max"),
        (pb::Subscription { mode: 4, ..Default::default() }, "subscription.mode"),
        (pb::Subscription { mode: -1, ..Default::default() }, "subscription.mode"),
    ] {
        assert_eq!(fields(SubscriptionConfig::from_message(&wrong, &AT)), [field], "{wrong:?}");
    }
}

#[test]
fn all_faults_are_told_at_once() {
    let wrong = pb::Subscription {
        filter: Some(pb::Filter { skus: vec![String::new()], ..Default::default() }),
        mode: 9,
        lease_duration: seconds(1),
        max_attempts: Some(5_000),
        backoff: Some(pb::Backoff { min: seconds(-1), max: seconds(100_000) }),
        ..Default::default()
    };
    assert_eq!(
        fields(SubscriptionConfig::from_message(&wrong, &AT)),
        [
            "subscription.filter.skus[0]",
            "subscription.mode",
            "subscription.lease_duration",
            "subscription.max_attempts",
            "subscription.backoff.min",
            "subscription.backoff.max",
        ]
    );
}

#[test]
fn it_comes_back_from_its_message_and_from_the_store() {
    for message in [pb::Subscription::default(), unusual(), backoff(seconds(2_000), None)] {
        let config = config(message);
        assert_eq!(SubscriptionConfig::from_message(&config.to_message(), &AT), Ok(config.clone()));
        assert_eq!(SubscriptionConfig::decode(&config.encode()), Ok(config));
    }
    assert!(SubscriptionConfig::decode(&[0xff]).is_err());
    let told = config(unusual()).to_message();
    assert_eq!(told, pb::Subscription { name: String::new(), ..unusual() });
}

type Change = fn(&mut pb::Subscription);

/// One change of each field.
const CHANGES: [(&str, Change); 7] = [
    ("filter", |m| m.filter = Some(pb::Filter::default())),
    ("lease_duration", |m| m.lease_duration = seconds(6)),
    ("max_attempts", |m| m.max_attempts = Some(3)),
    ("backoff", |m| m.backoff = Some(pb::Backoff { min: seconds(1), max: None })),
    ("backoff", |m| m.backoff = Some(pb::Backoff { min: None, max: seconds(4) })),
    ("hold_retention", |m| m.hold_retention = Some(true)),
    ("paused", |m| m.paused = Some(false)),
];

#[test]
fn only_fields_that_are_set_must_be_the_same() {
    let ours = config(unusual());
    assert!(ours.agrees_with(&pb::Subscription::default()));
    assert!(ours.agrees_with(&unusual()));
    for (field, change) in CHANGES {
        let mut other = pb::Subscription::default();
        change(&mut other);
        assert!(!ours.agrees_with(&other), "{field}");
        assert!(
            SubscriptionConfig::default().agrees_with(&other)
                == matches!(field, "filter" | "hold_retention" | "paused")
                || field == "backoff"
        );
    }
    let mode = |mode| pb::Subscription { mode, ..Default::default() };
    assert!(ours.agrees_with(&mode(3)) && !ours.agrees_with(&mode(1)) && !ours.agrees_with(&mode(77)));
    let feed = |feed| pb::Subscription { feed, ..Default::default() };
    assert!(ours.agrees_with(&feed(2)) && !ours.agrees_with(&feed(1)) && !ours.agrees_with(&feed(77)));
    assert!(ours.agrees_with(&backoff(seconds(0), None)) && ours.agrees_with(&backoff(None, seconds(3))));
}

#[test]
fn filters_are_the_same_when_they_want_the_same() {
    let ours = config(unusual());
    let asked = |accounts: &[&str], skus: &[&str]| {
        let texts = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
        let filter = pb::Filter { accounts: texts(accounts), skus: texts(skus), ..Default::default() };
        pb::Subscription { filter: Some(filter), ..Default::default() }
    };
    assert!(ours.agrees_with(&asked(&["acme"], &["B", "A", "B"])), "in another order");
    assert!(ours.agrees_with(&asked(&[], &["A", "B"])), "whatever accounts");
    assert!(!ours.agrees_with(&asked(&["acme", "beta"], &["A", "B"])));
    assert!(!ours.agrees_with(&asked(&["acme"], &["A"])));
    assert!(!ours.agrees_with(&asked(&["acme"], &[])));
}

#[test]
fn an_update_takes_what_the_mask_names() {
    let ours = config(unusual());
    for (field, change) in CHANGES {
        let mut message = pb::Subscription::default();
        change(&mut message);
        let mut expected = unusual();
        change(&mut expected);
        for mask in [vec![field.to_owned()], vec![]] {
            assert_eq!(ours.updated(&message, &AT, &mask, &MASK), Ok(config(expected.clone())), "{field} by {mask:?}");
        }
        let other = if field == "paused" { "filter" } else { "paused" };
        let updated = ours.updated(&message, &AT, &[other.to_owned()], &MASK).unwrap();
        let mut untouched = unusual();
        if other == "filter" {
            untouched.filter = None
        } else {
            untouched.paused = None
        }
        assert_eq!(updated, config(untouched), "{other}, not {field}");
    }
    assert_eq!(ours.updated(&pb::Subscription::default(), &AT, &FieldMask::default().paths, &MASK), Ok(ours.clone()));
    let all: Vec<String> = FIELDS.iter().map(|(name, ..)| (*name).to_owned()).collect();
    let reset = ours.updated(&pb::Subscription::default(), &AT, &all, &MASK).unwrap();
    assert_eq!(
        reset,
        SubscriptionConfig {
            feed: FeedName::OrderUpdates,
            mode: OrderingMode::Exclusive,
            ..SubscriptionConfig::default()
        }
    );
}

#[test]
fn an_update_that_cannot_be_is_refused() {
    let ours = config(unusual());
    let mask: Vec<String> = ["paused", "mode", "backoff.min", "*", ""].iter().map(|path| (*path).into()).collect();
    let message = pb::Subscription {
        mode: pb::SubscriptionMode::Unordered as i32,
        start: Some(pb::Position::default()),
        lease_duration: seconds(1),
        ..Default::default()
    };
    assert_eq!(
        fields(ours.updated(&message, &AT, &mask, &MASK)),
        [
            "subscription.mode",
            "subscription.start",
            "update_mask[1]",
            "update_mask[2]",
            "update_mask[3]",
            "update_mask[4]",
        ]
    );
    assert_eq!(
        fields(ours.updated(&message, &AT, &[], &MASK)),
        ["subscription.mode", "subscription.start", "subscription.lease_duration"]
    );
    let same_mode = pb::Subscription { mode: pb::SubscriptionMode::Exclusive as i32, ..Default::default() };
    assert_eq!(ours.updated(&same_mode, &AT, &[], &MASK), Ok(ours));
}

#[test]
fn names_are_plain_and_short() {
    let is_right = |name: &str| {
        let mut faults = FieldFaults::default();
        check_name(name, &FieldPath::Top("name"), &mut faults);
        faults.into_result().is_ok()
    };
    for name in ["a", "A-z_0.9", &"x".repeat(128)] {
        assert!(is_right(name), "{name}");
    }
    for name in ["", "a b", "a/b", "é", "a\n", &"x".repeat(129)] {
        assert!(!is_right(name), "{name}");
    }
}
