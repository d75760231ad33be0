//! That lists are right, read no more than they need, and hold nobody up.

use std::sync::atomic::AtomicUsize;

use futures_util::future::join_all;

use super::super::migrations;
use super::super::open::APPLICATION;
use super::super::tests::Place;
use super::*;
use crate::domain::account::AccountId;
use crate::domain::ledger::{NewEntry, OperationId};
use crate::ports::ledger::{Ledger, SaveResult};
use crate::ports::random::Random;
use crate::store::memory::MemoryLedger;
use crate::store::sqlite::SqliteLedger;
use crate::testing::store::{acme, create, made, other_account, time};

/// How SQLite goes about a statement, a line for each table.
fn plan(db: &Connection, sql: &str) -> Vec<String> {
    let mut plan = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    // Its parameters are of no interest to the planner.
    plan.raw_query().mapped(|row| row.get(3)).collect::<rusqlite::Result<_>>().unwrap()
}

#[tokio::test]
async fn no_list_scans_a_table() {
    let place = Place::new();
    let ledger = place.open();
    let db = place.other();
    let one = format!("{ENTRIES} WHERE e.id = ?1");
    for sql in [OF_STATE, SUCCEEDED, NEWEST, OPEN, NEXT_SPAN, &one] {
        let plan = plan(&db, sql);
        let searches = |step: &String| step.starts_with("SEARCH ") || step.starts_with("SCALAR SUBQUERY ");
        assert!(plan.iter().all(searches), "{sql}\n{plan:#?}");
    }
    let by_index = |sql, end: &str| assert!(plan(&db, sql)[0].ends_with(end), "{:?}", plan(&db, sql));
    by_index(OF_STATE, "entries_by_state (account=? AND state=? AND id>? AND id<?)");
    by_index(SUCCEEDED, "PRIMARY KEY (account=? AND entry>? AND entry<?)");
    by_index(NEWEST, "INTEGER PRIMARY KEY (rowid>? AND rowid<?)");
    ledger.close().await;
}

async fn fill(file: &SqliteLedger, memory: &MemoryLedger, entries: u64, random: &Random) {
    let draw = |below: u64| random.next_u64() % below;
    let mut now = 100_000;
    for part in 0..entries.div_ceil(100) {
        let new = (0..100).map(|number| {
            // Once in a while the clock is set back.
            now = if draw(200) == 0 { now - draw(2_000) } else { now + draw(3) };
            let account = if draw(50) == 0 { other_account() } else { acme() };
            let order_number = format!("{part} {number}").into();
            NewEntry { account, created: time(now), order_number, ..create("", None) }
        });
        let new = Vec::from_iter(new);
        let begun = join_all(new.iter().map(|new| file.begin(vec![new.clone()], false))).await;
        let mut begun: Vec<_> = begun.into_iter().map(|begun| made(begun.unwrap()).remove(0)).zip(new).collect();
        // The writer may take those that wait for a place in its queue in another order.
        begun.sort_by_key(|(entry, _)| entry.id);
        let mut ended = Vec::new();
        for (entry, new) in begun {
            assert_eq!(made(memory.begin(vec![new], false).await.unwrap())[0], entry);
            let state = match draw(20) {
                0 => continue,
                1 => EntryState::Rejected,
                2 => EntryState::Unknown,
                _ => EntryState::Succeeded,
            };
            ended.push(Entry { state, body: Default::default(), ..entry });
        }
        for ledger in [file.save(ended.clone(), Vec::new()).await, memory.save(ended, Vec::new()).await] {
            assert!(matches!(ledger.unwrap(), SaveResult::Done(_)));
        }
    }
}

