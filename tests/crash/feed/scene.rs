//! A small run of a subscription in which all is well, for the tests of the checks to change.

use order_gateway::pb::{self, DeliveryCause, SettleOutcome, SubscriptionMode};

use super::book::{Book, Ending, Subject};
use super::facts::Choice;
use super::history::{
    APPLIED, Consumer, Content, End, Frame, Heartbeat, Lease, Micros, Opened, Operation, Said, Settle, Settled, State,
    Stream, What,
};
use super::log::Log;
use super::plan::{Operators, Shared};

/// A millisecond.
pub(super) const MS: Micros = 1000;
/// How long a lease lasts.
pub(super) const LEASE: Micros = 5000 * MS;

/// Everything that a [`Subject`] is made of.
pub(super) struct Scene {
    pub(super) shared: Shared,
    pub(super) log: Log,
    pub(super) wanted: Vec<u64>,
    pub(super) streams: Vec<Stream<Consumer>>,
    pub(super) settles: Vec<Settle>,
    pub(super) operations: Vec<Operation>,
    pub(super) ending: Option<Ending>,
}

impl Scene {
    /// Events 1, 2 and 3 of order A, 4 of order B, 5 that nobody wants. Consumer 0 has one after the other:
    ///
    /// | event | |
    /// |---|---|
    /// | 1 | acknowledged at once |
    /// | 2 | tried again, then acknowledged |
    /// | 3 | comes after that and is parked |
    /// | 4 | acknowledged |
    pub(super) fn all_is_well() -> Self {
        let shared = Shared {
            name: "one",
            choice: Choice::default(),
            mode: SubscriptionMode::KeyOrdered,
            max_attempts: 0,
            consumers: 2,
            window: 10,
            operators: Operators::Look,
        };
        let event = |(seq, order): (u64, &str)| pb::Event {
            seq,
            raw_body: format!(
                r#"{{"source":{{"eventType":"INTENT_TO_CANCEL"}},"payload":{{"purchaseOrderId":"{order}"}}}}"#
            )
            .into_bytes(),
            ..Default::default()
        };
        let events = [(1, "A"), (2, "A"), (3, "A"), (4, "B"), (5, "C")].into_iter().map(event).collect();
        let mut scene = Self {
            shared,
            log: Log::new(events, Vec::new()).0,
            wanted: vec![1, 2, 3, 4],
            streams: vec![stream(0, 0), stream(1, 0)],
            settles: Vec::new(),
            operations: vec![operation(What::Make(0), 0, 1, 0)],
            ending: None,
        };
        scene.lend(0, 10, "g1.s1.a1", DeliveryCause::First);
        scene.lend(0, 10, "g1.s4.a1", DeliveryCause::First);
        scene.settle(20, &[("g1.s1.a1", Said::Ack, APPLIED), ("g1.s4.a1", Said::Ack, APPLIED)], 1);
        scene.lend(0, 30, "g1.s2.a1", DeliveryCause::First);
        scene.settle(40, &[("g1.s2.a1", Said::Retry(None), APPLIED)], 1);
        scene.lend(0, 100, "g1.s2.a2", DeliveryCause::Retry);
        scene.settle(110, &[("g1.s2.a2", Said::Ack, APPLIED)], 2);
        scene.lend(0, 120, "g1.s3.a1", DeliveryCause::First);
        scene.settle(130, &[("g1.s3.a1", Said::Park, APPLIED)], 5);
        scene.beat(0, 140, 5);
        scene.operations.push(operation(What::Look, 150, 1, 5));
        scene.ending = Some(Ending {
            state: State { generation: 1, floor: 5, parked: 1, ..State::default() },
            parked: [(3, 1)].into(),
            listed: 150 * MS,
        });
        scene
    }

