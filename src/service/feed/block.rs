//! A piece of the log in memory, made once for all streams that pass by.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::domain::feed::{Facts, FeedMessage, FeedName, Filter, LogId};
use crate::pb;
use crate::ports::event_log::StoredEvent;

/// Events in a full block. Blocks begin at multiples of it, so that streams share them wherever they started.
pub(super) const BLOCK: u64 = 128;

/// Writes an event as the edge sends it, to the end of the buffer. Called once for each event of a block.
pub type Encode = fn(&mut Vec<u8>, LogId, &StoredEvent);

/// Events that follow each other, as they are stored and as they are sent.
pub(super) struct Block {
    feed: FeedName,
    events: Vec<StoredEvent>,
    /// The events as the edge sends them, one after the other.
    frames: Bytes,
    /// Where each ends in `frames`.
    ends: Vec<usize>,
    /// What filters ask of each, once one has asked.
    facts: OnceLock<Vec<Arc<Facts>>>,
}

impl Block {
    /// `events` follow each other without gaps, and are not empty.
    pub(super) fn new(feed: FeedName, log: LogId, events: Vec<StoredEvent>, encode: Encode) -> Self {
        let empty = Self { feed, events: Vec::new(), frames: Bytes::new(), ends: Vec::new(), facts: OnceLock::new() };
        empty.extended(log, events, encode)
    }

    /// The same with further events behind it.
    pub(super) fn extended(&self, log: LogId, more: Vec<StoredEvent>, encode: Encode) -> Self {
        let mut frames = Vec::with_capacity(self.frames.len() + 1024 * more.len());
        frames.extend_from_slice(&self.frames);
        let mut ends = self.ends.clone();
        for event in &more {
            encode(&mut frames, log, event);
            ends.push(frames.len());
        }
        frames.shrink_to_fit();
        // Whoever asked before will ask again, and each event is decoded once.
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

    /// Position of its first event.
    pub(super) fn first(&self) -> u64 {
        self.events.first().map_or(0, |event| event.seq)
    }

    /// Position of its last event.
    pub(super) fn last(&self) -> u64 {
        self.events.last().map_or(0, |event| event.seq)
    }

    /// Bytes that it takes in memory, about.
    pub(super) fn size(&self) -> usize {
        self.events.iter().map(|event| event.message.len() + event.raw.len() + size_of::<StoredEvent>()).sum::<usize>()
            + self.frames.len()
    }

    /// All events after a position as the edge sends them, at most `most`; how many, and the position of the last.
    pub(super) fn all_after(&self, position: u64, most: u64) -> (Bytes, u64, u64) {
        let skip = self.skip(position);
        let count = (self.events.len() - skip).min(usize::try_from(most).unwrap_or(usize::MAX));
        if count == 0 {
            return (Bytes::new(), 0, position);
        }
        let frames = self.frames.slice(self.start(skip)..self.ends[skip + count - 1]);
        (frames, count as u64, self.events[skip + count - 1].seq)
    }

    /// The events after a position that a filter wants, at most `most`; how many, and the position up to which all are in it.
    pub(super) fn some_after(&self, position: u64, most: u64, filter: &Filter) -> (Bytes, u64, u64) {
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

    /// The events after a position as they are stored, with what filters ask of them.
    pub(super) fn events_after(&self, position: u64) -> impl Iterator<Item = (&StoredEvent, &Facts)> {
        self.events.iter().zip(self.facts().iter().map(|facts| &**facts)).skip(self.skip(position))
    }

    fn skip(&self, position: u64) -> usize {
        self.events.partition_point(|event| event.seq <= position)
    }

    fn start(&self, index: usize) -> usize {
        index.checked_sub(1).map_or(0, |before| self.ends[before])
    }

    fn facts(&self) -> &[Arc<Facts>] {
        self.facts.get_or_init(|| self.events.iter().map(|event| facts(self.feed, event)).collect())
    }
}

/// What is stored can be read, or the store is damaged: then the event is empty.
fn facts(feed: FeedName, stored: &StoredEvent) -> Arc<Facts> {
    let facts = Facts::decode(feed, &stored.message).unwrap_or_else(|error| {
        damaged(stored, &error);
        pb::Event::default().facts()
    });
    Arc::new(facts)
}

fn damaged(stored: &StoredEvent, error: &prost::DecodeError) {
    tracing::error!(seq = stored.seq, %error, "an event of the log cannot be read");
}

/// Bytes that an event as it is answered takes in memory, about; or on the wire, whichever is more.
pub(super) fn weight(event: &impl FeedMessage) -> usize {
    event.encoded_len() + event.lines_size()
}

/// An event as it is answered; an empty one when the store is damaged.
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
