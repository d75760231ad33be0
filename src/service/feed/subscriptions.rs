//! The management of subscriptions: creating, showing, listing, changing, moving and deleting.

use std::collections::BTreeSet;

use super::scope::{client_of, is_maker, wrong_feed};
use super::{Feed, FeedStore, invalid, places, timestamp};
use crate::domain::feed::subscription::{
    Subscription, SubscriptionConfig, SubscriptionCounts, SubscriptionHead, check_name, number_of_feed,
};
use crate::domain::feed::{AccountScope, ByFeed, FeedName};
use crate::domain::rules::{FieldFaults, FieldPath};
use crate::domain::timestamp::Timestamp;
use crate::pb;
use crate::ports::call::CallContext;
use crate::ports::event_log::LogBounds;
use crate::ports::subscriptions::{CreateOutcome, NewSubscription, RemoveOutcome};
use crate::service::feed_error::FeedError;
use crate::service::{AccountError, ServiceError, paging};

/// State of a subscription.
#[derive(Clone, Debug)]
pub struct SubscriptionState {
    /// The feed read by the subscription.
    pub feed: FeedName,
    /// The subscription as shown to its owners.
    pub shown: pb::Subscription,
    /// Open streams of this process for the subscription.
    pub consumers: u64,
    /// Time of receipt of the oldest unsettled event; for unscanned events, of the first event, matching or not. `None`
    /// when no event is left, or the event was trimmed.
    pub oldest: Option<Timestamp>,
    /// Position up to which events were scanned.
    pub(super) scanned: u64,
}

/// A subscription with its counts.
pub(super) struct SubscriptionView {
    pub(super) head: SubscriptionHead,
    pub(super) unsettled: u64,
    outstanding: u64,
    pub(super) parked: u64,
    pub(super) oldest: Option<Timestamp>,
}

impl SubscriptionView {
    fn of(it: &Subscription) -> Self {
        it.outline().into()
    }
}

impl From<SubscriptionCounts> for SubscriptionView {
    fn from(SubscriptionCounts { head, unsettled, outstanding, parked, oldest }: SubscriptionCounts) -> Self {
        Self { head, unsettled, outstanding, parked, oldest }
    }
}

impl<F: FeedStore> Feed<F> {
    /// Creates a subscription, or shows the existing one if its content is the same.
    pub async fn create(
        &self,
        asked: Option<&pb::Subscription>,
        call: &CallContext,
    ) -> Result<pb::Subscription, ServiceError> {
        let at = FieldPath::Top("subscription");
        let asked = asked.ok_or_else(|| invalid(&at, "is required"))?;
        let head = match self.make(&asked.name, asked, &at, call).await? {
            (CreateOutcome::New(head), _) => head,
            (CreateOutcome::Existing(head), new) if self.is_same(&head, &new) => head,
            (CreateOutcome::Existing(head), _) => return Err(differs(&head).into()),
            (CreateOutcome::TooMany, _) => return Err(FeedError::TooManySubscriptions.into()),
        };
        self.show(&head.name, call).await
    }

    /// Makes sure that a subscription of this feed and name exists, creating it as `asked` if given.
    pub(super) async fn require(
        &self,
        feed: FeedName,
        name: &str,
        asked: Option<&pb::Subscription>,
        call: &CallContext,
    ) -> Result<(), ServiceError> {
        named(name, &FieldPath::Top("subscription"))?;
        let Some(asked) = asked else { return Ok(()) };
        let at = FieldPath::Top("create_if_missing");
        if !asked.name.is_empty() && asked.name != name {
            return Err(invalid(&at.field("name"), "must be empty, or the same as subscription"));
        }
        let of_feed = number_of_feed(feed);
        if asked.feed != of_feed && asked.feed != pb::Feed::Unspecified as i32 {
            return Err(invalid(&at.field("feed"), "must be unset, or the feed of this call"));
        }
        let asked = &pb::Subscription { feed: of_feed, ..asked.clone() };
        match self.make(name, asked, &at, call).await? {
            (CreateOutcome::Existing(head), _) if head.config.feed != feed => Err(wrong_feed(&head).into()),
            (CreateOutcome::Existing(head), _) if !head.config.agrees_with(asked) => Err(differs(&head).into()),
            (CreateOutcome::TooMany, _) => Err(FeedError::TooManySubscriptions.into()),
            (CreateOutcome::New(_) | CreateOutcome::Existing(_), _) => Ok(()),
        }
    }

