//! The gateway and Walmart's side as real processes, each with its log in the folder of the run.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;
use tonic::metadata::MetadataValue;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::process::{Process, free_address};

/// The cores of the gateway and of everything else.
const GATEWAY_CORE: usize = 0;
pub(crate) const OTHER_CORE: usize = 1;
/// How long a start or an end may take, however busy the machine is.
const LIMIT: Duration = Duration::from_secs(30);
/// `shutdown.grace`.
pub(crate) const GRACE: Duration = Duration::from_secs(5);
/// Who calls.
pub(crate) const ACCOUNT: &str = "acme";
/// The token of the client that honest callers are.
const HONEST_TOKEN: &str = "token-of-honest-0123456789abcdef";
/// The token of the client that sends the attacks' calls.
pub(crate) const ROGUE_TOKEN: &str = "token-of-rogue-0123456789abcdef";
/// With what webhooks are signed.
pub(crate) const SECRET: &str = "attack-secret";

pub(crate) type Result<T> = std::result::Result<T, String>;

/// Anything that went wrong, in words.
pub(crate) fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Walmart's side.
pub(crate) struct Emulator {
    address: SocketAddr,
    client: reqwest::Client,
    _process: Process,
}

impl Emulator {
    /// Starts it: it takes every order, one sent twice too, so that doubles show.
    pub(crate) async fn start(program: &Path, folder: &Path, client: &reqwest::Client) -> Result<Self> {
        let address = free_address().map_err(text)?;
        let words = ["emulate", "--listen", &address.to_string(), "--duplicates", "accept", "--limit-scale", "100000"];
        let words = words.map(str::to_owned);
        let log = folder.join("emulator.log");
        let mut process = Process::start(OTHER_CORE, false, program, &words, &log).map_err(text)?;
        let url = format!("http://{address}/_emulator/v1/stock");
        process.answers(client, &url, LIMIT).await.map_err(text)?;
        Ok(Self { address, client: client.clone(), _process: process })
    }

    /// Replaces all faults.
    pub(crate) async fn set_faults(&self, toml: &str) -> Result<()> {
        let request = self.client.put(self.url("faults")).body(toml.to_owned());
        request.send().await.and_then(reqwest::Response::error_for_status).map(|_| ()).map_err(text)
    }

    /// What a path of its control API tells.
    pub(crate) async fn get(&self, path: &str) -> Result<Value> {
        let answer = self.client.get(self.url(path)).send().await.map_err(text)?;
        serde_json::from_slice(&answer.bytes().await.map_err(text)?).map_err(text)
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/_emulator/v1/{path}", self.address)
    }
}

/// A gateway, running or not. Its addresses and its store stay the same.
pub(crate) struct Gateway {
    program: PathBuf,
    settings: PathBuf,
    pub log: PathBuf,
    pub grpc: SocketAddr,
    pub http: SocketAddr,
    client: reqwest::Client,
    process: Option<Process>,
}

impl Gateway {
    /// Writes its settings. Nothing is started. `name` tells its files from those of others.
    pub(crate) fn new(
        program: &Path,
        folder: &Path,
        name: &str,
        upstream: &Emulator,
        client: &reqwest::Client,
    ) -> Result<Self> {
        let (grpc, http) = (free_address().map_err(text)?, free_address().map_err(text)?);
        let store = folder.join(format!("{name}.db"));
        let settings = folder.join(format!("{name}.toml"));
        let lines = format!(
            r#"[grpc]
listen = "{grpc}"
[http]
listen = "{http}"
[store]
url = "sqlite://{}"
[shutdown]
grace = "{}s"
[walmart]
base_url = "http://{}"
[walmart.limits]
promise = 6000000
create = 6000000
cancel = 6000000
status = 6000000
[walmart.promise_cache]
ttl = "1h"
[feed.backfill]
enabled = false
[[accounts]]
id = "{ACCOUNT}"
partner_id = "10000000001"
client_id = "{ACCOUNT}"
client_secret = "s"
[accounts.webhook]
auth = "hmac"
header = "X-Walmart-Auth"
secret = "{SECRET}"
[[clients]]
name = "honest"
token = "{HONEST_TOKEN}"
accounts = ["{ACCOUNT}"]
[[clients]]
name = "rogue"
token = "{ROGUE_TOKEN}"
accounts = ["{ACCOUNT}"]
"#,
            store.display(),
            GRACE.as_secs(),
            upstream.address,
        );
        fs::write(&settings, lines).map_err(text)?;
        let log = folder.join(format!("{name}.log"));
        Ok(Self { program: program.to_owned(), settings, log, grpc, http, client: client.clone(), process: None })
    }

