//! The use case of every read: identical reads in flight share one call, and answers may be cached for a while. The
//! differences between reads are defined by their types (`domain::reads`).

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use prost::Message as _;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;

use super::ServiceError;
use super::error::{SLACK, had_too_little_time, timed_out};
use crate::domain::account::AccountIndex;
use crate::domain::operation::WalmartCall;
use crate::domain::reads::{self, AnswerSource};
use crate::ports::call::{CallContext, CallRecord};
use crate::ports::upstream::{ErrorKind, Reply, Upstream, UpstreamError};
use crate::single_flight::SingleFlight;
use crate::telemetry::metrics::Metrics;

/// The use case of one read. Cheap to clone.
pub(super) struct CoalescedRead<R: reads::ReadCall, U> {
    upstream: U,
    conclude: Conclude<R>,
    cache: Option<AnswerCache<R>>,
    single_flight: SingleFlight<Result<Arc<R::Answer>, ServiceError>, FirstCaller>,
}

/// The caller that began a flight.
#[derive(Clone)]
struct FirstCaller {
    deadline: Instant,
    /// Has the correlation id that all waiters report.
    facts: Arc<CallRecord>,
}

/// The settings of the answer cache.
#[derive(Clone, Copy, Debug)]
pub struct CacheSettings {
    /// Lifetime of an answer; zero disables the cache.
    pub ttl: Duration,
    /// Approximate bytes of all answers together.
    pub max_bytes: u64,
}

/// Converts the end of an upstream call to the caller's answer.
pub(super) type Conclude<R> = fn(&Request<R>, CallEnd<R>) -> Result<Answer<R>, ServiceError>;
/// The end of an upstream call.
pub(super) type CallEnd<R> = Result<Reply<Answer<R>>, UpstreamError>;
type Request<R> = <R as WalmartCall>::Request;
type Answer<R> = <R as WalmartCall>::Answer;

/// An answer with its expiry.
type CachedAnswer<R> = (Instant, Arc<Answer<R>>);

/// Cached answers with their lifetime.
struct AnswerCache<R: reads::ReadCall> {
    ttl: Duration,
    answers: Cache<Arc<[u8]>, CachedAnswer<R>>,
    metrics: Arc<Metrics>,
}

impl<R: reads::ReadCall, U: Clone> Clone for CoalescedRead<R, U> {
    fn clone(&self) -> Self {
        let Self { upstream, conclude, cache, single_flight } = self;
        Self {
            upstream: upstream.clone(),
            conclude: *conclude,
            cache: cache.clone(),
            single_flight: single_flight.clone(),
        }
    }
}

impl<R: reads::ReadCall> Clone for AnswerCache<R> {
    fn clone(&self) -> Self {
        Self { ttl: self.ttl, answers: self.answers.clone(), metrics: self.metrics.clone() }
    }
}

impl<R: reads::ReadCall, U: Upstream<R>> CoalescedRead<R, U> {
    /// Sends reads to `upstream`, without a cache.
    pub(super) fn new(upstream: U) -> Self {
        let single_flight = SingleFlight::new(TaskTracker::new(), Err(ServiceError::Internal));
        Self { upstream, conclude: reply::<R>, cache: None, single_flight }
    }

    /// Replaces the conversion of the call's end.
    pub(super) fn concluding(self, conclude: Conclude<R>) -> Self {
        Self { conclude, ..self }
    }

    /// Adds a cache. `metrics` counts the sources of answers.
    pub(super) fn keeping(self, settings: CacheSettings, metrics: Arc<Metrics>) -> Self {
        let CacheSettings { ttl, max_bytes } = settings;
        let answers = Cache::builder()
            .max_capacity(max_bytes)
            .weigher(|key: &Arc<[u8]>, (_, answer): &CachedAnswer<R>| {
                // A decoded message takes about four times its encoded size.
                u32::try_from(key.len() + 4 * answer.encoded_len()).unwrap_or(u32::MAX)
            })
            // Frees memory only; the expiry beside an answer decides about its use.
            .time_to_live(ttl.max(Duration::from_millis(1)))
            .build();
        Self { cache: Some(AnswerCache { ttl, answers, metrics }), ..self }
    }

