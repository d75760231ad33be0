//! Exports spans from a bounded queue, on the SDK's thread. A hanging collector costs spans but does not delay calls.
//! Every lost span is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor};

use crate::telemetry::export_outage::ExportOutage;

/// Creates a span processor with a queue of `limit` spans; `outage` counts losses.
pub(super) fn processor<E: SpanExporter + 'static>(
    exporter: E,
    limit: usize,
    outage: Arc<ExportOutage>,
) -> BoundedSpanProcessor {
    let waiting = Arc::new(AtomicUsize::new(0));
    let exporter = CountingExporter { exporter, waiting: waiting.clone(), outage: outage.clone() };
    let config = BatchConfigBuilder::default().with_max_queue_size(limit).build();
    let inner = BatchSpanProcessor::builder(exporter).with_batch_config(config).build();
    BoundedSpanProcessor { inner, waiting, limit, outage }
}

/// Drops and counts spans above the limit before the SDK would drop them silently.
#[derive(Debug)]
pub(super) struct BoundedSpanProcessor {
    inner: BatchSpanProcessor,
    /// Spans queued and not yet taken for export.
    waiting: Arc<AtomicUsize>,
    limit: usize,
    outage: Arc<ExportOutage>,
}

impl SpanProcessor for BoundedSpanProcessor {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        let room = |waiting| (waiting < self.limit).then_some(waiting + 1);
        match self.waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, room) {
            Ok(_) => self.inner.on_end(span),
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

/// An exporter which reports results to the outage.
#[derive(Debug)]
struct CountingExporter<E> {
    exporter: E,
    waiting: Arc<AtomicUsize>,
    outage: Arc<ExportOutage>,
}

impl<E: SpanExporter> SpanExporter for CountingExporter<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        self.waiting.fetch_sub(spans, Ordering::AcqRel);
        let result = self.exporter.export(batch).await;
        match &result {
            Ok(()) => self.outage.worked(),
            Err(error) => self.outage.export_failed(in_short(&error.to_string()), spans),
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// The SDK's error message without the SDK's own names.
fn in_short(error: &str) -> &str {
    error.rsplit_once("gRPC code: ").map_or(error, |(_, why)| why)
}
