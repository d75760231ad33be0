//! The memory that watches take in the gateway: those with nothing to say, and those that nobody reads.

use std::time::Duration;

use order_gateway::pb::position::At;
use order_gateway::pb::{WatchCancelIntentsRequest, WatchCancelIntentsResponse};
use tokio::time::{Instant, sleep, timeout_at};

use super::latency::watch;
use super::load::{Figures, Span, Target};
use super::streams::{self, Connection};
use crate::{Result, machine};

/// For the memory to settle: a few heartbeats.
const SETTLING: Duration = Duration::from_millis(3500);

#[derive(clap::Args)]
pub(crate) struct Idle {
    #[arg(long)]
    streams: usize,
}

impl Idle {
    pub(crate) async fn run(&self, target: &Target) -> Result<Figures> {
        let every_second = Some(prost_types::Duration { seconds: 1, nanos: 0 });
        let request = WatchCancelIntentsRequest { heartbeat_interval: every_second, ..watch(At::Latest(true)) };
        // One beforehand, so that what all share is not counted.
        let before = open(target, 1, &request).await?;
        sleep(SETTLING).await;
        let alone = machine::rss_mib(target.pid)?;
        let watches = open(target, self.streams, &request).await?;
        sleep(SETTLING).await;
        let mut figures = Figures::default();
        figures.set("kib_a_stream", 1024.0 * (machine::rss_mib(target.pid)? - alone) / self.streams as f64);
        drop((before, watches));
        Ok(figures)
    }
}

/// Opens watches that are read from then on.
async fn open(
    target: &Target,
    count: usize,
    request: &WatchCancelIntentsRequest,
) -> Result<(Vec<Connection>, tokio::task::JoinSet<()>)> {
    let connections = streams::connections(target.grpc, count).await?;
    let mut reading = tokio::task::JoinSet::new();
    for n in 0..count {
        let mut stream = streams::of(&connections, n).stream("WatchCancelIntents", request).await?;
        stream.message::<WatchCancelIntentsResponse>().await?.ok_or("no first frame")?;
        reading.spawn_local(async move { while let Ok(Some(_)) = stream.piece().await {} });
    }
    Ok((connections, reading))
}

#[derive(clap::Args)]
pub(crate) struct Slow {
    /// Watches that are not read: half of them on a connection that is, half on one that is not. May be 0.
    #[arg(long)]
    streams: usize,
    /// How long another watch is read beside them, at most.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Events in the log.
    #[arg(long)]
    events: u64,
}

impl Slow {
    pub(crate) async fn run(&self, target: &Target) -> Result<Figures> {
        let request = watch(At::Earliest(true));
        let mut frozen = Vec::new();
        for half in [self.streams / 2, self.streams - self.streams / 2] {
            let connection = Connection::open(target.grpc).await?;
            for _ in 0..half {
                frozen.push(connection.stream("WatchCancelIntents", &request).await?);
            }
            if frozen.len() == self.streams {
                connection.freeze();
            }
        }
        // Until nothing more can go to them.
        sleep(Duration::from_secs(1)).await;
        let connection = Connection::open(target.grpc).await?;
        let mut reader = connection.stream("WatchCancelIntents", &request).await?;
        let mut figures = Figures::default();
        let span = Span::begin(target)?;
        let end = Instant::now() + Duration::from_secs_f64(self.seconds);
        let mut events = 0;
        while let Ok(piece) = timeout_at(end, reader.piece()).await {
            events += piece?.ok_or("the watch ended")?.events;
            if events >= self.events {
                break;
            }
        }
        span.end(&mut figures)?;
        figures.set("rate", events as f64 / figures.get("seconds"));
        drop(frozen);
        Ok(figures)
    }
}
