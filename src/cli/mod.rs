//! The command line: data on stdout, messages on stderr, and the exit code.
//!
//! A command is a file with its arguments and `run`. Its entries in this file are a variant of `Command` and a line
//! of `dispatch`.

mod call;
mod completions;
mod config;
mod connect;
mod dev;
mod emulate;
mod grpcurl_form;
mod health;
mod logs;
mod serve;
mod tour;
mod trigger;

use std::fmt;
use std::future::Future;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory as _, Parser, Subcommand};
use rustix::process::Signal;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_appender::non_blocking::ErrorCounter;

use crate::emulator::Emulator;
use crate::telemetry;

/// The failure of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The command failed: exit code 1.
    Failed(String),
    /// Bad usage or bad settings: exit code 2, one fault per line.
    Usage(Vec<String>),
}

/// Version and commit, from the build script.
const VERSION: &str = env!("ORDER_GATEWAY_VERSION");

const ABOUT_ALL: &str = "\
Begin with `order-gateway dev`: it needs no settings and no account.

RUST_LOG chooses what is logged, such as RUST_LOG=info,order_gateway::upstream=trace. NO_COLOR=1 turns colors off.
Exit codes: 0 done, 1 failed, 2 bad usage or bad settings.";

/// One typed gRPC door to Walmart fulfillment.
#[derive(Debug, Parser)]
#[command(name = "order-gateway", version = VERSION, after_help = ABOUT_ALL)]
struct Cli {
    /// Format of log lines on stderr: by default human on a terminal, else one JSON object per line
    #[arg(long, global = true, value_name = "FORMAT", display_order = 900)]
    log_format: Option<logs::FormatArg>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Dev(dev::DevArgs),
    Serve(serve::ServeArgs),
    Emulate(emulate::EmulateArgs),
    Config(config::ConfigArgs),
    Health(health::HealthArgs),
    Trigger(trigger::TriggerArgs),
    Call(call::CallArgs),
    Completions(completions::CompletionsArgs),
}

fn dispatch(command: Command, log: ErrorCounter) -> Result<(), Failure> {
    match command {
        Command::Dev(args) => block_on(|stop| dev::run(args, log, stop)),
        Command::Serve(args) => block_on(|stop| serve::run(args, log, stop)),
        Command::Emulate(args) => block_on(|stop| emulate::run(args, stop)),
        Command::Config(args) => config::run(args),
        Command::Health(args) => block_on(|stop| health::run(args, stop)),
        Command::Trigger(args) => block_on(|stop| trigger::run(args, stop)),
        Command::Call(args) => block_on(|stop| call::run(args, stop)),
        Command::Completions(args) => completions::run(&args, &mut Cli::command()),
    }
}

/// Parses the arguments of the process and runs the command.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // A failed write means a closed output, and leaves no place to report it.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let levels = std::env::var("RUST_LOG").ok();
    // By no-color.org any value counts but an empty one.
    let colors = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let log = match telemetry::log::init(logs::chosen(cli.log_format), levels.as_deref(), colors) {
        Ok(log) => log,
        Err(error) => return complain(&[error.to_string()], 2),
    };
    match dispatch(cli.command, log.dropped.clone()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Failed(line)) => complain(&[line], 1),
        Err(Failure::Usage(lines)) => complain(&lines, 2),
    }
}

fn complain(lines: &[String], code: u8) -> ExitCode {
    let mut stderr = io::stderr().lock();
    for line in lines {
        let _ = writeln!(stderr, "{line}");
    }
    ExitCode::from(code)
}

/// Writes data to stdout. A closed pipe (`| head`) is not a failure.
fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Failed(format!("stdout cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}

/// Parses a duration in the form of the settings: a whole number with a unit.
fn span(text: &str) -> Result<Duration, String> {
    let units = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];
    let read = units.iter().find_map(|(unit, millis)| {
        let number = text.strip_suffix(unit)?.parse::<u32>().ok()?;
        Some(Duration::from_millis(u64::from(number) * millis))
    });
    read.ok_or_else(|| "must be a whole number with a unit (ms, s, m, h), such as \"10s\"".to_owned())
}

/// The address of a gateway's gRPC listener, as `grpc.listen` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum GatewayAddress {
    /// Host and port.
    Tcp(String),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl GatewayAddress {
    fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() {
                Err("must name a file after unix:".into())
            } else {
                Ok(Self::Unix(path.into()))
            };
        }
        let name = text.rsplit_once(':').is_some_and(|(host, port)| {
            let plain = host.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
            !host.is_empty() && plain && port.parse::<u16>().is_ok()
        });
        if name || text.parse::<SocketAddr>().is_ok() {
            Ok(Self::Tcp(text.to_owned()))
        } else {
            Err("must be HOST:PORT, such as 127.0.0.1:50051, or unix:PATH".into())
        }
    }
}

