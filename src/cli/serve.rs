//! `order-gateway serve`: the gateway.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing_appender::non_blocking::ErrorCounter;

use super::Failure;
use super::config::{otlp_settings, settings_files, variable};
use crate::app::{BoundListeners, Externals, Gateway, StartError};
use crate::config::{Config, SettingsFiles};
use crate::ports::clock::Clock;
use crate::ports::random::Random;
use crate::shutdown::DrainOutcome;
use crate::telemetry::otlp::{self, OtlpSetup};
use crate::upstream::http_client::HttpClient;

const EXAMPLE: &str = "\
Example:
  order-gateway config check --config settings.toml && order-gateway serve --config settings.toml

SIGTERM, SIGINT and SIGQUIT stop it: not ready at once, calls in flight finish within shutdown.grace. SIGHUP reads
accounts, clients, secrets and certificates again, as a change of their files does.
Exit codes: 0 stopped, 1 failed (a port taken too), 2 the settings are not good.";

/// Run the gateway
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct ServeArgs {
    /// TOML file with the settings; may be repeated, for example for secrets: keys of a later file win, accounts and
    /// clients of all files are joined
    #[arg(long, value_name = "FILE", required = true)]
    config: Vec<PathBuf>,
}

pub(super) async fn run(args: ServeArgs, log: ErrorCounter, stop: CancellationToken) -> Result<(), Failure> {
    let files = settings_files(&args.config)?;
    let config = files.load(&files.read()).map_err(Failure::Usage)?;
    let reload = Arc::new(Notify::new());
    on_hangup(reload.clone()).map_err(|error| Failure::Failed(format!("signals cannot be received: {error}")))?;
    let gateway = start(&config, log, Some(files), reload).await?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        grpc = %config.grpc.listen,
        http = %config.http.listen,
        admin = config.admin.listen.map(tracing::field::display),
        upstream = %config.walmart.base_url,
        accounts = config.accounts.len(),
        "serving"
    );
    stop.cancelled().await;
    tracing::info!(grace_s = config.shutdown.grace.as_secs_f64(), "draining");
    finish(gateway).await;
    Ok(())
}

/// Binds the ports and starts the gateway.
///
/// `settings` are the files from which `config` was loaded; `reload` is notified to read them again.
pub(super) async fn start(
    config: &Config,
    log: ErrorCounter,
    settings: Option<SettingsFiles>,
    reload: Arc<Notify>,
) -> Result<Gateway, Failure> {
    let listeners = BoundListeners::bind(config).await.map_err(Failure::Failed)?;
    let OtlpSetup { tracer, export, warnings } = otlp::init(&otlp_settings(config), &variable);
    for warning in config.warnings().into_iter().chain(warnings) {
        tracing::warn!("{warning}");
    }
    let http = HttpClient::new().map_err(|error| Failure::Failed(format!("HTTPS cannot be set up: {error}")))?;
    let externals = Externals {
        http,
        clock: Clock::system(),
        random: Random::from_system(),
        tracer,
        otlp: Some(export),
        log: Some(log),
        settings,
        reload,
    };
    Gateway::start(config, listeners, externals).await.map_err(|cannot| match cannot {
        StartError::Setting(line) => Failure::Usage(vec![line]),
        StartError::Store(line) => Failure::Failed(line),
    })
}

/// Notifies `reload` at every SIGHUP, which ends the process no longer.
fn on_hangup(reload: Arc<Notify>) -> io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            reload.notify_one();
        }
    });
    Ok(())
}

/// Drains the gateway, and logs the result.
pub(super) async fn finish(gateway: Gateway) {
    match gateway.stop().await {
        DrainOutcome::Clean => tracing::info!("drained, bye"),
        DrainOutcome::Aborted(left) => tracing::warn!(left, "the grace is over; what was left is cut off"),
    }
}
