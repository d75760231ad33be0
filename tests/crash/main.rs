//! The crash tests: the gateway as a real process, killed again and again in front of callers who repeat their calls, and
//! then the question whether every order was created, and every change made, exactly once. `scripts/crash-test` builds what it needs and starts
//! it; `docs/TESTING.md` says what it checks and how a run is repeated.
//!
//! | file | |
//! |---|---|
//! | `schedule` | what will happen, drawn from the seed |
//! | `process`, `gateway`, `emulator`, `power_cut` | the processes, their ends, and what is left on the disk |
//! | `requests`, `callers`, `answer` | what is sent, by whom, and what they were told |
//! | `observe`, `operations` | what Walmart's side executed, what the gateway lists |
//! | `world` | lies of Walmart's side, steps of the wall clock |
//! | `operator` | who decides what the gateway leaves to a person |
//! | `invariants` | what must hold |
//! | `changes` | changes of seller orders and returns beside the orders |
//! | `backfilled` | intents to cancel that the gateway finds in orders |
//! | `run` | all of it in order |
//! | `feed` | the same for the feed of intents to cancel |

mod answer;
mod backfilled;
mod callers;
mod changes;
mod emulator;
mod feed;
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
mod world;

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::schedule::{Hardships, Schedule};
use crate::world::Lies;

/// Violations that are printed.
const SHOWN: usize = 20;
/// Those of one invariant.
const SHOWN_OF_ONE: usize = 7;

/// Kills the gateway and looks whether it keeps its promises
#[derive(Parser)]
struct Options {
    /// How often the gateway is killed
    #[arg(long, default_value_t = 200)]
    kills: usize,
    /// The feed of intents to cancel is put to the test, instead of the ledger
    #[arg(long)]
    feed: bool,
    /// With --feed: how many webhooks are posted
    #[arg(long, default_value_t = 20_000)]
    webhooks: usize,
    /// Everything that is left to chance is drawn from it; by default from the clock
    #[arg(long)]
    seed: Option<u64>,
    /// The gateway to kill, built with the feature crash-points
    #[arg(long)]
    gateway: PathBuf,
    /// Every kill is a power cut: what was not synced is lost. This is the library of tests/power-cut
    #[arg(long)]
    power_cut: Option<PathBuf>,
    /// What Walmart's side lies about
    #[arg(long, value_enum, default_value_t, conflicts_with = "feed")]
    lies: Lies,
    /// The wall clock is set by seconds to weeks, while the gateway runs and while it is down
    #[arg(long, conflicts_with = "feed")]
    clock_steps: bool,
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
    let played = if options.feed {
        feed::run(&options, feed::Plan::draw(seed, options.kills, options.webhooks), folder.path()).await
    } else {
        let hardships = Hardships { lies: options.lies, clock_steps: options.clock_steps };
        run::run(&options, &Schedule::draw(seed, options.kills, hardships), folder.path()).await
    };
    let report = match played {
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
    let lies = match options.lies {
        Lies::None => "",
        Lies::LookUps => " --lies look-ups",
        Lies::All => " --lies all",
    };
    let clock_steps = if options.clock_steps { " --clock-steps" } else { "" };
    let feed = if options.feed { format!("--feed --webhooks {} ", options.webhooks) } else { String::new() };
    format!("scripts/crash-test {feed}--kills {} --seed {seed}{lies}{clock_steps}{power_cut}", options.kills)
}

fn failed(again: &str, violations: &[String]) -> ExitCode {
    let mut shown: HashMap<&str, usize> = HashMap::new();
    let invariant = |violation| str::split_whitespace(violation).find(|word| word.starts_with('I')).unwrap_or_default();
    let few = violations.iter().filter(|violation| {
        let so_far = shown.entry(invariant(violation)).or_default();
        *so_far += 1;
        *so_far <= SHOWN_OF_ONE
    });
    let few: Vec<&String> = few.take(SHOWN).collect();
    few.iter().for_each(|violation| println!("VIOLATED: {violation}"));
    if violations.len() > few.len() {
        println!("and {} more", violations.len() - few.len());
    }
    println!("{} violations; play the same schedule with: {again}", violations.len());
    ExitCode::FAILURE
}
