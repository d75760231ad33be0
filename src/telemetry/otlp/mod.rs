//! Exports traces and metrics to a collector by OTLP over gRPC, configured by the settings and the `OTEL_*`
//! variables.
//!
//! A failing or hanging collector costs spans and values, but delays neither calls nor the end of the process: queues
//! and times are bounded. Losses are counted, and an outage is logged once.

mod collector;
mod convert;
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

use self::plan::{OtelVariables, OtlpPlan};
pub use self::plan::{OtlpError, OtlpSettings};
use self::push::MetricsPusher;
pub use self::push::WallClock;
use super::export_outage::{ExportOutage, ExportOutages};
use super::metrics::Metrics;
use super::semconv::{SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_VERSION};
use super::trace::Tracer;

/// The running exports. Flush with [`OtlpExport::flush`] at the end of the process.
#[derive(Debug)]
pub struct OtlpExport {
    provider: Option<SdkTracerProvider>,
    push: Option<MetricsPusher>,
    pushing: Option<(JoinHandle<()>, CancellationToken)>,
    outages: ExportOutages,
}

/// Sets up the exports. `variable` reads the environment. Must run within the main runtime of the process.
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
        // The exporter reads headers, compression and timeout from the same variables.
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

/// The resource of all exports. Values from the environment take precedence.
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
        // A unique id, so that counters of two processes do not mix.
        let random = RandomIdGenerator::default().new_trace_id().to_bytes();
        let id = uuid::Builder::from_random_bytes(random).into_uuid();
        more.push(KeyValue::new(SERVICE_INSTANCE_ID, id.to_string()));
    }
    Resource::builder().with_attributes(more).build()
}

impl OtlpExport {
    /// The state of the exports, for `Metrics::watch_exports`.
    pub fn outages(&self) -> ExportOutages {
        self.outages.clone()
    }

    /// Starts exporting `metrics`, if configured. `now` returns the time of day.
    pub fn export(&mut self, metrics: Arc<Metrics>, now: WallClock) {
        if let Some(push) = self.push.take() {
            let end = CancellationToken::new();
            let pushing = tokio::spawn(push.run(metrics, now, end.clone()));
            self.pushing = Some((pushing, end));
        }
    }

    /// Exports queued spans and the metrics a last time, within `limit`. Later spans are lost.
    pub async fn flush(self, limit: Duration) {
        let Self { provider, pushing, outages, push: _ } = self;
        let spans = async {
            let Some(provider) = provider else { return true };
            // The shutdown blocks its thread, and with a hanging collector for longer than `limit`.
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
mod tests;
