//! What must hold of changes at the end of a run. Pure: what the callers were told, what the ledger lists and what Walmart's
//! side executed go in; everything that must not be comes out, in words.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use order_gateway::pb::{Operation, OperationState};

use super::plan::ChangeKind;
use super::play::ChangeTold;
use crate::answer::Answer;
use crate::callers::Outcome;
use crate::gateway::SETTLE_WINDOW;
use crate::invariants::{ON_ITS_WAY, accepted, differing, lasting, refusal};
use crate::observe::{Call, Observed};
use crate::operations::OPEN;

/// All that is known about one change.
struct Case<'a> {
    told: &'a ChangeTold,
    calls: Vec<&'a Call>,
    operations: Vec<&'a Operation>,
}

/// Everything that must not be, one line each.
pub(crate) fn violations(told: &[ChangeTold], observed: &Observed, ledger: &[Operation]) -> Vec<String> {
    let mut found = Vec::new();
    for case in cases(told, observed, ledger) {
        let checks = [
            case.one_effect(),
            case.answers_are_true(),
            case.one_answer(),
            case.nothing_without_a_row(),
            case.nothing_sent_again_in_doubt(),
            case.all_is_settled(),
            case.the_ledger_agrees(),
        ];
        let ChangeTold { story, kind, object, .. } = case.told;
        let name = format!("{}/{}/{}", story.account, object.number, kind.name());
        found.extend(checks.into_iter().flatten().map(|what| format!("{name}: {what}")));
    }
    found
}

fn cases<'a>(
    told: &'a [ChangeTold],
    observed: &'a Observed,
    ledger: &'a [Operation],
) -> impl Iterator<Item = Case<'a>> {
    let mut by_object: HashMap<(&str, &str, i32), Vec<&Operation>> = HashMap::new();
    for operation in ledger {
        let key = (operation.account.as_str(), operation.order_number.as_str(), operation.kind);
        by_object.entry(key).or_default().push(operation);
    }
    told.iter().map(move |told| {
        let (account, number) = (told.story.account, told.object.number.as_str());
        let calls = observed.calls.get(&(account.to_owned(), number.to_owned()));
        let calls = calls.into_iter().flatten().filter(|call| call.operation == told.kind.name());
        let key = (account, number, told.kind.of_operation() as i32);
        Case { told, calls: calls.collect(), operations: by_object.remove(&key).unwrap_or_default() }
    })
}

