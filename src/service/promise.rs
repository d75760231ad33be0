//! Delivery promises. A read, retried freely; Walmart allows 20 a minute, so identical requests share one call and answers
//! are kept for a while.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use prost::Message as _;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::ServiceError;
use super::error::{SLACK, timed_out};
use super::flights::Flights;
use crate::domain::account::AccountIndex;
use crate::domain::operation::Operation;
use crate::domain::personal::Personal;
use crate::domain::rules::check_promise;
use crate::pb::{FetchDeliveryPromiseRequest, FetchDeliveryPromiseResponse, PromiseCache};
use crate::ports::call::CallContext;
use crate::ports::upstream::Upstream;
use crate::telemetry::metrics::Metrics;

/// How long answers are kept, and how many.
#[derive(Clone, Copy, Debug)]
pub struct PromiseCacheSettings {
    /// Zero switches the cache off.
    pub ttl: Duration,
    /// Bytes that all answers together may take, about.
    pub max_bytes: u64,
}

/// The use case. Cheap to clone.
#[derive(Clone)]
pub struct FetchPromise<U> {
    upstream: U,
    ttl: Duration,
    cache: Cache<Arc<[u8]>, Kept>,
    flights: Flights<Arc<FetchDeliveryPromiseResponse>>,
    metrics: Arc<Metrics>,
}

#[derive(Clone)]
struct Kept {
    until: Instant,
    answer: Arc<FetchDeliveryPromiseResponse>,
}

impl<U: Upstream> FetchPromise<U> {
    /// Asks `upstream`.
    pub fn new(upstream: U, settings: PromiseCacheSettings, metrics: Arc<Metrics>) -> Self {
        let cache = Cache::builder()
            .max_capacity(settings.max_bytes)
            .weigher(|key: &Arc<[u8]>, kept: &Kept| {
                // A decoded message takes a few times its encoded size.
                u32::try_from(key.len() + 4 * kept.answer.encoded_len()).unwrap_or(u32::MAX)
            })
            // Only frees memory; whether an answer still counts is decided by `Kept::until`.
            .time_to_live(settings.ttl.max(Duration::from_millis(1)))
            .build();
        Self { upstream, ttl: settings.ttl, cache, flights: Flights::new(TaskTracker::new()), metrics }
    }

    /// Answers from the cache, from a call that is under way, or by a call of its own, and says which.
    pub async fn call(
        &self,
        account: AccountIndex,
        request: FetchDeliveryPromiseRequest,
        call: &CallContext,
    ) -> Result<FetchDeliveryPromiseResponse, ServiceError> {
        check_promise(&request).map_err(ServiceError::Invalid)?;
        let key = key(account, &request);
        if let Some(answer) = self.kept(&key) {
            self.metrics.upstream.promise_cache_hits.inc();
            return Ok(stamped(answer, PromiseCache::Hit));
        }
        let request = Arc::new(request);
        loop {
            let seat = self.flights.board(&key, (), call.deadline, || {
                self.clone().fetch(account, request.clone(), call.clone(), key.clone())
            });
            let (from, counter) = if seat.joined {
                (PromiseCache::Coalesced, &self.metrics.upstream.promise_cache_coalesced)
            } else {
                (PromiseCache::Miss, &self.metrics.upstream.promise_cache_misses)
            };
            let Some(result) = seat.landed(call.deadline + SLACK, call).await else {
                return Err(timed_out(Operation::Promise));
            };
            if !seat.was_too_short_for(call.deadline, &result) {
                counter.inc();
                // Lets go of the flight's copy first.
                drop(seat);
                return result.map(|answer| stamped(answer, from));
            }
        }
    }

    async fn fetch(
        self,
        account: AccountIndex,
        request: Arc<FetchDeliveryPromiseRequest>,
        call: CallContext,
        key: Arc<[u8]>,
    ) -> Result<Arc<FetchDeliveryPromiseResponse>, ServiceError> {
        match self.upstream.fetch_promise(account, &request, &call).await {
            Ok(reply) => {
                let correlation_id = reply.correlation_id.to_string();
                let answer = Arc::new(FetchDeliveryPromiseResponse { correlation_id, ..reply.answer });
                if !self.ttl.is_zero() {
                    self.cache.insert(key, Kept { until: Instant::now() + self.ttl, answer: answer.clone() });
                }
                Ok(answer)
            }
            Err(mut error) => {
                if let Some(payload) = &request.payload {
                    Personal::of_promise(payload).redact(&mut error.errors);
                }
                Err(error.into())
            }
        }
    }

    fn kept(&self, key: &Arc<[u8]>) -> Option<Arc<FetchDeliveryPromiseResponse>> {
        if self.ttl.is_zero() {
            return None;
        }
        self.cache.get(key).filter(|kept| Instant::now() < kept.until).map(|kept| kept.answer)
    }
}

/// What makes two requests identical: the account, and everything that is sent.
fn key(account: AccountIndex, request: &FetchDeliveryPromiseRequest) -> Arc<[u8]> {
    let mut key = Vec::with_capacity(8 + request.encoded_len());
    key.extend_from_slice(&account.0.to_be_bytes());
    let header = request.header.as_ref().map(|h| h.encode_length_delimited_to_vec()).unwrap_or_default();
    key.extend_from_slice(&(header.len() as u64).to_be_bytes());
    key.extend_from_slice(&header);
    if let Some(payload) = &request.payload {
        // There is room in a vector.
        let _ = payload.encode(&mut key);
    }
    key.into()
}

/// Copies the answer only if somebody else holds it too.
fn stamped(answer: Arc<FetchDeliveryPromiseResponse>, cache: PromiseCache) -> FetchDeliveryPromiseResponse {
    let mut answer = Arc::unwrap_or_clone(answer);
    answer.set_cache(cache);
    answer
}

#[cfg(test)]
#[path = "promise_tests.rs"]
mod tests;
