use std::convert::Infallible;
use std::sync::Mutex;

use http_body_util::{BodyExt as _, StreamBody};
use opentelemetry::trace::SpanKind;
use opentelemetry_sdk::trace::{InMemorySpanExporter, RandomIdGenerator, Sampler, SpanData};
use serde_json::Value;
use tonic::body::Body;
use tonic_types::StatusExt as _;
use tower::{ServiceExt as _, service_fn};
use tracing::instrument::WithSubscriber as _;
use uuid::Uuid;

use super::*;
use crate::domain::account::AccountId;
use crate::grpc::{methods, status};
use crate::ports::call::Caller;
use crate::telemetry::metrics::TextFormat;
use crate::telemetry::trace::Sampling;
use crate::testing::layers::*;
use crate::testing::logs::LogLines;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn layer(access_log: AccessLog) -> TraceLayer {
    TraceLayer::new(Tracer::off(), Arc::new(Metrics::new(methods::paths())), access_log)
}

fn recording(sampler: Sampler) -> (TraceLayer, InMemorySpanExporter) {
    let exporter = InMemorySpanExporter::default();
    let provider = Tracer::provider_builder().with_simple_exporter(exporter.clone()).build();
    let sampling = Sampling { parent_based: true, root: sampler };
    let tracer = Tracer::recording(sampling, Arc::new(RandomIdGenerator::default()), &provider);
    (TraceLayer { tracer, ..layer(AccessLog::Off) }, exporter)
}

