//! A `[[fault]]` entry: its keys and their validation.

use std::time::Duration;

use bytes::Bytes;
use jiff::SignedDuration;
use serde::Deserialize;

use crate::emulator::disturbance::CallDisturbance;
use crate::emulator::lies::{self, AnswerLoss, Lie, LieKind, LieScope};
use crate::emulator::target::Target;

/// Longest `delay` of a rule.
const MAX_DELAY: Duration = Duration::from_secs(600);
/// Longest `lag` of a rule.
const MAX_LAG: Duration = Duration::from_secs(30 * 24 * 3600);

#[derive(Clone, Debug, PartialEq)]
pub(super) struct FaultRule {
    pub(super) target: Option<Target>,
    pub(super) probability: f64,
    pub(super) count: Option<u64>,
    /// Hits only creates with a number that the account has used.
    pub(super) duplicates_only: bool,
    /// The shortest and the longest lag of an order.
    pub(super) lag: (Duration, Duration),
    pub(super) disturbance: CallDisturbance,
}

impl FaultRule {
    pub(super) fn lie(&self) -> Option<&'static Lie> {
        self.disturbance.lie
    }

    /// Whether the rule can hit this call at all.
    pub(super) fn includes(&self, target: Target) -> bool {
        self.target.is_none_or(|own| own == target)
            && self.lie().is_none_or(|lie| lie.is_told_by_call() && lie.about.includes(target))
    }
}

/// A rule before validation.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRule {
    operation: Option<String>,
    probability: Option<f64>,
    count: Option<u64>,
    delay: Option<String>,
    status: Option<u16>,
    drop: Option<DropTime>,
    when: Option<FaultTime>,
    body: Option<String>,
    lie: Option<String>,
    lag: Option<Lag>,
}

#[derive(Clone, Copy, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum DropTime {
    Before,
    After,
}

#[derive(Clone, Copy, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum FaultTime {
    Before,
    After,
    Duplicate,
}

/// A single lag, or the shortest and the longest.
#[derive(Deserialize)]
#[serde(untagged)]
enum Lag {
    Exactly(String),
    Between([String; 2]),
}

