//! From a request's message to the answer's, over a Walmart that answers by script.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use tokio_util::task::TaskTracker;
use tonic::Code;
use tonic_types::{StatusExt as _, pb as rpc};

use super::*;
use crate::domain::operation::Operation::Cancel;
use crate::ports::call::{CallRecord, Caller, VisibleAccounts};
use crate::ports::upstream::ErrorKind;
use crate::store::memory::MemoryLedger;
use crate::testing::walmart::{Walmart, call, lost, mutations_of, refused, sample};

fn service(walmart: &Walmart, accounts: &[&str]) -> FulfillmentRpcs<Walmart, MemoryLedger> {
    let cache = CacheSettings { ttl: Duration::from_secs(30), max_bytes: 1 << 20 };
    let (mutations, tasks) = (mutations_of(walmart, accounts), TaskTracker::new());
    FulfillmentRpcs::new(walmart.clone(), mutations, tasks, cache, Arc::new(Metrics::new([])))
}

fn request<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(call(Duration::from_secs(60)));
    request
}

/// A cancellation of this many lines.
fn cancellation(lines: usize) -> pb::CancelOrderRequest {
    let mut request: pb::CancelOrderRequest = sample("CancelOrderRequest", include_str!("../../examples/cancel.json"));
    let items = &mut request.payload.as_mut().unwrap().order_items;
    let line = items[0].clone();
    *items = (0..lines).map(|i| pb::CancelItem { seller_line_id: Some(i.to_string()), ..line.clone() }).collect();
    request
}

fn metadata(status: &Status, key: &str) -> Option<String> {
    status.get_details_error_info().unwrap().metadata.get(key).cloned()
}

#[tokio::test(start_paused = true)]
async fn a_cancellation_in_part_tells_each_batch() {
    let rejected = refused(Cancel, ErrorKind::Rejected, "INVALID_MCS_REQUEST", "");
    let walmart = Walmart::default().answering(Cancel, [rejected, lost(Cancel)]);
    let answer = service(&walmart, &["acme"]).cancel_order(request(cancellation(301))).await.unwrap().into_inner();
    use pb::BatchStatus::{Accepted, Failed, Unknown};
    assert_eq!(Vec::from_iter(answer.batches.iter().map(|b| b.status())), [Failed, Unknown, Accepted, Accepted]);
    assert_eq!(answer.status, "PARTIAL");
    assert!(!answer.request_id.is_empty() && !answer.replayed);
    // The first accepted batch speaks for all.
    assert_eq!(answer.payload.unwrap().request_id, "walmart-3");
    assert!(answer.correlation_id.parse::<uuid::Uuid>().is_ok());
    assert_eq!(
        Vec::from_iter(answer.batches.iter().map(|b| b.upstream_request_id.as_str())),
        ["", "", "walmart-3", "walmart-4"]
    );
    let codes = answer.batches.iter().map(|batch| batch.error.as_ref().map(|error| Code::from_i32(error.code)));
    assert_eq!(Vec::from_iter(codes), [Some(Code::InvalidArgument), Some(Code::Unavailable), None, None]);
    let details = &answer.batches[0].error.as_ref().unwrap().details;
    let info = rpc::ErrorInfo::decode(details[0].value.as_slice()).unwrap();
    assert_eq!((info.reason.as_str(), &info.metadata["requestId"]), ("UPSTREAM_REJECTED", &answer.request_id));
}

#[tokio::test(start_paused = true)]
async fn a_cancellation_of_all_is_accepted() {
    let service = service(&Walmart::default(), &["acme"]);
    let (one, two) = tokio::join!(
        service.cancel_order(request(cancellation(101))),
        service.cancel_order(request(cancellation(101)))
    );
    let (one, two) = (one.unwrap().into_inner(), two.unwrap().into_inner());
    assert_eq!((one.status.as_str(), one.batches.len(), one.replayed), ("ACCEPTED", 2, false));
    assert_eq!(two, pb::CancelOrderResponse { replayed: true, ..one });
}

#[tokio::test(start_paused = true)]
async fn an_id_that_was_made_is_told_with_the_failure() {
    let walmart = Walmart::default().answering(Cancel, [lost(Cancel)]);
    let failed = service(&walmart, &["acme"]).cancel_order(request(cancellation(1))).await.unwrap_err();
    assert_eq!(failed.get_details_error_info().unwrap().reason, "OUTCOME_PENDING");
    assert!(metadata(&failed, "requestId").unwrap().parse::<uuid::Uuid>().is_ok());
    assert_eq!(metadata(&failed, "account").as_deref(), Some("acme"));
}

