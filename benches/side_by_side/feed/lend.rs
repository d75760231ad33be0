//! Consumers of one subscription: each takes events up to its window, and settles them in batches.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use order_gateway::pb::subscribe_cancel_intents_response::Frame;
use order_gateway::pb::verdict::Verdict as Kind;
use order_gateway::pb::{self, position};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::COMMITS;
use super::load::{Figures, Span, Target, soon};
use super::streams::Connection;
use crate::{Result, servers};

/// Events that a consumer takes at a time, and settles at once.
const WINDOW: u32 = 100;
/// What came is settled when nothing more comes for so long.
const LULL: Duration = Duration::from_millis(50);
const WARM_UP: Duration = Duration::from_millis(500);

#[derive(clap::Args)]
pub(crate) struct Load {
    #[arg(long)]
    consumers: usize,
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
}

struct Run {
    subscription: String,
    applied: Cell<u64>,
    settles: Cell<u64>,
    over: Cell<bool>,
}

impl Load {
    pub(crate) async fn run(&self, target: &Target) -> Result<Figures> {
        let run = Rc::new(Run {
            subscription: format!("bench-{}", target.first),
            applied: Cell::new(0),
            settles: Cell::new(0),
            over: Cell::new(false),
        });
        let mut consumers = JoinSet::new();
        for n in 0..self.consumers {
            let (run, connection) = (run.clone(), Connection::open(target.grpc).await?);
            consumers.spawn_local(async move { consume(&run, &connection, n).await.map_err(|e| e.to_string()) });
        }
        sleep(WARM_UP).await;
        let mut figures = Figures::default();
        let (applied, settles) = (run.applied.get(), run.settles.get());
        let commits = servers::metric(target.http, COMMITS)?;
        let span = Span::begin(target)?;
        let end = Instant::now() + Duration::from_secs_f64(self.seconds);
        // Fails with the first consumer that fails.
        if let Ok(Some(ended)) = tokio::time::timeout_at(end, consumers.join_next()).await {
            return Err(ended?.err().unwrap_or("a consumer ended".into()).into());
        }
        span.end(&mut figures)?;
        let events = (run.applied.get() - applied) as f64;
        figures.set("rate", events / figures.get("seconds"));
        figures.set("batch", events / (run.settles.get() - settles) as f64);
        figures.set("syncs", (servers::metric(target.http, COMMITS)? - commits) / events);
        run.over.set(true);
        while let Some(ended) = soon("the end of a consumer", consumers.join_next()).await? {
            ended??;
        }
        Ok(figures)
    }
}

async fn consume(run: &Run, connection: &Connection, n: usize) -> Result<()> {
    let earliest = pb::Position { at: Some(position::At::Earliest(true)) };
    let subscribe = pb::SubscribeCancelIntentsRequest {
        subscription: run.subscription.clone(),
        consumer_id: format!("consumer-{n}"),
        max_outstanding_events: Some(WINDOW),
        create_if_missing: Some(pb::Subscription { start: Some(earliest), ..Default::default() }),
        ..Default::default()
    };
    let mut stream = connection.stream("SubscribeCancelIntents", &subscribe).await?;
    let mut verdicts = Vec::new();
    while !run.over.get() {
        match timeout(LULL, stream.message::<pb::SubscribeCancelIntentsResponse>()).await {
            Ok(frame) => {
                if let Some(Frame::Delivery(delivery)) = frame?.ok_or("the stream ended")?.frame {
                    verdicts.push(pb::Verdict { lease: delivery.lease, verdict: Some(Kind::Ack(pb::Ack {})) });
                }
            }
            Err(_) if verdicts.is_empty() => continue,
            Err(_) => settle(run, connection, &mut verdicts).await?,
        }
        if verdicts.len() == WINDOW as usize {
            settle(run, connection, &mut verdicts).await?;
        }
    }
    Ok(())
}

async fn settle(run: &Run, connection: &Connection, verdicts: &mut Vec<pb::Verdict>) -> Result<()> {
    let request =
        pb::SettleCancelIntentsRequest { subscription: run.subscription.clone(), verdicts: std::mem::take(verdicts) };
    let answer: pb::SettleCancelIntentsResponse = connection.call("SettleCancelIntents", &request).await?;
    if answer.results.iter().any(|result| result.outcome() != pb::SettleOutcome::Applied) {
        return Err("a verdict was not applied".into());
    }
    run.applied.set(run.applied.get() + answer.results.len() as u64);
    run.settles.set(run.settles.get() + 1);
    Ok(())
}