/// The log lines of one call to a handler.
async fn logged<F>(mode: AccessLog, handler: fn(Request<Body>) -> F, headers: &[(&'static str, &str)]) -> Vec<Value>
where
    F: Future<Output = Result<Response<Body>, Infallible>>,
{
    let logged = LogLines::default();
    let call = layer(mode).layer(service_fn(handler)).oneshot(request(UNARY, headers));
    async { call.await.unwrap().into_body().collect().await.unwrap() }.with_subscriber(logged.json()).await;
    logged.parsed()
}

async fn good(_: Request<Body>) -> Result<Response<Body>, Infallible> {
    Ok(ok())
}

async fn failing(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let context: &CallContext = request.extensions().get().unwrap();
    context.facts.set_account(&AccountId::new("acme").unwrap());
    context.facts.set_caller(Caller::anonymous());
    context.facts.set_correlation_id(Uuid::from_u128(7));
    context.facts.begin_attempt();
    context.facts.begin_attempt();
    Ok(status::internal().into_http())
}

async fn logged_in_summary(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let mut response = failing(request).await?;
    response.extensions_mut().insert(LoggedInSummary);
    Ok(response)
}

async fn slow(_: Request<Body>) -> Result<Response<Body>, Infallible> {
    tokio::time::sleep(SLOW).await;
    Ok(ok())
}

#[tokio::test]
async fn probes() {
    let (service, handle) = above_mock(layer(AccessLog::Off));
    survives_probes(service, handle, UNARY).await;
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_one_line_with_all_that_is_known() {
    let lines = logged(AccessLog::Failures, failing, &[("traceparent", PARENT)]).await;
    assert_eq!(lines.len(), 1);
    let line = lines[0].as_object().unwrap();
    for (key, value) in [
        ("level", "WARN"),
        ("method", "ordergateway.v1.FulfillmentService/CreateOrder"),
        ("code", "INTERNAL"),
        ("reason", "INTERNAL"),
        ("caller", "anonymous"),
        ("account", "acme"),
        ("correlation_id", "00000000-0000-0000-0000-000000000007"),
        ("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736"),
        ("trace_flags", "01"),
    ] {
        assert_eq!(line[key], value, "{key}");
    }
    assert_eq!(line["attempts"], 2);
    assert_eq!(line["span_id"].as_str().unwrap().len(), 16);
    assert_ne!(line["span_id"], "00f067aa0ba902b7");
    assert!(line["duration_ms"].is_number());
}

#[tokio::test(start_paused = true)]
async fn which_calls_are_logged() {
    assert!(logged(AccessLog::Failures, good, &[]).await.is_empty());
    assert_eq!(logged(AccessLog::Failures, slow, &[]).await.len(), 1);
    let all = logged(AccessLog::All, good, &[]).await;
    assert_eq!((all.len(), &all[0]["level"], &all[0]["code"]), (1, &Value::from("INFO"), &Value::from("OK")));
    assert!(all[0].get("account").is_none() && all[0].get("reason").is_none());
    assert!(logged(AccessLog::Off, failing, &[]).await.is_empty());
    assert!(logged(AccessLog::Failures, logged_in_summary, &[]).await.is_empty());
    assert_eq!(logged(AccessLog::All, logged_in_summary, &[]).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn so_many_lines_in_each_second_and_the_rest_is_counted() {
    let layer = layer(AccessLog::Failures);
    let logged = LogLines::default();
    let calls = async |count: usize| {
        for _ in 0..count {
            let call = layer.clone().layer(service_fn(failing)).oneshot(request(UNARY, &[]));
            call.with_subscriber(logged.json()).await.unwrap().into_body().collect().await.unwrap();
        }
        (logged.parsed().len(), layer.metrics.access_lines_left_out.get())
    };
    let most = LINES_PER_SECOND as usize;
    assert_eq!(calls(most + 50).await, (most, 50));
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(calls(1).await, (most + 1, 50));
}

#[tokio::test]
async fn every_error_tells_its_trace() {
    let layer = layer(AccessLog::Off);
    let trace = |headers: &http::HeaderMap| {
        let told = Status::from_header_map(headers).unwrap();
        assert_eq!(told.code(), Code::Internal);
        told.get_details_error_info().unwrap().metadata["traceId"].clone()
    };
    // A refusal is headers alone, an error after them is trailers.
    let refused = layer.layer(service_fn(failing)).oneshot(request(UNARY, &[("traceparent", PARENT)])).await.unwrap();
    assert_eq!(trace(refused.headers()), "4bf92f3577b34da6a3ce929d0e0e4736");
    let late = service_fn(|_: Request<Body>| async {
        let end = status::internal().into_http::<()>().headers().clone();
        let frames = [Ok::<_, Status>(Frame::data(Bytes::from_static(b"x"))), Ok(Frame::trailers(end))];
        Ok::<_, Infallible>(Response::new(Body::new(StreamBody::new(futures_util::stream::iter(frames)))))
    });
    let late = layer.layer(late).oneshot(request(UNARY, &[("traceparent", PARENT)])).await.unwrap();
    let body = late.into_body().collect().await.unwrap();
    assert_eq!(trace(body.trailers().unwrap()), "4bf92f3577b34da6a3ce929d0e0e4736");
}

#[tokio::test]
async fn log_lines_of_a_handler_have_the_trace_of_their_call() {
    async fn talking(_: Request<Body>) -> Result<Response<Body>, Infallible> {
        tracing::info!("in the handler");
        tokio::task::yield_now().await;
        tracing::info!("after a wait");
        Ok(ok())
    }
    let lines = logged(AccessLog::All, talking, &[("traceparent", PARENT)]).await;
    assert_eq!(lines.len(), 3, "{lines:?}");
    for line in &lines {
        assert_eq!(line["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736", "{line}");
        assert_eq!(line["span_id"], lines[2]["span_id"], "{line}");
    }
}

fn attribute(span: &SpanData, key: &str) -> Option<String> {
    span.attributes.iter().find(|a| a.key.as_str() == key).map(|a| a.value.to_string())
}

#[tokio::test]
async fn a_sampled_call_has_a_server_span_below_the_callers() {
    let (layer, exporter) = recording(Sampler::AlwaysOff);
    let headers = [("traceparent", PARENT), ("tracestate", "vendor=1")];
    let service = layer.layer(service_fn(failing));
    service.oneshot(request(UNARY, &headers)).await.unwrap().into_body().collect().await.unwrap();
    let spans = exporter.get_finished_spans().unwrap();
    let [span] = spans.as_slice() else { panic!("{spans:?}") };
    assert_eq!(span.name, "ordergateway.v1.FulfillmentService/CreateOrder");
    assert_eq!(span.span_kind, SpanKind::Server);
    assert_eq!(span.span_context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(span.parent_span_id.to_string(), "00f067aa0ba902b7");
    assert!(span.parent_span_is_remote);
    for (key, value) in [
        ("rpc.system.name", "grpc"),
        ("rpc.method", "ordergateway.v1.FulfillmentService/CreateOrder"),
        ("rpc.response.status_code", "INTERNAL"),
        ("error.type", "INTERNAL"),
    ] {
        assert_eq!(attribute(span, key).as_deref(), Some(value), "{key}");
    }
    assert!(matches!(span.status, opentelemetry::trace::Status::Error { .. }));
}

#[tokio::test]
async fn an_unsampled_call_has_no_span_whatever_the_ratio() {
    let (layer, exporter) = recording(Sampler::AlwaysOn);
    let unsampled = PARENT.replace("-01", "-00");
    let service = layer.layer(service_fn(|request: Request<Body>| async move {
        let trace = &request.extensions().get::<CallContext>().unwrap().trace;
        assert_eq!(trace.trace_id, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert!(!trace.sampled && trace.traceparent().to_str().unwrap().ends_with("-00"));
        good(request).await
    }));
    service.clone().oneshot(request(UNARY, &[("traceparent", &unsampled)])).await.unwrap();
    assert!(exporter.get_finished_spans().unwrap().is_empty());
}

#[tokio::test]
async fn a_root_span_has_the_ids_that_the_decision_was_made_on() {
    let (layer, exporter) = recording(Sampler::AlwaysOn);
    let seen = Arc::new(Mutex::new(None));
    let inner = seen.clone();
    let service = layer.layer(service_fn(move |request: Request<Body>| {
        *inner.lock().unwrap() = Some(request.extensions().get::<CallContext>().unwrap().trace.clone());
        good(request)
    }));
    service.oneshot(request("/no.such/Method", &[])).await.unwrap();
    let trace = seen.lock().unwrap().clone().unwrap();
    let spans = exporter.get_finished_spans().unwrap();
    assert_eq!(spans[0].name, "_OTHER");
    assert_eq!(spans[0].span_context.trace_id().to_string(), trace.trace_id_text());
    assert_eq!(spans[0].span_context.span_id().to_string(), trace.span_id_text());
    assert!(trace.sampled);
}

#[tokio::test]
async fn the_code_is_found_in_headers_and_trailers_and_a_caller_who_leaves_has_cancelled() {
    let layer = layer(AccessLog::Off);
    let refused = layer.layer(service_fn(failing));
    refused.oneshot(request(UNARY, &[])).await.unwrap();

    let streamed = layer.layer(service_fn(|_: Request<Body>| async {
        let mut end = HeaderMap::new();
        end.insert("grpc-status", "5".parse().unwrap());
        let frames = [Ok::<_, Status>(Frame::data(Bytes::from_static(b"x"))), Ok(Frame::trailers(end))];
        Ok::<_, Infallible>(Response::new(Body::new(StreamBody::new(futures_util::stream::iter(frames)))))
    }));
    streamed.oneshot(request(UNARY, &[])).await.unwrap().into_body().collect().await.unwrap();

    let stuck =
        layer.layer(service_fn(|_: Request<Body>| std::future::pending::<Result<Response<Body>, Infallible>>()));
    let mut call = Box::pin(stuck.oneshot(request(UNARY, &[])));
    assert!(futures_util::poll!(&mut call).is_pending());
    assert_eq!(layer.metrics.calls_in_flight.get(), 1);
    drop(call);
    assert_eq!(layer.metrics.calls_in_flight.get(), 0);

    let text = layer.metrics.encode(TextFormat::Plain).unwrap();
    for (code, error) in [("INTERNAL", ",error_type=\"INTERNAL\""), ("NOT_FOUND", ""), ("CANCELLED", "")] {
        let line = format!(
            "rpc_server_call_duration_seconds_count{{rpc_system_name=\"grpc\",\
             rpc_method=\"ordergateway.v1.FulfillmentService/CreateOrder\",\
             rpc_response_status_code=\"{code}\"{error}}} 1\n"
        );
        assert!(text.contains(&line), "{code}: {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn failures_are_remembered_with_their_reason_whatever_is_logged() {
    let layer = layer(AccessLog::Off);
    layer.layer(service_fn(good)).oneshot(request(UNARY, &[])).await.unwrap().into_body().collect().await.unwrap();
    // Its reason stands in the details only, as that of every layer does.
    for _ in 0..2 {
        layer.layer(service_fn(failing)).oneshot(request(UNARY, &[])).await.unwrap();
    }
    let stuck = async |path| {
        let stuck = |_: Request<Body>| std::future::pending::<Result<Response<Body>, Infallible>>();
        let mut call = Box::pin(layer.layer(service_fn(stuck)).oneshot(request(path, &[])));
        assert!(futures_util::poll!(&mut call).is_pending());
    };
    stuck(UNARY).await;
    // Readers of streams come and go.
    stuck("/ordergateway.v1.CancelIntentService/WatchCancelIntents").await;
    let rows = layer.metrics.recent.all();
    let shown = rows.iter().map(|row| (row.method, row.code, row.reason.as_deref(), row.account.as_deref(), row.count));
    let method = "ordergateway.v1.FulfillmentService/CreateOrder";
    assert_eq!(
        shown.collect::<Vec<_>>(),
        [(method, Code::Cancelled, None, None, 1), (method, Code::Internal, Some("INTERNAL"), Some("acme"), 2)]
    );
    assert_eq!(rows[1].correlation_id, Some(Uuid::from_u128(7)));
}
