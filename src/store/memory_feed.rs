//! A feed in memory: a simple model of its ports, for tests and for the simulation.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use super::keys;
use crate::domain::account::AccountId;
use crate::domain::clock_check::ClockRecord;
use crate::domain::feed::notification::{CONFLICT, DeliveryContent, EventIdentity, WebhookDelivery};
use crate::domain::feed::subscription::{Subscription, SubscriptionCounts, SubscriptionHead};
use crate::domain::feed::{ByFeed, FeedName, FoundIntent, LogId, lines_of_intent};
use crate::domain::timestamp::Timestamp;
use crate::ports::clock_record::ClockRecords;
use crate::ports::event_log::{
    AppendOutcome, EventLog, LogBounds, QuarantinedDelivery, RereadOutcome, StoredEvent, TrimOutcome, TrimTimes,
};
use crate::ports::store_error::StoreError;
use crate::ports::subscriptions::{CreateOutcome, NewSubscription, RemoveOutcome, SubscriptionStore};
use crate::ports::token_keys::{TokenKeyBytes, TokenKeys};

/// Keeps everything until the process ends, and never fails. Cheap to clone; all clones share one feed.
#[derive(Clone)]
pub struct MemoryFeed(Arc<FeedInner>);

struct FeedInner {
    tables: Mutex<FeedTables>,
    heads: ByFeed<watch::Sender<u64>>,
    token_key: OnceLock<TokenKeyBytes>,
}

impl MemoryFeed {
    /// An empty feed. `log` is the id of the cancel intents' log; the log of the order updates has the inverted bits.
    pub fn new(log: LogId) -> Self {
        let id = |feed| match feed {
            FeedName::CancelIntents => log,
            FeedName::OrderUpdates => LogId(!log.0),
        };
        let tables = FeedTables {
            logs: ByFeed::new(|feed| MemoryLog { id: id(feed), first: 1, events: VecDeque::new() }),
            last_delivery: 0,
            known: BTreeMap::new(),
            arrived: VecDeque::new(),
            intent_lines: BTreeMap::new(),
            quarantine: BTreeMap::new(),
            last_subscription: 0,
            last_generation: 0,
            subscriptions: BTreeMap::new(),
        };
        let token_key = OnceLock::new();
        let heads = ByFeed::new(|_| watch::Sender::new(0));
        Self(Arc::new(FeedInner { tables: Mutex::new(tables), heads, token_key }))
    }

    /// Publishes the heads. Called under the lock, which keeps the order of the logs.
    fn publish(&self, tables: &FeedTables) {
        for (feed, head) in self.0.heads.iter() {
            let now = tables.logs.of(feed).head();
            head.send_if_modified(|known| std::mem::replace(known, now) != now);
        }
    }

    fn lock(&self) -> MutexGuard<'_, FeedTables> {
        // No code under the lock can panic between two changes that belong together.
        self.0.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for MemoryFeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryFeed").finish_non_exhaustive()
    }
}

type Key = (AccountId, keys::LookupKey);

/// The log of one feed.
struct MemoryLog {
    id: LogId,
    /// Position of the first stored event.
    first: u64,
    events: VecDeque<StoredEvent>,
}

struct FeedTables {
    logs: ByFeed<MemoryLog>,
    last_delivery: u64,
    known: BTreeMap<Key, KnownDelivery>,
    /// The keys of `known` in the order of arrival.
    arrived: VecDeque<Key>,
    /// Account, purchase order and line of stored intents, with the time of the first.
    intent_lines: BTreeMap<(AccountId, String, String), Timestamp>,
    quarantine: BTreeMap<u64, QuarantinedDelivery>,
    last_subscription: u64,
    last_generation: u64,
    subscriptions: BTreeMap<String, Subscription>,
}

/// A stored delivery, for the recognition of duplicates.
struct KnownDelivery {
    body_hash: [u8; 32],
    received: Timestamp,
    /// Position of the event; `None` for a quarantined body.
    place: Option<(FeedName, u64)>,
}

