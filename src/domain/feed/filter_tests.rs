use super::*;

const AT: FieldPath<'static> = FieldPath::Top("filter");

fn texts(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

fn filter(filter: pb::Filter) -> EventFilter {
    EventFilter::new(&filter, &AT).unwrap()
}

/// An event of account "acme", partner "10", seller-fulfilled, order "PO1", with lines of "A" and "B".
fn event() -> pb::Event {
    let line = |sku: &str| pb::CancelIntentLine { sku: sku.into(), ..Default::default() };
    let intent = pb::CancelIntent {
        partner_id: "10".into(),
        purchase_order_id: "PO1".into(),
        ship_node_type: "SellerFulfilled".into(),
        order_lines: vec![line("A"), line("B")],
        ..Default::default()
    };
    pb::Event { account: "acme".into(), ordering_key: "PO1".into(), intent: Some(intent), ..Default::default() }
}

fn account(id: &str) -> AccountId {
    AccountId::new(id).unwrap()
}

type Part = fn(&mut pb::Filter) -> &mut Vec<String>;

const PARTS: [(Part, &str, &str); 5] = [
    (|filter| &mut filter.accounts, "acme", "beta"),
    (|filter| &mut filter.partner_ids, "10", "11"),
    (|filter| &mut filter.ship_node_types, "sellerFULFILLED", "WFSFulfilled"),
    (|filter| &mut filter.purchase_order_ids, "PO1", "po1"),
    (|filter| &mut filter.skus, "B", "b"),
];

#[test]
fn an_empty_filter_wants_everything() {
    let all = filter(pb::Filter::default());
    assert!(all.is_all() && all.matches(&event()) && all.matches(&pb::Event::default()));
    assert_eq!(all, EventFilter::default());
}

#[test]
fn one_value_of_each_part_is_enough() {
    for (part, right, wrong) in PARTS {
        for (values, wanted) in
            [(vec![right], true), (vec![wrong], false), (vec![wrong, right], true), (vec![right, right], true)]
        {
            let mut message = pb::Filter::default();
            *part(&mut message) = texts(&values);
            let filter = filter(message);
            assert!(!filter.is_all());
            assert_eq!(filter.matches(&event()), wanted, "{values:?}");
            assert!(!filter.matches(&pb::Event::default()), "{values:?} of nothing");
        }
    }
}

#[test]
fn every_part_must_hold() {
    let right = || {
        let mut message = pb::Filter::default();
        PARTS.iter().for_each(|(part, right, _)| part(&mut message).push((*right).into()));
        message
    };
    assert!(filter(right()).matches(&event()));
    for (part, _, wrong) in PARTS {
        let mut message = right();
        *part(&mut message) = texts(&[wrong]);
        assert!(!filter(message).matches(&event()), "{wrong}");
    }
}

#[test]
fn the_order_is_that_of_the_intent_not_the_key() {
    let wanted = filter(pb::Filter { purchase_order_ids: texts(&["PO1"]), ..Default::default() });
    assert!(wanted.matches(&pb::Event { ordering_key: "PO2".into(), ..event() }));
    assert!(!wanted.matches(&pb::Event { intent: None, ..event() }));
}

/// SHA-256 of "PO1" begins a40d8cd7811c7455, of "" e3b0c44298fc1c14 (both by `sha256sum`).
#[test]
fn each_key_is_in_one_shard_for_good() {
    for (key, hash) in [("PO1", 0xa40d_8cd7_811c_7455_u64), ("", 0xe3b0_c442_98fc_1c14_u64)] {
        for count in [1, 2, 3, 7, 1_000, 1_024] {
            for index in 0..count {
                let wanted = filter(pb::Filter { shard: Some(pb::Shard { index, count }), ..Default::default() });
                let event = pb::Event { ordering_key: key.into(), ..event() };
                assert_eq!(
                    wanted.matches(&event),
                    hash % u64::from(count) == u64::from(index),
                    "{key} {index}/{count}"
                );
                assert_eq!(wanted.is_all(), count == 1);
            }
        }
    }
}

#[test]
fn it_can_be_narrowed_to_accounts() {
    let all = EventFilter::default();
    assert!(all.clone().within([account("acme"), account("beta")]).matches(&event()));
    assert!(!all.clone().within([account("beta")]).matches(&event()));
    let none = all.within([]);
    assert!(!none.is_all() && !none.matches(&event()));

    let acme = filter(pb::Filter { accounts: texts(&["acme", "gamma"]), ..Default::default() });
    assert!(acme.clone().within([account("acme"), account("beta")]).matches(&event()));
    assert_eq!(acme.clone().within([account("acme"), account("beta")]).within([account("gamma")]), acme.within([]));
}

#[test]
fn all_faults_are_told_with_their_places() {
    let long = "x".repeat(257);
    let message = pb::Filter {
        accounts: texts(&["acme", "a/b", "", &"a".repeat(65)]),
        partner_ids: texts(&["10", ""]),
        ship_node_types: texts(&[&long]),
        purchase_order_ids: texts(&["", &long[1..]]),
        skus: texts(&[&"é".repeat(129)]),
        shard: Some(pb::Shard { index: 3, count: 3 }),
    };
    let faults = EventFilter::new(&message, &FieldPath::Field(&FieldPath::Top("subscription"), "filter")).unwrap_err();
    let account = "must be 1 to 64 ASCII letters, digits, '-' or '_'";
    let told: Vec<(&str, &str)> = faults.kept.iter().map(|f| (f.field.as_str(), f.description)).collect();
    assert_eq!(
        told,
        [
            ("subscription.filter.accounts[1]", account),
            ("subscription.filter.accounts[2]", account),
            ("subscription.filter.accounts[3]", account),
            ("subscription.filter.partner_ids[1]", "must not be empty"),
            ("subscription.filter.ship_node_types[0]", "must be at most 256 bytes"),
            ("subscription.filter.purchase_order_ids[0]", "must not be empty"),
            ("subscription.filter.skus[0]", "must be at most 256 bytes"),
            ("subscription.filter.shard.index", "must be less than count"),
        ]
    );
}

#[test]
fn a_thousand_values_and_shards_have_their_bounds() {
    let many = |n: usize| pb::Filter {
        skus: (0..n / 2).map(|i| i.to_string()).collect(),
        partner_ids: (n / 2..n).map(|i| i.to_string()).collect(),
        ..Default::default()
    };
    assert!(EventFilter::new(&many(1_000), &AT).is_ok());
    let faults = EventFilter::new(&many(1_001), &AT).unwrap_err();
    assert_eq!((faults.kept[0].field.as_str(), faults.kept.len()), ("filter", 1));

    for (index, count, wrong) in [
        (0, 0, Some("filter.shard.count")),
        (0, 1_025, Some("filter.shard.count")),
        (9, 0, Some("filter.shard.count")),
        (1_024, 1_024, Some("filter.shard.index")),
        (1_023, 1_024, None),
        (0, 1, None),
    ] {
        let message = pb::Filter { shard: Some(pb::Shard { index, count }), ..Default::default() };
        let faults = EventFilter::new(&message, &AT).err();
        assert_eq!(faults.as_ref().map(|f| f.kept[0].field.as_str()), wrong, "{index}/{count}");
    }
}

#[test]
fn the_facts_of_an_event_hold_what_filters_ask_and_no_more() {
    let mut event = event();
    let line = |sku: &str| pb::CancelIntentLine { sku: sku.into(), ..Default::default() };
    event.intent.as_mut().unwrap().order_lines.extend([line(""), line("A"), line("C")]);
    let facts = EventFacts::of(&event);
    let skus: Vec<&str> = facts.skus.iter().map(|sku| &**sku).collect();
    assert_eq!(skus, ["A", "B", "C"], "each once");
    assert_eq!(&*facts.ordering_key, "PO1");
    for (part, right, wrong) in PARTS {
        for (value, wanted) in [(right, true), (wrong, false)] {
            let mut message = pb::Filter::default();
            *part(&mut message) = texts(&[value]);
            assert_eq!(filter(message).wants(&facts), wanted, "{value}");
        }
    }
}

#[test]
fn a_field_holds_where_an_order_update_has_it() {
    use crate::pb::order_update::Update;
    let item = |sku: &str| Some(pb::ItemDetail { sku: Some(sku.into()), description: None });
    let status = pb::McsOrderStatus {
        partner_id: "7".into(),
        line_item_status: vec![pb::McsLineStatus { item_detail: item("A"), ..Default::default() }],
        ..Default::default()
    };
    let shipment = pb::McsShipment { partner_id: "7".into(), ..Default::default() };
    let of_return = pb::McsReturnStatus {
        partner_id: "7".into(),
        return_order_lines: vec![pb::McsReturnLine { item_detail: item("A"), ..Default::default() }],
        ..Default::default()
    };
    let order = pb::SellerOrderUpdate {
        partner_id: "7".into(),
        purchase_order_id: "17".into(),
        ship_node_type: "SellerFulfilled".into(),
        order_lines: vec![pb::SellerOrderUpdateLine { sku: "A".into(), ..Default::default() }],
        ..Default::default()
    };
    let contents = [
        (Some(Update::OrderStatus(status)), [true, true, false, false]),
        (Some(Update::Shipment(shipment)), [true, false, false, false]),
        (Some(Update::ReturnStatus(of_return)), [true, true, false, false]),
        (Some(Update::SellerOrder(order)), [true, true, true, true]),
        (None, [false; 4]),
    ];
    let one = |value: &str| vec![value.to_owned()];
    let filters = [
        pb::Filter { partner_ids: one("7"), ..Default::default() },
        pb::Filter { skus: one("A"), ..Default::default() },
        pb::Filter { purchase_order_ids: one("17"), ..Default::default() },
        pb::Filter { ship_node_types: one("SELLERFULFILLED"), ..Default::default() },
    ];
    for (update, expected) in contents {
        let event = pb::OrderUpdate { account: "acme".into(), update, ..Default::default() };
        let wanted = filters.each_ref().map(|filter| EventFilter::of_checked(filter).matches(&event));
        assert_eq!(wanted, expected, "{event:?}");
        assert!(EventFilter::default().matches(&event));
        let of_account = pb::Filter { accounts: one("acme"), ..Default::default() };
        assert!(EventFilter::of_checked(&of_account).matches(&event));
    }
}
