//! Metrics of connections of both listeners.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Open, refused and ended connections.
#[derive(Clone, Debug)]
pub struct ConnectionMetrics {
    /// Number of open HTTP connections.
    pub http: Gauge,
    /// HTTP connections closed at once because too many were open.
    pub http_refused: Counter,
    cut: Family<CutLabels, Counter>,
}

/// The reason for ending a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutReason {
    /// gRPC: more control frames than any client needs.
    Flood,
    /// The peer did not read answers; over gRPC the stream is ended, not the connection.
    Unread,
    /// gRPC: no call for a long time; sent GOAWAY.
    Idle,
    /// HTTP: no request was in progress, and another connection needed the place.
    Displaced,
    /// HTTP: the bytes were not a request.
    Malformed,
    /// HTTP: the head of a request was too large.
    LargeHead,
}

impl CutReason {
    const ALL: [Self; 6] = [Self::Flood, Self::Unread, Self::Idle, Self::Displaced, Self::Malformed, Self::LargeHead];

    const fn name(self) -> &'static str {
        match self {
            Self::Flood => "flood",
            Self::Unread => "unread",
            Self::Idle => "idle",
            Self::Displaced => "displaced",
            Self::Malformed => "malformed",
            Self::LargeHead => "large_head",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CutLabels {
    reason: &'static str,
}

impl ConnectionMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self { http: Gauge::default(), http_refused: Counter::default(), cut: Family::default() };
        registry.register("order_gateway_http_connections", "Open HTTP connections", metrics.http.clone());
        registry.register(
            "order_gateway_http_connections_refused",
            "HTTP connections over the limit of open ones",
            metrics.http_refused.clone(),
        );
        registry.register(
            "order_gateway_connections_cut",
            "Connections ended for what their peer did or did not do",
            metrics.cut.clone(),
        );
        // Create all series at the start, with value 0.
        for reason in CutReason::ALL {
            metrics.cut(reason);
        }
        metrics
    }

    /// The counter of connections ended for `reason`.
    pub fn cut(&self, reason: CutReason) -> Counter {
        self.cut.get_or_create_owned(&CutLabels { reason: reason.name() })
    }
}
