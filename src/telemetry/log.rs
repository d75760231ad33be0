//! The log: to stderr, human text on a terminal, one JSON object a line otherwise.
//!
//! Lines are written by a thread of their own. A full queue drops lines and counts them (`log_lines_dropped`): a log that
//! nobody reads must not hold up calls. Events carry `trace_id`, `span_id` and `trace_flags` as fields, so they stand at
//! the top level of the JSON.

use std::io::{self, IsTerminal as _};
use std::panic;

use tracing::Subscriber;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt as _;

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// Lines that wait for a slow output before more are dropped.
const QUEUE: usize = 8_192;

/// Levels when `RUST_LOG` says nothing. The libraries below are silent unless something is wrong.
const DEFAULT_LEVELS: &str = "info,h2=error,hyper=warn,tonic=warn,rustls=warn";
/// Added unless `RUST_LOG` names it: OpenTelemetry has a line for each export that fails, where `otlp` has one for each
/// outage.
const QUIET: &str = "opentelemetry";

/// Keeps the log's thread alive; dropped, it writes what is queued (for at most a second).
#[derive(Debug)]
pub struct LogGuard {
    _worker: WorkerGuard,
    /// Counts the lines that were dropped: for `Metrics::watch_log`.
    pub dropped: ErrorCounter,
}

/// The log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// `RUST_LOG` cannot be read.
    #[error("RUST_LOG: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Another log is in place already.
    #[error("the log was set up twice")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// Sets the process's log up. `levels` is the value of `RUST_LOG`, if set.
pub fn init(format: LogFormat, levels: Option<&str>) -> Result<LogGuard, LogError> {
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
            .with_ansi(terminal)
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

/// The JSON form, to a writer of the caller's choice.
pub fn json<W>(writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    tracing_subscriber::fmt().json().flatten_event(true).with_writer(writer).finish()
}

/// A panic is logged by its place alone: its text may hold data of a request.
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
