//! Who has an entry in hand, and what becomes of it when its process ends.

use std::future::Future;

use bytes::Bytes;

use super::*;
use crate::ports::replicas::{Duty, Replicas};

const ALL: OperationId = OperationId(0);

fn ids(entries: &[Entry]) -> Vec<OperationId> {
    entries.iter().map(|entry| entry.id).collect()
}

/// The entry, planned for this second.
async fn planned(ledger: &impl Ledger, entry: &Entry, state: EntryState, seconds: u64) -> Entry {
    save(ledger, Entry { next: Some(moment(seconds)), ..ended(entry, state, time(1)) }).await
}

pub(super) async fn what_is_in_hand_is_sent_or_waits_for_its_turn(ledger: impl Ledger) {
    let first = begin(&ledger, create("A", None)).await;
    let batches = made(ledger.begin(cancel("A", "r", 3), false).await.unwrap());
    let all = [vec![first.clone()], batches.clone()].concat();
    assert_eq!(ledger.in_hand(ALL, 9).await.unwrap(), all);
    assert_eq!(ledger.in_hand(ALL, 2).await.unwrap(), all[..2]);
    assert_eq!(ledger.in_hand(all[1].id, 9).await.unwrap(), all[2..]);
    assert_eq!(ledger.in_hand(all[3].id, 9).await.unwrap(), []);
    assert_eq!(ledger.in_hand(ALL, 0).await.unwrap(), []);

    planned(&ledger, &first, EntryState::Unknown, 5).await;
    to(&ledger, &batches[0], EntryState::NeedsOperator, time(1)).await;
    let waiting = planned(&ledger, &batches[1], EntryState::Recorded, 5).await;
    to(&ledger, &batches[2], EntryState::Rejected, time(1)).await;
    assert_eq!(ledger.in_hand(ALL, 9).await.unwrap(), []);
    // Sent again, it is in hand again.
    let sent = save(&ledger, Entry { next: None, ..ended(&waiting, EntryState::Sending, time(2)) }).await;
    assert_eq!(ledger.in_hand(ALL, 9).await.unwrap(), [sent]);
}

pub(super) async fn due_is_what_is_in_nobodys_hand(ledger: impl Ledger) {
    let mut made = Vec::new();
    for number in ["A", "B", "C", "D", "E", "F"] {
        made.push(begin(&ledger, create(number, None)).await);
    }
    let later = planned(&ledger, &made[0], EntryState::Unknown, 7).await;
    let operator = planned(&ledger, &made[1], EntryState::NeedsOperator, 6).await;
    let recorded = planned(&ledger, &made[2], EntryState::Recorded, 7).await;
    // Nobody looks at these: an operator has to decide, it is being sent, it is final.
    to(&ledger, &made[3], EntryState::NeedsOperator, time(1)).await;
    planned(&ledger, &made[4], EntryState::Sending, 1).await;
    to(&ledger, &made[5], EntryState::Succeeded, time(1)).await;
    let other = begin(&ledger, NewEntry { account: other_account(), ..create("A", None) }).await;
    let other = planned(&ledger, &other, EntryState::Unknown, 1).await;

    let both = [other_account(), acme()];
    let due = [other.clone(), operator.clone(), later.clone(), recorded];
    assert_eq!(ledger.due(&both, time(7), 9).await.unwrap(), due);
    assert_eq!(ledger.due(&both, time(7), 3).await.unwrap(), due[..3]);
    assert_eq!(ledger.due(&both, time(6), 9).await.unwrap(), due[..2]);
    assert_eq!(ledger.due(&[acme()], time(6), 9).await.unwrap(), [operator]);
    assert_eq!(ledger.due(&[acme()], time(5), 9).await.unwrap(), []);
    assert_eq!(ledger.due(&[], time(9), 9).await.unwrap(), []);
    assert_eq!(ledger.due(&both, time(9), 0).await.unwrap(), []);
}

pub(super) async fn which_ended_tells_final_and_gone(ledger: impl Ledger) {
    let mut made = Vec::new();
    for (index, state) in EntryState::ALL.into_iter().enumerate() {
        let entry = begin(&ledger, create(&index.to_string(), None)).await;
        made.push(if state == EntryState::Sending { entry } else { to(&ledger, &entry, state, time(1)).await });
    }
    let gone = OperationId(made[7].id.0 + 100);
    let asked = [ids(&made), vec![gone]].concat();
    let mut ended = ledger.which_ended(&asked).await.unwrap();
    ended.sort_unstable();
    assert_eq!(ended, asked[4..]);
    assert_eq!(ledger.which_ended(&asked[..4]).await.unwrap(), []);
    assert_eq!(ledger.which_ended(&[]).await.unwrap(), []);
}

