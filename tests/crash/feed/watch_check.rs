//! I9 and I13: each stream of a reader is in order, without repeats, complete under its filter, and its bookmarks are exact;
//! and no stream is silent for long.
//!
//! Pure: what a stream was asked for and what it sent, and the log, go in; what must not be comes out, in words.

use order_gateway::pb::FeedState;

use super::history::{End, Frame, Heartbeat, Micros, Opened, Start, Stream, Watch};
use super::log::Log;

/// How late a busy machine may be with a frame, or with noticing it.
const LATE: Micros = 750_000;

/// What must not be in a reader's stream. `wanted`: the positions that the reader wants, in order.
pub(crate) fn violations(stream: &Stream<Watch>, wanted: &[u64], log: &Log) -> Vec<String> {
    let mut found: Vec<String> = silences(stream).collect();
    if let End::Refused(reason) = &stream.end {
        found.extend(untrue_refusal(stream, reason));
    }
    let Some(opened) = &stream.opened else { return found };
    found.extend(wrong_start(stream, opened, log));
    let mut walk =
        Walk { log, wanted, next: wanted.partition_point(|seq| *seq <= opened.position), covered: opened.position };
    let mut events = 0;
    for (_, frame) in &stream.frames {
        match frame {
            Frame::Event(content) => {
                events += 1;
                found.extend(log.differs(content));
                found.extend(walk.event(content.seq));
            }
            Frame::Heartbeat(heartbeat) => found.extend(walk.heartbeat(heartbeat)),
            Frame::Delivery { .. } => found.push("I9: a delivery came on a watch".to_owned()),
            Frame::Wrong(what) => found.push(format!("I9: {what}")),
        }
    }
    let limit = stream.asked.reader.limit;
    if stream.end == End::Done && (limit == 0 || events != limit) {
        found.push(format!("I9: ended with OK after {events} events"));
    }
    if limit != 0 && events > limit {
        found.push(format!("I9: {events} events came, and the limit was {limit}"));
    }
    found
}

/// I13: no more than 1.25 intervals between two frames, or after the last one.
pub(crate) fn silences<R>(stream: &Stream<R>) -> impl Iterator<Item = String> {
    let opened = stream.opened.as_ref();
    let longest = opened.map_or(Micros::MAX, |opened| opened.heartbeat * 5 / 4 + LATE);
    let times = opened.map(|opened| opened.at).into_iter().chain(stream.frames.iter().map(|(at, _)| *at));
    let times: Vec<Micros> = times.chain(opened.map(|_| stream.ended)).collect();
    let pauses: Vec<Micros> = times.windows(2).map(|pair| pair[1] - pair[0]).filter(|pause| *pause > longest).collect();
    pauses.into_iter().map(|pause| format!("I13: nothing came for {} ms", pause / 1000))
}

/// A refusal has to be true: the place asked for is gone. Other reasons say that the stream has to be opened again.
fn untrue_refusal(stream: &Stream<Watch>, reason: &str) -> Option<String> {
    match (reason, stream.asked.start) {
        ("SHUTTING_DOWN" | "SLOW_CONSUMER" | "STORE_UNAVAILABLE" | "OVERLOADED", _) => None,
        ("EVENTS_EXPIRED", Start::After(_)) => None,
        // They went while it was being read.
        ("EVENTS_EXPIRED", _) if stream.opened.is_some() => None,
        (reason, start) => Some(format!("I9: {start:?} was refused with {reason}")),
    }
}

/// The place where it begins is the one that was asked for.
fn wrong_start(stream: &Stream<Watch>, opened: &Opened, log: &Log) -> Option<String> {
    let position = opened.position;
    let right = match stream.asked.start {
        Start::Earliest => position + 1 == opened.first,
        Start::Latest => position == opened.head,
        Start::After(seq) => position == seq,
        Start::ReceivedAt(time) => {
            // What is told of times is cut to milliseconds.
            let came = |seq| log.get(seq).map_or(Micros::MAX, |entry| entry.received);
            let kept = (opened.first..=position).all(|seq| came(seq) < time);
            kept && (position == opened.head || came(position + 1) >= time / 1000 * 1000)
        }
    };
    (!right).then(|| format!("I9: asked for {:?}, it began after {position}: {opened:?}", stream.asked.start))
}

/// A stream, frame by frame.
struct Walk<'a> {
    log: &'a Log,
    wanted: &'a [u64],
    /// Place in `wanted` of the next event.
    next: usize,
    /// Everything up to here was told.
    covered: u64,
}

impl Walk<'_> {
    fn event(&mut self, seq: u64) -> Option<String> {
        let expected = self.wanted.get(self.next).copied();
        let covered = self.covered;
        self.covered = self.covered.max(seq);
        self.next = self.wanted.partition_point(|wanted| *wanted <= self.covered);
        if expected == Some(seq) && seq > covered {
            return None;
        }
        if self.wanted.binary_search(&seq).is_err() {
            return Some(format!("I9: event {seq} came, and is not wanted"));
        }
        if seq <= covered {
            return Some(format!("I9: event {seq} came after everything up to {covered} had been told"));
        }
        let missing = expected.unwrap_or_default();
        Some(format!("I9: event {seq} came, and event {missing} did not"))
    }

    /// Everything up to its cursor was sent, and its figures fit.
    fn heartbeat(&mut self, heartbeat: &Heartbeat) -> Vec<String> {
        let mut found = Vec::new();
        let cursor = heartbeat.cursor;
        if let Some(missing) = self.wanted.get(self.next).filter(|seq| **seq <= cursor) {
            found.push(format!("I9: the bookmark {cursor} came before event {missing}"));
        }
        if cursor < self.covered {
            found.push(format!("I9: the bookmark {cursor} came after {} had been told", self.covered));
        }
        if cursor > heartbeat.head || heartbeat.head > self.log.head() {
            found.push(format!("I9: the bookmark {cursor} is beyond the log: {heartbeat:?}"));
        }
        self.covered = self.covered.max(cursor);
        self.next = self.wanted.partition_point(|wanted| *wanted <= self.covered);
        let left = self.wanted[self.next..].iter().take_while(|seq| **seq <= heartbeat.head).count() as u64;
        if left > heartbeat.backlog {
            found.push(format!("I9: {left} events were left, the heartbeat says {}", heartbeat.backlog));
        }
        if left > 0 && heartbeat.state == FeedState::Live {
            found.push(format!("I9: {left} events were left, the heartbeat says that it is live"));
        }
        found
    }
}

#[cfg(test)]
#[path = "watch_check_tests.rs"]
mod tests;
