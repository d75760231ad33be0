//! Keys on their way from memory into the table, through kills.

use std::collections::HashMap;

use bytes::Bytes;
use futures_util::future::join_all;

use super::super::migrations;
use super::super::newest_keys::NEWEST;
use super::super::open::APPLICATION;
use super::super::tests::Place;
use super::*;
use crate::domain::ledger::{Entry, EntryState, Fingerprint, MutationKind, NewEntry, OperationId};
use crate::ports::ledger::{BeginConflict, BeginOutcome, Ledger, SaveResult};
use crate::ports::random::Random;
use crate::store::keys::EntryKeys;
use crate::store::memory::MemoryLedger;
use crate::store::sqlite::SqliteLedger;
use crate::testing::store::{acme, cancel, create, made, time};

fn in_table(place: &Place) -> usize {
    let keys: i64 = place.other().query_row("SELECT count(*) FROM keys", [], |row| row.get(0)).unwrap();
    usize::try_from(keys).unwrap()
}

/// The same calls to a file and to a ledger that is kept in memory, which finds entries in another way.
struct Both {
    place: Place,
    file: SqliteLedger,
    memory: MemoryLedger,
    /// Ids in the file, by those in memory.
    ids: HashMap<OperationId, OperationId>,
    open: Vec<(Entry, Entry)>,
}

impl Both {
    async fn begin(&mut self, new: Vec<NewEntry>, join: bool) {
        let shown = format!("{new:?}");
        let file = self.file.begin(new.clone(), join).await.unwrap();
        match (file, self.memory.begin(new, join).await.unwrap()) {
            (BeginOutcome::New(file), BeginOutcome::New(memory)) => {
                self.ids.extend(memory.iter().map(|entry| entry.id).zip(file.iter().map(|entry| entry.id)));
                self.open.extend(file.into_iter().zip(memory));
            }
            (BeginOutcome::Existing { by, entries }, BeginOutcome::Existing { by: expected, entries: memory }) => {
                assert_eq!(by, expected, "{shown}");
                let expected = Vec::from_iter(memory.iter().map(|entry| self.ids[&entry.id]));
                assert_eq!(Vec::from_iter(entries.iter().map(|entry| entry.id)), expected, "{shown}");
            }
            (file, memory) => assert_eq!(file, memory, "{shown}"),
        }
    }

    async fn end(&mut self, which: usize, state: EntryState, at: u64) {
        let (file, memory) = self.open.swap_remove(which);
        let end = |entry| Entry { state, updated: time(at), body: Bytes::new(), snapshot: Vec::new(), ..entry };
        assert!(matches!(self.file.save(vec![end(file)], Vec::new()).await.unwrap(), SaveResult::Done(_)));
        assert!(matches!(self.memory.save(vec![end(memory)], Vec::new()).await.unwrap(), SaveResult::Done(_)));
    }

