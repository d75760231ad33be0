//! What stands against a new entry, and what does not.

use bytes::Bytes;

use super::*;

pub(super) async fn what_is_made_is_kept_as_given(ledger: impl Ledger) {
    for (new, attempts) in
        [(create("A", Some("r")), 1), (NewEntry { state: EntryState::Recorded, ..cancel("A", "c", 1).remove(0) }, 0)]
    {
        let entry = begin(&ledger, new.clone()).await;
        let NewEntry { account, kind, order_number, request_id, batch, batches, fingerprint, state, created, .. } = new;
        let NewEntry { not_after, boot, correlation_id, body, snapshot, .. } = new;
        let want = Entry {
            id: entry.id,
            fence: entry.fence,
            account,
            kind,
            order_number,
            request_id,
            batch,
            batches,
            fingerprint,
            state,
            effect: if new.state == EntryState::Sending { Effect::Unknown } else { Effect::None },
            attempts,
            created,
            updated: created,
            not_after,
            next: None,
            boot,
            correlation_id,
            unknown: None,
            body,
            snapshot,
            answer: Bytes::new(),
            last_error: String::new(),
            resolution: String::new(),
            evidence: None,
            is_owed: false,
        };
        assert_eq!(entry, want);
        assert_eq!(ledger.get(entry.id).await.unwrap(), Some(want));
    }
    assert_eq!(ledger.get(OperationId(999)).await.unwrap(), None);
    assert_eq!(ledger.get(OperationId(u64::MAX)).await.unwrap(), None);
}

pub(super) async fn an_outcome_that_is_owed_is_told_once(ledger: impl Ledger) {
    let entries = made(ledger.begin(cancel("A", "c", 2), true).await.unwrap());
    let end = |entry: &Entry| Entry { is_owed: true, ..ended(entry, EntryState::Succeeded, time(1)) };
    let SaveResult::Done(owed) = ledger.save(entries.iter().map(end).collect(), Vec::new()).await.unwrap() else {
        panic!()
    };
    assert!(owed.iter().all(|entry| entry.is_owed));
    assert_eq!(ledger.get(entries[0].id).await.unwrap().as_ref(), Some(&owed[0]));
    let again = |id| cancel("A", id, 2);
    let BeginOutcome::Existing { by: BeginConflict::Content, entries: told } =
        ledger.begin(again("d"), true).await.unwrap()
    else {
        panic!("it was not found by its content")
    };
    assert_eq!(told, owed);
    let kept = ledger.get(entries[1].id).await.unwrap().unwrap();
    assert!(!kept.is_owed);
    let new = made(ledger.begin(again("e"), true).await.unwrap());
    assert_ne!(new[0].id, entries[0].id);
}

pub(super) async fn an_outcome_may_become_owed_after_it_was_written(ledger: impl Ledger) {
    let created = made(ledger.begin(vec![create("B", None)], false).await.unwrap());
    let entries = made(ledger.begin(cancel("A", "c", 1), true).await.unwrap());
    let id = entries[0].id;
    ledger.owe(OperationId(999)).await.unwrap();
    // An open entry is found by its content anyway.
    ledger.owe(id).await.unwrap();
    assert!(!ledger.get(id).await.unwrap().unwrap().is_owed);
    let ends = [&entries[0], &created[0]].map(|entry| ended(entry, EntryState::Succeeded, time(1)));
    ledger.save(ends.into(), Vec::new()).await.unwrap();
    for id in [created[0].id, id, id] {
        ledger.owe(id).await.unwrap();
    }
    assert!(!ledger.get(created[0].id).await.unwrap().unwrap().is_owed);
    assert!(ledger.get(id).await.unwrap().unwrap().is_owed);
    let told = ledger.begin(cancel("A", "d", 1), true).await.unwrap();
    assert!(matches!(told, BeginOutcome::Existing { by: BeginConflict::Content, .. }), "{told:?}");
    assert!(!ledger.get(id).await.unwrap().unwrap().is_owed);
    made(ledger.begin(cancel("A", "e", 1), true).await.unwrap());
}

pub(super) async fn a_debt_may_be_paid(ledger: impl Ledger) {
    let entries = made(ledger.begin(cancel("A", "c", 1), true).await.unwrap());
    let id = entries[0].id;
    // An open entry is found by its content for as long as it is open.
    ledger.pay(id).await.unwrap();
    existing(ledger.begin(cancel("A", "d", 1), true).await.unwrap());
    save(&ledger, Entry { is_owed: true, ..ended(&entries[0], EntryState::Succeeded, time(1)) }).await;
    assert!(ledger.get(id).await.unwrap().unwrap().is_owed);
    for id in [id, id, OperationId(999)] {
        ledger.pay(id).await.unwrap();
    }
    assert!(!ledger.get(id).await.unwrap().unwrap().is_owed);
    made(ledger.begin(cancel("A", "e", 1), true).await.unwrap());
}

