//! One minute of outage: 600 callers create an order each within it, and no answer to a creation can be heard. What the
//! ledger promises for that minute has a bound of time, which this measures with default settings.
//!
//! Connections that break open the circuit of creations, as they should, so that few creations are ever in doubt. Answers of
//! 2xx that cannot be read say nothing of Walmart's health and leave it closed: all 600 are in doubt then.

use std::fmt;
use std::time::Duration;

use clap::ValueEnum;
use order_gateway::config::Config;
use order_gateway::domain::operation::Operation;
use order_gateway::emulator::DuplicatePolicy;
use order_gateway::ports::random::Random;

use crate::draw::{Draw, millis, seconds};
use crate::faults::{Aim, Fate, Fault, FaultKind};
use crate::figures::Figures;
use crate::plan::{Call, Content, Life, Plan, Settings, Story, What};
use crate::simulation::{Outcome, play};

/// Creations in the minute of outage, and in each minute before it.
const CREATIONS: usize = 600;
const MINUTE: Duration = seconds(60);
/// When the first caller comes.
const FIRST: Duration = seconds(60);
/// The last creation comes so long before the end that it reaches Walmart within the minute.
const LAST_COMES_BEFORE: Duration = seconds(1);
/// How long callers wait for an answer, and pause before they ask again: OUTCOME_PENDING says 5 s at least.
const DEADLINE: Duration = seconds(30);
const PAUSES: [Duration; 2] = [seconds(20), seconds(40)];
/// The promises: after the end of the minute, all is settled if all orders were made, and every caller has a final answer.
const SETTLED_WITHIN: Duration = seconds(180);
const ANSWERED_WITHIN: Duration = seconds(45 * 60);
/// An account that settings must have.
const ACCOUNT: &str =
    "[[accounts]]\nid = \"acme\"\npartner_id = \"1\"\nclient_id = \"id\"\nclient_secret = \"secret\"\n";

/// Whether Walmart carries out what it does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Outage {
    /// Every order is made.
    Made,
    /// No order is made.
    Lost,
}

/// How answers are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Connections break, or say nothing: the circuit opens.
    Broken,
    /// Answers come, and cannot be read: the circuit stays closed.
    Unreadable,
    /// The same of creations and of reads.
    UnreadableReads,
}

/// One outage.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene {
    pub(crate) outage: Outage,
    pub(crate) loss: Loss,
    /// Orders that are created before the outage, at the same rate.
    pub(crate) before: usize,
}

/// What came of one.
pub(crate) struct Report {
    scene: Scene,
    pub(crate) outcome: Outcome,
}

impl Loss {
    pub(crate) const ALL: [Self; 3] = [Self::Broken, Self::Unreadable, Self::UnreadableReads];

    const fn name(self) -> &'static str {
        match self {
            Self::Broken => "broken connections",
            Self::Unreadable => "unreadable answers",
            Self::UnreadableReads => "unreadable answers, to reads too",
        }
    }

    fn faults(self, outage: Outage, from: Duration) -> Vec<Fault> {
        let fault = |kind| Fault { from, until: from + MINUTE, kind };
        let create = |probability, fate| {
            fault(FaultKind::Network { account: None, aim: Aim::One(Operation::Create), probability, fate })
        };
        let unreadable = |operation: &str, when: &str| {
            let page = "<html><body>Bad gateway</body></html>";
            fault(FaultKind::Walmart(format!(
                "[[fault]]\noperation = \"{operation}\"\nstatus = 200\nbody = \"{page}\"\nwhen = \"{when}\"\n"
            )))
        };
        // An edge answers in Walmart's place, after it has passed the request on or without.
        let (silent, broken, when) = match outage {
            Outage::Made => (Fate::SilentAfter, Fate::BrokenAfter, "after"),
            Outage::Lost => (Fate::SilentBefore, Fate::BrokenBefore, "before"),
        };
        match self {
            Self::Broken => vec![create(0.5, silent), create(1.0, broken)],
            Self::Unreadable => vec![unreadable("create", when)],
            Self::UnreadableReads => vec![unreadable("create", when), unreadable("status", "before")],
        }
    }
}

impl Outage {
    const fn name(self) -> &'static str {
        match self {
            Self::Made => "made",
            Self::Lost => "lost",
        }
    }
}

impl Scene {
    /// Plays it with what this seed draws.
    ///
    /// # Errors
    /// Default settings that cannot be read.
    pub(crate) fn play(self, seed: u64, keep_trace: bool) -> Result<Report, String> {
        Ok(Report { scene: self, outcome: play(self.plan(seed)?, keep_trace) })
    }

    fn begins(self) -> Duration {
        FIRST + MINUTE * self.before as u32 / CREATIONS as u32
    }

    fn ends(self) -> Duration {
        self.begins() + MINUTE
    }

    fn callers(self) -> usize {
        self.before + CREATIONS
    }

    fn plan(self, seed: u64) -> Result<Plan, String> {
        let draw = Random::from_seed(seed ^ 0x5eed_0fa1_1000_0002);
        let pace = (MINUTE - LAST_COMES_BEFORE) / CREATIONS as u32;
        let begins = self.begins();
        let (mut stories, mut calls) = (Vec::new(), Vec::new());
        for story in 0..self.callers() {
            let from = match story.checked_sub(self.before) {
                Some(story) => begins + pace * story as u32,
                None => begins - MINUTE / CREATIONS as u32 * (self.before - story) as u32,
            };
            let time = from + draw.span(Duration::ZERO, pace);
            let placed = time - draw.span(Duration::ZERO, FIRST);
            stories.push(Story {
                number: format!("OUTAGE-{story:04}"),
                contents: vec![Content { units: 1, lines: 1, placed, refused: false }],
                ..Story::default()
            });
            let call = Call { story, what: What::Create(0), deadline: DEADLINE, leaves: None, repeats: u32::MAX };
            calls.push((time, call));
        }
        Ok(Plan {
            seed,
            settings: default_settings()?,
            end: self.ends() + ANSWERED_WITHIN + DEADLINE,
            lives: vec![Life { start: Duration::ZERO, end: None, boot: 0, booted: Duration::ZERO }],
            steps: Vec::new(),
            faults: self.loss.faults(self.outage, begins),
            stories,
            calls,
            pauses: Some(PAUSES),
            has_operator: false,
        })
    }
}

