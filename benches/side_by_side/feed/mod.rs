//! What the feed costs: webhooks in with the disk's syncs, their way to those who watch, fan-out, replay, subscriptions.
//!
//! The gateway has one core and the load the other, but for one line. Each measurement starts the gateway anew, on a log of
//! its own or on one that was filled once. Rounds are interleaved, and every figure is the median of them.

mod cases;
mod fan_out;
mod fill;
mod ingest;
mod latency;
mod lend;
pub(crate) mod load;
mod memory;
mod posts;
mod streams;
mod up_to_date;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::ValueEnum;
use tempfile::TempDir;

use self::cases::{Before, Case, Cores, Part, Show};
use self::load::Figures;
use self::posts::Sample;
use crate::ledger::sync_us;
use crate::servers::{self, Process};
use crate::table::{line, median};
use crate::{Result, machine};

/// The account that webhooks are for.
const ACCOUNT: &str = "bench";
/// Counts what was synced.
const COMMITS: &str = "order_gateway_store_commit_seconds_count";
/// How long the gateway may take to be ready.
const PATIENCE: Duration = Duration::from_secs(30);
/// Open files that ten thousand streams and the rest need, a few hundred at most.
const OPEN_FILES: f64 = 512.0;
/// Numbers of events between two loads on one log. Each takes longer than a second.
const APART: u64 = 1_000_000;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// How often everything is measured.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Measure these parts only.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// The gateway's binary.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_order-gateway"))]
    gateway: PathBuf,
    /// Events in the filled log.
    #[arg(long, default_value_t = 1_000_000)]
    events: u64,
    /// Where the filled log is kept for the next time; made if it is not there. Else it is in a temporary folder.
    #[arg(long)]
    log: Option<PathBuf>,
    /// Order updates in the log on which more of them are taken in. Ten million take 20 GB.
    #[arg(long, default_value_t = 1_000_000)]
    fill: u64,
    /// Where that log is kept, as `--log`.
    #[arg(long)]
    updates_log: Option<PathBuf>,
    /// Webhooks of one measurement.
    #[arg(long, default_value_t = 60_000)]
    webhooks: u64,
    /// Seconds of those measurements that could go on.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Watches at a time.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 100, 1_000, 10_000])]
    streams: Vec<usize>,
    /// The core of the gateway.
    #[arg(long, default_value_t = 0)]
    server_core: usize,
    /// The core of the load.
    #[arg(long, default_value_t = 1)]
    load_core: usize,
    /// CPU that other processes may take, in cores, before a measurement counts as disturbed.
    #[arg(long, default_value_t = 0.08)]
    noise: f64,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    if thread::available_parallelism()?.get() < 2 || options.server_core == options.load_core {
        return Err("the feed's costs need two cores: one for the gateway, one for the load".into());
    }
    let files = machine::open_files()?;
    if files < OPEN_FILES {
        return Err(format!("{files} open files are too few (ulimit -n): {OPEN_FILES} are needed").into());
    }
    let parts: Vec<Part> = Part::value_variants()
        .iter()
        .copied()
        .filter(|p| options.only.is_empty() || options.only.contains(p))
        .collect();
    let mut cases: Vec<Case> = parts.iter().flat_map(|part| cases::of(*part, options)).collect();
    let needed = |before| cases.iter().any(|case| case.before == before);
    let logs = Logs {
        intents: Filled::new(&options.log, Sample::Intent, options.events, needed(Before::Intents))?,
        updates: Filled::new(&options.updates_log, Sample::Update, options.fill, needed(Before::Updates))?,
    };
    let mut syncs = Vec::new();
    // Beyond those of the logs, and of other runs on them.
    let filled = options.events.max(options.fill).next_multiple_of(APART);
    let mut first = (SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() % 899_999) * APART + filled;
    for round in 1..=options.rounds {
        syncs.push(sync_us()?);
        for case in &mut cases {
            eprintln!("round {round} of {}: {} {}", options.rounds, case.part.name(), case.name);
            let figures = measure(options, case, &logs, first)?;
            case.rounds.push(figures);
            first += APART;
        }
    }
    for part in parts {
        print(part, &cases);
    }
    println!(
        "Medians of {} rounds; core: of one. To append a page to a file and sync it takes this disk {:.0} µs (median). {files} \
         open files are allowed.",
        options.rounds,
        median(syncs)
    );
    say_noise(options, &cases);
    Ok(())
}

/// Those that are filled once.
struct Logs {
    intents: Filled,
    updates: Filled,
}

struct Filled {
    file: PathBuf,
    /// Goes with it.
    _folder: Option<TempDir>,
}

