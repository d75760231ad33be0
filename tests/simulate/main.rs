//! The deterministic simulation: the use cases, the resolver and the outbound stack on paused time in one thread, without
//! sockets. `scripts/simulate` builds and starts it; `docs/TESTING.md` says what is simulated and what must hold.
//!
//! | file | |
//! |---|---|
//! | `plan`, `faults`, `draw` | what happens, drawn from the seed |
//! | `run` | many seeds on several threads |
//! | `outage`, `figures` | a minute of outage, and what it comes to |
//! | `simulation` | one simulation from its start to its end |
//! | `process` | one process of the gateway |
//! | `world`, `clocks`, `network`, `store` | what is around it, and outlives it |
//! | `changes` | objects at Walmart, and what is to be changed of them |
//! | `book`, `claims`, `told`, `doubts` | what must hold |
//! | `bodies`, `change_bodies`, `callers`, `trace` | requests of callers; the trace |

mod bodies;
mod book;
mod callers;
mod change_bodies;
mod changes;
mod claims;
mod clocks;
mod doubts;
mod draw;
mod faults;
mod figures;
mod network;
mod outage;
mod plan;
mod pollers;
mod process;
mod run;
mod simulation;
mod store;
mod told;
mod trace;
mod world;

use std::process::ExitCode;

use clap::Parser;
use order_gateway::planted_bug::PlantedBug;

use crate::outage::{Loss, Outage, Scene};
use crate::run::{Report, run};

/// Seeds that a deliberate bug has to be found in.
const SEEDS_FOR_A_BUG: u64 = 2_000;
/// Starts of the search for each deliberate bug.
const STARTS: [u64; 5] = [1, 100_001, 200_001, 300_001, 400_001];

/// Plays simulations of the gateway and looks whether its promises hold
#[derive(Clone, Parser)]
struct Options {
    /// How many seeds; with a bug, the most that may be needed to find it
    #[arg(long)]
    seeds: Option<u64>,
    /// The first of them
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Calls of callers in each, about
    #[arg(long, default_value_t = 500)]
    operations: usize,
    /// Faults in each
    #[arg(long, default_value_t = 10)]
    faults: usize,
    /// Seeds that are played at once
    #[arg(long, default_value_t = 2)]
    threads: u64,
    /// Print what happens
    #[arg(long)]
    trace: bool,
    /// Print nothing but what is wrong
    #[arg(long)]
    quiet: bool,
    /// Go on after seeds that fail
    #[arg(long)]
    keep_going: bool,
    /// Play one minute of outage instead, at 600 creations a minute, and print what it comes to
    #[arg(long)]
    outage: Option<Outage>,
    /// Orders that are created before the outage, at the same rate
    #[arg(long, default_value_t = 0)]
    before: usize,
    /// Plant this deliberate bug, which has to be found
    #[arg(long)]
    bug: Option<String>,
    /// Look for each deliberate bug from five seeds on
    #[arg(long)]
    bugs: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let passed = if let Some(outage) = options.outage {
        Loss::ALL.map(|loss| one_outage(&options, outage, loss)).into_iter().all(|passed| passed)
    } else if options.bugs {
        all_bugs(&options)
    } else if let Some(name) = &options.bug {
        match PlantedBug::SIMULATED.iter().find(|bug| bug.name() == name) {
            Some(bug) => one_bug(&options, *bug),
            None => {
                let names = PlantedBug::SIMULATED.iter().map(|bug| bug.name()).collect::<Vec<_>>().join(" ");
                eprintln!("there is no bug {name}; there are: {names}");
                return ExitCode::from(2);
            }
        }
    } else {
        let report = run(&options, options.seeds.unwrap_or(1), None);
        report.violations.iter().for_each(|violation| println!("VIOLATED: {violation}"));
        if !options.quiet {
            println!("{report}");
        }
        report.violations.is_empty()
    };
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether the gateway kept its promises.
fn one_outage(options: &Options, outage: Outage, loss: Loss) -> bool {
    let scene = Scene { outage, loss, before: options.before };
    let report = match scene.play(options.seed, options.trace) {
        Ok(report) => report,
        Err(why) => {
            println!("VIOLATED: the harness failed: {why}");
            return false;
        }
    };
    print!("{}", report.outcome.trace);
    println!("{report}");
    let broken = report.broken();
    broken.iter().for_each(|what| println!("VIOLATED: {what}"));
    broken.is_empty()
}

/// Whether the bug was found.
fn one_bug(options: &Options, bug: PlantedBug) -> bool {
    let report = run(options, options.seeds.unwrap_or(SEEDS_FOR_A_BUG), Some(bug));
    match report.violations.first() {
        Some(violation) => println!("{} was found after {} seeds: {violation}", bug.name(), report.seeds),
        None => println!("NOT FOUND: {} in {} seeds", bug.name(), report.seeds),
    }
    !report.violations.is_empty()
}

/// Prints the table of `docs/TESTING.md`.
fn all_bugs(options: &Options) -> bool {
    let mut all_found = true;
    println!("| bug | found | after seeds | by |\n|---|---|---|---|");
    for bug in PlantedBug::SIMULATED.iter().copied() {
        let found: Vec<Report> = STARTS
            .into_iter()
            .map(|seed| run(&Options { seed, ..options.clone() }, options.seeds.unwrap_or(SEEDS_FOR_A_BUG), Some(bug)))
            .filter(|report| !report.violations.is_empty())
            .collect();
        let seeds: Vec<_> = found.iter().map(|report| report.seeds.to_string()).collect();
        let mut by: Vec<_> = found.iter().filter_map(Report::broken).collect();
        by.sort();
        by.dedup();
        println!("| {} | {} of 5 | {} | {} |", bug.name(), found.len(), seeds.join(", "), by.join("; "));
        all_found &= found.len() == STARTS.len();
    }
    all_found
}
