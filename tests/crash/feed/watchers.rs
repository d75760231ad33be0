//! Readers who keep their own place: they stay, leave, and come back after the last cursor that they were told.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use order_gateway::pb::position::At;
use order_gateway::pb::{self, Feed, Position, WatchCancelIntentsRequest};
use order_gateway::ports::random::Random;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use super::client::FeedClient;
use super::frames::{self, Taken};
use super::history::{End, Opened, Start, Stream, Watch, now};
use super::plan::{Beginning, Crowd, Reader};
use crate::schedule::Dice;

/// A stream that has not begun by then is given up.
const OPEN_LIMIT: Duration = Duration::from_secs(5);
/// A stream that says nothing for so long is left; the check of silences has seen it by then.
const SILENCE: Duration = Duration::from_secs(15);

/// All readers of a run.
#[derive(Clone)]
pub(crate) struct Watchers {
    shared: Arc<Shared>,
}

struct Shared {
    channels: Vec<Channel>,
    feed: Feed,
    seed: u64,
    readers: Vec<Arc<Reader>>,
    /// For each, up to where it was told everything.
    covered: Vec<AtomicU64>,
    /// What the first reader was sent.
    kept: Mutex<Vec<pb::Event>>,
    streams: Mutex<Vec<Stream<Watch>>>,
    log_id: Mutex<String>,
    end: CancellationToken,
}

impl Watchers {
    /// Readers that go over these connections.
    pub(crate) fn new(channels: Vec<Channel>, seed: u64, crowd: &Crowd, end: CancellationToken) -> Self {
        let (feed, readers) = (crowd.feed, crowd.readers.clone());
        let covered = readers.iter().map(|_| AtomicU64::new(0)).collect();
        let (kept, streams, log_id) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { shared: Arc::new(Shared { channels, feed, seed, readers, covered, kept, streams, log_id, end }) }
    }

    /// Up to where the first reader was told everything: a position that is surely in the log.
    pub(crate) fn known(&self) -> u64 {
        self.shared.covered[0].load(Ordering::Relaxed)
    }

