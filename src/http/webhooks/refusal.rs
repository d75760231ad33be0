//! Refused posts. This file alone says how a refusal is counted, logged and answered; none can be without a metric.

use axum::response::Response;
use http::StatusCode;

use super::answer;
use super::auth::ProofError;
use crate::domain::feed::notification::UnclearReason;
use crate::telemetry::log_throttle::LogThrottle;
use crate::telemetry::metrics::{AccountWebhooks, DeliveryOutcome};

/// The reason why a post is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PostRefusal {
    /// The path names no account with webhooks.
    UnknownAccount,
    /// The method is not POST.
    WrongMethod,
    /// The body exceeds its limit. The rest was not read.
    TooLarge,
    /// The body did not arrive in time.
    TooSlow,
    /// The sender broke the body off.
    BrokenOff,
    /// Too many unproved posts were open, and this post had been silent longest.
    Displaced,
    /// The origin is not proved.
    Unproved(ProofError),
    /// Too many deliveries, or too many bytes, are being stored.
    Overloaded,
    /// The store failed, or took too long.
    NotStored,
}

impl PostRefusal {
    const fn outcome(self) -> DeliveryOutcome {
        match self {
            Self::UnknownAccount => DeliveryOutcome::UnknownAccount,
            Self::WrongMethod => DeliveryOutcome::WrongMethod,
            Self::TooLarge => DeliveryOutcome::TooLarge,
            Self::TooSlow | Self::BrokenOff => DeliveryOutcome::Incomplete,
            Self::Displaced => DeliveryOutcome::Displaced,
            Self::Unproved(_) => DeliveryOutcome::Unauthenticated,
            Self::Overloaded => DeliveryOutcome::Overloaded,
            Self::NotStored => DeliveryOutcome::NotStored,
        }
    }

    /// The text for the sender. Holds nothing of the request.
    fn words(self) -> String {
        let text = match self {
            Self::Unproved(refused) => return refused.to_string(),
            Self::UnknownAccount => "no account of this name receives webhooks",
            Self::WrongMethod => "only POST is served here",
            Self::TooLarge => "the body is too large",
            Self::TooSlow => "the body did not come in time",
            Self::BrokenOff => "the body did not come to its end",
            Self::Displaced => "the body was incomplete while too many other posts came",
            Self::Overloaded => "too many deliveries at once",
            Self::NotStored => "the delivery cannot be stored now",
        };
        text.to_owned()
    }

    /// The response alone, for refusals counted elsewhere.
    pub(super) fn answer(self) -> Response {
        match self {
            Self::UnknownAccount => answer::refused(StatusCode::NOT_FOUND, &self.words()),
            Self::WrongMethod => answer::refused(StatusCode::METHOD_NOT_ALLOWED, &self.words()),
            Self::TooLarge => answer::unread(StatusCode::PAYLOAD_TOO_LARGE, &self.words()),
            Self::TooSlow | Self::Displaced => answer::unread(StatusCode::REQUEST_TIMEOUT, &self.words()),
            Self::BrokenOff => answer::unread(StatusCode::BAD_REQUEST, &self.words()),
            Self::Unproved(_) => answer::refused(StatusCode::UNAUTHORIZED, &self.words()),
            Self::Overloaded | Self::NotStored => answer::again_later(&self.words()),
        }
    }
}

/// Counts and logs the posts to one account, or to no known account.
pub(super) struct PostRecorder {
    account: String,
    pub(super) counts: AccountWebhooks,
    pub(super) throttle: LogThrottle,
}

impl PostRecorder {
    pub(super) fn new(account: &str, counts: AccountWebhooks) -> Self {
        Self { account: account.to_owned(), counts, throttle: LogThrottle::default() }
    }

    /// Counts and logs a stored event that may or may not be an intent.
    pub(super) fn note_unclear(&self, cause: UnclearReason) {
        self.counts.count_unclear(cause);
        self.throttle.note(cause.name(), |times| {
            let (account, cause) = (&self.account, cause.name());
            tracing::warn!(account, times, cause, "an event may be an intent to cancel; it is among the order updates");
        });
    }

    /// Counts and logs a stored FRAUD_CANCEL: the order may be about to ship.
    pub(super) fn note_fraud_cancel(&self) {
        self.counts.fraud_cancels.inc();
        self.throttle.note("fraud_cancel", |times| {
            tracing::warn!(
                account = self.account,
                times,
                "Walmart cancelled an order for fraud: it must not be shipped"
            );
        });
    }

    /// Refuses a post: counts it, logs it at most once a minute per outcome, and builds the response. `signed`: whether
    /// the head carries a proof.
    pub(super) fn refuse(&self, refusal: PostRefusal, signed: bool) -> Response {
        let outcome = refusal.outcome();
        self.counts.count_refused(outcome, signed);
        self.throttle.note(outcome.name(), |times| {
            let (account, outcome, words) = (&self.account, outcome.name(), refusal.words());
            tracing::warn!(account, times, outcome, signed, "a webhook is refused: {words}");
        });
        refusal.answer()
    }
}
