//! What must hold at the end of a run, whatever was killed: I1 to I6 of the ledger's design, and that what the gateway
//! lists is what happened. Pure: what the callers were told, what the ledger lists and what Walmart's side executed go
//! in; everything that must not be comes out, in words.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use order_gateway::pb::{Operation, OperationKind, OperationState};

use crate::answer::{Accepted, Answer, Refused};
use crate::callers::{Outcome, Told};
use crate::gateway::SETTLE_WINDOW;
use crate::observe::{Call, Key, Observed, Order};
use crate::operations::OPEN;
use crate::schedule::{Creation, Story};

/// How much later than the gateway gave a request up it may have been received. The window begins when it is given up, and is
/// a sixtieth of the usual one; how long a busy machine takes to read a request is not.
pub(crate) const ON_ITS_WAY: Duration = Duration::from_millis(200);

/// All that is known about one order number.
struct Case<'a> {
    told: &'a Told,
    orders: &'a [Order],
    calls: &'a [Call],
    operations: Vec<&'a Operation>,
}

/// Everything that must not be, one line each.
pub(crate) fn violations(told: &[Told], observed: &Observed, ledger: &[Operation]) -> Vec<String> {
    let mut by_number: HashMap<Key, Vec<&Operation>> = HashMap::new();
    for operation in ledger {
        by_number.entry((operation.account.clone(), operation.order_number.clone())).or_default().push(operation);
    }
    let mut found = Vec::new();
    for told in told {
        let key = (told.story.account.to_owned(), told.story.number.clone());
        let case = Case {
            told,
            orders: observed.orders.get(&key).map(Vec::as_slice).unwrap_or_default(),
            calls: observed.calls.get(&key).map(Vec::as_slice).unwrap_or_default(),
            operations: by_number.remove(&key).unwrap_or_default(),
        };
        let checks = [
            case.one_effect(),
            case.answers_are_true(),
            case.one_answer(),
            case.nothing_without_a_row(),
            case.nothing_sent_again_in_doubt(),
            case.all_is_settled(),
            case.the_ledger_agrees(),
        ];
        found.extend(checks.into_iter().flatten().map(|what| format!("{}/{}: {what}", key.0, key.1)));
    }
    found
}

