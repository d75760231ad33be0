//! What is in no feed: how it is kept, read again, and goes.

use super::*;
use crate::domain::feed::notification::{CONFLICT, EventIdentity};

pub(super) async fn quarantine_is_paged_and_filtered(log: OneFeed<impl Store>) {
    for number in 0..6_u64 {
        let account = if number % 3 == 0 { other_account() } else { acme() };
        let delivery = WebhookDelivery { account, ..unreadable(&"x".repeat(number as usize), time(number)) };
        log.append(delivery).await.unwrap();
        // Others lie between.
        log.append(log.event(&number.to_string(), time(number))).await.unwrap();
    }
    let both = [acme(), other_account(), acme()];
    let all = log.quarantined(&both, 0, 100, true).await.unwrap();
    assert!(all.is_sorted_by(|a, b| a.id < b.id));
    assert_eq!(Vec::from_iter(all.iter().map(|one| one.size)), [0, 1, 2, 3, 4, 5]);
    for (number, one) in (0..).zip(&all) {
        let delivery = unreadable(&"x".repeat(number), time(number as u64));
        assert_eq!((one.received, &one.raw, one.body_hash), (delivery.received, &delivery.raw, delivery.body_hash));
        assert_eq!((&*one.reason, one.account == acme()), ("is no JSON", number % 3 != 0));
    }
    assert_eq!(log.quarantined(&both, 0, 2, true).await.unwrap(), all[..2]);
    assert_eq!(log.quarantined(&both, all[1].id, 2, true).await.unwrap(), all[2..4]);
    assert_eq!(log.quarantined(&both, all[5].id, 2, true).await.unwrap(), []);
    assert_eq!(log.quarantined(&both, u64::MAX, 2, true).await.unwrap(), []);
    let theirs = log.quarantined(&[other_account()], 0, 9, false).await.unwrap();
    assert_eq!(Vec::from_iter(theirs.iter().map(|one| (one.size, one.raw.len()))), [(0, 0), (3, 0)]);
    assert_eq!(log.quarantined(&[], 0, 9, false).await.unwrap(), []);
}

/// All of `acme` that is there, with its bodies.
async fn kept(log: &OneFeed<impl Store>) -> Vec<QuarantinedDelivery> {
    log.quarantined(&[acme()], 0, 100, true).await.unwrap()
}

fn bodies(kept: &[QuarantinedDelivery]) -> Vec<&str> {
    kept.iter().map(|one| std::str::from_utf8(&one.raw).unwrap()).collect()
}

/// The event `i` with this body.
fn event_with(log: &OneFeed<impl Store>, body: &str) -> WebhookDelivery {
    arrival(body, log.event("i", time(2)).content, time(2))
}

pub(super) async fn a_conflict_is_in_quarantine_once(log: OneFeed<impl Store>) {
    append(&log, log.event("i", time(1))).await;
    for body in ["second", "third", "second"] {
        log.append(event_with(&log, body)).await.unwrap();
    }
    let theirs = WebhookDelivery { account: other_account(), ..log.event("i", time(1)) };
    append(&log, theirs).await;
    let kept = kept(&log).await;
    assert_eq!(bodies(&kept), ["second", "third"]);
    let crate::domain::feed::notification::DeliveryContent::Event { event_id, event_type, sub_event_type, .. } =
        log.event("i", time(1)).content
    else {
        panic!()
    };
    let identity = EventIdentity { event_id, event_type, sub_event_type };
    for one in kept {
        assert_eq!((one.reason.as_str(), one.conflict.as_ref(), one.received), (CONFLICT, Some(&identity), time(2)));
    }
}

