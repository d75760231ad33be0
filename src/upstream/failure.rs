//! How an attempt can end without a usable answer.

use std::time::Duration;

use super::headers::RateLimitHeaders;
use crate::wire::error::{ErrorBody, THRESHOLD_VIOLATED};

/// What happened. What it means stands in `classify`.
#[derive(Clone, Debug)]
pub enum AttemptFailure {
    /// No byte of the request left.
    NotSent(NotSent),
    /// A complete answer with a status other than 2xx, or a 2xx whose body says FAIL.
    Refused {
        /// HTTP status.
        status: u16,
        /// The errors in its body.
        body: ErrorBody,
        /// Counters and waiting times in its headers.
        hint: RateLimitHeaders,
    },
    /// A 2xx whose body is empty, cut off, too large, or not what the operation answers.
    Unreadable {
        /// HTTP status.
        status: u16,
        /// Counters in its headers.
        hint: RateLimitHeaders,
        /// Whether the connection broke before its end.
        cut: bool,
    },
    /// The request left, at least in part, and no answer came.
    Lost(LostAnswer),
}

/// Why no answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LostAnswer {
    /// It took longer than an attempt may.
    TimedOut,
    /// The call's deadline came first.
    Deadline,
    /// The connection broke.
    Interrupted,
}

/// Why no byte left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotSent {
    /// No connection: name, TCP or TLS; or the server refused the stream before working on it.
    Connect,
    /// Walmart's token call gave no token; the next try is after this time.
    TokenUnavailable(Duration),
    /// Walmart's token call is limited for this time yet.
    TokenLimited(Duration),
    /// Walmart's token call refuses the credentials; the next try is after this time.
    CredentialsRefused(Duration),
    /// The account's bucket is empty; a token would come after this time, past the deadline.
    RateLimited(Duration),
    /// The circuit is open for this time yet.
    CircuitOpen(Duration),
    /// Too many calls are under way.
    Overloaded,
    /// The deadline leaves no time for an attempt.
    Deadline,
}

impl AttemptFailure {
    /// Status of the answer, if there was one.
    pub fn status(&self) -> Option<u16> {
        match self {
            AttemptFailure::Refused { status, .. } | AttemptFailure::Unreadable { status, .. } => Some(*status),
            AttemptFailure::NotSent(_) | AttemptFailure::Lost(_) => None,
        }
    }

    /// What the answer's headers said, if there was one.
    pub fn hint(&self) -> Option<&RateLimitHeaders> {
        match self {
            AttemptFailure::Refused { hint, .. } | AttemptFailure::Unreadable { hint, .. } => Some(hint),
            AttemptFailure::NotSent(_) | AttemptFailure::Lost(_) => None,
        }
    }

    /// Whether Walmart refused it because the account made too many calls, whatever the status.
    pub fn is_throttled(&self) -> bool {
        match self {
            AttemptFailure::Refused { status, body, .. } => {
                *status == 429 || body.errors.iter().any(|error| error.code.starts_with(THRESHOLD_VIOLATED))
            }
            _ => false,
        }
    }

    /// Whether Walmart turned the access token away.
    pub fn token_refused(&self) -> bool {
        match self {
            AttemptFailure::Refused { status: 401, .. } => true,
            AttemptFailure::Refused { status: 400, body, .. } => {
                body.errors.iter().any(|error| error.code.starts_with("INVALID_TOKEN"))
            }
            _ => false,
        }
    }
}