impl Filled {
    fn new(kept: &Option<PathBuf>, sample: Sample, events: u64, needed: bool) -> Result<Self> {
        let (file, folder) = match kept {
            Some(file) => (std::path::absolute(file)?, None),
            None => {
                let folder = tempfile::tempdir()?;
                (folder.path().join("feed.db"), Some(folder))
            }
        };
        if needed && !file.exists() {
            let begin = Instant::now();
            fill::fill(&file, sample, events)?;
            let (seconds, size) = (begin.elapsed().as_secs_f64(), file.metadata()?.len() >> 20);
            println!(
                "A log of {events} events was filled in {seconds:.1} s ({:.0}/s, by the receiver's code without the network, \
                 on all cores). It takes {size} MiB.\n",
                events as f64 / seconds
            );
        }
        Ok(Self { file, _folder: folder })
    }
}

fn measure(options: &Options, case: &Case, logs: &Logs, first: u64) -> Result<Figures> {
    let both = [options.server_core, options.load_core];
    let (server_cores, load_cores) = match case.cores {
        Cores::Apart => (&both[..1], &both[1..]),
        Cores::Shared => (&both[..], &both[..]),
    };
    let file = match case.before {
        Before::Nothing => None,
        Before::Intents => Some(&logs.intents.file),
        Before::Updates => Some(&logs.updates.file),
    };
    let store = file.map_or("sqlite://feed.db".into(), |file| format!("sqlite://{}", file.display()));
    let stub = if case.part == Part::UpToDate { Some(servers::stub(options.load_core, 0)?) } else { None };
    let upstream = stub.as_ref().map(|stub| stub.address);
    let begin = Instant::now();
    let server = servers::feed(server_cores, &options.gateway, &store, upstream)?;
    ready(&server)?;
    let start = begin.elapsed();
    let (begin, all, own) = (Instant::now(), machine::busy_seconds()?, machine::cpu_seconds(server.id())?);
    let mut figures = load(&server, load_cores, &case.words, first)?;
    let ours = machine::cpu_seconds(server.id())? - own + figures.get("all_load_cpu_seconds");
    let foreign = (machine::busy_seconds()? - all - ours) / begin.elapsed().as_secs_f64();
    figures.set("foreign_cores", foreign.max(0.0));
    // What a core that did nothing else would carry. Holds on a noisy machine too.
    figures.set("rate_per_core", figures.get("rate") / figures.get("server_cores"));
    figures.set("start_ms", start.as_secs_f64() * 1000.0);
    if let Some(file) = file {
        figures.set("file_mib", (file.metadata()?.len() >> 20) as f64);
    }
    Ok(figures)
}

fn ready(server: &Process) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    while !servers::get(server.http, "/readyz").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200 ")) {
        if Instant::now() > end {
            return Err(format!("not ready after {PATIENCE:?}:\n{}", server.log()).into());
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Runs the load to its end.
fn load(server: &Process, cores: &[usize], words: &[String], first: u64) -> Result<Figures> {
    let this: &Path = &std::env::current_exe()?;
    let output = servers::on(cores, this)
        .arg("feed-load")
        .args(["--grpc", &server.address.to_string()])
        .args(["--http", &server.http.to_string()])
        .args(["--pid", &server.id().to_string()])
        .args(["--first", &first.to_string()])
        .args(words)
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("the load ended with {}; the gateway's log:\n{}", output.status, server.log()).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn print(part: Part, cases: &[Case]) {
    let columns = part.columns();
    println!("{}", line(&columns.iter().map(|(head, _)| String::from(*head)).collect::<Vec<_>>()));
    println!("{}", line(&vec![String::from("---"); columns.len()]));
    for case in cases.iter().filter(|case| case.part == part) {
        let cells = columns.iter().map(|(_, show)| match show {
            Show::Name => case.name.clone(),
            Show::Goal => case.goal.into(),
            Show::Median(figure, decimals) => {
                let value = median(case.rounds.iter().map(|figures| figures.get(figure)).collect());
                if value.is_nan() { String::new() } else { format!("{value:.decimals$}") }
            }
        });
        println!("{}", line(&cells.collect::<Vec<_>>()));
    }
    println!();
}

fn say_noise(options: &Options, cases: &[Case]) {
    let foreign: Vec<f64> = cases.iter().flat_map(|case| &case.rounds).map(|f| f.get("foreign_cores")).collect();
    match foreign.iter().filter(|cores| **cores > options.noise).count() {
        0 => println!("The machine was quiet."),
        n => println!(
            "The machine was NOISY: in {n} of the {} measurements other processes took more than {} of a core (at most \
             {:.2}). Measure again on a quiet one.",
            foreign.len(),
            options.noise,
            foreign.iter().copied().fold(0.0, f64::max)
        ),
    }
}