#[tokio::test(start_paused = true)]
async fn a_missing_account_is_told_with_all_other_faults() {
    let service = service(&Walmart::default(), &["acme", "beta"]);
    let violations = |status: Status| {
        let faults = status.get_details_bad_request().unwrap().field_violations;
        Vec::from_iter(faults.into_iter().map(|violation| violation.field))
    };
    let promise = service.fetch_delivery_promise(request(Default::default())).await.unwrap_err();
    assert_eq!(violations(promise), ["account", "payload"]);
    let create = pb::CreateOrderRequest { request_id: " ".into(), ..Default::default() };
    let create = service.create_order(request(create)).await.unwrap_err();
    assert_eq!(metadata(&create, "requestId"), None);
    assert_eq!(violations(create), ["account", "request_id", "payload"]);
    let cancel = service.cancel_order(request(Default::default())).await.unwrap_err();
    assert_eq!(violations(cancel), ["account", "payload"]);
    let status = service.get_order_status(request(Default::default())).await.unwrap_err();
    assert_eq!(violations(status), ["account", "order_number"]);
    let named = pb::CancelOrderRequest { account: "beta".into(), ..cancellation(1) };
    assert_eq!(service.cancel_order(request(named)).await.unwrap().into_inner().status, "ACCEPTED");
}

#[tokio::test(start_paused = true)]
async fn whose_account_it_is_comes_before_everything_else() {
    let walmart = Walmart::default();
    let service = service(&walmart, &["acme", "beta"]);
    let accounts = VisibleAccounts::Only(BTreeSet::from([crate::domain::account::AccountIndex(0)]));
    for name in ["beta", "gamma"] {
        let mut request = request(pb::CreateOrderRequest { account: name.into(), ..Default::default() });
        let call = request.extensions_mut().get_mut::<CallContext>().unwrap();
        call.facts = CallRecord::of(Arc::new(Caller { name: "c".into(), accounts: accounts.clone(), services: None }));
        let refused = service.create_order(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
        assert!(!format!("{refused:?}").contains(name));
    }
    let unknown = pb::GetOrderStatusRequest { account: "gamma".into(), ..Default::default() };
    assert_eq!(service.get_order_status(request(unknown)).await.unwrap_err().code(), Code::NotFound);
    assert!(walmart.asked().is_empty());
}

#[tokio::test]
async fn a_call_without_its_context_is_a_bug() {
    let answer = service(&Walmart::default(), &["acme"]).create_order(Request::new(Default::default())).await;
    assert_eq!(answer.unwrap_err().code(), Code::Internal);
}

/// The correlation id of the answer, and the one that the access log tells.
async fn ids<T, A: HasCorrelationId>(
    message: T,
    answer: impl AsyncFnOnce(Request<T>) -> Result<Response<A>, Status>,
) -> (Option<String>, Option<String>) {
    let request = request(message);
    let facts = request.extensions().get::<CallContext>().unwrap().facts.clone();
    let told = match answer(request).await {
        Ok(answer) => Some(answer.get_ref().correlation_id().to_owned()),
        Err(status) => metadata(&status, "correlationId"),
    };
    (told, facts.correlation_id().map(|id| id.to_string()))
}

#[tokio::test(start_paused = true)]
async fn the_answer_and_the_log_name_one_correlation_id() {
    let pending = lost(Cancel);
    let rejected = || refused(Cancel, ErrorKind::Rejected, "INVALID_MCS_REQUEST", "");
    let walmart = Walmart::default().answering(Cancel, [rejected(), rejected(), pending]);
    let service = service(&walmart, &["acme"]);
    let named = |id: &str, lines| pb::CancelOrderRequest { request_id: id.into(), ..cancellation(lines) };
    let cancel = async |request| service.cancel_order(request).await;
    let mut seen = BTreeSet::new();
    // None accepted, as the first batch; not known; accepted.
    for (id, lines) in [("a", 101), ("b", 1), ("c", 1)] {
        let (told, logged) = ids(named(id, lines), cancel).await;
        assert!(told.is_some() && told == logged, "{id}: {told:?} {logged:?}");
        // A repeat has the id of the call that was made.
        assert_eq!(ids(named(id, lines), cancel).await, (told.clone(), told.clone()), "{id}");
        seen.insert(told);
    }
    assert_eq!(seen.len(), 3);
    let number = pb::GetOrderStatusRequest { order_number: "SO123".into(), ..Default::default() };
    let status = async |request| service.get_order_status(request).await;
    let (one, two) = tokio::join!(ids(number.clone(), status), ids(number, status));
    assert!(one.0.is_some() && one.0 == one.1, "{one:?}");
    assert_eq!(one, two, "both waited for one call");
}

#[tokio::test(start_paused = true)]
async fn an_error_of_a_call_that_was_never_made_has_an_id_too() {
    let service = service(&Walmart::default(), &["acme"]);
    let cancel = async |mut request: Request<pb::CancelOrderRequest>| {
        request.extensions_mut().get_mut::<CallContext>().unwrap().deadline = tokio::time::Instant::now();
        service.cancel_order(request).await
    };
    let (told, logged) = ids(cancellation(1), cancel).await;
    assert!(told.is_some() && told == logged, "{told:?} {logged:?}");
    let (told, logged) =
        ids(pb::CancelOrderRequest::default(), async |request| service.cancel_order(request).await).await;
    assert_eq!((told, logged), (None, None), "a request with faults is for nobody upstream");
}
