//! Consumers of the subscriptions: they take what they are given and settle it, mostly well, and sometimes late, twice, with
//! another's lease or not at all; they crash and come back.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use order_gateway::pb::{self, Feed, SubscribeCancelIntentsRequest, SubscriptionMode};
use order_gateway::ports::random::Random;
use tokio::sync::RwLock;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use super::client::FeedClient;
use super::frames::{self, Taken};
use super::history::{Consumer, End, Lease, Said, Settle, Settled, Stream, micros, now, seq_of};
use super::leases_check::MADE_UP;
use super::plan::{Crowd, Shared};
use crate::schedule::Dice;

/// A stream that has not begun, or a verdict that was not answered, by then is given up.
const CALL_LIMIT: Duration = Duration::from_secs(5);
/// Verdicts that are sent together at most.
const BATCH: usize = 50;
/// Between two tries of the same call.
const PAUSE: Duration = Duration::from_millis(60);

/// All consumers of a run.
#[derive(Clone)]
pub(crate) struct Consumers {
    shared: Arc<Everybody>,
}

struct Everybody {
    channels: Vec<Channel>,
    feed: Feed,
    seed: u64,
    subscriptions: Vec<Arc<Shared>>,
    /// For each, how often its name was made again. Held while a stream is opened or a verdict sent, so that it is certain
    /// which of them was meant.
    editions: Vec<RwLock<usize>>,
    /// From now on everything is acknowledged at once.
    finishing: AtomicBool,
    streams: Mutex<Vec<Stream<Consumer>>>,
    settles: Mutex<Vec<Settle>>,
    wrong: Mutex<Vec<String>>,
    end: CancellationToken,
}

/// What a consumer has in mind; gone when it crashes.
#[derive(Default)]
struct Memory {
    edition: usize,
    /// Verdicts that will be sent, by their time.
    due: BTreeMap<(Instant, u64), (Lease, Said)>,
    count: u64,
}

/// What happens next on a stream.
enum Next {
    Frame(Result<Option<Box<pb::SubscribeCancelIntentsResponse>>, tonic::Status>),
    Due,
    Leave,
}

impl Consumers {
    /// Consumers that go over these connections.
    pub(crate) fn new(channels: Vec<Channel>, seed: u64, crowd: &Crowd, end: CancellationToken) -> Self {
        let Crowd { feed, subscriptions, .. } = crowd;
        let shared = Everybody {
            channels,
            feed: *feed,
            seed,
            subscriptions: subscriptions.clone(),
            editions: subscriptions.iter().map(|_| RwLock::new(0)).collect(),
            finishing: AtomicBool::new(false),
            streams: Mutex::default(),
            settles: Mutex::default(),
            wrong: Mutex::default(),
            end,
        };
        Self { shared: Arc::new(shared) }
    }

    /// From now on everything is acknowledged at once.
    pub(crate) fn finish(&self) {
        self.shared.finishing.store(true, Ordering::Relaxed);
    }

    /// How often the name of a subscription was made again; for whoever does that.
    pub(crate) fn edition(&self, subscription: usize) -> &RwLock<usize> {
        &self.shared.editions[subscription]
    }

    /// Streams that have ended, verdicts, and what was answered that must not be. Empties all.
    pub(crate) fn take(&self) -> (Vec<Stream<Consumer>>, Vec<Settle>, Vec<String>) {
        fn taken<T>(from: &Mutex<Vec<T>>) -> Vec<T> {
            std::mem::take(&mut *from.lock().unwrap_or_else(PoisonError::into_inner))
        }
        (taken(&self.shared.streams), taken(&self.shared.settles), taken(&self.shared.wrong))
    }

    /// Works until the run ends.
    pub(crate) async fn work(self, subscription: usize, consumer: usize) {
        let seed = self.shared.seed ^ ((subscription * 64 + consumer + 1) as u64) << 40;
        let dice = Dice(Random::from_seed(seed));
        let mut memory = Memory::default();
        let mut calls = JoinSet::new();
        while !self.shared.end.is_cancelled() {
            let stream = self.stream(subscription, consumer, &mut memory, &mut calls, &dice).await;
            self.shared.streams.lock().unwrap_or_else(PoisonError::into_inner).push(stream);
            if !self.finishing() && dice.share(0.3) {
                memory.due.clear();
            }
            while calls.try_join_next().is_some() {}
            self.shared.end.run_until_cancelled(sleep(dice.millis(1, 120))).await;
        }
        while calls.join_next().await.is_some() {}
    }

