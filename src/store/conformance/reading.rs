//! What is read, what is planned, and what goes in the end.

use bytes::Bytes;

use super::*;

pub(super) async fn changes_of_an_object_are_those_with_an_effect_or_perhaps_one(ledger: impl Ledger) {
    let mut all = Vec::new();
    for number in 0..7_u64 {
        all.push(begin(&ledger, cancel("A", &format!("r{number}"), 1).remove(0)).await);
    }
    let ends = [
        (EntryState::Succeeded, Effect::Applied, 5),
        (EntryState::Succeeded, Effect::Applied, 20),
        (EntryState::Rejected, Effect::None, 20),
        (EntryState::Unknown, Effect::Unknown, 1),
        (EntryState::Recorded, Effect::None, 20),
    ];
    for (entry, (state, effect, updated)) in all.iter_mut().zip(ends) {
        *entry = save(&ledger, Entry { effect, ..ended(entry, state, time(updated)) }).await;
    }
    // Of another object, account or kind.
    begin(&ledger, cancel("B", "r", 1).remove(0)).await;
    begin(&ledger, NewEntry { account: other_account(), ..cancel("A", "r", 1).remove(0) }).await;
    begin(&ledger, NewEntry { kind: MutationKind::Ship, ..cancel("A", "r", 1).remove(0) }).await;
    begin(&ledger, create("A", None)).await;
    let found = async |kind, since, limit| ledger.changes_of(&acme(), kind, "A", time(since), limit).await.unwrap();
    let of = |places: &[usize]| Vec::from_iter(places.iter().map(|place| all[*place].clone()));
    assert_eq!(found(MutationKind::Cancel, 10, 9).await, of(&[6, 5, 3, 1]));
    assert_eq!(found(MutationKind::Cancel, 0, 9).await, of(&[6, 5, 3, 1, 0]));
    assert_eq!(found(MutationKind::Cancel, 0, 2).await, of(&[6, 5]));
    assert_eq!(found(MutationKind::Create, 0, 9).await, []);
    assert_eq!(ledger.changes_of(&acme(), MutationKind::Cancel, "C", time(0), 9).await.unwrap(), []);
}

pub(super) async fn list_filters_and_pages(ledger: impl Ledger) {
    let mut all = Vec::new();
    for index in 0..12_u64 {
        let account = if index % 2 == 0 { acme() } else { other_account() };
        let new = NewEntry { account, created: time(100 - index), ..create(&index.to_string(), None) };
        let entry = begin(&ledger, new).await;
        all.push(if index % 3 == 0 { to(&ledger, &entry, EntryState::Succeeded, time(200)).await } else { entry });
    }
    let query = |accounts: &[AccountId], states: &[EntryState]| EntryQuery {
        accounts: Some(accounts.to_vec()),
        states: states.to_vec(),
        created_before: None,
        after: OperationId(0),
        limit: 100,
    };
    let only = |keep: &dyn Fn(&Entry) -> bool| Vec::from_iter(all.iter().filter(|entry| keep(entry)).cloned());
    let both = query(&[acme(), other_account()], &[]);
    assert_eq!(ledger.list(&both).await.unwrap(), all);
    assert_eq!(ledger.list(&EntryQuery { accounts: None, ..both.clone() }).await.unwrap(), all);
    assert_eq!(ledger.list(&query(&[], &[])).await.unwrap(), []);
    let one = query(&[acme()], &[]);
    assert_eq!(ledger.list(&one).await.unwrap(), only(&|entry| entry.account == acme()));
    let state = query(&[acme(), other_account()], &[EntryState::Succeeded]);
    assert_eq!(ledger.list(&state).await.unwrap(), only(&|entry| entry.state == EntryState::Succeeded));
    let states = query(&[other_account()], &[EntryState::Sending, EntryState::Expired, EntryState::Sending]);
    let sending = only(&|entry| entry.state == EntryState::Sending && entry.account == other_account());
    assert_eq!(ledger.list(&states).await.unwrap(), sending);
    let old = EntryQuery { created_before: Some(time(95)), ..both.clone() };
    assert_eq!(ledger.list(&old).await.unwrap(), only(&|entry| entry.created < time(95)));
    let page = EntryQuery { after: all[4].id, limit: 3, ..both };
    assert_eq!(ledger.list(&page).await.unwrap(), all[5..8]);
    assert_eq!(ledger.list(&query(&[AccountId::new("none").unwrap()], &[])).await.unwrap(), []);
}