impl EventLog for MemoryFeed {
    async fn append(&self, arrival: WebhookDelivery) -> Result<AppendOutcome, StoreError> {
        let mut tables = self.lock();
        let appended = tables.append(arrival);
        self.publish(&tables);
        Ok(appended)
    }

    fn head(&self, feed: FeedName) -> watch::Receiver<u64> {
        self.0.heads.of(feed).subscribe()
    }

    async fn bounds(&self, feed: FeedName) -> Result<LogBounds, StoreError> {
        let tables = self.lock();
        let log = tables.logs.of(feed);
        Ok(LogBounds { log: log.id, first: log.first, head: log.head() })
    }

    async fn read(
        &self,
        feed: FeedName,
        after: u64,
        most: usize,
        most_bytes: usize,
        raw: bool,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let tables = self.lock();
        let log = tables.logs.of(feed);
        let from = log.place(after.saturating_add(1).max(log.first));
        let mut bytes = 0usize;
        let mut read = Vec::new();
        for event in log.events.iter().skip(from).take(most) {
            let event = shown(event, raw);
            bytes += event.message.len() + event.raw.len();
            if bytes > most_bytes && !read.is_empty() {
                break;
            }
            read.push(event);
        }
        Ok(read)
    }

    async fn pick(&self, feed: FeedName, mut seqs: Vec<u64>, raw: bool) -> Result<Vec<StoredEvent>, StoreError> {
        let tables = self.lock();
        let log = tables.logs.of(feed);
        seqs.sort_unstable();
        seqs.dedup();
        Ok(seqs.into_iter().filter_map(|seq| log.event(seq)).map(|event| shown(event, raw)).collect())
    }

    async fn find(
        &self,
        feed: FeedName,
        account: &AccountId,
        event_id: &str,
        raw: bool,
    ) -> Result<Option<StoredEvent>, StoreError> {
        let tables = self.lock();
        let (first, last) = keys::events_of(event_id);
        let known = tables.known.range((account.clone(), first.into())..=(account.clone(), last));
        let seqs = known.filter_map(|(_, known)| known.place).filter(|(of, _)| *of == feed).map(|(_, seq)| seq);
        Ok(seqs.min().and_then(|seq| tables.logs.of(feed).event(seq)).map(|event| shown(event, raw)))
    }

    async fn before(&self, feed: FeedName, time: Timestamp) -> Result<u64, StoreError> {
        let tables = self.lock();
        let log = tables.logs.of(feed);
        let first = log.events.iter().find(|event| event.received >= time);
        Ok(first.map_or(log.head(), |event| event.seq - 1))
    }

    async fn reread(&self, id: u64, arrival: WebhookDelivery) -> Result<RereadOutcome, StoreError> {
        let mut tables = self.lock();
        let reread = tables.reread(id, arrival);
        self.publish(&tables);
        Ok(reread)
    }

    async fn quarantined(
        &self,
        accounts: &[AccountId],
        after: u64,
        limit: usize,
        raw: bool,
    ) -> Result<Vec<QuarantinedDelivery>, StoreError> {
        let tables = self.lock();
        let later = tables.quarantine.range(after.saturating_add(1)..).map(|(_, one)| one);
        let theirs = later.filter(|one| accounts.contains(&one.account)).take(limit);
        let shown = |one: &QuarantinedDelivery| QuarantinedDelivery { raw: body(&one.raw, raw), ..one.clone() };
        Ok(theirs.map(shown).collect())
    }

    async fn append_found(&self, found: FoundIntent) -> Result<Option<u64>, StoreError> {
        let mut tables = self.lock();
        let (account, purchase_order) = (found.account.clone(), found.intent.purchase_order_id.trim().to_owned());
        let lines = &tables.intent_lines;
        let is_new = |line: &str| !lines.contains_key(&(account.clone(), purchase_order.clone(), line.to_owned()));
        let Some(event) = found.event(is_new) else { return Ok(None) };
        let entered = tables.enter(&event);
        self.publish(&tables);
        Ok(entered.unwrap_or(None))
    }