    fn finishing(&self) -> bool {
        self.shared.finishing.load(Ordering::Relaxed)
    }

    async fn stream(
        &self,
        subscription: usize,
        consumer: usize,
        memory: &mut Memory,
        calls: &mut JoinSet<()>,
        dice: &Dice,
    ) -> Stream<Consumer> {
        let shared = self.shared.subscriptions[subscription].clone();
        let edition = self.shared.editions[subscription].read().await;
        if *edition != memory.edition {
            *memory = Memory { edition: *edition, ..Memory::default() };
        }
        let reclaims = memory.due.is_empty() && dice.share(0.5);
        let releases = dice.share(0.2);
        let mut stream = Stream::asked(Consumer { subscription, edition: *edition, consumer, reclaims, releases });
        let request = SubscribeCancelIntentsRequest {
            subscription: shared.name.to_owned(),
            consumer_id: format!("consumer-{consumer}"),
            max_outstanding_events: Some(shared.window),
            heartbeat_interval: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
            reclaim: reclaims,
            release_on_disconnect: releases,
            include_raw: consumer == 0,
            ..Default::default()
        };
        let opened = timeout(CALL_LIMIT, self.client(subscription, consumer).subscribe(request)).await;
        drop(edition);
        stream.end = match opened {
            Ok(Ok(frames)) => {
                let leave = Instant::now() + dice.millis(200, 6000);
                self.follow(&shared, &mut stream, frames, leave, memory, calls, dice).await
            }
            Ok(Err(status)) => frames::end(&status),
            Err(_) => End::HungUp,
        };
        stream.ended = now();
        stream
    }

    #[expect(clippy::too_many_arguments, reason = "what belongs to the consumer and what belongs to the stream")]
    async fn follow(
        &self,
        shared: &Shared,
        stream: &mut Stream<Consumer>,
        mut frames: tonic::Streaming<pb::SubscribeCancelIntentsResponse>,
        leave: Instant,
        memory: &mut Memory,
        calls: &mut JoinSet<()>,
        dice: &Dice,
    ) -> End {
        let far = Instant::now() + Duration::from_secs(86_400);
        loop {
            let due = memory.due.first_key_value().map_or(far, |((time, _), _)| *time);
            let leave = if self.finishing() { far } else { leave };
            let next = tokio::select! {
                biased;
                () = self.shared.end.cancelled() => return End::HungUp,
                () = sleep_until(leave) => Next::Leave,
                () = sleep_until(due) => Next::Due,
                frame = frames.message() => Next::Frame(frame.map(|frame| frame.map(Box::new))),
            };
            match next {
                Next::Leave => return End::HungUp,
                Next::Due => self.send_what_is_due(stream.asked.subscription, stream.asked.consumer, memory, calls),
                Next::Frame(Ok(None)) => return End::Done,
                Next::Frame(Err(status)) => return frames::end(&status),
                Next::Frame(Ok(Some(frame))) => {
                    if let Taken::Loan(lease) = frames::subscribe(stream, *frame) {
                        for (after, lease, said) in self.decide(shared, lease, dice) {
                            memory.count += 1;
                            memory.due.insert((Instant::now() + after, memory.count), (lease, said));
                        }
                    }
                }
            }
        }
    }

    /// What a consumer will say of a loan, and when.
    fn decide(&self, shared: &Shared, lease: Lease, dice: &Dice) -> Vec<(Duration, Lease, Said)> {
        let soon = dice.millis(1, 40);
        let later = soon + dice.millis(30, 200);
        if self.finishing() {
            return vec![(soon, lease, Said::Ack)];
        }
        let made_up = Lease { attempt: lease.attempt + MADE_UP, ..lease };
        let earlier = Lease { attempt: lease.attempt.saturating_sub(1).max(1), ..lease };
        // Who holds up many others forgets less often.
        let careful = shared.mode == SubscriptionMode::Exclusive || shared.window < 10;
        let slow = if careful { 0.002 } else { 0.02 };
        match dice.0.fraction() {
            x if x < slow / 2.0 => Vec::new(),
            x if x < slow => vec![(dice.millis(5100, 6500), lease, Said::Ack)],
            x if x < 0.05 => vec![(soon, lease, Said::Retry(dice.share(0.7).then(|| dice.up_to(300))))],
            x if x < 0.07 => vec![(soon, lease, Said::Park)],
            x if x < 0.10 => vec![(soon, lease, Said::Release)],
            x if x < 0.13 => vec![(soon, lease, Said::Extend), (later + dice.millis(1, 500), lease, Said::Ack)],
            x if x < 0.16 => vec![(soon, lease, Said::Ack), (later, lease, Said::Ack)],
            x if x < 0.18 => vec![(soon, lease, Said::Ack), (later, lease, Said::Park)],
            x if x < 0.20 => vec![(soon, lease, Said::Retry(Some(100))), (later, lease, Said::Ack)],
            x if x < 0.22 => vec![(soon, made_up, Said::Ack), (later, lease, Said::Ack)],
            // With the lease of whoever had it before.
            x if x < 0.50 && lease.attempt > 1 => vec![(soon, earlier, Said::Ack), (later, lease, Said::Ack)],
            _ => vec![(soon, lease, Said::Ack)],
        }
    }

