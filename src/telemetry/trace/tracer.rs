//! Decides what is recorded and makes the spans of it. Names follow the OpenTelemetry semantic conventions 1.44.

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
use tonic::Code;

use super::TraceContext;
use super::context::{TRACEPARENT, TRACESTATE};

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
            SpanBuilder::from_name(method)
                .with_kind(SpanKind::Server)
                .with_attributes([KeyValue::new("rpc.system.name", "grpc"), KeyValue::new("rpc.method", method)])
        });
        ServerSpan { context, span }
    }

    /// Starts the span of one attempt upstream, below `parent`.
    pub fn client_span(&self, parent: &TraceContext, request: &ClientRequest<'_>) -> ClientSpan {
        let context = TraceContext { span_id: self.new_span_id(), ..parent.clone() };
        let span = self.record(&context, Some(parent), false, || {
            let mut attributes = vec![
                KeyValue::new("http.request.method", request.method),
                KeyValue::new("url.template", request.template),
                KeyValue::new("server.address", request.server_address.to_owned()),
                KeyValue::new("server.port", i64::from(request.server_port)),
            ];
            if request.resend_count > 0 {
                attributes.push(KeyValue::new("http.request.resend_count", i64::from(request.resend_count)));
            }
            SpanBuilder::from_name(format!("{} {}", request.method, request.template))
                .with_kind(SpanKind::Client)
                .with_attributes(attributes)
        });
        ClientSpan { context, span }
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

/// One attempt upstream, as its span describes it. No ids, no query, no personal data.
#[derive(Clone, Copy, Debug)]
pub struct ClientRequest<'a> {
    /// `GET`, `POST`, ...
    pub method: &'static str,
    /// The path with names in place of values, such as `/v3/orders/{id}`.
    pub template: &'static str,
    /// Host of the upstream.
    pub server_address: &'a str,
    /// Its port.
    pub server_port: u16,
    /// 0 for the first attempt, 1 for the first repeat.
    pub resend_count: u32,
}

/// The span of an RPC. Dropped without an end it counts as cancelled by the caller.
#[derive(Debug)]
pub struct ServerSpan {
    context: TraceContext,
    span: Option<Box<Span>>,
}

impl ServerSpan {
    /// Where the RPC stands in its trace.
    pub fn context(&self) -> &TraceContext {
        &self.context
    }

    /// Whether attributes are kept.
    pub fn is_recording(&self) -> bool {
        self.span.is_some()
    }

    /// Ends it with the answer's code. Only what is the server's fault marks the span as failed.
    pub fn end(mut self, code: Code) {
        let Some(span) = self.span.as_mut() else { return };
        let name = code_name(code);
        span.set_attribute(KeyValue::new("rpc.response.status_code", name));
        if code != Code::Ok {
            span.set_attribute(KeyValue::new("error.type", name));
        }
        if is_server_fault(code) {
            span.set_status(Status::error(""));
        }
        span.end();
    }
}

/// The span of one attempt upstream. Dropped without an end it counts as given up.
#[derive(Debug)]
pub struct ClientSpan {
    context: TraceContext,
    span: Option<Box<Span>>,
}

impl ClientSpan {
    /// What the upstream is told: this attempt's own id below the RPC's.
    pub fn context(&self) -> &TraceContext {
        &self.context
    }

    /// Ends it. `status` is the HTTP status, absent when no answer came; `error` a short fixed word for what went wrong
    /// below HTTP, such as `timeout`.
    pub fn end(mut self, status: Option<u16>, error: Option<&'static str>) {
        let Some(span) = self.span.as_mut() else { return };
        if let Some(status) = status {
            span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status)));
        }
        let failed = status.filter(|s| *s >= 400);
        match (error, failed) {
            (Some(error), _) => span.set_attribute(KeyValue::new("error.type", error)),
            (None, Some(status)) => span.set_attribute(KeyValue::new("error.type", status.to_string())),
            (None, None) => {}
        }
        if error.is_some() || failed.is_some() {
            span.set_status(Status::error(""));
        }
        span.end();
    }
}

impl Drop for ServerSpan {
    fn drop(&mut self) {
        abandon(self.span.as_mut());
    }
}

