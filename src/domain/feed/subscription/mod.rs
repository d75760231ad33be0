//! A durable subscription: what its consumers have borrowed, what they have settled, and up to where all is settled.
//!
//! Pure: time and chance come in, changes of rows come out. A store loads it, hands it to a use case within a transaction,
//! and writes the changes before anybody hears of them.
//!
//! `lend.rs` says who gets what, `settle.rs` what a consumer's word does, `floor.rs` up to where all is settled and what may
//! be forgotten, `keep.rs` which leases a stream keeps, `void.rs` what goes when accounts go; `rows.rs` finds rows without walking all of them, and keeps account of what changed.
//!
//! | an event is | and becomes |
//! |---|---|
//! | fresh: not looked at yet | on loan; pending, behind others of its key |
//! | pending | on loan; parked, when its attempts are used up |
//! | on loan | acknowledged, waiting, parked or pending by a word; pending or parked at its time; pending by a reclaim |
//! | waiting | pending at its time; acknowledged, by its last borrower (so may a pending one be) |
//! | parked | pending by a redrive; acknowledged, as above; forgotten, when the log is trimmed |
//! | acknowledged | nothing else; forgotten far below the floor |

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

pub use self::config::{Config, Mode, check_name, number_of_feed};
pub use self::row::{Cause, Row, Said, State};
use self::rows::Rows;
pub use self::void::Voided;
use super::{AccountScope, Filter, Lease};
use crate::domain::moment::{Moment, SteadyTime};
use crate::domain::timestamp::Timestamp;

/// Events that may stand between floor and the last one looked at. A subscription that has as many looks at no more.
pub const MAX_UNSETTLED: usize = 100_000;

/// How far below the floor it is remembered how an event was settled.
pub const REMEMBERED: u64 = 10_000;

/// The subscription itself, one row.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// Given by the store, never twice: a name that was deleted and made again is another subscription.
    pub id: u64,
    /// Unique.
    pub name: String,
    /// What was asked for.
    pub config: Config,
    /// The accounts that it means: no row's event is of another. `None`: not known, because an earlier version made it.
    pub scope: Option<AccountScope>,
    /// Counts changes of `config`; its text is the etag.
    pub version: u64,
    /// Rises with every seek. Given by the store, never twice: a lease fits no other subscription, not even one of the same
    /// name that was made after this one was deleted.
    pub generation: u64,
    /// Every matching event up to here is acknowledged or parked. Never falls within a generation.
    pub floor: u64,
    /// Every matching event from the floor up to here has a row, or is acknowledged. Never below the floor.
    pub scanned: u64,
    /// When it was made.
    pub created: Timestamp,
    /// When `config` or `generation` last changed.
    pub updated: Timestamp,
}

impl Head {
    /// The events that it wants, ready for use: those that its filter wants of the accounts that it means.
    pub fn filter(&self) -> Filter {
        let filter = self.config.wanted();
        match &self.scope {
            Some(scope) => filter.within_scope(scope),
            None => filter,
        }
    }
}

/// What a store has to write. Rows are of [`Changes::head`]'s subscription.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// The head as it is now, if it changed.
    pub head: Option<Head>,
    /// Every row goes first: a seek.
    pub clear: bool,
    /// Rows made or changed, as they are now, by `seq`.
    pub put: Vec<Row>,
    /// Rows that go, by `seq`.
    pub drop: Vec<u64>,
}

impl Changes {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.head.is_none() && !self.clear && self.put.is_empty() && self.drop.is_empty()
    }
}

/// A subscription with its rows.
#[derive(Clone, Debug)]
pub struct Subscription {
    head: Head,
    rows: Rows,
    /// Rows beyond the floor, whatever their state.
    ahead: usize,
    /// The head as it stands in the store, if it does.
    stored: Option<Head>,
    /// What the store gives the next seek.
    next_generation: u64,
}

/// Room that a consumer has for further loans.
#[derive(Clone, Debug, PartialEq)]
pub struct Room {
    /// Who.
    pub consumer: Arc<str>,
    /// So many events.
    pub events: usize,
    /// So many bytes.
    pub bytes: u64,
    /// It has nothing now: one event fits, whatever its size.
    pub empty: bool,
}