    /// Lines are noted when their intents are stored.
    async fn note_intent_lines(&self, _: usize) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn trim_log(&self, times: TrimTimes, limit: usize) -> Result<TrimOutcome, StoreError> {
        Ok(self.lock().trim(times, limit))
    }
}

/// A store in memory has no next process.
impl ClockRecords for MemoryFeed {
    async fn clock_record(&self) -> Result<Option<ClockRecord>, StoreError> {
        Ok(None)
    }

    async fn keep_clock_record(&self, _: ClockRecord) -> Result<(), StoreError> {
        Ok(())
    }
}

impl TokenKeys for MemoryFeed {
    async fn token_key(&self, fresh: TokenKeyBytes) -> Result<TokenKeyBytes, StoreError> {
        Ok(*self.0.token_key.get_or_init(|| fresh))
    }
}

impl SubscriptionStore for MemoryFeed {
    async fn make(&self, new: NewSubscription) -> Result<CreateOutcome, StoreError> {
        let NewSubscription { name, config, scope, most_of_client, at, now } = new;
        let mut tables = self.lock();
        if let Some(existing) = tables.subscriptions.get(&name) {
            return Ok(CreateOutcome::Existing(existing.head().clone()));
        }
        let of_client = tables.subscriptions.values().filter(|one| one.head().config.client == config.client).count();
        if !config.client.is_empty() && of_client as u64 >= most_of_client {
            return Ok(CreateOutcome::TooMany);
        }
        tables.last_subscription += 1;
        tables.last_generation += 1;
        let (id, generation) = (tables.last_subscription, tables.last_generation);
        let new = Subscription::new(id, generation, name.clone(), config, at, now).with_scope(scope);
        let head = new.head().clone();
        tables.subscriptions.insert(name, new);
        Ok(CreateOutcome::New(head))
    }

    async fn change<T, F>(&self, name: &str, mut change: F) -> Result<Option<T>, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&mut Subscription) -> T + Send + 'static,
    {
        let mut tables = self.lock();
        let FeedTables { subscriptions, last_generation, .. } = &mut *tables;
        let Some(subscription) = subscriptions.get_mut(name) else { return Ok(None) };
        subscription.offer_generation(*last_generation + 1);
        let result = change(subscription);
        *last_generation = subscription.head().generation.max(*last_generation);
        // Changes have no further place to be written to.
        drop(subscription.take_changes());
        Ok(Some(result))
    }

    async fn outline(&self, name: &str) -> Result<Option<SubscriptionCounts>, StoreError> {
        Ok(self.lock().subscriptions.get(name).map(Subscription::outline))
    }

    async fn names(&self, after: &str, limit: usize) -> Result<Vec<SubscriptionHead>, StoreError> {
        let tables = self.lock();
        let later = tables.subscriptions.values().map(Subscription::head).filter(|head| head.name.as_str() > after);
        Ok(later.take(limit).cloned().collect())
    }

    async fn remove(&self, name: &str, only: Option<(u64, u64)>) -> Result<RemoveOutcome, StoreError> {
        let mut tables = self.lock();
        let Some(subscription) = tables.subscriptions.get(name) else { return Ok(RemoveOutcome::Missing) };
        if only.is_some_and(|only| only != (subscription.head().id, subscription.head().version)) {
            return Ok(RemoveOutcome::Differs);
        }
        tables.subscriptions.remove(name);
        Ok(RemoveOutcome::Gone)
    }
}

fn shown(event: &StoredEvent, raw: bool) -> StoredEvent {
    StoredEvent { raw: body(&event.raw, raw), ..event.clone() }
}

fn body(raw: &Bytes, wanted: bool) -> Bytes {
    if wanted { raw.clone() } else { Bytes::new() }
}

impl MemoryLog {
    /// The last assigned position.
    fn head(&self) -> u64 {
        self.first + self.events.len() as u64 - 1
    }

    /// Index of the event at this position.
    fn place(&self, seq: u64) -> usize {
        usize::try_from(seq - self.first).unwrap_or(usize::MAX)
    }

