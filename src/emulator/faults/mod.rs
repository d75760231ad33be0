//! Fault rules as data: which calls are disturbed or answered with a lie, and how.
//!
//! A hit depends only on the seed, the rule's position in the file, the operation, the order number, and the ordinal of
//! the call among those with this operation and number. Calls of other orders do not matter: a test with many callers
//! sees the same faults in every run. Calls without an order number (token, promise, searches) share a sequence, in the
//! order of their arrival.

mod injector;
mod rule;

pub(crate) use self::injector::Injector;

use serde::Deserialize;

use self::rule::{FaultRule, RawRule};

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
