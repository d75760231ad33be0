//! Metrics of webhook deliveries.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::SECONDS;
use crate::domain::feed::notification::UnclearReason;

/// Account label of posts to unknown accounts, so that senders cannot create labels.
const UNKNOWN_ACCOUNT: &str = "unknown";

/// Webhook deliveries by outcome.
pub struct WebhookMetrics {
    deliveries: Family<WebhookLabels, Counter>,
    signed_refused: Family<WebhookLabels, Counter>,
    tokens: Family<WebhookLabels, Counter>,
    unclear: Family<UnclearLabels, Counter>,
    fraud_cancels: Family<AccountLabel, Counter>,
    missing_subscriptions: Family<SubscriptionLabels, Gauge>,
    /// Time to answer authenticated deliveries, in seconds from the head on.
    pub duration: Histogram,
    /// Deliveries being read or stored.
    pub in_flight: Gauge,
}

impl WebhookMetrics {
    pub(super) fn register(r: &mut Registry) -> Self {
        let deliveries = Family::<WebhookLabels, Counter>::default();
        r.register("order_gateway_webhooks", "Webhook deliveries by what became of them", deliveries.clone());
        let signed_refused = Family::<WebhookLabels, Counter>::default();
        let help = "Webhook deliveries with a proof in their head, right or wrong, that were refused";
        r.register("order_gateway_webhooks_signed_refused", help, signed_refused.clone());
        let tokens = Family::<WebhookLabels, Counter>::default();
        r.register("order_gateway_webhook_tokens", "Requests for a token with which webhooks come", tokens.clone());
        let unclear = Family::<UnclearLabels, Counter>::default();
        let help = "Events in the feed of order updates of which it cannot be told whether they are intents to cancel";
        r.register("order_gateway_webhook_unclear_events", help, unclear.clone());
        let fraud_cancels = Family::<AccountLabel, Counter>::default();
        let help = "Orders that Walmart cancelled for fraud (FRAUD_CANCEL): they must not be shipped";
        r.register("order_gateway_webhook_fraud_cancels", help, fraud_cancels.clone());
        let missing_subscriptions = Family::<SubscriptionLabels, Gauge>::default();
        let help = "1 while a webhook subscription at Walmart that the account needs is missing, else 0";
        r.register("order_gateway_webhook_subscription_missing", help, missing_subscriptions.clone());
        let duration = Histogram::new(SECONDS);
        let help = "Time to answer webhook deliveries whose origin was proved";
        r.register_with_unit("order_gateway_webhook_duration", help, Unit::Seconds, duration.clone());
        let in_flight = Gauge::default();
        r.register("order_gateway_webhooks_in_flight", "Webhook deliveries being read or stored", in_flight.clone());
        Self { deliveries, signed_refused, tokens, unclear, fraud_cancels, missing_subscriptions, duration, in_flight }
    }

    /// Shows whether a subscription at Walmart is missing.
    pub(crate) fn set_missing_subscription(&self, account: &str, event_type: &'static str, is_missing: bool) {
        let labels = SubscriptionLabels { account: account.to_owned(), event_type };
        self.missing_subscriptions.get_or_create_owned(&labels).set(is_missing.into());
    }

    /// Removes the series of an account that is not configured any more.
    pub(crate) fn forget_missing_subscription(&self, account: &str, event_type: &'static str) {
        self.missing_subscriptions.remove(&SubscriptionLabels { account: account.to_owned(), event_type });
    }

    /// The handles of an account.
    pub fn of(&self, account: &str) -> AccountWebhooks {
        let unclear = UnclearReason::ALL.map(|cause| {
            let labels = UnclearLabels { account: account.to_owned(), cause: cause.name() };
            self.unclear.get_or_create_owned(&labels)
        });
        let fraud_cancels = self.fraud_cancels.get_or_create_owned(&AccountLabel { account: account.to_owned() });
        AccountWebhooks {
            unclear,
            fraud_cancels,
            ..self.handles(account, |outcome| outcome != DeliveryOutcome::UnknownAccount)
        }
    }

    /// The handles for posts to unknown accounts.
    pub fn of_unknown_account(&self) -> AccountWebhooks {
        let applies = |outcome| matches!(outcome, DeliveryOutcome::UnknownAccount | DeliveryOutcome::WrongMethod);
        self.handles(UNKNOWN_ACCOUNT, applies)
    }

