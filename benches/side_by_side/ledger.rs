//! What the ledger costs: CreateOrder at more and more callers with the syncs of each call, then on a filled ledger beside an
//! empty one.

use crate::Result;
use std::fs;
use std::path::Path;

use order_gateway::ports::clock::Clock;
use order_gateway::store::sqlite::SqliteLedger;
use order_gateway::store::{Store, StoreSettings};
use order_gateway::telemetry::metrics::Metrics;

use crate::compare::{self, load};
use crate::load::Report;
use crate::measure::fill::{Numbers, fill};
use crate::measure::sync_time;
use crate::samples::Call;
use crate::servers::{self, Server};
use crate::table::median;

/// Callers at a time: connections, and callers on each.
const CALLERS: [(usize, usize); 3] = [(1, 1), (1, 16), (4, 64)];
/// Counts what was synced.
const COMMITS: &str = "order_gateway_store_commit_seconds_count";

#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    compare: compare::Options,
    /// Entries in a filled ledger, beside which an empty one is measured; 0 leaves it out. Ten million take 5 GB in the
    /// temporary folder.
    #[arg(long, default_value_t = 10_000_000)]
    fill: i64,
}

struct Row {
    connections: usize,
    streams: usize,
    reports: Vec<Report>,
    syncs_per_call: Vec<f64>,
}

impl Row {
    fn callers(&self) -> usize {
        self.connections * self.streams
    }

    fn median(&self, figure: impl Fn(&Report) -> f64) -> f64 {
        median(self.reports.iter().map(figure).collect())
    }

    fn rate(&self) -> f64 {
        self.median(|report| report.calls as f64 / report.seconds)
    }
}

pub(crate) fn run(options: &Options) -> Result<()> {
    at_more_callers(&options.compare)?;
    if options.fill > 0 { empty_and_filled(&options.compare, options.fill) } else { Ok(()) }
}

fn at_more_callers(options: &compare::Options) -> Result<()> {
    let row = |(connections, streams)| Row { connections, streams, reports: Vec::new(), syncs_per_call: Vec::new() };
    let mut rows = CALLERS.map(row);
    let mut syncs = Vec::new();
    for round in 1..=options.rounds {
        syncs.push(sync_us()?);
        for row in &mut rows {
            eprintln!("round {round} of {}: {} callers", options.rounds, row.callers());
            let stub = servers::stub(options.load_core, options.delay_ms)?;
            let server = Server::Gateway.start(options.server_core, &options.gateway, stub.address, None)?;
            let before = server.metric(COMMITS)?;
            let report = load(options, &server, Call::Create, (row.connections, row.streams), 1, Numbers::Rising)?;
            let commits = server.metric(COMMITS)? - before;
            // The commits of the warm-up are in it, so its calls must be: in proportion to the time.
            let calls = report.calls as f64 * (report.seconds + options.warm_up) / report.seconds;
            row.syncs_per_call.push(commits / calls);
            row.reports.push(report);
        }
    }
    println!("| callers | calls/s | p50 µs | p99 µs | syncs per call | CPU µs/call | peak RSS MiB | errors |");
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    for row in &rows {
        let errors: u64 = row.reports.iter().flat_map(|report| report.errors.values()).sum();
        println!(
            "| {} | {:.0} | {:.0} | {:.0} | {:.3} | {:.1} | {:.1} | {errors} |",
            row.callers(),
            row.rate(),
            row.median(|report| report.p50_us),
            row.median(|report| report.p99_us),
            median(row.syncs_per_call.clone()),
            row.median(|report| 1e6 * report.server_cpu_seconds / report.calls as f64),
            row.median(|report| report.peak_rss_mib),
        );
    }
    println!();
    println!(
        "Medians of {} rounds. To append a page to a file and sync it takes this disk {:.0} µs (median).",
        options.rounds,
        median(syncs)
    );
    Ok(())
}

/// How long this disk takes to make a page at the end of a log durable, in microseconds.
pub(crate) fn sync_us() -> Result<f64> {
    Ok(sync_time(tempfile::tempdir()?.path())?.as_secs_f64() * 1e6)
}

/// One ledger that is filled, or begins empty, and stays from round to round.
struct Kept {
    name: &'static str,
    numbers: Numbers,
    next: u64,
    rates: Vec<f64>,
    p99_us: Vec<f64>,
}

/// Rounds of the filled ledger, whatever the others have.
const ROUNDS: usize = 5;

fn empty_and_filled(options: &compare::Options, entries: i64) -> Result<()> {
    let folder = tempfile::tempdir()?;
    eprintln!("filling a ledger with {entries} entries");
    let path = folder.path().join("filled.db");
    new_store(&path)?;
    fill(&path, "bench", entries).map_err(|error| error.to_string())?;
    let size = fs::metadata(&path)?.len() >> 20;
    let mut all = Vec::new();
    for numbers in [Numbers::Rising, Numbers::Scattered] {
        for name in ["empty", "filled"] {
            let next = entries.unsigned_abs() + 1;
            all.push(Kept { name, numbers, next, rates: Vec::new(), p99_us: Vec::new() });
        }
    }
    for round in 1..=ROUNDS {
        for kept in &mut all {
            eprintln!("round {round} of {ROUNDS}: {}, {} numbers", kept.name, kept.numbers.name());
            let stub = servers::stub(options.load_core, options.delay_ms)?;
            let ledger = folder.path().join(format!("{}.db", kept.name));
            let server =
                Server::Gateway.start_with(options.server_core, &options.gateway, stub.address, None, &ledger)?;
            let (connections, streams) = CALLERS[2];
            let report = load(options, &server, Call::Create, (connections, streams), kept.next, kept.numbers)?;
            // More than it can have made.
            kept.next += 10_000_000;
            if !report.errors.is_empty() {
                return Err(format!("calls failed: {:?}", report.errors).into());
            }
            kept.rates.push(report.calls as f64 / report.seconds);
            kept.p99_us.push(report.p99_us);
        }
    }
    println!();
    println!("| 256 callers, order numbers | ledger | calls/s | p99 µs | slower than empty, round by round |");
    println!("| --- | --- | --- | --- | --- |");
    for pair in all.chunks(2) {
        for kept in pair {
            let slower = kept.rates.iter().zip(&pair[0].rates).map(|(own, empty)| 100.0 * (1.0 - own / empty));
            println!(
                "| {} | {} | {:.0} | {:.0} | {:.0} % |",
                kept.numbers.name(),
                kept.name,
                median(kept.rates.clone()),
                median(kept.p99_us.clone()),
                median(slower.collect()),
            );
        }
    }
    println!();
    println!("Filled with {entries} entries ({size} MiB), medians of {ROUNDS} rounds.");
    Ok(())
}

/// An empty database of the gateway's store.
fn new_store(path: &Path) -> Result<()> {
    let metrics = Metrics::new([]);
    let on_fatal = std::sync::Arc::new(|why: &str| eprintln!("{why}"));
    let settings =
        StoreSettings { clock: Clock::system(), metrics: metrics.store.clone(), accounts: Vec::new(), on_fatal };
    let store = Store::Sqlite(SqliteLedger::open(path, settings).map_err(|error| error.to_string())?);
    tokio::runtime::Runtime::new()?.block_on(store.close());
    Ok(())
}
