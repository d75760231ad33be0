//! Fault rules as data: which calls are disturbed or answered with a lie, and how.
//!
//! A hit depends only on the seed, the rule's position in the file, the operation, the order number, and the ordinal of
//! the call among those with this operation and number. Calls of other orders do not matter: a test with many callers
//! sees the same faults in every run. Calls without an order number (token, promise, searches) share a sequence, in the
//! order of their arrival.

mod injector;
mod rule;

pub(crate) use self::injector::Injector;

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;

use self::rule::{FaultRule, RawRule};
use super::answer::WalmartAnswer;
use super::lies::{AnswerLoss, Lie, LieContext, LieKind, LieScope};

/// Changes to the normal course of a call.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct CallDisturbance {
    /// Delay of the answer, or of its loss. The operation itself runs at once.
    pub(crate) delay: Duration,
    /// Whether the connection ends without an answer.
    pub(crate) drops: bool,
    /// Whether the operation runs.
    pub(crate) executes: bool,
    /// Status in place of the real status, or of the lie's.
    pub(crate) status: Option<u16>,
    /// Body in place of the real body.
    pub(crate) body: Option<Bytes>,
    /// The lie in place of the true answer.
    pub(crate) lie: Option<&'static Lie>,
}

impl CallDisturbance {
    /// Builds the answer for the caller. `real` is the true answer, if the operation ran.
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
            // These lies change how an answer arrives; the rule's status selects the answer.
            return Ok(lie.answer(question, self.undistorted(real)));
        }
        let told = lie.answer(question, real.unwrap_or_else(|| WalmartAnswer::of_status(500)));
        Ok(match self.status {
            Some(status) => told.with_status(status),
            None => told,
        })
    }

    /// The answer with the rule's status and body.
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

/// Fault rules, read from TOML. The default has no rules.
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
    /// Parses TOML: `seed`, then any number of `[[fault]]`. `docs/EMULATOR.md` describes the keys.
    ///
    /// # Errors One line with the position, or with every fault found.
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

    /// The number of rules.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether the set has no rules.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

#[cfg(test)]
mod tests;
