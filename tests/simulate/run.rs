//! Many seeds, played on several threads, each of which has seeds of its own.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use order_gateway::planted_bug::{PlantedBug, plant};
use tokio::time::Instant;

use crate::Options;
use crate::figures::KindFigures;
use crate::plan::Plan;
use crate::simulation::{Outcome, play};

/// Every so many seeds one is played twice: both traces must be the same.
const TWICE_EVERY: u64 = 16;

/// What came of many simulations.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) seeds: u64,
    twice: u64,
    calls: u64,
    faults: usize,
    simulated: Duration,
    took: Duration,
    kinds: BTreeMap<&'static str, KindFigures>,
    lists: u64,
    /// One line each: the seed, what is wrong, and how to see it again.
    pub(crate) violations: Vec<String>,
    /// What is wrong, by its first words.
    broken: Option<String>,
}

impl Report {
    fn add(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.twice += other.twice;
        self.calls += other.calls;
        self.faults += other.faults;
        self.simulated += other.simulated;
        self.add_kinds(&other.kinds);
        self.lists += other.lists;
        self.violations.extend(other.violations);
        self.broken = self.broken.take().or(other.broken);
    }

    fn add_kinds(&mut self, kinds: &BTreeMap<&'static str, KindFigures>) {
        kinds.iter().for_each(|(name, kind)| self.kinds.entry(*name).or_default().add(kind));
    }

    /// What was found first, in short.
    pub(crate) fn broken(&self) -> Option<String> {
        let broken = self.broken.as_ref()?;
        let short = broken.split([':', ',']).next().unwrap_or_default();
        let short = if short.starts_with("the doubt") { "doubt not looked into" } else { short };
        let short = if short.starts_with("the circuit") { "circuit" } else { short };
        Some(if short.starts_with("caller") { "deadline".to_owned() } else { short.to_owned() })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seeds, twice, calls, faults, violations, .. } = self;
        let hours = self.simulated.as_secs_f64() / 3_600.0;
        let (found, took) = (violations.len(), self.took.as_secs_f64());
        write!(
            f,
            "{seeds} seeds, {calls} calls, {faults} faults, {hours:.0} simulated hours in {took:.1} s; {twice} played \
             twice; {found} violations"
        )?;
        self.kinds.iter().try_for_each(|(name, kind)| write!(f, "\n{name}: {kind}"))?;
        write!(f, "\nlists read to their end: {}", self.lists)
    }
}

/// Plays so many seeds, with this bug planted.
pub(crate) fn run(options: &Options, seeds: u64, bug: Option<PlantedBug>) -> Report {
    let began = Instant::now();
    let threads = options.threads.clamp(1, seeds.max(1));
    let (first, found) = (options.seed, AtomicBool::new(false));
    let part = |thread: u64| first + seeds * thread / threads..first + seeds * (thread + 1) / threads;
    let mut report = Report::default();
    std::thread::scope(|scope| {
        let found = &found;
        let play = |thread| scope.spawn(move || play_all(part(thread), options, bug, found));
        let playing: Vec<_> = (0..threads).map(play).collect();
        for thread in playing {
            let failed = || Report { violations: vec!["a simulation panicked".into()], ..Report::default() };
            report.add(thread.join().unwrap_or_else(|_| failed()));
        }
    });
    Report { took: began.elapsed(), ..report }
}

/// Ends at the first violation on any thread, unless all are wanted.
fn play_all(seeds: Range<u64>, options: &Options, bug: Option<PlantedBug>, found: &AtomicBool) -> Report {
    let mut report = Report::default();
    if !plant(bug) {
        report.violations.push("this build has no deliberate bugs: it needs the feature crash-points".into());
        return report;
    }
    for seed in seeds {
        if found.load(Ordering::Relaxed) {
            break;
        }
        let (outcome, violation) = play_seed(seed, options, &mut report);
        if options.trace {
            print!("{}", outcome.trace);
        }
        if let Some(what) = violation {
            let again = format!("scripts/simulate --seed {seed} --seeds 1{} --trace", changed(options, bug));
            report.violations.push(format!("seed {seed}: {what}; again: {again}"));
            report.broken.get_or_insert(what);
            found.store(!options.keep_going, Ordering::Relaxed);
        }
    }
    report
}

/// Some seeds are played twice, and must go the same way.
fn play_seed(seed: u64, options: &Options, report: &mut Report) -> (Outcome, Option<String>) {
    let once = || play(Plan::of(seed, options.operations, options.faults), options.trace);
    let mut outcome = once();
    report.seeds += 1;
    report.calls += outcome.calls;
    report.faults += outcome.faults;
    report.simulated += outcome.simulated;
    report.add_kinds(&outcome.figures.kinds);
    report.lists += outcome.figures.lists;
    let mut violation = outcome.violation.take();
    if seed.is_multiple_of(TWICE_EVERY) || options.trace {
        report.twice += 1;
        let again = once();
        if again.hash != outcome.hash {
            violation.get_or_insert(first_difference(&outcome.trace, &again.trace));
        }
    }
    (outcome, violation)
}

/// What of the options makes a seed another simulation.
fn changed(options: &Options, bug: Option<PlantedBug>) -> String {
    let numbers = [("operations", options.operations, 500), ("faults", options.faults, 10)];
    let numbers = numbers.into_iter().filter(|(_, value, usual)| value != usual);
    let words = numbers.map(|(name, value, _)| format!(" --{name} {value}"));
    words.chain(bug.map(|bug| format!(" --bug {}", bug.name()))).collect()
}

/// Where two traces of one seed part.
fn first_difference(one: &str, other: &str) -> String {
    match one.lines().zip(other.lines()).find(|(one, other)| one != other) {
        Some((one, other)) => format!("two runs differ: {one:?}, then {other:?}"),
        None => "two runs differ; with --trace it is told where".to_owned(),
    }
}
