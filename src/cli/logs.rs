//! The form of log lines, as the command line names it. They go to stderr.

use crate::telemetry::log::LogFormat;

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// Text for people
    Human,
    /// One JSON object a line
    Json,
}

/// Not named: what suits where stderr leads.
pub(super) fn chosen(format: Option<Format>) -> LogFormat {
    match format {
        None => LogFormat::Auto,
        Some(Format::Human) => LogFormat::Text,
        Some(Format::Json) => LogFormat::Json,
    }
}
