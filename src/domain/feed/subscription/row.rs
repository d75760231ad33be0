//! One scanned event of a subscription.

use std::sync::Arc;

use crate::domain::moment::{Moment, SteadyTime};
use crate::domain::timestamp::Timestamp;

/// An event that was leased, waits for its key, or was settled recently.
#[derive(Clone, Debug, PartialEq)]
pub struct EventRow {
    /// Position in the log.
    pub seq: u64,
    /// The `ordering_key`; an event with an empty key waits for no other.
    pub key: Arc<str>,
    /// Size of the delivered event in bytes.
    pub size: u32,
    /// Time of receipt by the gateway.
    pub received: Timestamp,
    /// Number of leases granted. Part of the lease text; never falls.
    pub attempt: u32,
    /// Number of failed leases that count toward `max_attempts`.
    pub failures: u32,
    /// Whether the event was parked and redriven; the floor may pass it.
    pub redriven: bool,
    /// The verdict that ended the last lease. `None` while the event is leased, and after an expired lease.
    pub said: Option<LastVerdict>,
    /// State of the event.
    pub state: RowState,
}

impl EventRow {
    /// The row after a lease that ended without acknowledgement.
    pub(super) fn failed(self, cause: DeliveryCause) -> Self {
        let failures = self.failures.saturating_add(1);
        Self { failures, said: None, state: RowState::Pending { cause }, ..self }
    }

    /// The row after its consumer returned without memory.
    pub(super) fn taken_back(self) -> Self {
        Self { said: None, state: RowState::Pending { cause: DeliveryCause::Reclaimed }, ..self }
    }

    /// The row after its consumer released the lease.
    pub(super) fn given_back(self) -> Self {
        Self {
            said: Some(LastVerdict::Release),
            state: RowState::Pending { cause: DeliveryCause::LeaseExpired },
            ..self
        }
    }

    /// The row after parking.
    pub(super) fn parked(self, since: Timestamp, reason: String) -> Self {
        Self { state: RowState::Parked { since, reason }, ..self }
    }
}

/// The state of a scanned event.
#[derive(Clone, Debug, PartialEq)]
pub enum RowState {
    /// May be leased, unless an earlier event blocks its key.
    Pending {
        /// Cause of the next delivery.
        cause: DeliveryCause,
    },
    /// Leased to a consumer.
    Leased {
        /// Cause of the delivery.
        cause: DeliveryCause,
        /// Time of the grant by the steady clock, from which automatic extension is limited.
        since: SteadyTime,
        /// Expiry by the steady clock, which keeps a step of the wall clock from ending a lease early or keeping it
        /// from ending. The wall clock's time was told to the consumer.
        until: Moment,
        /// Consumer that holds the lease.
        consumer: Arc<str>,
    },
    /// Waiting for a retry.
    Waiting {
        /// Earliest time of the retry, by the steady clock.
        until: Moment,
    },
    /// Acknowledged by a consumer.
    Acked,
    /// Set aside; a redrive makes the row pending again.
    Parked {
        /// Time of the parking.
        since: Timestamp,
        /// Reason given by the consumer or the gateway.
        reason: String,
    },
}

/// The verdict that ended a lease, stored to recognize the same verdict when repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastVerdict {
    /// A retry was requested.
    Retry,
    /// The event was parked.
    Park,
    /// The lease was released.
    Release,
}

impl RowState {
    /// Whether the event still has to be settled.
    pub(crate) const fn is_unsettled(&self) -> bool {
        matches!(self, Self::Pending { .. } | Self::Leased { .. } | Self::Waiting { .. })
    }
}

/// The cause of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryCause {
    /// The first delivery of the event.
    First,
    /// The last lease expired or was released.
    LeaseExpired,
    /// A consumer asked for a further attempt.
    Retry,
    /// The consumer returned without memory and reclaimed the event.
    Reclaimed,
    /// The event was parked and redriven.
    Redriven,
}
