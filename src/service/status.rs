//! The state of the gateway, for operators: the answer to GetStatus, and the content of the status page. No call to
//! Walmart is made.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, timeout};

use super::feed::{EventIds, Feed, FeedState, FeedStore};
use super::{
    AccountDirectory, AccountError, BackfillState, BackfillView, ClockView, ClockWatch, Operations, ServiceError,
    SettingsState, SettingsView, WebhookCheckView, WebhookChecks,
};
use crate::domain::account::{AccountId, AccountIndex};
use crate::domain::ledger::{Entry, EntryState};
use crate::domain::operation::Operation;
use crate::ports::call::{CallContext, CallPurpose, CallRecord, Caller};
use crate::ports::ledger::{EntryCount, Ledger};
use crate::ports::overview::{OperationView, TokenFailure, TokenView, UpstreamOverview};
use crate::ports::upstream::WalmartApi;
use crate::telemetry::last_hour::LastHour;
use crate::telemetry::trace::TraceContext;

/// Most subscriptions in GetStatus.
const SUBSCRIPTIONS: usize = 100;
/// Longest wait of the board for the store.
const PATIENCE: Duration = Duration::from_secs(2);

/// Row limits of the board, chosen for readability and for a read every second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BoardRows;

impl BoardRows {
    /// Most unsettled operations shown.
    pub(crate) const OPERATIONS: usize = 50;
    /// Most subscriptions shown. The writer caches more (`store/sqlite/feed/memory.rs`); no subscription is read
    /// completely every second.
    pub(crate) const SUBSCRIPTIONS: usize = 50;
    /// Most cancel intents shown.
    pub(crate) const INTENTS: usize = 20;
}

/// The use case GetStatus, over any upstream and store.
pub struct GatewayStatus<U, L, F> {
    /// The accounts by name.
    pub directory: AccountDirectory,
    /// State of the access to Walmart.
    pub overview: Arc<dyn UpstreamOverview>,
    /// Mutations of the accounts.
    pub operations: Operations<U, L>,
    /// The feeds of the gateway.
    pub feed: Feed<F>,
    /// The checks of webhook subscriptions at Walmart.
    pub webhooks: WebhookChecks,
    /// The scans of the orders for missed intents.
    pub backfill: BackfillState,
    /// The watch of the machine's clocks.
    pub clock_watch: ClockWatch,
    /// State of the settings.
    pub settings: SettingsState,
    /// Time at which the process began to serve.
    pub start_time: SystemTime,
}

impl<U, L, F> Clone for GatewayStatus<U, L, F> {
    fn clone(&self) -> Self {
        Self {
            directory: self.directory.clone(),
            overview: self.overview.clone(),
            operations: self.operations.clone(),
            feed: self.feed.clone(),
            webhooks: self.webhooks.clone(),
            backfill: self.backfill.clone(),
            clock_watch: self.clock_watch.clone(),
            settings: self.settings.clone(),
            start_time: self.start_time,
        }
    }
}

/// State of one account.
#[derive(Clone, Debug)]
pub struct AccountState {
    /// Name of the account.
    pub id: AccountId,
    /// State of the access token.
    pub token: TokenView,
    /// The failure of the last token request; `None` after a success.
    pub token_failure: Option<TokenFailure>,
    /// Bucket and circuit of every operation.
    pub operations: [(Operation, OperationView); Operation::ALL.len()],
    /// The ledger's entries of the account by state; empty states are left out. `None` while the store fails.
    pub ledger: Option<Vec<EntryCount>>,
    /// The last check of the account's webhook subscriptions; `None` before the first.
    pub webhooks: Option<WebhookCheckView>,
    /// The scans of the account's orders; `None` when its orders are not scanned.
    pub backfill: Option<BackfillView>,
}

/// The answer to GetStatus.
#[derive(Clone, Debug)]
pub struct StatusReply {
    /// State of the requested accounts.
    pub accounts: Vec<AccountState>,
    /// State of the feed; `None` while the store fails.
    pub feed: Option<FeedState>,
    /// State of the machine's clocks.
    pub clock: ClockView,
    /// State of the settings. The faults are shown to callers allowed every account only.
    pub settings: SettingsView,
}

/// The content of the status page, over all accounts. A part is `None` while the store fails or is too slow; the rest
/// stays.
#[derive(Clone, Debug)]
pub(crate) struct StatusBoard {
    /// Accounts in the order of the settings.
    pub(crate) accounts: Vec<AccountState>,
    /// Unsettled mutations, NEEDS_OPERATOR first; at most one more than [`BoardRows::OPERATIONS`].
    pub(crate) unresolved: Option<Vec<Entry>>,
    /// State of the feed.
    pub(crate) feed: Option<FeedState>,
    /// The last cancel intents, oldest first.
    pub(crate) intents: Option<Vec<EventIds>>,
}

