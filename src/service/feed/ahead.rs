//! What a dispatcher has read of the log.

use std::collections::BTreeMap;

use crate::domain::feed::subscription::Fresh;
use crate::ports::event_log::StoredEvent;

/// Events that are read before there is room for them; about a block.
const EVENTS: usize = 256;
/// Bytes of them. The last one may pass it.
const BYTES: u64 = 4 * 1024 * 1024;

/// Events that were read and not lent yet.
pub(super) struct Ahead {
    pub(super) fresh: Fresh,
    pub(super) events: BTreeMap<u64, StoredEvent>,
    /// Whether they have their bodies, because a consumer asks for them: then bodies count where bytes do.
    pub(super) raw: bool,
}

impl Ahead {
    /// Nothing was read after this position.
    pub(super) fn from(position: u64, raw: bool) -> Self {
        Self { fresh: Fresh { after: position, upto: position, events: Vec::new() }, events: BTreeMap::new(), raw }
    }

    /// Whether more may be read.
    pub(super) fn has_room(&self) -> bool {
        let events = &self.fresh.events;
        events.len() < EVENTS && events.iter().map(|event| u64::from(event.size)).sum::<u64>() < BYTES
    }

    /// Reads bodies too, or no more. What was read without them is read again.
    pub(super) fn set_raw(&mut self, raw: bool) {
        if raw && !self.raw {
            *self = Self::from(self.fresh.after, true);
        }
        self.raw = raw;
    }

    /// Forgets what was looked at.
    pub(super) fn advance(&mut self, scanned: u64) {
        if scanned > self.fresh.upto || scanned < self.fresh.after {
            *self = Self::from(scanned, self.raw);
            return;
        }
        self.fresh.after = scanned;
        self.fresh.events.retain(|event| event.seq > scanned);
        self.events = self.events.split_off(&(scanned + 1));
    }
}