pub(super) async fn counts_are_right_after_everything(ledger: impl Ledger) {
    assert_eq!(ledger.counts().await.unwrap(), []);
    let mut entries = Vec::new();
    for index in 0..6_u64 {
        let new = NewEntry { created: time(10 + index), ..create(&index.to_string(), None) };
        entries.push(begin(&ledger, new).await);
    }
    begin(&ledger, NewEntry { account: other_account(), ..create("0", None) }).await;
    // Neither what found something, nor what was stale, counts.
    existing(ledger.begin(vec![create("0", None)], false).await.unwrap());
    let first = to(&ledger, &entries[0], EntryState::Unknown, time(1)).await;
    assert_eq!(
        ledger.save(vec![ended(&entries[0], EntryState::Rejected, time(1))], Vec::new()).await.unwrap(),
        SaveResult::Stale
    );
    to(&ledger, &entries[1], EntryState::Succeeded, time(20)).await;
    to(&ledger, &entries[2], EntryState::Succeeded, time(20)).await;
    let count = |account, state, entries, oldest| EntryCount { account, state, entries, oldest };
    let sorted = |mut counts: Vec<EntryCount>| {
        counts.sort_by_key(|count| (count.account.clone(), count.state as u8));
        counts
    };
    let mut want = vec![
        count(acme(), EntryState::Sending, 3, Some(time(13))),
        count(acme(), EntryState::Unknown, 1, Some(time(10))),
        count(acme(), EntryState::Succeeded, 2, None),
        count(other_account(), EntryState::Sending, 1, Some(create("0", None).created)),
    ];
    assert_eq!(sorted(ledger.counts().await.unwrap()), want);
    to(&ledger, &first, EntryState::NeedsOperator, time(1)).await;
    assert_eq!(ledger.trim(time(21), 1).await.unwrap(), 1);
    want[1].state = EntryState::NeedsOperator;
    want[2].entries = 1;
    assert_eq!(sorted(ledger.counts().await.unwrap()), want);
}

fn audits<const N: usize>(operation: OperationId, times: [Timestamp; N]) -> Vec<PlannedAudit> {
    times.map(|time| PlannedAudit { operation, time }).into()
}

pub(super) async fn audits_come_when_due_and_end(ledger: impl Ledger) {
    let (one, two) = (OperationId(1), OperationId(2));
    ledger.save(Vec::new(), audits(one, [time(30), time(10)])).await.unwrap();
    ledger.save(Vec::new(), audits(two, [time(20)])).await.unwrap();
    ledger.save(Vec::new(), audits(one, [time(10)])).await.unwrap();
    let audit = |operation, at| PlannedAudit { operation, time: time(at) };
    assert_eq!(ledger.due_audits(time(9), 9).await.unwrap(), []);
    assert_eq!(ledger.due_audits(time(10), 9).await.unwrap(), [audit(one, 10)]);
    assert_eq!(ledger.due_audits(time(99), 2).await.unwrap(), [audit(one, 10), audit(two, 20)]);
    assert!(!ledger.end_audit(audit(one, 10), None).await.unwrap());
    assert!(!ledger.end_audit(audit(one, 10), None).await.unwrap());
    assert_eq!(ledger.due_audits(time(99), 9).await.unwrap(), [audit(two, 20), audit(one, 30)]);
}

pub(super) async fn an_alert_is_kept_once(ledger: impl Ledger) {
    let operation = begin(&ledger, create("A", None)).await.id;
    ledger.save(Vec::new(), audits(operation, [time(1), time(2), time(3)])).await.unwrap();
    let alert = |kind, at| Some(AuditAlert { operation, kind, time: time(at) });
    let audit = |at| PlannedAudit { operation, time: time(at) };
    assert!(ledger.end_audit(audit(1), alert(AlertKind::LateEffect, 5)).await.unwrap());
    assert!(!ledger.end_audit(audit(2), alert(AlertKind::LateEffect, 6)).await.unwrap());
    assert!(ledger.end_audit(audit(3), alert(AlertKind::Duplicate, 4)).await.unwrap());
    assert_eq!(ledger.due_audits(time(9), 9).await.unwrap(), []);
    let alerts = [(AlertKind::Duplicate, time(4)), (AlertKind::LateEffect, time(5))];
    assert_eq!(ledger.alerts(operation).await.unwrap(), alerts);
    assert_eq!(ledger.alerts(OperationId(999)).await.unwrap(), []);
}