    async fn make(
        &self,
        name: &str,
        asked: &pb::Subscription,
        at: &FieldPath<'_>,
        call: &CallContext,
    ) -> Result<(CreateOutcome, NewSubscription), ServiceError> {
        named(name, &at.field("name"))?;
        let config = SubscriptionConfig::from_message(asked, at).map_err(FeedError::of_choices)?;
        for account in &config.filter.accounts {
            self.0.parts.directory.named(account, call)?;
        }
        let config = SubscriptionConfig { client: client_of(call).to_owned(), ..config };
        let scope = self.meant_by(&config, call)?;
        if scope == AccountScope::only([]) {
            return Err(ServiceError::Account(AccountError::NotAllowed));
        }
        let most_of_client = self.0.parts.settings.max_subscriptions_per_client;
        let new = NewSubscription { name: name.to_owned(), config, scope, most_of_client, at: 0, now: self.now() };
        // The start of an existing subscription does not matter any more, and may be trimmed.
        if let Some(head) = self.store().change(name, |it| it.head().clone()).await? {
            self.check_use(&head, call)?;
            return Ok((CreateOutcome::Existing(head), new));
        }
        let log = self.log(new.config.feed);
        let bounds = log.bounds().await?;
        let earliest = pb::Position { at: Some(pb::position::At::Earliest(true)) };
        let start = asked.start.as_ref().unwrap_or(&earliest);
        let new = NewSubscription { at: places::resolve(log, bounds, Some(start), &at.field("start")).await?, ..new };
        let made = self.store().make(new.clone()).await?;
        if let CreateOutcome::Existing(head) = &made {
            self.check_use(head, call)?;
        }
        Ok((made, new))
    }

    fn check_use(&self, head: &SubscriptionHead, call: &CallContext) -> Result<(), ServiceError> {
        if self.may_use(head, call) { Ok(()) } else { Err(ServiceError::Account(AccountError::NotAllowed)) }
    }

    /// Whether an existing subscription equals a requested one, in any order of values. Earlier versions stored the
    /// names of all covered accounts; therefore a request without accounts equals a subscription that covers the same
    /// accounts.
    fn is_same(&self, head: &SubscriptionHead, new: &NewSubscription) -> bool {
        let rest = |config: &SubscriptionConfig| SubscriptionConfig {
            filter: pb::Filter::default(),
            client: String::new(),
            ..config.clone()
        };
        let named = |config: &SubscriptionConfig| BTreeSet::from_iter(config.filter.accounts.clone());
        let (ours, theirs) = (&head.config, &new.config);
        rest(ours) == rest(theirs)
            && ours.wanted_anywhere() == theirs.wanted_anywhere()
            && self.meant(head) == new.scope
            && (theirs.filter.accounts.is_empty() || named(ours) == named(theirs))
    }

    /// Checks the accounts added by a change of the filter. Accounts named before may stay, even when the client has
    /// lost them, which allows reading a subscription and writing it back.
    fn check_change(
        &self,
        head: &SubscriptionHead,
        config: &SubscriptionConfig,
        call: &CallContext,
    ) -> Result<(), ServiceError> {
        let clients = self.0.parts.clients.of(&head.config.client);
        let mut faults = FieldFaults::default();
        for (i, name) in config.filter.accounts.iter().enumerate() {
            if head.config.filter.accounts.contains(name) {
                continue;
            }
            self.0.parts.directory.named(name, call)?;
            if clients.as_ref().is_some_and(|clients| !clients.has(name)) {
                let at = FieldPath::Top("subscription").field("filter");
                faults.add(&at.field("accounts").index(i), "must be visible to the client that made the subscription");
            }
        }
        faults.into_result().map_err(FeedError::of_choices)?;
        self.check_use(&SubscriptionHead { config: config.clone(), ..head.clone() }, call)
    }

    /// Shows one subscription with the counts of its events.
    pub async fn show(&self, name: &str, call: &CallContext) -> Result<pb::Subscription, ServiceError> {
        let bounds = self.bounds().await?;
        let seen = self.allowed(name, call, |it| SubscriptionView::of(it)).await?;
        Ok(self.as_message(self.as_passed(seen), bounds, call))
    }