    /// Which log; empty while nobody knows.
    pub(crate) fn log_id(&self) -> String {
        self.shared.log_id.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is still to be told to those who go on where they were.
    pub(crate) fn left(&self, head: u64) -> u64 {
        let all = self.shared.readers.iter().zip(&self.shared.covered).filter(|(reader, _)| reader.resumes);
        all.map(|(_, covered)| head.saturating_sub(covered.load(Ordering::Relaxed))).sum()
    }

    /// Readers that should have been told everything up to `head`, and were not.
    pub(crate) fn behind(&self, head: u64) -> Vec<&str> {
        let behind =
            |(reader, covered): &(&Arc<Reader>, &AtomicU64)| reader.resumes && covered.load(Ordering::Relaxed) < head;
        let all = self.shared.readers.iter().zip(&self.shared.covered);
        all.filter(behind).map(|(reader, _)| reader.name.as_str()).collect()
    }

    /// All streams that have ended, and what the first reader was sent. Empties both.
    pub(crate) fn take(&self) -> (Vec<Stream<Watch>>, Vec<pb::Event>) {
        let streams = std::mem::take(&mut *self.shared.streams.lock().unwrap_or_else(PoisonError::into_inner));
        let kept = std::mem::take(&mut *self.shared.kept.lock().unwrap_or_else(PoisonError::into_inner));
        (streams, kept)
    }

    /// Reads until the run ends.
    pub(crate) async fn read(self, n: usize) {
        let dice = Dice(Random::from_seed(self.shared.seed ^ (n as u64) << 32));
        let reader = self.shared.readers[n].clone();
        let mut place = None;
        while !self.shared.end.is_cancelled() {
            let start = place.map_or_else(|| beginning(&reader), Start::After);
            let stream = self.stream(n, &reader, start, &dice).await;
            match &stream.end {
                End::Refused(reason) if reason == "EVENTS_EXPIRED" => place = None,
                _ if reader.resumes && stream.opened.is_some() => {
                    place = Some(self.shared.covered[n].load(Ordering::Relaxed))
                }
                _ => {}
            }
            self.shared.streams.lock().unwrap_or_else(PoisonError::into_inner).push(stream);
            self.shared.end.run_until_cancelled(sleep(dice.millis(1, 150))).await;
        }
    }

    async fn stream(&self, n: usize, reader: &Arc<Reader>, start: Start, dice: &Dice) -> Stream<Watch> {
        let request = request(reader, start, &self.log_id());
        let channel = self.shared.channels[n % self.shared.channels.len()].clone();
        let mut client = FeedClient::new(channel, self.shared.feed);
        let mut stream = Stream::asked(Watch { reader: reader.clone(), start });
        let leaves = reader.leaves.map(|most| Instant::now() + Duration::from_millis(dice.up_to(most)));
        stream.end = match timeout(OPEN_LIMIT, client.watch(request)).await {
            Ok(Ok(frames)) => self.follow(n, &mut stream, frames, leaves).await,
            Ok(Err(status)) => frames::end(&status),
            Err(_) => End::HungUp,
        };
        stream.ended = now();
        stream
    }

    async fn follow(
        &self,
        n: usize,
        stream: &mut Stream<Watch>,
        mut frames: tonic::Streaming<pb::WatchCancelIntentsResponse>,
        leaves: Option<Instant>,
    ) -> End {
        let leave = leaves.unwrap_or_else(|| Instant::now() + Duration::from_secs(86_400));
        loop {
            let frame = tokio::select! {
                biased;
                () = self.shared.end.cancelled() => return End::HungUp,
                () = sleep_until(leave) => return End::HungUp,
                frame = timeout(SILENCE, frames.message()) => frame,
            };
            let frame = match frame {
                Ok(Ok(Some(frame))) => frame,
                Ok(Ok(None)) => return End::Done,
                Ok(Err(status)) => return frames::end(&status),
                Err(_) => return End::HungUp,
            };
            let upto = match frames::watch(stream, frame, n == 0) {
                Taken::Upto(seq) => seq,
                Taken::Event(event) => {
                    let seq = event.seq;
                    self.shared.kept.lock().unwrap_or_else(PoisonError::into_inner).push(*event);
                    seq
                }
                Taken::Nothing | Taken::Loan(_) => continue,
            };
            self.shared.covered[n].store(upto, Ordering::Relaxed);
            if let Some(Opened { log_id, .. }) = stream.opened.as_ref().filter(|_| stream.frames.is_empty()) {
                self.shared.log_id.lock().unwrap_or_else(PoisonError::into_inner).clone_from(log_id);
            }
        }
    }
}

fn beginning(reader: &Reader) -> Start {
    match reader.begins {
        Beginning::Earliest => Start::Earliest,
        Beginning::Latest => Start::Latest,
        // The gateway counts whole milliseconds.
        Beginning::Ago(millis) => Start::ReceivedAt((now() / 1000 - millis as i64) * 1000),
    }
}

fn request(reader: &Reader, start: Start, log_id: &str) -> WatchCancelIntentsRequest {
    let at = match start {
        Start::Earliest => At::Earliest(true),
        Start::Latest => At::Latest(true),
        Start::After(seq) => At::AfterCursor(cursor(log_id, seq)),
        Start::ReceivedAt(time) => At::ReceivedAt(prost_types::Timestamp {
            seconds: time / 1_000_000,
            nanos: (time % 1_000_000) as i32 * 1000,
        }),
    };
    WatchCancelIntentsRequest {
        account: reader.account.to_owned(),
        start: Some(Position { at: Some(at) }),
        filter: reader.choice.to_pb(),
        limit: reader.limit,
        include_raw: reader.raw,
        heartbeat_interval: reader.heartbeat.map(|seconds| prost_types::Duration { seconds, nanos: 0 }),
    }
}

/// Names a position of this log.
pub(crate) fn cursor(log_id: &str, seq: u64) -> String {
    format!("{}.{seq}", log_id.get(..8).unwrap_or_default())
}
