//! The stream of one consumer of a subscription.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::block::message;
use super::dispatch::ON_THE_WAY;
use super::members::{AutoExtend, LeasedEvent, StreamConsumer, StreamMembership};
use super::reader::LogTip;
use super::request::SubscribeRequest;
use super::{BLOCKED, Feed, FeedStore, StreamPermit, duration, invalid, out_of_bounds, timestamp};
use crate::crash_point::{self, CrashPoint};
use crate::domain::feed::subscription::{DeliveryCause, HeldLeases, Subscription, SubscriptionHead};
use crate::domain::feed::{LogId, span};
use crate::domain::moment::SteadyTime;
use crate::domain::rules::{FieldFaults, FieldPath};
use crate::pb;
use crate::ports::call::CallContext;
use crate::service::ServiceError;
use crate::service::feed_error::{FaultKind, FeedError, StreamEnd};

/// Allowed numbers of unsettled events of a consumer, and the default.
const EVENTS: (std::ops::RangeInclusive<u32>, u32) = (1..=10_000, 100);
/// Allowed bytes of unsettled events of a consumer, and the default.
const BYTES: (std::ops::RangeInclusive<u64>, u64) = (64 * 1024..=256 * 1024 * 1024, 8 * 1024 * 1024);
/// Allowed limits for automatic extension of a lease, and the default.
const KEPT: (std::ops::RangeInclusive<Duration>, Duration) =
    (Duration::from_secs(5)..=Duration::from_hours(24), Duration::from_hours(1));
/// Longest consumer id in characters.
const LONGEST_ID: usize = 128;

/// A frame of a consumer's stream.
#[derive(Debug)]
pub enum ConsumerFrame {
    /// The first frame of the stream.
    Opened(pb::Opened),
    /// An event with its lease.
    Delivery(LeasedDelivery),
    /// A frame sent when no event was due.
    Heartbeat(pb::Heartbeat),
}

/// A leased event in its stored form.
#[derive(Debug)]
pub struct LeasedDelivery {
    log: LogId,
    lent: LeasedEvent,
}

/// The stream of a consumer. Leases outlive the stream, unless the consumer asked for their release.
pub struct ConsumerStream<F> {
    feed: Feed<F>,
    log: LogId,
    number: u64,
    membership: StreamMembership,
    loans: mpsc::Receiver<LeasedEvent>,
    end: oneshot::Receiver<FeedError>,
    tip: watch::Receiver<LogTip>,
    /// The subscription's floor, until the first status arrives.
    floor: u64,
    interval: Duration,
    due: Instant,
    /// Time at which the last frame was taken.
    taken: Instant,
    opened: Option<pb::Opened>,
    ended: bool,
    _place: StreamPermit,
}

