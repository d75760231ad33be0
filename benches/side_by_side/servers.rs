//! The processes of a comparison: how each is started, found ready and ended.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use tempfile::TempDir;

use crate::Result;

/// How long a server may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);
/// Where a webhook's signature stands, and what it is made with.
pub(crate) const HMAC_HEADER: &str = "X-Walmart-Auth";
pub(crate) const HMAC_SECRET: &str = "bench-secret";

/// A server that is measured.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Server {
    /// One REST call for each call, no layers.
    Bare,
    /// The gateway as shipped, with its defaults, but for limits too high to be reached and no promise cache.
    Gateway,
    /// The first with one trace in a hundred exported.
    Traced,
    /// The first with every trace exported.
    TracedAll,
    /// The first with its metrics exported every second.
    Pushed,
}

impl Server {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Server::Bare => "bare",
            Server::Gateway => "gateway",
            Server::Traced => "gateway, 1 % of traces",
            Server::TracedAll => "gateway, all traces",
            Server::Pushed => "gateway, metrics each second",
        }
    }

    /// Whether it sends something to a collector.
    pub(crate) fn exports(self) -> bool {
        matches!(self, Server::Traced | Server::TracedAll | Server::Pushed)
    }

    /// What is exported, by variables.
    fn environment(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Server::Traced | Server::TracedAll => &[("OTEL_METRICS_EXPORTER", "none")],
            Server::Pushed => &[("OTEL_TRACES_EXPORTER", "none"), ("OTEL_METRIC_EXPORT_INTERVAL", "1000")],
            Server::Bare | Server::Gateway => &[],
        }
    }

    /// Starts it on one core, in front of the upstream, and before a collector if it exports. Its ledger is a new one.
    pub(crate) fn start(
        self,
        core: usize,
        gateway: &Path,
        upstream: SocketAddr,
        collector: Option<SocketAddr>,
    ) -> Result<Process> {
        self.start_with(core, gateway, upstream, collector, Path::new("ledger.db"))
    }

    /// The same with its ledger in this file.
    pub(crate) fn start_with(
        self,
        core: usize,
        gateway: &Path,
        upstream: SocketAddr,
        collector: Option<SocketAddr>,
        ledger: &Path,
    ) -> Result<Process> {
        let (listen, http) = (free_address()?, free_address()?);
        let folder = tempfile::tempdir()?;
        let mut words = vec![];
        let program = match self {
            Server::Bare => {
                words.extend(["bare".into(), "--listen".into(), listen.to_string()]);
                words.extend(["--upstream".into(), format!("http://{upstream}")]);
                std::env::current_exe()?
            }
            _ => {
                let file = folder.path().join("gateway.toml");
                let store = format!("sqlite://{}", ledger.display());
                let mut text = settings(listen, http, &store, upstream);
                if let Some(collector) = collector {
                    let ratio = if self == Server::TracedAll { "1.0" } else { "0.01" };
                    let endpoint = format!("otlp_endpoint = \"http://{collector}\"");
                    text += &format!("[telemetry]\n{endpoint}\ntrace_sample_ratio = {ratio}\n");
                }
                fs::write(&file, text)?;
                words.extend(["serve".into(), "--config".into(), file.display().to_string()]);
                gateway.canonicalize().map_err(|e| format!("{}: {e}", gateway.display()))?
            }
        };
        Process::start(self.name(), &[core], &program, &words, self.environment(), (listen, http), folder)
    }
}

/// Starts the gateway on these cores with a feed. `store` is its `store.url`; orders, if there are any, go to `upstream`.
pub(crate) fn feed(cores: &[usize], gateway: &Path, store: &str, upstream: Option<SocketAddr>) -> Result<Process> {
    let (listen, http) = (free_address()?, free_address()?);
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("gateway.toml");
    let webhook =
        format!("[accounts.webhook]\nauth = \"hmac\"\nheader = \"{HMAC_HEADER}\"\nsecret = \"{HMAC_SECRET}\"\n");
    fs::write(&file, settings(listen, http, store, upstream.unwrap_or(http)) + &webhook)?;
    let words = ["serve".into(), "--config".into(), file.display().to_string()];
    let program = gateway.canonicalize().map_err(|e| format!("{}: {e}", gateway.display()))?;
    Process::start("gateway", cores, &program, &words, &[], (listen, http), folder)
}