#[tokio::test]
async fn lists_are_those_of_the_plain_model_also_where_the_clock_went_back() {
    let random = Random::from_seed(7);
    let draw = |below: u64| random.next_u64() % below;
    let place = Place::new();
    let (file, memory) = (place.open(), MemoryLedger::new());
    fill(&file, &memory, 4_200, &random).await;
    for _ in 0..300 {
        let accounts = match draw(4) {
            0 => None,
            1 => Some(vec![acme()]),
            2 => Some(vec![other_account(), AccountId::new("none").unwrap()]),
            _ => Some(vec![acme(), other_account()]),
        };
        let states = EntryState::ALL.iter().copied().filter(|_| draw(3) == 0).collect();
        let created_before = (draw(3) > 0).then(|| time(97_000 + draw(10_000)));
        let (after, limit) = (OperationId(draw(5_000)), draw(120) as usize);
        let query = EntryQuery { accounts, states, created_before, after, limit };
        assert_eq!(file.list(&query).await.unwrap(), memory.list(&query).await.unwrap(), "{query:?}");
    }
    file.close().await;
}

#[tokio::test]
async fn ages_are_found_of_entries_that_several_processes_made() {
    let place = Place::new();
    let mut found = 0;
    for (process, made_at) in [100, 50, 200].into_iter().enumerate() {
        let ledger = place.open();
        let new = NewEntry { created: time(made_at), ..create(&process.to_string(), None) };
        made(ledger.begin(vec![new], false).await.unwrap());
        let before = Some(time(60));
        let query =
            EntryQuery { accounts: None, states: Vec::new(), created_before: before, after: OperationId(0), limit: 9 };
        found += usize::from(made_at < 60);
        assert_eq!(ledger.list(&query).await.unwrap().len(), found, "{made_at}");
        ledger.close().await;
    }
}

#[tokio::test]
async fn spans_of_dropped_entries_go() {
    let place = Place::new();
    let (file, memory) = (place.open(), MemoryLedger::new());
    fill(&file, &memory, 3_000, &Random::from_seed(1)).await;
    let spans =
        || -> i64 { place.other().query_row("SELECT min(span) FROM entry_spans", [], |row| row.get(0)).unwrap() };
    assert_eq!(spans(), 0);
    let all =
        EntryQuery { accounts: None, states: Vec::new(), created_before: None, after: OperationId(0), limit: 9_999 };
    let open = memory.list(&all).await.unwrap().into_iter().filter(|entry| entry.state.is_open());
    let ended =
        Vec::from_iter(open.map(|entry| Entry { state: EntryState::Expired, body: Default::default(), ..entry }));
    assert!(matches!(file.save(ended, Vec::new()).await.unwrap(), SaveResult::Done(_)));
    assert_eq!(file.trim(time(1_000_000), 2_500).await.unwrap(), 2_500);
    assert_eq!(file.list(&all).await.unwrap().first().map(|entry| entry.id.0 / ENTRY_SPAN), Some(spans() as u64));
    file.close().await;
}

#[tokio::test]
async fn orders_that_succeed_late_are_listed_and_go_with_their_entries() {
    let place = Place::new();
    let (file, memory) = (place.open(), MemoryLedger::new());
    fill(&file, &memory, 3_000, &Random::from_seed(2)).await;
    let all =
        EntryQuery { accounts: None, states: Vec::new(), created_before: None, after: OperationId(0), limit: 9_999 };
    let open = memory.list(&all).await.unwrap().into_iter().filter(|entry| entry.state.is_open());
    let late =
        Vec::from_iter(open.map(|entry| Entry { state: EntryState::Succeeded, body: Default::default(), ..entry }));
    for ledger in [file.save(late.clone(), Vec::new()).await, memory.save(late, Vec::new()).await] {
        assert!(matches!(ledger.unwrap(), SaveResult::Done(_)));
    }
    let succeeded = EntryQuery { states: vec![EntryState::Succeeded], ..all };
    let listed = file.list(&succeeded).await.unwrap();
    assert_eq!(listed, memory.list(&succeeded).await.unwrap());
    let number = |sql: &str| place.other().query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    let counted = number("SELECT value FROM numbers WHERE name = 'counted'");
    assert!(counted > 1_000, "{counted}");
    let below = listed.iter().filter(|entry| integer(entry.id.0) < counted).count();
    assert_eq!(number("SELECT count(*) FROM succeeded"), below as i64);
    assert_eq!(file.trim(time(1_000_000), 500).await.unwrap(), 500);
    assert!(number("SELECT min(entry) FROM succeeded") > 500);
    assert_eq!(number("SELECT count(*) FROM succeeded WHERE entry NOT IN (SELECT id FROM entries)"), 0);
    file.close().await;
}