pub(super) async fn batches_are_made_together_with_rising_ids(ledger: impl Ledger) {
    begin(&ledger, create("A", None)).await;
    let entries = made(ledger.begin(cancel("A", "c", 3), false).await.unwrap());
    assert!(entries.is_sorted_by(|a, b| a.id < b.id));
    assert_eq!(
        Vec::from_iter(entries.iter().map(|entry| (entry.batch, entry.state))),
        [(0, EntryState::Sending), (1, EntryState::Recorded), (2, EntryState::Recorded)]
    );
    assert_eq!(ledger.of_request(&acme(), MutationKind::Cancel, "c").await.unwrap(), entries);
}

pub(super) async fn a_request_id_stands_for_its_account_and_kind(ledger: impl Ledger) {
    let entries = made(ledger.begin(cancel("A", "r", 2), false).await.unwrap());
    let again =
        NewEntry { order_number: "B".into(), fingerprint: Fingerprint([9; 33]), ..cancel("B", "r", 1).remove(0) };
    let ids = Vec::from_iter(entries.iter().map(|entry| entry.id));
    assert_eq!(existing(ledger.begin(vec![again], true).await.unwrap()), (BeginConflict::RequestId, ids));
    // The same id of another kind or account is another.
    begin(&ledger, create("A", Some("r"))).await;
    begin(&ledger, NewEntry { account: other_account(), ..cancel("A", "r", 1).remove(0) }).await;
    assert_eq!(ledger.of_request(&other_account(), MutationKind::Cancel, "r").await.unwrap().len(), 1);
    assert_eq!(ledger.of_request(&other_account(), MutationKind::Create, "r").await.unwrap(), []);
    assert_eq!(ledger.of_request(&acme(), MutationKind::Cancel, "other").await.unwrap(), []);
    // A final one holds it as well, whatever it ended as.
    for (number, state) in [("R", EntryState::Rejected), ("S", EntryState::Succeeded), ("E", EntryState::Expired)] {
        let entry = begin(&ledger, create(number, Some(number))).await;
        to(&ledger, &entry, state, time(1)).await;
        let again = create("another", Some(number));
        assert_eq!(
            existing(ledger.begin(vec![again], false).await.unwrap()),
            (BeginConflict::RequestId, vec![entry.id])
        );
    }
}

pub(super) async fn a_request_id_is_freed_when_all_of_it_was_not_sent(ledger: impl Ledger) {
    for round in 0..3 {
        let entries = made(ledger.begin(cancel("A", "r", 2), false).await.unwrap());
        assert_eq!(ledger.of_request(&acme(), MutationKind::Cancel, "r").await.unwrap(), entries, "{round}");
        for entry in &entries {
            to(&ledger, entry, EntryState::NotSent, time(1)).await;
        }
        let last = ledger.of_request(&acme(), MutationKind::Cancel, "r").await.unwrap();
        assert_eq!(Vec::from_iter(last.iter().map(|e| e.id)), Vec::from_iter(entries.iter().map(|e| e.id)));
    }
    let entry = begin(&ledger, create("A", Some("r"))).await;
    to(&ledger, &entry, EntryState::NotSent, time(1)).await;
    let next = begin(&ledger, create("A", Some("r"))).await;
    assert_ne!(entry.id, next.id);
}

pub(super) async fn a_request_partly_sent_keeps_its_id(ledger: impl Ledger) {
    for sent in [0, 1] {
        let id = format!("r{sent}");
        let entries = made(ledger.begin(cancel("A", &id, 2), false).await.unwrap());
        to(&ledger, &entries[1 - sent], EntryState::NotSent, time(1)).await;
        to(&ledger, &entries[sent], EntryState::Succeeded, time(1)).await;
        let ids = Vec::from_iter(entries.iter().map(|entry| entry.id));
        let begun = ledger.begin(cancel("A", &id, 1), false).await.unwrap();
        assert_eq!(existing(begun), (BeginConflict::RequestId, ids));
    }
}

