//! Metrics of the scans of the orders for missed intents.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::domain::account::AccountId;
use crate::domain::timestamp::Timestamp;

/// Scans of the orders, by account. Cheap to clone; all clones count together.
#[derive(Clone, Debug)]
pub struct BackfillMetrics {
    found: Family<AccountLabel, Counter>,
    scans: Family<ScanLabels, Counter>,
    unreadable: Family<AccountLabel, Counter>,
    last: Family<AccountLabel, Gauge>,
    interval: Gauge,
}

/// The handles of one account.
#[derive(Clone, Debug)]
pub struct AccountBackfill {
    /// Intents that were found and stored.
    pub found: Counter,
    /// Scans that came to their end.
    pub complete: Counter,
    /// Scans that failed.
    pub failed: Counter,
    /// Lines with a flag that says neither yes nor no, in all scans.
    pub unreadable: Counter,
    last: Gauge,
}

impl BackfillMetrics {
    pub(super) fn register(r: &mut Registry) -> Self {
        let found = Family::<AccountLabel, Counter>::default();
        let help = "Intents to cancel that were found in the orders and in no webhook";
        r.register("order_gateway_backfill_intents", help, found.clone());
        let scans = Family::<ScanLabels, Counter>::default();
        r.register("order_gateway_backfill_scans", "Scans of the orders for missed intents", scans.clone());
        let unreadable = Family::<AccountLabel, Counter>::default();
        let help = "Order lines, in each scan, whose intent flag says neither yes nor no";
        r.register("order_gateway_backfill_unreadable_flags", help, unreadable.clone());
        let last = Family::<AccountLabel, Gauge>::default();
        let help = "When the last scan of the orders came to its end; before the first, when scanning began";
        r.register_with_unit("order_gateway_backfill_last_scan_timestamp", help, Unit::Seconds, last.clone());
        let interval = Gauge::default();
        let help = "Time between two scans of the orders; 0 when orders are not scanned";
        r.register_with_unit("order_gateway_backfill_interval", help, Unit::Seconds, interval.clone());
        Self { found, scans, unreadable, last, interval }
    }

    /// Sets the time between two scans.
    pub fn set_interval(&self, interval: Duration) {
        self.interval.set(i64::try_from(interval.as_secs()).unwrap_or(i64::MAX).max(1));
    }

    /// The handles of an account whose scanning begins now.
    pub fn begin(&self, account: &AccountId, now: Timestamp) -> AccountBackfill {
        let label = AccountLabel { account: account.to_string() };
        let scans = |outcome| self.scans.get_or_create_owned(&ScanLabels { account: account.to_string(), outcome });
        let handles = AccountBackfill {
            found: self.found.get_or_create_owned(&label),
            complete: scans("complete"),
            failed: scans("failed"),
            unreadable: self.unreadable.get_or_create_owned(&label),
            last: self.last.get_or_create_owned(&label),
        };
        handles.completed(now);
        handles
    }

    /// Ends the series that would go on to say how old the last scan of a removed account is.
    pub fn end(&self, account: &AccountId) {
        self.last.remove(&AccountLabel { account: account.to_string() });
    }
}

impl AccountBackfill {
    /// Records the end of a scan.
    pub fn completed(&self, now: Timestamp) {
        self.last.set(i64::try_from(now.0 / 1000).unwrap_or(i64::MAX));
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AccountLabel {
    account: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ScanLabels {
    account: String,
    outcome: &'static str,
}