impl<U: WalmartApi, L: Ledger, F: FeedStore> GatewayStatus<U, L, F> {
    /// Reads the state of one account, or of all visible accounts, with the feed and the clocks. With `confirm_clock`
    /// an operator confirms the time of day.
    ///
    /// # Errors
    /// The account does not exist or is invisible to the caller, or the clock is confirmed by a caller not allowed
    /// every account. A failing store is no error.
    pub async fn reply(
        &self,
        account: &str,
        confirm_clock: bool,
        call: &CallContext,
    ) -> Result<StatusReply, ServiceError> {
        let accounts = self.directory.many(account, call)?;
        if confirm_clock {
            // Confirming the clock resumes trimming for every account.
            if !call.caller().sees_all() {
                return Err(ServiceError::Account(AccountError::NotAllowed));
            }
            self.clock_watch.confirm(&call.caller().name);
        }
        let counts = self.operations.counts().await;
        let feed = self.feed.overview(SUBSCRIPTIONS, call).await.ok();
        let clock = self.clock_watch.view();
        let mut settings = self.settings.view();
        if !call.caller().sees_all()
            && let Some(refused) = &mut settings.refused
        {
            refused.omitted += refused.faults.len();
            refused.faults.clear();
        }
        Ok(StatusReply { accounts: self.accounts(accounts, counts.as_deref()), feed, clock, settings })
    }

    /// Records the present levels of Walmart's buckets.
    pub(crate) fn note_levels(&self, hour: &LastHour) {
        for account in self.directory.all() {
            for operation in Operation::ALL {
                let OperationView { limit_per_minute, tokens, .. } = self.overview.operation(account, operation);
                hour.note_level(operation, tokens / f64::from(limit_per_minute.max(1)));
            }
        }
    }

    /// Reads the content of the status page. `intents` has the intents of the previous read, and is updated.
    pub(crate) async fn board(&self, intents: &mut VecDeque<EventIds>) -> StatusBoard {
        let call = nobodys();
        let feed = async {
            let mut state = self.feed.overview(BoardRows::SUBSCRIPTIONS, &call).await?;
            self.feed.find_oldest(&mut state).await?;
            Ok::<_, ServiceError>(state)
        };
        let followed = self.feed.follow_ids(intents, BoardRows::INTENTS);
        let counts = async { self.operations.counts().await.ok_or(()) };
        // One additional entry shows whether more exist.
        let unresolved = self.operations.unresolved(BoardRows::OPERATIONS + 1);
        let (counts, unresolved, feed, followed) =
            tokio::join!(patiently(counts), patiently(unresolved), patiently(feed), patiently(followed));
        StatusBoard {
            accounts: self.accounts(self.directory.all(), counts.as_deref()),
            unresolved,
            feed,
            intents: followed.map(|()| intents.iter().cloned().collect()),
        }
    }

    fn accounts(
        &self,
        accounts: impl IntoIterator<Item = AccountIndex>,
        counts: Option<&[EntryCount]>,
    ) -> Vec<AccountState> {
        let of = |account| {
            let id = self.directory.id(account);
            let kept = |counts: &[EntryCount]| {
                counts.iter().filter(|count| count.account == id && count.entries > 0).cloned().collect()
            };
            AccountState {
                ledger: counts.map(kept),
                webhooks: self.webhooks.of(account),
                backfill: self.backfill.of(account),
                token: self.overview.token(account),
                token_failure: self.overview.token_failure(account),
                operations: Operation::ALL.map(|operation| (operation, self.overview.operation(account, operation))),
                id,
            }
        };
        accounts.into_iter().map(of).collect()
    }
}

impl AccountState {
    /// Number of mutations in a state; 0 while the store fails.
    pub fn count(&self, state: EntryState) -> u64 {
        self.ledger.iter().flatten().filter(|count| count.state == state).map(|count| count.entries).sum()
    }
}

/// Returns `None` when the work fails or is too slow.
async fn patiently<T, E>(work: impl Future<Output = Result<T, E>>) -> Option<T> {
    timeout(PATIENCE, work).await.ok()?.ok()
}

/// The call context of the status page, which may show everything.
fn nobodys() -> CallContext {
    CallContext {
        deadline: CallContext::no_deadline(Instant::now()),
        trace: TraceContext { trace_id: 1, span_id: 1, sampled: false, state: None },
        facts: CallRecord::of(Caller::anonymous()),
        purpose: CallPurpose::Caller,
    }
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
