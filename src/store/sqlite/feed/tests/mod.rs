//! What only a feed in a file does.

mod subscribing;
mod updates;

use futures_util::future::join_all;
use rusqlite::params;
use sha2::{Digest as _, Sha256};

use super::super::{migrations, open};
use super::*;
use crate::domain::feed::notification::DeliveryContent;
use crate::ports::store_error::StoreErrorKind;
use crate::store::sqlite::tests::{Place, works};
use crate::testing::store::{found, intent, posted, time, unreadable, update};

async fn append(log: &SqliteLedger, id: &str) -> u64 {
    match log.append(intent(id, time(1))).await.unwrap() {
        AppendOutcome::Stored { seq: Some(seq) } => seq,
        other => panic!("{other:?}"),
    }
}

async fn seqs(log: &SqliteLedger) -> Vec<u64> {
    let events = EventLog::read(log, FeedName::CancelIntents, 0, usize::MAX, usize::MAX, true).await.unwrap();
    events.iter().map(|event| event.seq).collect()
}

fn rows(place: &Place, table: &str) -> i64 {
    place.other().query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn the_log_goes_on_after_closing_and_opening_again() {
    let place = Place::new();
    let log = place.open();
    append(&log, "a").await;
    append(&log, "b").await;
    let bounds = log.bounds(FeedName::CancelIntents).await.unwrap();
    log.close().await;
    let log = place.open();
    assert_eq!(
        (*log.head(FeedName::CancelIntents).borrow(), log.bounds(FeedName::CancelIntents).await.unwrap()),
        (2, bounds)
    );
    assert_eq!(log.append(intent("a", time(9))).await.unwrap(), AppendOutcome::Duplicate);
    assert_eq!(append(&log, "c").await, 3);
    // Also when nothing but the last is left.
    log.trim_log(TrimTimes { free: time(9), held: time(9), ids: time(9) }, 100).await.unwrap();
    log.close().await;
    let log = place.open();
    assert_eq!((*log.head(FeedName::CancelIntents).borrow(), seqs(&log).await), (3, vec![3]));
    assert_eq!(append(&log, "d").await, 4);
    log.close().await;
}

#[tokio::test]
async fn each_file_is_another_log() {
    let (a, b) = (Place::new(), Place::new());
    let (first, second) = (a.open(), b.open());
    assert_ne!(
        first.bounds(FeedName::CancelIntents).await.unwrap().log,
        second.bounds(FeedName::CancelIntents).await.unwrap().log
    );
    first.close().await;
    second.close().await;
}

#[tokio::test]
async fn a_killed_process_leaves_all_that_was_answered() {
    let place = Place::new();
    let log = place.open();
    let bounds = log.bounds(FeedName::CancelIntents).await.unwrap();
    join_all((0..40).map(|id| log.append(intent(&id.to_string(), time(1))))).await;
    let killed = place.killed();
    let after = killed.open();
    assert_eq!(after.bounds(FeedName::CancelIntents).await.unwrap(), LogBounds { head: 40, ..bounds });
    assert_eq!((*after.head(FeedName::CancelIntents).borrow(), seqs(&after).await), (40, Vec::from_iter(1..=40)));
    assert_eq!(after.append(intent("7", time(1))).await.unwrap(), AppendOutcome::Duplicate);
    assert_eq!(append(&after, "next").await, 41);
    after.close().await;
    log.close().await;
}

#[tokio::test]
async fn a_database_of_the_ledger_alone_gets_a_feed() {
    let place = Place::new();
    let mut old = place.other();
    migrations::run_to(&mut old, open::APPLICATION, 0, 1).unwrap();
    old.execute("INSERT INTO accounts (name) VALUES ('acme')", []).unwrap();
    drop(old);
    let log = place.open();
    assert_eq!(log.failing(), None);
    assert_eq!(*log.head(FeedName::CancelIntents).borrow(), 0);
    assert_eq!(append(&log, "a").await, 1);
    log.close().await;
    assert_eq!(rows(&place, "accounts"), 1);
    let version: i64 = place.other().pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, migrations::LATEST);
}

#[tokio::test]
async fn what_was_rolled_back_leaves_no_gap_and_is_not_told() {
    let place = Place::new();
    let log = place.open();
    append(&log, "before").await;
    let fails = log.write::<(), _>(|tx| {
        // The transaction has given the next position.
        append::append(tx, &intent("lost", time(1)))?;
        assert_eq!(*tx.feed().heads.of(FeedName::CancelIntents), 2);
        Err(rusqlite::Error::InvalidQuery)
    });
    // One group: the others of it are written without it.
    let (lost, stored) = tokio::join!(fails, log.append(intent("after", time(1))));
    lost.unwrap_err();
    assert_eq!(stored.unwrap(), AppendOutcome::Stored { seq: Some(2) });
    assert_eq!((*log.head(FeedName::CancelIntents).borrow(), seqs(&log).await), (2, vec![1, 2]));
    assert_eq!(append(&log, "lost").await, 3);
    log.close().await;
}

