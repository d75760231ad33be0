//! Spans, measurements and log lines of requests to the webhook paths.

use opentelemetry::trace::{SpanKind, Status};
use opentelemetry_sdk::trace::{InMemorySpanExporter, RandomIdGenerator, SpanData};
use tracing::instrument::WithSubscriber as _;

use super::app::{App, INTENT, Log, SETTINGS, post, signed};
use super::*;
use crate::telemetry::metrics::TextFormat;
use crate::telemetry::trace::Sampling;
use crate::testing::logs::LogLines;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SENDER: &str = "00f067aa0ba902b7";

/// An app that records this share of the traces which no sender decides about.
fn recording(ratio: f64) -> (App, InMemorySpanExporter) {
    let exporter = InMemorySpanExporter::default();
    let provider = Tracer::provider_builder().with_simple_exporter(exporter.clone()).build();
    let tracer = Tracer::recording(Sampling::ratio(ratio), Arc::new(RandomIdGenerator::default()), &provider);
    (App::traced(Log::default(), SETTINGS, tracer), exporter)
}

fn wished(mut request: axum::extract::Request) -> axum::extract::Request {
    request.headers_mut().insert("traceparent", format!("00-{TRACE}-{SENDER}-01").parse().unwrap());
    request
}

fn attributes(span: &SpanData) -> Vec<(&str, String)> {
    let mut all: Vec<_> = span.attributes.iter().map(|a| (a.key.as_str(), a.value.to_string())).collect();
    all.sort();
    all
}

#[tokio::test]
async fn an_authentic_delivery_has_a_server_span_and_one_for_the_store() {
    let (app, exporter) = recording(0.0);
    assert_eq!(app.send(wished(signed(INTENT))).await.status, 200);
    let spans = exporter.get_finished_spans().unwrap();
    let [store, server] = spans.as_slice() else { panic!("{spans:?}") };
    assert_eq!((server.name.as_ref(), &server.span_kind), ("POST /webhooks/walmart/{account}", &SpanKind::Server));
    assert_eq!(server.span_context.trace_id().to_string(), TRACE);
    assert_eq!((server.parent_span_id.to_string().as_str(), server.parent_span_is_remote), (SENDER, true));
    let expected = [
        ("http.request.method", "POST"),
        ("http.response.status_code", "200"),
        ("http.route", "/webhooks/walmart/{account}"),
        ("url.path", "/webhooks/walmart/acme"),
        ("url.scheme", "http"),
    ];
    assert_eq!(attributes(server), expected.map(|(key, value)| (key, value.to_owned())));
    assert_eq!((store.name.as_ref(), &store.span_kind), ("feed append", &SpanKind::Internal));
    assert_eq!(store.span_context.trace_id(), server.span_context.trace_id());
    assert_eq!(store.parent_span_id, server.span_context.span_id());
    assert!(!store.parent_span_is_remote);
}

#[tokio::test]
async fn the_wish_of_a_stranger_does_not_count() {
    let (app, exporter) = recording(0.0);
    assert_eq!(app.send(wished(post("acme", INTENT.into()))).await.status, 401);
    assert_eq!(app.send(wished(post("nobody", INTENT.into()))).await.status, 404);
    assert!(exporter.get_finished_spans().unwrap().is_empty());
    // What the gateway wants to record, it records.
    let (app, exporter) = recording(1.0);
    assert_eq!(app.send(wished(post("acme", INTENT.into()))).await.status, 401);
    let spans = exporter.get_finished_spans().unwrap();
    let [refused] = spans.as_slice() else { panic!("{spans:?}") };
    // A refusal is no fault of the server's.
    assert_eq!(refused.status, Status::Unset);
    assert!(attributes(refused).iter().all(|(key, _)| *key != "error.type"), "{refused:?}");
}

#[tokio::test]
async fn only_what_the_server_cannot_do_is_an_error() {
    let (app, exporter) = recording(1.0);
    app.log.0.fails.store(true, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(app.send(signed(INTENT)).await.status, 503);
    let spans = exporter.get_finished_spans().unwrap();
    let failed = spans.last().unwrap();
    assert!(matches!(failed.status, Status::Error { .. }), "{failed:?}");
    assert!(attributes(failed).contains(&("error.type", "503".to_owned())), "{failed:?}");
}

#[tokio::test]
async fn requests_are_measured_by_method_route_and_status() {
    let (app, _) = recording(0.0);
    app.send(signed(INTENT)).await;
    app.send(post("acme", INTENT.into())).await;
    app.send(post("../../made/up/by/a/stranger", INTENT.into())).await;
    let odd = Request::builder().method("BREW").uri("/webhooks/walmart/acme/").body(Body::empty()).unwrap();
    app.send(odd).await;
    app.log.0.fails.store(true, std::sync::atomic::Ordering::SeqCst);
    app.send(signed(INTENT)).await;
    let text = app.metrics.encode(TextFormat::Plain).unwrap();
    let counts = text.lines().filter_map(|line| line.strip_prefix("http_server_request_duration_seconds_count"));
    let mut counts: Vec<_> = counts.collect();
    counts.sort_unstable();
    let row = |method: &str, route: &str, status: &str, error: &str| {
        format!(
            "{{http_request_method=\"{method}\",url_scheme=\"http\",http_route=\"{route}\",\
             http_response_status_code=\"{status}\"{error}}} 1"
        )
    };
    let account = "/webhooks/walmart/{account}";
    let mut expected = [
        row("POST", account, "200", ""),
        row("POST", account, "401", ""),
        row("POST", "/webhooks/{*rest}", "404", ""),
        row("_OTHER", account, "405", ""),
        row("POST", account, "503", ",error_type=\"503\""),
    ];
    expected.sort_unstable();
    assert_eq!(counts, expected);
}

#[tokio::test]
async fn log_lines_of_a_request_have_its_trace() {
    let (app, _) = recording(0.0);
    let logged = LogLines::default();
    app.send(wished(post("acme", INTENT.into()))).with_subscriber(logged.json()).await;
    let lines = logged.parsed();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!((&lines[0]["trace_id"], &lines[0]["outcome"]), (&TRACE.into(), &"unauthenticated".into()));
}