    fn event(&self, seq: u64) -> Option<&StoredEvent> {
        if seq < self.first { None } else { self.events.get(self.place(seq)) }
    }

    fn push(&mut self, received: Timestamp, message: Bytes, raw: Bytes) -> u64 {
        let seq = self.head() + 1;
        self.events.push_back(StoredEvent { seq, received, message, raw });
        seq
    }
}

impl FeedTables {
    fn append(&mut self, arrival: WebhookDelivery) -> AppendOutcome {
        match &arrival.content {
            DeliveryContent::Event { .. } => match self.enter(&arrival) {
                Ok(Some(seq)) => {
                    let WebhookDelivery { account, body_hash, .. } = arrival;
                    let is_it = |one: &QuarantinedDelivery| one.account == account && one.body_hash == body_hash;
                    // The same body was unreadable at its first arrival.
                    self.quarantine.retain(|_, one| one.conflict.is_some() || !is_it(one));
                    AppendOutcome::Stored { seq: Some(seq) }
                }
                Ok(None) => AppendOutcome::Duplicate,
                Err(conflict) => {
                    let is_new = self.keep(arrival, CONFLICT.into(), Some(conflict));
                    if is_new { AppendOutcome::Conflict } else { AppendOutcome::Duplicate }
                }
            },
            DeliveryContent::Unreadable { reason } => {
                let reason = reason.clone();
                if self.keep(arrival, reason, None) {
                    AppendOutcome::Stored { seq: None }
                } else {
                    AppendOutcome::Duplicate
                }
            }
        }
    }

    /// Assigns a position to an event; `None` for a duplicate.
    ///
    /// # Errors
    /// The identity was stored before with a different body.
    fn enter(&mut self, arrival: &WebhookDelivery) -> Result<Option<u64>, EventIdentity> {
        let key = (arrival.account.clone(), keys::delivery(arrival));
        let DeliveryContent::Event { feed, event_id, event_type, sub_event_type, message } = &arrival.content else {
            return Ok(None);
        };
        match self.known.get(&key) {
            Some(known) if known.body_hash == arrival.body_hash => return Ok(None),
            Some(_) => {
                let (event_id, event_type) = (event_id.clone(), event_type.clone());
                return Err(EventIdentity { event_id, event_type, sub_event_type: sub_event_type.clone() });
            }
            None => {}
        }
        let seq = self.logs.of_mut(*feed).push(arrival.received, message.clone(), arrival.raw.clone());
        if *feed == FeedName::CancelIntents {
            let (purchase_order, lines) = lines_of_intent(message);
            for line in lines.into_iter().filter(|_| !purchase_order.is_empty()) {
                let key = (arrival.account.clone(), purchase_order.clone(), line);
                self.intent_lines.entry(key).or_insert(arrival.received);
            }
        }
        self.remember(key, arrival, Some((*feed, seq)));
        Ok(Some(seq))
    }

    fn remember(&mut self, key: Key, arrival: &WebhookDelivery, place: Option<(FeedName, u64)>) {
        self.last_delivery += 1;
        self.arrived.push_back(key.clone());
        self.known.insert(key, KnownDelivery { body_hash: arrival.body_hash, received: arrival.received, place });
    }

    /// Quarantines a body once. Returns whether the body is new.
    fn keep(&mut self, arrival: WebhookDelivery, reason: String, conflict: Option<EventIdentity>) -> bool {
        let key = (arrival.account.clone(), keys::body(&arrival.body_hash).into());
        if self.known.contains_key(&key) {
            return false;
        }
        self.remember(key, &arrival, None);
        let WebhookDelivery { account, received, raw, body_hash, .. } = arrival;
        let (id, size) = (self.last_delivery, u32::try_from(raw.len()).unwrap_or(u32::MAX));
        self.quarantine
            .insert(id, QuarantinedDelivery { id, account, received, reason, conflict, body_hash, size, raw });
        true
    }

