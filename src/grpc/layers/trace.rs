//! The outermost layer: sets a call's context, and reports the call's end to the span, the metrics and the access log.
//!
//! The status is read from the headers of a refusal, or from the trailers after a message. A call whose caller left has
//! neither, and counts as CANCELLED. Failures are logged by this layer and nowhere else.

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tonic::{Code, Status};
use tower::{Layer, Service};

use super::LoggedInSummary;
use crate::config::AccessLog;
use crate::grpc::problem::add_trace;
use crate::ports::call::{CallContext, CallPurpose, CallRecord};
use crate::rate_limiter::RateLimiter;
use crate::telemetry::metrics::{GaugeGuard, MethodMetrics, Metrics};
use crate::telemetry::semconv;
use crate::telemetry::trace::{ServerSpan, SpanIds, Tracer, code_name, is_server_fault};

/// Duration from which a unary call counts as slow: Walmart usually answers within 1 s.
pub(crate) const SLOW: Duration = Duration::from_secs(2);

/// Lines per second of [`AccessLog::Failures`]. Without a limit, a flood of refused calls could fill the disk.
const LINES_PER_SECOND: u32 = 200;

/// Traces, measures and logs calls.
#[derive(Clone, Debug)]
pub(crate) struct TraceLayer {
    tracer: Tracer,
    metrics: Arc<Metrics>,
    access_log: AccessLog,
    lines: Arc<Mutex<RateLimiter>>,
}

impl TraceLayer {
    /// Creates a layer; its clones and services share the limit of lines.
    pub(crate) fn new(tracer: Tracer, metrics: Arc<Metrics>, access_log: AccessLog) -> Self {
        let lines = RateLimiter::new(LINES_PER_SECOND.into(), Instant::now());
        Self { tracer, metrics, access_log, lines: Arc::new(Mutex::new(lines)) }
    }

    /// Whether a line may be written. Counts the line if not.
    fn may_log(&self) -> bool {
        let may = self.lines.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now()).is_ok();
        if !may {
            self.metrics.access_lines_left_out.inc();
        }
        may
    }
}

impl<S> Layer<S> for TraceLayer {
    type Service = Trace<S>;

    fn layer(&self, inner: S) -> Trace<S> {
        Trace { inner, layer: Arc::new(self.clone()) }
    }
}

/// The service of [`TraceLayer`].
#[derive(Clone, Debug)]
pub(crate) struct Trace<S> {
    inner: S,
    layer: Arc<TraceLayer>,
}

impl<S, B, R> Service<Request<B>> for Trace<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: http_body::Body<Data = Bytes, Error = Status>,
{
    type Response = Response<RecordedBody<R>>;
    type Error = S::Error;
    type Future = TraceFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let TraceLayer { tracer, metrics, .. } = &*self.layer;
        let started = Instant::now();
        let path = request.uri().path();
        let method = metrics.method(path).clone();
        let streaming = crate::grpc::methods::is_streaming(path);
        let span = tracer.server_span(method.name(), request.headers());
        let facts = Arc::new(CallRecord::default());
        request.extensions_mut().insert(CallContext {
            deadline: CallContext::no_deadline(started),
            trace: span.context().clone(),
            facts: facts.clone(),
            purpose: CallPurpose::Caller,
        });
        let ids = span.context().ids();
        let in_flight = GaugeGuard::new(&metrics.calls_in_flight);
        let open = UnfinishedCall {
            started,
            method,
            streaming,
            span,
            facts,
            layer: self.layer.clone(),
            in_summary: false,
            _in_flight: in_flight,
        };
        let record = EndOnDrop(Some(open));
        let _working = ids.enter();
        TraceFuture { inner: self.inner.call(request), ids, record: Some(record) }
    }
}

pin_project! {
    /// The future of [`Trace`].
    pub(crate) struct TraceFuture<F> {
        #[pin]
        inner: F,
        ids: SpanIds,
        record: Option<EndOnDrop>,
    }
}

impl<F, R, E> Future for TraceFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: http_body::Body,
{
    type Output = Result<Response<RecordedBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let ids = *this.ids;
        let _working = ids.enter();
        let mut response = ready!(this.inner.poll(cx))?;
        let mut record = this.record.take();
        if let Some(EndOnDrop(Some(open))) = &mut record {
            open.in_summary = response.extensions().get::<LoggedInSummary>().is_some();
        }
        // A refusal has its status in the headers, and an empty body may never be polled.
        if response.headers().contains_key(Status::GRPC_STATUS) || response.body().is_end_stream() {
            finish(&mut record, Some(response.headers_mut()));
        }
        Poll::Ready(Ok(response.map(|inner| RecordedBody { inner, ids, record })))
    }
}

pin_project! {
    /// A response body which reports the end of its call.
    pub(crate) struct RecordedBody<R> {
        #[pin]
        inner: R,
        ids: SpanIds,
        record: Option<EndOnDrop>,
    }
}