/// Starts the upstream.
pub(crate) fn stub(core: usize, delay_ms: u64) -> Result<Process> {
    let listen = free_address()?;
    let words = ["stub".into(), "--listen".into(), listen.to_string(), "--delay-ms".into(), delay_ms.to_string()];
    let folder = tempfile::tempdir()?;
    Process::start("stub", &[core], &std::env::current_exe()?, &words, &[], (listen, listen), folder)
}

/// Starts a collector.
pub(crate) fn collector(core: usize) -> Result<Process> {
    let listen = free_address()?;
    let words = ["collector".into(), "--listen".into(), listen.to_string()];
    let folder = tempfile::tempdir()?;
    Process::start("collector", &[core], &std::env::current_exe()?, &words, &[], (listen, listen), folder)
}

/// A program on one core.
pub(crate) fn pinned(core: usize, program: &Path) -> Command {
    on(&[core], program)
}

/// A program on some cores.
pub(crate) fn on(cores: &[usize], program: &Path) -> Command {
    let list: Vec<String> = cores.iter().map(usize::to_string).collect();
    let mut command = Command::new("taskset");
    command.arg("--cpu-list").arg(list.join(",")).arg(program);
    command
}

/// The gateway's settings. What is not named here has its default, tracing too.
fn settings(grpc: SocketAddr, http: SocketAddr, store: &str, upstream: SocketAddr) -> String {
    format!(
        r#"
[grpc]
listen = "{grpc}"
[http]
listen = "{http}"
[store]
url = "{store}"
[walmart]
base_url = "http://{upstream}"
[walmart.limits]
promise = 60000000
create = 60000000
[walmart.promise_cache]
ttl = "0s"
[[accounts]]
id = "bench"
partner_id = "10000000001"
client_id = "bench"
client_secret = "bench"
mart_id = "202"
bu_id = "0"
"#
    )
}

/// A port that was free just now.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// A process that ends when this is dropped. Its log and files are in a folder that goes with it.
pub(crate) struct Process {
    child: Child,
    pub address: SocketAddr,
    pub http: SocketAddr,
    folder: TempDir,
}

impl Process {
    fn start(
        name: &str,
        cores: &[usize],
        program: &Path,
        words: &[String],
        environment: &[(&str, &str)],
        (address, http): (SocketAddr, SocketAddr),
        folder: TempDir,
    ) -> Result<Self> {
        let log = File::create(folder.path().join("log"))?;
        let child = on(cores, program)
            .args(words)
            .envs(environment.iter().copied())
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|e| format!("taskset (package util-linux) cannot be started: {e}"))?;
        let mut process = Self { child, address, http, folder };
        process.listening().map_err(|e| format!("{name} {e}\n{}", process.log()))?;
        Ok(process)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// One of its metrics, 0 when it has none of this name.
    pub(crate) fn metric(&self, name: &str) -> Result<f64> {
        metric(self.http, name)
    }

    /// What it wrote to stderr.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn listening(&mut self) -> std::result::Result<(), String> {
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect_timeout(&self.address, Duration::from_secs(1)).is_err() {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("ended before it listened: {status}"));
            }
            if Instant::now() > end {
                return Err(format!("does not listen on {} after {PATIENCE:?}", self.address));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

/// One of the metrics of a gateway, 0 when it has none of this name.
pub(crate) fn metric(http: SocketAddr, name: &str) -> Result<f64> {
    let text = get(http, "/metrics")?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(value.map_or(Ok(0.0), str::parse)?)
}

/// An answer, its head included.
pub(crate) fn get(http: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(http)?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone afterwards.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