/// For a store of one process at a time.
pub(super) async fn orphans_are_what_an_earlier_process_left<L: Ledger, F: Future<Output = L>>(
    ledger: L,
    next_process: impl FnOnce(L) -> F,
) {
    let mut open = Vec::new();
    for (index, state) in EntryState::ALL.into_iter().chain(EntryState::ALL).enumerate() {
        let account = if index < 8 { acme() } else { other_account() };
        let new = NewEntry { account, ..create(&index.to_string(), None) };
        // One that is open without a body is found as well.
        let body = if index < 8 { Bytes::new() } else { new.body.clone() };
        let entry = begin(&ledger, NewEntry { body, ..new }).await;
        let entry = if state == EntryState::Sending { entry } else { to(&ledger, &entry, state, time(1)).await };
        open.extend(state.is_open().then_some(entry));
    }
    assert_eq!(open.len(), 8);
    assert_eq!(ledger.orphans(ALL, 100).await.unwrap(), []);

    let ledger = next_process(ledger).await;
    assert_eq!(ledger.orphans(ALL, 100).await.unwrap(), open);
    assert_eq!(ledger.orphans(ALL, 3).await.unwrap(), open[..3]);
    assert_eq!(ledger.orphans(open[2].id, 3).await.unwrap(), open[3..6]);
    assert_eq!(ledger.orphans(open[7].id, 3).await.unwrap(), []);
    assert_eq!(ledger.orphans(OperationId(u64::MAX), 3).await.unwrap(), []);
    assert_eq!(ledger.orphans(ALL, 0).await.unwrap(), []);
    // What this process makes is none, and does not hide the others.
    let own = begin(&ledger, create("own", None)).await;
    assert_eq!(ledger.orphans(ALL, 100).await.unwrap(), open);
    assert_eq!(ledger.in_hand(ALL, 100).await.unwrap(), [own]);

    let duties = vec![Duty::Trim, Duty::Resolver(acme())];
    assert_eq!(ledger.claim(duties.clone()).await.unwrap(), duties);
    assert_eq!((ledger.is_shared(), ledger.trusted_until(), ledger.end_dead().await.unwrap()), (false, None, 0));
    ledger.resign().await.unwrap();
}

/// For two processes of a store that is shared.
pub(super) async fn what_a_process_has_in_hand_is_left_when_it_ends<L: Ledger>(one: L, other: L) {
    assert!(one.is_shared() && other.is_shared());
    let first = begin(&one, create("A", None)).await;
    let batches = made(one.begin(cancel("A", "r", 2), false).await.unwrap());
    let own = begin(&other, create("B", None)).await;
    let all = [vec![first.clone()], batches.clone()].concat();
    assert_eq!(one.in_hand(ALL, 9).await.unwrap(), all);
    assert_eq!(other.in_hand(ALL, 9).await.unwrap(), std::slice::from_ref(&own));
    for ledger in [&one, &other] {
        assert_eq!(ledger.orphans(ALL, 9).await.unwrap(), []);
        assert_eq!(ledger.due(&[acme()], time(1_000), 9).await.unwrap(), []);
    }

    // What is in nobody's hand may be written by any process, and what it sends is its own.
    let lost = planned(&one, &first, EntryState::Unknown, 5).await;
    assert_eq!(other.due(&[acme()], time(5), 9).await.unwrap(), std::slice::from_ref(&lost));
    let recorded = planned(&other, &lost, EntryState::Recorded, 6).await;
    assert_eq!(one.due(&[acme()], time(6), 9).await.unwrap(), std::slice::from_ref(&recorded));
    let sent = save(&other, Entry { next: None, ..ended(&recorded, EntryState::Sending, time(6)) }).await;
    assert_eq!(other.in_hand(ALL, 9).await.unwrap(), [sent, own]);
    assert_eq!(one.in_hand(ALL, 9).await.unwrap(), batches);
    assert_eq!(one.save(vec![first], Vec::new()).await.unwrap(), SaveResult::Stale);

    one.resign().await.unwrap();
    assert_eq!(other.orphans(ALL, 9).await.unwrap(), batches);
    assert_eq!(other.orphans(batches[0].id, 9).await.unwrap(), batches[1..]);
    assert_eq!(other.orphans(ALL, 1).await.unwrap(), batches[..1]);
    // Taken over, they are orphans no more.
    planned(&other, &batches[0], EntryState::Unknown, 7).await;
    save(&other, Entry { next: None, ..ended(&batches[1], EntryState::Sending, time(7)) }).await;
    assert_eq!(other.orphans(ALL, 9).await.unwrap(), []);
    assert_eq!(other.in_hand(ALL, 9).await.unwrap().len(), 3);
}