impl<F: FeedStore> Feed<F> {
    /// Opens the stream of a consumer.
    ///
    /// # Errors
    /// The request has faults, the subscription is missing or differs from the requested one, an account is invisible
    /// to the caller, unsettled events were trimmed, too many streams are open, or the store fails.
    pub async fn subscribe<'a>(
        &self,
        request: impl Into<SubscribeRequest<'a>>,
        call: &CallContext,
    ) -> Result<ConsumerStream<F>, ServiceError> {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let request: SubscribeRequest<'_> = request.into();
        let feed = request.feed;
        let interval = self.heartbeat(request.heartbeat_interval)?;
        let (max_events, max_bytes) = window(&request)?;
        let id: Arc<str> = consumer_id(request.consumer_id)?.into();
        let keeps = keeping(&request)?;
        let place = self.place(feed)?;
        let name = request.subscription;
        self.require(feed, name, request.create_if_missing, call).await?;
        let tip = self.reader(feed).tip();
        // The bounds are read before the subscription: the floor rises, and events below the floor may be trimmed
        // between the two reads.
        let bounds = self.log(feed).bounds().await?;
        let who = id.clone();
        let begin = move |it: &mut Subscription| (it.head().clone(), it.held(&who));
        let (head, held) = self.allowed_of(feed, name, call, begin).await?;
        let reclaim = request.reclaim;
        // Reclaimed leases are delivered at once and need places in the channel.
        let (held, places) =
            if reclaim { (HeldLeases::default(), held.leases.len().max(ON_THE_WAY)) } else { (held, ON_THE_WAY) };
        if head.floor.saturating_add(1) < bounds.first {
            return Err(FeedError::EventsExpired { first: bounds.first, lost_from: head.floor + 1 }.into());
        }
        let opened = opened(&head, &held, bounds.log, bounds.first, bounds.head.max(head.floor), interval);
        let (out, loans) = mpsc::channel(places.min(max_events));
        let (end, ended) = oneshot::channel();
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let (raw, release) = (request.include_raw, request.release_on_disconnect);
        let consumer = StreamConsumer { id, max_events, max_bytes, raw, reclaim, release, keeps, out, end, number };
        let membership = self.join(&head, consumer);
        let now = Instant::now();
        Ok(ConsumerStream {
            feed: self.clone(),
            log: bounds.log,
            number,
            membership,
            loans,
            end: ended,
            tip,
            floor: head.floor,
            interval,
            due: now + interval,
            taken: now,
            opened: Some(opened),
            ended: false,
            _place: place,
        })
    }
}

fn opened(
    head: &SubscriptionHead,
    held: &HeldLeases,
    log: LogId,
    first: u64,
    last: u64,
    interval: Duration,
) -> pb::Opened {
    pb::Opened {
        log_id: log.to_string(),
        position: log.cursor(head.floor).to_string(),
        head: last,
        first_available: first,
        heartbeat_interval: duration(interval),
        lease_duration: duration(head.config.lease_duration),
        generation: head.generation,
        held_leases: held.leases.iter().map(ToString::to_string).collect(),
    }
}

fn window(request: &SubscribeRequest<'_>) -> Result<(usize, u64), ServiceError> {
    let mut faults = FieldFaults::default();
    let events = request.max_outstanding_events.unwrap_or(EVENTS.1);
    if !EVENTS.0.contains(&events) {
        faults.add(&FieldPath::Top("max_outstanding_events"), "must be 1 to 10000");
    }
    let bytes = request.max_outstanding_bytes.unwrap_or(BYTES.1);
    if !BYTES.0.contains(&bytes) {
        faults.add(&FieldPath::Top("max_outstanding_bytes"), "must be 64 KiB to 256 MiB");
    }
    faults.into_result().map_err(|faults| FeedError::Faulty(FaultKind::Bounds, faults))?;
    Ok((events as usize, bytes))
}

/// Leases already held by the consumer are due for a check at once.
fn keeping(request: &SubscribeRequest<'_>) -> Result<Option<AutoExtend>, ServiceError> {
    let at = FieldPath::Top("auto_extend_limit");
    let most = match request.auto_extend_limit {
        None => KEPT.1,
        Some(_) if !request.auto_extend => return Err(invalid(&at, "needs auto_extend")),
        Some(limit) => {
            let limit = span(limit).filter(|limit| KEPT.0.contains(limit));
            limit.ok_or_else(|| out_of_bounds(&at, "must be 5 s to 24 h"))?
        }
    };
    Ok(request.auto_extend.then_some(AutoExtend { most, due: Some(SteadyTime(0)) }))
}

fn consumer_id(id: &str) -> Result<&str, ServiceError> {
    if (1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(id);
    }
    Err(invalid(&FieldPath::Top("consumer_id"), "must be 1 to 128 visible ASCII characters"))
}

impl<F: FeedStore> ConsumerStream<F> {
    /// Waits for the next frame. Returns `None` after the end of the stream.
    pub async fn next(&mut self) -> Option<Result<ConsumerFrame, StreamEnd>> {
        if self.ended {
            return None;
        }
        let frame = self.frame().await;
        self.taken = Instant::now();
        self.due = self.taken + self.interval;
        Some(frame.map_err(|error| {
            self.ended = true;
            let floor = self.membership.status().as_ref().map_or(self.floor, |status| status.floor);
            StreamEnd { error, last: Some(self.log.cursor(floor)) }
        }))
    }

