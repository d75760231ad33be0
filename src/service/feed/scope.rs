//! Which accounts a subscription means, who may use it, and what goes when it means fewer.
//!
//! A subscription means those accounts that its client may see now, of those that its filter names. The accounts that it meant
//! when it was used last are kept with it ([`Head::scope`]), and no row of it is of another. Where they differ from those of
//! now, because the settings or the filter changed, [`Feed::rescope`] voids the rows of accounts that went, before anything
//! else is done with the subscription: so nothing of them is shown, lent or counted, also after a crash between a change and
//! its consequences.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::error::FeedError;
use super::subscriptions::wrong_feed;
use super::{Feed, FeedStore};
use crate::domain::account::AccountId;
use crate::domain::feed::subscription::{Config, Head, Subscription, Voided};
use crate::domain::feed::{AccountScope, Facts, FeedName};
use crate::ports::call::CallContext;
use crate::ports::ledger::StoreError;
use crate::service::{AccountError, ServiceError};

/// Subscriptions that are read at once when the settings have changed.
const PAGE: usize = 200;
/// Events whose accounts are looked up at once.
const LOOKED_UP: usize = 64;
/// Pause before the store is asked again that failed.
const AGAIN: Duration = Duration::from_secs(5);

/// What a use of a subscription came to.
enum Access<T> {
    Refused,
    /// It means other accounts than when it was used last.
    Stale,
    Done(T),
}

/// One step of [`Feed::rescope`].
enum Step {
    /// It means what it should.
    Done(Option<Voided>, u64),
    /// These rows are to be looked up first, of the subscription with this id.
    Unknown(Lookup),
}

struct Lookup {
    id: u64,
    generation: u64,
    feed: FeedName,
    seqs: Vec<u64>,
}

/// Accounts of the events of a subscription's rows, by position; `None` where the log has the event no more.
#[derive(Clone, Default)]
struct RowAccounts {
    /// Of the subscription.
    id: u64,
    accounts: Arc<BTreeMap<u64, Option<Box<str>>>>,
}

impl<F: FeedStore> Feed<F> {
    /// The accounts that a subscription means now.
    pub(super) fn meant(&self, head: &Head) -> AccountScope {
        let Config { client, filter, .. } = &head.config;
        let all = if client.is_empty() {
            Some(AccountScope::All)
        } else {
            // One whose client left the settings goes on as it was: to rename a client must lose nothing.
            self.0.parts.clients.of(client).or_else(|| head.scope.clone())
        };
        all.unwrap_or(AccountScope::All).narrowed(&filter.accounts)
    }

    /// The accounts that a new subscription of the caller means.
    pub(super) fn meant_by(&self, config: &Config, call: &CallContext) -> Result<AccountScope, ServiceError> {
        let visible = self.visible("", call)?;
        let all = visible.map_or(AccountScope::All, |accounts| AccountScope::only(&accounts));
        Ok(all.narrowed(&config.filter.accounts))
    }

    /// Whether it means other accounts than when it was used last.
    pub(super) fn is_stale(&self, head: &Head) -> bool {
        head.scope.as_ref() != Some(&self.meant(head))
    }

    /// Whether the caller may see all that a subscription gives, or made it: then all that it gives is the caller's.
    pub(super) fn may_use(&self, head: &Head, call: &CallContext) -> bool {
        let visible = |name: &str| {
            let account = AccountId::new(name).ok().and_then(|id| self.0.parts.directory.position(&id));
            account.is_some_and(|account| call.caller().may_see(account))
        };
        if call.caller().sees_all() || is_maker(head, call) {
            return true;
        }
        match self.meant(head) {
            AccountScope::All => false,
            // One that means nothing any more is left to its client, and to those who see all.
            AccountScope::Only(names) => !names.is_empty() && names.iter().all(|name| visible(name)),
        }
    }

