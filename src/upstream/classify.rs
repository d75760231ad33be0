//! Classifies a failed attempt: whether to retry, whether Walmart may have acted, and which error the caller gets.
//!
//! The functions are pure, and no other module makes these decisions; `wording` reads the texts of errors for this
//! module. A mutation is retried only if the attempt certainly had no effect. A read is retried whenever a retry may
//! help.
//!
//! A refusal of a mutation is final only if Walmart's error body is readable. A 4xx whose body is truncated,
//! compressed, HTML, empty or of an unknown format leaves the outcome open, because any proxy on the way can have
//! written the answer. Exceptions are statuses given before a request is processed: 401, 403, 404, 405, 413, 415,
//! 423, 429 and 431.

use std::time::Duration;

use super::failure::{AttemptFailure, LostAnswer, NotSent};
use super::headers::RateLimitHeaders;
use super::wording::{
    calls_order_number_taken, hints_at_order, is_outage_in_disguise, says_wrong_state, tells_unknown_order,
};
use crate::domain::effect::Effect;
use crate::domain::operation::Operation;
use crate::pb::WalmartError;
use crate::planted_bug::{PlantedBug, is_planted};
use crate::ports::upstream::ErrorKind;
use crate::wire::error::ErrorBody;

/// The wait after a 429 without a usable header.
const THROTTLED_WAIT: Duration = Duration::from_secs(60);

/// The verdict on a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// Whether another attempt is right, if budget and deadline allow.
    pub retry: RetryAdvice,
    /// The error for the caller if no attempt follows.
    pub kind: ErrorKind,
    /// Whether the attempt may have changed anything at Walmart.
    pub effect: Effect,
    /// The time after which the caller may try again, if known.
    pub retry_after: Option<Duration>,
}

/// Whether and how soon to retry.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RetryAdvice {
    /// A retry would not help, or could do harm.
    Never,
    /// Retry after a short random delay.
    Soon,
    /// Walmart is busy and gives no time: retry after a longer random delay.
    Later,
    /// Walmart gives a time: retry no sooner.
    After(Duration),
}

/// Classifies a failed attempt of `operation`.
pub fn classify(operation: Operation, failure: &AttemptFailure) -> Verdict {
    match failure {
        AttemptFailure::NotSent(reason) => not_sent(*reason),
        AttemptFailure::Refused { hint, .. } if failure.is_throttled() => {
            let wait = hint.wait().unwrap_or(THROTTLED_WAIT);
            no_effect(RetryAdvice::After(wait), ErrorKind::RateLimited, Some(wait))
        }
        AttemptFailure::Refused { status, body, hint } => refused(operation, *status, body, hint),
        // The caller's time ran out; Walmart is not at fault.
        AttemptFailure::Lost(LostAnswer::Deadline) if !operation.is_sent_once() => {
            no_effect(RetryAdvice::Never, ErrorKind::DeadlineExceeded, None)
        }
        AttemptFailure::Unreadable { .. } | AttemptFailure::Lost(_) => ambiguous(operation),
    }
}

fn not_sent(reason: NotSent) -> Verdict {
    let (retry, kind, retry_after) = match reason {
        NotSent::Connect => (RetryAdvice::Soon, ErrorKind::Unavailable, None),
        // No token can be available sooner.
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
        // `auth` has already refreshed the token and repeated the attempt.
        400 if errors.iter().any(|e| e.code.starts_with("INVALID_TOKEN")) => {
            return no_effect(RetryAdvice::Never, ErrorKind::CredentialsRefused, None);
        }
        // Locked: Walmart is processing another request for the same order.
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
        500 if is_planted(PlantedBug::Http500IsRefusal) => {}
        // 408 and 499 mean a peer stopped waiting for the request. Walmart may still carry the request out.
        408 | 499 | 500.. => return ambiguous(operation),
        _ if errors.iter().any(is_outage_in_disguise) => return ambiguous(operation),
        _ => {}
    }
    let unknown_order = errors.iter().any(|error| tells_unknown_order(operation, error));
    // With several errors, "not found" may refer to a part of the order only.
    let not_found = unknown_order && errors.len() + body.omitted == 1;
    match status {
        _ if not_found => no_effect(RetryAdvice::Never, ErrorKind::NotFound, None),
        // The path or method is not served. Such an answer comes from a gateway or proxy, not from the order service.
        404 | 405 => no_effect(RetryAdvice::Never, ErrorKind::Unavailable, None),
        // An edge refuses these for size or media type, before any processing.
        413 | 415 | 431 => no_effect(RetryAdvice::Never, ErrorKind::Rejected, None),
        // An unreadable 4xx may come from any proxy, and does not tell whether the request was carried out.
        400..500 if operation.is_sent_once() && !body.is_readable() => ambiguous(operation),
        _ if unknown_order && !operation.is_sent_once() => no_effect(RetryAdvice::Never, ErrorKind::Unavailable, None),
        // Everything else is final: a readable 4xx or 2xx, any further 4xx of a read, and 3xx, which is never
        // followed.
        _ => no_effect(RetryAdvice::Never, final_kind(operation, status, errors), None),
    }
}

fn final_kind(operation: Operation, status: u16, errors: &[WalmartError]) -> ErrorKind {
    if operation.takes_order_number() && (status == 409 || errors.iter().any(calls_order_number_taken)) {
        ErrorKind::Duplicate
    } else if status == 409 || errors.iter().any(|error| says_wrong_state(operation, error)) {
        ErrorKind::WrongState
    } else {
        ErrorKind::Rejected
    }
}

/// Whether the answer to a creation hints at an existing order with the same number. The hint does not depend on the
/// verdict being final: see [`UpstreamError::says_order_exists`].
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

/// Whether Walmart may have carried out the attempt. The verdict on a repeatable call does not say, because its effect is
/// the same either way; a mutation is judged strictly.
pub(crate) fn may_have_acted(failure: &AttemptFailure) -> bool {
    classify(Operation::Cancel, failure).effect == Effect::Unknown
}

/// The request may have been carried out. A mutation stays open, a sample event is not repeated, a read is.
const fn ambiguous(operation: Operation) -> Verdict {
    let (retry, effect) = if operation.is_sent_once() {
        (RetryAdvice::Never, Effect::Unknown)
    } else {
        (RetryAdvice::Soon, Effect::None)
    };
    Verdict { retry, kind: ErrorKind::Unavailable, effect, retry_after: None }
}
