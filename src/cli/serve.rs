//! `order-gateway serve`: the gateway.

use std::path::PathBuf;

use tokio_util::sync::CancellationToken;
use tracing_appender::non_blocking::ErrorCounter;

use super::Failure;
use super::config::load;
use crate::app::{BoundListeners, Externals, Gateway, StartError};
use crate::config::Config;
use crate::ports::clock::Clock;
use crate::ports::random::Random;
use crate::shutdown::DrainOutcome;
use crate::telemetry::otlp::{self, OtlpSettings};
use crate::upstream::http_client::HttpClient;

const EXAMPLE: &str = "\
Example:
  order-gateway config check --config settings.toml && order-gateway serve --config settings.toml

SIGTERM and SIGINT stop it: not ready at once, calls in flight finish within shutdown.grace.
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
    let config = load(&args.config)?;
    let gateway = start(&config, log).await?;
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
pub(super) async fn start(config: &Config, log: ErrorCounter) -> Result<Gateway, Failure> {
    let listeners = BoundListeners::bind(config).await.map_err(Failure::Failed)?;
    let settings = OtlpSettings {
        endpoint: config.telemetry.otlp_endpoint.as_ref().map(ToString::to_string).unwrap_or_default(),
        sample_ratio: config.telemetry.trace_sample_ratio,
    };
    let variable = |name: &str| std::env::var(name).ok();
    let (tracer, otlp) = otlp::init(&settings, &variable).map_err(|error| Failure::Usage(vec![error.to_string()]))?;
    let http = HttpClient::new().map_err(|error| Failure::Failed(format!("HTTPS cannot be set up: {error}")))?;
    let externals = Externals {
        http,
        clock: Clock::system(),
        random: Random::from_system(),
        tracer,
        otlp: Some(otlp),
        log: Some(log),
    };
    Gateway::start(config, listeners, externals).await.map_err(|cannot| match cannot {
        StartError::Setting(line) => Failure::Usage(vec![line]),
        StartError::Store(line) => Failure::Failed(line),
    })
}

/// Drains the gateway, and logs the result.
pub(super) async fn finish(gateway: Gateway) {
    match gateway.stop().await {
        DrainOutcome::Clean => tracing::info!("drained, bye"),
        DrainOutcome::Aborted(left) => tracing::warn!(left, "the grace is over; what was left is cut off"),
    }
}
