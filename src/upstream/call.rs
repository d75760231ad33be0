//! A logical call to Walmart and its attempts, as the layers pass them on.

use std::any::Any;
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method};
use tokio::time::Instant;
use tower::Service;
use uuid::Uuid;

use super::codec::{AnswerError, OperationCodec, RestRequest};
use super::failure::AttemptFailure;
use super::headers::RateLimitHeaders;
use crate::domain::account::AccountIndex;
use crate::domain::operation::Operation;
use crate::ports::call::CallContext;
use crate::telemetry::trace::TraceContext;
use crate::wire::unmapped::{self, Unmapped};
use crate::wire::watch;

/// An attempt with less time than this is not started: the answer would probably come too late.
const SHORTEST_ATTEMPT: Duration = Duration::from_millis(300);

/// The part of a call shared by all attempts, with the counters of sent requests.
#[derive(Debug)]
pub struct OutboundCall {
    /// The Walmart operation being called.
    pub operation: Operation,
    /// The account in whose name the call is made.
    pub account: AccountIndex,
    /// Sent as `WM_QOS.CORRELATION_ID`, the same on every attempt.
    pub correlation_id: Uuid,
    /// The gRPC call served by this upstream call.
    pub context: CallContext,
    /// HTTP method.
    pub method: Method,
    /// Path with query, below the base URL.
    pub target: Cow<'static, str>,
    /// JSON body; empty on GET and DELETE.
    pub body: Bytes,
    /// How an answer is decoded.
    pub reader: AnswerReader,
    sends: AtomicU32,
    /// Whether the HTTP client reports the first byte of the current request by itself.
    watched: AtomicBool,
    /// Whether the current attempt used up the attempt timeout.
    timed_out: AtomicBool,
    /// Whether a further attempt follows one that may have been carried out.
    lost_attempt: AtomicBool,
}

impl OutboundCall {
    /// Creates a call without attempts.
    pub fn new<X: OperationCodec>(
        request: RestRequest,
        account: AccountIndex,
        correlation_id: Uuid,
        context: CallContext,
    ) -> Arc<Self> {
        let RestRequest { method, target, body } = request;
        Arc::new(Self {
            operation: X::OPERATION,
            account,
            correlation_id,
            context,
            method,
            target,
            body,
            reader: AnswerReader::of::<X>(),
            sends: AtomicU32::new(0),
            watched: AtomicBool::new(false),
            timed_out: AtomicBool::new(false),
            lost_attempt: AtomicBool::new(false),
        })
    }

    /// Returns the time left on the wire for an attempt started at `now`, or `None` if too little is left to start.
    pub fn attempt_time(&self, now: Instant) -> Option<Duration> {
        let left = self.context.deadline.saturating_duration_since(now);
        (left >= SHORTEST_ATTEMPT).then_some(left)
    }

    /// The latest time to start an attempt. Layers wait no longer than this before an attempt.
    pub fn latest_start(&self) -> Instant {
        let deadline = self.context.deadline;
        deadline.checked_sub(SHORTEST_ATTEMPT).unwrap_or(deadline)
    }

    /// Counts a send. Must be called before the first byte can leave.
    pub fn mark_sent(&self) {
        self.sends.fetch_add(1, Ordering::AcqRel);
    }

    /// Records an attempt that may have been carried out, before a further attempt.
    pub(super) fn set_lost_attempt(&self) {
        self.lost_attempt.store(true, Ordering::Relaxed);
    }

    /// Whether an attempt before the last one may have been carried out.
    pub(super) fn has_lost_attempt(&self) -> bool {
        self.lost_attempt.load(Ordering::Relaxed)
    }

    /// Records an attempt as having used up the attempt timeout.
    pub(super) fn set_timed_out(&self) {
        self.timed_out.store(true, Ordering::Relaxed);
    }

    /// The number of requests whose bytes may have left. Two different readings mean a send in between.
    pub fn sends(&self) -> u32 {
        self.sends.load(Ordering::Acquire)
    }
}

/// A decoded success of any call. The layers pass answers on without looking inside; only the caller of the stack knows
/// the type. One type for all calls means one stack for all calls, which would otherwise be compiled for each.
pub(crate) type AnyAnswer = Box<dyn Any + Send>;

/// Decodes the answers of one call, whose type only [`AnswerReader::of`] knows.
#[derive(Clone, Copy, Debug)]
pub struct AnswerReader {
    is_answer: fn(u16, &[u8]) -> bool,
    read: fn(u16, &[u8]) -> Result<AnyAnswer, AnswerError>,
    message: &'static str,
}