impl RawRule {
    /// Validates the rule.
    ///
    /// # Errors Every fault found, with its key in front.
    pub(super) fn checked(self) -> Result<FaultRule, Vec<String>> {
        let mut problems = Vec::new();
        let target = match self.operation.as_deref() {
            None | Some("*") => None,
            Some(name) => Target::named(name).or_else(|| {
                problems.push(format!("operation: must be {} or *", Target::names()));
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
        let delay = self.delay.as_deref().map(|text| duration(text, MAX_DELAY)).transpose().unwrap_or_else(|problem| {
            problems.push(format!("delay: {problem}"));
            None
        });
        let lie = self.lie.as_deref().map(lies::named).transpose().unwrap_or_else(|problem| {
            problems.push(format!("lie: {problem}"));
            None
        });
        let lag = self.checked_lag(lie).unwrap_or_else(|problem| {
            problems.push(problem);
            (Duration::ZERO, Duration::ZERO)
        });
        if let Some(lie) = lie {
            problems.extend(self.beside_a_lie(lie, target));
        } else if self.lie.is_none() {
            problems.extend(self.without_a_lie());
        }
        if self.when == Some(FaultTime::Duplicate) && target != Some(Target::CREATE) {
            problems.push("when: \"duplicate\" needs operation = \"create\"".to_owned());
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let replaces = self.status.is_some() || self.body.is_some();
        let executes = match (self.drop, self.when) {
            (Some(time), _) => time == DropTime::After,
            (None, Some(when)) => when == FaultTime::After,
            (None, None) => lie.map_or(!replaces, |lie| lie.executes() && self.status.is_none()),
        };
        let disturbance = CallDisturbance {
            delay: delay.unwrap_or_default(),
            drops: self.drop.is_some(),
            executes,
            status: self.status,
            body: self.body.map(Bytes::from),
            lie,
        };
        let duplicates_only = self.when == Some(FaultTime::Duplicate);
        Ok(FaultRule { target, probability, count: self.count, duplicates_only, lag, disturbance })
    }

    fn checked_lag(&self, lie: Option<&Lie>) -> Result<(Duration, Duration), String> {
        let lags = lie.is_some_and(|lie| matches!(lie.tell, LieKind::Lags(_)));
        let (least, most) = match &self.lag {
            None if lags => return Err("lag: is needed".to_owned()),
            None => return Ok((Duration::ZERO, Duration::ZERO)),
            Some(_) if !lags => return Err("lag: only the lies that end in -lag have one".to_owned()),
            Some(Lag::Exactly(lag)) => (lag, lag),
            Some(Lag::Between([least, most])) => (least, most),
        };
        let read = |text: &str| duration(text, MAX_LAG).map_err(|problem| format!("lag: {problem}"));
        let lag = (read(least)?, read(most)?);
        if lag.0 > lag.1 { Err("lag: the least comes first".to_owned()) } else { Ok(lag) }
    }

    /// Faults of keys that exclude this lie.
    fn beside_a_lie(&self, lie: &Lie, target: Option<Target>) -> Vec<String> {
        let mut problems = Vec::new();
        let mut refuse = |key: &str, given: bool, why: &str| {
            if given {
                problems.push(format!("{key}: {why}"));
            }
        };
        refuse(
            "lie",
            self.body.is_some() || self.drop.is_some(),
            "says what is answered; body and drop cannot stand beside it",
        );
        if target.is_some_and(|target| !lie.about.includes(target)) {
            problems.push(format!("operation: {} is told about {} only", lie.name, lie.about.words()));
            return problems;
        }
        if lie.about == LieScope::Reads {
            refuse("when", self.when.is_some(), "a read changes nothing, so it is never too early");
        }
        match lie.tell {
            LieKind::Lags(_) => {
                refuse(
                    "lag",
                    self.count.is_some() || self.delay.is_some() || self.status.is_some(),
                    "belongs to orders, not to calls: count, delay and status cannot stand beside it",
                );
            }
            LieKind::HangsConnect => {
                refuse(
                    "lie",
                    self.delay.is_some() || self.status.is_some() || self.when.is_some(),
                    "belongs to connections, not to calls: delay, status and when cannot stand beside it",
                );
            }
            LieKind::Breaks(end) => {
                refuse("status", self.status.is_some(), "there is no answer");
                refuse(
                    "when",
                    end == AnswerLoss::TurnedAway && self.when.is_some(),
                    "what is turned away was not executed",
                );
            }
            LieKind::Says(..) | LieKind::Changes(_) => {}
        }
        problems
    }

    /// Missing and superfluous keys of a rule without a lie.
    fn without_a_lie(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let replaces = self.status.is_some() || self.body.is_some();
        if self.drop.is_some() && (replaces || self.when.is_some()) {
            problems.push("drop: leaves no answer, so status, body and when cannot stand beside it".to_owned());
        }
        if self.when.is_some() && self.drop.is_none() && !replaces {
            problems
                .push("when: says whether a status or body comes before or after execution; there is none".to_owned());
        }
        if self.drop.is_none() && self.delay.is_none() && !replaces {
            problems.push("drop: one of delay, status, body, drop and lie is needed".to_owned());
        }
        problems
    }
}

fn duration(text: &str, most: Duration) -> Result<Duration, String> {
    let parsed: SignedDuration =
        text.parse().map_err(|_| "must be a duration such as \"250ms\" or \"2s\"".to_owned())?;
    let duration = Duration::try_from(parsed).map_err(|_| "must not be negative".to_owned())?;
    if duration <= most {
        return Ok(duration);
    }
    Err(format!("must be at most {} minutes", most.as_secs() / 60))
}