/// What the gateway does when nothing but an account is set, and a Walmart that keeps its published limits.
fn default_settings() -> Result<Settings, String> {
    let config = Config::load(ACCOUNT, []).map_err(|faults| format!("{faults:?}"))?;
    let limit = |operation| config.walmart.limits.of(operation).get();
    Ok(Settings {
        create_limit: limit(Operation::Create),
        cancel_limit: limit(Operation::Cancel),
        status_limit: limit(Operation::Status),
        settle_window: config.ledger.settle_window,
        lookup_delays: config.ledger.lookup_delays,
        not_after: config.ledger.not_after,
        attempt_timeout: config.walmart.attempt_timeout,
        limit_scale: 1.0,
        duplicates: DuplicatePolicy::Accept,
        refusal: None,
        beyond: false,
        lateness: Duration::ZERO,
        lag: Duration::ZERO,
        travel: millis(400),
        store_time: millis(20),
    })
}

impl Report {
    /// Every promise that is broken.
    pub(crate) fn broken(&self) -> Vec<String> {
        let Figures { doubts, settled, answered, accepted, last_answer, orders, doubled, .. } = self.outcome.figures;
        let (scene, callers) = (self.scene, self.scene.callers());
        let mut broken: Vec<String> = self.outcome.violation.iter().cloned().collect();
        let mut must = |holds: bool, what: String| {
            if !holds {
                broken.push(what);
            }
        };
        must(scene.loss == Loss::Broken || doubts >= CREATIONS, format!("{doubts} doubts, which shows little"));
        must(doubts > 0, "no doubts, which shows nothing".into());
        must(doubled == 0, format!("{doubled} orders are doubled"));
        must(answered == callers, format!("{answered} callers have a final answer"));
        let waited = last_answer.saturating_sub(scene.ends());
        must(waited <= ANSWERED_WITHIN, format!("the last caller waited for {waited:?}"));
        must(orders == accepted, format!("{accepted} callers were told of an order, and there are {orders}"));
        match settled.map(|settled| settled.saturating_sub(scene.ends())) {
            None => must(false, "a doubt is not settled".into()),
            Some(after) if scene.outage == Outage::Made => {
                must(after <= SETTLED_WITHIN, format!("the last doubt was settled after {after:?}"));
                must(orders == callers, format!("{orders} orders were made"));
            }
            Some(_) => {}
        }
        broken
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scene, outcome } = self;
        let Figures { doubts, settled, answered, accepted, last_answer, reads, sent_again, orders, doubled, .. } =
            &outcome.figures;
        let after = |time: Duration| time.as_secs_f64() - scene.ends().as_secs_f64();
        let settled = settled.map_or("never".into(), |settled| format!("{:.1} s", after(settled)));
        write!(
            f,
            "outage {}, {}: {doubts} doubts, the last settled after {settled}; {answered} callers answered, {accepted} of \
             them yes, the last after {:.1} s; {} look-ups by number, {} search pages, {} audits, {sent_again} re-sends; \
             {orders} orders made, {doubled} doubled",
            scene.outage.name(),
            scene.loss.name(),
            after(*last_answer),
            reads.look_ups,
            reads.pages,
            reads.others,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(outage: Outage, loss: Loss, before: usize) -> Report {
        let report = Scene { outage, loss, before }.play(1, false).unwrap();
        assert_eq!(report.broken(), Vec::<String>::new(), "{report}");
        report
    }

    #[test]
    fn all_orders_that_were_made_are_found_within_three_minutes() {
        for loss in Loss::ALL {
            holds(Outage::Made, loss, 0);
        }
    }

    /// More orders than a search reads, so that it cannot tell of any absence.
    #[test]
    fn all_are_found_among_many_others() {
        holds(Outage::Made, Loss::UnreadableReads, 1_800);
    }

    #[test]
    fn connections_that_break_open_the_circuit_and_the_same_seed_goes_the_same_way() {
        let [one, other] = [(); 2].map(|()| holds(Outage::Lost, Loss::Broken, 0));
        assert!(one.outcome.figures.doubts < 100, "{one}");
        assert_eq!(one.outcome.hash, other.outcome.hash);
    }

    #[test]
    fn every_caller_is_answered_within_45_minutes_when_no_order_was_made() {
        holds(Outage::Lost, Loss::Unreadable, 0);
    }

    #[test]
    fn the_same_when_reads_failed_too() {
        holds(Outage::Lost, Loss::UnreadableReads, 0);
    }

    #[test]
    fn a_broken_promise_is_told() {
        let mut report = holds(Outage::Made, Loss::Broken, 0);
        let ends = report.scene.ends();
        let figures = &mut report.outcome.figures;
        figures.settled = Some(ends + SETTLED_WITHIN + millis(1));
        figures.last_answer = ends + ANSWERED_WITHIN + millis(1);
        figures.doubled = 1;
        figures.orders += 1;
        figures.answered -= 1;
        assert_eq!(report.broken().len(), 6, "{:?}", report.broken());
    }
}
