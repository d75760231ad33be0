//! The way of a webhook to those who watch: posted at a rate, whatever the gateway does.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use order_gateway::pb::watch_cancel_intents_response::Frame;
use order_gateway::pb::{self, position};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::load::{Figures, Span, Target, Times, soon};
use super::posts::{self, Poster, Sample};
use super::streams::{self, Stream};
use crate::Result;

#[derive(clap::Args)]
pub(crate) struct Load {
    #[arg(long, default_value_t = 1)]
    watchers: usize,
    /// Webhooks a second.
    #[arg(long, default_value_t = 200.0)]
    rate: f64,
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
}

/// When an event was posted, and when the gateway said 200.
pub(super) type Posted = HashMap<u64, (Instant, Instant)>;

impl Load {
    /// Webhooks at this rate, and nobody who watches.
    pub(super) fn of(rate: f64, seconds: f64) -> Self {
        Self { watchers: 0, rate, seconds }
    }

    fn count(&self) -> u64 {
        (self.rate * self.seconds) as u64
    }

    pub(crate) async fn run(&self, target: &Target) -> Result<Figures> {
        let count = self.count();
        let connections = streams::connections(target.grpc, self.watchers).await?;
        let mut watchers = JoinSet::new();
        for n in 0..self.watchers {
            let mut stream =
                streams::of(&connections, n).stream("WatchCancelIntents", &watch(position::At::Latest(true))).await?;
            stream.message::<pb::WatchCancelIntentsResponse>().await?.ok_or("no first frame")?;
            let first = target.first;
            watchers.spawn_local(async move { arrivals(stream, first, count).await.map_err(|e| e.to_string()) });
        }
        let span = Span::begin(target)?;
        let posted = self.post(target).await?;
        let mut figures = Figures::default();
        let (mut after_post, mut after_answer, mut answer) = (Times::new()?, Times::new()?, Times::new()?);
        for (begin, said) in posted.values() {
            answer.note(*said - *begin);
        }
        while let Some(arrived) = soon("the last frame", watchers.join_next()).await? {
            for (n, at) in arrived?? {
                let (begin, said) = posted.get(&n).ok_or("an event that nobody posted")?;
                after_post.note(at - *begin);
                // The frame may be the first to come.
                after_answer.note(at.saturating_duration_since(*said));
            }
        }
        span.end(&mut figures)?;
        answer.tell("answer", &mut figures);
        after_post.tell("after_post", &mut figures);
        after_answer.tell("after_answer", &mut figures);
        Ok(figures)
    }

    pub(super) async fn post(&self, target: &Target) -> Result<Posted> {
        let count = self.count();
        let free: Rc<RefCell<Vec<Poster>>> = Rc::default();
        let requests: Vec<_> =
            (target.first..target.first + count).map(|n| (n, posts::request(Sample::Intent, n))).collect();
        let mut due = tokio::time::interval(Duration::from_secs_f64(1.0 / self.rate));
        due.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut posting = JoinSet::new();
        for (n, request) in requests {
            due.tick().await;
            posting.spawn_local(post(target.http, free.clone(), n, request));
        }
        let mut posted = Posted::new();
        while let Some(one) = soon("an answer", posting.join_next()).await? {
            let (n, times) = one??;
            posted.insert(n, times);
        }
        Ok(posted)
    }
}

/// Over a connection that is free, else over another one.
async fn post(
    http: SocketAddr,
    free: Rc<RefCell<Vec<Poster>>>,
    n: u64,
    request: Vec<u8>,
) -> std::result::Result<(u64, (Instant, Instant)), String> {
    let begin = Instant::now();
    let poster = free.borrow_mut().pop();
    let posted = async {
        let mut poster = match poster {
            Some(poster) => poster,
            None => Poster::connect(http).await?,
        };
        poster.post(&request).await?;
        let said = Instant::now();
        free.borrow_mut().push(poster);
        Ok::<_, Box<dyn std::error::Error>>(said)
    };
    let said = posted.await.map_err(|error| error.to_string())?;
    Ok((n, (begin, said)))
}

/// All from a place on. With a heartbeat so rare that none disturbs.
pub(crate) fn watch(at: position::At) -> pb::WatchCancelIntentsRequest {
    pb::WatchCancelIntentsRequest {
        start: Some(pb::Position { at: Some(at) }),
        heartbeat_interval: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
        ..Default::default()
    }
}

/// When each event came.
async fn arrivals(mut stream: Stream, first: u64, count: u64) -> Result<Vec<(u64, Instant)>> {
    let mut arrived = Vec::new();
    while (arrived.len() as u64) < count {
        let frame: pb::WatchCancelIntentsResponse = stream.message().await?.ok_or("the watch ended")?;
        let at = Instant::now();
        let Some(Frame::Event(event)) = frame.frame else { continue };
        let n: u64 = event.ordering_key.parse()?;
        if n >= first {
            arrived.push((n, at));
        }
    }
    Ok(arrived)
}
