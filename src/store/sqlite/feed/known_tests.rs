//! Deliveries are known again while their keys are in memory, on their way into the table and in it, through kills.

use futures_util::future::join_all;

use super::super::super::newest_keys::NEWEST;
use super::super::super::{migrations, open};
use super::*;
use crate::domain::feed::notification::WebhookDelivery;
use crate::domain::feed::{FeedName, LogId};
use crate::ports::event_log::{AppendOutcome, EventLog, TrimTimes};
use crate::ports::random::Random;
use crate::store::memory_feed::MemoryFeed;
use crate::store::sqlite::SqliteLedger;
use crate::store::sqlite::tests::Place;
use crate::testing::store::{acme, arrival, event_of, intent, time, unreadable, update};

fn in_table(place: &Place) -> usize {
    let keys: i64 = place.other().query_row("SELECT count(*) FROM delivery_keys", [], |row| row.get(0)).unwrap();
    usize::try_from(keys).unwrap()
}

async fn in_memory(log: &SqliteLedger) -> usize {
    log.write(|tx| Ok(tx.newest(KeyedRows::Deliveries).len())).await.unwrap()
}

/// Another body under the identity of this event.
fn other_body(of: WebhookDelivery, body: &str) -> WebhookDelivery {
    arrival(body, of.content, of.received)
}

/// The same deliveries to a file and to a feed that is kept in memory, which knows them in another way.
struct Both {
    place: Place,
    file: SqliteLedger,
    memory: MemoryFeed,
}

impl Both {
    async fn append(&self, arrival: WebhookDelivery) {
        let shown = format!("{arrival:?}");
        let expected = self.memory.append(arrival.clone()).await.unwrap();
        assert_eq!(self.file.append(arrival).await.unwrap(), expected, "{shown}");
    }

    async fn find(&self, feed: FeedName, event_id: &str) {
        let expected = self.memory.find(feed, &acme(), event_id, true).await.unwrap();
        assert_eq!(self.file.find(feed, &acme(), event_id, true).await.unwrap(), expected, "{event_id}");
    }

    async fn trim(&self, times: TrimTimes) {
        let expected = self.memory.trim_log(times, 10_000).await.unwrap();
        assert_eq!(self.file.trim_log(times, 10_000).await.unwrap(), expected);
    }

    /// What the process leaves when it is killed, opened by the next.
    async fn kill(&mut self) {
        let killed = self.place.killed();
        self.file.close().await;
        self.file = killed.open();
        self.place = killed;
    }
}

#[tokio::test]
async fn a_file_knows_what_a_feed_in_memory_knows() {
    let random = Random::from_seed(14);
    let draw = |below: u64| random.next_u64() % below;
    let place = Place::new();
    let (file, memory) = (place.open(), MemoryFeed::new(LogId(1)));
    let mut both = Both { place, file, memory };
    let mut moved = 0;
    for now in 0..3000 {
        let feed = FeedName::ALL[draw(2) as usize];
        // Most are of the last ones, as where events come twice; some may be of any time.
        let newest = now / 3;
        let id = if draw(4) == 0 { draw(newest + 1) } else { newest.saturating_sub(draw(60)) }.to_string();
        let event = event_of(feed, &id, time(now));
        match draw(40) {
            0..26 => both.append(event).await,
            26..30 => both.append(other_body(event, &format!("other {id} {}", draw(2)))).await,
            30..33 => both.append(unreadable(&id, time(now))).await,
            33..37 => both.find(feed, &id).await,
            37 => {
                let before = |age| time(now.saturating_sub(age));
                both.trim(TrimTimes { free: before(300), held: before(400), ids: before(500 + draw(500)) }).await;
            }
            38 if draw(3) == 0 => both.kill().await,
            _ => moved = moved.max(in_table(&both.place)),
        }
    }
    assert!(moved > 3 * NEWEST, "few have moved: {moved}");
    both.file.close().await;
}

/// Whether all of the first `count` updates are known, and other bodies of them are told apart.
async fn knows(log: &SqliteLedger, count: usize) {
    for id in (0..count).map(|id| id.to_string()) {
        assert_eq!(log.append(update(&id, time(2))).await.unwrap(), AppendOutcome::Duplicate, "{id}");
        let found = log.find(FeedName::OrderUpdates, &acme(), &id, true).await.unwrap().unwrap();
        assert_eq!(&found.raw[..], format!("body {id}").as_bytes());
    }
}

