//! Lies: answers that contradict the emulator's state, as Walmart, or a proxy in between, may give them.
//!
//! A fault rule names a lie and its frequency ([`super::faults`]); every lie about a call also has magic order numbers
//! ([`super::magic`]). A lie changes only the answer: orders and executed calls stay true, in [`super::records`] and in
//! the control API.

mod delivery;
mod reads;
mod refusals;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use serde_json::Value;

use super::answer::WalmartAnswer;
use super::target::Target;
use crate::domain::operation::Operation;

#[derive(Debug)]
pub(crate) struct Lie {
    /// The name in fault rules.
    pub(crate) name: &'static str,
    /// The description in the documentation.
    pub(crate) does: &'static str,
    pub(crate) about: LieScope,
    pub(crate) tell: LieKind,
}

/// The calls that a lie applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LieScope {
    Reads,
    Creates,
    Cancels,
    Mutations,
    /// Every call, including token calls.
    Calls,
    /// No call, but connections when accepted.
    Connections,
}

/// The effect of a lie on the answer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LieKind {
    /// This status and body; `{order}` stands for the requested order number.
    Says(u16, &'static str),
    /// The true answer after this change.
    Changes(fn(&LieContext<'_>, WalmartAnswer) -> WalmartAnswer),
    /// Reads see the change only after a lag.
    Lags(LagKind),
    /// The answer is lost.
    Breaks(AnswerLoss),
    /// The connection is accepted and never read.
    HangsConnect,
}

/// The changes that reads see late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LagKind {
    /// A new order, in calls that name its number.
    ByNumber,
    /// A new order, in all other reads.
    Search,
    /// A cancellation or shipment of a visible order, in all calls.
    Changes,
}

/// The way in which an answer is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AnswerLoss {
    Closed,
    /// GOAWAY with a last stream below the call's: the call was certainly not executed.
    TurnedAway,
    /// The connection stays open, and carries no more data.
    Silent,
}

/// The call that a lie is about.
#[derive(Debug)]
pub(crate) struct LieContext<'a> {
    /// Order number of the call; empty if the call names none.
    pub(crate) order_number: &'a str,
    pub(crate) now: Timestamp,
}

/// All lies, in the order of the documentation.
pub(crate) fn all() -> impl Iterator<Item = &'static Lie> {
    reads::LIES.iter().chain(refusals::LIES).chain(delivery::LIES)
}

/// Finds a lie by name.
///
/// # Errors A line that lists the known names.
pub(crate) fn named(name: &str) -> Result<&'static Lie, String> {
    all().find(|lie| lie.name == name).ok_or_else(|| {
        let known: Vec<&str> = all().map(|lie| lie.name).collect();
        format!("{name:?} is not known; known are {}", known.join(", "))
    })
}

const fn says(name: &'static str, about: LieScope, status: u16, body: &'static str, does: &'static str) -> Lie {
    Lie { name, does, about, tell: LieKind::Says(status, body) }
}

const fn changes(
    name: &'static str,
    about: LieScope,
    change: fn(&LieContext<'_>, WalmartAnswer) -> WalmartAnswer,
    does: &'static str,
) -> Lie {
    Lie { name, does, about, tell: LieKind::Changes(change) }
}

impl Lie {
    /// Builds the false answer from the true answer.
    pub(crate) fn answer(&self, question: &LieContext<'_>, truth: WalmartAnswer) -> WalmartAnswer {
        match self.tell {
            LieKind::Says(status, body) => {
                let quoted = Value::from(question.order_number).to_string();
                let body = body.replace("{order}", quoted.trim_matches('"'));
                if body.is_empty() { WalmartAnswer::empty(status) } else { WalmartAnswer::fixed(status, body.into()) }
            }
            LieKind::Changes(change) => change(question, truth),
            LieKind::Lags(_) | LieKind::Breaks(_) | LieKind::HangsConnect => truth,
        }
    }

    /// Whether the call is executed when the rule does not say. A refusal is a lie about a call that was not executed;
    /// a changed answer needs an executed call.
    pub(crate) fn executes(&self) -> bool {
        match self.tell {
            LieKind::Says(..) => self.about == LieScope::Reads,
            LieKind::Changes(_) | LieKind::Lags(_) => true,
            LieKind::Breaks(_) | LieKind::HangsConnect => false,
        }
    }

    /// Whether a rule or a magic number can apply the lie to a single call.
    pub(crate) fn is_told_by_call(&self) -> bool {
        !matches!(self.tell, LieKind::Lags(_) | LieKind::HangsConnect)
    }
}

impl PartialEq for Lie {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl LieScope {
    /// Whether the lie can apply to this call.
    pub(crate) fn includes(self, target: Target) -> bool {
        match self {
            LieScope::Reads => target.reads_orders(),
            LieScope::Creates => target == Target::Call(Operation::Create),
            LieScope::Cancels => target == Target::Call(Operation::Cancel),
            LieScope::Mutations => matches!(target, Target::Call(operation) if operation.is_mutation()),
            LieScope::Calls => true,
            LieScope::Connections => false,
        }
    }

    /// The calls as text.
    pub(crate) fn words(self) -> &'static str {
        match self {
            LieScope::Reads => "reads",
            LieScope::Creates => "create",
            LieScope::Cancels => "cancel",
            LieScope::Mutations => "every change",
            LieScope::Calls => "every call",
            LieScope::Connections => "connections",
        }
    }
}