    fn send_what_is_due(&self, subscription: usize, consumer: usize, memory: &mut Memory, calls: &mut JoinSet<()>) {
        // What is due a little later goes with it.
        let until = Instant::now() + Duration::from_millis(10);
        let mut said = Vec::new();
        while let Some(entry) = memory.due.first_entry().filter(|entry| entry.key().0 <= until && said.len() < BATCH) {
            said.push(entry.remove());
        }
        let (all, edition) = (self.clone(), memory.edition);
        calls.spawn(async move { all.settle_until_answered(subscription, consumer, edition, said).await });
    }

    /// A call that was sent stays on its way, also when its consumer crashes.
    async fn settle_until_answered(
        &self,
        subscription: usize,
        consumer: usize,
        edition: usize,
        said: Vec<(Lease, Said)>,
    ) {
        loop {
            let current = self.shared.editions[subscription].read().await;
            if *current != edition {
                return;
            }
            let settle = self.settle(subscription, consumer, edition, said.clone()).await;
            drop(current);
            let answered = settle.told.is_some();
            self.shared.settles.lock().unwrap_or_else(PoisonError::into_inner).push(settle);
            if answered || self.shared.end.run_until_cancelled(sleep(PAUSE)).await.is_none() {
                return;
            }
        }
    }

    async fn settle(&self, subscription: usize, consumer: usize, edition: usize, said: Vec<(Lease, Said)>) -> Settle {
        let name = self.shared.subscriptions[subscription].name;
        let verdicts = said.iter().map(|(lease, said)| verdict(*lease, *said)).collect();
        let request = pb::SettleCancelIntentsRequest { subscription: name.to_owned(), verdicts };
        let begun = now();
        let answer = timeout(CALL_LIMIT, self.client(subscription, consumer).settle(request)).await;
        let ended = now();
        let told = match answer {
            Ok(Ok(answer)) => Some(self.told(name, &said, answer)),
            Ok(Err(status)) if frames::is_final(&status) => {
                self.wrong(format!("{name}/{edition}: I12: a settle was answered {status}"));
                None
            }
            _ => None,
        };
        Settle { subscription, edition, begun, ended, said, told }
    }

    fn told(&self, name: &str, said: &[(Lease, Said)], answer: pb::SettleCancelIntentsResponse) -> Settled {
        let named = answer.results.iter().map(|result| Lease::read(&result.lease));
        if !named.eq(said.iter().map(|(lease, _)| Some(*lease))) {
            self.wrong(format!("{name}: I12: the results are not those of the verdicts"));
        }
        let results = answer.results.iter().map(|result| (result.outcome(), micros(result.lease_expires_at))).collect();
        Settled { results, floor: seq_of(&answer.floor) }
    }

    fn wrong(&self, what: String) {
        self.shared.wrong.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }

    fn client(&self, subscription: usize, consumer: usize) -> FeedClient {
        let n = (subscription * 4 + consumer) % self.shared.channels.len();
        FeedClient::new(self.shared.channels[n].clone(), self.shared.feed)
    }
}

fn verdict(lease: Lease, said: Said) -> pb::Verdict {
    use pb::verdict::Verdict;
    let verdict = match said {
        Said::Ack => Verdict::Ack(pb::Ack {}),
        Said::Retry(millis) => Verdict::Retry(pb::Retry {
            delay: millis.map(|millis| prost_types::Duration { seconds: 0, nanos: millis as i32 * 1_000_000 }),
            reason: "busy".to_owned(),
        }),
        Said::Park => Verdict::Park(pb::Park { reason: "odd".to_owned() }),
        Said::Extend => Verdict::Extend(pb::Extend { by: Some(prost_types::Duration { seconds: 6, nanos: 0 }) }),
        Said::Release => Verdict::Release(pb::Release {}),
    };
    pb::Verdict { lease: lease.to_string(), verdict: Some(verdict) }
}
