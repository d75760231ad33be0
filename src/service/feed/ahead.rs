//! What a dispatcher has read of the log.

use std::collections::BTreeMap;

use crate::domain::feed::subscription::Fresh;
use crate::ports::event_log::StoredEvent;

/// Events that were read and not lent yet.
pub(super) struct Ahead {
    pub(super) fresh: Fresh,
    pub(super) events: BTreeMap<u64, StoredEvent>,
}

impl Ahead {
    /// Nothing was read after this position.
    pub(super) fn from(position: u64) -> Self {
        Self { fresh: Fresh { after: position, upto: position, events: Vec::new() }, events: BTreeMap::new() }
    }

    /// Forgets what was looked at.
    pub(super) fn advance(&mut self, scanned: u64) {
        if scanned > self.fresh.upto || scanned < self.fresh.after {
            *self = Self::from(scanned);
            return;
        }
        self.fresh.after = scanned;
        self.fresh.events.retain(|event| event.seq > scanned);
        self.events = self.events.split_off(&(scanned + 1));
    }
}
