//! `order-gateway dev`: emulator and gateway in one process, for the first five minutes.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing_appender::non_blocking::ErrorCounter;

use super::{Failure, serve, tour};
use crate::app::bind;
use crate::config::{Config, listen_address};
use crate::emulator::posting::{DeliveryProof, WebhookTarget};
use crate::emulator::{self, Emulator};

/// Secret of the webhooks that the emulator posts.
const SECRET: &str = "dev-secret";

const EXAMPLE: &str = "\
Example:
  order-gateway dev
  order-gateway dev --tour --exit

Exit codes: 0 stopped, or the tour went well; 1 failed (a port taken too), or the tour did not go well.";

/// Run everything locally: a stateful Walmart emulator and the gateway in front of it
///
/// No network, no settings, no account. The seller account is called `demo`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct DevArgs {
    /// Listening address for gRPC; port 0 takes a free port
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:50051", value_parser = listen_address)]
    grpc_listen: SocketAddr,
    /// Listening address for webhooks, probes, metrics and the status page; port 0 takes a free port
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080", value_parser = listen_address)]
    http_listen: SocketAddr,
    /// Listening address of the Walmart emulator; port 0 takes a free port
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8090", value_parser = listen_address)]
    emulator_listen: SocketAddr,
    /// Interval at which a customer of the emulator asks to cancel an order; 0s: never, and orders are not searched for
    /// missed intents
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = super::span)]
    intent_every: Duration,
    /// Folder for the ledger and the effective settings; by default a temporary folder, removed at exit
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Play the main job first, and print every call and answer in grpcurl's form
    #[arg(long)]
    tour: bool,
    /// Exit after the tour: with 0 if it went well, else with 1
    #[arg(long, requires = "tour")]
    exit: bool,
}

pub(super) async fn run(args: DevArgs, log: ErrorCounter, stop: CancellationToken) -> Result<(), Failure> {
    let folder = DataDir::open(args.data_dir.clone())?;
    let emulator = bind("--emulator-listen", args.emulator_listen).await.map_err(Failure::Failed)?;
    let addresses = DevAddresses {
        grpc: free(args.grpc_listen, "--grpc-listen").await?,
        http: free(args.http_listen, "--http-listen").await?,
        emulator: local(&emulator)?,
    };
    let settings = settings(&addresses, folder.path(), !args.intent_every.is_zero());
    let config = Config::load(&settings, [])
        .map_err(|faults| Failure::Usage(faults.iter().map(ToString::to_string).collect()))?;
    fs::write(folder.path().join("settings.toml"), &settings)
        .map_err(|error| Failure::Failed(format!("{}: cannot be written: {error}", folder.path().display())))?;

    let emulating = CancellationToken::new();
    let proof = DeliveryProof::Hmac { header: HeaderName::from_static("x-walmart-auth"), secret: SECRET.to_owned() };
    let url = format!("http://{}/webhooks/walmart/demo", addresses.http);
    let webhook = WebhookTarget::new(&url, proof).map_err(Failure::Failed)?;
    let world =
        Emulator::new(emulator::EmulatorOptions { webhook: Some(webhook), ..emulator::EmulatorOptions::default() });
    let emulator = tokio::spawn(emulator::serve(world.clone(), emulator, emulating.clone()));
    let gateway = serve::start(&config, log, None, Arc::default()).await?;
    let (every, posting) = (args.intent_every, stop.child_token());
    let customers = tokio::spawn({
        let (world, posting) = (world.clone(), posting.clone());
        async move { super::post_intents(&world, every, &posting).await }
    });
    eprintln!("{}", banner(&addresses, &folder));

    let toured =
        if args.tour { tour::play(addresses.grpc, addresses.http, addresses.emulator, world).await } else { Ok(()) };
    if !args.exit && toured.is_ok() {
        stop.cancelled().await;
    }
    posting.cancel();
    serve::finish(gateway).await;
    // Last: calls in progress still need the emulator.
    emulating.cancel();
    if customers.await.is_err() {
        return toured.and(Err(Failure::Failed("the emulator's customers panicked".into())));
    }
    match emulator.await {
        Ok(Ok(())) => toured,
        Ok(Err(error)) => toured.and(Err(Failure::Failed(format!("the emulator failed: {error}")))),
        Err(_) => toured.and(Err(Failure::Failed("the emulator panicked".into()))),
    }
}

