//! The events that a dispatcher has read ahead of its consumers.

use std::collections::BTreeMap;

use crate::domain::feed::subscription::FreshEvents;
use crate::ports::event_log::StoredEvent;

/// Most events read ahead; about the size of a block.
const EVENTS: usize = 256;
/// Most bytes read ahead. The last event may exceed the limit.
const BYTES: u64 = 4 * 1024 * 1024;

/// Events that were read and not leased yet.
pub(super) struct ReadAhead {
    pub(super) fresh: FreshEvents,
    pub(super) events: BTreeMap<u64, StoredEvent>,
    /// Whether the events have their raw bodies, because a consumer asks for bodies. Bodies then count toward the byte
    /// limit.
    pub(super) raw: bool,
}

impl ReadAhead {
    /// An empty read-ahead after this position.
    pub(super) fn from(position: u64, raw: bool) -> Self {
        Self {
            fresh: FreshEvents { after: position, upto: position, events: Vec::new() },
            events: BTreeMap::new(),
            raw,
        }
    }

    /// Whether more events may be read.
    pub(super) fn has_room(&self) -> bool {
        let events = &self.fresh.events;
        events.len() < EVENTS && events.iter().map(|event| u64::from(event.size)).sum::<u64>() < BYTES
    }

    /// Starts or stops reading bodies. Events read without bodies are read again.
    pub(super) fn set_raw(&mut self, raw: bool) {
        if raw && !self.raw {
            *self = Self::from(self.fresh.after, true);
        }
        self.raw = raw;
    }

    /// Drops the events up to the position `scanned`.
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