#[tokio::test]
async fn a_head_is_told_once_a_store_works_that_failed_at_the_start() {
    let place = Place::new();
    let log = place.open();
    append(&log, "a").await;
    log.close().await;
    let other = place.other();
    other.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE").unwrap();
    let log = place.open();
    let mut head = log.head(FeedName::CancelIntents);
    assert_eq!((log.failing().unwrap().error.kind, *head.borrow()), (StoreErrorKind::Busy, 0));
    assert_eq!(log.bounds(FeedName::CancelIntents).await.unwrap_err().kind, StoreErrorKind::Busy);
    drop(other);
    works(&log).await;
    assert_eq!(*head.wait_for(|head| *head > 0).await.unwrap(), 1);
    assert_eq!(append(&log, "b").await, 2);
    log.close().await;
}

#[tokio::test]
async fn a_full_store_takes_no_delivery_and_its_head_stays() {
    let place = Place::new();
    let log = place.open();
    append(&log, "a").await;
    let limit = |pages: i64| {
        log.write(move |tx| {
            tx.sql(&format!("PRAGMA max_page_count = {pages}"))?.query_row([], |row| row.get::<_, i64>(0))
        })
    };
    limit(1).await.unwrap();
    let large = WebhookDelivery { raw: vec![b' '; 1 << 20].into(), ..intent("large", time(1)) };
    assert_eq!(log.append(large.clone()).await.unwrap_err().kind, StoreErrorKind::Full);
    assert_eq!((*log.head(FeedName::CancelIntents).borrow(), seqs(&log).await), (1, vec![1]));
    limit(1_000_000).await.unwrap();
    assert_eq!(log.append(large).await.unwrap(), AppendOutcome::Stored { seq: Some(2) });
    log.close().await;
}

#[tokio::test]
async fn a_repeated_delivery_and_a_read_cost_no_sync() {
    let place = Place::new();
    let log = place.open();
    append(&log, "a").await;
    let wal = || std::fs::metadata(place.beside("db-wal")).unwrap().len();
    let before = wal();
    assert_eq!(log.append(intent("a", time(2))).await.unwrap(), AppendOutcome::Duplicate);
    seqs(&log).await;
    assert_eq!(wal(), before);
    append(&log, "b").await;
    assert!(wal() > before);
    log.close().await;
}

#[tokio::test]
async fn lines_with_an_intent_are_known_after_a_kill_and_of_an_earlier_version() {
    let place = Place::new();
    let mut old = place.other();
    migrations::run_to(&mut old, open::APPLICATION, 0, 15).unwrap();
    old.execute("INSERT INTO accounts (name) VALUES ('acme')", []).unwrap();
    let old_intent = posted("w-1", "17", &["1"], 1);
    let DeliveryContent::Event { message, .. } = &old_intent.content else { panic!() };
    // Deliveries do not begin at 1 where their front was trimmed.
    old.execute(
        "INSERT INTO deliveries (id, account, received, seq, key, body) VALUES (70000, 1, ?1, 1, x'00', x'00')",
        [time(1).0.cast_signed()],
    )
    .unwrap();
    old.execute(
        "INSERT INTO events (seq, received, message) VALUES (1, ?1, ?2)",
        params![time(1).0.cast_signed(), &message[..]],
    )
    .unwrap();
    old.execute("INSERT INTO event_bodies (seq, body) VALUES (1, x'00')", []).unwrap();
    drop(old);
    let log = place.open();
    assert!(!log.note_intent_lines(1).await.unwrap(), "one look is enough for one delivery");
    assert_eq!(log.append_found(found("17", &["1"], 2)).await.unwrap(), None);
    assert_eq!(log.append_found(found("17", &["1", "2"], 2)).await.unwrap(), Some(2));
    let after = place.killed().open();
    assert_eq!(after.append_found(found("17", &["1", "2"], 3)).await.unwrap(), None);
    after.close().await;
    log.close().await;
    assert_eq!(rows(&place, "intent_lines"), 2);
}

