//! The other side of one measurement: a process that posts, reads and settles, on one thread, and prints what it saw.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::process;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use tokio::task::LocalSet;

use super::{fan_out, ingest, latency, lend, memory, up_to_date};
use crate::{Result, machine};

/// How long anything may take that should take moments.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pub target: Target,
    #[command(subcommand)]
    what: What,
}

/// The gateway.
#[derive(clap::Args, Clone)]
pub(crate) struct Target {
    #[arg(long)]
    pub grpc: SocketAddr,
    #[arg(long)]
    pub http: SocketAddr,
    #[arg(long)]
    pub pid: u32,
    /// Number of the first event; no two loads on one log may share numbers.
    #[arg(long, default_value_t = 0)]
    pub first: u64,
}

#[derive(clap::Subcommand)]
enum What {
    /// Webhooks in a closed loop.
    Ingest(ingest::Load),
    /// Webhooks at a rate, and the way of each to the watchers.
    Latency(latency::Load),
    /// Watches from the earliest event on.
    CatchUp(fan_out::CatchUp),
    /// Watches from the latest event on, and webhooks as fast as all of them follow.
    Tip(fan_out::Tip),
    /// One watch of the whole log.
    Replay(fan_out::Replay),
    /// The memory of watches with nothing to say.
    Idle(memory::Idle),
    /// The memory of watches that nobody reads.
    Slow(memory::Slow),
    /// Consumers of a subscription.
    Lend(lend::Load),
    /// Webhooks and orders beside subscriptions that have read everything.
    UpToDate(up_to_date::Load),
}

/// What was measured, by name; printed as one line of JSON.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Figures(BTreeMap<String, f64>);

impl Figures {
    pub(crate) fn set(&mut self, name: &str, value: f64) {
        self.0.insert(name.into(), value);
    }

    /// Not a number when there is none of this name.
    pub(crate) fn get(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or(f64::NAN)
    }
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let target = Rc::new(options.target.clone());
    let mut figures = LocalSet::new().block_on(&runtime, async {
        match &options.what {
            What::Ingest(load) => load.run(&target).await,
            What::Latency(load) => load.run(&target).await,
            What::CatchUp(load) => load.run(&target).await,
            What::Tip(load) => load.run(&target).await,
            What::Replay(load) => load.run(&target).await,
            What::Idle(load) => load.run(&target).await,
            What::Slow(load) => load.run(&target).await,
            What::Lend(load) => load.run(&target).await,
            What::UpToDate(load) => load.run(&target).await,
        }
    })?;
    figures.set("all_load_cpu_seconds", machine::cpu_seconds(process::id())?);
    println!("{}", serde_json::to_string(&figures)?);
    // Connections that are frozen on purpose would be waited for.
    process::exit(0)
}

/// Times and CPU of a span of work.
pub(crate) struct Span {
    pid: u32,
    begin: Instant,
    server: f64,
    load: f64,
}

impl Span {
    pub(crate) fn begin(target: &Target) -> Result<Self> {
        let (server, load) = (machine::cpu_seconds(target.pid)?, machine::cpu_seconds(process::id())?);
        Ok(Self { pid: target.pid, begin: Instant::now(), server, load })
    }

    /// Notes how long it took, and the cores that server and load used.
    pub(crate) fn end(self, figures: &mut Figures) -> Result<()> {
        let seconds = self.begin.elapsed().as_secs_f64();
        figures.set("seconds", seconds);
        figures.set("server_cores", (machine::cpu_seconds(self.pid)? - self.server) / seconds);
        figures.set("load_cores", (machine::cpu_seconds(process::id())? - self.load) / seconds);
        figures.set("peak_rss_mib", machine::peak_rss_mib(self.pid)?);
        Ok(())
    }
}

/// Times, and their quantiles.
pub(crate) struct Times(Histogram<u64>);

impl Times {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(Histogram::new_with_bounds(1, 60_000_000, 3)?))
    }

    pub(crate) fn note(&mut self, time: Duration) {
        self.0.saturating_record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1));
    }

    /// Sets `NAME_p50_ms` and `NAME_p99_ms`.
    pub(crate) fn tell(&self, name: &str, figures: &mut Figures) {
        for (quantile, part) in [(0.50, "p50"), (0.99, "p99")] {
            figures.set(&format!("{name}_{part}_ms"), self.0.value_at_quantile(quantile) as f64 / 1000.0);
        }
    }
}

/// Waits for what should take moments.
pub(crate) async fn soon<T>(what: &str, work: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(PATIENCE, work).await.map_err(|_| format!("{what} took longer than {PATIENCE:?}").into())
}
