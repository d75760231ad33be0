//! What a save writes, and when it writes nothing.

use bytes::Bytes;

use super::*;

pub(super) async fn saving_writes_what_may_change_and_nothing_else(ledger: impl Ledger) {
    let entry = begin(&ledger, create("A", Some("r"))).await;
    let unknown = UnknownSince {
        since: moment(2),
        last_byte: moment(3),
        lookups: 4,
        absences: 5,
        last_absence: Some(moment(6)),
        learned: moment(7),
        refusal: LaterRefusal::SaysPresent,
    };
    let evidence = LookupRecord {
        time: time(12),
        asked: "order by number".into(),
        worth: EvidenceKind::Contradicted,
        detail: "another order".into(),
    };
    let changed = Entry {
        state: EntryState::Unknown,
        effect: Effect::Unknown,
        attempts: 7,
        updated: time(8),
        not_after: moment(9),
        next: Some(moment(10)),
        boot: Some(BootId([9; 16])),
        evidence: Some(evidence),
        unknown: Some(unknown),
        body: Bytes::from_static(b"other body"),
        snapshot: b"snapshot".to_vec(),
        answer: Bytes::from_static(b"answer"),
        last_error: "error".into(),
        resolution: "resolution".into(),
        ..entry.clone()
    };
    let saved = save(&ledger, changed.clone()).await;
    assert_eq!(saved, Entry { fence: entry.fence + 1, ..changed.clone() });
    assert_eq!(ledger.get(entry.id).await.unwrap(), Some(saved.clone()));

    let forged = Entry {
        account: other_account(),
        kind: MutationKind::Cancel,
        order_number: "B".into(),
        request_id: None,
        batch: 5,
        batches: 6,
        fingerprint: Fingerprint([9; 33]),
        created: time(99),
        correlation_id: Uuid::from_u128(99),
        unknown: None,
        next: None,
        ..saved.clone()
    };
    save(&ledger, forged).await;
    let kept = Entry { fence: saved.fence + 1, unknown: None, next: None, ..saved };
    assert_eq!(ledger.get(entry.id).await.unwrap(), Some(kept.clone()));
    assert_eq!(ledger.creation_of(&acme(), "A").await.unwrap(), Some(kept.clone()));
    assert_eq!(ledger.of_request(&acme(), MutationKind::Create, "r").await.unwrap(), std::slice::from_ref(&kept));

    // Steady times go with the end, the last evidence stays.
    let end =
        ended(&Entry { last_error: String::new(), unknown: Some(unknown), ..kept }, EntryState::Succeeded, time(11));
    let end = save(&ledger, end).await;
    let of_day = |seconds| Moment { wall: time(seconds), ..Moment::default() };
    assert_eq!((end.boot, end.not_after, end.unknown.unwrap().last_byte), (None, of_day(9), of_day(3)));
    assert!(end.evidence.is_some());
    assert_eq!((end.body.len(), end.snapshot.len()), (0, 0));
    assert_eq!(ledger.get(entry.id).await.unwrap(), Some(end));
}

pub(super) async fn a_stale_fence_writes_nothing(ledger: impl Ledger) {
    let read = begin(&ledger, create("A", None)).await;
    let now = to(&ledger, &read, EntryState::Unknown, time(1)).await;
    let stale = Entry { last_error: "late".into(), ..read.clone() };
    assert_eq!(ledger.save(vec![stale], Vec::new()).await.unwrap(), SaveResult::Stale);
    let ahead = Entry { fence: now.fence + 1, ..now.clone() };
    assert_eq!(ledger.save(vec![ahead], Vec::new()).await.unwrap(), SaveResult::Stale);
    let unmade = Entry { id: OperationId(999), ..now.clone() };
    assert_eq!(ledger.save(vec![unmade], Vec::new()).await.unwrap(), SaveResult::Stale);
    assert_eq!(ledger.get(read.id).await.unwrap(), Some(now));
}

pub(super) async fn several_are_saved_all_or_none(ledger: impl Ledger) {
    let entries = made(ledger.begin(cancel("A", "r", 3), false).await.unwrap());
    let moved = to(&ledger, &entries[2], EntryState::Sending, time(1)).await;
    let all = Vec::from_iter(entries.iter().map(|entry| ended(entry, EntryState::Rejected, time(2))));
    assert_eq!(ledger.save(all.clone(), Vec::new()).await.unwrap(), SaveResult::Stale);
    let twice = vec![all[0].clone(), all[0].clone()];
    assert_eq!(ledger.save(twice, Vec::new()).await.unwrap(), SaveResult::Stale);
    let before = [entries[0].clone(), entries[1].clone(), moved];
    assert_eq!(ledger.of_request(&acme(), MutationKind::Cancel, "r").await.unwrap(), before);
    let all = Vec::from_iter(before.iter().map(|entry| ended(entry, EntryState::Rejected, time(2))));
    let SaveResult::Done(saved) = ledger.save(all, Vec::new()).await.unwrap() else { panic!("stale") };
    assert_eq!(ledger.of_request(&acme(), MutationKind::Cancel, "r").await.unwrap(), saved);
    assert_eq!(ledger.save(Vec::new(), Vec::new()).await.unwrap(), SaveResult::Done(Vec::new()));
}

pub(super) async fn a_final_entry_is_never_overwritten(ledger: impl Ledger) {
    for state in EntryState::ALL.into_iter().filter(|state| !state.is_open()) {
        let entry = begin(&ledger, create(state.name(), None)).await;
        let end = to(&ledger, &entry, state, time(1)).await;
        for next in EntryState::ALL {
            let again = Entry { state: next, answer: Bytes::from_static(b"other"), ..end.clone() };
            assert_eq!(ledger.save(vec![again], Vec::new()).await.unwrap(), SaveResult::Stale, "{state:?} to {next:?}");
        }
        assert_eq!(ledger.get(entry.id).await.unwrap(), Some(end));
    }
}

pub(super) async fn one_of_two_savers_wins(ledger: impl Ledger) {
    let entry = begin(&ledger, create("A", None)).await;
    let savers = (0..50).map(|saver| {
        let (ledger, entry) = (ledger.clone(), Entry { attempts: 100 + saver, ..entry.clone() });
        tokio::spawn(async move { ledger.save(vec![entry], Vec::new()).await.unwrap() })
    });
    let mut won = Vec::new();
    for saver in savers.collect::<Vec<_>>() {
        if let SaveResult::Done(mut entries) = saver.await.unwrap() {
            won.append(&mut entries);
        }
    }
    assert_eq!(won.len(), 1);
    assert_eq!(ledger.get(entry.id).await.unwrap(), won.pop());
}
