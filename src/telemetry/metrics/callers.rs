//! Metrics of callers and TLS: refused calls, and the expiry of certificates.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

/// Refused callers and the state of TLS. Cheap to clone; all clones count together.
#[derive(Clone, Debug)]
pub struct CallerMetrics {
    refused: [Counter; CallerRefused::ALL.len()],
    /// Number of rejected changes to TLS files.
    pub tls_reloads_refused: Counter,
    tls_expiry: Family<FileLabel, Gauge>,
}

impl CallerMetrics {
    pub(super) fn register(r: &mut Registry) -> Self {
        let refused = Family::<RefusedLabel, Counter>::default();
        r.register("order_gateway_callers_refused", "RPCs refused for who calls", refused.clone());
        let tls_reloads_refused = Counter::default();
        let help = "Changes of certificate, key or client CA that were refused";
        r.register("order_gateway_tls_reloads_refused", help, tls_reloads_refused.clone());
        let tls_expiry = Family::<FileLabel, Gauge>::default();
        let help = "When the certificate in use expires; of client authorities the last one";
        r.register_with_unit("order_gateway_tls_certificate_expiry_timestamp", help, Unit::Seconds, tls_expiry.clone());
        let refused = CallerRefused::ALL.map(|why| refused.get_or_create_owned(&RefusedLabel { reason: why.name() }));
        Self { refused, tls_reloads_refused, tls_expiry }
    }

    /// Counts a refused call.
    pub fn count(&self, why: CallerRefused) {
        self.refused[why as usize].inc();
    }

    /// Sets the expiry of the certificate in `file` (a key of `[grpc.tls]`), in seconds since 1970.
    pub fn tls_expires(&self, file: &'static str, at: i64) {
        self.tls_expiry.get_or_create_owned(&FileLabel { file }).set(at);
    }
}

/// The reason for refusing a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallerRefused {
    /// Neither a token nor a certificate with a name.
    NoCredentials,
    /// `authorization` is not `Bearer` with a token.
    NotBearer,
    /// No client has this token.
    UnknownToken,
    /// No client has a name of this certificate.
    UnknownCertificate,
    /// The client may not use the service.
    ServiceNotAllowed,
    /// The client is over the limit for clients.
    OverShare,
}

impl CallerRefused {
    /// All reasons, in order of their discriminants.
    pub const ALL: [Self; 6] = [
        Self::NoCredentials,
        Self::NotBearer,
        Self::UnknownToken,
        Self::UnknownCertificate,
        Self::ServiceNotAllowed,
        Self::OverShare,
    ];

    /// The value of the label `reason`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoCredentials => "no_credentials",
            Self::NotBearer => "not_bearer",
            Self::UnknownToken => "unknown_token",
            Self::UnknownCertificate => "unknown_certificate",
            Self::ServiceNotAllowed => "service_not_allowed",
            Self::OverShare => "over_share",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedLabel {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FileLabel {
    file: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::{Metrics, TextFormat};

    #[test]
    fn names_and_labels() {
        let metrics = Metrics::new([]);
        for (at, why) in CallerRefused::ALL.into_iter().enumerate() {
            assert_eq!(why as usize, at);
        }
        metrics.callers.count(CallerRefused::UnknownToken);
        metrics.callers.tls_reloads_refused.inc();
        metrics.callers.tls_expires("cert_file", 1_800_000_000);
        let text = metrics.encode(TextFormat::Plain).unwrap();
        for line in [
            "order_gateway_callers_refused_total{reason=\"unknown_token\"} 1",
            "order_gateway_callers_refused_total{reason=\"no_credentials\"} 0",
            "order_gateway_tls_reloads_refused_total 1",
            "order_gateway_tls_certificate_expiry_timestamp_seconds{file=\"cert_file\"} 1800000000",
        ] {
            assert!(text.lines().any(|have| have == line), "{line} is not in\n{text}");
        }
    }
}
