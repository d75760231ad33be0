//! The format of log lines, as a command line option. Log lines go to stderr.

use crate::telemetry::log::LogFormat;

/// Format of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum FormatArg {
    /// Text for people
    Human,
    /// One JSON object a line
    Json,
}

/// Without the option the format depends on stderr: text for a terminal, else JSON.
pub(super) fn chosen(format: Option<FormatArg>) -> LogFormat {
    match format {
        None => LogFormat::Auto,
        Some(FormatArg::Human) => LogFormat::Text,
        Some(FormatArg::Json) => LogFormat::Json,
    }
}