impl Case<'_> {
    /// I1: at most one upstream effect per order number; at most one per cancel request_id.
    fn one_effect(&self) -> Vec<String> {
        let mut found = Vec::new();
        if self.orders.len() > 1 {
            found.push(format!("I1: {} orders were created", self.orders.len()));
        }
        let mut effects: HashMap<&str, usize> = HashMap::new();
        for call in self.calls.iter().filter(|call| call.had_effect()) {
            *effects.entry(&call.correlation_id).or_default() += 1;
        }
        for (correlation_id, times) in effects.iter().filter(|(_, times)| **times > 1) {
            found.push(format!("I1: the request {correlation_id} was carried out {times} times"));
        }
        if self.cancelled_under_an_id() {
            let over = self.lines().filter(|(_, cancelled)| *cancelled > 1);
            found.extend(over.map(|(line, times)| format!("I1: line {line} was cancelled {times} times under one id")));
        }
        found
    }

    /// I2: answered OK, exactly one effect, and the one that was asked for; answered REJECTED or EXPIRED, none.
    fn answers_are_true(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (units, told) in self.contents() {
            let there = self.orders.iter().filter(|order| order.lines.iter().all(|line| line.ordered == units)).count();
            let accepted = accepted(&told).count();
            if accepted > 0 && there == 0 {
                let others = self.orders.len();
                found.push(format!("I2: the order of {units} units was accepted, Walmart has none ({others} others)"));
            }
            let all_refused = told.iter().all(|outcome| refusal(outcome).is_some());
            if all_refused && there > 0 {
                let reasons: BTreeSet<&str> =
                    told.iter().filter_map(|o| refusal(o)).map(|r| r.reason.as_str()).collect();
                found.push(format!("I2: the order of {units} units was refused ({reasons:?}), and Walmart has it"));
            }
        }
        if self.cancelled_under_an_id() {
            found.extend(self.untrue_cancellations());
        }
        found
    }

    fn untrue_cancellations(&self) -> Vec<String> {
        let units: HashMap<&str, u32> = self.lines().collect();
        let mut found = Vec::new();
        for accepted in accepted(&self.told.cancellation) {
            for (line, was_accepted) in &accepted.lines {
                let cancelled = units.get(line.as_str()).copied().unwrap_or_default();
                if cancelled != u32::from(*was_accepted) {
                    let said = if *was_accepted { "accepted" } else { "refused" };
                    found.push(format!("I2: the cancellation of line {line} was {said}, {cancelled} were cancelled"));
                }
            }
        }
        let all_refused = self.told.cancellation.iter().all(|outcome| refusal(outcome).is_some());
        if all_refused && units.values().any(|cancelled| *cancelled > 0) {
            found.push("I2: the cancellation was refused, and lines are cancelled".to_owned());
        }
        found
    }

    /// I3: one request id, one final answer, before and after any restarts. Without an id a success is the only answer
    /// that lasts.
    fn one_answer(&self) -> Vec<String> {
        let mut found = Vec::new();
        let successes = self.told.creations.iter().flat_map(|told| accepted(told));
        found.extend(differing("order", successes.map(|accepted| accepted.lasting.as_str())));
        for (creation, told) in self.creations() {
            let refused = told.iter().any(|outcome| refusal(outcome).is_some());
            if refused && self.told.story.refusal_lasts(creation) {
                found.extend(differing("creation", lasting(told)));
            }
        }
        if self.cancelled_under_an_id() {
            found.extend(differing("cancellation", lasting(&self.told.cancellation)));
        }
        found
    }

    /// I4: no byte upstream without that attempt's durable row.
    fn nothing_without_a_row(&self) -> Vec<String> {
        let rows: BTreeSet<&str> = self.operations.iter().map(|row| row.correlation_id.as_str()).collect();
        let sent = KINDS.into_iter().flat_map(|kind| self.calls_of(kind));
        let sent: BTreeSet<&str> = sent.map(|call| call.correlation_id.as_str()).collect();
        sent.difference(&rows)
            .map(|id| format!("I4: the request {id} was sent, and the ledger has no row of it"))
            .collect()
    }

    /// I5: nothing is sent again before the resolve rule holds.
    fn nothing_sent_again_in_doubt(&self) -> Vec<String> {
        let mut found = Vec::new();
        for kind in KINDS {
            let calls: Vec<&Call> = self.calls_of(kind).collect();
            for (i, earlier) in calls.iter().enumerate() {
                let same = |later: &&&Call| later.correlation_id == earlier.correlation_id;
                let again = calls[i + 1..].iter().find(same).filter(|_| !earlier.was_put_off());
                // Another operation must wait as well when it would have the same effect.
                let other = calls.get(i + 1).filter(|_| kind == OperationKind::Create && earlier.is_doubtful());
                for later in [again, other].into_iter().flatten() {
                    let pause = Duration::try_from(later.time.duration_since(earlier.time)).unwrap_or_default();
                    if pause + ON_ITS_WAY < SETTLE_WINDOW {
                        let told = earlier.status.map_or("nothing".to_owned(), |status| status.to_string());
                        let name = name(kind);
                        found.push(format!("I5: {name} was answered {told} and sent again {pause:?} later"));
                        break;
                    }
                }
            }
        }
        found
    }

    /// I6: once faults have stopped every row is final, and every caller has an answer.
    fn all_is_settled(&self) -> Vec<String> {
        let open = self.operations.iter().filter(|row| OPEN.contains(&row.state()));
        let mut found: Vec<String> =
            open.map(|row| format!("I6: {} is still {}", row.name, row.state().as_str_name())).collect();
        let outcomes = self.told.creations.iter().flatten().chain(&self.told.cancellation);
        for outcome in outcomes {
            match outcome {
                Outcome::Unfinished => found.push("I6: a caller never got a final answer".to_owned()),
                Outcome::Told(Answer::Bug(text)) => found.push(format!("a caller was answered {text}")),
                _ => {}
            }
        }
        found
    }

    /// What the ledger calls carried out is what was carried out.
    fn the_ledger_agrees(&self) -> Vec<String> {
        let mut found = Vec::new();
        for kind in KINDS {
            let succeeded =
                self.operations_of(kind).filter(|operation| operation.state() == OperationState::Succeeded).count();
            let effects = self.calls_of(kind).filter(|call| call.had_effect()).count();
            if succeeded != effects {
                let name = name(kind);
                found.push(format!("the ledger lists {succeeded} {name}s as carried out, Walmart did {effects}"));
            }
        }
        found
    }

    fn creations(&self) -> impl Iterator<Item = (&Creation, &Vec<Outcome>)> {
        self.told.story.creations.iter().zip(&self.told.creations)
    }

    /// Everything that was told about each content, by its units. What Walmart refuses for its channel has units of its
    /// own.
    fn contents(&self) -> HashMap<u32, Vec<Outcome>> {
        let mut contents: HashMap<u32, Vec<Outcome>> = HashMap::new();
        for (creation, told) in self.creations() {
            contents.entry(creation.units).or_default().extend(told.iter().cloned());
        }
        contents
    }

    fn cancelled_under_an_id(&self) -> bool {
        !self.told.cancellation.is_empty() && has_cancel_id(&self.told.story)
    }

    /// Lines of the order, or of all orders of that number, with the units that were cancelled.
    fn lines(&self) -> impl Iterator<Item = (&str, u32)> {
        self.orders.iter().flat_map(|order| &order.lines).map(|line| (line.line_id.as_str(), line.cancelled))
    }

    fn calls_of(&self, kind: OperationKind) -> impl Iterator<Item = &Call> {
        self.calls.iter().filter(move |call| call.operation == name(kind))
    }

    fn operations_of(&self, kind: OperationKind) -> impl Iterator<Item = &&Operation> {
        self.operations.iter().filter(move |operation| operation.kind() == kind)
    }
}

