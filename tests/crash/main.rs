//! The crash tests: the gateway as a real process, killed again and again in front of callers who repeat their calls, and
//! then the question whether every order was created exactly once. `scripts/crash-test` builds what it needs and starts
//! it; `docs/TESTING.md` says what it checks and how a run is repeated.
//!
//! | file | |
//! |---|---|
//! | `schedule` | what will happen, drawn from the seed |
//! | `process`, `gateway`, `emulator`, `power_cut` | the processes, their ends, and what is left on the disk |
//! | `requests`, `callers`, `answer` | what is sent, by whom, and what they were told |
//! | `observe`, `operations` | what Walmart's side executed, what the gateway lists |
//! | `operator` | who decides what the gateway leaves to a person |
//! | `invariants` | what must hold |
//! | `run` | all of it in order |

mod answer;
mod callers;
mod emulator;
mod gateway;
mod invariants;
mod observe;
mod operations;
mod operator;
mod power_cut;
mod process;
mod requests;
mod run;
mod schedule;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::schedule::Schedule;

/// Violations that are printed.
const SHOWN: usize = 20;

/// Kills the gateway and looks whether it keeps its promises
#[derive(Parser)]
struct Options {
    /// How often the gateway is killed
    #[arg(long, default_value_t = 200)]
    kills: usize,
    /// Everything that is left to chance is drawn from it; by default from the clock
    #[arg(long)]
    seed: Option<u64>,
    /// The gateway to kill, built with the feature crash-points
    #[arg(long)]
    gateway: PathBuf,
    /// Every kill is a power cut: what was not synced is lost. This is the library of tests/power-cut
    #[arg(long)]
    power_cut: Option<PathBuf>,
    /// Print nothing but what is wrong
    #[arg(long)]
    quiet: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    // The HTTP client wants one, though it speaks no TLS here. An error means that there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let seed =
        options.seed.unwrap_or_else(|| order_gateway::ports::random::Random::from_system().next_u64() % 1_000_000);
    let again = again(&options, seed);
    if !options.quiet {
        println!("{again}");
    }
    let folder = match tempfile::Builder::new().prefix("order-gateway-crash-").tempdir() {
        Ok(folder) => folder,
        Err(error) => return failed(&again, &[format!("no temporary folder: {error}")]),
    };
    let schedule = Schedule::draw(seed, options.kills);
    let report = match run::run(&options, &schedule, folder.path()).await {
        Ok(report) => report,
        Err(error) => run::Report { violations: vec![error], ..run::Report::default() },
    };
    if !options.quiet {
        report.figures.iter().for_each(|(name, value)| println!("{name}: {value}"));
    }
    if report.violations.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("settings, store and logs: {}", folder.keep().display());
    failed(&again, &report.violations)
}

/// The command that plays the same schedule.
fn again(options: &Options, seed: u64) -> String {
    let power_cut = if options.power_cut.is_some() { " --power-cut" } else { "" };
    format!("scripts/crash-test --kills {} --seed {seed}{power_cut}", options.kills)
}

fn failed(again: &str, violations: &[String]) -> ExitCode {
    for violation in violations.iter().take(SHOWN) {
        println!("VIOLATED: {violation}");
    }
    if violations.len() > SHOWN {
        println!("and {} more", violations.len() - SHOWN);
    }
    println!("{} violations; play the same schedule with: {again}", violations.len());
    ExitCode::FAILURE
}