impl Case<'_> {
    fn effects(&self) -> usize {
        self.calls.iter().filter(|call| call.had_effect()).count()
    }

    fn is_once(&self) -> bool {
        self.told.story.is_once(self.told.kind)
    }

    /// I1: a change that is to happen once does, and every other one once for each operation.
    fn one_effect(&self) -> Vec<String> {
        let mut found = Vec::new();
        let effects = self.effects();
        if (self.is_once() || self.told.kind.is_a_state()) && effects > 1 {
            found.push(format!("I1: it was carried out {effects} times"));
        }
        let mut of_request: BTreeMap<&str, usize> = BTreeMap::new();
        for call in self.calls.iter().filter(|call| call.had_effect()) {
            *of_request.entry(&call.correlation_id).or_default() += 1;
        }
        let twice = of_request.iter().filter(|(_, times)| **times > 1);
        found.extend(twice.map(|(id, times)| format!("I1: the request {id} was carried out {times} times")));
        found
    }

    /// I2: answered OK, it was carried out; answered REJECTED or EXPIRED by all, it was not.
    fn answers_are_true(&self) -> Vec<String> {
        let (outcomes, effects) = (&self.told.outcomes, self.effects());
        let mut found = Vec::new();
        if accepted(outcomes).next().is_some() && effects == 0 {
            found.push("I2: it was accepted, and not carried out".to_owned());
        }
        if outcomes.iter().all(|outcome| refusal(outcome).is_some()) && effects > 0 {
            found.push(format!("I2: it was refused, and carried out {effects} times"));
        }
        found
    }

    /// I3: one answer, before and after any restarts; and there is no other content that it could be taken for.
    fn one_answer(&self) -> Vec<String> {
        let outcomes = &self.told.outcomes;
        let with_id = self.told.story.request_id.is_some() && !self.told.kind.frees_id();
        let mut found = Vec::new();
        if self.is_once() {
            let successes = accepted(outcomes).map(|accepted| accepted.lasting.as_str());
            let differing =
                if with_id { differing("change", lasting(outcomes)) } else { differing("change", successes) };
            found.extend(differing);
        }
        let other = outcomes.iter().filter_map(refusal).find(|refused| !refused.ended_an_operation());
        found.extend(other.map(|refused| format!("I3: a caller was told {}", refused.reason)));
        found
    }

    /// I4: no byte upstream without that attempt's durable row.
    fn nothing_without_a_row(&self) -> Vec<String> {
        let rows: BTreeSet<&str> = self.operations.iter().map(|row| row.correlation_id.as_str()).collect();
        let sent: BTreeSet<&str> = self.calls.iter().map(|call| call.correlation_id.as_str()).collect();
        let without = sent.difference(&rows);
        without.map(|id| format!("I4: the request {id} was sent, and the ledger has no row of it")).collect()
    }

    /// I5: nothing is sent again before the resolve rule holds, and money and secrets not at all.
    fn nothing_sent_again_in_doubt(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (i, earlier) in self.calls.iter().enumerate().filter(|(_, call)| !call.was_put_off()) {
            let same = |later: &&&Call| later.correlation_id == earlier.correlation_id;
            let Some(later) = self.calls[i + 1..].iter().find(same) else { continue };
            let told = earlier.status.map_or("nothing".to_owned(), |status| status.to_string());
            let pause = Duration::try_from(later.time.duration_since(earlier.time)).unwrap_or_default();
            if let Some(why) = self.told.kind.is_never_sent_again() {
                found.push(format!("I5: it was answered {told}, and sent again, and {why}"));
            } else if pause + ON_ITS_WAY < SETTLE_WINDOW {
                found.push(format!("I5: it was answered {told}, and sent again {pause:?} later"));
            }
        }
        found
    }

    /// I6: once faults have stopped every row is final, and every caller has an answer.
    fn all_is_settled(&self) -> Vec<String> {
        let open = self.operations.iter().filter(|row| OPEN.contains(&row.state()));
        let mut found: Vec<String> =
            open.map(|row| format!("I6: {} is still {}", row.name, row.state().as_str_name())).collect();
        for outcome in &self.told.outcomes {
            match outcome {
                Outcome::Unfinished => found.push("I6: a caller never got a final answer".to_owned()),
                Outcome::Told(Answer::Bug(text)) => found.push(format!("I6: a caller was answered {text}")),
                _ => {}
            }
        }
        found
    }

    /// What the ledger calls carried out is what was carried out. Of a state at Walmart's side there is one effect, and several
    /// calls may have found it.
    fn the_ledger_agrees(&self) -> Vec<String> {
        let succeeded = self.operations.iter().filter(|row| row.state() == OperationState::Succeeded).count();
        let effects = self.effects();
        let agrees = if self.told.kind.is_a_state() { (succeeded > 0) == (effects > 0) } else { succeeded == effects };
        let told = || format!("the ledger lists {succeeded} as carried out, Walmart did {effects}");
        (!agrees).then(told).into_iter().collect()
    }
}

/// What became of each kind, in words.
pub(crate) fn figures(told: &[ChangeTold], observed: &Observed, ledger: &[Operation]) -> Vec<(&'static str, String)> {
    #[derive(Default)]
    struct Sums {
        asked: usize,
        accepted: usize,
        rows: usize,
        carried_out: usize,
        in_doubt: usize,
        sent_again: usize,
        by_operator: usize,
    }
    let mut sums: BTreeMap<ChangeKind, Sums> = BTreeMap::new();
    for case in cases(told, observed, ledger) {
        let of_kind = sums.entry(case.told.kind).or_default();
        of_kind.asked += 1;
        of_kind.accepted += usize::from(accepted(&case.told.outcomes).next().is_some());
        of_kind.rows += case.operations.len();
        of_kind.carried_out += case.effects();
        of_kind.in_doubt += case.operations.iter().filter(|row| row.last_evidence.is_some()).count();
        of_kind.sent_again += case.operations.iter().map(|row| row.attempts.saturating_sub(1) as usize).sum::<usize>();
        of_kind.by_operator += case.operations.iter().filter(|row| !row.resolution.is_empty()).count();
    }
    let line = |(kind, sums): (ChangeKind, Sums)| {
        let Sums { asked, accepted, rows, carried_out, in_doubt, sent_again, by_operator } = sums;
        let text = format!(
            "{asked} asked for, {accepted} accepted, {rows} operations, {carried_out} carried out, {in_doubt} looked up, \
             {sent_again} sent again, {by_operator} decided by an operator"
        );
        (kind.name(), text)
    };
    sums.into_iter().map(line).collect()
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
