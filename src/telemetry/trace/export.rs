//! Sends recorded spans to a collector, by OTLP over gRPC, as the settings and the `OTEL_*` variables say.
//!
//! The SDK and the exporter read `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_BSP_*` and
//! `OTEL_EXPORTER_OTLP_*` (headers, timeout, certificate) from the process by themselves; the rest is read here, from the
//! environment that is passed in. Spans wait in a queue of 2,048 that a thread empties: a collector that hangs costs
//! spans, never calls.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{RandomIdGenerator, Sampler, SdkTracerProvider};

use super::tracer::{Sampling, Tracer};

/// What the settings say.
#[derive(Clone, Debug, Default)]
pub struct TraceSettings {
    /// Such as `http://collector:4317`; empty for none.
    pub otlp_endpoint: String,
    /// Share of traces that are recorded when the caller has not decided, 0 to 1.
    pub sample_ratio: f64,
}

/// Traces cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// A variable has a value that means nothing.
    #[error("{variable}: {expected}")]
    Variable {
        /// Its name.
        variable: &'static str,
        /// What it may be.
        expected: &'static str,
    },
    /// The exporter refuses its settings.
    #[error("telemetry.otlp_endpoint: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
}

/// Keeps the exporter; to be flushed at the end.
#[derive(Debug)]
pub struct TraceGuard(Option<SdkTracerProvider>);

impl TraceGuard {
    /// Sends what is queued, for at most `limit`. Later spans are lost.
    pub async fn flush(self, limit: Duration) {
        let Some(provider) = self.0 else { return };
        // It blocks its thread, and on a hanging collector longer than it says.
        let flushed = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(limit));
        if !matches!(tokio::time::timeout(limit, flushed).await, Ok(Ok(Ok(())))) {
            tracing::warn!("spans were lost: the collector did not take them in time");
        }
    }
}

