//! Faults as data: which calls are disturbed, and how.
//!
//! Whether a rule strikes depends only on the seed, the rule's place in the file, the operation, the order number and
//! the how-manieth call of that operation and number it is. Calls of other orders, before or beside it, change nothing:
//! a test with many callers sees the same faults on every run. Calls without an order number (token, promise, searches)
//! share one row, in the order in which they arrive.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use jiff::SignedDuration;
use serde::Deserialize;

use super::answer::Answer;
use super::ids::fraction;
use super::target::Target;

/// Longest `delay` of a rule.
const MAX_DELAY: Duration = Duration::from_secs(600);

/// What happens to one call instead of, or beside, its normal course.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Disturbance {
    /// How long the answer, or the drop, is held back. What is executed is executed at once.
    pub(crate) delay: Duration,
    /// The connection ends without an answer.
    pub(crate) drops: bool,
    /// Whether the operation is executed.
    pub(crate) executes: bool,
    /// Status instead of the real one.
    pub(crate) status: Option<u16>,
    /// Body instead of the real one.
    pub(crate) body: Option<Bytes>,
}

impl Disturbance {
    /// The answer that is sent, given the real one where the operation was executed.
    pub(crate) fn answer(&self, real: Option<Answer>) -> Answer {
        let real_status = real.as_ref().map_or(200, |answer| answer.status);
        match (self.status, &self.body, real) {
            (status, Some(body), _) => Answer::fixed(status.unwrap_or(real_status), body.clone()),
            (Some(status), None, _) => Answer::of_status(status),
            (None, None, Some(real)) => real,
            (None, None, None) => Answer::of_status(500),
        }
    }
}

/// A set of rules, read from TOML. The default is none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults {
    seed: Option<u64>,
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq)]
struct Rule {
    target: Option<Target>,
    probability: f64,
    count: Option<u64>,
    disturbance: Disturbance,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    seed: Option<u64>,
    #[serde(default)]
    fault: Vec<RawRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    operation: Option<String>,
    probability: Option<f64>,
    count: Option<u64>,
    delay: Option<String>,
    status: Option<u16>,
    drop: Option<Moment>,
    when: Option<Moment>,
    body: Option<String>,
}

#[derive(Clone, Copy, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Moment {
    Before,
    After,
}

impl Faults {
    /// Reads TOML: `seed`, then any number of `[[fault]]`. The keys are described in `docs/EMULATOR.md`.
    ///
    /// # Errors
    /// One line that names the place and every fault found.
    pub fn parse(text: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| 1 + text[..span.start.min(text.len())].matches('\n').count());
            let message = error.message().replace('\n', " ");
            line.map_or_else(|| message.clone(), |line| format!("line {line}: {message}"))
        })?;
        let mut problems = Vec::new();
        let mut rules = Vec::new();
        for (position, raw) in file.fault.into_iter().enumerate() {
            match raw.checked() {
                Ok(rule) => rules.push(rule),
                Err(found) => problems.extend(found.iter().map(|p| format!("fault[{position}].{p}"))),
            }
        }
        if problems.is_empty() { Ok(Self { seed: file.seed, rules }) } else { Err(problems.join("; ")) }
    }

    /// How many rules there are.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether nothing is disturbed.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

impl RawRule {
    fn checked(self) -> Result<Rule, Vec<String>> {
        let mut problems = Vec::new();
        let target = match self.operation.as_deref() {
            None | Some("*") => None,
            Some(name) => Target::named(name).or_else(|| {
                problems.push("operation: must be token, promise, create, cancel, status or *".to_owned());
                None
            }),
        };
        let probability = self.probability.unwrap_or(1.0);
        if !(0.0..=1.0).contains(&probability) {
            problems.push("probability: must be 0 to 1".to_owned());
        }
        if self.status.is_some_and(|status| !(200..=599).contains(&status)) {
            problems.push("status: must be 200 to 599".to_owned());
        }
        let delay = self.delay.as_deref().map(duration).transpose().unwrap_or_else(|problem| {
            problems.push(format!("delay: {problem}"));
            None
        });
        let replaces = self.status.is_some() || self.body.is_some();
        if self.drop.is_some() && (replaces || self.when.is_some()) {
            problems.push("drop: leaves no answer, so status, body and when cannot stand beside it".to_owned());
        }
        if self.when.is_some() && self.drop.is_none() && !replaces {
            problems
                .push("when: says whether a status or body comes before or after execution; there is none".to_owned());
        }
        if self.drop.is_none() && self.delay.is_none() && !replaces {
            problems.push("drop: one of delay, status, body and drop is needed".to_owned());
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let executes = match (self.drop, self.when) {
            (Some(moment), _) | (None, Some(moment)) => moment == Moment::After,
            (None, None) => !replaces,
        };
        let disturbance = Disturbance {
            delay: delay.unwrap_or_default(),
            drops: self.drop.is_some(),
            executes,
            status: self.status,
            body: self.body.map(Bytes::from),
        };
        Ok(Rule { target, probability, count: self.count, disturbance })
    }
}

fn duration(text: &str) -> Result<Duration, &'static str> {
    let parsed: SignedDuration = text.parse().map_err(|_| "must be a duration such as \"250ms\" or \"2s\"")?;
    let delay = Duration::try_from(parsed).map_err(|_| "must not be negative")?;
    if delay > MAX_DELAY { Err("must be at most 10 minutes") } else { Ok(delay) }
}

