//! Draws the calls, orders and connections that the fault rules hit.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::FaultRules;
use super::rule::FaultRule;
use crate::emulator::disturbance::CallDisturbance;
use crate::emulator::ids::fraction;
use crate::emulator::lies::{LagKind, LieKind};
use crate::emulator::magic;
use crate::emulator::target::Target;

/// Decides for every call whether a rule hits it.
#[derive(Debug)]
pub(crate) struct Injector {
    faults: FaultRules,
    seed: u64,
    pairs: HashMap<(Target, String), CallCounter>,
    connections: CallCounter,
}

/// Call count and hits of an operation and order number, or of all connections.
#[derive(Debug, Default)]
struct CallCounter {
    calls: u64,
    struck: BTreeMap<usize, u64>,
}

impl CallCounter {
    /// Whether the rule hits the call counted last. Besides the count, the draw depends on `parts`.
    fn is_struck(&mut self, rule: &FaultRule, position: usize, seed: u64, parts: [&str; 2]) -> bool {
        let struck = self.struck.entry(position).or_default();
        if rule.count.is_some_and(|count| *struck >= count) {
            return false;
        }
        let strikes =
            fraction(seed, &[&position.to_string(), parts[0], parts[1], &self.calls.to_string()]) < rule.probability;
        *struck += u64::from(strikes);
        strikes
    }
}

impl Injector {
    /// `seed` applies when the fault file names none.
    pub(crate) fn new(faults: FaultRules, seed: u64) -> Self {
        Self { seed: faults.seed.unwrap_or(seed), faults, pairs: HashMap::new(), connections: CallCounter::default() }
    }

    /// Returns the first rule that hits this call, and its position. Must be asked once per call. `is_duplicate`: a
    /// create with a number that the account has used.
    pub(crate) fn draw(
        &mut self,
        target: Target,
        order_number: &str,
        is_duplicate: impl Fn() -> bool,
    ) -> Option<(usize, CallDisturbance)> {
        if self.faults.is_empty() {
            return None;
        }
        let pair = self.pairs.entry((target, order_number.to_owned())).or_default();
        pair.calls += 1;
        for (position, rule) in self.faults.rules.iter().enumerate() {
            if rule.includes(target)
                && (!rule.duplicates_only || is_duplicate())
                && pair.is_struck(rule, position, self.seed, [target.name(), order_number])
            {
                return Some((position, rule.disturbance.clone()));
            }
        }
        None
    }

    /// The lag of an order in these reads, drawn once per order number.
    pub(crate) fn lag(&self, lagging: LagKind, order_number: &str) -> Duration {
        let lags = |rule: &FaultRule| matches!(rule.lie(), Some(lie) if matches!(lie.tell, LieKind::Lags(of) if of == lagging));
        for (position, rule) in self.faults.rules.iter().enumerate().filter(|(_, rule)| lags(rule)) {
            let position = position.to_string();
            let draw = |what: &str| fraction(self.seed, &[&position, what, order_number]);
            if draw("lags") < rule.probability {
                let (least, most) = rule.lag;
                return least + (most - least).mul_f64(draw("lag"));
            }
        }
        magic::lag(lagging, order_number)
    }

    /// Whether a newly accepted connection hangs. Must be asked once per connection.
    pub(crate) fn hangs_connection(&mut self) -> bool {
        self.connections.calls += 1;
        let hangs = |rule: &FaultRule| matches!(rule.lie(), Some(lie) if matches!(lie.tell, LieKind::HangsConnect));
        let mut rules = self.faults.rules.iter().enumerate().filter(|(_, rule)| hangs(rule));
        rules.any(|(position, rule)| self.connections.is_struck(rule, position, self.seed, ["connect", ""]))
    }
}