    /// Works on a subscription, if the caller may use it.
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
                    Access::Refused
                } else if feed.is_stale(it.head()) {
                    Access::Stale
                } else {
                    let mut change = change.lock().unwrap_or_else(PoisonError::into_inner);
                    Access::Done((*change)(it))
                }
            };
            match self.store().change(name, access).await? {
                None => return Err(FeedError::SubscriptionNotFound { name: name.to_owned() }.into()),
                Some(Access::Refused) => return Err(ServiceError::Account(AccountError::NotAllowed)),
                Some(Access::Done(done)) => return Ok(done),
                Some(Access::Stale) => {
                    self.rescope(name).await?;
                }
            }
        }
    }

    /// The same with a subscription that must be of this feed.
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

    /// Has a subscription mean the accounts that it should. Rows of others are void; its streams end. Tells what went if it
    /// meant other accounts before.
    pub(super) async fn rescope(&self, name: &str) -> Result<Option<Voided>, StoreError> {
        let mut known = RowAccounts::default();
        loop {
            let (feed, looked_up) = (self.clone(), known.clone());
            match self.store().change(name, move |it| feed.rescope_step(it, &looked_up)).await? {
                None => return Ok(None),
                Some(Step::Done(voided, generation)) => {
                    if let Some(voided) = voided {
                        self.dispatcher_must_end(name, generation);
                        self.note_voided(name, voided);
                    }
                    return Ok(voided);
                }
                // Rows may come while these are looked up. Whoever lends ends first, so that it comes to an end.
                Some(Step::Unknown(lookup)) => {
                    self.dispatcher_must_end(name, lookup.generation);
                    known = self.look_up(lookup, known).await?;
                }
            }
        }
    }

    fn rescope_step(&self, it: &mut Subscription, known: &RowAccounts) -> Step {
        let (head, meant) = (it.head(), self.meant(it.head()));
        let generation = head.generation;
        let may_lose = match &head.scope {
            Some(scope) if *scope == meant => return Step::Done(None, generation),
            Some(scope) => !scope.is_within(&meant),
            None => meant != AccountScope::All,
        };
        let open = if may_lose { it.open_rows() } else { Vec::new() };
        let of = |seq: &u64| if known.id == head.id { known.accounts.get(seq) } else { None };
        let seqs: Vec<u64> = open.iter().copied().filter(|seq| of(seq).is_none()).collect();
        if !seqs.is_empty() {
            return Step::Unknown(Lookup { id: head.id, generation, feed: head.config.feed, seqs });
        }
        // An event that the log has no more cannot be shown to anybody.
        let is_gone = |seq: &u64| of(seq).and_then(Option::as_deref).is_some_and(|account| !meant.has(account));
        let gone: Vec<u64> = open.iter().copied().filter(is_gone).collect();
        Step::Done(Some(it.set_scope(meant, gone)), generation)
    }

    async fn look_up(&self, lookup: Lookup, known: RowAccounts) -> Result<RowAccounts, StoreError> {
        let Lookup { id, feed, seqs, .. } = lookup;
        let mut accounts = if known.id == id { Arc::unwrap_or_clone(known.accounts) } else { BTreeMap::new() };
        for some in seqs.chunks(LOOKED_UP) {
            accounts.extend(some.iter().map(|seq| (*seq, None)));
            for stored in self.log(feed).pick(some.to_vec(), false).await? {
                // What cannot be read is of no account, and is shown to nobody.
                let account = Facts::decode(feed, &stored.message).map(|facts| facts.account().into());
                accounts.insert(stored.seq, Some(account.unwrap_or_default()));
            }
        }
        Ok(RowAccounts { id, accounts: Arc::new(accounts) })
    }

    fn dispatcher_must_end(&self, name: &str, generation: u64) {
        self.0.dispatchers.end(name, FeedError::Updated { generation });
    }

    fn note_voided(&self, subscription: &str, voided: Voided) {
        let Voided { leased, parked, pending } = voided;
        self.0.parts.metrics.voided.inc_by(voided.all());
        if voided == Voided::default() {
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

    /// Has all subscriptions mean what they should, at the start and whenever the settings of the clients change.
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

/// Whether the caller is the client that made a subscription.
pub(super) fn is_maker(head: &Head, call: &CallContext) -> bool {
    !head.config.client.is_empty() && head.config.client == client_of(call)
}

/// The name by which a client's subscriptions are counted; empty for a gateway without clients.
pub(super) fn client_of(call: &CallContext) -> &str {
    let caller = call.caller();
    if caller.is_anonymous() { "" } else { &caller.name }
}

#[cfg(test)]
#[path = "scope_tests.rs"]
mod tests;