    pub(super) fn as_message(
        &self,
        seen: SubscriptionView,
        bounds: ByFeed<LogBounds>,
        call: &CallContext,
    ) -> pb::Subscription {
        let consumers_replaced = self.0.dispatchers.replaced(&seen.head.name);
        let meant = self.meant(&seen.head);
        let knows_all = call.caller().sees_all() || is_maker(&seen.head, call);
        let mut shown = told(seen, bounds);
        // A client other than the maker must not learn the names of accounts visible only to the maker.
        if let Some(filter) = shown.filter.as_mut().filter(|_| !knows_all) {
            filter.accounts.retain(|name| meant.has(name));
        }
        pb::Subscription { consumers_replaced, accounts: meant.names(), ..shown }
    }

    /// Adds the position that the streams have scanned, which may be ahead of the store.
    pub(super) fn as_passed(&self, mut seen: SubscriptionView) -> SubscriptionView {
        if let Some(scanned) = self.0.dispatchers.passed(&seen.head.name) {
            seen.head.scanned = seen.head.scanned.max(scanned);
        }
        seen
    }

    /// Lists a page of the subscriptions usable by the caller.
    pub async fn list_subscriptions(
        &self,
        request: &pb::ListSubscriptionsRequest,
        call: &CallContext,
    ) -> Result<pb::ListSubscriptionsResponse, ServiceError> {
        let mut faults = FieldFaults::default();
        let size = paging::size(request.page_size, &mut faults);
        faults.into_result().map_err(ServiceError::Invalid)?;
        let bounds = self.bounds().await?;
        let (seen, next_page_token) = self.subscriptions(bounds, size, &request.page_token, call).await?;
        let subscriptions = seen.into_iter().map(|one| one.shown).collect();
        Ok(pb::ListSubscriptionsResponse { subscriptions, next_page_token })
    }

    /// Reads the subscriptions after a name that the caller may use, at most `size`, and the name for the next page;
    /// empty at the end.
    pub(super) async fn subscriptions(
        &self,
        bounds: ByFeed<LogBounds>,
        size: usize,
        after: &str,
        call: &CallContext,
    ) -> Result<(Vec<SubscriptionState>, String), ServiceError> {
        // Names of other clients' subscriptions are never shown, not even in a page token.
        let (mut after, mut looked_at) = (after.to_owned(), after.to_owned());
        let mut subscriptions = Vec::new();
        loop {
            let heads = self.store().names(&looked_at, size).await?;
            let last = heads.len() < size;
            for head in heads {
                if !self.may_use(&head, call) {
                    looked_at = head.name;
                    continue;
                }
                if subscriptions.len() == size {
                    return Ok((subscriptions, after));
                }
                after.clone_from(&head.name);
                looked_at.clone_from(&head.name);
                if self.is_stale(&head) {
                    self.rescope(&head.name).await?;
                }
                // A subscription deleted meanwhile is left out.
                let seen = self.store().outline(&head.name).await?;
                subscriptions.extend(seen.map(|seen| self.state_of(self.as_passed(seen.into()), bounds, call)));
            }
            if last {
                return Ok((subscriptions, String::new()));
            }
        }
    }

    /// Changes a subscription. Returns the rows voided because their accounts are not covered any more.
    pub async fn update(
        &self,
        request: &pb::UpdateSubscriptionRequest,
        call: &CallContext,
    ) -> Result<pb::UpdateSubscriptionResponse, ServiceError> {
        let at = FieldPath::Top("subscription");
        let asked = request.subscription.as_ref().ok_or_else(|| invalid(&at, "is required"))?;
        named(&asked.name, &at.field("name"))?;
        let now = self.now();
        let (feed, asked_of, who) = (self.clone(), asked.clone(), call.clone());
        let mask = request.update_mask.as_ref().map_or_else(Vec::new, |mask| mask.paths.clone());
        let changed = self.allowed(&asked.name, call, move |it| {
            if !asked_of.etag.is_empty() && asked_of.etag != etag(it.head()) {
                return Err(ServiceError::from(differs(it.head())));
            }
            let (at, mask_at) = (FieldPath::Top("subscription"), FieldPath::Top("update_mask").field("paths"));
            let config = it.head().config.updated(&asked_of, &at, &mask, &mask_at).map_err(FeedError::of_choices)?;
            feed.check_change(it.head(), &config, &who)?;
            let version = it.head().version;
            it.update(config, now);
            Ok((it.head().generation, it.head().version != version))
        });
        let (generation, is_changed) = changed.await??;
        // After a crash before this line, the next use of the subscription voids the rows.
        let voided = self.rescope(&asked.name).await?.unwrap_or_default();
        if is_changed {
            self.0.dispatchers.end(&asked.name, FeedError::Updated { generation });
            tracing::info!(subscription = asked.name, caller = call.caller().name, "a subscription was changed");
        }
        Ok(pb::UpdateSubscriptionResponse {
            subscription: Some(self.show(&asked.name, call).await?),
            voided_parked: voided.parked,
            voided_leases: voided.leased,
        })
    }

