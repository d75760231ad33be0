//! Lies: answers that are not what is so, as Walmart, or something between Walmart and its caller, may give them.
//!
//! A rule of the faults names a lie and says how often it is told ([`super::faults`]); every lie about a call is also told
//! for its magic order number ([`super::magic`]). A lie changes only what a caller is told: what exists and what was
//! executed stays true, and [`super::records`] and the control API go on telling it.

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

/// One lie.
#[derive(Debug)]
pub(crate) struct Lie {
    /// Its name in the faults.
    pub(crate) name: &'static str,
    /// What is told.
    pub(crate) does: &'static str,
    pub(crate) about: LieScope,
    pub(crate) tell: LieKind,
}

/// Which calls a lie can be told about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LieScope {
    /// Status calls.
    Reads,
    /// Creates.
    Creates,
    /// Cancels.
    Cancels,
    /// Creates and cancels.
    Mutations,
    /// Every call, the token's too.
    Calls,
    /// No call, but the connection, when it is accepted.
    Connections,
}

/// How a lie is told.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LieKind {
    /// This status and body. `{order}` stands for the order number that was asked for.
    Says(u16, &'static str),
    /// The true answer, changed.
    Changes(fn(&LieContext<'_>, WalmartAnswer) -> WalmartAnswer),
    /// Reads see this only some time after it came to be.
    Lags(LagKind),
    /// There is no answer.
    Breaks(AnswerLoss),
    /// The connection is accepted, and nothing is read from it.
    HangsConnect,
}

/// What status calls see late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LagKind {
    /// A new order, for calls that name its number.
    ByNumber,
    /// A new order, for calls that name anything else.
    Search,
    /// A cancellation or shipment of an order that is seen, for all calls.
    Changes,
}

/// How a call ends without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AnswerLoss {
    /// The connection ends.
    Closed,
    /// GOAWAY with a last stream below the call's: it was certainly not worked on.
    TurnedAway,
    /// The connection stays open, and nothing comes on it any more.
    Silent,
}

/// What a lie knows about the call.
#[derive(Debug)]
pub(crate) struct LieContext<'a> {
    /// Order number of the call; empty where it names none.
    pub(crate) order_number: &'a str,
    pub(crate) now: Timestamp,
}

/// Every lie, in the order of the documentation.
pub(crate) fn all() -> impl Iterator<Item = &'static Lie> {
    reads::LIES.iter().chain(refusals::LIES).chain(delivery::LIES)
}

/// The lie of that name.
///
/// # Errors
/// A line that lists the known names.
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
    /// What is told, given the true answer.
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

    /// Whether the call is executed where the rule does not say. A refusal is a lie about a call that was not carried
    /// out; where only the answer is changed there has to be one.
    pub(crate) fn executes(&self) -> bool {
        match self.tell {
            LieKind::Says(..) => self.about == LieScope::Reads,
            LieKind::Changes(_) | LieKind::Lags(_) => true,
            LieKind::Breaks(_) | LieKind::HangsConnect => false,
        }
    }

    /// Whether a rule or a number can tell it about single calls.
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
    /// Whether the lie can be told about this call.
    pub(crate) fn includes(self, target: Target) -> bool {
        match self {
            LieScope::Reads => target == Target::Call(Operation::Status),
            LieScope::Creates => target == Target::Call(Operation::Create),
            LieScope::Cancels => target == Target::Call(Operation::Cancel),
            LieScope::Mutations => LieScope::Creates.includes(target) || LieScope::Cancels.includes(target),
            LieScope::Calls => true,
            LieScope::Connections => false,
        }
    }

    /// The operations, in words.
    pub(crate) fn words(self) -> &'static str {
        match self {
            LieScope::Reads => "status",
            LieScope::Creates => "create",
            LieScope::Cancels => "cancel",
            LieScope::Mutations => "create, cancel",
            LieScope::Calls => "every call",
            LieScope::Connections => "connections",
        }
    }
}
