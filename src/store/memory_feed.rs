//! A feed without a file: the plain model of its ports, for tests and for the simulation.
//!
//! What no method of the ports could show (other events, other bodies of an id) is not kept.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use super::keys::{self, HASH};
use crate::domain::account::AccountId;
use crate::domain::clock_check::ClockRecord;
use crate::domain::feed::notification::{Arrival, Content};
use crate::domain::feed::subscription::{Config, Head, Subscription};
use crate::domain::feed::{FeedName, LogId};
use crate::domain::timestamp::Timestamp;
use crate::ports::clock_record::ClockRecords;
use crate::ports::event_log::{Appended, Bounds, EventLog, Quarantined, StoredEvent, TrimTimes, Trimmed};
use crate::ports::ledger::StoreError;
use crate::ports::subscriptions::{Made, Removed, Subscriptions};
use crate::ports::token_keys::{TokenKeyBytes, TokenKeys};

/// Keeps everything until the process ends; never fails. Cheap to clone, all clones are one feed.
#[derive(Clone)]
pub struct MemoryFeed(Arc<Inner>);

struct Inner {
    tables: Mutex<Tables>,
    head: watch::Sender<u64>,
    token_key: OnceLock<TokenKeyBytes>,
}

impl MemoryFeed {
    /// An empty one.
    pub fn new(log: LogId) -> Self {
        let tables = Tables {
            log,
            first: 1,
            events: VecDeque::new(),
            last_delivery: 0,
            known: BTreeMap::new(),
            arrived: VecDeque::new(),
            quarantine: BTreeMap::new(),
            last_subscription: 0,
            subscriptions: BTreeMap::new(),
        };
        let token_key = OnceLock::new();
        Self(Arc::new(Inner { tables: Mutex::new(tables), head: watch::Sender::new(0), token_key }))
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        // Nothing in here can panic between two changes that belong together.
        self.0.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for MemoryFeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryFeed").finish_non_exhaustive()
    }
}

type Key = (AccountId, [u8; HASH]);

struct Tables {
    log: LogId,
    /// Position of the first of `events`.
    first: u64,
    events: VecDeque<StoredEvent>,
    last_delivery: u64,
    known: BTreeMap<Key, Known>,
    /// The keys of `known` in the order in which they came.
    arrived: VecDeque<Key>,
    quarantine: BTreeMap<u64, Quarantined>,
    last_subscription: u64,
    subscriptions: BTreeMap<String, Subscription>,
}

/// What is known of a delivery.
struct Known {
    body_hash: [u8; 32],
    received: Timestamp,
    /// Its position, of an intent.
    seq: Option<u64>,
}

impl EventLog for MemoryFeed {
    async fn append(&self, arrival: Arrival) -> Result<Appended, StoreError> {
        let mut tables = self.lock();
        let appended = tables.append(arrival);
        // Under the lock, so that it moves in the order of the log.
        self.0.head.send_replace(tables.head());
        Ok(appended)
    }

    fn head(&self) -> watch::Receiver<u64> {
        self.0.head.subscribe()
    }

    async fn bounds(&self) -> Result<Bounds, StoreError> {
        let tables = self.lock();
        Ok(Bounds { log: tables.log, first: tables.first, head: tables.head() })
    }

    async fn read(
        &self,
        after: u64,
        most: usize,
        most_bytes: usize,
        raw: bool,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let tables = self.lock();
        let from = tables.place(after.saturating_add(1).max(tables.first));
        let mut bytes = 0usize;
        let mut read = Vec::new();
        for event in tables.events.iter().skip(from).take(most) {
            let event = shown(event, raw);
            bytes += event.message.len() + event.raw.len();
            if bytes > most_bytes && !read.is_empty() {
                break;
            }
            read.push(event);
        }
        Ok(read)
    }

    async fn pick(&self, mut seqs: Vec<u64>, raw: bool) -> Result<Vec<StoredEvent>, StoreError> {
        let tables = self.lock();
        seqs.sort_unstable();
        seqs.dedup();
        Ok(seqs.into_iter().filter_map(|seq| tables.event(seq)).map(|event| shown(event, raw)).collect())
    }

    async fn find(&self, account: &AccountId, event_id: &str, raw: bool) -> Result<Option<StoredEvent>, StoreError> {
        let tables = self.lock();
        let known = tables.known.get(&(account.clone(), keys::event(event_id)));
        let seq = known.and_then(|known| known.seq);
        Ok(seq.and_then(|seq| tables.event(seq)).map(|event| shown(event, raw)))
    }

    async fn before(&self, time: Timestamp) -> Result<u64, StoreError> {
        let tables = self.lock();
        let earlier = tables.events.iter().rev().find(|event| event.received < time);
        Ok(earlier.map_or(tables.first - 1, |event| event.seq))
    }

    async fn quarantined(
        &self,
        accounts: &[AccountId],
        after: u64,
        limit: usize,
        raw: bool,
    ) -> Result<Vec<Quarantined>, StoreError> {
        let tables = self.lock();
        let later = tables.quarantine.range(after.saturating_add(1)..).map(|(_, one)| one);
        let theirs = later.filter(|one| accounts.contains(&one.account)).take(limit);
        let shown = |one: &Quarantined| Quarantined { raw: body(&one.raw, raw), ..one.clone() };
        Ok(theirs.map(shown).collect())
    }

    async fn trim_log(&self, times: TrimTimes, limit: usize) -> Result<Trimmed, StoreError> {
        Ok(self.lock().trim(times, limit))
    }
}

/// There is no next process.
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