    /// Deletes a subscription and ends its streams. An etag in the request must match.
    pub async fn delete(
        &self,
        request: &pb::DeleteSubscriptionRequest,
        call: &CallContext,
    ) -> Result<(), ServiceError> {
        let head = self.allowed(&request.name, call, |it| it.head().clone()).await?;
        if !request.etag.is_empty() && request.etag != etag(&head) {
            return Err(differs(&head).into());
        }
        let version = (!request.etag.is_empty()).then_some((head.id, head.version));
        let gone = || FeedError::SubscriptionNotFound { name: request.name.clone() };
        match self.store().remove(&request.name, version).await? {
            RemoveOutcome::Gone => {}
            RemoveOutcome::Missing => return Err(gone().into()),
            RemoveOutcome::Differs => return Err(differs(&head).into()),
        }
        self.0.dispatchers.end(&request.name, gone());
        self.0.dispatchers.forget(&request.name);
        tracing::warn!(subscription = request.name, caller = call.caller().name, "a subscription was deleted");
        Ok(())
    }

    /// Moves a subscription. Returns the number of voided parked events.
    pub async fn seek(
        &self,
        request: &pb::SeekSubscriptionRequest,
        call: &CallContext,
    ) -> Result<pb::SeekSubscriptionResponse, ServiceError> {
        let feed = self.allowed(&request.name, call, |it| it.head().config.feed).await?;
        let bounds = self.bounds().await?;
        let (log, at) = (self.log(feed), FieldPath::Top("position"));
        let to = places::resolve(log, *bounds.of(feed), request.position.as_ref(), &at).await?;
        let now = self.now();
        // A subscription deleted and created again meanwhile may read the other log, where the position has a different
        // meaning.
        let moved = self.allowed_of(feed, &request.name, call, move |it| {
            let voided = it.parked();
            it.seek(to, now);
            (SubscriptionView::of(it), voided)
        });
        let (seen, voided_parked) = moved.await?;
        let generation = seen.head.generation;
        self.0.dispatchers.end(&request.name, FeedError::Seeked { generation });
        tracing::warn!(
            subscription = request.name,
            caller = call.caller().name,
            to,
            generation,
            voided_parked,
            "a subscription was moved"
        );
        Ok(pb::SeekSubscriptionResponse { subscription: Some(self.as_message(seen, bounds, call)), voided_parked })
    }
}

fn named(name: &str, at: &FieldPath<'_>) -> Result<(), ServiceError> {
    let mut faults = FieldFaults::default();
    check_name(name, at, &mut faults);
    faults.into_result().map_err(ServiceError::Invalid)
}

fn etag(head: &SubscriptionHead) -> String {
    format!("{}.{}", head.id, head.version)
}

fn differs(head: &SubscriptionHead) -> FeedError {
    FeedError::SubscriptionDiffers { etag: etag(head) }
}

/// Builds the message. The bounds must be older than the view: the floor rises, and events below it may be trimmed at
/// once, which is no loss.
fn told(seen: SubscriptionView, bounds: ByFeed<LogBounds>) -> pb::Subscription {
    let SubscriptionView { head, unsettled, outstanding, parked, oldest: _ } = seen;
    let bounds = bounds.of(head.config.feed);
    let state = if head.floor.saturating_add(1) < bounds.first {
        pb::SubscriptionState::LostEvents
    } else if head.config.paused {
        pb::SubscriptionState::Paused
    } else {
        pb::SubscriptionState::Active
    };
    pb::Subscription {
        name: head.name.clone(),
        etag: etag(&head),
        generation: head.generation,
        floor: bounds.log.cursor(head.floor).to_string(),
        backlog: bounds.head.saturating_sub(head.scanned) + unsettled,
        outstanding,
        parked,
        state: state.into(),
        create_time: timestamp(head.created),
        update_time: timestamp(head.updated),
        ..head.config.to_message()
    }
}

#[cfg(test)]
#[path = "subscriptions_tests.rs"]
mod tests;