pub(super) async fn trim_drops_old_final_entries_oldest_first(ledger: impl Ledger) {
    let mut entries = Vec::new();
    // The first made changed last: it is not old yet.
    for index in 0..6_u64 {
        let entry = begin(&ledger, create(&index.to_string(), None)).await;
        entries.push(to(&ledger, &entry, EntryState::Rejected, time(20 - index)).await);
    }
    let open = begin(&ledger, create("open", None)).await;
    let open = to(&ledger, &open, EntryState::NeedsOperator, time(1)).await;
    assert_eq!(ledger.trim(time(15), 100).await.unwrap(), 0);
    assert_eq!(ledger.trim(time(19), 2).await.unwrap(), 2);
    let left = |ids: &[usize]| Vec::from_iter(ids.iter().map(|index| entries[*index].clone()).chain([open.clone()]));
    let all = EntryQuery {
        accounts: Some(vec![acme()]),
        states: Vec::new(),
        created_before: None,
        after: OperationId(0),
        limit: 100,
    };
    assert_eq!(ledger.list(&all).await.unwrap(), left(&[0, 1, 4, 5]));
    assert_eq!(ledger.trim(time(19), 0).await.unwrap(), 0);
    assert_eq!(ledger.trim(time(19), 100).await.unwrap(), 2);
    assert_eq!(ledger.list(&all).await.unwrap(), left(&[0, 1]));
}

pub(super) async fn trim_keeps_a_call_together(ledger: impl Ledger) {
    let entries = made(ledger.begin(cancel("A", "r", 3), false).await.unwrap());
    to(&ledger, &entries[0], EntryState::Succeeded, time(1)).await;
    to(&ledger, &entries[1], EntryState::NotSent, time(1)).await;
    assert_eq!(ledger.trim(time(9), 100).await.unwrap(), 0);
    let last = to(&ledger, &entries[2], EntryState::Unknown, time(1)).await;
    to(&ledger, &last, EntryState::Succeeded, time(9)).await;
    assert_eq!(ledger.trim(time(9), 100).await.unwrap(), 0);
    assert_eq!(ledger.of_request(&acme(), MutationKind::Cancel, "r").await.unwrap().len(), 3);
    let single = begin(&ledger, create("B", None)).await;
    to(&ledger, &single, EntryState::Rejected, time(0)).await;
    // There is no room for all of it; but the first goes whole, and alone.
    assert_eq!(ledger.trim(time(10), 2).await.unwrap(), 3);
    assert_eq!(ledger.trim(time(10), 2).await.unwrap(), 1);
    assert_eq!(ledger.of_request(&acme(), MutationKind::Cancel, "r").await.unwrap(), []);
    made(ledger.begin(cancel("A", "r", 1), true).await.unwrap());
}

pub(super) async fn a_trimmed_success_holds_its_number_for_good(ledger: impl Ledger) {
    let entry = begin(&ledger, create("A", Some("r"))).await;
    let end = Entry { answer: Bytes::from_static(b"answer"), ..ended(&entry, EntryState::Succeeded, time(1)) };
    save(&ledger, end).await;
    let refused = begin(&ledger, create("B", Some("b"))).await;
    to(&ledger, &refused, EntryState::Rejected, time(1)).await;
    assert_eq!(ledger.trim(time(2), 100).await.unwrap(), 2);
    assert_eq!(ledger.get(entry.id).await.unwrap(), None);
    assert_eq!(ledger.creation_of(&acme(), "A").await.unwrap(), None);
    assert_eq!(ledger.of_request(&acme(), MutationKind::Create, "r").await.unwrap(), []);
    let trimmed = BeginOutcome::Trimmed { fingerprint: entry.fingerprint, answer: b"answer".to_vec() };
    for id in [Some("r"), Some("other"), None] {
        assert_eq!(ledger.begin(vec![create("A", id)], false).await.unwrap(), trimmed);
    }
    begin(&ledger, create("B", Some("b"))).await;
    made(ledger.begin(cancel("A", "c", 1), true).await.unwrap());
    begin(&ledger, NewEntry { account: other_account(), ..create("A", None) }).await;
}

pub(super) async fn ids_are_never_used_twice(ledger: impl Ledger) {
    let entry = begin(&ledger, create("A", None)).await;
    to(&ledger, &entry, EntryState::Rejected, time(1)).await;
    assert_eq!(ledger.trim(time(2), 100).await.unwrap(), 1);
    assert!(begin(&ledger, create("A", None)).await.id > entry.id);
}

pub(super) async fn a_write_happens_though_nobody_waits(ledger: impl Ledger) {
    let mut begin = Box::pin(ledger.begin(vec![create("A", None)], false));
    // Polled once, it is handed over.
    let polled = futures_util::poll!(&mut begin);
    drop(begin);
    drop(polled);
    // Whoever writes next comes after it.
    let next = tokio::time::timeout(Duration::from_secs(60), ledger.begin(vec![create("A", None)], false));
    assert_eq!(existing(next.await.unwrap().unwrap()).0, BeginConflict::OrderNumber);
}
