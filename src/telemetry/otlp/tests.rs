use std::sync::Mutex;
use std::time::SystemTime;

use http::HeaderMap;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::resource::v1::Resource as ProtoResource;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Code, Request, Response, Status};

use super::*;

/// An export of metrics, with the header `x-key`.
type Pushed = (Option<String>, ExportMetricsServiceRequest);

/// Keeps what it is sent.
#[derive(Clone, Default)]
struct Collector {
    traces: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
    metrics: Arc<Mutex<Vec<Pushed>>>,
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.traces.lock().unwrap().push(request.into_inner());
        Ok(Response::new(Default::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Collector {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let key = request.metadata().get("x-key").map(|key| key.to_str().unwrap().to_owned());
        self.metrics.lock().unwrap().push((key, request.into_inner()));
        Ok(Response::new(Default::default()))
    }
}

impl Collector {
    /// Serves it; tells its port.
    async fn serve(&self, tls: Option<ServerTlsConfig>) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut server = Server::builder();
        if let Some(tls) = tls {
            server = server.tls_config(tls).unwrap();
        }
        let server = server
            .add_service(TraceServiceServer::new(self.clone()))
            .add_service(MetricsServiceServer::new(self.clone()));
        tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
        port
    }

    fn counts(&self) -> (usize, usize) {
        (self.traces.lock().unwrap().len(), self.metrics.lock().unwrap().len())
    }
}

fn start(endpoint: String, variables: &[(&str, &str)]) -> (Tracer, OtlpExport, ExportOutages) {
    let settings = OtlpSettings { endpoint, sample_ratio: 1.0 };
    let read = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
    let OtlpSetup { tracer, export: mut otlp, .. } = init(&settings, &read);
    let metrics = Arc::new(Metrics::new([]));
    metrics.panics.inc();
    metrics.watch_exports(otlp.outages());
    otlp.export(metrics, Box::new(|| SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)));
    let outages = otlp.outages();
    (tracer, otlp, outages)
}