impl AnswerReader {
    /// The reader of the answers of `X`.
    pub fn of<X: OperationCodec>() -> Self {
        Self {
            is_answer: X::is_answer,
            read: |status, body| X::read(status, body).map(|answer| Box::new(answer) as AnyAnswer),
            message: X::MESSAGE,
        }
    }

    /// Whether to decode the answer.
    pub fn is_answer(self, status: u16, body: &[u8]) -> bool {
        (self.is_answer)(status, body)
    }

    /// Decodes the body of an accepted answer, and finds what its message has no place for.
    pub(crate) fn read(self, status: u16, body: &[u8]) -> Result<(AnyAnswer, Option<Box<Unmapped>>), AnswerError> {
        let (answer, noticed) = watch::watching(|| (self.read)(status, body));
        let answer = answer?;
        let unmapped = (noticed && !self.message.is_empty()).then(|| unmapped::find(self.message, body));
        Ok((answer, unmapped.filter(|found| !found.places.is_empty()).map(Box::new)))
    }
}

/// Records the first byte of a request leaving, so that a failed attempt can be told apart as sent or not sent.
///
/// A tracker goes with each HTTP request. An HTTP client able to see the first byte leave calls
/// [`watch`](Self::watch), and the request counts as unsent until [`left`](Self::left). With any other client a
/// request counts as sent from the moment of the hand-over.
#[derive(Clone, Debug)]
pub struct SendTracker {
    call: Arc<OutboundCall>,
    sends_before: u32,
}

impl SendTracker {
    /// Creates the tracker for the next request of `call`.
    pub fn new(call: Arc<OutboundCall>) -> Self {
        call.watched.store(false, Ordering::Relaxed);
        call.timed_out.store(false, Ordering::Relaxed);
        let sends_before = call.sends();
        Self { call, sends_before }
    }

    /// Announces a later call of [`left`](Self::left), before the first byte leaves.
    pub fn watch(&self) {
        self.call.watched.store(true, Ordering::Relaxed);
    }

    /// Whether the client announced a report of the first byte.
    pub fn is_watched(&self) -> bool {
        self.call.watched.load(Ordering::Relaxed)
    }

    /// Records a first byte as possibly gone. Further calls do nothing.
    pub fn left(&self) {
        if !self.has_left() {
            self.call.mark_sent();
        }
    }

    /// Whether bytes may have left.
    pub fn has_left(&self) -> bool {
        self.call.sends() > self.sends_before
    }

    /// Whether the attempt used up the attempt timeout.
    pub fn timed_out(&self) -> bool {
        self.call.timed_out.load(Ordering::Relaxed)
    }
}

/// A request to the layers below to carry out an attempt of a call.
#[derive(Debug)]
pub struct AttemptRequest {
    /// The call shared by all attempts.
    pub call: Arc<OutboundCall>,
    /// The attempt's number, from 0.
    pub attempt: u32,
    /// The time of the hand-over to the next layer. A layer sets the time anew after a wait. Reading the clock once
    /// for all layers saves a hundredth of a call's time.
    pub at: Instant,
    /// The account's access token, set by the `auth` layer.
    pub token: Option<HeaderValue>,
    /// The parent span of the attempt.
    pub trace: TraceContext,
}

impl AttemptRequest {
    /// Creates the first attempt of `call`.
    pub fn new(call: Arc<OutboundCall>) -> Self {
        Self::nth(call, 0)
    }

    /// Creates attempt number `attempt` of `call`, handed down now.
    pub fn nth(call: Arc<OutboundCall>, attempt: u32) -> Self {
        let trace = call.context.trace.clone();
        Self { call, attempt, at: Instant::now(), token: None, trace }
    }
}

/// A readable success, with the rate limit headers of the response.
#[derive(Debug)]
pub struct AttemptResponse {
    /// The answer, decoded by the codec.
    pub answer: AnyAnswer,
    /// The HTTP status: 200, 202 or 206.
    pub status: u16,
    /// The time at which the answer arrived.
    pub at: Instant,
    /// Rate limit counters from the response headers.
    pub hint: RateLimitHeaders,
    /// What the answer's message has no place for.
    pub unmapped: Option<Box<Unmapped>>,
}

/// A service for attempts: each layer, and the transport at the bottom of the stack.
pub(crate) trait AttemptService:
    Service<AttemptRequest, Response = AttemptResponse, Error = AttemptFailure, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> AttemptService for S where
    S: Service<AttemptRequest, Response = AttemptResponse, Error = AttemptFailure, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// A boxed attempt, for the rare paths which wait or send more than once.
pub(crate) type AttemptFuture = std::pin::Pin<Box<dyn Future<Output = Result<AttemptResponse, AttemptFailure>> + Send>>;