#[tokio::test]
async fn orders_of_an_earlier_version_are_listed() {
    let place = Place::new();
    let mut earlier = place.other();
    migrations::run_to(&mut earlier, APPLICATION, 0, 7).unwrap();
    // Of five that succeeded, the last two are among the newest.
    earlier
        .execute_batch(
            "INSERT INTO accounts (id, name) VALUES (1, 'acme'); \
             INSERT INTO entries (id, fence, account, kind, state, effect, attempts, batch, batches, created, updated, \
             not_after, freed, correlation_id, fingerprint, order_number, answer, last_error, resolution) \
             SELECT value, 1, 1, 0, 4, 1, 1, 0, 1, 5, 6, 7, 0, zeroblob(16), zeroblob(33), 'A' || value, x'', '', '' \
             FROM (SELECT 1 AS value UNION VALUES (2), (3), (4), (5)); \
             UPDATE numbers SET value = 6 WHERE name = 'next_entry'; UPDATE numbers SET value = 4 WHERE name = 'counted'; \
             INSERT INTO counts VALUES (1, 4, 3);",
        )
        .unwrap();
    drop(earlier);
    let ledger = place.open();
    let states = vec![EntryState::Succeeded];
    let all =
        EntryQuery { accounts: Some(vec![acme()]), states, created_before: None, after: OperationId(1), limit: 9 };
    let listed = Vec::from_iter(ledger.list(&all).await.unwrap().into_iter().map(|entry| entry.id.0));
    assert_eq!(listed, [2, 3, 4, 5]);
    ledger.close().await;
}

/// Somebody's list takes for ever, and many have asked for one and left: look-ups do not wait, and nobody works for
/// those.
#[tokio::test]
async fn abandoned_lists_hold_nobody_up_and_are_not_made() {
    let place = Place::new();
    let ledger = place.open();
    let entry = made(ledger.begin(vec![create("A", None)], false).await.unwrap()).remove(0);
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let stuck = ledger.read_by(&ledger.0.lists, move |_, left| {
        let _ = held.recv();
        Ok(left())
    });
    let mut stuck = Box::pin(stuck);
    assert!(futures_util::poll!(&mut stuck).is_pending());
    let made = std::sync::Arc::new(AtomicUsize::new(0));
    for _ in 0..40 {
        let made = made.clone();
        let mut list = Box::pin(ledger.read_by(&ledger.0.lists, move |_, _| {
            made.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            Ok(())
        }));
        assert!(futures_util::poll!(&mut list).is_pending());
    }
    assert_eq!(ledger.get(entry.id).await.unwrap(), Some(entry.clone()));
    assert_eq!(ledger.in_hand(OperationId(0), 9).await.unwrap(), [entry]);
    hold.send(()).unwrap();
    assert!(!stuck.await.unwrap());
    assert_eq!(ledger.counts().await.unwrap().len(), 1);
    assert_eq!(made.load(std::sync::atomic::Ordering::SeqCst), 0);
    ledger.close().await;
}

#[tokio::test]
async fn a_list_ends_between_two_steps_when_its_caller_leaves() {
    let place = Place::new();
    let ledger = place.open();
    let new = Vec::from_iter((0..3 * STEP).map(|number| create(&number.to_string(), None)));
    join_all(new.into_iter().map(|new| ledger.begin(vec![new], false))).await;
    let db = place.other();
    let asked = std::cell::Cell::new(0);
    let listed = |most: usize| {
        asked.set(0);
        let wanted = ListQuery {
            accounts: vec![1],
            states: &[EntryState::Sending],
            before: i64::MAX,
            after: 0,
            limit: 3 * STEP,
        };
        let left = || asked.replace(asked.get() + 1) >= most;
        matching(&db, &wanted, &left).unwrap().len()
    };
    assert_eq!(listed(usize::MAX), 3 * STEP);
    let steps = asked.get();
    assert!(steps >= 6, "{steps}");
    assert_eq!(listed(steps - 1), 2 * STEP);
    assert_eq!((listed(0), asked.get()), (0, 1));
    ledger.close().await;
}
