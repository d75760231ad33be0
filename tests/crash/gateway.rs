//! The gateway under test: a process with its settings, its store and its log in one folder.

use std::io;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};

use crate::feed::webhook_settings;
use crate::power_cut::PowerCut;
use crate::process::{Process, Ready, free_address};
use crate::schedule::{ACCOUNTS, End};

/// `ledger.settle_window` of the gateway under test.
pub(crate) const SETTLE_WINDOW: Duration = Duration::from_secs(2);
/// The longest pause between two look-ups of the same operation: 2.5 settle windows.
pub(crate) const REPEAT: Duration = Duration::from_secs(5);
/// How long a start may take, whatever was left behind and however busy the machine is.
const START_LIMIT: Duration = Duration::from_secs(60);
/// A named place that was not reached after this is not waited for any longer.
const POINT_LIMIT: Duration = Duration::from_secs(4);
/// A call waits for a connection so long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The gateway, alive or not.
pub(crate) struct Gateway {
    program: PathBuf,
    folder: PathBuf,
    grpc: SocketAddr,
    http: SocketAddr,
    client: reqwest::Client,
    power_cut: Option<PowerCut>,
    process: Option<Process>,
}

/// How a life ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Ended {
    /// At the named place.
    AtPoint(&'static str),
    /// By kill -9.
    Killed,
    /// It lives.
    Lives,
}

impl Gateway {
    /// Writes the settings into `folder`; `feed` are those of the feed. Nothing is started.
    pub(crate) fn new(
        program: &Path,
        folder: &Path,
        upstream: SocketAddr,
        feed: &str,
        client: reqwest::Client,
        power_cut: Option<PowerCut>,
    ) -> io::Result<Self> {
        let (grpc, http) = (free_address()?, free_address()?);
        std::fs::write(folder.join("gateway.toml"), settings(folder, grpc, http, upstream, feed))?;
        let (program, folder) = (program.to_owned(), folder.to_owned());
        Ok(Self { program, folder, grpc, http, client, power_cut, process: None })
    }

    /// Connections to it, which come back by themselves.
    pub(crate) fn channels(&self, count: usize) -> Result<Vec<Channel>, tonic::transport::Error> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.grpc))?.connect_timeout(CONNECT_TIMEOUT);
        Ok((0..count).map(|_| endpoint.connect_lazy()).collect())
    }

    /// Where webhooks go.
    pub(crate) fn http(&self) -> SocketAddr {
        self.http
    }

    /// Where it logs.
    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join("gateway.log")
    }

    /// One life: starts it and waits for the end that the schedule has for it. `clock_steps` says how the wall clock is set
    /// meanwhile, in the form of `ORDER_GATEWAY_CLOCK_STEPS`; empty: not at all. Tells how long the start took, if it came
    /// so far. An error is an end that nobody asked for.
    pub(crate) async fn live(&mut self, end: End, clock_steps: &str) -> Result<(Ended, Option<Duration>), String> {
        let began = Instant::now();
        let mut process =
            self.start(end, clock_steps).map_err(|error| format!("the gateway cannot be started: {error}"))?;
        let url = format!("http://{}/readyz", self.http);
        let ready = process.answers(&self.client, &url, START_LIMIT).await.map_err(|error| error.to_string())?;
        let (ended, took) = match ready {
            Ready::Ended(status) => (at_point(status, end)?, None),
            Ready::Yes => (follow(&mut process, end).await?, Some(began.elapsed())),
        };
        if ended == Ended::Lives {
            self.process = Some(process);
        } else if let Some(power_cut) = &self.power_cut {
            power_cut.strike().map_err(|error| format!("the power cut failed: {error}"))?;
        }
        Ok((ended, took))
    }

    /// Whether the last life still goes on.
    pub(crate) fn lives(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| matches!(process.ended(), Ok(None)))
    }

    fn start(&self, end: End, clock_steps: &str) -> io::Result<Process> {
        let mut variables = Vec::new();
        if let Ok(bug) = std::env::var("ORDER_GATEWAY_BUG") {
            variables.push(("ORDER_GATEWAY_BUG", bug));
        }
        if !clock_steps.is_empty() {
            variables.push(("ORDER_GATEWAY_CLOCK_STEPS", clock_steps.to_owned()));
        }
        if let End::At { point, count } = end {
            variables.push(("ORDER_GATEWAY_CRASH_AT", format!("{point}:{count}")));
        }
        if let Some(power_cut) = &self.power_cut {
            variables.extend(power_cut.variables());
        }
        let settings = self.folder.join("gateway.toml");
        Process::start(&self.program, &["serve", "--config", &settings.to_string_lossy()], &variables, &self.log())
    }
}

/// Waits for the end of a process that is ready.
async fn follow(process: &mut Process, end: End) -> Result<Ended, String> {
    let limit = match end {
        End::At { .. } => POINT_LIMIT,
        End::After(time) => time,
        End::Stays => return Ok(Ended::Lives),
    };
    match process.wait(limit).await.map_err(|error| error.to_string())? {
        Some(status) => at_point(status, end),
        None => process.kill().map(|_| Ended::Killed).map_err(|error| error.to_string()),
    }
}

/// Only a named place may end it, and only as `abort` does.
fn at_point(status: ExitStatus, end: End) -> Result<Ended, String> {
    const SIGABRT: i32 = 6;
    match end {
        End::At { point, .. } if status.signal() == Some(SIGABRT) => Ok(Ended::AtPoint(point)),
        _ => Err(format!("the gateway ended by itself: {status}")),
    }
}

/// Windows and delays a sixtieth of the usual ones; limits so high that they do not count.
fn settings(folder: &Path, grpc: SocketAddr, http: SocketAddr, upstream: SocketAddr, feed: &str) -> String {
    let store = folder.join("store").join("gateway.db");
    let mut text = format!(
        r#"[grpc]
listen = "{grpc}"
[http]
listen = "{http}"
[store]
url = "sqlite://{}"
[walmart]
profile = "sandbox"
base_url = "http://{upstream}"
attempt_timeout = "1s"
[walmart.limits]
create = 6000000
cancel = 6000000
status = 6000000
order = 6000000
returns = 6000000
mcs_returns = 6000000
cancel_lines = 6000000
ship = 6000000
refund = 6000000
return_refund = 6000000
mcs_return_create = 6000000
mcs_return_cancel = 6000000
# Those of scans alone, which are not to take all of the machine.
orders = 120
webhooks = 6000000
webhook_create = 6000000
[ledger]
settle_window = "{}s"
lookup_delays = ["50ms", "150ms", "500ms", "1s", "1500ms", "2s"]
not_after = "20s"
"#,
        store.display(),
        SETTLE_WINDOW.as_secs(),
    );
    text.push_str(feed);
    for (seller, account) in ACCOUNTS.iter().enumerate() {
        text.push_str(&format!(
            "[[accounts]]\nid = \"{account}\"\npartner_id = \"{seller}\"\nclient_id = \"{account}\"\nclient_secret = \"s\"\n"
        ));
        text.push_str(&webhook_settings(account));
    }
    text
}
