//! The log on stderr: text on a terminal, otherwise a JSON object per line.
//!
//! A separate thread writes the lines. A full queue drops lines and counts the loss (`log_lines_dropped`), so that a
//! blocked output does not block calls. Events carry `trace_id`, `span_id` and `trace_flags` as fields, at the top
//! level of the JSON.

use std::io::{self, IsTerminal as _};
use std::panic;

use tracing::Subscriber;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt as _;

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// Text, also if stderr is not a terminal.
    Text,
    /// A JSON object per line.
    Json,
}

/// Maximum number of lines queued for a slow output.
const QUEUE: usize = 8_192;

/// Levels used without `RUST_LOG`. The libraries below log errors or warnings only.
const DEFAULT_LEVELS: &str = "info,h2=error,hyper=warn,tonic=warn,rustls=warn";
/// Turned off unless `RUST_LOG` names the target: OpenTelemetry logs every failed export, while `otlp` logs every
/// outage.
const QUIET: &str = "opentelemetry";

/// Keeps the log's thread alive. Dropping writes the queued lines, for at most a second.
#[derive(Debug)]
pub struct LogGuard {
    _worker: WorkerGuard,
    /// Counts dropped lines, for `Metrics::watch_log`.
    pub dropped: ErrorCounter,
}

/// The log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// `RUST_LOG` has a malformed directive.
    #[error("RUST_LOG: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// The process has a log already.
    #[error("the log was set up twice")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// Sets up the log of the process. `levels` is the value of `RUST_LOG`, if set; `colors` allows colors on a terminal.
pub fn init(format: LogFormat, levels: Option<&str>, colors: bool) -> Result<LogGuard, LogError> {
    let terminal = io::stderr().is_terminal();
    let (writer, worker) =
        NonBlockingBuilder::default().lossy(true).buffered_lines_limit(QUEUE).thread_name("log").finish(io::stderr());
    let dropped = writer.error_counter();
    let filter = filter(levels)?;
    let text = format == LogFormat::Text || (format == LogFormat::Auto && terminal);
    if text {
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_target(false)
            .with_ansi(terminal && colors)
            .with_writer(writer);
        subscriber.finish().try_init()?;
    } else {
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .json()
            .flatten_event(true)
            .with_writer(writer)
            .finish()
            .try_init()?;
    }
    log_panics();
    Ok(LogGuard { _worker: worker, dropped })
}

fn filter(levels: Option<&str>) -> Result<EnvFilter, LogError> {
    let levels = levels.filter(|levels| !levels.is_empty()).unwrap_or(DEFAULT_LEVELS);
    Ok(match levels.contains(QUIET) {
        true => EnvFilter::try_new(levels)?,
        false => EnvFilter::try_new(format!("{levels},{QUIET}=off"))?,
    })
}

/// Creates a subscriber writing JSON lines to `writer`.
pub fn json<W>(writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    tracing_subscriber::fmt().json().flatten_event(true).with_writer(writer).finish()
}

/// Logs a panic by location only, because the message may contain request data.
fn log_panics() {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panic at {place}");
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opentelemetry_is_quiet_unless_it_is_named() {
        let read = |levels| filter(levels).unwrap().to_string();
        assert!(read(None).contains("opentelemetry=off") && read(Some("")).contains("info"));
        assert!(read(Some("debug")).contains("opentelemetry=off"));
        assert!(!read(Some("info,opentelemetry_sdk=debug")).contains("off"));
        assert!(filter(Some("order_gateway=loud")).is_err());
    }
}
