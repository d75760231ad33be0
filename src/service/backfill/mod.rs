//! Finds intents to cancel that no webhook told. Walmart posts an event three times at most and then forgets it, so the
//! orders themselves are read at intervals: a line with an intent flag of which the feed had no intent becomes an event,
//! with origin BACKFILL.
//!
//! Nothing waits for a scan: its calls take what callers and look-ups leave of the account's limit. A webhook that comes
//! after all is delivered as well; consumers know both by their `intent_key`. The process that owns the store is the only
//! one that scans.

mod scan;
mod state;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use self::scan::ScanFailure;
pub use self::state::{BackfillState, BackfillView};
use super::AccountDirectory;
use crate::domain::account::{AccountId, AccountIndex};
use crate::domain::reads::ListSellerOrders;
use crate::domain::timestamp::Timestamp;
use crate::ports::clock::Clock;
use crate::ports::event_log::EventLog;
use crate::ports::upstream::Upstream;
use crate::telemetry::metrics::{AccountBackfill, BackfillMetrics};
use crate::telemetry::trace::Tracer;

/// Interval at which accounts are looked for that are due, new or removed.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Accounts scanned at the same time. A page of orders takes some MiB of memory.
const AT_ONCE: usize = 4;
/// Bounds of the wait after a failed scan, which is otherwise a tenth of the interval.
const SHORTEST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// The settings of the scans.
#[derive(Clone, Debug)]
pub struct BackfillSettings {
    /// Time between two scans of an account.
    pub interval: Duration,
    /// Age of the oldest orders read.
    pub window: Duration,
    /// Types of ship nodes whose orders are read.
    pub ship_node_types: Vec<String>,
}

/// The parts of which the scans are made.
pub struct BackfillParts<U, F> {
    /// Walmart.
    pub upstream: U,
    /// Store of the feed.
    pub store: F,
    /// The accounts in the settings now.
    pub directory: AccountDirectory,
    /// The settings of the scans.
    pub settings: BackfillSettings,
    /// Source of the time.
    pub clock: Clock,
    /// Builder of spans.
    pub tracer: Tracer,
    /// Metrics of the scans.
    pub metrics: BackfillMetrics,
    /// Where operators see the scans.
    pub state: BackfillState,
}

/// Scans the orders of all accounts.
pub struct Backfill<U, F>(BackfillParts<U, F>);

/// An account whose orders are scanned.
struct Scanned {
    id: AccountId,
    metrics: AccountBackfill,
    /// Time of the next scan; `None` while a scan is running.
    due: Option<Instant>,
    /// Whether the last scan failed.
    is_failing: bool,
    /// Whether the log has a line about an unreadable flag.
    told_of_flags: bool,
}

impl<U: Upstream<ListSellerOrders>, F: EventLog> Backfill<U, F> {
    /// Scans as `parts` say.
    pub fn new(parts: BackfillParts<U, F>) -> Self {
        parts.metrics.set_interval(parts.settings.interval);
        Self(parts)
    }

    /// Scans at intervals until `stopping`.
    pub async fn run(self, stopping: CancellationToken) {
        stopping.run_until_cancelled(self.scan_all()).await;
    }

    async fn scan_all(&self) {
        let mut accounts = BTreeMap::new();
        let mut scans = FuturesUnordered::new();
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some((account, ended)) = scans.next(), if !scans.is_empty() => self.end(&mut accounts, account, &ended),
                _ = ticks.tick() => {}
            }
            self.follow_settings(&mut accounts);
            let now = Instant::now();
            for (account, scanned) in &mut accounts {
                if scans.len() < AT_ONCE && scanned.due.is_some_and(|due| due <= now) {
                    scanned.due = None;
                    let (account, id) = (*account, scanned.id.clone());
                    scans.push(async move { (account, self.scan(account, &id).await) });
                }
            }
        }
    }

    /// Takes accounts in that came, and drops those that went; a scan that is running ends by itself.
    fn follow_settings(&self, accounts: &mut BTreeMap<AccountIndex, Scanned>) {
        let BackfillParts { directory, metrics, state, clock, .. } = &self.0;
        let present = directory.all();
        accounts.retain(|account, scanned| {
            let stays = present.contains(account) && directory.id(*account) == scanned.id;
            if !stays {
                metrics.end(&scanned.id);
                state.end(*account);
            }
            stays
        });
        for account in present {
            accounts.entry(account).or_insert_with(|| {
                let id = directory.id(account);
                state.change(account, |_| {});
                let metrics = metrics.begin(&id, clock.now().into());
                Scanned { id, metrics, due: Some(Instant::now()), is_failing: false, told_of_flags: false }
            });
        }
    }

    /// Records the end of a scan, and plans the next.
    fn end(&self, accounts: &mut BTreeMap<AccountIndex, Scanned>, account: AccountIndex, ended: &ScanEnd) {
        let BackfillParts { state, settings, clock, .. } = &self.0;
        // The account may have gone meanwhile, or have come back.
        let Some(scanned) = accounts.get_mut(&account).filter(|scanned| scanned.due.is_none()) else { return };
        let ScanEnd { result, found, unreadable, example } = ended;
        scanned.metrics.found.inc_by(*found);
        scanned.metrics.unreadable.inc_by(*unreadable);
        if let Some(purchase_order) = example
            && !std::mem::replace(&mut scanned.told_of_flags, true)
        {
            tracing::warn!(
                account = %scanned.id,
                purchase_order = %purchase_order,
                "intentToCancel of an order line says neither yes nor no; later ones of the account are counted only"
            );
        }
        let now: Timestamp = clock.now().into();
        let wait = match result {
            Ok(()) => {
                scanned.metrics.complete.inc();
                scanned.metrics.completed(now);
                if std::mem::take(&mut scanned.is_failing) {
                    tracing::info!(account = %scanned.id, "orders are scanned for missed intents again");
                }
                settings.interval
            }
            Err(failure) => {
                scanned.metrics.failed.inc();
                if !std::mem::replace(&mut scanned.is_failing, true) {
                    tracing::warn!(account = %scanned.id, "orders cannot be scanned for missed intents: {failure}");
                }
                (settings.interval / 10).clamp(SHORTEST_RETRY, LONGEST_RETRY).min(settings.interval)
            }
        };
        scanned.due = Some(Instant::now() + wait);
        state.change(account, |view| {
            view.backfilled += found;
            match result {
                Ok(()) => (view.last_backfill_time, view.error) = (Some(now), String::new()),
                Err(failure) => view.error = failure.to_string(),
            }
        });
    }
}

/// The end of a scan.
#[derive(Debug)]
struct ScanEnd {
    result: Result<(), ScanFailure>,
    /// Number of intents found and stored.
    found: u64,
    /// Number of lines with an unreadable flag.
    unreadable: u64,
    /// The first purchase order with an unreadable flag.
    example: Option<Arc<str>>,
}

#[cfg(test)]
mod tests;
