//! A durable subscription: the leases of its consumers, their verdicts, and the floor.
//!
//! Pure: time and randomness come in, and changes of rows come out. A store loads the subscription, passes it to a use
//! case within a transaction, and writes the changes before any result leaves.
//!
//! `lend.rs` leases events, `settle.rs` applies verdicts, `floor.rs` raises the floor and drops rows, `keep.rs` extends
//! leases automatically, `void.rs` drops rows of lost accounts; `rows.rs` indexes the rows and records changes.
//!
//! | an event is | and becomes |
//! |---|---|
//! | fresh: not scanned yet | leased; pending, behind its key |
//! | pending | leased; parked, without attempts left |
//! | leased | acknowledged, waiting, parked or pending by a verdict; pending or parked at expiry; pending by a reclaim |
//! | waiting | pending at its time; acknowledged, by its last consumer (a pending event may be, too) |
//! | parked | pending by a redrive; acknowledged, as above; dropped, when the log is trimmed |
//! | acknowledged | nothing else; dropped far below the floor |

mod config;
mod floor;
mod keep;
mod lend;
mod row;
mod rows;
mod settle;
mod void;

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

pub use self::config::{OrderingMode, SubscriptionConfig};
pub(crate) use self::config::{check_name, number_of_feed};
pub use self::row::{DeliveryCause, EventRow, LastVerdict, RowState};
use self::rows::RowIndex;
pub(crate) use self::void::VoidedRows;
use super::{AccountScope, EventFilter, Lease};
use crate::domain::moment::{Moment, SteadyTime};
use crate::domain::timestamp::Timestamp;
use crate::planted_bug::{PlantedBug, is_planted};

/// Most rows between the floor and the last scanned event. A subscription with this many rows scans no further.
pub(crate) const MAX_UNSETTLED: usize = 100_000;

/// Positions below the floor for which the settlement of an event is remembered.
pub(crate) const REMEMBERED: u64 = 10_000;

/// The subscription's own row.
#[derive(Clone, Debug, PartialEq)]
pub struct SubscriptionHead {
    /// Id from the store, never reused: a deleted and recreated name is a different subscription.
    pub id: u64,
    /// Unique name of the subscription.
    pub name: String,
    /// Configuration of the subscription.
    pub config: SubscriptionConfig,
    /// The covered accounts; no row has an event of any other account. `None` for a subscription of an earlier version,
    /// whose accounts are unknown.
    pub scope: Option<AccountScope>,
    /// Counts changes of `config`; the source of the etag.
    pub version: u64,
    /// Number from the store, raised by every seek and never reused: a lease is valid in no other subscription, not
    /// even in a later one of the same name.
    pub generation: u64,
    /// Every matching event up to this position is acknowledged or parked. Never falls within a generation.
    pub floor: u64,
    /// Every matching event from the floor up to this position has a row or is acknowledged. Never below the floor.
    pub scanned: u64,
    /// Time at which the subscription was created.
    pub created: Timestamp,
    /// Time of the last change of `config` or `generation`.
    pub updated: Timestamp,
}

impl SubscriptionHead {
    /// The effective filter: the configured filter, narrowed to the covered accounts.
    pub fn filter(&self) -> EventFilter {
        let filter = self.config.wanted();
        match &self.scope {
            Some(scope) => filter.within_scope(scope),
            None => filter,
        }
    }
}

/// The changes that a store has to write, for the rows of [`SubscriptionChanges::head`].
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SubscriptionChanges {
    /// The head, if changed.
    pub(crate) head: Option<SubscriptionHead>,
    /// Whether all stored rows are dropped first, after a seek.
    pub(crate) clear: bool,
    /// New and changed rows, by `seq`.
    pub(crate) put: Vec<EventRow>,
    /// Positions of dropped rows.
    pub(crate) drop: Vec<u64>,
}

impl SubscriptionChanges {
    /// Whether there is nothing to write.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.head.is_none() && !self.clear && self.put.is_empty() && self.drop.is_empty()
    }
}

/// A subscription with its rows.
#[derive(Clone, Debug)]
pub struct Subscription {
    head: SubscriptionHead,
    rows: RowIndex,
    /// Number of rows above the floor, in any state.
    ahead: usize,
    /// The head in the store; `None` for a new subscription.
    stored: Option<SubscriptionHead>,
    /// The generation that the next seek begins.
    next_generation: u64,
}

/// The free window of a consumer for further leases.
#[derive(Clone, Debug, PartialEq)]
pub struct ConsumerWindow {
    /// Id of the consumer.
    pub consumer: Arc<str>,
    /// Free number of events.
    pub events: usize,
    /// Free number of bytes.
    pub bytes: u64,
    /// Whether the consumer has no lease; one event then fits regardless of its size.
    pub empty: bool,
}