/// Sets traces up. `variable` reads the environment. Must be called within the runtime that the process keeps.
pub fn init(
    settings: &TraceSettings,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<(Tracer, TraceGuard), TraceError> {
    let plan = Plan::read(settings, variable)?;
    let tracer = match &plan.exporter {
        None => (Tracer::off(), TraceGuard(None)),
        Some(endpoint) => {
            let mut exporter = SpanExporter::builder().with_tonic();
            if let Some(endpoint) = endpoint {
                exporter = exporter.with_endpoint(endpoint);
            }
            let mut resource = Resource::builder();
            let named = variable("OTEL_SERVICE_NAME").is_some_and(|name| !name.is_empty())
                || variable("OTEL_RESOURCE_ATTRIBUTES").is_some_and(|all| all.contains("service.name="));
            if !named {
                resource = resource.with_service_name("order-gateway");
            }
            let provider = Tracer::provider_builder()
                .with_resource(resource.build())
                .with_batch_exporter(exporter.build()?)
                .build();
            let ids = Arc::new(RandomIdGenerator::default());
            (Tracer::recording(plan.sampling, ids, &provider), TraceGuard(Some(provider)))
        }
    };
    Ok(if plan.propagate { tracer } else { (tracer.0.without_propagation(), tracer.1) })
}

#[derive(Debug)]
struct Plan {
    /// `None`: no export. `Some(None)`: to where the exporter's own variables say.
    exporter: Option<Option<String>>,
    sampling: Sampling,
    propagate: bool,
}

impl Plan {
    fn read(settings: &TraceSettings, variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, TraceError> {
        // An empty variable counts as unset, as the specification says.
        let variable = |name| variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let disabled = variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let wanted = match variable("OTEL_TRACES_EXPORTER").as_deref() {
            None | Some("otlp") => true,
            Some("none") => false,
            Some(_) => {
                return Err(TraceError::Variable {
                    variable: "OTEL_TRACES_EXPORTER",
                    expected: "must be otlp or none",
                });
            }
        };
        let by_variable = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"]
            .into_iter()
            .any(|name| variable(name).is_some());
        // Environment over file, as everywhere else.
        let endpoint = if by_variable {
            Some(None)
        } else {
            Some(settings.otlp_endpoint.trim()).filter(|e| !e.is_empty()).map(|e| Some(e.to_owned()))
        };
        let propagators = variable("OTEL_PROPAGATORS").unwrap_or_else(|| "tracecontext".into());
        Ok(Self {
            exporter: endpoint.filter(|_| wanted && !disabled),
            sampling: sampling(settings.sample_ratio, &variable)?,
            propagate: propagators.split(',').any(|one| one.trim() == "tracecontext"),
        })
    }
}

fn sampling(ratio: f64, variable: &dyn Fn(&'static str) -> Option<String>) -> Result<Sampling, TraceError> {
    let Some(name) = variable("OTEL_TRACES_SAMPLER") else { return Ok(Sampling::ratio(ratio)) };
    let share = || match variable("OTEL_TRACES_SAMPLER_ARG").map(|arg| arg.parse::<f64>()) {
        None => Ok(1.0),
        Some(Ok(share)) if (0.0..=1.0).contains(&share) => Ok(share),
        Some(_) => Err(TraceError::Variable { variable: "OTEL_TRACES_SAMPLER_ARG", expected: "must be 0 to 1" }),
    };
    let (parent_based, root) = match name.strip_prefix("parentbased_") {
        Some(root) => (true, root),
        None => (false, name.as_str()),
    };
    let root = match root {
        "always_on" => Sampler::AlwaysOn,
        "always_off" => Sampler::AlwaysOff,
        "traceidratio" => Sampler::TraceIdRatioBased(share()?),
        _ => {
            return Err(TraceError::Variable {
                variable: "OTEL_TRACES_SAMPLER",
                expected: "must be always_on, always_off or traceidratio, or one of them after parentbased_",
            });
        }
    };
    Ok(Sampling { parent_based, root })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use http::HeaderMap;
    use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
    use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
    use tokio::net::TcpListener;

    use super::*;

    fn plan(endpoint: &str, variables: &[(&str, &str)]) -> Result<Plan, TraceError> {
        let settings = TraceSettings { otlp_endpoint: endpoint.into(), sample_ratio: 0.01 };
        Plan::read(&settings, &|name| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn what_is_exported_where() {
        let here = "http://here:4317";
        assert_eq!(plan("", &[]).unwrap().exporter, None);
        assert_eq!(plan(here, &[]).unwrap().exporter, Some(Some(here.into())));
        assert_eq!(plan(here, &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://there")]).unwrap().exporter, Some(None));
        assert_eq!(plan("", &[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://there")]).unwrap().exporter, Some(None));
        assert_eq!(plan("", &[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]).unwrap().exporter, None);
        assert_eq!(plan(here, &[("OTEL_SDK_DISABLED", "TRUE")]).unwrap().exporter, None);
        assert_eq!(plan(here, &[("OTEL_TRACES_EXPORTER", "none")]).unwrap().exporter, None);
        assert!(plan(here, &[("OTEL_TRACES_EXPORTER", "zipkin")]).is_err());
    }

    #[test]
    fn who_is_sampled_and_what_is_passed_on() {
        let read = |name: &str, arg: &str| {
            let plan = plan("", &[("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", arg)]);
            plan.map(|plan| format!("{} {:?}", plan.sampling.parent_based, plan.sampling.root)).ok()
        };
        assert_eq!(read("", ""), Some("true TraceIdRatioBased(0.01)".into()));
        assert_eq!(read("always_on", "ignored"), Some("false AlwaysOn".into()));
        assert_eq!(read("parentbased_always_off", ""), Some("true AlwaysOff".into()));
        assert_eq!(read("traceidratio", "0.25"), Some("false TraceIdRatioBased(0.25)".into()));
        assert_eq!(read("parentbased_traceidratio", ""), Some("true TraceIdRatioBased(1.0)".into()));
        assert_eq!((read("traceidratio", "2"), read("traceidratio", "x"), read("xray", "")), (None, None, None));

        let propagates = |value: &str| plan("", &[("OTEL_PROPAGATORS", value)]).unwrap().propagate;
        assert!(propagates("") && propagates("baggage, tracecontext"));
        assert!(!propagates("none") && !propagates("b3"));
    }

    #[derive(Clone, Default)]
    struct Collector(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

    #[tonic::async_trait]
    impl TraceService for Collector {
        async fn export(
            &self,
            request: tonic::Request<ExportTraceServiceRequest>,
        ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
            self.0.lock().unwrap().push(request.into_inner());
            Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_end_sends_what_is_queued() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let otlp_endpoint = format!("http://{}", listener.local_addr().unwrap());
        let collector = Collector::default();
        let server = tonic::transport::Server::builder().add_service(TraceServiceServer::new(collector.clone()));
        tokio::spawn(server.serve_with_incoming(tonic::transport::server::TcpIncoming::from(listener)));
        let settings = TraceSettings { otlp_endpoint, sample_ratio: 1.0 };
        let (tracer, guard) = init(&settings, &|_| None).unwrap();
        tracer.server_span("a.B/C", &HeaderMap::new()).end(tonic::Code::Ok);
        guard.flush(Duration::from_secs(5)).await;
        let got = collector.0.lock().unwrap();
        let resource = &got[0].resource_spans[0];
        assert_eq!(resource.scope_spans[0].spans[0].name, "a.B/C");
        let name = resource.resource.as_ref().unwrap().attributes.iter().find(|a| a.key == "service.name").unwrap();
        assert!(format!("{:?}", name.value).contains("order-gateway"));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_hanging_collector_holds_up_neither_calls_nor_the_end() {
        // Accepts connections and never says a word.
        let hanging = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let otlp_endpoint = format!("http://{}", hanging.local_addr().unwrap());
        let settings = TraceSettings { otlp_endpoint, sample_ratio: 1.0 };
        let (tracer, guard) = init(&settings, &|_| None).unwrap();
        let started = tokio::time::Instant::now();
        for _ in 0..5_000 {
            let span = tracer.server_span("a.B/C", &HeaderMap::new());
            assert!(span.is_recording());
            span.end(tonic::Code::Ok);
        }
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
        let started = tokio::time::Instant::now();
        guard.flush(Duration::from_millis(200)).await;
        assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    }
}
