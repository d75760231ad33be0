//! The log on stderr: text on a terminal, otherwise a JSON object per line.
//!
//! A separate thread writes the lines. A full queue drops lines and counts the loss (`log_lines_dropped`), so that a
//! blocked output does not block calls. A line that is logged in the course of a call carries `trace_id`, `span_id` and
//! `trace_flags`, at the top level of the JSON.

use std::fmt;
use std::io::{self, IsTerminal as _};
use std::panic;
use std::time::Duration;

use tokio::time::sleep;
use tracing::{Event, Subscriber};
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Format, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::trace::SpanIds;

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

/// Interval between looks for dropped lines.
const LOSSES_EVERY: Duration = Duration::from_mins(1);

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
        let format = Format::default().with_target(false).with_ansi(terminal && colors);
        let subscriber = tracing_subscriber::fmt().with_env_filter(filter).event_format(Traced::text(format));
        subscriber.with_writer(writer).finish().try_init()?;
    } else {
        let subscriber = tracing_subscriber::fmt().with_env_filter(filter).json().flatten_event(true);
        subscriber.map_event_format(Traced::json).with_writer(writer).finish().try_init()?;
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
    tracing_subscriber::fmt().json().flatten_event(true).map_event_format(Traced::json).with_writer(writer).finish()
}

/// Logs how many lines were dropped, at most once a minute. Runs until it is dropped.
pub async fn tell_losses(dropped: ErrorCounter) {
    let mut told = 0;
    loop {
        sleep(LOSSES_EVERY).await;
        let lines = dropped.dropped_lines();
        if lines > told {
            tracing::warn!(lines = lines - told, "log lines were lost: the output takes them too slowly");
            told = lines;
        }
    }
}

/// A format that adds the ids of the call for which the thread is working.
struct Traced<F> {
    format: F,
    is_json: bool,
}

impl<F> Traced<F> {
    /// Adds members to a format that writes a JSON object.
    fn json(format: F) -> Self {
        Self { format, is_json: true }
    }

    /// Adds fields to the end of a line.
    fn text(format: F) -> Self {
        Self { format, is_json: false }
    }
}

impl<F, S, N> FormatEvent<S, N> for Traced<F>
where
    F: FormatEvent<S, N>,
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let Some(SpanIds { trace_id, span_id, sampled }) = SpanIds::current() else {
            return self.format.format_event(context, out, event);
        };
        let mut line = String::new();
        self.format.format_event(context, Writer::new(&mut line), event)?;
        let (line, flags) = (line.trim_end(), u8::from(sampled));
        match line.strip_suffix('}').filter(|_| self.is_json) {
            Some(object) => writeln!(
                out,
                r#"{object},"trace_id":"{trace_id:032x}","span_id":"{span_id:016x}","trace_flags":"{flags:02x}"}}"#
            ),
            None => writeln!(out, "{line} trace_id={trace_id:032x} span_id={span_id:016x} trace_flags={flags:02x}"),
        }
    }
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
    use std::sync::mpsc;

    use tracing::instrument::WithSubscriber as _;
    use tracing_subscriber::util::SubscriberInitExt as _;

    use super::*;
    use crate::testing::logs::{LogLines, alone};

    const IDS: SpanIds = SpanIds { trace_id: 0xabc, span_id: 7, sampled: true };

    #[tokio::test]
    async fn lines_in_the_course_of_a_call_have_its_ids() {
        let logged = LogLines::default();
        let call = async {
            IDS.scope(async { tracing::info!(n = 1, "inside") }).await;
            tracing::info!("outside");
        };
        call.with_subscriber(logged.json()).await;
        let lines = logged.parsed();
        assert_eq!((&lines[0]["message"], &lines[0]["n"]), (&"inside".into(), &1.into()));
        assert_eq!(lines[0]["trace_id"], "00000000000000000000000000000abc");
        assert_eq!((&lines[0]["span_id"], &lines[0]["trace_flags"]), (&"0000000000000007".into(), &"01".into()));
        assert!(lines[1]["message"] == "outside" && lines[1].get("trace_id").is_none(), "{lines:?}");
    }

    #[test]
    fn text_has_them_at_its_end() {
        let logged = LogLines::default();
        let writer = logged.clone();
        let format = Format::default().with_target(false).with_ansi(false).without_time();
        let subscriber = tracing_subscriber::fmt().event_format(Traced::text(format));
        let _log = alone(subscriber.with_writer(move || writer.clone()).finish()).set_default();
        tracing::info!("outside");
        let _working = IDS.enter();
        tracing::warn!(n = 1, "inside {{}}");
        let ids = "trace_id=00000000000000000000000000000abc span_id=0000000000000007 trace_flags=01";
        assert_eq!(logged.text(), format!(" INFO outside\n WARN inside {{}} n=1 {ids}\n"));
    }

    /// Takes nothing until the sender is dropped.
    struct Stuck(mpsc::Receiver<()>);

    impl io::Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn lost_lines_are_told_once() {
        let (end, stuck) = mpsc::channel();
        let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(1);
        let (mut writer, _worker) = builder.finish(Stuck(stuck));
        let dropped = writer.error_counter();
        // One is being written, one waits.
        while dropped.dropped_lines() < 3 {
            io::Write::write(&mut writer, b"x").unwrap();
        }
        let logged = LogLines::default();
        let told = tell_losses(dropped.clone());
        let looks = tokio::time::timeout(LOSSES_EVERY * 5, told).with_subscriber(logged.json());
        assert!(looks.await.is_err());
        let lines = logged.parsed();
        assert_eq!((lines.len(), &lines[0]["lines"]), (1, &3.into()), "{lines:?}");
        drop(end);
    }

    #[test]
    fn opentelemetry_is_quiet_unless_it_is_named() {
        let read = |levels| filter(levels).unwrap().to_string();
        assert!(read(None).contains("opentelemetry=off") && read(Some("")).contains("info"));
        assert!(read(Some("debug")).contains("opentelemetry=off"));
        assert!(!read(Some("info,opentelemetry_sdk=debug")).contains("off"));
        assert!(filter(Some("order_gateway=loud")).is_err());
    }
}
