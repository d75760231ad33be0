//! What everybody did and saw, and when: all that the checks know, besides the final state.

use order_gateway::pb::{self, DeliveryCause, FeedState, SettleOutcome};
use order_gateway::ports::clock::Clock;
use prost::Message as _;

use super::plan::{Reader, Webhook};

/// Microseconds since 1970. The gateway under test reads the same clock, so its times can be compared with these; what it
/// tells is cut to milliseconds.
pub(crate) type Micros = i64;

/// Now.
pub(crate) fn now() -> Micros {
    let since = Clock::system().now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    since.as_micros() as Micros
}

/// What the gateway tells as a time.
pub(crate) fn micros(time: Option<prost_types::Timestamp>) -> Micros {
    time.map_or(0, |time| time.seconds * 1_000_000 + Micros::from(time.nanos) / 1_000)
}

/// What the gateway tells as a span.
pub(crate) fn span(time: Option<prost_types::Duration>) -> Micros {
    time.map_or(0, |time| time.seconds * 1_000_000 + Micros::from(time.nanos) / 1_000)
}

/// Everything.
#[derive(Default)]
pub(crate) struct History {
    /// What was posted, with what was answered.
    pub webhooks: Vec<Posted>,
    /// Streams of those who keep their own place.
    pub watches: Vec<Stream<Watch>>,
    /// Streams of consumers.
    pub consumers: Vec<Stream<Consumer>>,
    /// What consumers said of deliveries.
    pub settles: Vec<Settle>,
    /// What operators did, and saw.
    pub operations: Vec<Operation>,
}

/// A webhook, and each time that it was posted.
#[derive(Clone)]
pub(crate) struct Posted {
    /// What it is.
    pub webhook: std::sync::Arc<Webhook>,
    /// Each time.
    pub posts: Vec<Post>,
}

/// One request to the receiver.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Post {
    /// Which of its bodies.
    pub body: usize,
    /// Before its first byte.
    pub begun: Micros,
    /// After the answer, or when it was given up.
    pub ended: Micros,
    /// None: the connection broke.
    pub status: Option<u16>,
    /// Of a 200: what it says of duplicates.
    pub duplicate: Option<bool>,
}

impl Post {
    /// Whether it was answered 2xx.
    pub(crate) fn is_acknowledged(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }
}

/// One stream, from the call to its end.
pub(crate) struct Stream<R> {
    /// Who asked, and for what.
    pub asked: R,
    /// When.
    pub requested: Micros,
    /// Its first frame.
    pub opened: Option<Opened>,
    /// All others.
    pub frames: Vec<(Micros, Frame)>,
    /// When its end was seen.
    pub ended: Micros,
    /// How.
    pub end: End,
}

impl<R> Stream<R> {
    /// A stream that was asked for just now.
    pub(crate) fn asked(asked: R) -> Self {
        let requested = now();
        Self { asked, requested, opened: None, frames: Vec::new(), ended: requested, end: End::HungUp }
    }

    /// When it is certain to have been open for the last time.
    pub(crate) fn last_seen(&self) -> Micros {
        let opened = self.opened.as_ref().map_or(self.requested, |opened| opened.at);
        self.frames.last().map_or(opened, |(at, _)| *at)
    }
}

/// Of a watch.
#[derive(Clone)]
pub(crate) struct Watch {
    /// The reader.
    pub reader: std::sync::Arc<Reader>,
    /// Where it asked to start.
    pub start: Start,
}

/// A place to start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Start {
    /// At the first event that is kept.
    Earliest,
    /// After the last.
    Latest,
    /// After this one.
    After(u64),
    /// At what was received then or later.
    ReceivedAt(Micros),
}

/// Of a consumer's stream.
#[derive(Clone)]
pub(crate) struct Consumer {
    /// Which subscription; counts the plan's.
    pub subscription: usize,
    /// How often the name was made again before.
    pub edition: usize,
    /// Which of its consumers.
    pub consumer: usize,
    /// What it asked for.
    pub reclaims: bool,
    /// What it asked for.
    pub releases: bool,
}

/// The first frame.
#[derive(Clone, Debug, Default)]
pub(crate) struct Opened {
    /// When it was read.
    pub at: Micros,
    /// Which log.
    pub log_id: String,
    /// After which event it begins.
    pub position: u64,
    /// Last event.
    pub head: u64,
    /// First event that is kept.
    pub first: u64,
    /// Longest silence.
    pub heartbeat: Micros,
    /// Length of a lease.
    pub lease: Micros,
    /// Of the subscription.
    pub generation: u64,
    /// Leases that the consumer has.
    pub held: Vec<Lease>,
}

/// Names one loan of one event. Ordered by generation, event and attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Lease {
    /// Of the subscription.
    pub generation: u64,
    /// The event.
    pub seq: u64,
    /// Counts its loans.
    pub attempt: u32,
}