    /// Starts it and waits until it is ready. Tells how long that took.
    pub(crate) async fn start(&mut self) -> Result<Duration> {
        let began = Instant::now();
        let words = ["serve".to_owned(), "--config".to_owned(), self.settings.display().to_string()];
        let mut process = Process::start(GATEWAY_CORE, false, &self.program, &words, &self.log).map_err(text)?;
        process.answers(&self.client, &format!("http://{}/readyz", self.http), LIMIT).await.map_err(text)?;
        self.process = Some(process);
        Ok(began.elapsed())
    }

    /// SIGTERM, and the wait for its end. Tells how long that took; an exit code but 0 is an error.
    pub(crate) async fn stop(&mut self) -> Result<Duration> {
        let began = Instant::now();
        let mut process = self.process.take().ok_or("the gateway does not run")?;
        process.terminate().map_err(text)?;
        let status = process.end(LIMIT).await.map_err(text)?;
        if status.success() { Ok(began.elapsed()) } else { Err(format!("the gateway ended with {status}")) }
    }

    /// The running process.
    pub(crate) fn process(&mut self) -> Result<&mut Process> {
        let process = self.process.as_mut().ok_or("the gateway does not run")?;
        match process.ended().map_err(text)? {
            None => Ok(process),
            Some(status) => Err(format!("the gateway ended by itself: {status}")),
        }
    }

    /// The metrics, as text.
    pub(crate) async fn metrics(&self) -> Result<String> {
        let told = async { self.client.get(format!("http://{}/metrics", self.http)).send().await?.text().await };
        told.await.map_err(|error| format!("no metrics: {error:?}"))
    }

    /// Lines of its log so far.
    pub(crate) fn log_lines(&self) -> Vec<String> {
        fs::read_to_string(&self.log).unwrap_or_default().lines().map(str::to_owned).collect()
    }
}

/// A connection of the honest client.
pub(crate) type HonestChannel = InterceptedService<Channel, HonestToken>;

/// Adds the honest client's token to each call.
#[derive(Clone, Copy)]
pub(crate) struct HonestToken;

impl Interceptor for HonestToken {
    fn call(&mut self, mut request: Request<()>) -> std::result::Result<Request<()>, Status> {
        let value: MetadataValue<_> =
            format!("Bearer {HONEST_TOKEN}").parse().map_err(|_| Status::internal("token"))?;
        request.metadata_mut().insert("authorization", value);
        Ok(request)
    }
}

/// A connection that is opened when it is used, and again when it is lost.
pub(crate) fn channel(address: SocketAddr) -> Result<HonestChannel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(text)?;
    let channel = endpoint.connect_timeout(Duration::from_secs(5)).connect_lazy();
    Ok(InterceptedService::new(channel, HonestToken))
}

/// One of the metrics in a text, the sum over its labels.
pub(crate) fn metric(text: &str, name: &str) -> f64 {
    let of = |line: &str| {
        let rest = line.strip_prefix(name)?;
        let value = if rest.starts_with('{') { rest.rsplit_once('}')?.1 } else { rest };
        value.strip_prefix(' ')?.split(' ').next()?.parse::<f64>().ok()
    };
    text.lines().filter_map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::metric;

    #[test]
    fn metrics_are_read_with_and_without_labels() {
        let text = "# HELP a b\na_total{reason=\"x\"} 2\na_total{reason=\"y y\"} 3\na 7\na_more 9\n";
        assert_eq!((metric(text, "a_total"), metric(text, "a"), metric(text, "none")), (5.0, 7.0, 0.0));
    }
}