impl Drop for ClientSpan {
    fn drop(&mut self) {
        abandon(self.span.as_mut());
    }
}

/// A span that was ended ignores this.
fn abandon(span: Option<&mut Box<Span>>) {
    if let Some(span) = span {
        span.set_attribute(KeyValue::new("error.type", "cancelled"));
        span.end();
    }
}

/// The code as gRPC spells it.
pub(crate) const fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// Codes that the conventions count as the server's fault.
pub(crate) const fn is_server_fault(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
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
mod tests {
    use opentelemetry_sdk::trace::{InMemorySpanExporter, SpanData};

    use super::*;

    const REQUEST: ClientRequest<'static> = ClientRequest {
        method: "POST",
        template: "/v3/orders/{id}",
        server_address: "upstream",
        server_port: 443,
        resend_count: 0,
    };

    fn recording(sampling: Sampling) -> (Tracer, InMemorySpanExporter) {
        let exporter = InMemorySpanExporter::default();
        let provider = Tracer::provider_builder().with_simple_exporter(exporter.clone()).build();
        (Tracer::recording(sampling, Arc::new(RandomIdGenerator::default()), &provider), exporter)
    }

    fn attribute(span: &SpanData, key: &str) -> Option<String> {
        span.attributes.iter().find(|a| a.key.as_str() == key).map(|a| a.value.to_string())
    }

    #[test]
    fn attempts_are_children_of_the_rpc_and_tell_how_they_ended() {
        let (tracer, exporter) = recording(Sampling::ratio(1.0));
        let server = tracer.server_span("a.B/C", &HeaderMap::new());
        let first = tracer.client_span(server.context(), &REQUEST);
        let mut headers = HeaderMap::new();
        tracer.inject(first.context(), &mut headers);
        let told = TraceContext::from_headers(&headers).unwrap();
        assert_eq!((told.trace_id, told.sampled), (server.context().trace_id, true));
        first.end(Some(503), None);
        let second = tracer.client_span(server.context(), &ClientRequest { resend_count: 1, ..REQUEST });
        second.end(None, Some("timeout"));
        drop(tracer.client_span(server.context(), &ClientRequest { resend_count: 2, ..REQUEST }));
        tracer.client_span(server.context(), &REQUEST).end(Some(200), None);

        let spans = exporter.get_finished_spans().unwrap();
        let seen: Vec<_> = spans
            .iter()
            .map(|span| {
                assert_eq!((span.name.as_ref(), &span.span_kind), ("POST /v3/orders/{id}", &SpanKind::Client));
                assert_eq!(span.parent_span_id.to_string(), server.context().span_id_text());
                let status = attribute(span, "http.response.status_code");
                (attribute(span, "http.request.resend_count"), status, attribute(span, "error.type"))
            })
            .collect();
        let text = |text: &str| Some(text.to_owned());
        let expected = [
            (None, text("503"), text("503")),
            (text("1"), None, text("timeout")),
            (text("2"), None, text("cancelled")),
            (None, text("200"), None),
        ];
        assert_eq!(seen, expected);
        assert_eq!(spans[0].span_context.span_id().to_string(), format!("{:016x}", told.span_id));
        assert_eq!(spans[3].status, Status::Unset);
    }

    #[test]
    fn without_propagation_nothing_is_read_or_sent() {
        let (tracer, _exporter) = recording(Sampling::ratio(0.0));
        let tracer = tracer.without_propagation();
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap());
        let span = tracer.server_span("a.B/C", &headers);
        assert_ne!(span.context().trace_id, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        let mut sent = HeaderMap::new();
        tracer.inject(span.context(), &mut sent);
        assert!(sent.is_empty());
    }

    #[test]
    fn about_the_share_is_sampled() {
        let (tracer, exporter) = recording(Sampling::ratio(0.1));
        for _ in 0..2_000 {
            tracer.server_span("a.B/C", &HeaderMap::new()).end(Code::Ok);
        }
        let sampled = exporter.get_finished_spans().unwrap().len();
        assert!((100..=300).contains(&sampled), "{sampled}");
    }
}
