//! What a failed attempt means: may it be tried again, did it have an effect, what is the caller told.
//!
//! Pure, and the only place where such decisions are made; `wording` reads the texts for it. A mutation is tried again only
//! when it certainly had no effect; a read whenever that may help.
//!
//! A refusal of a mutation is final only where Walmart's word can be read. A 4xx whose body is cut, compressed, HTML, empty
//! or of no known form leaves the outcome open, because any program on the way can have written it. Exceptions are statuses
//! that are given before a request is worked on: 401, 403, 404, 405, 413, 415, 423, 429 and 431.

use std::time::Duration;

use super::failure::{AttemptFailure, LostAnswer, NotSent};
use super::headers::RateLimitHeaders;
use super::wording::{
    calls_order_number_taken, hints_at_order, is_outage_in_disguise, says_too_late, tells_unknown_order,
};
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
    pub retry: RetryAdvice,
    /// What the caller is told when this was the last attempt.
    pub kind: ErrorKind,
    /// Whether this attempt may have changed something.
    pub effect: Effect,
    /// When the caller may try again, where that is known.
    pub retry_after: Option<Duration>,
}

/// Whether and how soon another attempt is right.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RetryAdvice {
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
pub fn classify(operation: Operation, failure: &AttemptFailure) -> Verdict {
    match failure {
        AttemptFailure::NotSent(reason) => not_sent(*reason),
        AttemptFailure::Refused { hint, .. } if failure.is_throttled() => {
            let wait = hint.wait().unwrap_or(THROTTLED_WAIT);
            no_effect(RetryAdvice::After(wait), ErrorKind::RateLimited, Some(wait))
        }
        AttemptFailure::Refused { status, body, hint } => refused(operation, *status, body, hint),
        // A read that ran out of time had no fault but that.
        AttemptFailure::Lost(LostAnswer::Deadline) if !operation.is_mutation() => {
            no_effect(RetryAdvice::Never, ErrorKind::DeadlineExceeded, None)
        }
        AttemptFailure::Unreadable { .. } | AttemptFailure::Lost(_) => ambiguous(operation),
    }
}

fn not_sent(reason: NotSent) -> Verdict {
    let (retry, kind, retry_after) = match reason {
        NotSent::Connect => (RetryAdvice::Soon, ErrorKind::Unavailable, None),
        // Sooner there is no token to be had.
        NotSent::TokenUnavailable(wait) => (RetryAdvice::After(wait), ErrorKind::Unavailable, Some(wait)),
        NotSent::TokenLimited(wait) => (RetryAdvice::After(wait), ErrorKind::RateLimited, Some(wait)),
        NotSent::CredentialsRefused(wait) => (RetryAdvice::Never, ErrorKind::CredentialsRefused, Some(wait)),
        NotSent::RateLimited(wait) => (RetryAdvice::Never, ErrorKind::RateLimited, Some(wait)),
        NotSent::CircuitOpen(wait) => (RetryAdvice::Never, ErrorKind::CircuitOpen, Some(wait)),
        NotSent::Overloaded => (RetryAdvice::Never, ErrorKind::Overloaded, None),
        NotSent::Deadline => (RetryAdvice::Never, ErrorKind::DeadlineExceeded, None),
    };
    Verdict { retry, kind, effect: Effect::None, retry_after }
}

fn refused(operation: Operation, status: u16, body: &ErrorBody, hint: &RateLimitHeaders) -> Verdict {
    let errors = &body.errors;
    match status {
        401 | 403 => return no_effect(RetryAdvice::Never, ErrorKind::CredentialsRefused, None),
        // `auth` has already refreshed the token and tried once more.
        400 if errors.iter().any(|e| e.code.starts_with("INVALID_TOKEN")) => {
            return no_effect(RetryAdvice::Never, ErrorKind::CredentialsRefused, None);
        }
        // Locked: another request about it is being worked on.
        423 => {
            let wait = hint.wait();
            return no_effect(wait.map_or(RetryAdvice::Later, RetryAdvice::After), ErrorKind::Unavailable, wait);
        }
        503 => {
            let wait = hint.outage_wait();
            let verdict = ambiguous(operation);
            let retry = match (verdict.retry, wait) {
                (RetryAdvice::Soon, Some(wait)) => RetryAdvice::After(wait),
                (retry, _) => retry,
            };
            return Verdict { retry, retry_after: wait, ..verdict };
        }
        // 408 and 499 tell of a request whose end somebody did not wait for.
        408 | 499 | 500.. => return ambiguous(operation),
        _ if errors.iter().any(is_outage_in_disguise) => return ambiguous(operation),
        _ => {}
    }
    let unknown_order = errors.iter().any(tells_unknown_order);
    // One error among several may be of a part of the order.
    let not_found = unknown_order && errors.len() + body.omitted == 1;
    match status {
        _ if not_found => no_effect(RetryAdvice::Never, ErrorKind::NotFound, None),
        // The path or the method is not served: a gateway's or proxy's word, not the order service's.
        404 | 405 => no_effect(RetryAdvice::Never, ErrorKind::Unavailable, None),
        // An edge refuses these for their size or type, before anybody works on them.
        413 | 415 | 431 => no_effect(RetryAdvice::Never, ErrorKind::Rejected, None),
        // Whoever wrote it, it does not say what became of the request.
        400..500 if operation.is_mutation() && !body.is_readable() => ambiguous(operation),
        _ if unknown_order && !operation.is_mutation() => no_effect(RetryAdvice::Never, ErrorKind::Unavailable, None),
        // The rest is final: a readable 4xx or 2xx, for a read any other 4xx, and 3xx (never followed).
        _ => no_effect(RetryAdvice::Never, final_kind(operation, status, errors), None),
    }
}

fn final_kind(operation: Operation, status: u16, errors: &[WalmartError]) -> ErrorKind {
    if operation.takes_order_number() && (status == 409 || errors.iter().any(calls_order_number_taken)) {
        ErrorKind::Duplicate
    } else if status == 409 || errors.iter().any(says_too_late) {
        ErrorKind::WrongState
    } else {
        ErrorKind::Rejected
    }
}

/// Whether the answer to a creation hints that Walmart has an order of this number already. A hint, whatever else the answer
/// says and whether or not it is final: see [`UpstreamError::says_order_exists`].
///
/// [`UpstreamError::says_order_exists`]: crate::ports::upstream::UpstreamError::says_order_exists
pub fn says_order_exists(operation: Operation, failure: &AttemptFailure) -> bool {
    match failure {
        AttemptFailure::Refused { status, body, .. } if operation.takes_order_number() => {
            *status == 409 || body.errors.iter().any(hints_at_order)
        }
        _ => false,
    }
}

const fn no_effect(retry: RetryAdvice, kind: ErrorKind, retry_after: Option<Duration>) -> Verdict {
    Verdict { retry, kind, effect: Effect::None, retry_after }
}

/// The request may have been carried out. A read is simply asked again.
const fn ambiguous(operation: Operation) -> Verdict {
    let (retry, effect) =
        if operation.is_mutation() { (RetryAdvice::Never, Effect::Unknown) } else { (RetryAdvice::Soon, Effect::None) };
    Verdict { retry, kind: ErrorKind::Unavailable, effect, retry_after: None }
}
