//! Makes the sampling decision and builds spans.

use std::cell::Cell;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue};
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceId,
    TraceState, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{
    IdGenerator, RandomIdGenerator, Sampler, SamplingDecision, SdkTracer, SdkTracerProvider, ShouldSample as _, Span,
};

use super::TraceContext;
use super::context::{TRACEPARENT, TRACESTATE};
use super::current::SpanIds;
use super::posted::{HttpExchange, PostSpan, server_span};
use super::span::{BackgroundSpan, ClientRequest, ClientSpan, ServerSpan, WaitSpan};
use crate::telemetry::semconv;

/// The rules by which traces are recorded.
#[derive(Clone, Debug)]
pub struct Sampling {
    /// Whether the caller's decision is followed, if present.
    pub parent_based: bool,
    /// The rule for all other traces: by ratio, always or never.
    pub root: Sampler,
}

impl Sampling {
    /// Follows the caller's decision, and otherwise samples `ratio` (0 to 1) of the traces.
    pub fn ratio(ratio: f64) -> Self {
        Self { parent_based: true, root: Sampler::TraceIdRatioBased(ratio) }
    }
}

/// Builds spans. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tracer {
    sampling: Arc<Sampling>,
    ids: Arc<dyn IdGenerator>,
    /// Absent without an exporter; no span is recorded then.
    recorder: Option<SdkTracer>,
    propagate: bool,
}

impl Tracer {
    /// Creates a tracer without recording. Ids are still created and forwarded.
    pub fn off() -> Self {
        Self {
            sampling: Arc::new(Sampling { parent_based: true, root: Sampler::AlwaysOff }),
            ids: Arc::new(RandomIdGenerator::default()),
            recorder: None,
            propagate: true,
        }
    }

    /// Creates a tracer recording into `provider`, built with [`Tracer::provider_builder`].
    pub fn recording(sampling: Sampling, ids: Arc<dyn IdGenerator>, provider: &SdkTracerProvider) -> Self {
        let recorder = Some(provider.tracer("order-gateway"));
        Self { sampling: Arc::new(sampling), ids, recorder, propagate: true }
    }

    /// Turns off reading and sending of trace headers (`OTEL_PROPAGATORS=none`).
    pub fn without_propagation(self) -> Self {
        Self { propagate: false, ..self }
    }

    /// Starts building a provider which takes ids and decisions from a [`Tracer`].
    pub fn provider_builder() -> opentelemetry_sdk::trace::TracerProviderBuilder {
        SdkTracerProvider::builder().with_sampler(Sampler::AlwaysOn).with_id_generator(HandedIds)
    }

    /// Starts the span of an RPC. `method` is `package.Service/Method`, or `_OTHER` for an unknown method.
    pub fn server_span(&self, method: &'static str, headers: &HeaderMap) -> ServerSpan {
        let parent = if self.propagate { TraceContext::from_headers(headers) } else { None };
        let trace_id = parent.as_ref().map_or_else(|| self.new_trace_id(), |p| p.trace_id);
        let sampled = match &parent {
            Some(parent) if self.sampling.parent_based => parent.sampled,
            _ => self.recorder.is_some() && self.root_sampled(trace_id, method),
        };
        let state = parent.as_ref().and_then(|p| p.state.clone());
        let context = TraceContext { trace_id, span_id: self.new_span_id(), sampled, state };
        let span = self.record(&context, parent.as_ref(), true, || {
            SpanBuilder::from_name(method).with_kind(SpanKind::Server).with_attributes([
                KeyValue::new(semconv::RPC_SYSTEM_NAME, semconv::SYSTEM_GRPC),
                KeyValue::new(semconv::RPC_METHOD, method),
            ])
        });
        ServerSpan { context, span }
    }

    /// Begins the trace of a webhook. The sender's context is the parent; see [`PostSpan`] for what it decides.
    pub(crate) fn post_span(&self, headers: &HeaderMap) -> PostSpan {
        let parent = if self.propagate { TraceContext::from_headers(headers) } else { None };
        let trace_id = parent.as_ref().map_or_else(|| self.new_trace_id(), |p| p.trace_id);
        let by_rule = self.recorder.is_some() && self.root_sampled(trace_id, "webhook");
        let by_sender = parent.as_ref().filter(|_| self.sampling.parent_based).map(|parent| parent.sampled);
        let state = parent.as_ref().and_then(|p| p.state.clone());
        let sampled = by_sender.unwrap_or(by_rule);
        let context = TraceContext { trace_id, span_id: self.new_span_id(), sampled, state };
        PostSpan { context, parent, by_rule }
    }

    /// Records a webhook at its end, if it is to be recorded.
    pub(crate) fn end_post(&self, post: PostSpan, exchange: &HttpExchange<'_>) {
        if post.is_recorded(exchange.status)
            && let Some(mut span) = self.record(&post.context, post.parent.as_ref(), true, || server_span(exchange))
        {
            if exchange.status.is_some_and(|status| status.is_server_error()) {
                span.set_status(Status::error(""));
            }
            span.end();
        }
    }

