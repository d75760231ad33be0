//! Metrics of what Walmart posts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Account of deliveries to accounts that receive none, so that senders cannot make labels.
const OTHER_ACCOUNT: &str = "_OTHER";

/// Seconds from the head of a delivery to its answer: a sync of the disk is in it.
const SECONDS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 3.0, 10.0];

/// What becomes of deliveries.
pub struct WebhookMetrics {
    deliveries: Family<WebhookLabels, Counter>,
    tokens: Family<WebhookLabels, Counter>,
    /// Deliveries to accounts that receive none.
    pub unknown_account: Counter,
    /// How long it took to answer deliveries whose origin was proved, from their head on, in seconds.
    pub duration: Histogram,
    /// Deliveries being read or stored.
    pub in_flight: Gauge,
}

impl WebhookMetrics {
    pub(super) fn register(r: &mut Registry) -> Self {
        let deliveries = Family::<WebhookLabels, Counter>::default();
        r.register("order_gateway_webhooks", "Webhook deliveries by what became of them", deliveries.clone());
        let tokens = Family::<WebhookLabels, Counter>::default();
        r.register("order_gateway_webhook_tokens", "Requests for a token with which webhooks come", tokens.clone());
        let duration = Histogram::new(SECONDS);
        let help = "Time to answer webhook deliveries whose origin was proved";
        r.register_with_unit("order_gateway_webhook_duration", help, Unit::Seconds, duration.clone());
        let in_flight = Gauge::default();
        r.register("order_gateway_webhooks_in_flight", "Webhook deliveries being read or stored", in_flight.clone());
        let labels = WebhookLabels { account: OTHER_ACCOUNT.to_owned(), outcome: "unknown_account" };
        let unknown_account = deliveries.get_or_create_owned(&labels);
        Self { deliveries, tokens, unknown_account, duration, in_flight }
    }

    /// The handles of one account.
    pub fn of(&self, account: &str) -> AccountWebhooks {
        let labels = |outcome| WebhookLabels { account: account.to_owned(), outcome };
        let token = |outcome| self.tokens.get_or_create_owned(&labels(outcome));
        AccountWebhooks {
            deliveries: Delivered::ALL.map(|outcome| self.deliveries.get_or_create_owned(&labels(outcome.name()))),
            tokens_issued: token("issued"),
            tokens_refused: token("refused"),
        }
    }
}

/// The counters of one account.
#[derive(Debug)]
pub struct AccountWebhooks {
    deliveries: [Counter; Delivered::ALL.len()],
    /// Tokens given out.
    pub tokens_issued: Counter,
    /// Requests for one that were refused.
    pub tokens_refused: Counter,
}

impl AccountWebhooks {
    /// This became of a delivery.
    pub fn count(&self, outcome: Delivered) {
        self.deliveries[outcome as usize].inc();
    }

    /// How many deliveries this became of.
    pub fn counted(&self, outcome: Delivered) -> u64 {
        self.deliveries[outcome as usize].get()
    }
}

/// What becomes of a delivery to an account that receives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// Stored: an intent, or another event.
    Stored,
    /// It was stored before.
    Duplicate,
    /// Another one of its id was stored before; both are kept.
    Conflict,
    /// It says nothing that can be read; kept apart.
    Quarantined,
    /// Where it comes from is not proved.
    Unauthenticated,
    /// Not JSON by its own word.
    NotJson,
    /// Over the limit.
    TooLarge,
    /// Its body did not come in time, or not to its end.
    Incomplete,
    /// Too many at once.
    Overloaded,
    /// The store could not take it, or not in time.
    NotStored,
}

impl Delivered {
    /// All of them, in their order.
    pub const ALL: [Self; 10] = [
        Self::Stored,
        Self::Duplicate,
        Self::Conflict,
        Self::Quarantined,
        Self::Unauthenticated,
        Self::NotJson,
        Self::TooLarge,
        Self::Incomplete,
        Self::Overloaded,
        Self::NotStored,
    ];

    /// The label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Duplicate => "duplicate",
            Self::Conflict => "conflict",
            Self::Quarantined => "quarantined",
            Self::Unauthenticated => "unauthenticated",
            Self::NotJson => "not_json",
            Self::TooLarge => "too_large",
            Self::Incomplete => "incomplete",
            Self::Overloaded => "overloaded",
            Self::NotStored => "not_stored",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WebhookLabels {
    account: String,
    outcome: &'static str,
}
