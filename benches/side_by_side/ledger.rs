//! What the ledger costs: CreateOrder with the ledger on disk beside the same with it in memory, at more and more callers.

use std::fs::File;
use std::io::Write as _;
use std::time::Instant;

use crate::Result;
use crate::compare::{self, Options};
use crate::load::Report;
use crate::samples::Call;
use crate::servers::{self, Server};
use crate::table::median;

/// Callers at a time: connections, and callers on each.
const CALLERS: [(usize, usize); 3] = [(1, 1), (1, 16), (4, 64)];
/// Counts what was synced.
const COMMITS: &str = "order_gateway_store_commit_seconds_count";
/// Writes whose sync is timed.
const SYNCS: usize = 200;

struct Row {
    callers: usize,
    server: Server,
    reports: Vec<Report>,
    syncs_per_call: Vec<f64>,
}

impl Row {
    fn median(&self, figure: impl Fn(&Report) -> f64) -> f64 {
        median(self.reports.iter().map(figure).collect())
    }

    fn rate(&self) -> f64 {
        self.median(|report| report.calls as f64 / report.seconds)
    }
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let mut rows = Vec::new();
    for (connections, streams) in CALLERS {
        for server in [Server::Gateway, Server::Ledger] {
            let callers = connections * streams;
            rows.push((
                (connections, streams),
                Row { callers, server, reports: Vec::new(), syncs_per_call: Vec::new() },
            ));
        }
    }
    let mut syncs = Vec::new();
    for round in 1..=options.rounds {
        syncs.push(sync_us()?);
        for ((connections, streams), row) in &mut rows {
            eprintln!("round {round} of {}: {} callers, {}", options.rounds, row.callers, row.server.name());
            let stub = servers::stub(options.load_core, options.delay_ms)?;
            let server = row.server.start(options.server_core, &options.gateway, stub.address)?;
            let before = server.metric(COMMITS)?;
            let report = compare::load(options, &server, Call::Create, *connections, *streams, 1)?;
            let commits = server.metric(COMMITS)? - before;
            // The commits of the warm-up are in it, so its calls must be: in proportion to the time.
            let calls = report.calls as f64 * (report.seconds + options.warm_up) / report.seconds;
            row.syncs_per_call.push(commits / calls);
            row.reports.push(report);
        }
    }
    println!(
        "| callers | ledger | calls/s | ratio | p50 µs | p99 µs | syncs per call | CPU µs/call | peak RSS MiB | errors |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for pair in rows.chunks(2) {
        for (_, row) in pair {
            let errors: u64 = row.reports.iter().flat_map(|report| report.errors.values()).sum();
            println!(
                "| {} | {} | {:.0} | {:.3} | {:.0} | {:.0} | {:.3} | {:.1} | {:.1} | {errors} |",
                row.callers,
                if row.server == Server::Ledger { "on disk" } else { "in memory" },
                row.rate(),
                row.rate() / pair[0].1.rate(),
                row.median(|report| report.p50_us),
                row.median(|report| report.p99_us),
                median(row.syncs_per_call.clone()),
                row.median(|report| 1e6 * report.server_cpu_seconds / report.calls as f64),
                row.median(|report| report.peak_rss_mib),
            );
        }
    }
    println!();
    println!(
        "Medians of {} rounds. To append a page to a file and sync it takes this disk {:.0} µs (median).",
        options.rounds,
        median(syncs)
    );
    Ok(())
}

/// How long this disk takes to make a page at the end of a log durable, in microseconds: the median of many.
pub(crate) fn sync_us() -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let mut file = File::create(folder.path().join("log"))?;
    let mut times = Vec::with_capacity(SYNCS);
    for byte in 0..SYNCS {
        let begin = Instant::now();
        file.write_all(&[byte as u8; 4096])?;
        file.sync_data()?;
        times.push(begin.elapsed().as_secs_f64() * 1e6);
    }
    Ok(median(times))
}