    async fn compare(&self, number: &str, request: &str) {
        let id_of = |entry: Entry| entry.id;
        let of_memory = |entry: Entry| self.ids[&entry.id];
        let file = self.file.creation_of(&acme(), number).await.unwrap().map(id_of);
        assert_eq!(file, self.memory.creation_of(&acme(), number).await.unwrap().map(of_memory), "{number}");
        for kind in [MutationKind::Create, MutationKind::Cancel] {
            let file = self.file.of_request(&acme(), kind, request).await.unwrap();
            let memory = self.memory.of_request(&acme(), kind, request).await.unwrap();
            let expected = Vec::from_iter(memory.into_iter().map(of_memory));
            assert_eq!(Vec::from_iter(file.into_iter().map(id_of)), expected, "{request}");
        }
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
async fn a_file_finds_what_a_ledger_in_memory_finds() {
    let random = Random::from_seed(4);
    let draw = |below: u64| random.next_u64() % below;
    let place = Place::new();
    let (file, memory) = (place.open(), MemoryLedger::new());
    let mut both = Both { place, file, memory, ids: HashMap::new(), open: Vec::new() };
    for now in 0..1500 {
        let number = format!("n{}", draw(300));
        let request = format!("r{}", draw(200));
        match draw(20) {
            0..6 => both.begin(vec![create(&number, None)], false).await,
            6..9 => both.begin(vec![create(&number, Some(&request))], false).await,
            9..12 => both.begin(cancel(&number, &request, 1 + draw(2) as u32), draw(2) == 0).await,
            12..17 if !both.open.is_empty() => {
                let states = [
                    EntryState::Succeeded,
                    EntryState::Succeeded,
                    EntryState::Rejected,
                    EntryState::NotSent,
                    EntryState::Expired,
                ];
                let which = draw(both.open.len() as u64) as usize;
                both.end(which, states[draw(5) as usize], now).await;
            }
            17..19 => both.compare(&number, &request).await,
            _ if draw(4) == 0 => {
                let before = time(now.saturating_sub(50));
                let file = both.file.trim(before, 1000).await.unwrap();
                assert_eq!(file, both.memory.trim(before, 1000).await.unwrap());
            }
            _ if draw(8) == 0 => both.kill().await,
            _ => {}
        }
    }
    for number in 0..300 {
        both.begin(vec![create(&format!("n{number}"), None)], false).await;
    }
    both.file.close().await;
    assert!(in_table(&both.place) > 2 * NEWEST, "few have moved: {}", in_table(&both.place));
}

#[tokio::test]
async fn keys_move_as_others_come_and_are_found_before_while_and_after() {
    let place = Place::new();
    let ledger = place.open();
    let numbers = Vec::from_iter((0..5 * NEWEST).map(|number| number.to_string()));
    let (mut added, mut entries) = (0, Vec::new());
    for part in numbers.chunks(NEWEST / 2) {
        let begun = join_all(part.iter().map(|number| ledger.begin(vec![create(number, None)], false))).await;
        entries.extend(begun.into_iter().flat_map(|begun| made(begun.unwrap())));
        added += part.len();
        let held = added - in_table(&place);
        assert!(held <= 2 * NEWEST && held >= added.min(NEWEST) / 2, "{held} of {added}");
    }
    assert!(in_table(&place) >= 3 * NEWEST);
    for number in &numbers {
        let begun = ledger.begin(vec![create(number, None)], false).await.unwrap();
        assert!(matches!(begun, BeginOutcome::Existing { by: BeginConflict::OrderNumber, .. }), "{number}");
    }
    let end = |entry| Entry { state: EntryState::Rejected, body: Bytes::new(), ..entry };
    let ended = entries.into_iter().map(end).collect();
    assert!(matches!(ledger.save(ended, Vec::new()).await.unwrap(), SaveResult::Done(_)));
    assert_eq!(in_table(&place), 0, "nothing stands by a number");
    ledger.close().await;
}

#[tokio::test]
async fn an_id_that_is_freed_again_and_again_leaves_nothing_behind() {
    let place = Place::new();
    let ledger = place.open();
    for round in 0..3 * NEWEST {
        let entry = made(ledger.begin(vec![create(&round.to_string(), Some("r"))], false).await.unwrap()).remove(0);
        let end = Entry { state: EntryState::NotSent, body: Bytes::new(), ..entry };
        assert!(matches!(ledger.save(vec![end], Vec::new()).await.unwrap(), SaveResult::Done(_)));
    }
    let found = ledger
        .write(|tx| {
            let account = tx.account(&acme())?;
            candidates(tx, EntryKeyKind::Request(MutationKind::Create), account, b"r")
        })
        .await
        .unwrap();
    assert_eq!(found.len(), 1);
    ledger.close().await;
    assert!(in_table(&place) < 3, "{}", in_table(&place));
}

#[tokio::test]
async fn two_that_share_a_hash_are_told_apart() {
    let place = Place::new();
    let ledger = place.open();
    let one = made(ledger.begin(vec![create("one", Some("r"))], false).await.unwrap()).remove(0);
    let other = made(ledger.begin(vec![create("other", None)], false).await.unwrap()).remove(0);
    let id = |entry: &Entry| i64::try_from(entry.id.0).unwrap();
    let (first, second) = (id(&one), id(&other));
    ledger
        .write(move |tx| {
            let account = tx.account(&acme())?;
            // As if all of them had the same.
            for by in [EntryKeyKind::Number, EntryKeyKind::Request(MutationKind::Create), EntryKeyKind::Content] {
                for key in ["one", "other", "third", "r"] {
                    let hash = hash(by, account, key.as_bytes());
                    tx.newest(KeyedRows::Entries).added.extend([(hash, first), (hash, second)]);
                }
            }
            Ok(())
        })
        .await
        .unwrap();
    for entry in [&one, &other] {
        let begun = ledger.begin(vec![create(&entry.order_number, None)], false).await.unwrap();
        let BeginOutcome::Existing { by: BeginConflict::OrderNumber, entries } = begun else { panic!("{begun:?}") };
        assert_eq!(entries[0].id, entry.id);
    }
    made(ledger.begin(vec![create("third", None)], false).await.unwrap());
    ledger.close().await;
}

#[tokio::test]
async fn what_an_older_version_kept_is_found() {
    let place = Place::new();
    let mut old = place.other();
    migrations::run_to(&mut old, APPLICATION, 0, 2).unwrap();
    old.execute_batch(
        "INSERT INTO accounts (id, name) VALUES (1, 'acme'); UPDATE numbers SET value = 1000 WHERE name = 'next_entry'",
    )
    .unwrap();
    let columns = "fence, account, kind, state, effect, attempts, batch, batches, created, updated, not_after, freed, \
         correlation_id, fingerprint, order_number, answer, last_error, resolution";
    let values = "0, 1, ?2, ?3, 0, 0, 0, 1, 0, 0, 0, 0, zeroblob(16), zeroblob(33), 'x', x'', '', ''";
    let insert = format!(
        "INSERT INTO entries (id, {columns}, number_key, request_key, content_key) VALUES (?1, {values}, ?4, ?5, ?6)"
    );
    let content = EntryKeys::of(&cancel("C", "", 1)[0]).content.unwrap();
    let none = None::<&[u8]>;
    old.execute(&insert, params![5, 0, 4, b"A", b"r", none]).unwrap();
    old.execute(&insert, params![6, 1, 2, none, b"r", content]).unwrap();
    old.execute("INSERT INTO trimmed VALUES (1, 1, ?1, 'T', zeroblob(33), x'07')", [b"T"]).unwrap();
    drop(old);
    let ledger = place.open();
    for (new, join, expected) in [
        (create("A", None), false, (BeginConflict::OrderNumber, 5)),
        (create("new", Some("r")), false, (BeginConflict::RequestId, 5)),
        (cancel("A", "r", 1).remove(0), false, (BeginConflict::RequestId, 6)),
        (cancel("C", "other", 1).remove(0), true, (BeginConflict::Content, 6)),
    ] {
        let begun = ledger.begin(vec![new], join).await.unwrap();
        let BeginOutcome::Existing { by, entries } = begun else { panic!("{begun:?}") };
        assert_eq!((by, entries[0].id), (expected.0, OperationId(expected.1)));
    }
    let trimmed = BeginOutcome::Trimmed { fingerprint: Fingerprint([0; 33]), answer: vec![7] };
    assert_eq!(ledger.begin(vec![create("T", None)], false).await.unwrap(), trimmed);
    made(ledger.begin(vec![create("B", None)], false).await.unwrap());
    ledger.close().await;
    assert_eq!(in_table(&place), 5);
}

#[tokio::test]
async fn what_a_failed_transaction_took_out_or_moved_is_found_again() {
    let place = Place::new();
    let ledger = place.open();
    let mut entries = Vec::new();
    for number in 0..NEWEST + NEWEST / 2 {
        entries.extend(made(ledger.begin(vec![create(&number.to_string(), None)], false).await.unwrap()));
    }
    let before = in_table(&place);
    assert!(before > 0 && before < NEWEST, "they are moving: {before}");
    let failed = ledger.write(move |tx| -> rusqlite::Result<()> {
        let account = tx.account(&acme())?;
        for entry in &entries {
            let id = i64::try_from(entry.id.0).unwrap();
            remove(tx, EntryKeyKind::Number, account, entry.order_number.as_bytes(), id)?;
        }
        add(tx, EntryKeyKind::Number, account, b"lost", 1);
        tx.finish()?;
        let newest = tx.newest(KeyedRows::Entries);
        assert!(!newest.began && newest.moving.is_empty() && newest.added.len() < 2);
        Err(rusqlite::Error::InvalidQuery)
    });
    failed.await.unwrap_err();
    let newest = ledger
        .write(|tx| Ok(tx.newest(KeyedRows::Entries).added.len() + tx.newest(KeyedRows::Entries).moving.len()))
        .await
        .unwrap();
    assert_eq!(newest + before, NEWEST + NEWEST / 2 + 1, "kept, and one too many");
    for _ in 0..2 {
        for number in 0..NEWEST + NEWEST / 2 {
            let begun = ledger.begin(vec![create(&number.to_string(), None)], false).await.unwrap();
            assert!(matches!(begun, BeginOutcome::Existing { by: BeginConflict::OrderNumber, .. }), "{number}");
        }
        made(ledger.begin(vec![create("lost", None)], false).await.unwrap());
        let entry = ledger.creation_of(&acme(), "lost").await.unwrap().unwrap();
        let end = Entry { state: EntryState::Rejected, body: Bytes::new(), ..entry };
        assert!(matches!(ledger.save(vec![end], Vec::new()).await.unwrap(), SaveResult::Done(_)));
    }
    ledger.close().await;
}
