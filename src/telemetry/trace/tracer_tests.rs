use opentelemetry_sdk::trace::{InMemorySpanExporter, SpanData};

use tonic::Code;
use uuid::Uuid;

use super::*;

const REQUEST: ClientRequest<'static> = ClientRequest {
    method: "POST",
    template: "/v3/orders/{id}",
    server_address: "upstream",
    server_port: 443,
    url: None,
    correlation_id: Uuid::from_u128(7),
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
fn only_a_fault_of_the_server_is_an_error() {
    let (tracer, exporter) = recording(Sampling::ratio(1.0));
    for code in [Code::Ok, Code::NotFound, Code::ResourceExhausted, Code::Unavailable] {
        tracer.server_span("a.B/C", &HeaderMap::new()).end(code);
    }
    drop(tracer.server_span("a.B/C", &HeaderMap::new()));
    let spans = exporter.get_finished_spans().unwrap();
    let seen: Vec<_> = spans
        .iter()
        .map(|span| {
            let failed = matches!(span.status, Status::Error { .. });
            (attribute(span, "rpc.response.status_code").unwrap(), attribute(span, "error.type"), failed)
        })
        .collect();
    let row = |code: &str, error: Option<&str>| (code.to_owned(), error.map(str::to_owned), error.is_some());
    let codes = ["OK", "NOT_FOUND", "RESOURCE_EXHAUSTED"].map(|code| row(code, None));
    let rest = [row("UNAVAILABLE", Some("UNAVAILABLE")), row("CANCELLED", None)];
    assert_eq!(seen, [codes.as_slice(), &rest].concat());
}

#[test]
fn waits_belong_to_the_recorded_call_that_the_thread_works_for() {
    let (tracer, exporter) = recording(Sampling::ratio(1.0));
    drop(tracer.wait_span("nobody's"));
    let call = tracer.server_span("a.B/C", &HeaderMap::new());
    let ids = call.context().ids();
    {
        let _working = ids.enter();
        drop(tracer.wait_span("wait"));
        drop(Tracer::off().wait_span("without a recorder"));
    }
    let _working = SpanIds { sampled: false, ..ids }.enter();
    drop(tracer.wait_span("unrecorded"));
    let spans = exporter.get_finished_spans().unwrap();
    let [wait] = spans.as_slice() else { panic!("{spans:?}") };
    assert_eq!((wait.name.as_ref(), &wait.span_kind), ("wait", &SpanKind::Internal));
    assert_eq!((wait.span_context.trace_id(), wait.parent_span_id), (ids.trace_id.into(), ids.span_id.into()));
    assert!(!wait.parent_span_is_remote);
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