/// Matching events that were not looked at yet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fresh {
    /// All that match after this position…
    pub after: u64,
    /// …up to this one are in `events`.
    pub upto: u64,
    /// In rising order.
    pub events: Vec<FreshEvent>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq)]
pub struct FreshEvent {
    /// Position.
    pub seq: u64,
    /// Its `ordering_key`.
    pub key: Arc<str>,
    /// Bytes of the event as it is delivered.
    pub size: u32,
    /// When it came.
    pub received: Timestamp,
}

/// An event that was lent out.
#[derive(Clone, Debug, PartialEq)]
pub struct Loan {
    /// Position of its consumer among the rooms.
    pub room: usize,
    /// Names it.
    pub lease: Lease,
    /// Until then, by the steady clock.
    pub until: Moment,
    /// Why.
    pub cause: Cause,
    /// Bytes of the event.
    pub size: u32,
}

/// What a consumer has.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Held {
    /// Its loans, by position.
    pub leases: Vec<Lease>,
    /// Bytes of their events.
    pub bytes: u64,
}

/// What a consumer says of a loan.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Done.
    Ack,
    /// Again, after this time or by the backoff.
    Retry {
        /// Time to pass.
        delay: Option<Duration>,
        /// Kept if it is parked in the end.
        reason: String,
    },
    /// Aside.
    Park {
        /// Why.
        reason: String,
    },
    /// Longer, by this from now or by the lease's duration.
    Extend {
        /// From now.
        by: Option<Duration>,
    },
    /// Given back.
    Release,
}

/// What came of a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It took effect; an extended loan lasts until then.
    Applied(Option<Moment>),
    /// The same took effect before.
    AlreadyApplied,
    /// Nothing changed: the loan has ended, and the event is somebody else's or settled otherwise.
    LeaseLost,
    /// Nothing changed: it is of an earlier generation.
    StaleGeneration,
    /// Nothing changed: no such loan was ever given.
    UnknownLease,
}

/// A subscription with what is counted of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Outline {
    /// Its own row.
    pub head: Head,
    /// See [`Subscription::unsettled`].
    pub unsettled: u64,
    /// See [`Subscription::outstanding`].
    pub outstanding: u64,
    /// See [`Subscription::parked`].
    pub parked: u64,
    /// See [`Subscription::oldest_unsettled`].
    pub oldest: Option<Timestamp>,
}

