//! One logical call on its way to Walmart, as the layers see it.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method};
use tokio::time::Instant;
use tower::Service;
use uuid::Uuid;

use super::codec::OperationCodec;
use super::failure::AttemptFailure;
use super::headers::RateLimitHeaders;
use crate::domain::account::AccountIndex;
use crate::domain::operation::{Operation, WalmartCall};
use crate::ports::call::CallContext;
use crate::telemetry::trace::TraceContext;

/// An attempt that has less time than this is not begun: it could only lose its answer.
const SHORTEST_ATTEMPT: Duration = Duration::from_millis(300);

/// What stays the same on every attempt of a call.
#[derive(Debug)]
pub struct OutboundCall {
    /// Which of Walmart's calls.
    pub operation: Operation,
    /// For which account.
    pub account: AccountIndex,
    /// Sent as `WM_QOS.CORRELATION_ID`, the same on every attempt.
    pub correlation_id: Uuid,
    /// The gRPC call that this one serves.
    pub context: CallContext,
    /// GET or POST.
    pub method: Method,
    /// Path and query.
    pub target: Cow<'static, str>,
    /// JSON body; empty on GET.
    pub body: Bytes,
    sends: AtomicU32,
    /// How many of these are known to have had no effect.
    settled: AtomicU32,
    /// Whether the HTTP client itself tells when bytes of the present request leave.
    watched: AtomicBool,
    /// Whether the present attempt took all the time that an attempt may.
    timed_out: AtomicBool,
    /// Whether an attempt is under way whose timer wakes the call before its deadline.
    deadline_armed: AtomicBool,
}

impl OutboundCall {
    /// A call that was not tried yet.
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
            sends: AtomicU32::new(0),
            settled: AtomicU32::new(0),
            watched: AtomicBool::new(false),
            timed_out: AtomicBool::new(false),
            deadline_armed: AtomicBool::new(false),
        })
    }

    /// Time that an attempt begun at `now` may take on the wire; `None` when that is too short to begin one.
    pub fn attempt_time(&self, now: Instant) -> Option<Duration> {
        let left = self.context.deadline.saturating_duration_since(now);
        (left >= SHORTEST_ATTEMPT).then_some(left)
    }

    /// The last moment at which an attempt may be begun. Whoever waits before one waits no longer than this.
    pub fn latest_start(&self) -> Instant {
        let deadline = self.context.deadline;
        deadline.checked_sub(SHORTEST_ATTEMPT).unwrap_or(deadline)
    }

    /// Counts a request of which bytes may leave, before the first one does.
    pub fn mark_sent(&self) {
        self.sends.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether an attempt is under way that ends before the deadline by itself.
    pub(super) fn is_deadline_armed(&self) -> bool {
        self.deadline_armed.load(Ordering::Relaxed)
    }

    /// An attempt's timer was set, or the attempt has ended.
    pub(super) fn set_deadline_armed(&self, is: bool) {
        self.deadline_armed.store(is, Ordering::Relaxed);
    }

    /// Every request so far ended so that it certainly had no effect.
    pub(super) fn set_settled(&self) {
        self.settled.store(self.sends(), Ordering::Relaxed);
    }

    /// Whether a request may have had an effect.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.sends() > self.settled.load(Ordering::Relaxed)
    }

    /// The present attempt took all the time that an attempt may.
    pub(super) fn set_timed_out(&self) {
        self.timed_out.store(true, Ordering::Relaxed);
    }

    /// Requests of which bytes may have left so far. Whoever compares two readings learns whether one left in between.
    pub fn sends(&self) -> u32 {
        self.sends.load(Ordering::Acquire)
    }
}

/// Tells a call when bytes of its request may have left. It goes with each HTTP request, for an HTTP client that knows the
/// moment: until then the request is certainly not sent, however the attempt ends. For other clients every
/// request counts as sent when it is handed to them.
#[derive(Clone, Debug)]
pub struct SendTracker {
    call: Arc<OutboundCall>,
    sends_before: u32,
}

impl SendTracker {
    /// For the next request of `call`.
    pub fn new(call: Arc<OutboundCall>) -> Self {
        call.watched.store(false, Ordering::Relaxed);
        call.timed_out.store(false, Ordering::Relaxed);
        let sends_before = call.sends();
        Self { call, sends_before }
    }

    /// The client will call [`left`](Self::left) before the first byte leaves.
    pub fn watch(&self) {
        self.call.watched.store(true, Ordering::Relaxed);
    }

    /// Whether the client watches for the first byte.
    pub fn is_watched(&self) -> bool {
        self.call.watched.load(Ordering::Relaxed)
    }

    /// From now on bytes may have left.
    pub fn left(&self) {
        if !self.has_left() {
            self.call.mark_sent();
        }
    }

    /// Whether bytes may have left.
    pub fn has_left(&self) -> bool {
        self.call.sends() > self.sends_before
    }

    /// Whether the attempt took all the time that an attempt may.
    pub fn timed_out(&self) -> bool {
        self.call.timed_out.load(Ordering::Relaxed)
    }
}

/// What an exchange builds: where to, and what.
#[derive(Clone, Debug, PartialEq)]
pub struct RestRequest {
    /// GET or POST.
    pub method: Method,
    /// Path and query.
    pub target: Cow<'static, str>,
    /// JSON body; empty on GET.
    pub body: Bytes,
}

/// One attempt of a call, passed down the stack.
#[derive(Debug)]
pub struct AttemptRequest<X> {
    /// The call.
    pub call: Arc<OutboundCall>,
    /// Which attempt this is, from 0.
    pub attempt: u32,
    /// When it was handed down. A layer that waits before it hands it on says when it went on: the clock is read once for
    /// all layers, which is a hundredth of a call's time.
    pub at: Instant,
    /// The account's access token, once `auth` has put it there.
    pub token: Option<HeaderValue>,
    /// The span that this attempt belongs to.
    pub trace: TraceContext,
    codec: PhantomData<fn() -> X>,
}

impl<X> AttemptRequest<X> {
    /// The first attempt of `call`.
    pub fn new(call: Arc<OutboundCall>) -> Self {
        Self::nth(call, 0)
    }

    /// An attempt of `call`, from 0, handed down now.
    pub fn nth(call: Arc<OutboundCall>, attempt: u32) -> Self {
        let trace = call.context.trace.clone();
        Self { call, attempt, at: Instant::now(), token: None, trace, codec: PhantomData }
    }
}

/// A readable success, with what its headers said about the limit.
#[derive(Debug)]
pub struct AttemptResponse<A> {
    /// What Walmart said.
    pub answer: A,
    /// The HTTP status that it said it with: 200, 202, 206.
    pub status: u16,
    /// When it came.
    pub at: Instant,
    /// Counters of the account's bucket.
    pub hint: RateLimitHeaders,
}

/// Any part of the stack that can carry out an attempt of `X`.
pub trait AttemptService<X: OperationCodec>:
    Service<AttemptRequest<X>, Response = AttemptResponse<X::Answer>, Error = AttemptFailure, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<X: OperationCodec, S> AttemptService<X> for S where
    S: Service<AttemptRequest<X>, Response = AttemptResponse<X::Answer>, Error = AttemptFailure, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// The future of a layer.
pub type AttemptFuture<X> =
    std::pin::Pin<Box<dyn Future<Output = Result<AttemptResponse<<X as WalmartCall>::Answer>, AttemptFailure>> + Send>>;
