//! What an operator sees and does.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio_util::task::TaskTracker;

use super::*;
use crate::domain::operation::Operation::{Create, Status};
use crate::ports::call::{CallRecord, Caller, VisibleAccounts};
use crate::service::CreateOrder;
use crate::store::memory::MemoryLedger;
use crate::testing::ledger::{Faulty, batch, creation, put};
use crate::testing::walmart::{
    ACME, LATENCY, SETTLE, Said, Walmart, call, found, kind, lost, mutations, over, resolving, sample,
};

const LONG: Duration = Duration::from_secs(60);

type Service<L = MemoryLedger> = Operations<Walmart, L>;

fn order() -> crate::pb::CreateOrderRequest {
    sample("CreateOrderRequest", include_str!("../../examples/create.json"))
}

/// One who may see only this account.
fn only(account: AccountIndex) -> CallContext {
    let accounts = VisibleAccounts::Only(BTreeSet::from([account]));
    CallContext { facts: CallRecord::of(Arc::new(Caller { name: "c".into(), accounts, services: None })), ..call(LONG) }
}

fn service(walmart: &Walmart) -> Service {
    Operations::new(mutations(walmart, 20))
}

/// A creation in this open state.
async fn in_state<L: Ledger>(service: &Service<L>, number: &str, state: EntryState) -> Entry {
    let mutations = &service.mutations;
    let entry = put(mutations.ledger(), vec![creation("acme", number, mutations.now())]).await.remove(0);
    if state == EntryState::Sending {
        return entry;
    }
    let lost = mutations.after(entry, EntryEvent::Lost { error: "lost".into() }).unwrap();
    let Ok(SaveResult::Done(mut saved)) = mutations.ledger().save(vec![Entry { state, ..lost }], Vec::new()).await
    else {
        panic!()
    };
    saved.pop().unwrap()
}

async fn resolve<L: Ledger>(
    service: &Service<L>,
    entry: &Entry,
    verdict: OperatorVerdict,
) -> Result<Entry, ServiceError> {
    service.resolve(&entry.id.to_string(), Some(verdict), "they said so", &call(LONG)).await
}

fn names(page: &OperationPage) -> Vec<&str> {
    page.entries.iter().map(|entry| &*entry.order_number).collect()
}

#[tokio::test(start_paused = true)]
async fn only_what_is_of_visible_accounts_exists() {
    let service = service(&Walmart::default());
    let now = service.mutations.now();
    let mut made = Vec::new();
    for account in ["acme", "other", "gone"] {
        made.extend(put(service.mutations.ledger(), vec![creation(account, account, now)]).await);
    }
    let seen = async |caller: &CallContext| {
        let mut seen = Vec::new();
        for entry in &made {
            match service.get(&entry.id.to_string(), caller).await {
                Ok(view) => seen.push(view.entry.order_number.to_string()),
                Err(error) => assert_eq!(kind::<()>(&Err(error)), "OperationNotFound"),
            }
        }
        seen
    };
    assert_eq!(seen(&only(ACME)).await, ["acme"]);
    assert_eq!(seen(&only(AccountIndex(1))).await, ["other"]);
    assert_eq!(seen(&call(LONG)).await, ["acme", "other", "gone"]);
    let hidden = made[1].id.to_string();
    let refused = service.resolve(&hidden, Some(OperatorVerdict::Rejected), "x", &only(ACME)).await;
    assert_eq!(kind(&refused), "OperationNotFound");
    assert_eq!(kind(&service.get("operations/99", &call(LONG)).await), "OperationNotFound");
    for name in ["", "7", "operations/", "operations/07", "operations/-1", "operations/x"] {
        assert!(matches!(service.get(name, &call(LONG)).await, Err(ServiceError::Invalid(_))), "{name}");
    }
    let all = service.list(ListOperations::default(), &only(ACME)).await.unwrap();
    assert_eq!(names(&all), ["acme"]);
    let named = ListOperations { account: "other".into(), ..Default::default() };
    assert!(matches!(service.list(named, &only(ACME)).await, Err(ServiceError::Account(_))));
}