impl Subscriptions for MemoryFeed {
    async fn make(&self, name: &str, config: Config, at: u64, now: Timestamp) -> Result<Made, StoreError> {
        let mut tables = self.lock();
        if let Some(existing) = tables.subscriptions.get(name) {
            return Ok(Made::Existing(existing.head().clone()));
        }
        tables.last_subscription += 1;
        let new = Subscription::new(tables.last_subscription, name.to_owned(), config, at, now);
        let head = new.head().clone();
        tables.subscriptions.insert(name.to_owned(), new);
        Ok(Made::New(head))
    }

    async fn change<T, F>(&self, name: &str, mut change: F) -> Result<Option<T>, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&mut Subscription) -> T + Send + 'static,
    {
        let mut tables = self.lock();
        let Some(subscription) = tables.subscriptions.get_mut(name) else { return Ok(None) };
        let result = change(subscription);
        // There is nowhere else to write them.
        drop(subscription.take_changes());
        Ok(Some(result))
    }

    async fn names(&self, after: &str, limit: usize) -> Result<Vec<Head>, StoreError> {
        let tables = self.lock();
        let later = tables.subscriptions.values().map(Subscription::head).filter(|head| head.name.as_str() > after);
        Ok(later.take(limit).cloned().collect())
    }

    async fn remove(&self, name: &str, only: Option<(u64, u64)>) -> Result<Removed, StoreError> {
        let mut tables = self.lock();
        let Some(subscription) = tables.subscriptions.get(name) else { return Ok(Removed::Missing) };
        if only.is_some_and(|only| only != (subscription.head().id, subscription.head().version)) {
            return Ok(Removed::Differs);
        }
        tables.subscriptions.remove(name);
        Ok(Removed::Gone)
    }
}

fn shown(event: &StoredEvent, raw: bool) -> StoredEvent {
    StoredEvent { raw: body(&event.raw, raw), ..event.clone() }
}

fn body(raw: &Bytes, wanted: bool) -> Bytes {
    if wanted { raw.clone() } else { Bytes::new() }
}

impl Tables {
    /// The last position that was given.
    fn head(&self) -> u64 {
        self.first + self.events.len() as u64 - 1
    }

    /// Where the event of this position stands, or would stand.
    fn place(&self, seq: u64) -> usize {
        usize::try_from(seq - self.first).unwrap_or(usize::MAX)
    }

    fn event(&self, seq: u64) -> Option<&StoredEvent> {
        if seq < self.first { None } else { self.events.get(self.place(seq)) }
    }

    fn append(&mut self, arrival: Arrival) -> Appended {
        let key = (arrival.account.clone(), keys::delivery(&arrival));
        let Arrival { account, received, raw, body_hash, content } = arrival;
        if let Some(known) = self.known.get(&key) {
            return if known.body_hash == body_hash { Appended::Duplicate } else { Appended::Conflict };
        }
        self.last_delivery += 1;
        let seq = match content {
            Content::Event { feed: FeedName::CancelIntents, message, .. } => Some(self.push(received, message, raw)),
            Content::Event { .. } => None,
            Content::Unreadable { reason } => {
                let id = self.last_delivery;
                let size = u32::try_from(raw.len()).unwrap_or(u32::MAX);
                self.quarantine.insert(id, Quarantined { id, account, received, reason, body_hash, size, raw });
                None
            }
        };
        self.arrived.push_back(key.clone());
        self.known.insert(key, Known { body_hash, received, seq });
        Appended::Stored { seq }
    }

    fn push(&mut self, received: Timestamp, message: Bytes, raw: Bytes) -> u64 {
        let seq = self.head() + 1;
        self.events.push_back(StoredEvent { seq, received, message, raw });
        seq
    }

    /// Drops so many events from the front. Tells who lost some that it had not settled, and how many parked ones went.
    fn cut(&mut self, events: usize) -> (Vec<String>, usize) {
        let before = self.first;
        self.events.drain(..events);
        self.first += events as u64;
        let (mut lost, mut parked) = (Vec::new(), 0);
        for (name, subscription) in &mut self.subscriptions {
            if subscription.has_lost(self.first) && !subscription.has_lost(before) {
                lost.push(name.clone());
            }
            parked += subscription.trimmed(self.first);
            drop(subscription.take_changes());
        }
        (lost, parked)
    }

    fn trim(&mut self, times: TrimTimes, limit: usize) -> Trimmed {
        let holding = self.subscriptions.values().filter(|one| one.head().config.hold_retention);
        let needed_after = holding.map(Subscription::needs_after).min().unwrap_or(u64::MAX);
        let may_go = |event: &&StoredEvent| {
            event.received < times.held || (event.received < times.free && event.seq <= needed_after)
        };
        // The last stays.
        let most = limit.min(self.events.len().saturating_sub(1));
        let events = self.events.iter().take(most).take_while(may_go).count();
        let mut trimmed = Trimmed { events, rows: events, ..Trimmed::default() };
        if events > 0 {
            (trimmed.lost, trimmed.parked) = self.cut(events);
        }
        while trimmed.rows < limit
            && let Some(oldest) = self.quarantine.first_entry()
            && oldest.get().received < times.free
        {
            oldest.remove();
            trimmed.rows += 1;
            trimmed.quarantined += 1;
        }
        // The id of an event that is kept is kept.
        let first = self.first;
        let may_go = |known: &Known| known.received < times.ids && known.seq.is_none_or(|seq| seq < first);
        while trimmed.rows < limit
            && let Some(oldest) = self.arrived.front()
            && self.known.get(oldest).is_none_or(may_go)
        {
            self.known.remove(oldest);
            self.arrived.pop_front();
            trimmed.rows += 1;
        }
        trimmed
    }
}