#[tokio::test]
async fn duplicates_are_found_in_memory_on_their_way_and_in_the_table_also_after_a_kill() {
    let place = Place::new();
    let log = place.open();
    let mut stored = 0;
    // In memory; begun to move; half moved; all of the first moved and half of the next.
    for (upto, at_least, below) in [
        (NEWEST - 1, 0, 1),
        (NEWEST + 1, 1, 3),
        (NEWEST * 3 / 2, NEWEST / 3, NEWEST),
        (NEWEST * 5 / 2, NEWEST, 2 * NEWEST),
    ] {
        while stored < upto {
            let expected = AppendOutcome::Stored { seq: Some(stored as u64 + 1) };
            assert_eq!(log.append(update(&stored.to_string(), time(1))).await.unwrap(), expected);
            stored += 1;
        }
        let moved = in_table(&place);
        assert!(moved >= at_least && moved < below, "{moved} of {stored}");
        knows(&log, stored).await;
        let mut killed = place.killed();
        for _ in 0..2 {
            let after = killed.open();
            knows(&after, stored).await;
            assert!(in_memory(&after).await >= stored - moved);
            let again = killed.killed();
            after.close().await;
            killed = again;
        }
        let after = killed.open();
        for id in 0..stored {
            let other = other_body(update(&id.to_string(), time(1)), &format!("other {id}"));
            assert_eq!(after.append(other.clone()).await.unwrap(), AppendOutcome::Conflict, "{id}");
            assert_eq!(after.append(other).await.unwrap(), AppendOutcome::Duplicate, "{id}");
        }
        after.close().await;
    }
    log.close().await;
    let log = place.open();
    knows(&log, stored).await;
    log.close().await;
}

#[tokio::test]
async fn what_is_trimmed_is_forgotten_wherever_its_key_was() {
    let place = Place::new();
    let log = place.open();
    let count = NEWEST * 3 / 2;
    let fill = async |log: &SqliteLedger| {
        for id in 0..count {
            let stored = log.append(update(&id.to_string(), time(1))).await.unwrap();
            assert!(matches!(stored, AppendOutcome::Stored { seq: Some(_) }), "{id}: {stored:?}");
        }
    };
    fill(&log).await;
    let moved = in_table(&place);
    assert!(moved > 0 && moved < count, "some are in the table, some on their way, some were added since: {moved}");
    let all = TrimTimes { free: time(9), held: time(9), ids: time(9) };
    log.trim_log(all, 10_000).await.unwrap();
    // The last event stays, and with it its id.
    assert_eq!(in_table(&place) + in_memory(&log).await, 1);
    assert_eq!(log.find(FeedName::OrderUpdates, &acme(), "0", false).await.unwrap(), None);
    let last = (count - 1).to_string();
    assert_eq!(log.append(update(&last, time(2))).await.unwrap(), AppendOutcome::Duplicate);
    // Another one comes, so that the last may go as well.
    log.append(intent("between", time(1))).await.unwrap();
    log.append(update("between", time(1))).await.unwrap();
    log.trim_log(all, 10_000).await.unwrap();
    fill(&log).await;
    // Those that another process has read from the rows.
    let killed = place.killed();
    log.close().await;
    let log = killed.open();
    knows(&log, count).await;
    log.append(update("after", time(1))).await.unwrap();
    log.trim_log(all, 10_000).await.unwrap();
    // Those of the last event of each log, which may be in both.
    assert!(in_table(&killed) <= 2 && in_memory(&log).await <= 2);
    fill(&log).await;
    log.close().await;
}