/// For two processes of a store that is shared.
pub(super) async fn duties_are_shared_and_pass_on<L: Ledger>(one: L, other: L) {
    let accounts: Vec<_> = (0..4).map(|number| AccountId::new(format!("a{number}")).unwrap()).collect();
    let resolvers: Vec<_> = accounts.iter().cloned().map(Duty::Resolver).collect();
    let mut all = [resolvers, vec![Duty::Trim, Duty::Audits]].concat();
    all.sort_unstable();
    let claimed = async |ledger: &L| {
        let mut held = ledger.claim(all.clone()).await.unwrap();
        held.sort_unstable();
        held
    };
    let of_accounts = |held: &[Duty]| held.iter().filter(|duty| matches!(duty, Duty::Resolver(_))).count();
    let first = claimed(&one).await;
    assert_eq!((of_accounts(&first), first.len()), (2, 4));
    let second = claimed(&other).await;
    assert_eq!((of_accounts(&second), second.len()), (2, 2));
    let mut both = [first.clone(), second].concat();
    both.sort_unstable();
    assert_eq!(both, all);
    // Asked again nothing moves.
    assert_eq!(claimed(&one).await, first);
    one.resign().await.unwrap();
    assert_eq!(claimed(&other).await, all);
}

mod memory {
    use super::*;

    #[tokio::test]
    async fn orphans_are_what_an_earlier_process_left() {
        let next = |ledger: MemoryLedger| async move {
            ledger.restart();
            ledger
        };
        let ledger = MemoryLedger::new();
        // A fresh ledger has had no process.
        assert_eq!(ledger.orphans(ALL, 9).await.unwrap(), []);
        super::orphans_are_what_an_earlier_process_left(ledger, next).await;
    }

    fn two() -> (MemoryLedger, MemoryLedger) {
        let ledger = MemoryLedger::new();
        (ledger.replica(), ledger.replica())
    }

    #[tokio::test]
    async fn what_a_process_has_in_hand_is_left_when_it_ends() {
        let (one, other) = two();
        super::what_a_process_has_in_hand_is_left_when_it_ends(one, other).await;
    }

    #[tokio::test]
    async fn duties_are_shared_and_pass_on() {
        let (one, other) = two();
        super::duties_are_shared_and_pass_on(one, other).await;
    }

    #[tokio::test]
    async fn a_life_that_has_run_out_is_ended_by_another_and_begins_anew() {
        let (one, other) = two();
        let entry = begin(&one, create("A", None)).await;
        assert_eq!(other.end_dead().await.unwrap(), 0);
        one.run_out();
        assert_eq!(other.orphans(ALL, 9).await.unwrap(), []);
        // Nobody ends itself.
        assert_eq!(one.end_dead().await.unwrap(), 0);
        assert_eq!(other.end_dead().await.unwrap(), 1);
        assert_eq!(other.end_dead().await.unwrap(), 0);
        assert_eq!(other.orphans(ALL, 9).await.unwrap(), [entry]);
        let next = begin(&one, create("B", None)).await;
        assert_eq!(one.in_hand(ALL, 9).await.unwrap(), [next]);
    }
}

mod sqlite {
    use super::*;

    #[tokio::test]
    async fn orphans_are_what_an_earlier_process_left() {
        let folder = TempDir::new().unwrap();
        let open = || SqliteLedger::open(&folder.path().join("db"), settings()).unwrap();
        let next = |ledger: SqliteLedger| async move {
            ledger.close().await;
            drop(ledger);
            open()
        };
        super::orphans_are_what_an_earlier_process_left(open(), next).await;
    }
}

mod postgres {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn what_a_process_has_in_hand_is_left_when_it_ends() {
        let schema = new_schema();
        let (one, other) = (open_postgres(&schema).await, open_postgres(&schema).await);
        super::what_a_process_has_in_hand_is_left_when_it_ends(one.clone(), other.clone()).await;
        one.close().await;
        other.close().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn duties_are_shared_and_pass_on() {
        let schema = new_schema();
        let (one, other) = (open_postgres(&schema).await, open_postgres(&schema).await);
        super::duties_are_shared_and_pass_on(one.clone(), other.clone()).await;
        one.close().await;
        other.close().await;
    }
}