/// Matching events that were not scanned by the subscription yet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FreshEvents {
    /// Position before the first event of the range.
    pub after: u64,
    /// Position of the last event of the range; all matches between are in `events`.
    pub upto: u64,
    /// The matching events, in rising order.
    pub events: Vec<FreshEvent>,
}

/// One event not scanned yet.
#[derive(Clone, Debug, PartialEq)]
pub struct FreshEvent {
    /// Position in the log.
    pub seq: u64,
    /// The `ordering_key` of the event.
    pub key: Arc<str>,
    /// Size of the delivered event in bytes.
    pub size: u32,
    /// Time of receipt by the gateway.
    pub received: Timestamp,
}

/// A lease granted to one consumer.
#[derive(Clone, Debug, PartialEq)]
pub struct LeaseGrant {
    /// Index of the consumer among the windows.
    pub room: usize,
    /// The lease as text for the consumer.
    pub lease: Lease,
    /// Expiry, by the steady clock.
    pub until: Moment,
    /// Cause of the delivery.
    pub cause: DeliveryCause,
    /// Size of the event in bytes.
    pub size: u32,
}

/// The leases of a consumer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HeldLeases {
    /// Leases in the order of their positions.
    pub leases: Vec<Lease>,
    /// Bytes of the leased events.
    pub bytes: u64,
}

/// A consumer's verdict on a lease.
#[derive(Clone, Debug, PartialEq)]
pub enum SettleVerdict {
    /// The event is done.
    Ack,
    /// The event is tried again, after `delay` or by the back-off.
    Retry {
        /// Pause before the next attempt.
        delay: Option<Duration>,
        /// Reason, kept if the event is parked in the end.
        reason: String,
    },
    /// The event is parked for people.
    Park {
        /// Reason of the parking.
        reason: String,
    },
    /// The lease is extended.
    Extend {
        /// Time from now; the lease duration if unset.
        by: Option<Duration>,
    },
    /// The lease is given back.
    Release,
}

/// The result of a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettleOutcome {
    /// The verdict took effect; for an extension with the new expiry.
    Applied(Option<Moment>),
    /// The same verdict took effect before.
    AlreadyApplied,
    /// No change: the lease has ended, and the event was leased again or settled differently.
    LeaseLost,
    /// No change: the lease is of an earlier generation.
    StaleGeneration,
    /// No change: no such lease was ever granted.
    UnknownLease,
}

/// A subscription with its counts.
#[derive(Clone, Debug, PartialEq)]
pub struct SubscriptionCounts {
    /// The subscription's own row.
    pub head: SubscriptionHead,
    /// The value of [`Subscription::unsettled`].
    pub unsettled: u64,
    /// The value of [`Subscription::outstanding`].
    pub outstanding: u64,
    /// The value of [`Subscription::parked`].
    pub parked: u64,
    /// The value of [`Subscription::oldest_unsettled`].
    pub oldest: Option<Timestamp>,
}

impl Subscription {
    /// A new subscription that begins after position `at`. The store provides `id` and `generation`.
    pub fn new(id: u64, generation: u64, name: String, config: SubscriptionConfig, at: u64, now: Timestamp) -> Self {
        let head = SubscriptionHead {
            id,
            name,
            config,
            scope: None,
            version: 1,
            generation,
            floor: at,
            scanned: at,
            created: now,
            updated: now,
        };
        Self { stored: None, ..Self::load(head, Vec::new()) }
    }

    /// Sets the generation of the next seek, which must be new in the store.
    pub(crate) fn offer_generation(&mut self, next: u64) {
        self.next_generation = next;
    }

    /// Loads a subscription from its stored rows.
    pub fn load(head: SubscriptionHead, rows: Vec<EventRow>) -> Self {
        let ahead = rows.iter().filter(|row| row.seq > head.floor).count();
        let rows = RowIndex::load(head.config.mode == OrderingMode::KeyOrdered, rows);
        Self { stored: Some(head.clone()), head, rows, ahead, next_generation: 0 }
    }

    /// The subscription's own row.
    pub fn head(&self) -> &SubscriptionHead {
        &self.head
    }

    /// The subscription with its counts.
    pub(crate) fn outline(&self) -> SubscriptionCounts {
        SubscriptionCounts {
            head: self.head.clone(),
            unsettled: self.unsettled(),
            outstanding: self.outstanding(),
            parked: self.parked(),
            oldest: self.oldest_unsettled(),
        }
    }

    /// Number of stored rows, including rows of settled events.
    pub(crate) fn row_count(&self) -> u64 {
        self.rows.count() as u64
    }

    /// Takes the changes since loading, or since the previous call.
    pub(crate) fn take_changes(&mut self) -> SubscriptionChanges {
        let (clear, put, drop) = self.rows.take_changes();
        let head = (self.stored.as_ref() != Some(&self.head)).then(|| self.head.clone());
        if head.is_some() {
            self.stored.clone_from(&head);
        }
        SubscriptionChanges { head, clear, put, drop }
    }

