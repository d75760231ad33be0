//! The ways in which an attempt can end without a usable answer.

use std::time::Duration;

use super::headers::RateLimitHeaders;
use crate::wire::error::{ErrorBody, THRESHOLD_VIOLATED};

/// A failed attempt. `classify` decides on the consequences.
#[derive(Clone, Debug)]
pub enum AttemptFailure {
    /// No byte of the request left.
    NotSent(NotSent),
    /// A complete answer with a status other than 2xx, or a 2xx with the status FAIL in the body.
    Refused {
        /// HTTP status of the answer.
        status: u16,
        /// The errors in the body.
        body: ErrorBody,
        /// Rate limit counters and waits from the headers.
        hint: RateLimitHeaders,
    },
    /// A 2xx whose body is empty, truncated, too large, or not an answer of the operation.
    Unreadable {
        /// HTTP status of the answer.
        status: u16,
        /// Rate limit counters from the headers.
        hint: RateLimitHeaders,
        /// Whether the connection broke within the body.
        cut: bool,
    },
    /// The request left at least in part, and no answer arrived.
    Lost(LostAnswer),
}

/// The reason why no answer arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LostAnswer {
    /// The attempt timeout expired.
    TimedOut,
    /// The call's deadline passed first.
    Deadline,
    /// The connection broke before the answer arrived.
    Interrupted,
}

/// The reason why no byte left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotSent {
    /// No connection (DNS, TCP or TLS), or the server refused the stream before processing.
    Connect,
    /// Walmart's token call gave no token; the next try is after this time.
    TokenUnavailable(Duration),
    /// Walmart's token call is rate limited for this time.
    TokenLimited(Duration),
    /// Walmart's token call refuses the credentials; the next try is after this time.
    CredentialsRefused(Duration),
    /// The account's bucket is empty; the next token comes after this time, past the deadline.
    RateLimited(Duration),
    /// The circuit stays open for this time.
    CircuitOpen(Duration),
    /// Too many calls are in flight.
    Overloaded,
    /// The deadline leaves no time for an attempt.
    Deadline,
}

impl AttemptFailure {
    /// The HTTP status, if an answer arrived.
    pub fn status(&self) -> Option<u16> {
        match self {
            AttemptFailure::Refused { status, .. } | AttemptFailure::Unreadable { status, .. } => Some(*status),
            AttemptFailure::NotSent(_) | AttemptFailure::Lost(_) => None,
        }
    }

    /// The rate limit headers, if an answer arrived.
    pub fn hint(&self) -> Option<&RateLimitHeaders> {
        match self {
            AttemptFailure::Refused { hint, .. } | AttemptFailure::Unreadable { hint, .. } => Some(hint),
            AttemptFailure::NotSent(_) | AttemptFailure::Lost(_) => None,
        }
    }

    /// Whether Walmart throttled the account. The error code decides as well as status 429, since throttled answers
    /// come with varying statuses.
    pub fn is_throttled(&self) -> bool {
        match self {
            AttemptFailure::Refused { status, body, .. } => {
                *status == 429 || body.errors.iter().any(|error| error.code.starts_with(THRESHOLD_VIOLATED))
            }
            _ => false,
        }
    }

    /// Whether Walmart rejected the access token.
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