/// What changes anything at Walmart.
const KINDS: [OperationKind; 2] = [OperationKind::Create, OperationKind::Cancel];

/// Its name in the emulator's history.
fn name(kind: OperationKind) -> &'static str {
    if kind == OperationKind::Create { "create" } else { "cancel" }
}

fn has_cancel_id(story: &Story) -> bool {
    story.cancellation.as_ref().is_some_and(|cancellation| cancellation.request_id.is_some())
}

/// The successes.
pub(crate) fn accepted(told: &[Outcome]) -> impl Iterator<Item = &Accepted> {
    told.iter().filter_map(|outcome| match outcome {
        Outcome::Told(Answer::Accepted(accepted)) => Some(accepted),
        _ => None,
    })
}

/// A final refusal.
pub(crate) fn refusal(outcome: &Outcome) -> Option<&Refused> {
    match outcome {
        Outcome::Told(Answer::Refused(refused)) => Some(refused),
        _ => None,
    }
}

/// What was told as the end of an operation, in the form in which it is compared.
pub(crate) fn lasting(told: &[Outcome]) -> impl Iterator<Item = &str> {
    told.iter().filter_map(|outcome| match outcome {
        Outcome::Told(Answer::Accepted(accepted)) => Some(accepted.lasting.as_str()),
        Outcome::Told(Answer::Refused(refused)) if refused.ended_an_operation() => Some(refused.lasting.as_str()),
        _ => None,
    })
}

/// I3, where answers that should be one differ.
pub(crate) fn differing<'a>(what: &str, answers: impl Iterator<Item = &'a str>) -> Option<String> {
    let different: BTreeSet<&str> = answers.collect();
    (different.len() > 1).then(|| format!("I3: one {what}, {} answers: {different:?}", different.len()))
}

#[cfg(test)]
#[path = "invariants_tests.rs"]
mod tests;
