//! Promises: shared, kept for a while, and what of failures.

use super::*;
use crate::domain::effect::Effect;
use crate::domain::operation::Operation;
use crate::domain::reads::FetchPromise;
use crate::pb::{FetchDeliveryPromiseRequest, PromiseCache};
use crate::ports::upstream::ErrorKind;
use crate::testing::walmart::{ACME, LATENCY, Said, Walmart, call, error, kind, refused, sample};

const TTL: Duration = Duration::from_secs(30);
const LONG: Duration = Duration::from_secs(10);

fn request() -> FetchDeliveryPromiseRequest {
    sample("FetchDeliveryPromiseRequest", include_str!("../../examples/promise.json"))
}

fn service(walmart: &Walmart, ttl: Duration) -> CoalescedRead<FetchPromise, Walmart> {
    CoalescedRead::new(walmart.clone()).keeping(CacheSettings { ttl, max_bytes: 1 << 20 }, Arc::new(Metrics::new([])))
}

async fn cache(service: &CoalescedRead<FetchPromise, Walmart>, request: FetchDeliveryPromiseRequest) -> PromiseCache {
    service.call(ACME, request, &call(LONG)).await.unwrap().cache()
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_kept_for_its_time_and_no_longer() {
    let walmart = Walmart::default();
    let service = service(&walmart, TTL);
    assert_eq!(cache(&service, request()).await, PromiseCache::Miss);
    let first = service.call(ACME, request(), &call(LONG)).await.unwrap();
    assert_eq!(
        (first.cache(), first.correlation_id.as_str()),
        (PromiseCache::Hit, &*uuid::Uuid::from_u128(1).to_string())
    );
    tokio::time::advance(TTL - Duration::from_millis(1)).await;
    assert_eq!(cache(&service, request()).await, PromiseCache::Hit);
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(cache(&service, request()).await, PromiseCache::Miss);
    assert_eq!(walmart.asked().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_ttl_of_zero_keeps_nothing_but_still_shares_calls() {
    let walmart = Walmart::default();
    let service = service(&walmart, Duration::ZERO);
    let (one, two) = tokio::join!(cache(&service, request()), cache(&service, request()));
    assert_eq!((one, two), (PromiseCache::Miss, PromiseCache::Coalesced));
    assert_eq!(cache(&service, request()).await, PromiseCache::Miss);
    assert_eq!(walmart.asked().len(), 2);
    assert_eq!(service.cache.as_ref().unwrap().metrics.upstream.promise_cache_misses.get(), 2);
    assert_eq!(service.cache.as_ref().unwrap().metrics.upstream.promise_cache_coalesced.get(), 1);
    assert_eq!(service.cache.as_ref().unwrap().metrics.upstream.promise_cache_hits.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn other_accounts_headers_and_payloads_share_nothing() {
    let walmart = Walmart::default();
    let service = service(&walmart, TTL);
    let mut header = request();
    header.header.as_mut().unwrap().header_attributes.as_mut().unwrap().mart_id = Some("101".into());
    let mut payload = request();
    payload.payload.as_mut().unwrap().request_id = Some("1".into());
    let no_header = FetchDeliveryPromiseRequest { header: None, ..request() };
    for _ in 0..2 {
        let (call, other) = (call(LONG), AccountIndex(1));
        let _ = tokio::join!(
            service.call(ACME, request(), &call),
            service.call(other, request(), &call),
            service.call(ACME, header.clone(), &call),
            service.call(ACME, payload.clone(), &call),
            service.call(ACME, no_header.clone(), &call),
        );
        assert_eq!(walmart.asked().len(), 5);
    }
    // A named account is the implied one.
    let named = FetchDeliveryPromiseRequest { account: "acme".into(), ..request() };
    assert_eq!(cache(&service, named).await, PromiseCache::Hit);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_leaves_takes_nobody_along() {
    let walmart = Walmart::default();
    let service = service(&walmart, TTL);
    let leaver = call(LONG);
    let leader = tokio::time::timeout(LATENCY / 2, service.call(ACME, request(), &leaver));
    let (left, follower) = tokio::join!(leader, cache(&service, request()));
    assert!(left.is_err());
    assert_eq!(follower, PromiseCache::Coalesced);
    assert_eq!(walmart.asked().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_leaders_short_deadline_is_its_own() {
    let walmart = Walmart::default();
    let service = service(&walmart, TTL);
    let (hurried, patient) = (call(LATENCY / 2), call(LONG));
    let (leader, follower) =
        tokio::join!(service.call(ACME, request(), &hurried), service.call(ACME, request(), &patient));
    assert_eq!(kind(&leader), "DeadlineExceeded");
    assert_eq!(follower.unwrap().cache(), PromiseCache::Miss);
    assert_eq!(walmart.asked().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_followers_short_deadline_is_its_own() {
    let walmart = Walmart::default();
    let service = service(&walmart, TTL);
    let (patient, hurried) = (call(LONG), call(LATENCY / 2));
    let (leader, follower) =
        tokio::join!(service.call(ACME, request(), &patient), service.call(ACME, request(), &hurried));
    assert_eq!((kind(&leader), kind(&follower)), ("OK".into(), "DeadlineExceeded".into()));
    assert_eq!(walmart.asked().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn failures_are_shared_but_not_kept_and_say_nothing_personal() {
    let refusal =
        refused(Operation::Promise, ErrorKind::Rejected, "INVALID_MCS_REQUEST", "no way to 100 MAIN ST, 94103");
    let broken = Err(error(Operation::Promise, ErrorKind::Unavailable, Effect::None));
    let walmart = Walmart::default().answering(Operation::Promise, [refusal, broken]);
    let service = service(&walmart, TTL);
    let patient = call(LONG);
    let (one, two) = tokio::join!(service.call(ACME, request(), &patient), service.call(ACME, request(), &patient));
    for result in [one, two] {
        let Err(ServiceError::Upstream(error)) = result else { panic!("{result:?}") };
        assert_eq!(error.errors[0].description, "no way to [redacted], [redacted]");
    }
    assert_eq!(kind(&service.call(ACME, request(), &patient).await), "Unavailable");
    assert_eq!(cache(&service, request()).await, PromiseCache::Miss);
    assert_eq!(walmart.asked().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn faults_cost_no_call() {
    let walmart = Walmart::default();
    let result = service(&walmart, TTL).call(ACME, Default::default(), &call(LONG)).await;
    assert!(matches!(result, Err(ServiceError::Invalid(_))));
    assert!(walmart.asked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn errors_inside_a_promise_say_nothing_personal() {
    let error = crate::pb::WalmartError { description: "no way to 94103".into(), ..Default::default() };
    let said = Said { errors: vec![error], ..Default::default() };
    let service = service(&Walmart::default().answering(Operation::Promise, [Ok(said)]), TTL);
    for _ in 0..2 {
        let mut told = service.call(ACME, request(), &call(LONG)).await.unwrap();
        let texts =
            <FetchPromise as reads::ReadCall>::errors(&mut told).into_iter().map(|error| error.description.clone());
        assert_eq!(texts.collect::<Vec<_>>(), ["no way to [redacted]"; 2]);
    }
}