    /// Number of leased events, including expired leases until [`Self::lend`] ends them.
    pub fn outstanding(&self) -> u64 {
        self.rows.outstanding() as u64
    }

    /// Number of parked events.
    pub fn parked(&self) -> u64 {
        self.rows.parked().len() as u64
    }

    /// Number of scanned events that are not settled, including leased events.
    pub(crate) fn unsettled(&self) -> u64 {
        self.rows.unsettled().len() as u64
    }

    /// Time of receipt of the first scanned event that is not settled.
    pub(crate) fn oldest_unsettled(&self) -> Option<Timestamp> {
        let first = self.rows.unsettled().first()?;
        self.rows.get(*first).map(|row| row.received)
    }

    /// Time at which the next lease or pause ends; [`Self::lend`] may then grant new leases.
    pub(crate) fn next_time(&self) -> Option<SteadyTime> {
        self.rows.next_time().map(|(time, _)| time)
    }

    /// The leases of a consumer.
    pub fn held(&self, consumer: &str) -> HeldLeases {
        let Some(borrower) = self.rows.borrower(consumer) else { return HeldLeases::default() };
        let leases = borrower.seqs.iter().filter_map(|seq| self.rows.get(*seq)).map(|row| self.lease(row)).collect();
        HeldLeases { leases, bytes: borrower.bytes }
    }

    /// Parked rows after a position, in order, at most `limit`.
    pub(crate) fn parked_after(&self, seq: u64, limit: usize) -> Vec<EventRow> {
        let after = (Bound::Excluded(seq), Bound::Unbounded);
        self.rows.parked().range(after).filter_map(|seq| self.rows.get(*seq)).take(limit).cloned().collect()
    }

    /// Releases all leases of a consumer. A release does not count as a failure: a reconnect says nothing about an
    /// event, and two consumers replacing each other have not tried any.
    pub fn release(&mut self, consumer: &str) {
        for row in self.lent_to(consumer) {
            self.rows.put(row.given_back());
        }
    }

    /// Prepares all leases of a consumer for redelivery, after the consumer has lost its memory. [`Self::lend`] would
    /// grant them to any consumer with a free window: lend to this consumer alone in the same transaction.
    pub fn reclaim(&mut self, consumer: &str) {
        for row in self.lent_to(consumer) {
            self.rows.put(row.taken_back());
        }
    }

    fn lent_to(&self, consumer: &str) -> Vec<EventRow> {
        let seqs = self.rows.borrower(consumer).into_iter().flat_map(|borrower| &borrower.seqs);
        seqs.filter_map(|seq| self.rows.get(*seq)).cloned().collect()
    }

    /// Moves to a position in a new generation, which voids all leases and parked events.
    pub fn seek(&mut self, to: u64, now: Timestamp) {
        self.rows.clear();
        self.ahead = 0;
        self.head.generation = self.next_generation.max(self.head.generation.saturating_add(1));
        (self.head.floor, self.head.scanned, self.head.updated) = (to, to, now);
    }

    /// Redrives parked events, all or the given positions, with their failures reset. Returns the number of redriven
    /// events.
    pub fn redrive(&mut self, seqs: Option<&[u64]>) -> u64 {
        let parked = self.rows.parked();
        let seqs: BTreeSet<u64> = match seqs {
            Some(seqs) => seqs.iter().copied().filter(|seq| parked.contains(seq)).collect(),
            None => parked.clone(),
        };
        for row in seqs.iter().filter_map(|seq| self.rows.get(*seq)).cloned().collect::<Vec<_>>() {
            self.rows.put(EventRow {
                redriven: true,
                failures: 0,
                state: RowState::Pending { cause: DeliveryCause::Redriven },
                ..row
            });
        }
        seqs.len() as u64
    }

    /// Replaces the configuration, except feed, mode and client. An equal configuration changes nothing.
    pub fn update(&mut self, config: SubscriptionConfig, now: Timestamp) {
        let SubscriptionConfig { mode, feed, client, .. } = self.head.config.clone();
        let config = SubscriptionConfig { mode, feed, client, ..config };
        if config != self.head.config {
            self.head.config = config;
            self.head.version += 1;
            self.head.updated = now;
        }
    }

    /// Whether unsettled events before `first`, the first stored event, were trimmed. Such a subscription must grant no
    /// lease.
    pub(crate) fn has_lost(&self, first: u64) -> bool {
        self.head.floor.saturating_add(1) < first && !is_planted(PlantedBug::RetentionPastFloor)
    }

    fn lease(&self, row: &EventRow) -> Lease {
        Lease { generation: self.head.generation, seq: row.seq, attempt: row.attempt }
    }
}

#[cfg(test)]
mod tests;
