//! A stream for a reader that keeps its own position.
//!
//! Events and heartbeat cursors come from the same place in the code; a cursor is therefore never ahead of the events:
//! it is the position up to which all matches were sent.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::reader::LogTip;
use super::request::WatchRequest;
use super::{BLOCKED, Feed, FeedStore, StreamPermit, duration, places, timestamp};
use crate::domain::feed::{EventFilter, FeedName, LogId};
use crate::domain::rules::FieldPath;
use crate::pb;
use crate::planted_bug::{PlantedBug, is_planted};
use crate::ports::call::CallContext;
use crate::service::ServiceError;
use crate::service::feed_error::{FeedError, StreamEnd};

/// A frame of a watch.
#[derive(Debug)]
pub enum WatchFrame {
    /// The first frame of the stream.
    Opened(pb::Opened),
    /// One or more encoded events, shared with other streams.
    Events(Bytes),
    /// A frame sent when no event was due.
    Heartbeat(pb::Heartbeat),
}

/// The stream of a watch. Events are read on demand, and no event is buffered between frames.
pub struct WatchStream<F> {
    feed: Feed<F>,
    name: FeedName,
    tip: watch::Receiver<LogTip>,
    log: LogId,
    /// Position up to which all matching events were sent.
    position: u64,
    /// The filter; `None` selects every event.
    filter: Option<EventFilter>,
    /// Events left until the limit.
    left: u64,
    raw: bool,
    interval: Duration,
    /// Time of the next heartbeat.
    due: Instant,
    /// A timer set to `due` or earlier. The timer is reset only when it fires, because most frames come before.
    alarm: Pin<Box<Sleep>>,
    /// Stored, like the timer, because registering a new wait for every event costs as much as sending the event.
    stopping: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Time at which the last frame was taken.
    taken: Instant,
    opened: Option<pb::Opened>,
    ended: bool,
    _place: StreamPermit,
}

impl<F: FeedStore> Feed<F> {
    /// Opens a watch.
    ///
    /// # Errors
    /// The request has faults, the account is invisible to the caller, the start is not in the log, too many streams
    /// are open, or the store fails.
    pub async fn watch<'a>(
        &self,
        request: impl Into<WatchRequest<'a>>,
        call: &CallContext,
    ) -> Result<WatchStream<F>, ServiceError> {
        let request: WatchRequest<'_> = request.into();
        let feed = request.feed;
        let filter = self.scope(request.account, request.filter, call)?;
        let interval = self.heartbeat(request.heartbeat_interval)?;
        let place = self.place(feed)?;
        // The tip is subscribed before the bounds are read: an event between the two would otherwise not wake the
        // stream.
        let tip = self.reader(feed).tip();
        let bounds = self.log(feed).bounds().await?;
        let position = places::resolve(self.log(feed), bounds, request.start, &FieldPath::Top("start")).await?;
        let opened = pb::Opened {
            log_id: bounds.log.to_string(),
            position: bounds.log.cursor(position).to_string(),
            head: bounds.head,
            first_available: bounds.first,
            heartbeat_interval: duration(interval),
            ..Default::default()
        };
        let now = Instant::now();
        Ok(WatchStream {
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

impl<F: FeedStore> WatchStream<F> {
    /// Waits for the next frame. Returns `None` after the end of the stream, or after `limit` events.
    pub async fn next(&mut self) -> Option<Result<WatchFrame, StreamEnd>> {
        if self.ended {
            return None;
        }
        let frame = self.frame().await;
        self.taken = Instant::now();
        self.due = self.taken + self.interval;
        self.ended = !matches!(frame, Ok(Some(_)));
        match frame {
            Ok(frame) => frame.map(Ok),
            Err(error) => Some(Err(StreamEnd { error, last: Some(self.log.cursor(self.position)) })),
        }
    }

    async fn frame(&mut self) -> Result<Option<WatchFrame>, FeedError> {
        if let Some(opened) = self.opened.take() {
            return Ok(Some(WatchFrame::Opened(opened)));
        }
        if self.left == 0 {
            return Ok(None);
        }
        // No frame was taken for too long: the client's connection is blocked.
        if self.taken.elapsed() > BLOCKED {
            self.feed.0.parts.metrics.slow_consumers.inc();
            return Err(FeedError::SlowConsumer);
        }
        loop {
            // A stream with a constant supply of events must also notice the stop.
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
                        // Boxed, to keep the large future out of streams at the end of the log.
                        block = Box::pin(self.feed.reader(self.name).block(self.position, &tip, self.raw)) => block?,
                        // Heartbeats continue while the store is slow.
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
                // Other tasks get a turn while large parts of the log do not match.
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
                        if !is_planted(PlantedBug::BookmarkAhead) {
                            continue;
                        }
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
        let handed_over = if is_planted(PlantedBug::BookmarkAhead) { head } else { self.position };
        let state = if self.position < head { pb::FeedState::CatchingUp } else { pb::FeedState::Live };
        pb::Heartbeat {
            server_time: timestamp(self.feed.now()),
            cursor: self.log.cursor(handed_over).to_string(),
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