pub(super) async fn an_order_number_is_held_until_its_state_lets_go(ledger: impl Ledger) {
    for state in EntryState::ALL {
        let number = state.name();
        let entry = begin(&ledger, create(number, None)).await;
        let entry = if state == EntryState::Sending { entry } else { to(&ledger, &entry, state, time(1)).await };
        let begun = ledger.begin(vec![create(number, Some(number))], false).await.unwrap();
        let holder = ledger.creation_of(&acme(), number).await.unwrap();
        if state.holds_order_number() {
            assert_eq!(existing(begun), (BeginConflict::OrderNumber, vec![entry.id]), "{state:?}");
            assert_eq!(holder, Some(entry));
        } else {
            assert_eq!(holder, Some(made(begun).remove(0)), "{state:?}");
        }
    }
    assert_eq!(ledger.creation_of(&acme(), "none").await.unwrap(), None);
}

pub(super) async fn an_order_number_stands_for_its_account_and_for_creations(ledger: impl Ledger) {
    begin(&ledger, create("A", None)).await;
    let other = NewEntry { account: other_account(), ..create("A", None) };
    let entry = begin(&ledger, other).await;
    assert_eq!(ledger.creation_of(&other_account(), "A").await.unwrap(), Some(entry));
    made(ledger.begin(cancel("A", "c", 1), false).await.unwrap());
    made(ledger.begin(cancel("B", "d", 1), false).await.unwrap());
    begin(&ledger, create("B", None)).await;
}

pub(super) async fn the_request_id_is_looked_at_before_the_order_number(ledger: impl Ledger) {
    let by_id = begin(&ledger, create("A", Some("r"))).await;
    let by_number = begin(&ledger, create("B", None)).await;
    let both = ledger.begin(vec![create("B", Some("r"))], false).await.unwrap();
    assert_eq!(existing(both), (BeginConflict::RequestId, vec![by_id.id]));
    let number = ledger.begin(vec![create("B", Some("new"))], false).await.unwrap();
    assert_eq!(existing(number), (BeginConflict::OrderNumber, vec![by_number.id]));
    // What found something made nothing.
    assert_eq!(ledger.of_request(&acme(), MutationKind::Create, "new").await.unwrap(), []);
}

pub(super) async fn many_begins_of_one_order_number_make_one(ledger: impl Ledger) {
    let calls = (0..100).map(|call| {
        let ledger = ledger.clone();
        tokio::spawn(async move { ledger.begin(vec![create("A", Some(&format!("r{call}")))], false).await.unwrap() })
    });
    let mut new = 0;
    for call in calls.collect::<Vec<_>>() {
        match call.await.unwrap() {
            BeginOutcome::New(_) => new += 1,
            begun => assert_eq!(existing(begun).0, BeginConflict::OrderNumber),
        }
    }
    assert_eq!(new, 1);
}

pub(super) async fn an_open_cancellation_is_joined_only_when_asked(ledger: impl Ledger) {
    let first = made(ledger.begin(cancel("A", "1", 2), true).await.unwrap());
    let ids = Vec::from_iter(first.iter().map(|entry| entry.id));
    assert_eq!(existing(ledger.begin(cancel("A", "2", 2), true).await.unwrap()), (BeginConflict::Content, ids.clone()));
    let second = made(ledger.begin(cancel("A", "3", 2), false).await.unwrap());
    assert_eq!(existing(ledger.begin(cancel("A", "4", 2), true).await.unwrap()), (BeginConflict::Content, ids));
    // Another order, content or account is not the same; nor is a creation.
    made(ledger.begin(cancel("B", "5", 1), true).await.unwrap());
    let content = NewEntry { fingerprint: Fingerprint([9; 33]), ..cancel("A", "6", 1).remove(0) };
    made(ledger.begin(vec![content], true).await.unwrap());
    let account = NewEntry { account: other_account(), ..cancel("A", "7", 1).remove(0) };
    made(ledger.begin(vec![account], true).await.unwrap());
    made(ledger.begin(vec![create("A", None)], true).await.unwrap());
    assert_ne!(first[0].id, second[0].id);
}

pub(super) async fn a_cancellation_is_joined_while_one_of_it_is_open(ledger: impl Ledger) {
    let first = made(ledger.begin(cancel("A", "1", 2), true).await.unwrap());
    let ids = Vec::from_iter(first.iter().map(|entry| entry.id));
    to(&ledger, &first[0], EntryState::Rejected, time(1)).await;
    let unknown = to(&ledger, &first[1], EntryState::Unknown, time(1)).await;
    assert_eq!(existing(ledger.begin(cancel("A", "2", 2), true).await.unwrap()), (BeginConflict::Content, ids));
    to(&ledger, &unknown, EntryState::Succeeded, time(1)).await;
    made(ledger.begin(cancel("A", "2", 2), true).await.unwrap());
}