#[tokio::test(start_paused = true)]
async fn a_list_is_by_account_state_and_age_in_pages() {
    let service = service(&Walmart::default());
    for number in ["a", "b", "c"] {
        in_state(&service, number, EntryState::Unknown).await;
        tokio::time::advance(Duration::from_secs(10)).await;
    }
    in_state(&service, "d", EntryState::Sending).await;
    let now = service.mutations.now();
    put(service.mutations.ledger(), vec![creation("other", "e", now)]).await;
    let list = async |request: ListOperations| service.list(request, &call(LONG)).await.unwrap();
    assert_eq!(names(&list(Default::default()).await), ["a", "b", "c", "d", "e"]);
    let acme = ListOperations { account: "acme".into(), states: vec![EntryState::Sending], ..Default::default() };
    assert_eq!(names(&list(acme).await), ["d"]);
    // At least so old, to the millisecond.
    let old = |millis| ListOperations { min_age: Some(Duration::from_millis(millis)), ..Default::default() };
    assert_eq!(names(&list(old(20_000)).await), ["a", "b"]);
    assert_eq!(names(&list(old(20_001)).await), ["a"]);
    let mut page = ListOperations { page_size: 2, ..Default::default() };
    let mut pages = Vec::new();
    loop {
        let got = list(page.clone()).await;
        pages.push(got.entries.len());
        if got.next_page_token.is_empty() {
            break;
        }
        page.page_token = got.next_page_token;
    }
    assert_eq!(pages, [2, 2, 1]);
    for (page_size, page_token) in [(-1, ""), (1001, ""), (0, "x"), (0, "operations/x")] {
        let request = ListOperations { page_size, page_token: page_token.into(), ..Default::default() };
        assert!(matches!(service.list(request, &call(LONG)).await, Err(ServiceError::Invalid(_))));
    }
}

#[tokio::test(start_paused = true)]
async fn a_decision_needs_an_outcome_and_a_reason() {
    let service = service(&Walmart::default());
    let name = in_state(&service, "a", EntryState::Unknown).await.id.to_string();
    let long = "ä".repeat(LONGEST_REASON);
    for (verdict, reason) in
        [(None, "x"), (Some(OperatorVerdict::Rejected), " "), (Some(OperatorVerdict::Rejected), &*format!("{long}x"))]
    {
        let result = service.resolve(&name, verdict, reason, &call(LONG)).await;
        assert!(matches!(result, Err(ServiceError::Invalid(_))));
    }
    let done = service.resolve(&name, Some(OperatorVerdict::Rejected), &long, &call(LONG)).await.unwrap();
    assert_eq!(done.resolution, long);
    assert_eq!(service.get(&name, &call(LONG)).await.unwrap().entry, done);
}