#[tokio::test]
async fn after_many_kills_no_more_are_in_memory_than_before() {
    let mut place = Place::new();
    let mut log = place.open();
    let mut next = 0;
    let mut append = async |log: &SqliteLedger, count: usize| {
        for _ in 0..count {
            log.append(update(&next.to_string(), time(1))).await.unwrap();
            next += 1;
        }
        next
    };
    append(&log, NEWEST - 1).await;
    for _ in 0..4 {
        // Just before all that moves has moved.
        append(&log, NEWEST - 1).await;
        let killed = place.killed();
        log.close().await;
        log = killed.open();
        place = killed;
    }
    assert!(in_memory(&log).await > 3 * NEWEST, "nothing that moved is known to have");
    let stored = append(&log, 2 * NEWEST).await;
    assert!(in_memory(&log).await <= 2 * NEWEST, "{}", in_memory(&log).await);
    knows(&log, stored).await;
    log.close().await;
}

#[tokio::test]
async fn a_key_is_known_whose_id_a_failed_transaction_had_before() {
    let place = Place::new();
    let log = place.open();
    let new = |id: usize| update(&id.to_string(), time(1));
    for id in 0..NEWEST - 2 {
        log.append(new(id)).await.unwrap();
    }
    let failed = log.write(move |tx| -> rusqlite::Result<()> {
        for lost in ["lost", "lost too"] {
            super::super::append::append(tx, &update(lost, time(1)))?;
        }
        tx.finish()?;
        assert!(tx.newest(KeyedRows::Deliveries).len() < NEWEST, "some have moved");
        Err(rusqlite::Error::InvalidQuery)
    });
    failed.await.unwrap_err();
    let mut stored = NEWEST - 2;
    // At first when all but the ids that were given again have moved.
    for upto in [2 * NEWEST, 3 * NEWEST, 4 * NEWEST] {
        while stored < upto {
            let expected = AppendOutcome::Stored { seq: Some(stored as u64 + 1) };
            assert_eq!(log.append(new(stored)).await.unwrap(), expected);
            stored += 1;
        }
        let left = place.killed();
        let killed = left.open();
        for log in [&log, &killed] {
            knows(log, stored).await;
        }
        let lost = killed.append(update("lost", time(1))).await.unwrap();
        assert_eq!(lost, AppendOutcome::Stored { seq: Some(stored as u64 + 1) });
        killed.close().await;
    }
    log.close().await;
}

#[tokio::test]
async fn of_deliveries_at_the_same_time_one_is_new() {
    let place = Place::new();
    let log = place.open();
    let same = join_all((0..20).map(|_| log.append(update("same", time(1))))).await;
    let new = same.into_iter().filter(|appended| matches!(appended, Ok(AppendOutcome::Stored { seq: Some(1) })));
    assert_eq!(new.count(), 1);
    log.close().await;
}

#[tokio::test]
async fn what_an_older_version_stored_is_known() {
    let place = Place::new();
    let mut old = place.other();
    migrations::run_to(&mut old, open::APPLICATION, 0, 11).unwrap();
    old.execute("INSERT INTO accounts (name) VALUES ('acme')", []).unwrap();
    let count = 2 * NEWEST;
    for (id, seq) in (0..count).zip(1..) {
        let arrival = update(&id.to_string(), time(1));
        let (received, body) = (integer(arrival.received.0), keys::half(&arrival.body_hash));
        let columns = "account, received, update_seq, key, body";
        old.execute(
            &format!("INSERT INTO deliveries ({columns}) VALUES (1, ?1, ?2, ?3, ?4)"),
            params![received, seq, keys::delivery(&arrival), body],
        )
        .unwrap();
        old.execute("INSERT INTO updates VALUES (?1, ?2, 1, x'')", params![seq, received]).unwrap();
        old.execute("INSERT INTO update_bodies VALUES (?1, ?2)", params![seq, &arrival.raw[..]]).unwrap();
    }
    drop(old);
    let log = place.open();
    assert_eq!((in_table(&place), in_memory(&log).await), (count, 0));
    knows(&log, count).await;
    assert_eq!(log.append(other_body(update("7", time(1)), "other")).await.unwrap(), AppendOutcome::Conflict);
    assert_eq!(
        log.append(update("new", time(1))).await.unwrap(),
        AppendOutcome::Stored { seq: Some(count as u64 + 1) }
    );
    let indexes = "SELECT count(*) FROM sqlite_schema WHERE name = 'deliveries_by_key'";
    assert_eq!(place.other().query_row(indexes, [], |row| row.get::<_, i64>(0)).unwrap(), 0);
    log.close().await;
}
