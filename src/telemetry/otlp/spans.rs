//! Exports spans from a bounded queue, on the SDK's thread. A hanging collector costs spans but does not delay calls.
//! Every lost span is counted.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::collector::Collector;
use super::plan::BatchPlan;
use crate::telemetry::export_outage::ExportOutage;

/// Creates a span processor which exports to `collector`; `outage` counts losses. Must run within the runtime.
pub(super) fn processor(collector: Collector, batches: BatchPlan, outage: Arc<ExportOutage>) -> BoundedSpanProcessor {
    let places = Arc::new(Semaphore::new(batches.queue));
    let exporter = CollectorExporter {
        collector,
        runtime: Handle::current(),
        resource: ResourceAttributesWithSchema::default(),
        places: places.clone(),
        outage: outage.clone(),
    };
    let config = BatchConfigBuilder::default()
        .with_max_queue_size(batches.queue)
        .with_max_export_batch_size(batches.size)
        .with_scheduled_delay(batches.delay)
        .build();
    let inner = BatchSpanProcessor::builder(exporter).with_batch_config(config).build();
    BoundedSpanProcessor { inner, places, outage }
}

/// Drops and counts spans above the limit before the SDK would drop them silently.
#[derive(Debug)]
pub(super) struct BoundedSpanProcessor {
    inner: BatchSpanProcessor,
    /// Free places in the queue. A span gives its place back when it is taken for export.
    places: Arc<Semaphore>,
    outage: Arc<ExportOutage>,
}

impl SpanProcessor for BoundedSpanProcessor {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        match self.places.try_acquire() {
            Ok(place) => {
                place.forget();
                self.inner.on_end(span);
            }
            Err(_) => self.outage.overflow(),
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// Exports batches of spans, and reports the results to the outage.
#[derive(Debug)]
struct CollectorExporter {
    collector: Collector,
    /// The SDK calls from a thread of its own; connections and timers belong to the runtime.
    runtime: Handle,
    resource: ResourceAttributesWithSchema,
    places: Arc<Semaphore>,
    outage: Arc<ExportOutage>,
}

impl SpanExporter for CollectorExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        self.places.add_permits(spans);
        let resource_spans = group_spans_by_resource_and_scope(batch, &self.resource);
        let collector = self.collector.clone();
        let sent =
            self.runtime.spawn(async move { collector.traces(ExportTraceServiceRequest { resource_spans }).await });
        match sent.await.unwrap_or_else(|_| Err("the process ends".into())) {
            Ok(0) => self.outage.worked(),
            Ok(rejected) => self.outage.export_failed("some spans were rejected", rejected),
            Err(why) => {
                self.outage.export_failed(&why, spans);
                return Err(OTelSdkError::InternalFailure(why));
            }
        }
        Ok(())
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = resource.into();
    }
}
