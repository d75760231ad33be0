//! Pushes the metrics to a collector at an interval. Exports the same registry as `/metrics`, so each value is
//! measured once.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::metrics::v1::{ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use super::collector::Collector;
use super::convert::{self, TimeWindow};
use crate::telemetry::export_outage::ExportOutage;
use crate::telemetry::metrics::Metrics;

/// Returns the time of day.
pub type WallClock = Box<dyn Fn() -> SystemTime + Send + Sync>;

/// Exports metrics to a collector.
#[derive(Debug)]
pub(super) struct MetricsPusher {
    collector: Collector,
    resource: Resource,
    interval: Duration,
    outage: Arc<ExportOutage>,
}

impl MetricsPusher {
    pub(super) fn new(collector: Collector, resource: Resource, interval: Duration, outage: Arc<ExportOutage>) -> Self {
        Self { collector, resource, interval, outage }
    }

    /// Exports at every interval, and a last time at `end`.
    pub(super) async fn run(self, metrics: Arc<Metrics>, now: WallClock, end: CancellationToken) {
        let start = now();
        let mut ticks = interval_at(Instant::now() + self.interval, self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let goes_on = end.run_until_cancelled(ticks.tick()).await.is_some();
            self.export(&metrics, start, now()).await;
            if !goes_on {
                return;
            }
        }
    }

    async fn export(&self, metrics: &Metrics, start: SystemTime, now: SystemTime) {
        let span = TimeWindow { start: nanos(start), now: nanos(now) };
        // Encoding fails only because of a bug, which a scrape would show too.
        let Ok(families) = metrics.families() else { return self.outage.export_failed("cannot be written", 0) };
        let metrics = convert::metrics(families, span);
        let scope = InstrumentationScope {
            name: env!("CARGO_PKG_NAME").into(),
            version: env!("CARGO_PKG_VERSION").into(),
            ..Default::default()
        };
        let scope_metrics = vec![ScopeMetrics { scope: Some(scope), metrics, ..Default::default() }];
        let resource_metrics =
            vec![ResourceMetrics { resource: Some(self.resource.clone()), scope_metrics, ..Default::default() }];
        match self.collector.metrics(ExportMetricsServiceRequest { resource_metrics }).await {
            Ok(0) => self.outage.worked(),
            Ok(points) => self.outage.export_failed("some values were rejected", points),
            Err(why) => self.outage.export_failed(&why, 0),
        }
    }
}

fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
