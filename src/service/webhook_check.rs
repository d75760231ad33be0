//! The check that each account's webhook subscriptions at Walmart are what they should be: at the start, daily, and after
//! each change that a caller makes.
//!
//! A check is one read in the background, which takes the tokens that callers and the ledger leave. It delays nothing: an
//! account that cannot be read is shown with its error and read again later.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::AccountDirectory;
use super::ledger::in_short;
use crate::domain::account::{AccountId, AccountIndex};
use crate::domain::account_table::AccountTable;
use crate::domain::reads::ListWebhookSubscriptions;
use crate::domain::timestamp::Timestamp;
use crate::domain::webhooks::{ORDER_UPDATES, missing_events};
use crate::pb::ListWebhookSubscriptionsRequest;
use crate::ports::call::CallContext;
use crate::ports::clock::Clock;
use crate::ports::upstream::{ErrorKind, Upstream, UpstreamError};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::semconv;
use crate::telemetry::trace::Tracer;

/// Time limit of a check: two tokens of Walmart's bucket, and an answer.
const CHECK_TIME: Duration = Duration::from_secs(20);
/// Wait after a failed check, doubled up to the longest.
const FIRST_RETRY: Duration = Duration::from_secs(5);
const LONGEST_RETRY: Duration = Duration::from_secs(10 * 60);
/// Longest time until accounts that came with new settings are checked.
const ACCOUNTS_EVERY: Duration = Duration::from_secs(15);

/// What the last checks showed. Cheap to clone; all clones share it.
#[derive(Clone, Debug, Default)]
pub struct WebhookChecks(Arc<CheckTable>);

#[derive(Debug, Default)]
struct CheckTable {
    rows: AccountTable<Mutex<AccountCheck>>,
    changed: Notify,
}

/// The checks of one account.
#[derive(Debug, Default)]
struct AccountCheck {
    view: Option<WebhookCheckView>,
    /// Time of the next check; `None` for now.
    next: Option<Instant>,
    failures: u32,
    /// Number of changes that callers made. A check that began before a change says nothing about it.
    changes: u64,
}

/// The last check of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebhookCheckView {
    /// Time of the last check that read the subscriptions.
    pub checked_time: Option<Timestamp>,
    /// Event types that should be subscribed and are not, by that check.
    pub missing: Vec<&'static str>,
    /// Why the check after that failed; empty when it did not.
    pub error: String,
}

/// The background task of the checks.
pub struct WebhookCheck<U> {
    /// Reads the subscriptions.
    pub upstream: U,
    /// The accounts by name.
    pub directory: AccountDirectory,
    /// Time between two checks of an account.
    pub interval: Duration,
    /// The time of day.
    pub clock: Clock,
    /// Makes the spans of the checks.
    pub tracer: Tracer,
    /// Shows the missing subscriptions.
    pub metrics: Arc<Metrics>,
}

impl WebhookChecks {
    /// The last check of an account; `None` before the first, and when checks are switched off.
    pub fn of(&self, account: AccountIndex) -> Option<WebhookCheckView> {
        self.row(account).view.clone()
    }

    /// Has the account checked now, because a caller may have changed its subscriptions.
    pub(super) fn changed(&self, account: AccountIndex) {
        {
            let mut row = self.row(account);
            row.changes += 1;
            (row.next, row.failures) = (None, 0);
        }
        self.0.changed.notify_one();
    }

    fn row(&self, account: AccountIndex) -> MutexGuard<'_, AccountCheck> {
        // A poisoned lock is used on: the row is replaced by the next check.
        self.0.rows.row(account, Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<U: Upstream<ListWebhookSubscriptions>> WebhookCheck<U> {
    /// Checks the accounts one after the other until `stopping`, and keeps what they show in `checks`.
    pub async fn run(self, checks: WebhookChecks, stopping: CancellationToken) {
        stopping.run_until_cancelled(self.work(&checks)).await;
    }

    async fn work(&self, checks: &WebhookChecks) {
        let mut shown: Vec<AccountId> = Vec::new();
        loop {
            let present = self.directory.all();
            let ids: Vec<AccountId> = present.iter().map(|account| self.directory.id(*account)).collect();
            // A removed account would keep its last value, and an alert on it would never end.
            shown.retain(|id| {
                let is_present = ids.contains(id);
                if !is_present {
                    self.metrics.webhooks.forget_missing_subscription(id.as_str(), ORDER_UPDATES);
                }
                is_present
            });
            let mut next = Instant::now() + ACCOUNTS_EVERY;
            for (account, id) in present.into_iter().zip(ids) {
                let is_due = checks.row(account).next.is_none_or(|next| next <= Instant::now());
                if is_due {
                    self.check(account, &id, checks).await;
                    if !shown.contains(&id) {
                        shown.push(id);
                    }
                }
                next = checks.row(account).next.map_or(Instant::now(), |of_account| next.min(of_account));
            }
            tokio::select! {
                () = checks.0.changed.notified() => {}
                () = sleep_until(next) => {}
            }
        }
    }

    async fn check(&self, account: AccountIndex, id: &AccountId, checks: &WebhookChecks) {
        let changes = checks.row(account).changes;
        let read = self.read(account, id).await;
        let mut row = checks.row(account);
        let mut view = row.view.take().unwrap_or_default();
        match read {
            Ok(missing) => {
                if !missing.is_empty() && view.missing != missing {
                    tracing::warn!(account = %id, ?missing, "the account lacks webhook subscriptions at Walmart; see docs/OPERATIONS.md");
                }
                self.metrics.webhooks.set_missing_subscription(id.as_str(), ORDER_UPDATES, !missing.is_empty());
                view = WebhookCheckView { checked_time: Some(self.clock.now().into()), missing, error: String::new() };
                (row.failures, row.next) = (0, Some(Instant::now() + self.interval));
            }
            Err(error) => {
                let error = in_short(&error);
                if view.error != error {
                    tracing::warn!(account = %id, error, "the account's webhook subscriptions could not be checked");
                }
                view.error = error;
                let wait = FIRST_RETRY.saturating_mul(1 << row.failures.min(10)).min(LONGEST_RETRY);
                row.failures += 1;
                row.next = Some(Instant::now() + wait.min(self.interval));
            }
        }
        row.view = Some(view);
        if row.changes != changes {
            row.next = None;
        }
    }

    /// Reads the subscriptions, and returns the missing event types.
    async fn read(&self, account: AccountIndex, id: &AccountId) -> Result<Vec<&'static str>, UpstreamError> {
        let mut span = self.tracer.background_span("webhook subscription check");
        span.set(semconv::ACCOUNT, || id.to_string().into());
        let call = CallContext::background(Instant::now() + CHECK_TIME, span.context().clone());
        let request = ListWebhookSubscriptionsRequest::default();
        let read = Upstream::<ListWebhookSubscriptions>::call(&self.upstream, account, &request, None, &call).await;
        match read {
            Ok(reply) => Ok(missing_events(id, &reply.answer.events)),
            // Walmart's own not-found: the account has none.
            Err(error) if error.kind == ErrorKind::NotFound => Ok(missing_events(id, &[])),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
#[path = "webhook_check_tests.rs"]
mod tests;