    /// Starts the span of a wait in the course of the call that this thread works for, if that call is recorded.
    pub fn wait_span(&self, name: &'static str) -> WaitSpan {
        let recorded = SpanIds::current().filter(|ids| ids.sampled && self.recorder.is_some());
        let span = recorded.and_then(|SpanIds { trace_id, span_id, sampled }| {
            let parent = TraceContext { trace_id, span_id, sampled, state: None };
            let context = TraceContext { span_id: self.new_span_id(), ..parent.clone() };
            self.record(&context, Some(&parent), false, || SpanBuilder::from_name(name).with_kind(SpanKind::Internal))
        });
        WaitSpan { _span: span }
    }

    /// Starts the span of an upstream attempt below `parent`.
    pub fn client_span(&self, parent: &TraceContext, request: &ClientRequest<'_>) -> ClientSpan {
        let context = TraceContext { span_id: self.new_span_id(), ..parent.clone() };
        let span = self.record(&context, Some(parent), false, || {
            let mut attributes = vec![
                KeyValue::new(semconv::HTTP_REQUEST_METHOD, request.method),
                KeyValue::new(semconv::URL_TEMPLATE, request.template),
                KeyValue::new(semconv::SERVER_ADDRESS, request.server_address.to_owned()),
                KeyValue::new(semconv::SERVER_PORT, i64::from(request.server_port)),
                KeyValue::new(semconv::CORRELATION_ID, request.correlation_id.to_string()),
            ];
            if let Some(url) = request.url {
                attributes.push(KeyValue::new(semconv::URL_FULL, url.to_string()));
            }
            if request.resend_count > 0 {
                attributes.push(KeyValue::new(semconv::HTTP_REQUEST_RESEND_COUNT, i64::from(request.resend_count)));
            }
            SpanBuilder::from_name(format!("{} {}", request.method, request.template))
                .with_kind(SpanKind::Client)
                .with_attributes(attributes)
        });
        ClientSpan { context, span }
    }

    /// Starts the span of background work, in a new trace.
    pub fn background_span(&self, name: &'static str) -> BackgroundSpan {
        let trace_id = self.new_trace_id();
        let sampled = self.recorder.is_some() && self.root_sampled(trace_id, name);
        let context = TraceContext { trace_id, span_id: self.new_span_id(), sampled, state: None };
        let span = self.record(&context, None, false, || SpanBuilder::from_name(name).with_kind(SpanKind::Internal));
        BackgroundSpan { context, span }
    }

    /// Writes the headers by which the receiver becomes a child of `context`.
    pub fn inject(&self, context: &TraceContext, headers: &mut HeaderMap) {
        if !self.propagate {
            return;
        }
        headers.insert(TRACEPARENT, context.traceparent());
        if let Some(state) = &context.state {
            headers.insert(TRACESTATE, HeaderValue::clone(state));
        }
    }

    fn root_sampled(&self, trace_id: u128, name: &str) -> bool {
        let result = self.sampling.root.should_sample(None, trace_id.into(), name, &SpanKind::Server, &[], &[]);
        result.decision == SamplingDecision::RecordAndSample
    }

    fn record(
        &self,
        context: &TraceContext,
        parent: Option<&TraceContext>,
        remote: bool,
        builder: impl FnOnce() -> SpanBuilder,
    ) -> Option<Box<Span>> {
        let recorder = self.recorder.as_ref().filter(|_| context.sampled)?;
        let parent_context = match parent {
            Some(parent) => Context::new().with_remote_span_context(span_context(parent, remote)),
            None => Context::new(),
        };
        NEXT_IDS.set(Some((context.trace_id, context.span_id)));
        let span = recorder.build_with_context(builder(), &parent_context);
        NEXT_IDS.set(None);
        Some(Box::new(span))
    }

    fn new_trace_id(&self) -> u128 {
        u128::from_be_bytes(self.ids.new_trace_id().to_bytes()).max(1)
    }

    fn new_span_id(&self) -> u64 {
        u64::from_be_bytes(self.ids.new_span_id().to_bytes()).max(1)
    }
}

fn span_context(context: &TraceContext, remote: bool) -> SpanContext {
    let state = context.state.as_ref().and_then(|s| s.to_str().ok()).and_then(|s| s.parse::<TraceState>().ok());
    let flags = TraceFlags::default().with_sampled(context.sampled);
    SpanContext::new(context.trace_id.into(), context.span_id.into(), flags, remote, state.unwrap_or_default())
}

thread_local! {
    /// Ids for the span being built on this thread. The sampling decision needs the trace id before the span exists,
    /// and the SDK accepts ids only through a generator.
    static NEXT_IDS: Cell<Option<(u128, u64)>> = const { Cell::new(None) };
}

#[derive(Debug)]
struct HandedIds;

impl IdGenerator for HandedIds {
    fn new_trace_id(&self) -> TraceId {
        NEXT_IDS.get().map_or(TraceId::INVALID, |(trace, _)| trace.into())
    }

    fn new_span_id(&self) -> SpanId {
        NEXT_IDS.get().map_or(SpanId::INVALID, |(_, span)| span.into())
    }
}

#[cfg(test)]
#[path = "tracer_tests.rs"]
mod tests;
