//! The reads of the logs.

use bytes::{Bytes, BytesMut};
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::super::feed_cache::{SPAN, head, heads};
use super::super::log_tables::{self, LogTables};
use super::super::rows::{self, integer};
use super::renamed::named_now;
use crate::domain::feed::{FeedName, LogId};
use crate::domain::timestamp::Timestamp;
use crate::ports::event_log::{LogBounds, StoredEvent};

/// The beginning of every query for events; without bodies the table of bodies is not read.
fn select(feed: FeedName, raw: bool) -> String {
    let LogTables { events, bodies, .. } = log_tables::of(feed);
    if raw {
        format!("SELECT e.seq, received, message, body FROM {events} e JOIN {bodies} b ON b.seq = e.seq")
    } else {
        format!("SELECT seq, received, message, NULL FROM {events} e")
    }
}

/// Most bytes allocated before the events are read.
const ARENA: usize = 1 << 20;

/// The first stored position, or the next position of an empty log.
pub(super) fn first(db: &Connection, feed: FeedName) -> rusqlite::Result<u64> {
    let LogTables { events, .. } = log_tables::of(feed);
    let mut first = db.prepare_cached(&format!("SELECT coalesce(min(seq), 1) FROM {events}"))?;
    first.query_row([], |row| rows::number(row, 0))
}

pub(super) fn bounds(db: &Connection, feed: FeedName) -> rusqlite::Result<LogBounds> {
    let LogTables { log, .. } = log_tables::of(feed);
    let log: [u8; 16] = db.prepare_cached(&format!("SELECT id FROM {log}"))?.query_row([], |row| row.get(0))?;
    Ok(LogBounds { log: LogId(u128::from_be_bytes(log)), first: first(db, feed)?, head: head(db, feed)? })
}

pub(super) fn read(
    db: &Connection,
    feed: FeedName,
    after: u64,
    most: usize,
    most_bytes: usize,
    raw: bool,
) -> rusqlite::Result<Vec<StoredEvent>> {
    let select = select(feed, raw);
    let mut events = db.prepare_cached(&format!("{select} WHERE e.seq > ?1 ORDER BY e.seq LIMIT ?2"))?;
    let mut events = events.query([integer(after), limit(most)])?;
    let mut read = EventArena::new(most, most_bytes);
    while let Some(event) = events.next()? {
        if !read.push(event)? {
            break;
        }
    }
    named_now(db, feed, read.events())
}

pub(super) fn pick(
    db: &Connection,
    feed: FeedName,
    mut seqs: Vec<u64>,
    raw: bool,
) -> rusqlite::Result<Vec<StoredEvent>> {
    seqs.sort_unstable();
    seqs.dedup();
    let mut event = db.prepare_cached(&format!("{} WHERE e.seq = ?1", select(feed, raw)))?;
    let mut read = EventArena::new(seqs.len(), usize::MAX);
    for seq in seqs {
        event.query_row([integer(seq)], |event| read.push(event)).optional()?;
    }
    named_now(db, feed, read.events())
}

pub(super) fn before(db: &Connection, feed: FeedName, time: Timestamp) -> rusqlite::Result<u64> {
    let LogTables { events, spans, .. } = log_tables::of(feed);
    let head = *heads(db)?.of(feed);
    let mut finished = db.prepare_cached(&format!("SELECT span FROM {spans} WHERE latest >= ?1 ORDER BY span"))?;
    let finished = finished.query_map([integer(time.0)], |row| rows::number(row, 0))?;
    let mut event = db.prepare_cached(&format!(
        "SELECT seq FROM {events} WHERE seq >= ?1 AND seq < ?2 AND received >= ?3 ORDER BY seq LIMIT 1"
    ))?;
    // The last span is not finished. A finished one may have its event no more: the log was trimmed into the first span.
    for span in finished.chain([Ok(head / SPAN)]) {
        let start = span? * SPAN;
        let bounds = [integer(start), integer(start + SPAN), integer(time.0)];
        if let Some(seq) = event.query_row(bounds, |row| rows::number(row, 0)).optional()? {
            return Ok(seq - 1);
        }
    }
    Ok(head)
}

pub(super) fn limit(most: usize) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX)
}

/// Events whose bytes share one allocation, which replaces a thousand allocations with a few.
struct EventArena {
    /// Most events of the read.
    most: usize,
    /// Most bytes of the read.
    most_bytes: usize,
    bytes: BytesMut,
    /// Position, time, and the ends of message and body in `bytes`.
    events: Vec<(u64, Timestamp, usize, usize)>,
}

impl EventArena {
    fn new(most: usize, most_bytes: usize) -> Self {
        Self { most, most_bytes, bytes: BytesMut::new(), events: Vec::new() }
    }

    /// Adds an event. Returns false when the event exceeds the limit, unless it is the first.
    fn push(&mut self, event: &Row<'_>) -> rusqlite::Result<bool> {
        let (seq, received) = (rows::number(event, 0)?, rows::time(event, 1)?);
        let message = event.get_ref(2)?.as_blob()?;
        let body = event.get_ref(3)?.as_blob_or_null()?.unwrap_or_default();
        let size = message.len() + body.len();
        if self.events.is_empty() {
            // Assumes that all events are as large as the first.
            self.bytes.reserve(size.max(size.saturating_mul(self.most).min(self.most_bytes).min(ARENA)));
        } else if self.bytes.len() + size > self.most_bytes {
            return Ok(false);
        }
        self.bytes.extend_from_slice(message);
        let end = self.bytes.len();
        self.bytes.extend_from_slice(body);
        self.events.push((seq, received, end, self.bytes.len()));
        Ok(true)
    }

    fn events(self) -> Vec<StoredEvent> {
        let bytes: Bytes = self.bytes.freeze();
        let mut start = 0;
        let event = |(seq, received, middle, end)| {
            let (message, raw) = (bytes.slice(start..middle), bytes.slice(middle..end));
            start = end;
            StoredEvent { seq, received, message, raw }
        };
        self.events.into_iter().map(event).collect()
    }
}