impl Lease {
    /// Reads what the gateway calls a lease.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let (generation, rest) = text.strip_prefix('g')?.split_once(".s")?;
        let (seq, attempt) = rest.split_once(".a")?;
        Some(Self { generation: generation.parse().ok()?, seq: seq.parse().ok()?, attempt: attempt.parse().ok()? })
    }
}

impl std::fmt::Display for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "g{}.s{}.a{}", self.generation, self.seq, self.attempt)
    }
}

/// A frame after the first.
#[derive(Clone, Debug)]
pub(crate) enum Frame {
    /// Of a watch.
    Event(Content),
    /// Of a consumer's stream.
    Delivery {
        /// The event.
        content: Content,
        /// The loan.
        lease: Lease,
        /// Its end.
        expires: Micros,
        /// Why it comes.
        cause: DeliveryCause,
    },
    /// Nothing else was to tell.
    Heartbeat(Heartbeat),
    /// Something that must not come.
    Wrong(String),
}

/// What a frame says of an event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Content {
    /// Which.
    pub seq: u64,
    /// Of all of it but the body.
    pub digest: u64,
    /// Of the body, if it came.
    pub raw: Option<u64>,
}

impl Content {
    /// What is kept of an event.
    pub(crate) fn of(mut event: pb::Event) -> Self {
        let raw = std::mem::take(&mut event.raw_body);
        let raw = (!raw.is_empty()).then(|| digest(&raw));
        Self { seq: event.seq, digest: digest(&event.encode_to_vec()), raw }
    }
}

/// To compare bytes by, within a run.
pub(crate) fn digest(bytes: &[u8]) -> u64 {
    use std::hash::Hasher as _;
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

/// What a heartbeat says.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Heartbeat {
    /// Its cursor.
    pub cursor: u64,
    /// Last event.
    pub head: u64,
    /// Still to come.
    pub backlog: u64,
    /// Why nothing comes.
    pub state: FeedState,
}

/// How a stream ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum End {
    /// The client left.
    HungUp,
    /// With OK.
    Done,
    /// With a reason of the gateway's own.
    Refused(String),
    /// The connection broke, or there was none.
    Broken,
}

/// One call of SettleCancelIntents.
#[derive(Clone, Debug)]
pub(crate) struct Settle {
    /// Which subscription.
    pub subscription: usize,
    /// Which of that name.
    pub edition: usize,
    /// Before it was sent.
    pub begun: Micros,
    /// After the answer, or when it was given up.
    pub ended: Micros,
    /// In order.
    pub said: Vec<(Lease, Said)>,
    /// The answer, if there was one.
    pub told: Option<Settled>,
}

/// What a consumer says of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// Done.
    Ack,
    /// Again, after so many milliseconds or by the backoff.
    Retry(Option<u64>),
    /// Aside.
    Park,
    /// Longer.
    Extend,
    /// Given back.
    Release,
}

impl Said {
    /// Whether it ends the loan.
    pub(crate) fn ends(self) -> bool {
        self != Said::Extend
    }
}

/// What was answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settled {
    /// For each, and until when the lease is held after an extension.
    pub results: Vec<(SettleOutcome, Micros)>,
    /// A position.
    pub floor: u64,
}

/// One call of an operator.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    /// Which subscription.
    pub subscription: usize,
    /// Which of that name.
    pub edition: usize,
    /// Before it was sent.
    pub begun: Micros,
    /// After the answer, or when it was given up.
    pub ended: Micros,
    /// What.
    pub what: What,
    /// The subscription as it was answered; none: not answered.
    pub told: Option<State>,
}

/// What an operator does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum What {
    /// Makes it, starting after this position.
    Make(u64),
    /// Looks.
    Look,
    /// Nothing is to be given out.
    Pause,
    /// Goes on.
    Resume,
    /// Moves it after this position.
    Seek(u64),
    /// Gives these out again; none: all.
    Redrive(Option<Vec<u64>>),
    /// Deletes it.
    Delete,
}

/// A subscription as it was told.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct State {
    /// Counts seeks.
    pub generation: u64,
    /// A position.
    pub floor: u64,
    /// Not settled.
    pub backlog: u64,
    /// On lease.
    pub outstanding: u64,
    /// Parked.
    pub parked: u64,
    /// Whether events were lost.
    pub lost: bool,
}

/// A verdict took effect.
pub(crate) const APPLIED: SettleOutcome = SettleOutcome::Applied;

/// The position that a cursor names; none: it is of another log, or no cursor.
pub(crate) fn position(log_id: &str, cursor: &str) -> Option<u64> {
    let (log, seq) = cursor.split_once('.')?;
    (log_id.get(..8)? == log).then(|| seq.parse().ok())?
}

/// The position that a cursor names, whatever the log; 0 of what is no cursor.
pub(crate) fn seq_of(cursor: &str) -> u64 {
    cursor.split_once('.').and_then(|(_, seq)| seq.parse().ok()).unwrap_or_default()
}