pub(super) async fn what_is_read_again_goes_where_it_belongs(log: OneFeed<impl Store>) {
    append(&log, log.event("before", time(1))).await;
    for body in ["one", "two", "three", "body i"] {
        log.append(unreadable(body, time(2))).await.unwrap();
    }
    let [one, two, three, known] = kept(&log).await.try_into().unwrap_or_else(|it| panic!("{it:?}"));
    let mut head = log.head();
    let event = |id: &str, body: &str| arrival(body, log.event(id, time(2)).content, time(2));
    // It is of this feed, or of the other one, in the order in which it is read.
    assert_eq!(log.reread(two.id, event("2", "two")).await.unwrap(), RereadOutcome::Moved { seq: 2 });
    head_is(&mut head, 2).await;
    let other = arrival("one", log.other("1", time(2)).content, time(2));
    assert_eq!(log.reread(one.id, other).await.unwrap(), RereadOutcome::Moved { seq: 1 });
    let still = arrival("three", unreadable("", time(2)).content, time(2));
    assert_eq!(log.reread(three.id, still).await.unwrap(), RereadOutcome::Unreadable);
    let stored = log.read(1, 9, usize::MAX, true).await.unwrap();
    assert_eq!(stored, [super::event(2, &event("2", "two"), true)]);
    // It came again since, and could be read.
    assert_eq!(log.append(event("i", "another")).await.unwrap(), AppendOutcome::Stored { seq: Some(3) });
    assert_eq!(log.reread(known.id, event("i", "body i")).await.unwrap(), RereadOutcome::Conflict);
    let left = kept(&log).await;
    assert_eq!(bodies(&left), ["three", "body i"]);
    assert_eq!((left[0].conflict.is_some(), left[1].conflict.is_some()), (false, true));
    // What has moved is known by its body and by its identity.
    assert_eq!(log.append(event("2", "two")).await.unwrap(), AppendOutcome::Duplicate);
    assert_eq!(log.append(unreadable("two", time(3))).await.unwrap(), AppendOutcome::Duplicate);
    assert_eq!(log.append(event("2", "again")).await.unwrap(), AppendOutcome::Conflict);
}

pub(super) async fn a_conflict_that_is_read_again_stays_one(log: OneFeed<impl Store>) {
    append(&log, log.event("i", time(1))).await;
    log.append(event_with(&log, "second")).await.unwrap();
    let before = kept(&log).await;
    assert_eq!(log.reread(before[0].id, event_with(&log, "second")).await.unwrap(), RereadOutcome::Conflict);
    assert_eq!(kept(&log).await, before);
    // A newer version may read another kind in it.
    let kind = of_kind(log.event("i", time(2)), "NEW", "");
    assert_eq!(log.reread(before[0].id, kind).await.unwrap(), RereadOutcome::Moved { seq: 2 });
    assert!(kept(&log).await.is_empty());
}

pub(super) async fn what_is_no_longer_there_is_not_read_again(log: OneFeed<impl Store>) {
    log.append(unreadable("one", time(1))).await.unwrap();
    let id = kept(&log).await[0].id;
    let theirs = WebhookDelivery { account: other_account(), ..log.event("i", time(1)) };
    assert_eq!(log.reread(id, theirs).await.unwrap(), RereadOutcome::Missing);
    assert_eq!(log.reread(id + 1, log.event("i", time(1))).await.unwrap(), RereadOutcome::Missing);
    assert_eq!(log.reread(id, log.event("i", time(1))).await.unwrap(), RereadOutcome::Moved { seq: 1 });
    assert_eq!(log.reread(id, log.event("j", time(1))).await.unwrap(), RereadOutcome::Missing);
    head_is(&mut log.head(), 1).await;
}

pub(super) async fn a_body_that_comes_again_and_can_be_read_leaves_quarantine(log: OneFeed<impl Store>) {
    for body in ["one", "body i"] {
        log.append(unreadable(body, time(1))).await.unwrap();
    }
    assert_eq!(append(&log, log.event("i", time(2))).await, 1);
    assert_eq!(bodies(&kept(&log).await), ["one"]);
    // A conflict does not: its event has a place already.
    log.append(event_with(&log, "second")).await.unwrap();
    assert_eq!(log.append(event_with(&log, "second")).await.unwrap(), AppendOutcome::Duplicate);
    assert_eq!(bodies(&kept(&log).await), ["one", "second"]);
}

pub(super) async fn quarantine_is_kept_as_long_as_what_is_held(log: OneFeed<impl Store>) {
    for number in 1..=4 {
        log.append(unreadable(&number.to_string(), time(number))).await.unwrap();
    }
    append(&log, log.event("i", time(1))).await;
    log.append(event_with(&log, "second")).await.unwrap();
    let times = |held| TrimTimes { free: time(99), held: time(held), ids: time(0) };
    assert_eq!(log.trim_log(times(0), 100).await.unwrap().quarantined, 0);
    assert_eq!(log.trim_log(times(3), 100).await.unwrap().quarantined, 2);
    assert_eq!(bodies(&kept(&log).await), ["3", "4", "second"]);
    // A younger one in front keeps an older one.
    assert_eq!(log.trim_log(times(4), 100).await.unwrap().quarantined, 1);
    assert_eq!(log.trim_log(times(99), 100).await.unwrap().quarantined, 2);
}
