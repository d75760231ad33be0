//! Combines the settings with the `OTEL_*` variables into an export plan.

use std::time::Duration;

use http::Uri;
use opentelemetry_sdk::trace::Sampler;

use super::variables::OtelVariables;
use crate::telemetry::trace::Sampling;

/// The export settings of the configuration.
#[derive(Clone, Debug, Default)]
pub struct OtlpSettings {
    /// The collector, such as `http://collector:4317`; empty for none.
    pub endpoint: String,
    /// Part of the traces to record if the caller has not decided, 0 to 1.
    pub sample_ratio: f64,
}

/// A signal to export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExportSignal {
    Traces,
    Metrics,
}

impl ExportSignal {
    const fn upper(self) -> &'static str {
        match self {
            Self::Traces => "TRACES",
            Self::Metrics => "METRICS",
        }
    }

    /// The signal's path at a collector spoken to by HTTP.
    const fn path(self) -> &'static str {
        match self {
            Self::Traces => "/v1/traces",
            Self::Metrics => "/v1/metrics",
        }
    }

    /// The variables for `what`, most specific first.
    fn names(self, what: &str) -> [String; 2] {
        [format!("OTEL_EXPORTER_OTLP_{}_{what}", self.upper()), format!("OTEL_EXPORTER_OTLP_{what}")]
    }

    /// The first usable value of the variables for `what`.
    fn first<T>(self, what: &str, read: impl Fn(&str) -> Option<T>) -> Option<T> {
        self.names(what).iter().find_map(|name| read(name))
    }
}

/// How a collector is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExportProtocol {
    Grpc,
    HttpProtobuf,
}

/// The destination of a signal.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ExportTarget {
    pub(super) protocol: ExportProtocol,
    /// Address of the collector, with scheme; by HTTP the whole URL of the signal.
    pub(super) endpoint: String,
    /// Timeout of an export, including the connection.
    pub(super) timeout: Duration,
    /// Certificate authority to trust instead of the system's, PEM.
    pub(super) certificate: Option<Vec<u8>>,
    /// Client certificate and key, PEM.
    pub(super) client: Option<(Vec<u8>, Vec<u8>)>,
    /// Headers sent with each export. The values are secrets.
    pub(super) headers: Vec<(String, String)>,
    pub(super) gzip: bool,
}

impl ExportTarget {
    fn read(signal: ExportSignal, settings: &OtlpSettings, variables: &OtelVariables<'_>) -> Option<Self> {
        let is_asked_for = is_wanted(signal, variables)?;
        let protocols = [("grpc", ExportProtocol::Grpc), ("http/protobuf", ExportProtocol::HttpProtobuf)];
        let protocol = signal.first("PROTOCOL", |name| variables.choice(name, &protocols));
        let protocol = protocol.unwrap_or(ExportProtocol::Grpc);
        let endpoint = endpoint(signal, protocol, settings, variables, is_asked_for)?;
        let compressions = [("gzip", true), ("none", false)];
        let file = |what| signal.first(what, |name| readable(name, variables));
        let client = match (file("CLIENT_CERTIFICATE"), file("CLIENT_KEY")) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) => {
                variables.warn("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "needs OTEL_EXPORTER_OTLP_CLIENT_KEY");
                None
            }
            (None, Some(_)) => {
                variables.warn("OTEL_EXPORTER_OTLP_CLIENT_KEY", "needs OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE");
                None
            }
        };
        Some(Self {
            protocol,
            endpoint,
            timeout: signal.first("TIMEOUT", |name| variables.millis(name)).unwrap_or(Duration::from_secs(10)),
            certificate: file("CERTIFICATE"),
            client,
            headers: signal.first("HEADERS", |name| headers(name, variables)).unwrap_or_default(),
            gzip: signal.first("COMPRESSION", |name| variables.choice(name, &compressions)).unwrap_or(false),
        })
    }
}

/// Whether a signal is exported, and if so, whether a variable asks for it.
fn is_wanted(signal: ExportSignal, variables: &OtelVariables<'_>) -> Option<bool> {
    if variables.is_true("OTEL_SDK_DISABLED") {
        return None;
    }
    let name = format!("OTEL_{}_EXPORTER", signal.upper());
    let known: &[&str] = match signal {
        ExportSignal::Traces => &["otlp", "none"],
        ExportSignal::Metrics => &["otlp", "none", "prometheus"],
    };
    let Some(words) = variables.words(&name, known, "must be otlp or none") else { return Some(false) };
    if words.contains(&"prometheus") {
        variables.warn(&name, "prometheus needs no exporter: /metrics is served in any case");
    }
    words.contains(&"otlp").then_some(true)
}

/// The address of a signal. The environment overrides the settings, as for all settings; `is_asked_for`: without either
/// it is the address of the specification.
fn endpoint(
    signal: ExportSignal,
    protocol: ExportProtocol,
    settings: &OtlpSettings,
    variables: &OtelVariables<'_>,
    is_asked_for: bool,
) -> Option<String> {
    let insecure = signal.first("INSECURE", |name| variables.get(name).map(|_| variables.is_true(name)));
    let usable = |name: &str| {
        let address = with_scheme(variables.get(name)?, insecure == Some(true));
        let uri = address.parse::<Uri>().ok().filter(|uri| matches!(uri.scheme_str(), Some("http" | "https")));
        if uri.is_none() {
            variables.warn(name, "must be an address such as http://collector:4317");
        }
        uri.map(|_| address)
    };
    let [own, common] = signal.names("ENDPOINT");
    if let Some(endpoint) = usable(&own) {
        return Some(endpoint);
    }
    let base = usable(&common).or_else(|| Some(settings.endpoint.trim().to_owned()).filter(|base| !base.is_empty()));
    let base = base.or_else(|| {
        let port = if protocol == ExportProtocol::Grpc { 4317 } else { 4318 };
        is_asked_for.then(|| format!("http://localhost:{port}"))
    })?;
    Some(match protocol {
        ExportProtocol::Grpc => base,
        ExportProtocol::HttpProtobuf => format!("{}{}", base.trim_end_matches('/'), signal.path()),
    })
}

