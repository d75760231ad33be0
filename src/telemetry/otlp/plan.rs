//! Combines the settings with the `OTEL_*` variables into an export plan.
//! <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>

use std::path::PathBuf;
use std::time::Duration;

use opentelemetry_sdk::trace::Sampler;
use percent_encoding::percent_decode_str;

use crate::telemetry::trace::Sampling;

/// The export settings of the configuration.
#[derive(Clone, Debug, Default)]
pub struct OtlpSettings {
    /// The collector, such as `http://collector:4317`; empty for none.
    pub endpoint: String,
    /// Part of the traces to record if the caller has not decided, 0 to 1.
    pub sample_ratio: f64,
}

/// The exports cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum OtlpError {
    /// A variable has an invalid value.
    #[error("{variable}: {expected}")]
    Variable {
        /// Name of the variable.
        variable: String,
        /// The values accepted for the variable.
        expected: String,
    },
    /// The collector's address is invalid.
    #[error("telemetry.otlp_endpoint: {0}")]
    Endpoint(String),
    /// The exporter rejects its settings.
    #[error("telemetry.otlp_endpoint: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
}

impl OtlpError {
    fn variable(variable: impl Into<String>, expected: impl Into<String>) -> Self {
        Self::Variable { variable: variable.into(), expected: expected.into() }
    }
}

/// The `OTEL_*` variables. An empty variable counts as unset, as in the specification.
#[derive(Clone, Copy)]
pub(super) struct OtelVariables<'a>(pub(super) &'a dyn Fn(&str) -> Option<String>);

impl OtelVariables<'_> {
    pub(super) fn get(&self, name: &str) -> Option<String> {
        (self.0)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    fn is_true(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    fn millis(&self, name: &str) -> Result<Option<Duration>, OtlpError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match value.parse::<u64>() {
            Ok(millis) if millis > 0 => Ok(Some(Duration::from_millis(millis))),
            _ => Err(OtlpError::variable(name, "must be milliseconds, at least 1")),
        }
    }
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

    /// The variables for `what`, most specific first.
    fn names(self, what: &str) -> [String; 2] {
        [format!("OTEL_EXPORTER_OTLP_{}_{what}", self.upper()), format!("OTEL_EXPORTER_OTLP_{what}")]
    }

    fn value(self, what: &str, variables: OtelVariables<'_>) -> Option<(String, String)> {
        self.names(what).into_iter().find_map(|name| variables.get(&name).map(|value| (name, value)))
    }
}

/// The destination of a signal.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ExportTarget {
    /// Address of the collector, with scheme.
    pub(super) endpoint: String,
    /// Timeout of an export, including the connection.
    pub(super) timeout: Duration,
    /// Certificate authority to trust instead of the system's.
    pub(super) certificate: Option<PathBuf>,
    /// Client certificate and key.
    pub(super) client: Option<(PathBuf, PathBuf)>,
    /// Headers sent with each export. The values are secrets.
    pub(super) headers: Vec<(String, String)>,
    pub(super) gzip: bool,
}

impl ExportTarget {
    fn read(
        signal: ExportSignal,
        settings: &OtlpSettings,
        variables: OtelVariables<'_>,
    ) -> Result<Option<Self>, OtlpError> {
        if !is_wanted(signal, variables)? {
            return Ok(None);
        }
        // The environment overrides the file, as for all settings.
        let endpoint = signal.value("ENDPOINT", variables).map(|(_, value)| value);
        let endpoint = endpoint.unwrap_or_else(|| settings.endpoint.trim().to_owned());
        if endpoint.is_empty() {
            return Ok(None);
        }
        if let Some((name, protocol)) = signal.value("PROTOCOL", variables)
            && protocol != "grpc"
        {
            return Err(OtlpError::variable(name, "must be grpc: no other protocol is supported"));
        }
        let mut timeout = Duration::from_secs(10);
        for name in signal.names("TIMEOUT").into_iter().rev() {
            timeout = variables.millis(&name)?.unwrap_or(timeout);
        }
        let insecure = signal.value("INSECURE", variables).is_some_and(|(_, value)| value.eq_ignore_ascii_case("true"));
        let file = |what| signal.value(what, variables).map(|(_, path)| PathBuf::from(path));
        let gzip = match signal.value("COMPRESSION", variables) {
            None => false,
            Some((_, value)) if value == "none" => false,
            Some((_, value)) if value == "gzip" => true,
            Some((name, _)) => return Err(OtlpError::variable(name, "must be gzip or none")),
        };
        Ok(Some(Self {
            endpoint: with_scheme(endpoint, insecure),
            timeout,
            certificate: file("CERTIFICATE"),
            client: file("CLIENT_CERTIFICATE").zip(file("CLIENT_KEY")),
            headers: match signal.value("HEADERS", variables) {
                Some((name, text)) => headers(&name, &text)?,
                None => Vec::new(),
            },
            gzip,
        }))
    }
}