    async fn frame(&mut self) -> Result<ConsumerFrame, FeedError> {
        if let Some(opened) = self.opened.take() {
            return Ok(ConsumerFrame::Opened(opened));
        }
        if self.taken.elapsed() > BLOCKED {
            self.feed.0.parts.metrics.slow_consumers.inc();
            return Err(FeedError::SlowConsumer);
        }
        let stopping = self.feed.0.parts.stopping.clone();
        loop {
            tokio::select! {
                biased;
                () = stopping.cancelled() => return Err(FeedError::ShuttingDown),
                // A dispatcher that drops the channel without a reason has panicked.
                why = &mut self.end => return Err(why.unwrap_or(FeedError::Store)),
                lent = self.loans.recv() => {
                    let Some(lent) = lent else { continue };
                    if self.loans.len().is_multiple_of(ON_THE_WAY / 2) {
                        self.membership.look();
                    }
                    // The lease has expired in the channel, and the event may already belong to a different consumer.
                    if lent.until.steady <= self.feed.moment().steady {
                        continue;
                    }
                    crash_point::reach(CrashPoint::F2);
                    return Ok(ConsumerFrame::Delivery(LeasedDelivery { log: self.log, lent }));
                }
                () = sleep_until(self.due) => return Ok(ConsumerFrame::Heartbeat(self.heartbeat())),
            }
        }
    }

    fn heartbeat(&mut self) -> pb::Heartbeat {
        let head = self.tip.borrow_and_update().head;
        let now = self.feed.now();
        let beat = pb::Heartbeat { server_time: timestamp(now), head, ..Default::default() };
        match &*self.membership.status() {
            Some(status) => pb::Heartbeat {
                cursor: self.log.cursor(status.floor).to_string(),
                backlog: head.saturating_sub(status.scanned) + status.unsettled,
                outstanding: status.outstanding,
                parked: status.parked,
                oldest_unsettled_age: status.oldest.and_then(|oldest| duration(now.since(oldest))),
                state: status.state(self.number, head).into(),
                ..beat
            },
            // The dispatcher has no status yet, because the store is slow.
            None => pb::Heartbeat {
                cursor: self.log.cursor(self.floor).to_string(),
                backlog: head.saturating_sub(self.floor),
                state: pb::FeedState::CatchingUp.into(),
                ..beat
            },
        }
    }
}

impl LeasedDelivery {
    fn cause(&self) -> i32 {
        let cause = match self.lent.cause {
            DeliveryCause::First => pb::DeliveryCause::First,
            DeliveryCause::LeaseExpired => pb::DeliveryCause::LeaseExpired,
            DeliveryCause::Retry => pb::DeliveryCause::Retry,
            DeliveryCause::Reclaimed => pb::DeliveryCause::Reclaimed,
            DeliveryCause::Redriven => pb::DeliveryCause::Redriven,
        };
        cause.into()
    }
}

impl From<LeasedDelivery> for pb::Delivery {
    fn from(it: LeasedDelivery) -> Self {
        Self {
            event: Some(message(it.log, &it.lent.event)),
            lease: it.lent.lease.to_string(),
            attempt: it.lent.lease.attempt,
            lease_expires_at: timestamp(it.lent.until.wall),
            cause: it.cause(),
        }
    }
}

impl From<LeasedDelivery> for pb::OrderUpdateDelivery {
    fn from(it: LeasedDelivery) -> Self {
        Self {
            update: Some(message(it.log, &it.lent.event)),
            lease: it.lent.lease.to_string(),
            attempt: it.lent.lease.attempt,
            lease_expires_at: timestamp(it.lent.until.wall),
            cause: it.cause(),
        }
    }
}
