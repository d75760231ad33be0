//! The accounts of a subscription, the access to it, and the rows voided when its accounts change.
//!
//! A subscription covers the accounts visible to its client now, narrowed by its filter. The accounts at its last use
//! are stored with the subscription ([`SubscriptionHead::scope`]), and no row has an event of any other account. After
//! a change of the settings or the filter, [`Feed::rescope`] voids the rows of lost accounts before any other use of
//! the subscription. Lost events are therefore neither shown, leased nor counted, also after a crash between a change
//! and its consequences.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Feed, FeedStore};
use crate::domain::account::AccountId;
use crate::domain::feed::subscription::{Subscription, SubscriptionConfig, SubscriptionHead, VoidedRows};
use crate::domain::feed::{AccountScope, EventFacts, FeedName};
use crate::ports::call::CallContext;
use crate::ports::store_error::StoreError;
use crate::service::feed_error::FeedError;
use crate::service::{AccountError, ServiceError};

/// Subscriptions read at once after a change of the settings.
const PAGE: usize = 200;
/// Events whose accounts are looked up at once.
const LOOKED_UP: usize = 64;
/// Pause after a failure of the store.
const AGAIN: Duration = Duration::from_secs(5);

/// The result of an access to a subscription.
enum AccessOutcome<T> {
    Refused,
    /// The accounts have changed since the last use.
    Stale,
    Done(T),
}

/// The result of one step of [`Feed::rescope`].
enum RescopeStep {
    /// The subscription covers the right accounts.
    Done(Option<VoidedRows>, u64),
    /// The accounts of some rows must be looked up first.
    Unknown(AccountLookup),
}

struct AccountLookup {
    id: u64,
    generation: u64,
    feed: FeedName,
    seqs: Vec<u64>,
}

/// The accounts of the events of a subscription's rows, by position; `None` for a trimmed event.
#[derive(Clone, Default)]
struct RowAccounts {
    /// Id of the subscription.
    id: u64,
    accounts: Arc<BTreeMap<u64, Option<Box<str>>>>,
}

impl<F: FeedStore> Feed<F> {
    /// The accounts that the subscription covers now.
    pub(super) fn meant(&self, head: &SubscriptionHead) -> AccountScope {
        let SubscriptionConfig { client, filter, .. } = &head.config;
        let all = if client.is_empty() {
            Some(AccountScope::All)
        } else {
            // The subscription of a client missing from the settings stays unchanged, because renaming a client must
            // lose nothing.
            self.0.parts.clients.of(client).or_else(|| head.scope.clone())
        };
        all.unwrap_or(AccountScope::All).narrowed(&filter.accounts)
    }

    /// The accounts that a new subscription of the caller would cover.
    pub(super) fn meant_by(
        &self,
        config: &SubscriptionConfig,
        call: &CallContext,
    ) -> Result<AccountScope, ServiceError> {
        let visible = self.visible("", call)?;
        let all = visible.map_or(AccountScope::All, |accounts| AccountScope::only(&accounts));
        Ok(all.narrowed(&config.filter.accounts))
    }

    /// Whether the accounts have changed since the last use.
    pub(super) fn is_stale(&self, head: &SubscriptionHead) -> bool {
        head.scope.as_ref() != Some(&self.meant(head))
    }

    /// Whether the caller may use the subscription: the caller sees all of its accounts, or created the subscription.
    pub(super) fn may_use(&self, head: &SubscriptionHead, call: &CallContext) -> bool {
        let visible = |name: &str| {
            let account = AccountId::new(name).ok().and_then(|id| self.0.parts.directory.position(&id));
            account.is_some_and(|account| call.caller().may_see(account))
        };
        if call.caller().sees_all() || is_maker(head, call) {
            return true;
        }
        match self.meant(head) {
            AccountScope::All => false,
            // A subscription without accounts is usable only by its client, and by callers allowed every account.
            AccountScope::Only(names) => !names.is_empty() && names.iter().all(|name| visible(name)),
        }
    }

    /// Runs `change` on a subscription that the caller may use.
    pub(super) async fn allowed<T, C>(&self, name: &str, call: &CallContext, change: C) -> Result<T, ServiceError>
    where
        T: Send + 'static,
        C: FnMut(&mut Subscription) -> T + Send + 'static,
    {
        let change = Arc::new(Mutex::new(change));
        loop {
            let (feed, call, change) = (self.clone(), call.clone(), change.clone());
            let access = move |it: &mut Subscription| {
                if !feed.may_use(it.head(), &call) {
                    AccessOutcome::Refused
                } else if feed.is_stale(it.head()) {
                    AccessOutcome::Stale
                } else {
                    let mut change = change.lock().unwrap_or_else(PoisonError::into_inner);
                    AccessOutcome::Done((*change)(it))
                }
            };
            match self.store().change(name, access).await? {
                None => return Err(FeedError::SubscriptionNotFound { name: name.to_owned() }.into()),
                Some(AccessOutcome::Refused) => return Err(ServiceError::Account(AccountError::NotAllowed)),
                Some(AccessOutcome::Done(done)) => return Ok(done),
                Some(AccessOutcome::Stale) => {
                    self.rescope(name).await?;
                }
            }
        }
    }

    /// Runs `change` on a subscription of this feed.
    pub(super) async fn allowed_of<T, C>(
        &self,
        feed: FeedName,
        name: &str,
        call: &CallContext,
        mut change: C,
    ) -> Result<T, ServiceError>
    where
        T: Send + 'static,
        C: FnMut(&mut Subscription) -> T + Send + 'static,
    {
        let change = move |it: &mut Subscription| {
            if it.head().config.feed == feed { Ok(change(it)) } else { Err(wrong_feed(it.head())) }
        };
        Ok(self.allowed(name, call, change).await??)
    }

