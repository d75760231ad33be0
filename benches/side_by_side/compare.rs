//! Measures servers in interleaved rounds on one machine and prints their medians.
//!
//! The server has one core to itself; the stub upstream and the load share another. Every measurement starts the server
//! anew. One during which other processes took CPU is repeated, and kept with a mark when it does not get better.

use std::path::PathBuf;
use std::process::{self, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;

use crate::load::Report;
use crate::measure::fill::Numbers;
use crate::samples::Call;
use crate::servers::{self, Process, Server};
use crate::table::{self, Row};
use crate::{Result, machine};

/// First call number of the second load on a server, beyond all numbers of the first.
const SECOND_LOAD: u64 = 100_000_000_000;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// How often each server is measured with each call.
    #[arg(long, default_value_t = 3)]
    pub rounds: u32,
    /// Measure this call only.
    #[arg(long, value_enum)]
    only: Option<Call>,
    /// What is measured; ratios are to the first. "bare,bare" shows how far two equal servers differ.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "bare,gateway")]
    servers: Vec<Server>,
    /// The gateway's binary.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_order-gateway"))]
    pub gateway: PathBuf,
    /// Seconds of each measurement; half of it with one caller.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Seconds before each measurement.
    #[arg(long, default_value_t = 1.0)]
    pub warm_up: f64,
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Callers on each connection.
    #[arg(long, default_value_t = 16)]
    streams: usize,
    /// How long the upstream takes to answer, in milliseconds.
    #[arg(long, default_value_t = 0)]
    pub delay_ms: u64,
    /// The core of the server.
    #[arg(long, default_value_t = 0)]
    pub server_core: usize,
    /// The core of the stub and the load.
    #[arg(long, default_value_t = 1)]
    pub load_core: usize,
    /// CPU that other processes may take, in cores, before a measurement counts as disturbed.
    #[arg(long, default_value_t = 0.08)]
    noise: f64,
    /// How often a disturbed measurement is repeated.
    #[arg(long, default_value_t = 2)]
    repeats: u32,
    /// Seconds to wait for a quiet machine before each measurement.
    #[arg(long, default_value_t = 5.0)]
    patience: f64,
}

/// What one measurement of one server showed.
pub(crate) struct Measurement {
    /// Many callers at a time.
    pub busy: Report,
    /// One caller.
    pub alone: Report,
    /// CPU that other processes took meanwhile, in cores.
    pub foreign: f64,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let cores = thread::available_parallelism()?.get();
    if cores < 2 || options.server_core == options.load_core {
        return Err("a comparison needs two cores: one for the server, one for the stub and the load".into());
    }
    let calls: Vec<Call> =
        Call::value_variants().iter().copied().filter(|c| options.only.is_none_or(|o| o == *c)).collect();
    let mut rows: Vec<Row> = Vec::new();
    for &call in &calls {
        rows.extend(options.servers.iter().map(|&server| Row { call, server, measurements: Vec::new() }));
    }
    for round in 1..=options.rounds {
        for row in &mut rows {
            eprintln!("round {round} of {}: {} {}", options.rounds, row.server.name(), row.call.method());
            row.measurements.push(least_disturbed(options, row.server, row.call)?);
        }
    }
    println!("{}", table::markdown(&rows, options.servers.len()));
    println!(
        "{} connections x {} callers, {} s each, medians of {} rounds; upstream delay {} ms.",
        options.connections, options.streams, options.seconds, options.rounds, options.delay_ms
    );
    let all: Vec<&Measurement> = rows.iter().flat_map(|row| &row.measurements).collect();
    match all.iter().filter(|m| m.foreign > options.noise).count() {
        0 => println!("The machine was quiet."),
        n => println!(
            "The machine was NOISY: in {n} of the {} measurements, although repeated, other processes took more than \
             {} of a core (at most {:.2}). Calls/s and latencies \
             say nothing then, and equal servers differ by a tenth in the figures per core: measure again on a quiet one.",
            all.len(),
            options.noise,
            all.iter().map(|m| m.foreign).fold(0.0, f64::max)
        ),
    }
    if all.iter().flat_map(|m| [&m.busy, &m.alone]).any(|r| !r.errors.is_empty()) {
        return Err("calls failed: the figures are not worth comparing".into());
    }
    Ok(())
}