impl fmt::Display for GatewayAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Posts an intent from the emulator at every interval, until `stop`; never for a zero interval.
async fn post_intents(emulator: &Emulator, every: Duration, stop: &CancellationToken) {
    if !every.is_zero() {
        emulator.post_intents(every, stop.clone()).await;
    }
}

/// Signals that end a process by default, and have no meaning here. SIGXFSZ: a write beyond the limit of file sizes
/// fails, as one to a full disk does.
const HARMLESS: [Signal; 3] = [Signal::USR1, Signal::USR2, Signal::XFSZ];

/// Runs an asynchronous command. SIGTERM, SIGINT or SIGQUIT cancels the command's token.
fn block_on<F>(command: impl FnOnce(CancellationToken) -> F) -> Result<(), Failure>
where
    F: Future<Output = Result<(), Failure>>,
{
    let runtime = runtime().map_err(|error| Failure::Failed(format!("the runtime cannot start: {error}")))?;
    let done = runtime.block_on(async {
        let stop = CancellationToken::new();
        on_signal(stop.clone()).map_err(|error| Failure::Failed(format!("signals cannot be received: {error}")))?;
        command(stop).await
    });
    // A hanging DNS look-up or disk must not keep the process alive.
    runtime.shutdown_timeout(Duration::from_secs(1));
    done
}

/// Builds a single-threaded runtime on a single core, where it serves 1.4 times as many calls as the multi-threaded
/// runtime.
fn runtime() -> io::Result<Runtime> {
    let alone = std::thread::available_parallelism().is_ok_and(|cores| cores.get() == 1);
    let mut builder = if alone { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    builder.enable_all().build()
}

/// The first signal asks the command to stop, the second ends the process at once.
fn on_signal(stop: CancellationToken) -> io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut quit = signal(SignalKind::quit())?;
    for harmless in HARMLESS {
        // Installing a handler takes away the default, which is the end of the process.
        drop(signal(SignalKind::from_raw(harmless.as_raw()))?);
    }
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                _ = quit.recv() => {}
            }
            if stop.is_cancelled() {
                std::process::exit(1);
            }
            stop.cancel();
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example() {
        fn visit(command: &clap::Command) {
            let leaf = !command.has_subcommands();
            let example = command.get_after_help().is_some_and(|help| help.to_string().contains("order-gateway "));
            assert!(!leaf || command.get_name() == "help" || example, "{}", command.get_name());
            command.get_subcommands().for_each(visit);
        }
        visit(&Cli::command());
    }

    #[test]
    fn spans_are_numbers_with_a_unit() {
        for (text, millis) in [("0s", 0), ("250ms", 250), ("10s", 10_000), ("2m", 120_000), ("1h", 3_600_000)] {
            assert_eq!(span(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "10", "s", "1.5s", "-1s", "10 s", "1d", "99999999999s"] {
            assert!(span(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_address_is_a_host_and_a_port_or_a_socket_file() {
        for good in ["127.0.0.1:1", "[::1]:50051", "gateway.shop.svc:50051", "unix:/run/gateway.sock", "unix:here"] {
            assert_eq!(GatewayAddress::parse(good).unwrap().to_string(), good);
        }
        assert_eq!(GatewayAddress::parse("unix:///run/gw"), Ok(GatewayAddress::Unix("/run/gw".into())));
        for bad in ["", "gateway", ":1", "gateway:", "gateway:99999", "http://gateway:1", "a b:1", "::1:x", "unix:"] {
            assert!(GatewayAddress::parse(bad).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_signal_asks_to_stop() {
        let stop = CancellationToken::new();
        on_signal(stop.clone()).unwrap();
        let me = std::process::id().to_string();
        assert!(std::process::Command::new("kill").args(["-TERM", &me]).status().unwrap().success());
        tokio::time::timeout(Duration::from_secs(10), stop.cancelled()).await.unwrap();
    }
}
