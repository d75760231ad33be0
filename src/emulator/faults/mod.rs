//! Faults as data: which calls are disturbed or lied about, and how.
//!
//! Whether a rule strikes depends only on the seed, the rule's place in the file, the operation, the order number and
//! the how-manieth call of that operation and number it is. Calls of other orders, before or beside it, change nothing:
//! a test with many callers sees the same faults on every run. Calls without an order number (token, promise, searches)
//! share one row, in the order in which they arrive.

mod injector;
mod rule;

pub(crate) use self::injector::Injector;

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;

use self::rule::{FaultRule, RawRule};
use super::answer::WalmartAnswer;
use super::lies::{AnswerLoss, Lie, LieContext, LieKind, LieScope};

/// What happens to one call instead of, or beside, its normal course.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct CallDisturbance {
    /// How long the answer, or its loss, is held back. What is executed is executed at once.
    pub(crate) delay: Duration,
    /// The connection ends without an answer.
    pub(crate) drops: bool,
    /// Whether the operation is executed.
    pub(crate) executes: bool,
    /// Status instead of the real one, or of the lie's.
    pub(crate) status: Option<u16>,
    /// Body instead of the real one.
    pub(crate) body: Option<Bytes>,
    /// What is told instead of the truth.
    pub(crate) lie: Option<&'static Lie>,
}

impl CallDisturbance {
    /// What the caller gets, given the real answer where the operation was executed.
    pub(crate) fn answer(
        &self,
        question: &LieContext<'_>,
        real: Option<WalmartAnswer>,
    ) -> Result<WalmartAnswer, AnswerLoss> {
        if self.drops {
            return Err(AnswerLoss::Closed);
        }
        if let Some(Lie { tell: LieKind::Breaks(end), .. }) = self.lie {
            return Err(*end);
        }
        let Some(lie) = self.lie else { return Ok(self.undistorted(real)) };
        if lie.about == LieScope::Calls {
            // These change how an answer arrives, so the rule's status says which answer.
            return Ok(lie.answer(question, self.undistorted(real)));
        }
        let told = lie.answer(question, real.unwrap_or_else(|| WalmartAnswer::of_status(500)));
        Ok(match self.status {
            Some(status) => told.with_status(status),
            None => told,
        })
    }

    /// The answer as the rule's status and body have it.
    fn undistorted(&self, real: Option<WalmartAnswer>) -> WalmartAnswer {
        let real_status = real.as_ref().map_or(200, |answer| answer.status);
        match (self.status, &self.body, real) {
            (status, Some(body), _) => WalmartAnswer::fixed(status.unwrap_or(real_status), body.clone()),
            (Some(status), None, _) => WalmartAnswer::of_status(status),
            (None, None, Some(real)) => real,
            (None, None, None) => WalmartAnswer::of_status(500),
        }
    }
}

/// A set of rules, read from TOML. The default is none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FaultRules {
    seed: Option<u64>,
    rules: Vec<FaultRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultFile {
    seed: Option<u64>,
    #[serde(default)]
    fault: Vec<RawRule>,
}

impl FaultRules {
    /// Reads TOML: `seed`, then any number of `[[fault]]`. The keys are described in `docs/EMULATOR.md`.
    ///
    /// # Errors
    /// One line that names the place and every fault found.
    pub fn parse(text: &str) -> Result<Self, String> {
        let file: FaultFile = toml::from_str(text).map_err(|error| {
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

#[cfg(test)]
mod tests;