impl<R> http_body::Body for RecordedBody<R>
where
    R: http_body::Body<Data = Bytes, Error = Status>,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.project();
        let _working = this.ids.enter();
        let mut frame = ready!(this.inner.poll_frame(cx));
        match &mut frame {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_mut() {
                    finish(this.record, Some(trailers));
                }
            }
            Some(Err(_)) | None => finish(this.record, None),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Ends the call with the status in `headers`, whose details are told the trace. Without a status the code is UNKNOWN, as
/// in gRPC clients.
fn finish(record: &mut Option<EndOnDrop>, headers: Option<&mut HeaderMap>) {
    if let Some(open) = record.take().and_then(|mut record| record.0.take()) {
        open.finish(headers);
    }
}

/// A call in progress. Dropping the guard ends the call as CANCELLED.
struct EndOnDrop(Option<UnfinishedCall>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        if let Some(open) = self.0.take() {
            let _working = open.span.context().ids().enter();
            open.end(Code::Cancelled, None);
        }
    }
}

struct UnfinishedCall {
    started: Instant,
    method: Arc<MethodMetrics>,
    streaming: bool,
    span: ServerSpan,
    facts: Arc<CallRecord>,
    layer: Arc<TraceLayer>,
    /// Whether the layer that refused the call logs the refusal in summary.
    in_summary: bool,
    _in_flight: GaugeGuard,
}

impl UnfinishedCall {
    fn finish(self, headers: Option<&mut HeaderMap>) {
        let code = headers.as_ref().and_then(|headers| headers.get(Status::GRPC_STATUS));
        let code = code.map_or(Code::Unknown, |code| Code::from_bytes(code.as_bytes()));
        let failed = headers.filter(|_| code != Code::Ok);
        let reason = failed.and_then(|headers| add_trace(headers, self.span.context()));
        self.end(code, reason);
    }

    /// Ends the call. `reason` is that of the status details, which counts for failures that did not come from a handler.
    fn end(mut self, code: Code, reason: Option<String>) {
        let took = self.started.elapsed();
        let caller = self.facts.caller().map(|caller| caller.name.as_str());
        self.method.observe(code, caller, took, self.span.context());
        let wanted = match self.layer.access_log {
            AccessLog::All => true,
            AccessLog::Failures => {
                let failed = code != Code::Ok && !self.in_summary;
                (failed || (took >= SLOW && !self.streaming)) && self.layer.may_log()
            }
            AccessLog::Off => false,
        };
        let reason = match self.facts.reason() {
            Some(known) => Some(Cow::Borrowed(known)),
            None => reason.map(Cow::Owned),
        };
        if wanted {
            self.log(code, took, reason.as_deref());
        }
        // A stream is not a failure when its reader leaves or its deadline passes.
        let left = self.streaming && matches!(code, Code::Cancelled | Code::DeadlineExceeded);
        let failed = code != Code::Ok && !left;
        let failure = failed.then(|| reason.clone().unwrap_or_default());
        self.layer.metrics.last_hour.note(failure, (!self.streaming).then_some(took));
        if failed {
            let (facts, recent) = (&*self.facts, &self.layer.metrics.recent);
            let account = facts.account().map(|account| account.as_str());
            recent.note(self.method.name(), code, reason, account, facts.correlation_id());
        }
        if self.span.is_recording() {
            self.describe();
        }
        self.span.end(code);
    }

    /// Adds the attributes that link the span to the log and to Walmart's records.
    fn describe(&mut self) {
        let facts = &*self.facts;
        if let Some(caller) = facts.caller() {
            self.span.set(semconv::CALLER, caller.name.clone());
        }
        if let Some(account) = facts.account() {
            self.span.set(semconv::ACCOUNT, account.to_string());
        }
        if let Some(id) = facts.correlation_id() {
            self.span.set(semconv::CORRELATION_ID, id.to_string());
        }
        if let Some(reason) = facts.reason() {
            self.span.set(semconv::REASON, reason);
        }
    }

    fn log(&self, code: Code, took: Duration, reason: Option<&str>) {
        macro_rules! line {
            ($level:expr) => {{
                let facts = &*self.facts;
                let method = self.method.name();
                let code = code_name(code);
                let millis = took.as_micros() as f64 / 1e3;
                tracing::event!(
                    target: "order_gateway::access",
                    $level,
                    method,
                    code,
                    reason,
                    caller = facts.caller().map(|caller| caller.name.as_str()),
                    account = facts.account().map(|account| account.as_str()),
                    duration_ms = millis,
                    attempts = facts.attempts(),
                    correlation_id = facts.correlation_id().map(tracing::field::display),
                    "{method} {code} in {millis} ms",
                );
            }};
        }
        if is_server_fault(code) {
            line!(tracing::Level::WARN);
        } else {
            line!(tracing::Level::INFO);
        }
    }
}

#[cfg(test)]
#[path = "trace_tests.rs"]
mod tests;
