//! Sends traces and metrics to a collector, by OTLP over gRPC, as the settings and the `OTEL_*` variables say.
//!
//! A collector that fails or hangs costs spans and values, never calls and never the end of the process: queues and times
//! are bounded, what is lost is counted, and it is said once until it works again.

mod collector;
mod convert;
mod outage;
mod plan;
mod push;
mod spans;

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::{Key, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithTonicConfig as _};
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{IdGenerator as _, RandomIdGenerator, SdkTracerProvider};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use self::outage::ExportOutage;
use self::plan::{OtelVariables, OtlpPlan};
pub use self::plan::{OtlpError, OtlpSettings};
use self::push::MetricsPusher;
pub use self::push::WallClock;
use super::metrics::Metrics;
use super::semconv::{SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_VERSION};
use super::trace::Tracer;

/// What is exported. To be flushed at the end.
#[derive(Debug)]
pub struct OtlpExport {
    provider: Option<SdkTracerProvider>,
    push: Option<MetricsPusher>,
    pushing: Option<(JoinHandle<()>, CancellationToken)>,
    outages: ExportOutages,
}

/// How exports fare, by signal. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ExportOutages {
    /// Of spans.
    pub traces: Arc<ExportOutage>,
    /// Of metrics.
    pub metrics: Arc<ExportOutage>,
}

/// Sets export up. `variable` reads the environment. Must be called within the runtime that the process keeps.
pub fn init(
    settings: &OtlpSettings,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<(Tracer, OtlpExport), OtlpError> {
    let plan = OtlpPlan::read(settings, OtelVariables(variable))?;
    let resource = resource();
    let outages = ExportOutages {
        traces: Arc::new(ExportOutage::new("traces")),
        metrics: Arc::new(ExportOutage::new("metrics")),
    };
    let (mut tracer, mut provider) = (Tracer::off(), None);
    if let Some(target) = &plan.traces {
        // Headers, compression and the time limit it reads from the same variables by itself.
        let exporter = SpanExporter::builder().with_tonic().with_channel(collector::connect(target)?).build()?;
        let processor = spans::processor(exporter, plan.queue, outages.traces.clone());
        let built = Tracer::provider_builder().with_resource(resource.clone()).with_span_processor(processor).build();
        tracer = Tracer::recording(plan.sampling, Arc::new(RandomIdGenerator::default()), &built);
        provider = Some(built);
    }
    let push = match &plan.metrics {
        None => None,
        Some(target) => {
            let attributes = ResourceAttributesWithSchema::from(&resource).attributes.0;
            let resource = opentelemetry_proto::tonic::resource::v1::Resource { attributes, ..Default::default() };
            let channel = collector::connect(target)?;
            Some(MetricsPusher::new(channel, target, resource, plan.interval, outages.metrics.clone()))
        }
    };
    let tracer = if plan.propagate { tracer } else { tracer.without_propagation() };
    Ok((tracer, OtlpExport { provider, push, pushing: None, outages }))
}

/// Who exports. What the environment says of itself stands.
fn resource() -> Resource {
    let given = Resource::builder().build();
    let mut more = Vec::new();
    let is_unnamed = |name: &opentelemetry::Value| name.as_str().starts_with("unknown_service");
    if given.get(&Key::from_static_str(SERVICE_NAME)).is_none_or(|name| is_unnamed(&name)) {
        more.push(KeyValue::new(SERVICE_NAME, env!("CARGO_PKG_NAME")));
    }
    if given.get(&Key::from_static_str(SERVICE_VERSION)).is_none() {
        more.push(KeyValue::new(SERVICE_VERSION, env!("CARGO_PKG_VERSION")));
    }
    if given.get(&Key::from_static_str(SERVICE_INSTANCE_ID)).is_none() {
        // Counters of two processes must not be taken for one.
        let random = RandomIdGenerator::default().new_trace_id().to_bytes();
        let id = uuid::Builder::from_random_bytes(random).into_uuid();
        more.push(KeyValue::new(SERVICE_INSTANCE_ID, id.to_string()));
    }
    Resource::builder().with_attributes(more).build()
}

impl OtlpExport {
    /// How exports fare: for `Metrics::watch_exports`.
    pub fn outages(&self) -> ExportOutages {
        self.outages.clone()
    }

    /// Begins to export `metrics`, if that is wanted. `now` tells the time of day.
    pub fn export(&mut self, metrics: Arc<Metrics>, now: WallClock) {
        if let Some(push) = self.push.take() {
            let end = CancellationToken::new();
            let pushing = tokio::spawn(push.run(metrics, now, end.clone()));
            self.pushing = Some((pushing, end));
        }
    }

    /// Sends what is queued and the metrics once more, for at most `limit`. Later spans are lost.
    pub async fn flush(self, limit: Duration) {
        let Self { provider, pushing, outages, push: _ } = self;
        let spans = async {
            let Some(provider) = provider else { return true };
            // It blocks its thread, and on a hanging collector longer than it says.
            let flushed = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(limit));
            matches!(tokio::time::timeout(limit, flushed).await, Ok(Ok(Ok(()))))
        };
        let metrics = async {
            let Some((mut pushing, end)) = pushing else { return true };
            end.cancel();
            let pushed = tokio::time::timeout(limit, &mut pushing).await.is_ok();
            pushing.abort();
            pushed
        };
        let (spans, metrics) = tokio::join!(spans, metrics);
        outages.traces.ended(spans);
        outages.metrics.ended(metrics);
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
