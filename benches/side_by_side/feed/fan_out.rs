//! One log, many watches.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use order_gateway::pb::position::At;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::latency::watch;
use super::load::{Figures, PATIENCE, Span, Target, soon};
use super::posts::{self, Poster, Sample};
use super::streams::{self, Piece};
use crate::Result;

/// Watches that were opened together.
#[derive(Default)]
struct Watches {
    /// How many have had their first frame.
    open: Cell<usize>,
    /// Events that came, on all of them.
    events: Cell<u64>,
    /// Pieces that events came in.
    pieces: Cell<u64>,
    /// Most events that came on one.
    furthest: Cell<u64>,
    failure: RefCell<Option<String>>,
    progress: Notify,
    running: RefCell<JoinSet<()>>,
}

impl Watches {
    /// Opens them all, and waits for the first frame of each.
    async fn open(target: &Target, streams: usize, at: At) -> Result<Rc<Self>> {
        let watches = Rc::new(Self::default());
        let connections = streams::connections(target.grpc, streams).await?;
        for n in 0..streams {
            let (these, connection, request) = (watches.clone(), streams::of(&connections, n), watch(at.clone()));
            watches.running.borrow_mut().spawn_local(async move {
                let end = these.follow(connection, &request).await;
                let words = end.err().map_or("a watch ended".into(), |error| error.to_string());
                these.failure.borrow_mut().get_or_insert(words);
                these.progress.notify_one();
            });
        }
        soon("the first frame of every watch", watches.until(|| watches.open.get() == streams)).await??;
        Ok(watches)
    }

    async fn follow(
        &self,
        connection: streams::Connection,
        request: &order_gateway::pb::WatchCancelIntentsRequest,
    ) -> Result<()> {
        let mut stream = connection.stream("WatchCancelIntents", request).await?;
        let mut opened = false;
        let mut seen = 0;
        while let Some(Piece { events }) = stream.piece().await? {
            if !std::mem::replace(&mut opened, true) {
                self.open.set(self.open.get() + 1);
            }
            if events > 0 {
                self.events.set(self.events.get() + events);
                self.pieces.set(self.pieces.get() + 1);
                seen += events;
                self.furthest.set(self.furthest.get().max(seen));
            }
            self.progress.notify_one();
        }
        Ok(())
    }

    /// Waits for progress that has something come true.
    async fn until(&self, reached: impl Fn() -> bool) -> Result<()> {
        loop {
            if let Some(failure) = self.failure.borrow_mut().take() {
                return Err(failure.into());
            }
            if reached() {
                return Ok(());
            }
            self.progress.notified().await;
        }
    }
}

/// What came from here on.
struct Deliveries<'a> {
    watches: &'a Watches,
    span: Span,
    events: u64,
    pieces: u64,
}

impl<'a> Deliveries<'a> {
    fn begin(watches: &'a Watches, target: &Target) -> Result<Self> {
        Ok(Self { watches, span: Span::begin(target)?, events: watches.events.get(), pieces: watches.pieces.get() })
    }

    fn end(self) -> Result<Figures> {
        let mut figures = Figures::default();
        let events = (self.watches.events.get() - self.events) as f64;
        let pieces = (self.watches.pieces.get() - self.pieces) as f64;
        self.span.end(&mut figures)?;
        figures.set("rate", events / figures.get("seconds"));
        figures.set("events_per_piece", events / pieces);
        Ok(figures)
    }
}

#[derive(clap::Args)]
pub(crate) struct CatchUp {
    #[arg(long)]
    streams: usize,
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Events in the log. Measuring ends when the first watch has them all.
    #[arg(long)]
    events: u64,
}

impl CatchUp {
    pub(crate) async fn run(&self, target: &Target) -> Result<Figures> {
        let watches = Watches::open(target, self.streams, At::Earliest(true)).await?;
        let end = Instant::now() + Duration::from_secs_f64(self.seconds);
        let deliveries = Deliveries::begin(&watches, target)?;
        // The end of the time is as good.
        if let Ok(broken) = timeout_at(end, watches.until(|| watches.furthest.get() >= self.events)).await {
            broken?;
        }
        deliveries.end()
    }
}

#[derive(clap::Args)]
pub(crate) struct Tip {
    #[arg(long)]
    streams: usize,
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Events that the watches, on the average, may be behind when the next one is posted.
    #[arg(long, default_value_t = 1)]
    window: u64,
}

impl Tip {
    pub(crate) async fn run(&self, target: &Target) -> Result<Figures> {
        let watches = Watches::open(target, self.streams, At::Latest(true)).await?;
        let mut poster = Poster::connect(target.http).await?;
        let streams = self.streams as u64;
        // The first ones find cold ways.
        let mut posted = 0;
        while posted < 3 {
            self.next(target, &mut poster, &mut posted, &watches, streams).await?;
        }
        let deliveries = Deliveries::begin(&watches, target)?;
        let end = Instant::now() + Duration::from_secs_f64(self.seconds);
        while Instant::now() < end {
            self.next(target, &mut poster, &mut posted, &watches, streams).await?;
        }
        deliveries.end()
    }

    async fn next(
        &self,
        target: &Target,
        poster: &mut Poster,
        posted: &mut u64,
        watches: &Watches,
        streams: u64,
    ) -> Result<()> {
        poster.post(&posts::request(Sample::Intent, target.first + *posted)).await?;
        *posted += 1;
        let enough = posted.saturating_sub(self.window - 1) * streams;
        soon("a delivery to every watch", watches.until(|| watches.events.get() >= enough)).await?
    }
}

#[derive(clap::Args)]
pub(crate) struct Replay {
    /// Events in the log.
    #[arg(long)]
    events: u64,
}

impl Replay {
    pub(crate) async fn run(&self, target: &Target) -> Result<Figures> {
        let connection = streams::Connection::open(target.grpc).await?;
        let mut figures = Figures::default();
        let span = Span::begin(target)?;
        let mut request = watch(At::Earliest(true));
        request.limit = self.events;
        let mut stream = connection.stream("WatchCancelIntents", &request).await?;
        let mut events = 0;
        let all = async {
            while let Some(piece) = stream.piece().await? {
                events += piece.events;
            }
            Ok::<_, Box<dyn std::error::Error>>(())
        };
        tokio::time::timeout(4 * PATIENCE, all).await.map_err(|_| "the replay takes too long")??;
        span.end(&mut figures)?;
        if events != self.events {
            return Err(format!("{events} events came").into());
        }
        figures.set("rate", events as f64 / figures.get("seconds"));
        Ok(figures)
    }
}
