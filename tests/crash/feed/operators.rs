//! Operators: each looks after one subscription. They make it, look at it, give parked events out again, and some of them
//! pause it, move it, or delete it and make it again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use order_gateway::pb::cancel_intent_service_client::CancelIntentServiceClient;
use order_gateway::pb::position::At;
use order_gateway::pb::{self, Feed, Position, Subscription, SubscriptionState};
use order_gateway::ports::random::Random;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::Channel;

use super::consumers::Consumers;
use super::frames;
use super::history::{Operation, State, What, now, seq_of};
use super::plan::{Crowd, Operators as Kind, Shared};
use super::watchers::{Watchers, cursor};
use crate::schedule::Dice;

/// A call that was not answered by then is made again.
const CALL_LIMIT: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(60);
/// Consumers have this long for an event: the shortest that there is.
const LEASE_SECONDS: i64 = 5;

/// All operators of a run.
#[derive(Clone)]
pub(crate) struct Operators {
    shared: Arc<Everybody>,
}

struct Everybody {
    channel: Channel,
    feed: Feed,
    /// Events by which a subscription is moved back, at most.
    back: u64,
    seed: u64,
    subscriptions: Vec<Arc<Shared>>,
    consumers: Consumers,
    watchers: Watchers,
    finishing: AtomicBool,
    operations: Mutex<Vec<Operation>>,
    wrong: Mutex<Vec<String>>,
    end: CancellationToken,
}

