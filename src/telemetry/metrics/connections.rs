//! Connections of both listeners, and why some were ended.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Connections that were refused or ended for what their peer did.
#[derive(Clone, Debug)]
pub struct ConnectionMetrics {
    /// Open HTTP connections.
    pub http: Gauge,
    /// HTTP connections closed at once because too many were open.
    pub http_refused: Counter,
    cut: Family<CutLabels, Counter>,
}

/// Why a connection was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutReason {
    /// gRPC: more frames that are no calls than any client has use for.
    Flood,
    /// gRPC: windows so small that answers would wait here.
    Window,
    /// Answers were not read.
    Unread,
    /// gRPC: no call for long; told to go.
    Idle,
    /// HTTP: no request had come yet, or no further one, and another connection found no place.
    Displaced,
    /// HTTP: what came is no request.
    Malformed,
    /// HTTP: the head of a request was too large.
    LargeHead,
}

impl CutReason {
    const ALL: [Self; 7] =
        [Self::Flood, Self::Window, Self::Unread, Self::Idle, Self::Displaced, Self::Malformed, Self::LargeHead];

    const fn name(self) -> &'static str {
        match self {
            Self::Flood => "flood",
            Self::Window => "window",
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
        // All of them are there from the start, with 0.
        for reason in CutReason::ALL {
            metrics.cut(reason);
        }
        metrics
    }

    /// Counts the connections that were ended so.
    pub fn cut(&self, reason: CutReason) -> Counter {
        self.cut.get_or_create_owned(&CutLabels { reason: reason.name() })
    }
}