/// Decides for each call whether it is disturbed.
#[derive(Debug)]
pub(crate) struct Injector {
    faults: Faults,
    seed: u64,
    pairs: HashMap<(Target, String), Pair>,
}

/// What one operation and order number has seen.
#[derive(Debug, Default)]
struct Pair {
    calls: u64,
    struck: HashMap<usize, u64>,
}

impl Injector {
    /// `seed` counts where the faults name none.
    pub(crate) fn new(faults: Faults, seed: u64) -> Self {
        Self { seed: faults.seed.unwrap_or(seed), faults, pairs: HashMap::new() }
    }

    /// The first rule that strikes this call, with its position. To be asked once for each call.
    pub(crate) fn draw(&mut self, target: Target, order_number: &str) -> Option<(usize, Disturbance)> {
        if self.faults.is_empty() {
            return None;
        }
        let pair = self.pairs.entry((target, order_number.to_owned())).or_default();
        pair.calls += 1;
        for (position, rule) in self.faults.rules.iter().enumerate() {
            let struck = pair.struck.entry(position).or_default();
            if rule.target.is_some_and(|t| t != target) || rule.count.is_some_and(|count| *struck >= count) {
                continue;
            }
            let parts = [&position.to_string(), target.name(), order_number, &pair.calls.to_string()];
            if fraction(self.seed, &parts) < rule.probability {
                *struck += 1;
                return Some((position, rule.disturbance.clone()));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::operation::Operation;

    const CREATE: Target = Target::Call(Operation::Create);

    #[test]
    fn reads_every_key() {
        let faults = Faults::parse(
            "seed = 7\n[[fault]]\noperation = \"create\"\nprobability = 0.5\ncount = 2\ndelay = \"250ms\"\nstatus = 503\nwhen = \"after\"\nbody = \"x\"\n[[fault]]\ndrop = \"before\"\n",
        )
        .unwrap();
        assert_eq!((faults.seed, faults.len()), (Some(7), 2));
        let rule = &faults.rules[0];
        assert_eq!((rule.target, rule.probability, rule.count), (Some(CREATE), 0.5, Some(2)));
        let expected = Disturbance {
            delay: Duration::from_millis(250),
            drops: false,
            executes: true,
            status: Some(503),
            body: Some("x".into()),
        };
        assert_eq!(rule.disturbance, expected);
        let drop = &faults.rules[1].disturbance;
        assert!(drop.drops && !drop.executes && faults.rules[1].target.is_none());
    }

    #[test]
    fn every_fault_of_the_rules_is_named_in_one_line() {
        let text = "[[fault]]\noperation = \"x\"\nprobability = 2\nstatus = 99\ndelay = \"soon\"\n[[fault]]\n\
                    [[fault]]\ndrop = \"after\"\nstatus = 500\n[[fault]]\ndelay = \"1s\"\nwhen = \"after\"\n[[fault]]\ndelay = \"11m\"";
        let error = Faults::parse(text).unwrap_err();
        for part in [
            "fault[0].operation",
            "fault[0].probability",
            "fault[0].status",
            "fault[0].delay",
            "fault[1].drop",
            "fault[2].drop",
            "fault[3].when",
            "fault[4].delay",
        ] {
            assert!(error.contains(part), "{part} in {error}");
        }
        for bad in [
            "[[fault]]\nstats = 500",
            "fault = 3",
            "[[fault]]\nstatus = ",
            "[[fault]\n",
            "[[fault]]\nprobability = nan\nstatus=500",
        ] {
            let error = Faults::parse(bad).unwrap_err();
            assert!(!error.contains('\n') && !error.is_empty(), "{error}");
        }
        assert!(Faults::parse("\n\n[[fault]]\nstats = 500").unwrap_err().starts_with("line 4: "));
    }

    fn sequence(injector: &mut Injector, number: &str) -> Vec<bool> {
        (0..40).map(|_| injector.draw(CREATE, number).is_some()).collect()
    }

    #[test]
    fn what_strikes_an_order_does_not_depend_on_other_orders() {
        let faults = Faults::parse("[[fault]]\nprobability = 0.5\nstatus = 500").unwrap();
        let mut alone = Injector::new(faults.clone(), 3);
        let expected = sequence(&mut alone, "A");
        assert!(expected.contains(&true) && expected.contains(&false));
        let mut crowded = Injector::new(faults.clone(), 3);
        let found: Vec<bool> = (0..40)
            .map(|i| {
                crowded.draw(CREATE, "B");
                crowded.draw(Target::Call(Operation::Cancel), "A");
                (0..i % 3).for_each(|_| drop(crowded.draw(CREATE, "C")));
                crowded.draw(CREATE, "A").is_some()
            })
            .collect();
        assert_eq!(found, expected);
        assert_ne!(sequence(&mut Injector::new(faults, 4), "A"), expected);
    }

    #[test]
    fn count_bounds_how_often_each_order_is_struck() {
        let faults = Faults::parse("[[fault]]\noperation = \"create\"\ncount = 2\nstatus = 500").unwrap();
        let mut injector = Injector::new(faults, 0);
        let struck = |injector: &mut Injector, number| sequence(injector, number).iter().filter(|s| **s).count();
        assert_eq!((struck(&mut injector, "A"), struck(&mut injector, "B")), (2, 2));
        assert!(injector.draw(Target::Token, "").is_none());
    }
}