impl Subscription {
    /// A new one, which begins after position `at`. `id` and `generation` are the store's.
    pub fn new(id: u64, generation: u64, name: String, config: Config, at: u64, now: Timestamp) -> Self {
        let head = Head {
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

    /// Tells the generation that a seek would begin: one that no subscription of the store has had.
    pub fn offer_generation(&mut self, next: u64) {
        self.next_generation = next;
    }

    /// As it is in the store.
    pub fn load(head: Head, rows: Vec<Row>) -> Self {
        let ahead = rows.iter().filter(|row| row.seq > head.floor).count();
        let rows = Rows::load(head.config.mode == Mode::KeyOrdered, rows);
        Self { stored: Some(head.clone()), head, rows, ahead, next_generation: 0 }
    }

    /// The row of the subscription itself.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// What is counted of it.
    pub fn outline(&self) -> Outline {
        Outline {
            head: self.head.clone(),
            unsettled: self.unsettled(),
            outstanding: self.outstanding(),
            parked: self.parked(),
            oldest: self.oldest_unsettled(),
        }
    }

    /// Rows that are remembered, those of settled events too.
    pub fn row_count(&self) -> u64 {
        self.rows.count() as u64
    }

    /// What changed since it was loaded, or since this was last asked.
    pub fn take_changes(&mut self) -> Changes {
        let (clear, put, drop) = self.rows.take_changes();
        let head = (self.stored.as_ref() != Some(&self.head)).then(|| self.head.clone());
        if head.is_some() {
            self.stored.clone_from(&head);
        }
        Changes { head, clear, put, drop }
    }

    /// Events out on loan, also those whose time is over until [`Self::lend`] ends them.
    pub fn outstanding(&self) -> u64 {
        self.rows.outstanding() as u64
    }

    /// Events put aside.
    pub fn parked(&self) -> u64 {
        self.rows.parked().len() as u64
    }

    /// Events that were looked at and are not settled, those on loan among them.
    pub fn unsettled(&self) -> u64 {
        self.rows.unsettled().len() as u64
    }

    /// When the first event of the log came that was looked at and is not settled.
    pub fn oldest_unsettled(&self) -> Option<Timestamp> {
        let first = self.rows.unsettled().first()?;
        self.rows.get(*first).map(|row| row.received)
    }

    /// When a loan ends next, or a pause: then [`Self::lend`] may have something to give.
    pub fn next_time(&self) -> Option<SteadyTime> {
        self.rows.next_time().map(|(time, _)| time)
    }

    /// What a consumer has.
    pub fn held(&self, consumer: &str) -> Held {
        let Some(borrower) = self.rows.borrower(consumer) else { return Held::default() };
        let leases = borrower.seqs.iter().filter_map(|seq| self.rows.get(*seq)).map(|row| self.lease(row)).collect();
        Held { leases, bytes: borrower.bytes }
    }

    /// Rows put aside after a position, in order, at most `limit`.
    pub fn parked_after(&self, seq: u64, limit: usize) -> Vec<Row> {
        let after = (Bound::Excluded(seq), Bound::Unbounded);
        self.rows.parked().range(after).filter_map(|seq| self.rows.get(*seq)).take(limit).cloned().collect()
    }

    /// Gives back all that a consumer has. No loan of these counts as a failure: to come back says nothing against an event,
    /// and two consumers that take each other's place have not tried any.
    pub fn release(&mut self, consumer: &str) {
        for row in self.lent_to(consumer) {
            self.rows.put(row.given_back());
        }
    }

    /// The same, to be delivered to it again: it has lost what it knew. [`Self::lend`] gives them to whoever has room: lend to
    /// this consumer alone in the same transaction.
    pub fn reclaim(&mut self, consumer: &str) {
        for row in self.lent_to(consumer) {
            self.rows.put(row.taken_back());
        }
    }

    fn lent_to(&self, consumer: &str) -> Vec<Row> {
        let seqs = self.rows.borrower(consumer).into_iter().flat_map(|borrower| &borrower.seqs);
        seqs.filter_map(|seq| self.rows.get(*seq)).cloned().collect()
    }

    /// Goes on after another position, in a new generation. All loans and parked events of the old one are void.
    pub fn seek(&mut self, to: u64, now: Timestamp) {
        self.rows.clear();
        self.ahead = 0;
        self.head.generation = self.next_generation.max(self.head.generation.saturating_add(1));
        (self.head.floor, self.head.scanned, self.head.updated) = (to, to, now);
    }

    /// Gives parked events out again, their failures counted anew: these, or all. Tells how many.
    pub fn redrive(&mut self, seqs: Option<&[u64]>) -> u64 {
        let parked = self.rows.parked();
        let seqs: BTreeSet<u64> = match seqs {
            Some(seqs) => seqs.iter().copied().filter(|seq| parked.contains(seq)).collect(),
            None => parked.clone(),
        };
        for row in seqs.iter().filter_map(|seq| self.rows.get(*seq)).cloned().collect::<Vec<_>>() {
            self.rows.put(Row { redriven: true, failures: 0, state: State::Pending { cause: Cause::Redriven }, ..row });
        }
        seqs.len() as u64
    }

    /// Takes another config, of the same feed, mode and client. The same one changes nothing.
    pub fn update(&mut self, config: Config, now: Timestamp) {
        let Config { mode, feed, client, .. } = self.head.config.clone();
        let config = Config { mode, feed, client, ..config };
        if config != self.head.config {
            self.head.config = config;
            self.head.version += 1;
            self.head.updated = now;
        }
    }

    /// Whether it has not settled events before `first`, the first that the log keeps. Then it may give nothing out.
    pub fn has_lost(&self, first: u64) -> bool {
        self.head.floor.saturating_add(1) < first
    }

    fn lease(&self, row: &Row) -> Lease {
        Lease { generation: self.head.generation, seq: row.seq, attempt: row.attempt }
    }
}

#[cfg(test)]
mod tests;
