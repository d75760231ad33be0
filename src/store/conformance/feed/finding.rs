//! Intents that were found in orders.

use super::*;
use crate::domain::feed::FoundIntent;
use crate::testing::store::{found, posted, told_by, update};

/// Id and origin of the event at this position.
async fn event_at(log: &OneFeed<impl Store>, seq: u64) -> (String, String) {
    let picked = log.store.pick(FeedName::CancelIntents, vec![seq], true).await.unwrap();
    told_by(&picked[0])
}

pub(super) async fn a_found_intent_is_stored_once(log: OneFeed<impl Store>) {
    let store = &log.store;
    assert_eq!(store.append_found(found("17", &["1", "2"], 5)).await.unwrap(), Some(1));
    assert_eq!(event_at(&log, 1).await, ("backfill:17:1,2".into(), "EVENT_ORIGIN_BACKFILL".into()));
    for lines in [["1", "2"].as_slice(), &["2"], &["1"]] {
        assert_eq!(store.append_found(found("17", lines, 9)).await.unwrap(), None, "{lines:?}");
    }
    // A line that is flagged later is an intent of its own.
    assert_eq!(store.append_found(found("17", &["1", "2", "3"], 9)).await.unwrap(), Some(2));
    assert_eq!(event_at(&log, 2).await.0, "backfill:17:3");
    // The same number at another seller is another order.
    let theirs = FoundIntent { account: other_account(), ..found("17", &["1"], 9) };
    assert_eq!(store.append_found(theirs).await.unwrap(), Some(3));
    assert_eq!(store.append_found(found("18", &["1"], 9)).await.unwrap(), Some(4));
    head_is(&mut store.head(FeedName::CancelIntents), 4).await;
}

pub(super) async fn lines_of_webhooks_are_not_found_and_webhooks_always_come(log: OneFeed<impl Store>) {
    let store = &log.store;
    store.append(posted("w-1", "17", &["1"], 1)).await.unwrap();
    assert_eq!(store.append_found(found("17", &["1"], 2)).await.unwrap(), None);
    assert_eq!(store.append_found(found("17", &["1", "2"], 2)).await.unwrap(), Some(2));
    let late = store.append(posted("w-2", "17", &["2"], 3)).await.unwrap();
    assert_eq!(late, AppendOutcome::Stored { seq: Some(3) });
    // Order updates and unreadable bodies say nothing of lines.
    store.append(update("o", time(4))).await.unwrap();
    store.append(unreadable("u", time(4))).await.unwrap();
    assert!(store.append_found(found("o", &["1"], 5)).await.unwrap().is_some());
}

pub(super) async fn lines_are_known_as_long_as_ids(log: OneFeed<impl Store>) {
    let store = &log.store;
    store.append(posted("w-1", "17", &["1"], 1)).await.unwrap();
    store.append_found(found("18", &["1"], 2)).await.unwrap();
    store.append(posted("last", "19", &["1"], 3)).await.unwrap();
    while store.note_intent_lines(1).await.unwrap() {}
    store.trim_log(events_before(99), 100).await.unwrap();
    assert_eq!(store.bounds(FeedName::CancelIntents).await.unwrap().first, 3);
    for order in ["17", "18", "19"] {
        assert_eq!(store.append_found(found(order, &["1"], 50)).await.unwrap(), None, "{order}");
    }
    let times = TrimTimes { ids: time(2), ..events_before(99) };
    while store.trim_log(times, 1).await.unwrap().rows > 0 {}
    assert_eq!(store.append_found(found("18", &["1"], 50)).await.unwrap(), None);
    assert_eq!(store.append_found(found("17", &["1"], 50)).await.unwrap(), Some(4));
}
