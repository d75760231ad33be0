//! Metrics computed at each scrape: levels of rate limit buckets and ages of access tokens.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, OnceLock, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use tokio::time::Instant;

use crate::domain::account::AccountId;
use crate::domain::operation::Operation;

/// The level of a rate limit bucket.
#[derive(Clone, Debug)]
pub struct BucketLevel {
    /// The account of the bucket.
    pub account: AccountId,
    /// The operation of the bucket.
    pub operation: Operation,
    /// Calls possible at once.
    pub tokens: f64,
}

type Look = Box<dyn Fn() -> Vec<BucketLevel> + Send + Sync>;

/// Collects the levels at each scrape.
#[derive(Default)]
pub(super) struct LevelCollector {
    buckets: OnceLock<Look>,
    /// The time of the latest access token of each account.
    tokens: Mutex<BTreeMap<AccountId, Instant>>,
}

impl LevelCollector {
    pub(super) fn watch_buckets(&self, look: Look) {
        self.buckets.get_or_init(|| look);
    }

    pub(super) fn token_came(&self, account: &AccountId, at: Instant) {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).insert(account.clone(), at);
    }
}

impl fmt::Debug for LevelCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Levels").finish_non_exhaustive()
    }
}

impl Collector for LevelCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let buckets = self.buckets.get().map(|look| look()).unwrap_or_default();
        if !buckets.is_empty() {
            let help = "Calls upstream that could be made at once";
            let name = "order_gateway_rate_limit_tokens";
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for BucketLevel { account, operation, tokens } in buckets {
                let labels = BucketLabels { account: account.to_string(), operation: operation.name() };
                ConstGauge::new(tokens).encode(family.encode_family(&labels)?)?;
            }
        }
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if !tokens.is_empty() {
            let help = "Time since the account's last access token came; it is renewed when a call needs one";
            let name = "order_gateway_upstream_token_age";
            let mut family = encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Gauge)?;
            let now = Instant::now();
            for (account, came) in tokens {
                let labels = AccountLabels { account: account.to_string() };
                let age = now.saturating_duration_since(came).as_secs_f64();
                ConstGauge::new(age).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BucketLabels {
    account: String,
    operation: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AccountLabels {
    account: String,
}