    /// Answers from the cache, from a call in flight, or by a new call.
    pub(super) async fn call(
        &self,
        account: AccountIndex,
        request: R::Request,
        call: &CallContext,
    ) -> Result<R::Answer, ServiceError> {
        R::check(&request).map_err(ServiceError::Invalid)?;
        let mut key = account.0.to_be_bytes().to_vec();
        key.extend(R::identity(&request));
        let key: Arc<[u8]> = key.into();
        if let Some(answer) = self.cache.as_ref().and_then(|cache| cache.answer(&key)) {
            return Ok(self.answered(answer, AnswerSource::Cached));
        }
        let request = Arc::new(request);
        loop {
            let first = FirstCaller { deadline: call.deadline, facts: call.facts.clone() };
            let waiter = self.single_flight.join(&key, first, || {
                // Other callers may drive the work, or a task.
                call.trace.ids().scope(self.clone().ask(account, request.clone(), call.clone(), key.clone()))
            });
            let source = if waiter.joined { AnswerSource::Joined } else { AnswerSource::Own };
            let Ok(result) = timeout_at(call.deadline + SLACK, waiter.wait()).await else {
                return Err(timed_out(R::OPERATION, waiter.tag.facts.correlation_id().unwrap_or_default()));
            };
            if !had_too_little_time(&result, waiter.tag.deadline, call.deadline) {
                // Releases the shared copy first, which lets the unwrap move the answer without a clone.
                drop(waiter);
                return match result {
                    Ok(answer) => Ok(self.answered(answer, source)),
                    Err(error) => {
                        self.count(source);
                        Err(error)
                    }
                };
            }
        }
    }

    async fn ask(
        self,
        account: AccountIndex,
        request: Arc<R::Request>,
        call: CallContext,
        key: Arc<[u8]>,
    ) -> Result<Arc<R::Answer>, ServiceError> {
        let ended = self.upstream.call(account, &request, None, &call).await;
        let answer = Arc::new((self.conclude)(&request, redacted::<R>(&request, ended))?);
        if let Some(cache) = &self.cache {
            cache.keep(key, &answer);
        }
        Ok(answer)
    }

    fn answered(&self, answer: Arc<R::Answer>, source: AnswerSource) -> R::Answer {
        self.count(source);
        // Cloned only when the cache or a waiter shares the answer.
        R::with_source(Arc::unwrap_or_clone(answer), source)
    }

    fn count(&self, source: AnswerSource) {
        if let Some(AnswerCache { metrics, .. }) = &self.cache {
            match source {
                AnswerSource::Cached => &metrics.upstream.promise_cache_hits,
                AnswerSource::Joined => &metrics.upstream.promise_cache_coalesced,
                AnswerSource::Own => &metrics.upstream.promise_cache_misses,
            }
            .inc();
        }
    }
}

impl<R: reads::ReadCall> AnswerCache<R> {
    fn answer(&self, key: &Arc<[u8]>) -> Option<Arc<R::Answer>> {
        let (until, answer) = self.answers.get(key)?;
        (Instant::now() < until).then_some(answer)
    }

    fn keep(&self, key: Arc<[u8]>, answer: &Arc<R::Answer>) {
        if !self.ttl.is_zero() {
            self.answers.insert(key, (Instant::now() + self.ttl, answer.clone()));
        }
    }
}

/// Removes the customer's data from Walmart's errors.
fn redacted<R: reads::ReadCall>(request: &R::Request, mut ended: CallEnd<R>) -> CallEnd<R> {
    match &mut ended {
        Err(error) => R::personal(request).redact(&mut error.errors),
        Ok(Reply { answer, .. }) => {
            if !R::errors(answer).is_empty() {
                R::personal(request).and(R::personal_of_answer(answer)).redact(R::errors(answer));
            }
        }
    }
    ended
}

/// Completes the answer, and adds the correlation id of the call.
pub(super) fn reply<R: reads::ReadCall>(request: &R::Request, ended: CallEnd<R>) -> Result<R::Answer, ServiceError> {
    let (answer, correlation_id) = match ended {
        Ok(Reply { answer, correlation_id }) => (R::completed(request, answer), correlation_id),
        Err(error) if error.kind == ErrorKind::NotFound && R::found_nothing().is_some() => {
            (R::found_nothing(), error.correlation_id)
        }
        Err(error) => return Err(error.into()),
    };
    match answer {
        Some(answer) => Ok(R::with_correlation_id(answer, correlation_id.to_string())),
        None => Err(ServiceError::OrderNotFound { operation: R::OPERATION, correlation_id }),
    }
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
