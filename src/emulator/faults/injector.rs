//! Draws which calls, orders and connections the rules strike.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::rule::FaultRule;
use super::{CallDisturbance, FaultRules};
use crate::emulator::ids::fraction;
use crate::emulator::lies::{LagKind, LieKind};
use crate::emulator::magic;
use crate::emulator::target::Target;

/// Decides for each call whether it is disturbed.
#[derive(Debug)]
pub(crate) struct Injector {
    faults: FaultRules,
    seed: u64,
    pairs: HashMap<(Target, String), CallCounter>,
    connections: CallCounter,
}

/// What one operation and order number has seen, or all connections.
#[derive(Debug, Default)]
struct CallCounter {
    calls: u64,
    struck: BTreeMap<usize, u64>,
}

impl CallCounter {
    /// Whether the rule strikes the call that was counted last; `parts` is what the draw depends on besides that count.
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
    /// `seed` counts where the faults name none.
    pub(crate) fn new(faults: FaultRules, seed: u64) -> Self {
        Self { seed: faults.seed.unwrap_or(seed), faults, pairs: HashMap::new(), connections: CallCounter::default() }
    }

    /// The first rule that strikes this call, with its position. To be asked once for each call. `is_duplicate`: a create
    /// of a number that the account has used.
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

    /// How much later this is seen of an order. It is drawn once for each order number.
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

    /// Whether the connection that was just accepted hangs. To be asked once for each connection.
    pub(crate) fn hangs_connection(&mut self) -> bool {
        self.connections.calls += 1;
        let hangs = |rule: &FaultRule| matches!(rule.lie(), Some(lie) if matches!(lie.tell, LieKind::HangsConnect));
        let mut rules = self.faults.rules.iter().enumerate().filter(|(_, rule)| hangs(rule));
        rules.any(|(position, rule)| self.connections.is_struck(rule, position, self.seed, ["connect", ""]))
    }
}
