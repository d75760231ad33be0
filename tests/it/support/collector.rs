//! A collector in the place of the real one: OTLP over gRPC, kept as JSON that tests can read.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::metrics::v1::{metric, number_data_point};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// What it does with what comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Taking,
    Refusing,
    /// Never answers.
    Hanging,
}

/// Cheap to clone, all clones are one.
#[derive(Clone)]
pub struct Collector {
    /// Such as `http://127.0.0.1:4317`.
    pub endpoint: String,
    inner: Arc<Inner>,
}

struct Inner {
    mood: Mutex<Mood>,
    spans: Mutex<Vec<Value>>,
    /// Series in the order of their names, as they were last told.
    series: Mutex<BTreeMap<String, f64>>,
    changed: Notify,
}

impl Collector {
    pub async fn start(mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let inner =
            Inner { mood: Mutex::new(mood), spans: Mutex::default(), series: Mutex::default(), changed: Notify::new() };
        let collector = Self { endpoint, inner: Arc::new(inner) };
        let server = Server::builder()
            .add_service(TraceServiceServer::new(collector.clone()))
            .add_service(MetricsServiceServer::new(collector.clone()));
        tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
        collector
    }

    pub fn turn(&self, mood: Mood) {
        *self.inner.mood.lock().unwrap() = mood;
    }

    /// All spans so far: name, kind, trace, span, parent, attributes, failed.
    pub fn spans(&self) -> Vec<Value> {
        self.inner.spans.lock().unwrap().clone()
    }

    /// Those of this name.
    pub fn named(&self, name: &str) -> Vec<Value> {
        self.spans().into_iter().filter(|span| span["name"] == name).collect()
    }

    /// The value of a series, `name{attribute=value,…}` in the order of the attributes.
    pub fn series(&self, name: &str) -> Option<f64> {
        self.inner.series.lock().unwrap().get(name).copied()
    }

    /// Waits until this holds; fails after 20 s with what there is.
    pub async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let waiting = async {
            loop {
                let changed = self.inner.changed.notified();
                if holds(self) {
                    return;
                }
                changed.await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(20), waiting).await;
        assert!(waited.is_ok(), "{what}; there is {:#?}", self.spans());
    }

    async fn answer<T>(&self, take: impl FnOnce(&Inner), answer: T) -> Result<Response<T>, Status> {
        let mood = *self.inner.mood.lock().unwrap();
        match mood {
            Mood::Refusing => return Err(Status::unavailable("not now")),
            Mood::Hanging => std::future::pending().await,
            Mood::Taking => take(&self.inner),
        }
        self.inner.changed.notify_waiters();
        Ok(Response::new(answer))
    }
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let spans = request.into_inner().resource_spans.into_iter().flat_map(|all| all.scope_spans);
        let spans = spans.flat_map(|all| all.spans).map(shown);
        self.answer(|inner| inner.spans.lock().unwrap().extend(spans), ExportTraceServiceResponse::default()).await
    }
}

#[tonic::async_trait]
impl MetricsService for Collector {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let metrics = request.into_inner().resource_metrics.into_iter().flat_map(|all| all.scope_metrics);
        let mut series = BTreeMap::new();
        for metric in metrics.flat_map(|all| all.metrics) {
            let numbers = match metric.data {
                Some(metric::Data::Sum(sum)) => sum.data_points,
                Some(metric::Data::Gauge(gauge)) => gauge.data_points,
                Some(metric::Data::Histogram(histogram)) => {
                    for point in histogram.data_points {
                        series.insert(labelled(&metric.name, &point.attributes), point.count as f64);
                    }
                    continue;
                }
                _ => continue,
            };
            for point in numbers {
                let value = match point.value {
                    Some(number_data_point::Value::AsInt(value)) => value as f64,
                    Some(number_data_point::Value::AsDouble(value)) => value,
                    None => continue,
                };
                series.insert(labelled(&metric.name, &point.attributes), value);
            }
        }
        let answer = ExportMetricsServiceResponse::default();
        self.answer(|inner| inner.series.lock().unwrap().extend(series), answer).await
    }
}

fn shown(span: Span) -> Value {
    let hex = |id: &[u8]| id.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let kind = match span.kind() {
        SpanKind::Server => "SERVER",
        SpanKind::Client => "CLIENT",
        SpanKind::Internal => "INTERNAL",
        other => panic!("{other:?}"),
    };
    json!({
        "name": span.name,
        "kind": kind,
        "trace": hex(&span.trace_id),
        "span": hex(&span.span_id),
        "parent": hex(&span.parent_span_id),
        "attributes": attributes(&span.attributes),
        "failed": span.status.is_some_and(|status| status.code == 2),
    })
}

fn attributes(all: &[KeyValue]) -> Map<String, Value> {
    let value = |attribute: &KeyValue| match attribute.value.as_ref().unwrap().value.as_ref().unwrap() {
        Any::StringValue(text) => json!(text),
        Any::IntValue(number) => json!(number),
        other => panic!("{other:?}"),
    };
    all.iter().map(|attribute| (attribute.key.clone(), value(attribute))).collect()
}

fn labelled(name: &str, all: &[KeyValue]) -> String {
    let pairs: Vec<_> = attributes(all).iter().map(|(key, value)| format!("{key}={value}").replace('"', "")).collect();
    if pairs.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", pairs.join(",")) }
}
