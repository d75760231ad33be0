//! What a failed attempt means: may it be tried again, did it have an effect, what is the caller told.
//!
//! Pure, and the only place where such decisions are made. The table is that of the design (ledger, classification): a
//! mutation is tried again only when it certainly had no effect; a read whenever that may help.

use std::time::Duration;

use super::failure::{Failure, Lost, NotSent};
use crate::domain::effect::Effect;
use crate::domain::operation::Operation;
use crate::pb::WalmartError;
use crate::ports::upstream::ErrorKind;
use crate::wire::error::ErrorBody;

/// The wait after a 429 that does not say how long.
const THROTTLED_WAIT: Duration = Duration::from_secs(60);

/// The judgement on one failed attempt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// Whether another attempt is right, budget and deadline permitting.
    pub retry: Retry,
    /// What the caller is told when this was the last attempt.
    pub kind: ErrorKind,
    /// Whether this attempt may have changed something.
    pub effect: Effect,
    /// When the caller may try again, where that is known.
    pub retry_after: Option<Duration>,
}

/// Whether and how soon another attempt is right.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Retry {
    /// It would not help, or could do harm.
    Never,
    /// After a short random delay.
    Soon,
    /// Walmart is busy and does not say for how long: after a longer random delay.
    Later,
    /// Walmart says when: not before this time.
    After(Duration),
}

/// Judges a failed attempt of `operation`.
pub fn classify(operation: Operation, failure: &Failure) -> Verdict {
    match failure {
        Failure::NotSent(reason) => not_sent(*reason),
        Failure::Refused { status, body, hint } => refused(operation, *status, body, hint.wait()),
        // A read that ran out of time had no fault but that.
        Failure::Lost(Lost::Deadline) if !operation.is_mutation() => {
            no_effect(Retry::Never, ErrorKind::DeadlineExceeded, None)
        }
        Failure::Unreadable { .. } | Failure::Lost(_) => ambiguous(operation),
    }
}

fn not_sent(reason: NotSent) -> Verdict {
    let (retry, kind, retry_after) = match reason {
        NotSent::Connect => (Retry::Soon, ErrorKind::Unavailable, None),
        // Sooner there is no token to be had.
        NotSent::TokenUnavailable(wait) => (Retry::After(wait), ErrorKind::Unavailable, Some(wait)),
        NotSent::TokenLimited(wait) => (Retry::After(wait), ErrorKind::RateLimited, Some(wait)),
        NotSent::CredentialsRefused(wait) => (Retry::Never, ErrorKind::CredentialsRefused, Some(wait)),
        NotSent::RateLimited(wait) => (Retry::Never, ErrorKind::RateLimited, Some(wait)),
        NotSent::CircuitOpen(wait) => (Retry::Never, ErrorKind::CircuitOpen, Some(wait)),
        NotSent::Overloaded => (Retry::Never, ErrorKind::Overloaded, None),
        NotSent::Deadline => (Retry::Never, ErrorKind::DeadlineExceeded, None),
    };
    Verdict { retry, kind, effect: Effect::None, retry_after }
}

fn refused(operation: Operation, status: u16, body: &ErrorBody, wait: Option<Duration>) -> Verdict {
    let errors = &body.errors;
    match status {
        429 => {
            let wait = wait.unwrap_or(THROTTLED_WAIT);
            no_effect(Retry::After(wait), ErrorKind::RateLimited, Some(wait))
        }
        // Locked: somebody else's request is being worked on.
        423 => no_effect(wait.map_or(Retry::Later, Retry::After), ErrorKind::Unavailable, wait),
        // `auth` has already refreshed the token and tried once more.
        401 | 403 => no_effect(Retry::Never, ErrorKind::CredentialsRefused, None),
        400 if errors.iter().any(|e| e.code.starts_with("INVALID_TOKEN")) => {
            no_effect(Retry::Never, ErrorKind::CredentialsRefused, None)
        }
        400 if errors.iter().any(is_outage_in_disguise) => ambiguous(operation),
        408 | 500.. => ambiguous(operation),
        // The rest is final: 2xx with FAIL, 3xx (never followed), any other 4xx.
        _ => no_effect(Retry::Never, final_kind(operation, status, errors), None),
    }
}

fn final_kind(operation: Operation, status: u16, errors: &[WalmartError]) -> ErrorKind {
    if operation == Operation::Create && (status == 409 || errors.iter().any(is_duplicate)) {
        ErrorKind::Duplicate
    } else if status == 404 || errors.iter().any(is_not_found) {
        ErrorKind::NotFound
    } else if status == 409 || errors.iter().any(is_wrong_state) {
        ErrorKind::WrongState
    } else {
        ErrorKind::Rejected
    }
}

const fn no_effect(retry: Retry, kind: ErrorKind, retry_after: Option<Duration>) -> Verdict {
    Verdict { retry, kind, effect: Effect::None, retry_after }
}

/// The request may have been carried out. A read is simply asked again.
const fn ambiguous(operation: Operation) -> Verdict {
    let (retry, effect) =
        if operation.is_mutation() { (Retry::Never, Effect::Unknown) } else { (Retry::Soon, Effect::None) };
    Verdict { retry, kind: ErrorKind::Unavailable, effect, retry_after: None }
}

/// A generic 400 that Walmart's order API gives during outages, seen in the field.
fn is_outage_in_disguise(error: &WalmartError) -> bool {
    error.code == "INVALID_REQUEST.GMP_ORDER_API" && error.info == "Request invalid."
}

fn is_duplicate(error: &WalmartError) -> bool {
    says(error, &["duplicate", "already exist"])
}

fn is_not_found(error: &WalmartError) -> bool {
    error.code.starts_with("404.") || error.code == "OS_NOT_FOUND_ERROR" || error.code.starts_with("CONTENT_NOT_FOUND")
}

fn is_wrong_state(error: &WalmartError) -> bool {
    says(
        error,
        &[
            "already shipped",
            "already cancel",
            "is already",
            "cannot be cancel",
            "can not be cancel",
            "can't be cancel",
            "not cancellable",
            "cancellation window",
            "higher status",
            "invalid state",
            "wrong state",
            "invalid_state",
            "invalid_order_state",
        ],
    )
}

fn says(error: &WalmartError, phrases: &[&str]) -> bool {
    [&error.code, &error.description, &error.info].into_iter().any(|text| {
        let text = text.to_ascii_lowercase();
        phrases.iter().any(|phrase| text.contains(phrase))
    })
}