    /// Sets the accounts of a subscription, voids the rows of lost accounts, and ends its streams. Returns the voided
    /// rows if the accounts changed.
    pub(super) async fn rescope(&self, name: &str) -> Result<Option<VoidedRows>, StoreError> {
        let mut known = RowAccounts::default();
        loop {
            let (feed, looked_up) = (self.clone(), known.clone());
            match self.store().change(name, move |it| feed.rescope_step(it, &looked_up)).await? {
                None => return Ok(None),
                Some(RescopeStep::Done(voided, generation)) => {
                    if let Some(voided) = voided {
                        self.dispatcher_must_end(name, generation);
                        self.note_voided(name, voided);
                    }
                    return Ok(voided);
                }
                // New rows may appear during the look-up. The dispatcher ends first, which makes the loop terminate.
                Some(RescopeStep::Unknown(lookup)) => {
                    self.dispatcher_must_end(name, lookup.generation);
                    known = self.look_up(lookup, known).await?;
                }
            }
        }
    }

    fn rescope_step(&self, it: &mut Subscription, known: &RowAccounts) -> RescopeStep {
        let (head, meant) = (it.head(), self.meant(it.head()));
        let generation = head.generation;
        let may_lose = match &head.scope {
            Some(scope) if *scope == meant => return RescopeStep::Done(None, generation),
            Some(scope) => !scope.is_within(&meant),
            None => meant != AccountScope::All,
        };
        let open = if may_lose { it.open_rows() } else { Vec::new() };
        let of = |seq: &u64| if known.id == head.id { known.accounts.get(seq) } else { None };
        let seqs: Vec<u64> = open.iter().copied().filter(|seq| of(seq).is_none()).collect();
        if !seqs.is_empty() {
            return RescopeStep::Unknown(AccountLookup { id: head.id, generation, feed: head.config.feed, seqs });
        }
        // A trimmed event cannot be shown to any caller.
        let is_gone = |seq: &u64| of(seq).and_then(Option::as_deref).is_some_and(|account| !meant.has(account));
        let gone: Vec<u64> = open.iter().copied().filter(is_gone).collect();
        RescopeStep::Done(Some(it.set_scope(meant, gone)), generation)
    }

    async fn look_up(&self, lookup: AccountLookup, known: RowAccounts) -> Result<RowAccounts, StoreError> {
        let AccountLookup { id, feed, seqs, .. } = lookup;
        let mut accounts = if known.id == id { Arc::unwrap_or_clone(known.accounts) } else { BTreeMap::new() };
        for some in seqs.chunks(LOOKED_UP) {
            accounts.extend(some.iter().map(|seq| (*seq, None)));
            for stored in self.log(feed).pick(some.to_vec(), false).await? {
                // An unreadable event belongs to no account, and is shown to no caller.
                let account = EventFacts::decode(feed, &stored.message).map(|facts| facts.account().into());
                accounts.insert(stored.seq, Some(account.unwrap_or_default()));
            }
        }
        Ok(RowAccounts { id, accounts: Arc::new(accounts) })
    }

    fn dispatcher_must_end(&self, name: &str, generation: u64) {
        self.0.dispatchers.end(name, FeedError::Updated { generation });
    }

    fn note_voided(&self, subscription: &str, voided: VoidedRows) {
        let VoidedRows { leased, parked, pending } = voided;
        self.0.parts.metrics.voided.inc_by(voided.all());
        if voided == VoidedRows::default() {
            tracing::info!(subscription, "a subscription means other accounts than before");
        } else {
            tracing::warn!(
                subscription,
                leased,
                parked,
                pending,
                "events of accounts that a subscription means no more are void"
            );
        }
    }

    /// Updates the accounts of all subscriptions, at the start and after every change of the clients' settings.
    pub(super) async fn follow_clients_until(self, stopping: CancellationToken) {
        let mut changes = self.0.parts.clients.changes();
        loop {
            changes.mark_unchanged();
            let next = async {
                match self.rescope_all().await {
                    Ok(()) => changes.changed().await.is_ok(),
                    Err(_) => {
                        tokio::time::sleep(AGAIN).await;
                        true
                    }
                }
            };
            if stopping.run_until_cancelled(next).await != Some(true) {
                return;
            }
        }
    }

    async fn rescope_all(&self) -> Result<(), StoreError> {
        let mut after = String::new();
        loop {
            let page = self.store().names(&after, PAGE).await?;
            for head in page.iter().filter(|head| self.is_stale(head)) {
                self.rescope(&head.name).await?;
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after.clone_from(&last.name),
                _ => return Ok(()),
            }
        }
    }
}

pub(super) fn wrong_feed(head: &SubscriptionHead) -> FeedError {
    FeedError::WrongFeed { name: head.name.clone(), feed: head.config.feed }
}

/// Whether the caller is the client that created the subscription.
pub(super) fn is_maker(head: &SubscriptionHead, call: &CallContext) -> bool {
    !head.config.client.is_empty() && head.config.client == client_of(call)
}

/// The client name for counting subscriptions; empty for a gateway without clients.
pub(super) fn client_of(call: &CallContext) -> &str {
    let caller = call.caller();
    if caller.is_anonymous() { "" } else { &caller.name }
}

#[cfg(test)]
#[path = "scope_tests.rs"]
mod tests;