    pub(super) fn subject(&self) -> Subject<'_> {
        Subject {
            shared: &self.shared,
            log: &self.log,
            wanted: &self.wanted,
            streams: self.streams.iter().collect(),
            settles: self.settles.iter().collect(),
            operations: self.operations.iter().collect(),
            ending: self.ending.clone(),
        }
    }

    /// A consumer receives a lease, given in the same millisecond.
    pub(super) fn lend(&mut self, consumer: usize, at: Micros, lease: &str, cause: DeliveryCause) {
        let lease = Lease::read(lease).unwrap();
        let content = self.log.get(lease.seq).and_then(|entry| entry.content).unwrap();
        let frame = Frame::Delivery { content, lease, expires: at * MS + LEASE, cause };
        self.streams[consumer].frames.push((at * MS, frame));
        self.streams[consumer].frames.sort_by_key(|(at, _)| *at);
    }

    /// Takes back what was lent.
    pub(super) fn unlend(&mut self, lease: &str) {
        let gone = Lease::read(lease).unwrap();
        for stream in &mut self.streams {
            stream.frames.retain(|(_, frame)| !matches!(frame, Frame::Delivery { lease, .. } if *lease == gone));
        }
    }

    /// Verdicts, answered two milliseconds later.
    pub(super) fn settle(&mut self, at: Micros, said: &[(&str, Said, SettleOutcome)], floor: u64) {
        let results = said.iter().map(|(_, _, outcome)| (*outcome, 0)).collect();
        self.settles.push(Settle {
            subscription: 0,
            edition: 0,
            begun: at * MS,
            ended: (at + 2) * MS,
            said: said.iter().map(|(lease, said, _)| (Lease::read(lease).unwrap(), *said)).collect(),
            told: Some(Settled { results, floor }),
        });
    }

    /// The call in which this lease was settled.
    pub(super) fn settle_of(&mut self, lease: &str) -> &mut Settle {
        let lease = Lease::read(lease).unwrap();
        self.settles.iter_mut().find(|settle| settle.said.iter().any(|(of, _)| *of == lease)).unwrap()
    }

    /// A heartbeat.
    pub(super) fn beat(&mut self, consumer: usize, at: Micros, floor: u64) {
        let heartbeat = Heartbeat { cursor: floor, head: 5, ..Heartbeat::default() };
        self.streams[consumer].frames.push((at * MS, Frame::Heartbeat(heartbeat)));
    }

    /// An operator's call, answered two milliseconds later.
    pub(super) fn operate(&mut self, what: What, at: Micros, generation: u64, floor: u64) {
        self.operations.push(operation(what, at, generation, floor));
        self.operations.sort_by_key(|operation| operation.begun);
    }

    pub(super) fn state(&mut self) -> &mut State {
        &mut self.ending.as_mut().unwrap().state
    }
}

fn stream(consumer: usize, generation: u64) -> Stream<Consumer> {
    let opened =
        Opened { at: MS, generation: generation + 1, lease: LEASE, heartbeat: 1_000_000 * MS, ..Opened::default() };
    Stream {
        asked: Consumer { subscription: 0, edition: 0, consumer, reclaims: false, releases: false },
        requested: 0,
        opened: Some(opened),
        frames: Vec::new(),
        ended: 10_000_000 * MS,
        end: End::HungUp,
    }
}

fn operation(what: What, at: Micros, generation: u64, floor: u64) -> Operation {
    let told = Some(State { generation, floor, ..State::default() });
    Operation { subscription: 0, edition: 0, begun: at * MS, ended: (at + 2) * MS, what, told }
}

/// What a frame says of an event that is another one than in the log.
pub(super) fn another(content: Content) -> Content {
    Content { digest: content.digest + 1, ..content }
}

/// A check under test: `violations` of its file.
pub(super) struct Check(pub(super) fn(&Subject<'_>, &Book) -> Vec<String>);

impl Check {
    /// What it finds.
    pub(super) fn found(&self, change: impl FnOnce(&mut Scene)) -> Vec<String> {
        let mut scene = Scene::all_is_well();
        change(&mut scene);
        let subject = scene.subject();
        let (book, mut found) = Book::new(&subject);
        found.extend((self.0)(&subject, &book));
        found
    }

    /// It finds what was changed.
    #[track_caller]
    pub(super) fn sees(&self, expected: &str, change: impl FnOnce(&mut Scene)) {
        let found = self.found(change);
        assert!(found.iter().any(|line| line.contains(expected)), "{expected} is not in {found:#?}");
    }

    /// It finds nothing.
    #[track_caller]
    pub(super) fn allows(&self, change: impl FnOnce(&mut Scene)) {
        assert_eq!(self.found(change), Vec::<String>::new());
    }
}