    /// Creates all series of outcomes in `applies` at the start, with value 0. An alert on the increase of a counter
    /// would miss the first increment of a new series.
    fn handles(&self, account: &str, applies: impl Fn(DeliveryOutcome) -> bool) -> AccountWebhooks {
        let labels = |outcome| WebhookLabels { account: account.to_owned(), outcome };
        let counter = |family: &Family<WebhookLabels, Counter>, outcome: DeliveryOutcome, applies: bool| {
            if applies { family.get_or_create_owned(&labels(outcome.name())) } else { Counter::default() }
        };
        let token = |outcome| self.tokens.get_or_create_owned(&labels(outcome));
        AccountWebhooks {
            deliveries: DeliveryOutcome::ALL.map(|outcome| counter(&self.deliveries, outcome, applies(outcome))),
            signed_refused: DeliveryOutcome::ALL
                .map(|outcome| counter(&self.signed_refused, outcome, applies(outcome) && outcome.is_refusal())),
            unclear: Default::default(),
            fraud_cancels: Counter::default(),
            tokens_issued: token("issued"),
            tokens_refused: token("refused"),
        }
    }
}

/// The counters of an account.
#[derive(Debug)]
pub struct AccountWebhooks {
    deliveries: [Counter; DeliveryOutcome::ALL.len()],
    signed_refused: [Counter; DeliveryOutcome::ALL.len()],
    unclear: [Counter; UnclearReason::ALL.len()],
    /// Orders cancelled by Walmart for fraud.
    pub fraud_cancels: Counter,
    /// Number of tokens issued.
    pub tokens_issued: Counter,
    /// Number of refused token requests.
    pub tokens_refused: Counter,
}

impl AccountWebhooks {
    /// Counts a delivery by outcome.
    pub fn count(&self, outcome: DeliveryOutcome) {
        self.deliveries[outcome as usize].inc();
    }

    /// Counts a refused delivery. `signed` tells whether the head carries a proof of origin.
    pub fn count_refused(&self, outcome: DeliveryOutcome, signed: bool) {
        self.count(outcome);
        if signed {
            self.signed_refused[outcome as usize].inc();
        }
    }

    /// Counts an event which may or may not be a cancel intent.
    pub fn count_unclear(&self, cause: UnclearReason) {
        self.unclear[cause as usize].inc();
    }

    /// The number of deliveries with this outcome.
    pub fn counted(&self, outcome: DeliveryOutcome) -> u64 {
        self.deliveries[outcome as usize].get()
    }
}

/// The outcome of a post to the webhook paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// Stored: an intent, or another event.
    Stored,
    /// The same event was stored before.
    Duplicate,
    /// Another event with the same id was stored before; both are kept.
    Conflict,
    /// Unreadable; stored in quarantine.
    Quarantined,
    /// No valid proof of origin.
    Unauthenticated,
    /// The body is over the size limit.
    TooLarge,
    /// The body did not arrive completely or in time.
    Incomplete,
    /// The oldest of too many posts without a proof which were still sending their bodies.
    Displaced,
    /// Too many deliveries at once.
    Overloaded,
    /// The store failed, or took too long.
    NotStored,
    /// The method is not POST.
    WrongMethod,
    /// The path names no account with webhooks.
    UnknownAccount,
}

impl DeliveryOutcome {
    /// All outcomes, in order of their discriminants.
    pub const ALL: [Self; 12] = [
        Self::Stored,
        Self::Duplicate,
        Self::Conflict,
        Self::Quarantined,
        Self::Unauthenticated,
        Self::TooLarge,
        Self::Incomplete,
        Self::Displaced,
        Self::Overloaded,
        Self::NotStored,
        Self::WrongMethod,
        Self::UnknownAccount,
    ];

    /// The value of the label `outcome`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Duplicate => "duplicate",
            Self::Conflict => "conflict",
            Self::Quarantined => "quarantined",
            Self::Unauthenticated => "unauthenticated",
            Self::TooLarge => "too_large",
            Self::Incomplete => "incomplete",
            Self::Displaced => "displaced",
            Self::Overloaded => "overloaded",
            Self::NotStored => "not_stored",
            Self::WrongMethod => "wrong_method",
            Self::UnknownAccount => "unknown_account",
        }
    }

    /// Whether the sender got an answer other than 200.
    pub const fn is_refusal(self) -> bool {
        !matches!(self, Self::Stored | Self::Duplicate | Self::Conflict | Self::Quarantined)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SubscriptionLabels {
    account: String,
    event_type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WebhookLabels {
    account: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AccountLabel {
    account: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UnclearLabels {
    account: String,
    cause: &'static str,
}
