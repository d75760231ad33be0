//! A stream for a reader that keeps its own place.
//!
//! One piece of code makes events and bookmarks, so a bookmark is never ahead of the events: it is the position up to which
//! everything was handed over.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::error::{Ended, FeedError};
use super::reader::Tip;
use super::request::WatchRequest;
use super::{BLOCKED, Feed, FeedStore, StreamPlace, duration, places, timestamp};
use crate::domain::feed::{FeedName, Filter, LogId};
use crate::domain::rules::Path;
use crate::pb;
use crate::ports::call::CallContext;
use crate::service::ServiceError;

/// What a watch sends.
#[derive(Debug)]
pub enum WatchFrame {
    /// First.
    Opened(pb::Opened),
    /// Events, one or more, as the edge's `Encode` wrote them. Shared with other streams.
    Events(Bytes),
    /// Nothing else was to tell.
    Heartbeat(pb::Heartbeat),
}

/// The stream. It reads when it is asked for the next frame, and keeps nothing in between.
pub struct Watch<F> {
    feed: Feed<F>,
    name: FeedName,
    tip: watch::Receiver<Tip>,
    log: LogId,
    /// Every matching event up to here was handed over.
    position: u64,
    /// `None`: every event.
    filter: Option<Filter>,
    /// Events until the end.
    left: u64,
    raw: bool,
    interval: Duration,
    /// When silence has lasted long enough.
    due: Instant,
    /// Goes off at `due` or before: it is set anew only then, because most frames come before it.
    alarm: Pin<Box<Sleep>>,
    /// Kept, as is the alarm, because to wait for them anew with each event costs as much as to send it.
    stopping: Pin<Box<WaitForCancellationFutureOwned>>,
    /// When the last frame was taken.
    taken: Instant,
    opened: Option<pb::Opened>,
    ended: bool,
    _place: StreamPlace,
}

impl<F: FeedStore> Feed<F> {
    /// Opens a watch.
    ///
    /// # Errors
    /// A request with faults, an account that may not be seen, a place that is not in the log, too many streams, a store that
    /// fails.
    pub async fn watch<'a>(
        &self,
        request: impl Into<WatchRequest<'a>>,
        call: &CallContext,
    ) -> Result<Watch<F>, ServiceError> {
        let request: WatchRequest<'_> = request.into();
        let feed = request.feed;
        let filter = self.scope(request.account, request.filter, call)?;
        let interval = self.heartbeat(request.heartbeat_interval)?;
        let place = self.place(feed)?;
        // Before the bounds are read: the stream must not wait for an event that they have.
        let tip = self.reader(feed).tip();
        let bounds = self.log(feed).bounds().await?;
        let position = places::resolve(self.log(feed), bounds, request.start, &Path::Top("start")).await?;
        let opened = pb::Opened {
            log_id: bounds.log.to_string(),
            position: bounds.log.cursor(position).to_string(),
            head: bounds.head,
            first_available: bounds.first,
            heartbeat_interval: duration(interval),
            ..Default::default()
        };
        let now = Instant::now();
        Ok(Watch {
            feed: self.clone(),
            name: feed,
            tip,
            log: bounds.log,
            position,
            filter: (!filter.is_all()).then_some(filter),
            left: if request.limit == 0 { u64::MAX } else { request.limit },
            raw: request.include_raw,
            interval,
            due: now + interval,
            alarm: Box::pin(sleep_until(now + interval)),
            stopping: Box::pin(self.0.parts.stopping.clone().cancelled_owned()),
            taken: now,
            opened: Some(opened),
            ended: false,
            _place: place,
        })
    }
}

impl<F: FeedStore> Watch<F> {
    /// The next frame; nothing after the end, or once `limit` events were sent.
    pub async fn next(&mut self) -> Option<Result<WatchFrame, Ended>> {
        if self.ended {
            return None;
        }
        let frame = self.frame().await;
        self.taken = Instant::now();
        self.due = self.taken + self.interval;
        self.ended = !matches!(frame, Ok(Some(_)));
        match frame {
            Ok(frame) => frame.map(Ok),
            Err(error) => Some(Err(Ended { error, last: Some(self.log.cursor(self.position)) })),
        }
    }

    async fn frame(&mut self) -> Result<Option<WatchFrame>, FeedError> {
        if let Some(opened) = self.opened.take() {
            return Ok(Some(WatchFrame::Opened(opened)));
        }
        if self.left == 0 {
            return Ok(None);
        }
        // Nobody asked in between: what was handed over could not leave.
        if self.taken.elapsed() > BLOCKED {
            self.feed.0.parts.metrics.slow_consumers.inc();
            return Err(FeedError::SlowConsumer);
        }
        loop {
            // A stream that always has more must come to its end, too.
            if self.feed.0.parts.stopping.is_cancelled() {
                return Err(FeedError::ShuttingDown);
            }
            let tip = self.tip.borrow_and_update().clone();
            if self.position < tip.head {
                let block = match tip.block(self.position, self.raw) {
                    Some(block) => block,
                    None => tokio::select! {
                        biased;
                        () = &mut self.stopping => return Err(FeedError::ShuttingDown),
                        // In a box, so that those at the end of the log do not carry it from frame to frame.
                        block = Box::pin(self.feed.reader(self.name).block(self.position, &tip, self.raw)) => block?,
                        // The store is slow, which is no reason to be silent.
                        () = sleep_until(self.due) => return Ok(Some(WatchFrame::Heartbeat(self.heartbeat()))),
                    },
                };
                let (frames, count, last) = match &self.filter {
                    None => block.all_after(self.position, self.left),
                    Some(filter) => block.some_after(self.position, self.left, filter),
                };
                self.position = last;
                if count > 0 {
                    self.left -= count;
                    self.feed.0.parts.metrics.of(self.name).watched.inc_by(count);
                    return Ok(Some(WatchFrame::Events(frames)));
                }
                // Others have their turn, however much of the log does not match.
                tokio::task::consume_budget().await;
                if Instant::now() < self.due {
                    continue;
                }
            } else {
                tokio::select! {
                    biased;
                    () = &mut self.stopping => return Err(FeedError::ShuttingDown),
                    changed = self.tip.changed() => {
                        changed.map_err(|_| FeedError::ShuttingDown)?;
                        continue;
                    }
                    () = &mut self.alarm => {
                        if Instant::now() < self.due {
                            self.alarm.as_mut().reset(self.due);
                            continue;
                        }
                    }
                }
            }
            return Ok(Some(WatchFrame::Heartbeat(self.heartbeat())));
        }
    }

    fn heartbeat(&self) -> pb::Heartbeat {
        let head = self.tip.borrow().head.max(self.position);
        let state = if self.position < head { pb::FeedState::CatchingUp } else { pb::FeedState::Live };
        pb::Heartbeat {
            server_time: timestamp(self.feed.now()),
            cursor: self.log.cursor(self.position).to_string(),
            head,
            backlog: head - self.position,
            state: state.into(),
            ..Default::default()
        }
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
