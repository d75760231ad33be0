//! Encodes metrics as text: OpenMetrics from the library, or the older Prometheus text derived from OpenMetrics.

use std::fmt;

use prometheus_client::encoding::text::encode as encode_open_metrics;
use prometheus_client::registry::Registry;

/// A text format for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextFormat {
    /// Prometheus text format 0.0.4, without exemplars.
    Plain,
    /// OpenMetrics 1.0, with exemplars.
    OpenMetrics,
}

impl TextFormat {
    /// Chooses the format for an `Accept` header: OpenMetrics if named and not refused (`q=0`), else plain text.
    pub fn asked_for(accept: Option<&str>) -> Self {
        let wants = |part: &str| {
            let mut pieces = part.split(';').map(str::trim);
            let named = pieces.next().is_some_and(|t| t.eq_ignore_ascii_case("application/openmetrics-text"));
            named && !pieces.any(|p| p.strip_prefix("q=").and_then(|q| q.parse::<f32>().ok()) == Some(0.0))
        };
        if accept.is_some_and(|a| a.split(',').any(wants)) { Self::OpenMetrics } else { Self::Plain }
    }

    /// The `Content-Type` of the answer.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Plain => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

pub(super) fn encode(registry: &Registry, form: TextFormat) -> Result<String, fmt::Error> {
    let mut text = String::with_capacity(16 * 1024);
    encode_open_metrics(&mut text, registry)?;
    Ok(match form {
        TextFormat::OpenMetrics => text,
        TextFormat::Plain => plain(&text),
    })
}

/// Converts OpenMetrics to the older format, which has no `# UNIT`, `# EOF` and exemplars. The older format names a
/// counter with `_total` and an info with `_info`; without the suffixes, tools would not find the help texts.
fn plain(open: &str) -> String {
    let mut text = String::with_capacity(open.len());
    let mut pending_help: Option<(&str, &str)> = None;
    for line in open.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            pending_help = help.split_once(' ');
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap_or((kind, "untyped"));
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                other => ("", other),
            };
            if let Some((_, help)) = pending_help.take() {
                text.push_str(&format!("# HELP {name}{suffix} {help}\n"));
            }
            text.push_str(&format!("# TYPE {name}{suffix} {kind}\n"));
        } else if !line.starts_with("# UNIT ") && !line.starts_with("# EOF") {
            text.push_str(without_exemplar(line));
            text.push('\n');
        }
    }
    text
}

/// Removes an exemplar. No label value contains ` # {`, since all values come from the gateway.
fn without_exemplar(sample: &str) -> &str {
    sample.split_once(" # {").map_or(sample, |(sample, _)| sample)
}
