//! Pushes the metrics to a collector at an interval. Exports the same registry as `/metrics`, so each value is
//! measured once.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::metrics::v1::{ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_util::sync::CancellationToken;
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use super::collector::chain;
use super::convert::{self, TimeWindow};
use super::plan::ExportTarget;
use crate::telemetry::export_outage::ExportOutage;
use crate::telemetry::metrics::Metrics;

/// Returns the time of day.
pub type WallClock = Box<dyn Fn() -> SystemTime + Send + Sync>;

/// Exports metrics to a collector.
#[derive(Debug)]
pub(super) struct MetricsPusher {
    client: MetricsServiceClient<Channel>,
    headers: MetadataMap,
    resource: Resource,
    interval: Duration,
    timeout: Duration,
    outage: Arc<ExportOutage>,
}

impl MetricsPusher {
    pub(super) fn new(
        channel: Channel,
        target: &ExportTarget,
        resource: Resource,
        interval: Duration,
        outage: Arc<ExportOutage>,
    ) -> Self {
        let client = MetricsServiceClient::new(channel);
        let client = if target.gzip { client.send_compressed(CompressionEncoding::Gzip) } else { client };
        Self { client, headers: metadata(target), resource, interval, timeout: target.timeout, outage }
    }

    /// Exports at every interval, and a last time at `end`.
    pub(super) async fn run(mut self, metrics: Arc<Metrics>, now: WallClock, end: CancellationToken) {
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

    async fn export(&mut self, metrics: &Metrics, start: SystemTime, now: SystemTime) {
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
        let mut request = Request::new(ExportMetricsServiceRequest { resource_metrics });
        *request.metadata_mut() = self.headers.clone();
        // The channel's own timeout does not include the connection.
        match timeout(self.timeout, self.client.export(request)).await {
            Err(_) => self.outage.export_failed("no answer in time", 0),
            Ok(Err(status)) => self.outage.export_failed(&why(&status), 0),
            Ok(Ok(answer)) => match answer.into_inner().partial_success {
                Some(partial) if partial.rejected_data_points > 0 => {
                    let points = usize::try_from(partial.rejected_data_points).unwrap_or(usize::MAX);
                    self.outage.export_failed("some values were rejected", points);
                }
                _ => self.outage.worked(),
            },
        }
    }
}

/// Explains a failed export. The collector's message is left out, because the message may repeat the exported data.
fn why(status: &Status) -> String {
    let code = crate::telemetry::trace::code_name(status.code());
    match std::error::Error::source(status) {
        Some(source) if status.code() != Code::Ok => format!("{code}: {}", chain(source)),
        _ => code.to_owned(),
    }
}

fn metadata(target: &ExportTarget) -> MetadataMap {
    let mut headers = http::HeaderMap::new();
    for (name, value) in &target.headers {
        // Names and values were validated when parsed.
        if let (Ok(name), Ok(mut value)) = (name.parse::<http::HeaderName>(), http::HeaderValue::from_str(value)) {
            value.set_sensitive(true);
            headers.append(name, value);
        }
    }
    MetadataMap::from_headers(headers)
}

fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