#[tokio::test]
async fn all_that_came_is_in_the_file_once() {
    let place = Place::new();
    let log = place.open();
    for _ in 0..2 {
        for delivery in [intent("i", time(1)), update("o", time(1)), unreadable("u", time(1))] {
            log.append(delivery).await.unwrap();
        }
        for body in ["x", "y"] {
            let conflict = crate::testing::store::arrival(body, intent("i", time(1)).content, time(2));
            log.append(conflict).await.unwrap();
        }
    }
    log.close().await;
    for (table, expected) in
        [("deliveries", 5), ("events", 1), ("event_bodies", 1), ("updates", 1), ("update_bodies", 1), ("quarantine", 3)]
    {
        assert_eq!(rows(&place, table), expected, "{table}");
    }
    let bodies: String = place
        .other()
        .query_row("SELECT group_concat(CAST(body AS TEXT)) FROM quarantine WHERE conflict", [], |row| row.get(0))
        .unwrap();
    assert_eq!(bodies, "x,y");
    // All of it goes, but for the last event of each log and the last id.
    let log = place.open();
    let times = TrimTimes { free: time(9), held: time(9), ids: time(9) };
    while log.trim_log(times, 1).await.unwrap().rows > 0 {}
    append(&log, "last").await;
    while log.trim_log(times, 1).await.unwrap().rows > 0 {}
    log.close().await;
    for (table, expected) in [
        // The ids of both events, and the last one.
        ("deliveries", 2),
        ("events", 1),
        ("event_bodies", 1),
        ("updates", 1),
        ("update_bodies", 1),
        ("quarantine", 0),
    ] {
        assert_eq!(rows(&place, table), expected, "{table}");
    }
}

#[tokio::test]
async fn a_feed_of_an_earlier_version_knows_what_it_has_and_shows_its_conflicts() {
    use crate::domain::feed::notification::DeliveryContent;
    use crate::domain::feed::with_intent_key;
    use crate::testing::store::arrival;

    // An event with the id "i" (field 3) and an intent (9) of the partner "11" (1) and the purchase order "17" (2).
    const STORED: &[u8] = b"\x1a\x01i\x4a\x08\x0a\x0211\x12\x0217";
    let place = Place::new();
    let mut old = place.other();
    migrations::run_to(&mut old, open::APPLICATION, 0, 8).unwrap();
    let hash = |text: &str| crate::store::keys::half(&Sha256::digest(text).into());
    old.execute("INSERT INTO accounts (name, seller) VALUES ('acme', '10')", []).unwrap();
    for (seq, id) in [(1, "i"), (2, "j")] {
        let key = crate::store::keys::event_id(id);
        old.execute(
            "INSERT INTO deliveries (account, received, seq, key, body) VALUES (1, 5, ?1, ?2, ?3)",
            params![seq, key, hash(&format!("body {id}"))],
        )
        .unwrap();
        old.execute("INSERT INTO events VALUES (?1, 5, ?2)", params![seq, STORED]).unwrap();
        old.execute("INSERT INTO event_bodies VALUES (?1, ?2)", params![seq, format!("body {id}").as_bytes()]).unwrap();
    }
    for (received, delivery, body) in [(6, 1, "second"), (7, 2, "second"), (8, 2, "third")] {
        old.execute(
            "INSERT INTO conflicts (received, delivery, body_hash, body) VALUES (?1, ?2, ?3, ?4)",
            params![received, delivery, hash(body), body.as_bytes()],
        )
        .unwrap();
    }
    drop(old);

    let log = place.open();
    let kept = log.quarantined(&[crate::testing::store::acme()], 0, 9, true).await.unwrap();
    let shown: Vec<_> = kept.iter().map(|one| (&one.raw[..], one.received.0, one.conflict.is_some())).collect();
    assert_eq!(shown, [(&b"second"[..], 6, true), (b"third", 8, true)]);
    assert_eq!(kept[0].body_hash, <[u8; 32]>::from(Sha256::digest("second")));
    // Intents have what those of now have.
    let events = EventLog::read(&log, FeedName::CancelIntents, 0, 9, usize::MAX, false).await.unwrap();
    assert_eq!(events[1].message, with_intent_key(STORED, Some("10")));
    assert!(events[1].message.starts_with(STORED) && events[1].message.len() > STORED.len() + 64);
    // What comes again is known, by the body where only the id without its kind is.
    assert_eq!(log.append(intent("i", time(1))).await.unwrap(), AppendOutcome::Duplicate);
    let third = arrival("third", intent("j", time(1)).content, time(1));
    assert_eq!(log.append(third).await.unwrap(), AppendOutcome::Stored { seq: Some(3) }, "perhaps another kind: shown");
    assert_eq!(
        log.append(arrival("third", DeliveryContent::Unreadable { reason: "r".into() }, time(1))).await.unwrap(),
        AppendOutcome::Duplicate
    );
    let found = log.find(FeedName::CancelIntents, &crate::testing::store::acme(), "i", true).await.unwrap().unwrap();
    assert_eq!((found.seq, &found.raw[..]), (1, &b"body i"[..]));
    log.close().await;
}
