//! Exports traces and metrics to a collector by OTLP over gRPC or HTTP, configured by the settings and the `OTEL_*`
//! variables. No variable keeps the process from starting: what cannot be used is warned about and ignored.
//!
//! A failing or hanging collector costs spans and values, but delays neither calls nor the end of the process: queues
//! and times are bounded. Losses are counted, and an outage is logged once.

mod collector;
mod convert;
mod plan;
mod push;
mod spans;
mod variables;

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::{Key, KeyValue};
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use opentelemetry_sdk::trace::{IdGenerator as _, RandomIdGenerator, SdkTracerProvider};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::collector::Collector;
pub use self::plan::OtlpSettings;
use self::plan::{ExportTarget, OtlpPlan};
use self::push::MetricsPusher;
pub use self::push::WallClock;
use self::variables::OtelVariables;
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

/// The exports, and what is to be said about the variables.
#[derive(Debug)]
pub struct OtlpSetup {
    /// The maker of all spans; off without a collector.
    pub tracer: Tracer,
    /// The exports, to be flushed at the end of the process.
    pub export: OtlpExport,
    /// A line for each value that is ignored.
    pub warnings: Vec<String>,
}

/// What [`init`] would warn about in the variables.
pub fn warnings(settings: &OtlpSettings, variable: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
    let variables = OtelVariables::new(variable);
    OtlpPlan::read(settings, &variables);
    variables.into_warnings()
}

/// Sets up the exports. `variable` reads the environment. Must run within the main runtime of the process.
pub fn init(settings: &OtlpSettings, variable: &dyn Fn(&str) -> Option<String>) -> OtlpSetup {
    let variables = OtelVariables::new(variable);
    let plan = OtlpPlan::read(settings, &variables);
    let mut warnings = variables.into_warnings();
    let resource = resource(&plan.resource);
    let outages = ExportOutages {
        traces: Arc::new(ExportOutage::new("traces")),
        metrics: Arc::new(ExportOutage::new("metrics")),
    };
    let mut connect = |signal: &str, target: &Option<ExportTarget>| {
        let connected = Collector::connect(target.as_ref()?);
        connected.map_err(|why| warnings.push(format!("{signal} are not exported: {why}"))).ok()
    };
    let (of_traces, of_metrics) = (connect("traces", &plan.traces), connect("metrics", &plan.metrics));
    let (mut tracer, mut provider) = (Tracer::off(), None);
    if let Some(collector) = of_traces {
        let processor = spans::processor(collector, plan.batches, outages.traces.clone());
        let built = Tracer::provider_builder().with_resource(resource.clone()).with_span_processor(processor).build();
        tracer = Tracer::recording(plan.sampling, Arc::new(RandomIdGenerator::default()), &built);
        provider = Some(built);
    }
    let push = of_metrics.map(|collector| {
        let attributes = ResourceAttributesWithSchema::from(&resource).attributes.0;
        let resource = opentelemetry_proto::tonic::resource::v1::Resource { attributes, ..Default::default() };
        MetricsPusher::new(collector, resource, plan.interval, outages.metrics.clone())
    });
    let tracer = if plan.propagate { tracer } else { tracer.without_propagation() };
    OtlpSetup { tracer, export: OtlpExport { provider, push, pushing: None, outages }, warnings }
}

/// The resource of all exports. What the variables say takes precedence.
fn resource(given: &[(String, String)]) -> Resource {
    let given = given.iter().map(|(name, value)| KeyValue::new(name.clone(), value.clone()));
    let given = Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_attributes(given.collect::<Vec<_>>())
        .build();
    // A unique id, so that counters of two processes do not mix.
    let random = RandomIdGenerator::default().new_trace_id().to_bytes();
    let id = uuid::Builder::from_random_bytes(random).into_uuid().to_string();
    let own = [
        (SERVICE_NAME, env!("CARGO_PKG_NAME").to_owned()),
        (SERVICE_VERSION, env!("CARGO_PKG_VERSION").to_owned()),
        (SERVICE_INSTANCE_ID, id),
    ];
    let own = own.into_iter().filter(|(name, _)| given.get(&Key::from_static_str(name)).is_none());
    let all = given.iter().map(|(name, value)| KeyValue::new(name.clone(), value.clone()));
    let all: Vec<_> = all.chain(own.map(|(name, value)| KeyValue::new(name, value))).collect();
    Resource::builder_empty().with_attributes(all).build()
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