struct DevAddresses {
    grpc: SocketAddr,
    http: SocketAddr,
    emulator: SocketAddr,
}

/// Returns the address, or with port 0 a currently free one: settings and banner name the real port.
async fn free(wanted: SocketAddr, flag: &str) -> Result<SocketAddr, Failure> {
    local(&bind(flag, wanted).await.map_err(Failure::Failed)?)
}

fn local(listener: &TcpListener) -> Result<SocketAddr, Failure> {
    listener.local_addr().map_err(|error| Failure::Failed(error.to_string()))
}

fn settings(addresses: &DevAddresses, folder: &Path, backfill: bool) -> String {
    let DevAddresses { grpc, http, emulator } = addresses;
    let store = toml::Value::String(format!("sqlite://{}", folder.join("order-gateway.db").display()));
    format!(
        r#"# What `order-gateway dev` runs with. The emulator accepts any client id and secret.
[grpc]
listen = "{grpc}"

[http]
listen = "{http}"

[store]
url = {store}

[feed.backfill]
enabled = {backfill}
interval = "10s"

[walmart]
base_url = "http://{emulator}"

[[accounts]]
id = "demo"
partner_id = "10000000001"
client_id = "demo"
client_secret = "demo-secret"

[accounts.webhook]
auth = "hmac"
secret = "{SECRET}"
"#
    )
}

fn banner(addresses: &DevAddresses, folder: &DataDir) -> String {
    let DevAddresses { grpc, http, emulator } = addresses;
    let data = match folder {
        DataDir::Temporary(_) => "a temporary folder, removed at exit (--data-dir DIR keeps it)".to_owned(),
        DataDir::Kept(path) => path.display().to_string(),
    };
    let (service, feed) = ("ordergateway.v1.FulfillmentService", "ordergateway.v1.CancelIntentService");
    format!(
        "order-gateway {version}  dev mode: everything is local, nothing reaches Walmart
  gRPC       {grpc}    reflection on, plaintext
  HTTP       {http}     a page for people at http://{http}/, /livez /readyz /metrics, webhooks at /webhooks/walmart/demo
  Emulator   {emulator}     stateful Walmart sandbox, account \"demo\"
  Data       {data}
Ready. Paste into a second terminal:
  grpcurl -plaintext {grpc} list
  grpcurl -plaintext -d @ {grpc} {service}/FetchDeliveryPromise < examples/promise.json
  grpcurl -plaintext -d @ {grpc} {service}/CreateOrder < examples/create.json
  grpcurl -plaintext -d @ {grpc} {service}/CancelOrder < examples/cancel.json
  grpcurl -plaintext -d '{{\"start\":{{\"earliest\":true}},\"limit\":5}}' {grpc} {feed}/WatchCancelIntents
  {program} trigger cancel-intent --url http://{http}",
        program = program(),
        version = env!("CARGO_PKG_VERSION"),
    )
}

/// The command line name of this program, for the commands in the banner.
fn program() -> String {
    std::env::args().next().unwrap_or_else(|| "order-gateway".to_owned())
}

enum DataDir {
    Temporary(tempfile::TempDir),
    Kept(PathBuf),
}

impl DataDir {
    fn open(wanted: Option<PathBuf>) -> Result<Self, Failure> {
        match wanted {
            None => tempfile::Builder::new()
                .prefix("order-gateway-")
                .tempdir()
                .map(Self::Temporary)
                .map_err(|error| Failure::Failed(format!("a temporary folder cannot be made: {error}"))),
            Some(path) => fs::create_dir_all(&path)
                .map_err(|error| Failure::Failed(format!("--data-dir: {}: {error}", path.display())))
                .map(|()| Self::Kept(path)),
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Temporary(folder) => folder.path(),
            Self::Kept(path) => path,
        }
    }
}