#[tokio::test(start_paused = true)]
async fn every_open_state_but_sending_can_be_resolved_and_no_other() {
    for (verdict, state) in [
        (OperatorVerdict::Succeeded, EntryState::Succeeded),
        (OperatorVerdict::Rejected, EntryState::Rejected),
        (OperatorVerdict::Resend, EntryState::Recorded),
    ] {
        let service = service(&Walmart::default());
        for (number, from) in [("a", EntryState::Unknown), ("b", EntryState::NeedsOperator)] {
            let entry = in_state(&service, number, from).await;
            assert_eq!(resolve(&service, &entry, verdict).await.unwrap().state, state);
        }
        let now = service.mutations.now();
        let recorded =
            put(service.mutations.ledger(), vec![batch("c", 0, 1, EntryState::Recorded, now)]).await.remove(0);
        let resolved = resolve(&service, &recorded, verdict).await.unwrap();
        assert_eq!((resolved.state, resolved.resolution.as_str()), (state, "they said so"));
        let sending = in_state(&service, "d", EntryState::Sending).await;
        assert_eq!(kind(&resolve(&service, &sending, verdict).await), "Pending");
        if !state.is_open() {
            assert_eq!(kind(&resolve(&service, &recorded, verdict).await), "OperationClosed");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn callers_who_wait_are_answered_by_the_decision() {
    for (verdict, expected) in [(OperatorVerdict::Succeeded, "OK"), (OperatorVerdict::Rejected, "Rejected")] {
        let walmart = Walmart::default().answering(Create, [lost(Create)]);
        let service = service(&walmart);
        let create = CreateOrder::new(service.mutations.clone(), TaskTracker::new());
        let operator = async {
            tokio::time::sleep(LATENCY * 3).await;
            let entry = service.list(Default::default(), &call(LONG)).await.unwrap().entries.remove(0);
            resolve(&service, &entry, verdict).await.unwrap();
            tokio::time::Instant::now()
        };
        let waiting = async {
            let result = create.call(ACME, order(), &call(LONG)).await;
            (kind(&result), tokio::time::Instant::now())
        };
        let (decided, (told, at)) = tokio::join!(operator, waiting);
        assert_eq!((told.as_str(), at), (expected, decided));
        assert_eq!(walmart.asked(), [Create]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_shall_be_sent_again_is_also_long_after_the_call() {
    let walmart = Walmart::default().answering(Create, [lost(Create)]);
    let service = service(&walmart);
    let create = CreateOrder::new(service.mutations.clone(), TaskTracker::new());
    assert_eq!(kind(&create.call(ACME, order(), &call(LATENCY * 2)).await), "Pending");
    tokio::time::sleep(SETTLE * 20).await;
    let _guard = resolving(&service.mutations);
    let entry = service.list(Default::default(), &call(LONG)).await.unwrap().entries.remove(0);
    resolve(&service, &entry, OperatorVerdict::Resend).await.unwrap();
    let answer = create.call(ACME, order(), &call(LONG)).await.unwrap();
    assert!(answer.replayed);
    assert_eq!(answer.payload.unwrap().request_id, format!("walmart-{}", walmart.asked().len()));
    assert_eq!(walmart.asked().iter().filter(|operation| **operation == Create).count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_decision_whose_caller_left_is_followed_all_the_same() {
    let walmart = Walmart::default();
    let service = service(&walmart);
    let entry = in_state(&service, "a", EntryState::NeedsOperator).await;
    let mut deciding = Box::pin(resolve(&service, &entry, OperatorVerdict::Resend));
    // As far as the write is handed over, and no further.
    assert!(futures_util::FutureExt::now_or_never(&mut deciding).is_none());
    drop(deciding);
    let _guard = resolving(&service.mutations);
    tokio::time::sleep(LATENCY * 2).await;
    assert_eq!(service.get(&entry.id.to_string(), &call(LONG)).await.unwrap().entry.state, EntryState::Succeeded);
    assert_eq!(walmart.asked(), [Create]);
}

#[tokio::test(start_paused = true)]
async fn what_moved_in_between_is_not_resolved() {
    let walmart = Walmart::default().answering(Status, [found("a")]);
    let service = service(&walmart);
    let entry = in_state(&service, "a", EntryState::Unknown).await;
    crate::testing::walmart::take_over(&service.mutations).await;
    let _guard = resolving(&service.mutations);
    tokio::time::sleep(LATENCY * 2).await;
    assert_eq!(kind(&resolve(&service, &entry, OperatorVerdict::Resend).await), "OperationClosed");
    assert!(!walmart.asked().contains(&Create));
}

#[tokio::test(start_paused = true)]
async fn what_audits_found_is_shown() {
    let service = service(&Walmart::default().answering(Status, [Ok(Said::default())]));
    let entry = in_state(&service, "a", EntryState::Unknown).await;
    let time = service.mutations.now();
    let alert = crate::domain::ledger::AuditAlert { operation: entry.id, kind: AlertKind::Duplicate, time };
    let audit = crate::ports::ledger::PlannedAudit { operation: entry.id, time };
    service.mutations.ledger().end_audit(audit, Some(alert)).await.unwrap();
    let view = service.get(&entry.id.to_string(), &call(LONG)).await.unwrap();
    assert_eq!(view.alerts, [(AlertKind::Duplicate, time)]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_is_told() {
    let ledger = Faulty::default();
    let service = Operations::new(over(&Walmart::default(), ledger.clone(), 20));
    let entry = in_state(&service, "a", EntryState::Unknown).await;
    ledger.fail(true, false);
    assert_eq!(kind(&resolve(&service, &entry, OperatorVerdict::Rejected).await), "Store");
    ledger.fail(true, true);
    assert_eq!(kind(&service.get(&entry.id.to_string(), &call(LONG)).await), "Store");
    assert_eq!(kind(&service.list(Default::default(), &call(LONG)).await), "Store");
    assert!(service.counts().await.is_none());
    ledger.fail(false, false);
    assert!(resolve(&service, &entry, OperatorVerdict::Rejected).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_person_comes_first_and_what_is_under_way_is_left_out() {
    let service = service(&Walmart::default());
    for (number, state) in [
        ("stuck", EntryState::Sending),
        ("U1", EntryState::Unknown),
        ("N1", EntryState::NeedsOperator),
        ("U2", EntryState::Unknown),
    ] {
        in_state(&service, number, state).await;
    }
    let numbers = async |most| {
        let found = service.unresolved(most).await.unwrap();
        found.into_iter().map(|entry| entry.order_number.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(numbers(9).await, ["N1", "U1", "U2"], "it is just being sent");
    tokio::time::advance(OVERDUE + Duration::from_millis(1)).await;
    in_state(&service, "new", EntryState::Sending).await;
    assert_eq!(numbers(9).await, ["N1", "U1", "U2", "stuck"]);
    assert_eq!(numbers(2).await, ["N1", "U1"]);
    assert_eq!(numbers(0).await, [""; 0]);
}