fn is_wanted(signal: ExportSignal, variables: OtelVariables<'_>) -> Result<bool, OtlpError> {
    if variables.is_true("OTEL_SDK_DISABLED") {
        return Ok(false);
    }
    let name = format!("OTEL_{}_EXPORTER", signal.upper());
    let Some(list) = variables.get(&name) else { return Ok(true) };
    let mut wanted = false;
    for one in list.split(',').map(str::trim) {
        match (one, signal) {
            ("otlp", _) => wanted = true,
            // Scraping works in any case.
            ("none", _) | ("prometheus", ExportSignal::Metrics) => {}
            _ => return Err(OtlpError::variable(name, "must be otlp or none")),
        }
    }
    Ok(wanted)
}

/// Adds a scheme if absent: https, or http if `insecure` is set.
fn with_scheme(endpoint: String, insecure: bool) -> String {
    match endpoint.contains("://") {
        true => endpoint,
        false if insecure => format!("http://{endpoint}"),
        false => format!("https://{endpoint}"),
    }
}

/// Parses `name=value,name=value` with percent-encoded values. Errors do not repeat the values.
fn headers(variable: &str, text: &str) -> Result<Vec<(String, String)>, OtlpError> {
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    let read = pairs.map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let value = percent_decode_str(value.trim()).decode_utf8().ok()?.into_owned();
        let name = name.trim().to_ascii_lowercase();
        http::HeaderName::from_bytes(name.as_bytes()).ok()?;
        http::HeaderValue::from_str(&value).ok()?;
        Some((name, value))
    });
    read.collect::<Option<_>>().ok_or_else(|| OtlpError::variable(variable, "must be name=value, separated by commas"))
}

/// The complete export plan.
#[derive(Debug)]
pub(super) struct OtlpPlan {
    pub(super) traces: Option<ExportTarget>,
    pub(super) metrics: Option<ExportTarget>,
    pub(super) sampling: Sampling,
    /// Whether trace headers are read and sent.
    pub(super) propagate: bool,
    /// Maximum number of queued spans.
    pub(super) queue: usize,
    /// Time between two exports of metrics.
    pub(super) interval: Duration,
}

impl OtlpPlan {
    pub(super) fn read(settings: &OtlpSettings, variables: OtelVariables<'_>) -> Result<Self, OtlpError> {
        let propagators = variables.get("OTEL_PROPAGATORS").unwrap_or_else(|| "tracecontext".into());
        let queue = match variables.get("OTEL_BSP_MAX_QUEUE_SIZE").map(|size| size.parse::<usize>()) {
            None => 2_048,
            Some(Ok(size @ 1..=1_000_000)) => size,
            Some(_) => return Err(OtlpError::variable("OTEL_BSP_MAX_QUEUE_SIZE", "must be 1 to 1000000")),
        };
        Ok(Self {
            traces: ExportTarget::read(ExportSignal::Traces, settings, variables)?,
            metrics: ExportTarget::read(ExportSignal::Metrics, settings, variables)?,
            sampling: sampling(settings.sample_ratio, variables)?,
            propagate: propagators.split(',').any(|one| one.trim() == "tracecontext"),
            queue,
            interval: variables.millis("OTEL_METRIC_EXPORT_INTERVAL")?.unwrap_or(Duration::from_secs(60)),
        })
    }
}

fn sampling(ratio: f64, variables: OtelVariables<'_>) -> Result<Sampling, OtlpError> {
    const ARGUMENT: &str = "OTEL_TRACES_SAMPLER_ARG";
    const NAME: &str = "OTEL_TRACES_SAMPLER";
    let Some(name) = variables.get(NAME) else { return Ok(Sampling::ratio(ratio)) };
    let share = || match variables.get(ARGUMENT).map(|arg| arg.parse::<f64>()) {
        None => Ok(1.0),
        Some(Ok(share)) if (0.0..=1.0).contains(&share) => Ok(share),
        Some(_) => Err(OtlpError::variable(ARGUMENT, "must be 0 to 1")),
    };
    let (parent_based, root) = match name.strip_prefix("parentbased_") {
        Some(root) => (true, root),
        None => (false, name.as_str()),
    };
    let root = match root {
        "always_on" => Sampler::AlwaysOn,
        "always_off" => Sampler::AlwaysOff,
        "traceidratio" => Sampler::TraceIdRatioBased(share()?),
        _ => {
            let expected = "must be always_on, always_off or traceidratio, or one of them after parentbased_";
            return Err(OtlpError::variable(NAME, expected));
        }
    };
    Ok(Sampling { parent_based, root })
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