impl Operators {
    /// Operators of these subscriptions.
    pub(crate) fn new(
        channel: Channel,
        seed: u64,
        crowd: &Crowd,
        consumers: Consumers,
        watchers: Watchers,
        end: CancellationToken,
    ) -> Self {
        let (feed, back, subscriptions) = (crowd.feed, crowd.back, crowd.subscriptions.clone());
        let (finishing, operations, wrong) = (AtomicBool::new(false), Mutex::default(), Mutex::default());
        let shared = Everybody {
            channel,
            feed,
            back,
            seed,
            subscriptions,
            consumers,
            watchers,
            finishing,
            operations,
            wrong,
            end,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Lets them finish what they are at, and then do nothing more.
    pub(crate) fn finish(&self) {
        self.shared.finishing.store(true, Ordering::Relaxed);
    }

    /// What they did, and what was answered that must not be. Empties both.
    pub(crate) fn take(&self) -> (Vec<Operation>, Vec<String>) {
        let operations = std::mem::take(&mut *self.shared.operations.lock().unwrap_or_else(PoisonError::into_inner));
        (operations, std::mem::take(&mut *self.shared.wrong.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Makes a subscription, from the first event on, and looks after it until the run comes to its end.
    pub(crate) async fn look_after(self, n: usize) {
        let dice = Dice(Random::from_seed(self.shared.seed ^ (n as u64 + 1) << 52));
        let kind = self.shared.subscriptions[n].operators;
        self.of_edition(n, 0, What::Make(0)).await;
        while !self.shared.finishing.load(Ordering::Relaxed) && !self.shared.end.is_cancelled() {
            sleep(dice.millis(100, 500)).await;
            match kind {
                Kind::Pause if dice.share(0.2) => self.pause(n, &dice).await,
                Kind::Seek if dice.share(0.2) => self.seek(n, &dice).await,
                Kind::Remake if dice.share(0.2) => self.remake(n, &dice).await,
                _ if dice.share(0.4) => self.redrive_some(n, &dice).await,
                _ => drop(self.look(n).await),
            }
        }
    }

    /// How the subscription is now, if anybody answers.
    pub(crate) async fn look(&self, n: usize) -> Option<State> {
        self.until_answered(n, What::Look).await
    }

    /// All parked events, with their attempts.
    pub(crate) async fn parked(&self, n: usize) -> Result<Vec<(u64, u32)>, Status> {
        let mut parked = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = pb::ListParkedCancelIntentsRequest {
                subscription: self.name(n),
                page_size: 1000,
                page_token,
                include_raw: false,
            };
            let mut client = CancelIntentServiceClient::new(self.shared.channel.clone());
            let page = client.list_parked_cancel_intents(request).await?.into_inner();
            let events = page.parked.into_iter();
            parked.extend(events.map(|parked| (parked.event.unwrap_or_default().seq, parked.attempt)));
            let updates = page.updates.into_iter();
            parked.extend(updates.map(|parked| (parked.update.unwrap_or_default().seq, parked.attempt)));
            if page.next_page_token.is_empty() {
                return Ok(parked);
            }
            page_token = page.next_page_token;
        }
    }

    /// Gives these out again; none: all.
    pub(crate) async fn redrive(&self, n: usize, seqs: Option<Vec<u64>>) {
        self.until_answered(n, What::Redrive(seqs)).await;
    }

    async fn redrive_some(&self, n: usize, dice: &Dice) {
        if dice.share(0.3) {
            return self.redrive(n, None).await;
        }
        let Ok(Ok(parked)) = timeout(CALL_LIMIT, self.parked(n)).await else { return };
        let some: Vec<u64> = parked.into_iter().map(|(seq, _)| seq).filter(|_| dice.share(0.5)).take(1000).collect();
        if !some.is_empty() {
            self.redrive(n, Some(some)).await;
        }
    }

    async fn pause(&self, n: usize, dice: &Dice) {
        self.until_answered(n, What::Pause).await;
        sleep(dice.millis(50, 400)).await;
        self.until_answered(n, What::Resume).await;
    }

    /// Back by some events, or forth. The log's last ones only: older ones may have been dropped.
    async fn seek(&self, n: usize, dice: &Dice) {
        if !self.shared.watchers.log_id().is_empty() {
            let to = self.shared.watchers.known().saturating_sub(dice.up_to(self.shared.back));
            self.until_answered(n, What::Seek(to)).await;
        }
    }

    /// Consumers keep their streams, but settle nothing and open none in between: it stays certain what they mean.
    async fn remake(&self, n: usize, dice: &Dice) {
        if self.shared.watchers.log_id().is_empty() {
            return;
        }
        let mut edition = self.shared.consumers.edition(n).write().await;
        self.of_edition(n, *edition, What::Delete).await;
        *edition += 1;
        let start = self.shared.watchers.known().saturating_sub(dice.up_to(self.shared.back));
        self.of_edition(n, *edition, What::Make(start)).await;
    }

    async fn until_answered(&self, n: usize, what: What) -> Option<State> {
        // Only its operator makes a subscription again, and does one thing after the other.
        let edition = *self.shared.consumers.edition(n).read().await;
        self.of_edition(n, edition, what).await
    }

    async fn of_edition(&self, subscription: usize, edition: usize, what: What) -> Option<State> {
        while !self.shared.end.is_cancelled() {
            let begun = now();
            let answer = timeout(CALL_LIMIT, self.call(subscription, &what)).await;
            let ended = now();
            let told = match &answer {
                Ok(Ok(answer)) => Some(answer.as_ref().map(state).unwrap_or_default()),
                // A deletion that was not answered was carried out.
                Ok(Err(status)) if what == What::Delete && frames::reason(status) == "SUBSCRIPTION_NOT_FOUND" => {
                    Some(State::default())
                }
                Ok(Err(status)) if frames::is_final(status) => {
                    let name = self.shared.subscriptions[subscription].name;
                    let what = format!("{name}/{edition}: I10: {what:?} was answered {status}");
                    self.shared.wrong.lock().unwrap_or_else(PoisonError::into_inner).push(what);
                    return None;
                }
                _ => None,
            };
            let operation = Operation { subscription, edition, begun, ended, what: what.clone(), told };
            self.shared.operations.lock().unwrap_or_else(PoisonError::into_inner).push(operation);
            if told.is_some() {
                return told;
            }
            sleep(PAUSE).await;
        }
        None
    }

    /// Tells the subscription as it was answered, where it is.
    async fn call(&self, n: usize, what: &What) -> Result<Option<Subscription>, Status> {
        let mut client = CancelIntentServiceClient::new(self.shared.channel.clone());
        let name = self.name(n);
        Ok(match what {
            What::Make(start) => {
                let request = pb::CreateSubscriptionRequest { subscription: Some(self.wanted(n, *start)) };
                client.create_subscription(request).await?.into_inner().subscription
            }
            What::Look => client.get_subscription(pb::GetSubscriptionRequest { name }).await?.into_inner().subscription,
            What::Pause | What::Resume => {
                let paused = Some(*what == What::Pause);
                let subscription = Some(Subscription { name, paused, ..Default::default() });
                let update_mask = Some(prost_types::FieldMask { paths: vec!["paused".to_owned()] });
                let request = pb::UpdateSubscriptionRequest { subscription, update_mask };
                client.update_subscription(request).await?.into_inner().subscription
            }
            What::Seek(to) => {
                let request = pb::SeekSubscriptionRequest { name, position: Some(self.position(*to)) };
                client.seek_subscription(request).await?.into_inner().subscription
            }
            What::Redrive(seqs) => {
                let (all, seqs) = (seqs.is_none(), seqs.clone().unwrap_or_default());
                let request = pb::RedriveCancelIntentsRequest { subscription: name, seqs, all };
                client.redrive_cancel_intents(request).await?;
                None
            }
            What::Delete => {
                client.delete_subscription(pb::DeleteSubscriptionRequest { name, etag: String::new() }).await?;
                None
            }
        })
    }

    fn wanted(&self, n: usize, start: u64) -> Subscription {
        let shared = &self.shared.subscriptions[n];
        let millis = |millis: i32| Some(prost_types::Duration { seconds: 0, nanos: millis * 1_000_000 });
        Subscription {
            name: shared.name.to_owned(),
            feed: self.shared.feed.into(),
            filter: shared.choice.to_pb(),
            mode: shared.mode.into(),
            lease_duration: Some(prost_types::Duration { seconds: LEASE_SECONDS, nanos: 0 }),
            max_attempts: Some(shared.max_attempts),
            backoff: Some(pb::Backoff { min: millis(100), max: millis(400) }),
            start: Some(self.position(start)),
            ..Default::default()
        }
    }

    /// After this event.
    fn position(&self, seq: u64) -> Position {
        let at = match seq {
            0 => At::Earliest(true),
            _ => At::AfterCursor(cursor(&self.shared.watchers.log_id(), seq)),
        };
        Position { at: Some(at) }
    }

    fn name(&self, n: usize) -> String {
        self.shared.subscriptions[n].name.to_owned()
    }
}

fn state(subscription: &Subscription) -> State {
    State {
        generation: subscription.generation,
        floor: seq_of(&subscription.floor),
        backlog: subscription.backlog,
        outstanding: subscription.outstanding,
        parked: subscription.parked,
        lost: subscription.state() == SubscriptionState::LostEvents,
    }
}
