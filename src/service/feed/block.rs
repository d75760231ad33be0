//! A piece of the log in memory, encoded once for all streams.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::domain::feed::{EventFacts, EventFilter, FeedMessage, FeedName, LogId};
use crate::pb;
use crate::ports::event_log::StoredEvent;

/// Events in a full block. Blocks begin at multiples of this number, which lets streams share blocks from any starting
/// position.
pub(super) const BLOCK: u64 = 128;

/// Encodes an event for the wire and appends it to the buffer. Called once for every event of a block.
pub type Encode = fn(&mut Vec<u8>, LogId, &StoredEvent);

/// Consecutive events, as stored and as encoded for the wire.
pub(super) struct LogBlock {
    feed: FeedName,
    events: Vec<StoredEvent>,
    /// The encoded events, one after the other.
    frames: Bytes,
    /// The end of every event in `frames`.
    ends: Vec<usize>,
    /// The facts of the events for filters, filled by the first filtered stream.
    facts: OnceLock<Vec<Arc<EventFacts>>>,
}

impl LogBlock {
    /// Encodes events, which must be consecutive and not empty.
    pub(super) fn new(feed: FeedName, log: LogId, events: Vec<StoredEvent>, encode: Encode) -> Self {
        let empty = Self { feed, events: Vec::new(), frames: Bytes::new(), ends: Vec::new(), facts: OnceLock::new() };
        empty.extended(log, events, encode)
    }

    /// Copies the block and appends further events.
    pub(super) fn extended(&self, log: LogId, more: Vec<StoredEvent>, encode: Encode) -> Self {
        let mut frames = Vec::with_capacity(self.frames.len() + 1024 * more.len());
        frames.extend_from_slice(&self.frames);
        let mut ends = self.ends.clone();
        for event in &more {
            encode(&mut frames, log, event);
            ends.push(frames.len());
        }
        frames.shrink_to_fit();
        // A filtered stream will ask for the facts again, and decoding every event only once saves work.
        let known = self.facts.get();
        let facts = known.map(|known| {
            let new = more.iter().map(|event| facts(self.feed, event));
            known.iter().cloned().chain(new).collect::<Vec<_>>()
        });
        let events = self.events.iter().cloned().chain(more).collect();
        Self {
            feed: self.feed,
            events,
            frames: frames.into(),
            ends,
            facts: facts.map(OnceLock::from).unwrap_or_default(),
        }
    }

    /// Position of the first event.
    pub(super) fn first(&self) -> u64 {
        self.events.first().map_or(0, |event| event.seq)
    }

    /// Position of the last event.
    pub(super) fn last(&self) -> u64 {
        self.events.last().map_or(0, |event| event.seq)
    }

    /// Approximate memory of the block in bytes.
    pub(super) fn size(&self) -> usize {
        self.events.iter().map(|event| event.message.len() + event.raw.len() + size_of::<StoredEvent>()).sum::<usize>()
            + self.frames.len()
    }

    /// Returns the encoded events after a position, at most `most`, with their number and the position of the last.
    pub(super) fn all_after(&self, position: u64, most: u64) -> (Bytes, u64, u64) {
        let skip = self.skip(position);
        let count = (self.events.len() - skip).min(usize::try_from(most).unwrap_or(usize::MAX));
        if count == 0 {
            return (Bytes::new(), 0, position);
        }
        let frames = self.frames.slice(self.start(skip)..self.ends[skip + count - 1]);
        (frames, count as u64, self.events[skip + count - 1].seq)
    }

    /// Returns the encoded events after a position that match the filter, at most `most`, with their number and the
    /// position up to which all matches are included.
    pub(super) fn some_after(&self, position: u64, most: u64, filter: &EventFilter) -> (Bytes, u64, u64) {
        let mut frames = Vec::new();
        let mut count = 0;
        for (index, facts) in self.facts().iter().enumerate().skip(self.skip(position)) {
            if !filter.wants(facts) {
                continue;
            }
            frames.extend_from_slice(&self.frames[self.start(index)..self.ends[index]]);
            count += 1;
            if count == most {
                return (frames.into(), count, self.events[index].seq);
            }
        }
        (frames.into(), count, self.last())
    }

    /// The stored events after a position, with their facts for filters.
    pub(super) fn events_after(&self, position: u64) -> impl Iterator<Item = (&StoredEvent, &EventFacts)> {
        self.events.iter().zip(self.facts().iter().map(|facts| &**facts)).skip(self.skip(position))
    }

    fn skip(&self, position: u64) -> usize {
        self.events.partition_point(|event| event.seq <= position)
    }

    fn start(&self, index: usize) -> usize {
        index.checked_sub(1).map_or(0, |before| self.ends[before])
    }

    fn facts(&self) -> &[Arc<EventFacts>] {
        self.facts.get_or_init(|| self.events.iter().map(|event| facts(self.feed, event)).collect())
    }
}

/// Reads the facts of a stored event. An unreadable event means a damaged store, and gets empty facts.
fn facts(feed: FeedName, stored: &StoredEvent) -> Arc<EventFacts> {
    let facts = EventFacts::decode(feed, &stored.message).unwrap_or_else(|error| {
        damaged(stored, &error);
        pb::Event::default().facts()
    });
    Arc::new(facts)
}

fn damaged(stored: &StoredEvent, error: &prost::DecodeError) {
    tracing::error!(seq = stored.seq, %error, "an event of the log cannot be read");
}

/// Approximate memory of a decoded event in bytes, or its size on the wire if larger.
pub(super) fn weight(event: &impl FeedMessage) -> usize {
    event.encoded_len() + event.lines_size()
}

/// Decodes an event for an answer; empty when the store is damaged.
pub(super) fn message<M: FeedMessage>(log: LogId, stored: &StoredEvent) -> M {
    let event = M::decode(stored.message.clone()).unwrap_or_else(|error| {
        damaged(stored, &error);
        M::default()
    });
    event.placed(stored.seq, log.cursor(stored.seq).to_string(), stored.raw.to_vec())
}

#[cfg(test)]
#[path = "block_tests.rs"]
mod tests;
