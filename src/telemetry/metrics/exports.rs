//! Metrics of exports to a collector.

use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::telemetry::export_outage::ExportOutages;

/// Failed exports and lost spans.
pub(super) struct ExportMetrics {
    outages: OnceLock<ExportOutages>,
    traces_failed: Counter,
    metrics_failed: Counter,
    spans_dropped: Counter,
}

impl ExportMetrics {
    pub(super) fn register(r: &mut Registry) -> Self {
        let failed = Family::<SignalLabels, Counter>::default();
        r.register("order_gateway_otlp_exports_failed", "Exports that the collector did not take", failed.clone());
        let spans_dropped = Counter::default();
        let help = "Spans lost because the collector did not take them, or not fast enough";
        r.register("order_gateway_otlp_spans_dropped", help, spans_dropped.clone());
        let of = |signal| failed.get_or_create_owned(&SignalLabels { signal });
        Self { outages: OnceLock::new(), traces_failed: of("traces"), metrics_failed: of("metrics"), spans_dropped }
    }

    pub(super) fn watch(&self, outages: ExportOutages) {
        self.outages.get_or_init(|| outages);
    }

    pub(super) fn look(&self) {
        let Some(ExportOutages { traces, metrics }) = self.outages.get() else { return };
        let take_over = |counter: &Counter, value| counter.inner().store(value, Ordering::Relaxed);
        take_over(&self.traces_failed, traces.failed());
        take_over(&self.metrics_failed, metrics.failed());
        take_over(&self.spans_dropped, traces.lost());
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SignalLabels {
    signal: &'static str,
}
