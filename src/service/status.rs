//! The gateway's view of itself, for those who operate it: GetStatus answers with it, and the page for people shows it.
//! Nothing here asks Walmart.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, timeout};

use super::feed::{EventIds, Feed, FeedState, FeedStore};
use super::{AccountError, ClockView, ClockWatch, Directory, Operations, ServiceError};
use crate::domain::account::{AccountId, AccountIndex};
use crate::domain::ledger::{Entry, EntryState};
use crate::domain::operation::Operation;
use crate::ports::call::{CallContext, CallFacts, Caller, Purpose};
use crate::ports::ledger::{Count, Ledger};
use crate::ports::overview::{OperationView, Overview, TokenFailure, TokenView};
use crate::ports::upstream::WalmartApi;
use crate::telemetry::trace::TraceContext;

/// Subscriptions that GetStatus tells of.
const SUBSCRIPTIONS: usize = 100;
/// How long the board waits for the store.
const PATIENCE: Duration = Duration::from_secs(2);

/// Rows of the board: what an operator can take in, and what may be read every second.
#[derive(Clone, Copy, Debug)]
pub struct Rows;

impl Rows {
    /// Operations that are not settled.
    pub const OPERATIONS: usize = 50;
    /// Subscriptions; the writer remembers more (`store/sqlite/feed/memory.rs`), so that none is read whole every second.
    pub const SUBSCRIPTIONS: usize = 50;
    /// Intents.
    pub const INTENTS: usize = 20;
}

/// The use case, over any upstream and store.
pub struct GatewayStatus<U, L, F> {
    /// The accounts by name.
    pub directory: Directory,
    /// Their state.
    pub overview: Arc<dyn Overview>,
    /// Their mutations.
    pub operations: Operations<U, L>,
    /// The feed.
    pub feed: Feed<F>,
    /// The machine's clocks.
    pub clock_watch: ClockWatch,
    /// When the process began to serve.
    pub start_time: SystemTime,
}

impl<U, L, F> Clone for GatewayStatus<U, L, F> {
    fn clone(&self) -> Self {
        Self {
            directory: self.directory.clone(),
            overview: self.overview.clone(),
            operations: self.operations.clone(),
            feed: self.feed.clone(),
            clock_watch: self.clock_watch.clone(),
            start_time: self.start_time,
        }
    }
}

/// State of an account.
#[derive(Clone, Debug)]
pub struct AccountState {
    /// Its name.
    pub id: AccountId,
    /// The access token.
    pub token: TokenView,
    /// Why the last try to get one failed; none when it did not.
    pub token_failure: Option<TokenFailure>,
    /// Bucket and circuit of each operation.
    pub operations: [(Operation, OperationView); Operation::ALL.len()],
    /// What the ledger has of it, by state; states without any are left out. `None` while the store fails.
    pub ledger: Option<Vec<Count>>,
}

/// What GetStatus tells.
#[derive(Clone, Debug)]
pub struct Told {
    /// The accounts that are meant.
    pub accounts: Vec<AccountState>,
    /// The feed; `None` while the store fails.
    pub feed: Option<FeedState>,
    /// The machine's clocks.
    pub clock: ClockView,
}

/// All that an operator sees at one look, of all accounts. What the store does not tell, or not in time, is `None`; the
/// rest stays.
#[derive(Clone, Debug)]
pub struct Board {
    /// The accounts, in the order of the settings.
    pub accounts: Vec<AccountState>,
    /// Mutations that are not settled, those that wait for a person first; one more than [`Rows::OPERATIONS`] at most.
    pub unresolved: Option<Vec<Entry>>,
    /// The feed.
    pub feed: Option<FeedState>,
    /// The last intents, oldest first.
    pub intents: Option<Vec<EventIds>>,
}

impl<U: WalmartApi, L: Ledger, F: FeedStore> GatewayStatus<U, L, F> {
    /// The state of one account, or of all that the caller may see; with the feed and the clocks. `confirm_clock`: an
    /// operator's word that the time of day is right.
    ///
    /// # Errors
    /// An account that does not exist, or that the caller may not see; a word about the clock of one who may not see every
    /// account. A failing store is none.
    pub async fn told(&self, account: &str, confirm_clock: bool, call: &CallContext) -> Result<Told, ServiceError> {
        let accounts = self.directory.many(account, call)?;
        if confirm_clock {
            // What is dropped then is everybody's.
            if !call.caller().sees_all() {
                return Err(ServiceError::Account(AccountError::NotAllowed));
            }
            self.clock_watch.confirm(&call.caller().name);
        }
        let counts = self.operations.counts().await;
        let feed = self.feed.overview(SUBSCRIPTIONS, call).await.ok();
        let clock = self.clock_watch.view();
        Ok(Told { accounts: self.accounts(accounts, counts.as_deref()), feed, clock })
    }

    /// What the board shows. `intents` are the last ones that it showed.
    pub async fn board(&self, intents: &mut VecDeque<EventIds>) -> Board {
        let call = nobodys();
        let feed = async {
            let mut state = self.feed.overview(Rows::SUBSCRIPTIONS, &call).await?;
            self.feed.find_oldest(&mut state).await?;
            Ok::<_, ServiceError>(state)
        };
        let followed = self.feed.follow_ids(intents, Rows::INTENTS);
        let counts = async { self.operations.counts().await.ok_or(()) };
        // One more tells whether there are more.
        let unresolved = self.operations.unresolved(Rows::OPERATIONS + 1);
        let (counts, unresolved, feed, followed) =
            tokio::join!(patiently(counts), patiently(unresolved), patiently(feed), patiently(followed));
        let all = (0..self.directory.len()).map(AccountIndex);
        Board {
            accounts: self.accounts(all, counts.as_deref()),
            unresolved,
            feed,
            intents: followed.map(|()| intents.iter().cloned().collect()),
        }
    }

    fn accounts(
        &self,
        accounts: impl IntoIterator<Item = AccountIndex>,
        counts: Option<&[Count]>,
    ) -> Vec<AccountState> {
        let of = |account| {
            let id = self.directory.id(account).clone();
            let kept = |counts: &[Count]| {
                counts.iter().filter(|count| count.account == id && count.entries > 0).cloned().collect()
            };
            AccountState {
                ledger: counts.map(kept),
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
    /// How many mutations are in a state; 0 while the store fails.
    pub fn count(&self, state: EntryState) -> u64 {
        self.ledger.iter().flatten().filter(|count| count.state == state).map(|count| count.entries).sum()
    }
}

/// What is not there in time is not told.
async fn patiently<T, E>(work: impl Future<Output = Result<T, E>>) -> Option<T> {
    timeout(PATIENCE, work).await.ok()?.ok()
}

/// The call of whoever looks at the board: it may see everything.
fn nobodys() -> CallContext {
    CallContext {
        deadline: CallContext::no_deadline(Instant::now()),
        trace: TraceContext { trace_id: 1, span_id: 1, sampled: false, state: None },
        facts: CallFacts::of(Caller::anonymous()),
        purpose: Purpose::Caller,
    }
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
