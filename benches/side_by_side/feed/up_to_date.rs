//! Webhooks and orders at a rate beside subscriptions that have read all there is: what those cost others.

use std::rc::Rc;
use std::time::{Duration, Instant};

use order_gateway::pb::{self, position};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::latency;
use super::load::{Figures, Span, Target, Times, soon};
use super::streams::{self, Connection};
use crate::Result;
use crate::samples::Call;

/// Of a stream, so that none disturbs.
const SILENCE: i64 = 60;

#[derive(clap::Args)]
pub(crate) struct Load {
    #[arg(long)]
    subscriptions: usize,
    /// Each with a stream that waits for events of a SKU that never come; else without streams, and for all events.
    #[arg(long)]
    streaming: bool,
    /// Webhooks a second.
    #[arg(long, default_value_t = 200.0)]
    webhooks: f64,
    /// Orders a second.
    #[arg(long, default_value_t = 50.0)]
    orders: f64,
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
}

impl Load {
    pub(crate) async fn run(&self, target: &Target) -> Result<Figures> {
        let open = if self.streaming { self.subscriptions } else { 1 };
        let connections = streams::connections(target.grpc, open).await?;
        for n in 0..self.subscriptions {
            let connection = streams::of(&connections, if self.streaming { n } else { 0 });
            let subscription = self.subscription(target, n);
            let name = subscription.name.clone();
            let request = pb::CreateSubscriptionRequest { subscription: Some(subscription) };
            connection.call::<pb::CreateSubscriptionResponse>("CreateSubscription", &request).await?;
            if self.streaming {
                wait_for_ever(&connection, name).await?;
            }
        }
        let mut figures = Figures::default();
        let span = Span::begin(target)?;
        let webhooks = latency::Load::of(self.webhooks, self.seconds);
        let (posted, ordered) = tokio::join!(webhooks.post(target), self.order(target));
        let mut times = Times::new()?;
        for (begin, said) in posted?.values() {
            times.note(*said - *begin);
        }
        times.tell("webhook", &mut figures);
        ordered?.tell("order", &mut figures);
        span.end(&mut figures)?;
        Ok(figures)
    }

    fn subscription(&self, target: &Target, n: usize) -> pb::Subscription {
        let filter = pb::Filter { skus: vec!["NEVER-SOLD".into()], ..Default::default() };
        pb::Subscription {
            name: format!("up-to-date-{}-{n}", target.first),
            filter: self.streaming.then_some(filter),
            start: Some(pb::Position { at: Some(position::At::Latest(true)) }),
            ..Default::default()
        }
    }

    /// How long each CreateOrder took.
    async fn order(&self, target: &Target) -> Result<Times> {
        let connection = Connection::open(target.grpc).await?;
        let frame = Rc::new(Call::Create.frame()?);
        let mut due = tokio::time::interval(Duration::from_secs_f64(1.0 / self.orders));
        due.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut ordering = JoinSet::new();
        for n in 0..(self.orders * self.seconds) as u64 {
            due.tick().await;
            let (connection, bytes) = (connection.clone(), frame.numbered(target.first + n));
            ordering.spawn_local(async move {
                let begin = Instant::now();
                let answer = connection.call_with::<pb::CreateOrderResponse>(&Call::Create.path(), bytes).await;
                answer.map(|_| begin.elapsed()).map_err(|error| error.to_string())
            });
        }
        let mut times = Times::new()?;
        while let Some(one) = soon("an order", ordering.join_next()).await? {
            times.note(one??);
        }
        Ok(times)
    }
}

/// Opens the stream of a consumer to which nothing comes but heartbeats.
async fn wait_for_ever(connection: &Connection, subscription: String) -> Result<()> {
    let request = pb::SubscribeCancelIntentsRequest {
        subscription,
        consumer_id: "waiting".into(),
        heartbeat_interval: Some(prost_types::Duration { seconds: SILENCE, nanos: 0 }),
        ..Default::default()
    };
    let mut stream = connection.stream("SubscribeCancelIntents", &request).await?;
    stream.message::<pb::SubscribeCancelIntentsResponse>().await?.ok_or("no first frame")?;
    // It ends with the process.
    tokio::task::spawn_local(async move { while let Ok(Some(_)) = stream.piece().await {} });
    Ok(())
}
