//! Refusals: one place says how each is counted, logged and answered, so that none is without a metric.

use axum::response::Response;
use http::StatusCode;

use super::answer;
use super::auth::ProofError;
use crate::domain::feed::notification::Unclear;
use crate::telemetry::log_throttle::LogThrottle;
use crate::telemetry::metrics::{AccountWebhooks, DeliveryOutcome};

/// Why a post is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PostRefusal {
    /// The path names no account that receives webhooks.
    UnknownAccount,
    /// It is not a POST.
    WrongMethod,
    /// The body is longer than its limit. The rest was not read.
    TooLarge,
    /// The body did not come in time.
    TooSlow,
    /// The sender broke the body off.
    BrokenOff,
    /// Too many posts without a proof were open, and this one had been silent longest.
    Displaced,
    /// Where it comes from is not proved.
    Unproved(ProofError),
    /// Too many deliveries are being stored, or too many bytes of them.
    Overloaded,
    /// The store could not take it, or not in time.
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

    /// The words for the sender. Nothing of what was sent is in them.
    fn words(self) -> String {
        let text = match self {
            Self::Unproved(refused) => return refused.to_string(),
            Self::UnknownAccount => "no account of this name receives webhooks",
            Self::WrongMethod => "only POST is served here",
            Self::TooLarge => "the body is too large",
            Self::TooSlow => "the body did not come in time",
            Self::BrokenOff => "the body did not come to its end",
            Self::Displaced => "the body was awaited while too many others came",
            Self::Overloaded => "too many at once",
            Self::NotStored => "it cannot be stored now",
        };
        text.to_owned()
    }

    /// The answer alone, where the refusal is counted elsewhere.
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

/// Counts and logs what becomes of the posts to one account, or to none.
pub(super) struct PostRecorder {
    account: String,
    pub(super) counts: AccountWebhooks,
    pub(super) throttle: LogThrottle,
}

impl PostRecorder {
    pub(super) fn new(account: &str, counts: AccountWebhooks) -> Self {
        Self { account: account.to_owned(), counts, throttle: LogThrottle::default() }
    }

    /// Counts and logs a stored event of which it cannot be told whether it is an intent.
    pub(super) fn note_unclear(&self, cause: Unclear) {
        self.counts.count_unclear(cause);
        self.throttle.note(cause.name(), |times| {
            let (account, cause) = (&self.account, cause.name());
            tracing::warn!(account, times, cause, "an event may be an intent to cancel; it is among the order updates");
        });
    }

    /// Counts and logs a stored FRAUD_CANCEL: somebody may be about to ship the order.
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

    /// Refuses a post: counts it, logs it at most once a minute for each outcome, and makes the answer. `signed`: whether
    /// its head carries a proof.
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