fn attribute(resource: Option<&ProtoResource>, key: &str) -> String {
    let all = &resource.unwrap().attributes;
    format!("{:?}", all.iter().find(|attribute| attribute.key == key).unwrap().value)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_sends_what_is_left() {
    let collector = Collector::default();
    let port = collector.serve(None).await;
    let headers = ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "x-key=one");
    let (tracer, otlp, outages) = start(format!("http://127.0.0.1:{port}"), &[headers]);
    tracer.server_span("a.B/C", &HeaderMap::new()).end(Code::Ok);
    otlp.flush(Duration::from_secs(5)).await;

    let traces = collector.traces.lock().unwrap();
    let spans = &traces[0].resource_spans[0];
    assert_eq!(spans.scope_spans[0].spans[0].name, "a.B/C");
    let metrics = collector.metrics.lock().unwrap();
    let (key, request) = &metrics[0];
    assert_eq!(key.as_deref(), Some("one"));
    let values = &request.resource_metrics[0];
    assert!(values.scope_metrics[0].metrics.iter().any(|metric| metric.name == "order_gateway.panics"));
    // Both say who they are of, with the same words.
    for key in ["service.name", "service.version", "service.instance.id"] {
        let of_spans = attribute(spans.resource.as_ref(), key);
        assert_eq!(of_spans, attribute(values.resource.as_ref(), key));
    }
    assert!(attribute(spans.resource.as_ref(), "service.name").contains("order-gateway"));
    assert_eq!((outages.traces.failed(), outages.metrics.failed()), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_are_sent_once_each_interval() {
    let collector = Collector::default();
    let port = collector.serve(None).await;
    let (_tracer, otlp, _) = start(format!("http://127.0.0.1:{port}"), &[("OTEL_METRIC_EXPORT_INTERVAL", "20")]);
    let three = async {
        while collector.counts().1 < 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), three).await.unwrap();
    otlp.flush(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hanging_collector_holds_up_neither_calls_nor_the_end() {
    // Accepts connections and never says a word.
    let hanging = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", hanging.local_addr().unwrap());
    let (tracer, otlp, outages) = start(endpoint, &[("OTEL_METRIC_EXPORT_INTERVAL", "10")]);
    let started = Instant::now();
    for _ in 0..5_000 {
        let span = tracer.server_span("a.B/C", &HeaderMap::new());
        assert!(span.is_recording());
        span.end(Code::Ok);
    }
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    // One batch of 512 may be under way; the queue has room for 2,048.
    assert!((5_000 - 2_048 - 512..=5_000 - 2_048).contains(&outages.traces.lost()), "{}", outages.traces.lost());
    let started = Instant::now();
    otlp.flush(Duration::from_millis(200)).await;
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    assert!(outages.traces.failed() > 0 && outages.metrics.failed() > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_not_there_is_counted() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (tracer, otlp, outages) = start(format!("http://{nobody}"), &[]);
    (0..3).for_each(|_| tracer.server_span("a.B/C", &HeaderMap::new()).end(Code::Ok));
    otlp.flush(Duration::from_secs(5)).await;
    assert_eq!((outages.traces.lost(), outages.metrics.failed()), (3, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_behind_tls_is_known_by_its_certificate() {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let collector = Collector::default();
    let identity = Identity::from_pem(certificate.pem(), key.serialize_pem());
    let port = collector.serve(Some(ServerTlsConfig::new().identity(identity))).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, certificate.pem()).unwrap();
    let endpoint = format!("https://localhost:{port}");

    // Not among the system's authorities.
    let (tracer, otlp, outages) = start(endpoint.clone(), &[]);
    tracer.server_span("a.B/C", &HeaderMap::new()).end(Code::Ok);
    otlp.flush(Duration::from_secs(5)).await;
    assert_eq!((collector.counts(), outages.traces.lost()), ((0, 0), 1));

    let trusted = ("OTEL_EXPORTER_OTLP_CERTIFICATE", file.to_str().unwrap());
    let (tracer, otlp, outages) = start(endpoint, &[trusted]);
    tracer.server_span("a.B/C", &HeaderMap::new()).end(Code::Ok);
    otlp.flush(Duration::from_secs(5)).await;
    assert_eq!((collector.counts(), outages.traces.lost()), ((1, 1), 0));
}

#[tokio::test]
async fn a_certificate_that_is_none_costs_the_export_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, "-----BEGIN CERTIFICATE-----\nnot base64\n-----END CERTIFICATE-----\n").unwrap();
    for protocol in ["grpc", "http/protobuf"] {
        let settings = OtlpSettings { endpoint: "https://localhost".into(), sample_ratio: 1.0 };
        let read = |name: &str| match name {
            "OTEL_EXPORTER_OTLP_CERTIFICATE" => Some(file.to_str().unwrap().to_owned()),
            "OTEL_EXPORTER_OTLP_PROTOCOL" => Some(protocol.to_owned()),
            _ => None,
        };
        let OtlpSetup { export, warnings, .. } = init(&settings, &read);
        assert!(warnings.iter().any(|line| line.starts_with("traces are not exported: ")), "{warnings:?}");
        export.flush(Duration::from_secs(1)).await;
    }
}

/// Path, headers and body of an export by HTTP.
type Posted = (String, HeaderMap, Vec<u8>);

/// Takes what comes by HTTP.
async fn http_collector(taken: Arc<Mutex<Vec<Posted>>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let take = move |request: axum::extract::Request| {
        let taken = taken.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = axum::body::to_bytes(body, usize::MAX).await.unwrap().to_vec();
            taken.lock().unwrap().push((head.uri.path().to_owned(), head.headers, body));
            http::StatusCode::OK
        }
    };
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(take)).await });
    port
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_signals_go_by_http_too() {
    use prost::Message as _;

    let taken = Arc::new(Mutex::new(Vec::new()));
    let port = http_collector(taken.clone()).await;
    for gzip in [false, true] {
        let variables = [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=one"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", if gzip { "gzip" } else { "none" }),
            ("OTEL_RESOURCE_ATTRIBUTES", "team=a%2Cb"),
        ];
        let (tracer, otlp, outages) = start(format!("http://127.0.0.1:{port}"), &variables);
        tracer.server_span("a.B/C", &HeaderMap::new()).end(Code::Ok);
        otlp.flush(Duration::from_secs(5)).await;
        assert_eq!((outages.traces.failed(), outages.metrics.failed()), (0, 0));
        let taken = std::mem::take(&mut *taken.lock().unwrap());
        let sent = |path: &str| {
            let (_, headers, body) = taken.iter().find(|(taken, ..)| taken == path).unwrap();
            assert_eq!(headers["content-type"], "application/x-protobuf");
            assert_eq!(headers["x-key"], "one");
            assert_eq!(headers.get("content-encoding").is_some(), gzip);
            let mut plain = Vec::new();
            match gzip {
                true => {
                    drop(std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(body.as_slice()), &mut plain))
                }
                false => plain.clone_from(body),
            }
            plain
        };
        let traces = ExportTraceServiceRequest::decode(sent("/v1/traces").as_slice()).unwrap();
        let spans = &traces.resource_spans[0];
        assert_eq!(spans.scope_spans[0].spans[0].name, "a.B/C");
        assert!(attribute(spans.resource.as_ref(), "team").contains("\"a,b\""));
        assert!(attribute(spans.resource.as_ref(), "telemetry.sdk.name").contains("opentelemetry"));
        let metrics = ExportMetricsServiceRequest::decode(sent("/v1/metrics").as_slice()).unwrap();
        let metrics = &metrics.resource_metrics[0].scope_metrics[0].metrics;
        assert!(metrics.iter().any(|metric| metric.name == "order_gateway.panics"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_collector_refuses_by_http_is_counted() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let refuse = || async { http::StatusCode::SERVICE_UNAVAILABLE };
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(refuse)).await });
    let (tracer, otlp, outages) = start(endpoint, &[("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")]);
    (0..3).for_each(|_| tracer.server_span("a.B/C", &HeaderMap::new()).end(Code::Ok));
    otlp.flush(Duration::from_secs(5)).await;
    assert_eq!((outages.traces.lost(), outages.metrics.failed()), (3, 1));
}