    fn reread(&mut self, id: u64, arrival: WebhookDelivery) -> RereadOutcome {
        if self.quarantine.get(&id).is_none_or(|one| one.account != arrival.account) {
            return RereadOutcome::Missing;
        }
        let (reread, reason, conflict) = match &arrival.content {
            DeliveryContent::Unreadable { reason } => (RereadOutcome::Unreadable, reason.clone(), None),
            DeliveryContent::Event { .. } => match self.enter(&arrival) {
                Err(conflict) => (RereadOutcome::Conflict, CONFLICT.into(), Some(conflict)),
                Ok(entered) => {
                    self.quarantine.remove(&id);
                    return entered.map_or(RereadOutcome::Duplicate, |seq| RereadOutcome::Moved { seq });
                }
            },
        };
        if let Some(kept) = self.quarantine.get_mut(&id) {
            (kept.reason, kept.conflict) = (reason, conflict);
        }
        reread
    }

    /// Drops events from the front of a log. Returns the subscriptions that lost unsettled events, and the number of
    /// dropped parked events.
    fn cut(&mut self, feed: FeedName, events: usize) -> (Vec<String>, usize) {
        let log = self.logs.of_mut(feed);
        let before = log.first;
        log.events.drain(..events);
        log.first += events as u64;
        let (mut lost, mut parked) = (Vec::new(), 0);
        for (name, subscription) in self.subscriptions.iter_mut().filter(|(_, one)| one.head().config.feed == feed) {
            if subscription.has_lost(log.first) && !subscription.has_lost(before) {
                lost.push(name.clone());
            }
            parked += subscription.trimmed(log.first);
            drop(subscription.take_changes());
        }
        (lost, parked)
    }

    fn trim(&mut self, times: TrimTimes, limit: usize) -> TrimOutcome {
        let mut trimmed = TrimOutcome::default();
        for feed in FeedName::ALL {
            self.trim_events(feed, times, limit, &mut trimmed);
        }
        while trimmed.rows < limit
            && let Some(oldest) = self.quarantine.first_entry()
            && oldest.get().received < times.held
        {
            oldest.remove();
            trimmed.rows += 1;
            trimmed.quarantined += 1;
        }
        // The id of a stored event stays.
        let logs = &self.logs;
        let is_kept = |(feed, seq): (FeedName, u64)| seq >= logs.of(feed).first;
        let goes = |key: &&Key| !self.known.get(*key).and_then(|known| known.place).is_some_and(is_kept);
        let is_old = |key: &&Key| self.known.get(*key).is_some_and(|known| known.received < times.ids);
        let gone = self.arrived.iter().take_while(is_old).filter(goes).take(limit - trimmed.rows);
        let gone: BTreeSet<Key> = gone.cloned().collect();
        self.arrived.retain(|key| !gone.contains(key));
        self.known.retain(|key, _| !gone.contains(key));
        trimmed.rows += gone.len();
        let is_old = |(_, received): &(_, &Timestamp)| **received < times.ids;
        let old: BTreeSet<_> =
            self.intent_lines.iter().filter(is_old).take(limit - trimmed.rows).map(|(key, _)| key.clone()).collect();
        self.intent_lines.retain(|key, _| !old.contains(key));
        trimmed.rows += old.len();
        trimmed
    }

    fn trim_events(&mut self, feed: FeedName, times: TrimTimes, limit: usize, trimmed: &mut TrimOutcome) {
        let of_feed = self.subscriptions.values().filter(|one| one.head().config.feed == feed);
        let holding = of_feed.filter(|one| one.head().config.hold_retention);
        let needed_after = holding.map(Subscription::needs_after).min().unwrap_or(u64::MAX);
        let may_go = |event: &&StoredEvent| {
            event.received < times.held || (event.received < times.free && event.seq <= needed_after)
        };
        let log = self.logs.of(feed);
        // The last event stays.
        let most = (limit - trimmed.rows).min(log.events.len().saturating_sub(1));
        let events = log.events.iter().take(most).take_while(may_go).count();
        *trimmed.events.of_mut(feed) = events;
        trimmed.rows += events;
        if events > 0 {
            let (lost, parked) = self.cut(feed, events);
            trimmed.lost.extend(lost);
            trimmed.parked += parked;
        }
    }
}
