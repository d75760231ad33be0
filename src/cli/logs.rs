//! The form of log lines, as the command line names it. They go to stderr.

use crate::telemetry::log::LogFormat;

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum FormatArg {
    /// Text for people
    Human,
    /// One JSON object a line
    Json,
}

/// Not named: what suits where stderr leads.
pub(super) fn chosen(format: Option<FormatArg>) -> LogFormat {
    match format {
        None => LogFormat::Auto,
        Some(FormatArg::Human) => LogFormat::Text,
        Some(FormatArg::Json) => LogFormat::Json,
    }
}
