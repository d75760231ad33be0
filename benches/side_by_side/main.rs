//! The gateway beside a bare handler, measured in one run. `scripts/bench` starts it; `compare` is what it starts.
//!
//! The other subcommands are the processes that a comparison is made of, each of which can be run by hand.
#![expect(
    clippy::disallowed_methods,
    reason = "a benchmark measures the machine's time and has calls of nobody else to block"
)]

mod bare;
mod collector;
mod compare;
mod envelope;
mod feed;
mod ledger;
mod load;
mod machine;
#[path = "../measure/mod.rs"]
mod measure;
mod samples;
mod servers;
mod stub;
mod table;

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The shipped binary's allocator, so that the handlers differ in their own work alone.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[derive(Parser)]
#[command(about = "The gateway beside a bare handler, measured in one run")]
struct Cli {
    /// Given by cargo to every benchmark.
    #[arg(long, hide = true, global = true)]
    bench: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Start everything, measure in interleaved rounds, print a table.
    Compare(compare::Options),
    /// CreateOrder at more and more callers, with the syncs of each call; then on a ledger that is filled.
    Ledger(ledger::Options),
    /// The gateway exporting traces or metrics beside itself exporting nothing.
    Telemetry(compare::Options),
    /// The feed: webhooks in, streams out.
    Feed(feed::Options),
    /// Webhooks and streams for one measurement of the feed.
    FeedLoad(feed::load::Options),
    /// A gRPC server that does one REST call for each call, and nothing else.
    Bare(bare::Options),
    /// A collector that throws away what it is sent.
    Collector(collector::Options),
    /// A Walmart that says yes.
    Stub(stub::Options),
    /// Callers that each wait for an answer before the next call.
    Load(load::Options),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Some(Command::Compare(options)) => compare::run(&options),
        Some(Command::Ledger(options)) => ledger::run(&options),
        Some(Command::Telemetry(options)) => compare::telemetry(options),
        Some(Command::Collector(options)) => collector::run(&options),
        Some(Command::Feed(options)) => feed::run(&options),
        Some(Command::FeedLoad(options)) => feed::load::run(&options),
        Some(Command::Bare(options)) => bare::run(&options),
        Some(Command::Stub(options)) => stub::run(&options),
        Some(Command::Load(options)) => load::run(&options),
        None => {
            println!("side_by_side: nothing to do without a subcommand; scripts/bench starts it");
            Ok(())
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("side_by_side: {error}");
            ExitCode::FAILURE
        }
    }
}