/// What telemetry costs: the gateway without export beside itself with traces, with all of them, and with metrics.
pub(crate) fn telemetry(options: Options) -> Result<()> {
    let servers = vec![Server::Gateway, Server::Traced, Server::TracedAll, Server::Pushed];
    run(&Options { servers, ..options })
}

/// A measurement on a quiet machine, else the quietest of those allowed.
fn least_disturbed(options: &Options, server: Server, call: Call) -> Result<Measurement> {
    let mut best = measure(options, server, call)?;
    let mut latest = best.foreign;
    for _ in 0..options.repeats {
        if latest <= options.noise {
            break;
        }
        eprintln!("  other processes took {latest:.2} of a core: once more");
        let again = measure(options, server, call)?;
        latest = again.foreign;
        if again.foreign < best.foreign {
            best = again;
        }
    }
    Ok(best)
}

fn measure(options: &Options, server: Server, call: Call) -> Result<Measurement> {
    let stub = servers::stub(options.load_core, options.delay_ms)?;
    let collector = server.exports().then(|| servers::collector(options.load_core)).transpose()?;
    let receiver = collector.as_ref().map(|collector| collector.address);
    let server = server.start(options.server_core, &options.gateway, stub.address, receiver)?;
    wait_for_quiet(options)?;
    let own = || -> Result<f64> {
        let processes = [stub.id(), server.id(), process::id()].into_iter();
        processes.chain(collector.as_ref().map(servers::Process::id)).map(machine::cpu_seconds).sum()
    };
    let begin = Instant::now();
    let (all_before, own_before) = (machine::busy_seconds()?, own()?);
    let many = (options.connections, options.streams);
    let busy = load(options, &server, call, many, 1, Numbers::Rising)?;
    let alone = load(options, &server, call, (1, 1), SECOND_LOAD, Numbers::Rising)?;
    let all = machine::busy_seconds()? - all_before;
    let ours = own()? - own_before + busy.load_cpu_seconds + alone.load_cpu_seconds;
    if collector.is_some() {
        // What is lost was not paid for whole.
        eprintln!("  {} spans lost", server.metric("order_gateway_otlp_spans_dropped_total")?);
    }
    for (name, count) in busy.errors.iter().chain(&alone.errors) {
        eprintln!("  {count} x {name}");
    }
    Ok(Measurement { busy, alone, foreign: ((all - ours) / begin.elapsed().as_secs_f64()).max(0.0) })
}

/// Runs the load to its end: connections and callers on each, and the numbers of the calls from the `first` on.
pub(crate) fn load(
    options: &Options,
    server: &Process,
    call: Call,
    (connections, streams): (usize, usize),
    first: u64,
    numbers: Numbers,
) -> Result<Report> {
    let call = call.to_possible_value().ok_or("a call without a name")?;
    let seconds = if connections * streams == 1 { options.seconds / 2.0 } else { options.seconds };
    let output = servers::pinned(options.load_core, &std::env::current_exe()?)
        .args(["load", "--call", call.get_name()])
        .args(["--target", &server.address.to_string()])
        .args(["--connections", &connections.to_string()])
        .args(["--streams", &streams.to_string()])
        .args(["--warm-up", &options.warm_up.to_string()])
        .args(["--seconds", &seconds.to_string()])
        .args(["--first", &first.to_string(), "--numbers", numbers.name()])
        .args(["--pid", &server.id().to_string()])
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("the load ended with {}; the server's log:\n{}", output.status, server.log()).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Waits until half a second passes with little CPU taken, or until patience ends.
fn wait_for_quiet(options: &Options) -> Result<()> {
    let end = Instant::now() + Duration::from_secs_f64(options.patience);
    while Instant::now() < end {
        let before = machine::busy_seconds()?;
        thread::sleep(Duration::from_millis(500));
        if (machine::busy_seconds()? - before) / 0.5 <= options.noise {
            break;
        }
    }
    Ok(())
}
