//! One event of a subscription that was looked at.

use std::sync::Arc;

use crate::domain::moment::{Moment, SteadyTime};
use crate::domain::timestamp::Timestamp;

/// An event that was given out, waits for another, or was settled not long ago.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Position in the log.
    pub seq: u64,
    /// Its `ordering_key`; empty: it waits for no other.
    pub key: Arc<str>,
    /// Bytes of the event as it is delivered.
    pub size: u32,
    /// When the event came.
    pub received: Timestamp,
    /// How often it was lent. Part of the lease, so it never falls.
    pub attempt: u32,
    /// Loans that were not acknowledged, of those that count against `max_attempts`.
    pub failures: u32,
    /// It was parked and given out again: the floor passes it by.
    pub redriven: bool,
    /// How its last borrower gave it up. `None` while it is on loan, and when the loan ended without a word.
    pub said: Option<Said>,
    /// Where it stands.
    pub state: State,
}

impl Row {
    /// Its loan ended without being acknowledged.
    pub(super) fn failed(self, cause: Cause) -> Self {
        let failures = self.failures.saturating_add(1);
        Self { failures, said: None, state: State::Pending { cause }, ..self }
    }

    /// Its borrower came back without its memory.
    pub(super) fn taken_back(self) -> Self {
        Self { said: None, state: State::Pending { cause: Cause::Reclaimed }, ..self }
    }

    /// Its borrower gave it back.
    pub(super) fn given_back(self) -> Self {
        Self { said: Some(Said::Release), state: State::Pending { cause: Cause::LeaseExpired }, ..self }
    }

    /// Put aside.
    pub(super) fn parked(self, since: Timestamp, reason: String) -> Self {
        Self { state: State::Parked { since, reason }, ..self }
    }
}

/// Where an event stands.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// May be lent, once no earlier event holds it up.
    Pending {
        /// Why it will come.
        cause: Cause,
    },
    /// Out.
    Leased {
        /// Why it came.
        cause: Cause,
        /// When it was given, by the steady clock: a stream keeps it so long, and no longer.
        since: SteadyTime,
        /// Until then it is this consumer's, by the steady clock: nobody who sets the wall clock ends a loan early, or keeps
        /// it from ending. The wall clock's time is what the consumer was told.
        until: Moment,
        /// Who has it.
        consumer: Arc<str>,
    },
    /// Comes again later.
    Waiting {
        /// Not before then, by the steady clock.
        until: Moment,
    },
    /// Acknowledged.
    Acked,
    /// Put aside.
    Parked {
        /// When.
        since: Timestamp,
        /// The consumer's words, or ours.
        reason: String,
    },
}

/// With what word a loan ended; told so that the same word, repeated, is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// Again.
    Retry,
    /// Aside.
    Park,
    /// Given back.
    Release,
}

impl State {
    /// Whether somebody still has to deal with it.
    pub const fn is_unsettled(&self) -> bool {
        matches!(self, Self::Pending { .. } | Self::Leased { .. } | Self::Waiting { .. })
    }
}

/// Why an event is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// For the first time.
    First,
    /// Its loan ended unsettled, or was given back.
    LeaseExpired,
    /// A consumer asked for another attempt.
    Retry,
    /// Its consumer came back without its memory.
    Reclaimed,
    /// It was parked, and was given out again.
    Redriven,
}