/// Adds a scheme if absent: https, or http if `insecure` is set.
fn with_scheme(endpoint: String, insecure: bool) -> String {
    match endpoint.contains("://") {
        true => endpoint,
        false if insecure => format!("http://{endpoint}"),
        false => format!("https://{endpoint}"),
    }
}

/// The content of the file that a variable names.
fn readable(name: &str, variables: &OtelVariables<'_>) -> Option<Vec<u8>> {
    let path = variables.get(name)?;
    std::fs::read(path).map_err(|error| variables.warn(name, &format!("the file cannot be read: {error}"))).ok()
}

fn headers(name: &str, variables: &OtelVariables<'_>) -> Option<Vec<(String, String)>> {
    let mut pairs = variables.pairs(name)?;
    for (header, _) in &mut pairs {
        header.make_ascii_lowercase();
    }
    let fits = |(header, value): &(String, String)| {
        http::HeaderName::from_bytes(header.as_bytes()).is_ok() && http::HeaderValue::from_str(value).is_ok()
    };
    if !pairs.iter().all(fits) {
        variables.warn(name, "must be names and values that fit into headers");
        return None;
    }
    Some(pairs)
}

/// The complete export plan.
#[derive(Debug)]
pub(super) struct OtlpPlan {
    pub(super) traces: Option<ExportTarget>,
    pub(super) metrics: Option<ExportTarget>,
    pub(super) sampling: Sampling,
    /// Whether trace headers are read and sent.
    pub(super) propagate: bool,
    pub(super) batches: BatchPlan,
    /// Time between two exports of metrics.
    pub(super) interval: Duration,
    /// What the variables say of the process, by name.
    pub(super) resource: Vec<(String, String)>,
}

/// How spans are gathered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchPlan {
    /// Maximum number of queued spans.
    pub(super) queue: usize,
    /// Maximum number of spans in an export.
    pub(super) size: usize,
    /// Longest wait for more spans.
    pub(super) delay: Duration,
}

impl OtlpPlan {
    pub(super) fn read(settings: &OtlpSettings, variables: &OtelVariables<'_>) -> Self {
        let known = ["tracecontext", "baggage", "none"];
        let propagators = variables.words("OTEL_PROPAGATORS", &known, "must be tracecontext, baggage or none");
        let queue = variables.count("OTEL_BSP_MAX_QUEUE_SIZE").unwrap_or(2_048);
        // Exports have the timeout of the exporter.
        variables.millis("OTEL_BSP_EXPORT_TIMEOUT");
        Self {
            traces: ExportTarget::read(ExportSignal::Traces, settings, variables),
            metrics: ExportTarget::read(ExportSignal::Metrics, settings, variables),
            sampling: sampling(settings.sample_ratio, variables),
            propagate: propagators.is_none_or(|words| words.contains(&"tracecontext")),
            batches: BatchPlan {
                queue,
                size: variables.count("OTEL_BSP_MAX_EXPORT_BATCH_SIZE").unwrap_or(512).min(queue),
                delay: variables.millis("OTEL_BSP_SCHEDULE_DELAY").unwrap_or(Duration::from_secs(5)),
            },
            interval: variables.millis("OTEL_METRIC_EXPORT_INTERVAL").unwrap_or(Duration::from_secs(60)),
            resource: resource(variables),
        }
    }
}

fn resource(variables: &OtelVariables<'_>) -> Vec<(String, String)> {
    let mut pairs = variables.pairs("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    if let Some(name) = variables.get("OTEL_SERVICE_NAME") {
        pairs.push(("service.name".into(), name));
    }
    pairs
}

fn sampling(ratio: f64, variables: &OtelVariables<'_>) -> Sampling {
    const ARGUMENT: &str = "OTEL_TRACES_SAMPLER_ARG";
    const NAME: &str = "OTEL_TRACES_SAMPLER";
    let Some(name) = variables.get(NAME) else { return Sampling::ratio(ratio) };
    let share = || match variables.get(ARGUMENT).map(|arg| arg.parse::<f64>()) {
        None => 1.0,
        Some(Ok(share)) if (0.0..=1.0).contains(&share) => share,
        Some(_) => {
            variables.warn(ARGUMENT, "must be 0 to 1");
            1.0
        }
    };
    let (parent_based, root) = match name.strip_prefix("parentbased_") {
        Some(root) => (true, root),
        None => (false, name.as_str()),
    };
    let root = match root {
        "always_on" => Sampler::AlwaysOn,
        "always_off" => Sampler::AlwaysOff,
        "traceidratio" => Sampler::TraceIdRatioBased(share()),
        _ => {
            variables.warn(NAME, "must be always_on, always_off or traceidratio, or one of them after parentbased_");
            return Sampling::ratio(ratio);
        }
    };
    Sampling { parent_based, root }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
