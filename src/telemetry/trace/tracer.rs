//! Decides what is recorded and makes the spans of it.

use std::cell::Cell;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue};
use opentelemetry::trace::{
    SpanBuilder, SpanContext, SpanId, SpanKind, TraceContextExt as _, TraceFlags, TraceId, TraceState, Tracer as _,
    TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{
    IdGenerator, RandomIdGenerator, Sampler, SamplingDecision, SdkTracer, SdkTracerProvider, ShouldSample as _, Span,
};

use super::TraceContext;
use super::context::{TRACEPARENT, TRACESTATE};
use super::span::{BackgroundSpan, ClientRequest, ClientSpan, ServerSpan};
use crate::telemetry::semconv;

/// Which traces are recorded.
#[derive(Clone, Debug)]
pub struct Sampling {
    /// Follow the caller's decision where there is one.
    pub parent_based: bool,
    /// Decides the rest: by ratio, always or never.
    pub root: Sampler,
}

impl Sampling {
    /// The caller's decision, else this share (0 to 1) of the traces.
    pub fn ratio(ratio: f64) -> Self {
        Self { parent_based: true, root: Sampler::TraceIdRatioBased(ratio) }
    }
}

/// Makes spans. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tracer {
    sampling: Arc<Sampling>,
    ids: Arc<dyn IdGenerator>,
    /// Absent when nothing is exported: then nothing is recorded.
    recorder: Option<SdkTracer>,
    propagate: bool,
}

impl Tracer {
    /// Records nothing; ids are still made and passed on.
    pub fn off() -> Self {
        Self {
            sampling: Arc::new(Sampling { parent_based: true, root: Sampler::AlwaysOff }),
            ids: Arc::new(RandomIdGenerator::default()),
            recorder: None,
            propagate: true,
        }
    }

    /// Records by `sampling` into `provider`, built from [`Tracer::provider_builder`].
    pub fn recording(sampling: Sampling, ids: Arc<dyn IdGenerator>, provider: &SdkTracerProvider) -> Self {
        let recorder = Some(provider.tracer("order-gateway"));
        Self { sampling: Arc::new(sampling), ids, recorder, propagate: true }
    }

    /// Neither reads nor sends trace headers (`OTEL_PROPAGATORS=none`).
    pub fn without_propagation(self) -> Self {
        Self { propagate: false, ..self }
    }

    /// The start of a provider that takes ids and decisions from a [`Tracer`].
    pub fn provider_builder() -> opentelemetry_sdk::trace::TracerProviderBuilder {
        SdkTracerProvider::builder().with_sampler(Sampler::AlwaysOn).with_id_generator(HandedIds)
    }

    /// Starts the span of an RPC. `method` is `package.Service/Method`, or `_OTHER` for one that is not served.
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
                KeyValue::new(semconv::RPC_SYSTEM_NAME, "grpc"),
                KeyValue::new(semconv::RPC_METHOD, method),
            ])
        });
        ServerSpan { context, span }
    }

    /// Starts the span of one attempt upstream, below `parent`.
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

    /// Starts the span of work that no caller waits for, in a trace of its own.
    pub fn background_span(&self, name: &'static str) -> BackgroundSpan {
        let trace_id = self.new_trace_id();
        let sampled = self.recorder.is_some() && self.root_sampled(trace_id, name);
        let context = TraceContext { trace_id, span_id: self.new_span_id(), sampled, state: None };
        let span = self.record(&context, None, false, || SpanBuilder::from_name(name).with_kind(SpanKind::Internal));
        BackgroundSpan { context, span }
    }

    /// Writes the headers that make the receiver a child of `context`.
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
    /// The ids of the span that is being built on this thread: the SDK asks its generator for them and offers no other
    /// way to hand them in, but the decision to record was made on the trace's id before.
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
