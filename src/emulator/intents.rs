//! Customers that change their mind: intents to cancel for the emulator's orders, posted in Walmart's form.

use jiff::Timestamp;
use serde_json::Value;

use super::deliveries::{Delivery, DeliveryRound, PostedEvents, Receiver};
use super::ids;
pub(crate) use super::intent_event::{IntentEnvelope, IntentFacts, WantedLine, event};
use super::posting::WebhookTarget;
use super::seller::{EVERYBODY, SellerLine, SellerOrder};
use super::webhooks::{EmulatedEvent, ORDER_UPDATES, SubscriptionBook, are_old_events_gone};
use super::world::{Order, World};

/// Largest count that a control call may request.
pub(crate) const MAX_COUNT: usize = 10_000;

/// The target of deliveries, and the deliveries made.
#[derive(Debug, Default)]
pub(crate) struct IntentPoster {
    pub(crate) webhook: Option<WebhookTarget>,
    made: u64,
    /// Intents about orders in turn.
    turn: u64,
    posted: PostedEvents,
}

/// The intents to post.
#[derive(Debug, Default)]
pub(crate) struct IntentRequest {
    /// The order; `None` takes the orders in turn.
    pub(crate) order_number: Option<String>,
    /// The line; `None` takes every open line.
    pub(crate) line_id: Option<String>,
    /// The envelope for the webhook of the control API; `None` for the one of the day. Subscriptions get what they have
    /// subscribed.
    pub(crate) envelope: Option<IntentEnvelope>,
    pub(crate) count: usize,
}

/// The reason why no intent was posted.
#[derive(Debug, PartialEq)]
pub(crate) enum IntentRefusal {
    NoWebhook,
    NoOrder,
    NoLine,
    NothingOpen,
}

impl IntentPoster {
    pub(crate) fn new(webhook: Option<WebhookTarget>) -> Self {
        Self { webhook, ..Self::default() }
    }

    /// Builds events about orders of this world, for the webhook and for subscriptions.
    pub(crate) fn make(
        &mut self,
        world: &World,
        subscriptions: &SubscriptionBook,
        seed: u64,
        now: Timestamp,
        wish: &IntentRequest,
    ) -> Result<DeliveryRound, IntentRefusal> {
        let mut deliveries = Vec::new();
        for _ in 0..wish.count {
            let order = choose(world, self.turn, wish)?;
            self.turn += 1;
            let facts = facts(order, wish, now)?;
            let receivers = self.receivers(subscriptions, order.account.as_deref(), now, wish);
            deliveries.extend(self.deliver(receivers, &facts, seed, now)?);
        }
        Ok(self.round(deliveries, now))
    }

    /// The webhook with the wished envelope, and the subscriptions with theirs.
    fn receivers(
        &self,
        subscriptions: &SubscriptionBook,
        account: Option<&str>,
        now: Timestamp,
        wish: &IntentRequest,
    ) -> Vec<(IntentEnvelope, Receiver)> {
        let of_the_day = if are_old_events_gone(now) { IntentEnvelope::OrderUpdates } else { IntentEnvelope::Intent };
        let preset = self.webhook.clone().map(|target| (wish.envelope.unwrap_or(of_the_day), Receiver::Preset(target)));
        let of = |envelope: IntentEnvelope, event_type: &str| {
            let receivers = subscriptions.receivers(account, event_type, now);
            receivers.into_iter().map(move |receiver| (envelope, receiver))
        };
        let subscribed =
            of(IntentEnvelope::Intent, "INTENT_TO_CANCEL").chain(of(IntentEnvelope::OrderUpdates, ORDER_UPDATES));
        preset.into_iter().chain(subscribed).collect()
    }

    /// An event of its own for each receiver: two subscriptions mean every event twice.
    fn deliver(
        &mut self,
        receivers: Vec<(IntentEnvelope, Receiver)>,
        facts: &IntentFacts,
        seed: u64,
        now: Timestamp,
    ) -> Result<Vec<Delivery>, IntentRefusal> {
        if receivers.is_empty() {
            return Err(IntentRefusal::NoWebhook);
        }
        let one = |(envelope, to)| {
            self.made += 1;
            let facts = IntentFacts { event_id: ids_of(seed, self.made, now), ..facts.clone() };
            Delivery { event: event(envelope, &facts), to }
        };
        Ok(receivers.into_iter().map(one).collect())
    }

    /// A round of deliveries at `now`.
    pub(crate) fn round(&self, deliveries: Vec<Delivery>, now: Timestamp) -> DeliveryRound {
        DeliveryRound::new(deliveries, &self.posted, now)
    }

    /// The deliveries of what happened, to the subscriptions of it.
    pub(crate) fn happened(
        &mut self,
        events: &[EmulatedEvent],
        subscriptions: &SubscriptionBook,
        seed: u64,
        now: Timestamp,
    ) -> DeliveryRound {
        let mut deliveries = Vec::new();
        for event in events {
            for to in subscriptions.receivers(event.account.as_deref(), event.event_type, now) {
                self.made += 1;
                deliveries.push(Delivery { event: event.body(&ids_of(seed, self.made, now), now), to });
            }
        }
        self.round(deliveries, now)
    }

    /// Builds an event about an order that the seller fulfills: the lines that the customer wants cancelled.
    pub(crate) fn make_about(
        &mut self,
        order: &SellerOrder,
        subscriptions: &SubscriptionBook,
        seed: u64,
        now: Timestamp,
        wish: &IntentRequest,
    ) -> Result<DeliveryRound, IntentRefusal> {
        let meant = |line: &&SellerLine| line.intent && wish.line_id.as_deref().is_none_or(|id| id == line.number);
        let lines = order.lines.iter().filter(meant).map(|line| WantedLine {
            number: line.number.clone(),
            sku: line.sku.clone(),
            name: line.name.clone(),
            units: line.open(),
        });
        let facts = IntentFacts {
            event_id: String::new(),
            time: now,
            ordered: order.created,
            partner_id: "10000000001".to_owned(),
            purchase_order: order.purchase_order.clone(),
            customer_order: order.customer_order.clone(),
            ship_node_type: order.ship_node_type.clone(),
            lines: lines.collect(),
        };
        // A simulated order is everybody's.
        let account = order.account.as_deref().filter(|account| *account != EVERYBODY);
        let receivers = self.receivers(subscriptions, account, now, wish);
        let deliveries = self.deliver(receivers, &facts, seed, now)?;
        Ok(self.round(deliveries, now))
    }

    /// The newest finished deliveries, oldest first.
    pub(crate) fn posted(&self) -> Vec<Value> {
        self.posted.shown()
    }
}

/// Includes the time: a restarted emulator does not repeat earlier ids.
fn ids_of(seed: u64, made: u64, now: Timestamp) -> String {
    ids::uuid(seed, &["intent", &made.to_string(), &now.to_string()])
}

fn choose<'a>(world: &'a World, turn: u64, wish: &IntentRequest) -> Result<&'a Order, IntentRefusal> {
    let open = |order: &&Order| order.lines.iter().any(|line| line.open() > 0);
    if let Some(number) = &wish.order_number {
        let mut all = world.numbered(number).peekable();
        all.peek().ok_or(IntentRefusal::NoOrder)?;
        return all.find(open).ok_or(IntentRefusal::NothingOpen);
    }
    let open: Vec<&Order> = world.orders().iter().filter(open).collect();
    let turn = usize::try_from(turn).unwrap_or_default().checked_rem(open.len());
    turn.and_then(|turn| open.get(turn).copied()).ok_or(IntentRefusal::NothingOpen)
}

fn facts(order: &Order, wish: &IntentRequest, now: Timestamp) -> Result<IntentFacts, IntentRefusal> {
    let meant = |id: &str| wish.line_id.as_deref().is_none_or(|wanted| wanted == id);
    if !order.lines.iter().any(|line| meant(&line.id)) {
        return Err(IntentRefusal::NoLine);
    }
    let lines = order.lines.iter().filter(|line| meant(&line.id) && line.open() > 0);
    let lines: Vec<WantedLine> = lines
        .map(|line| WantedLine {
            number: line.id.clone(),
            sku: line.sku.clone(),
            name: line.description.clone(),
            units: line.open(),
        })
        .collect();
    if lines.is_empty() {
        return Err(IntentRefusal::NothingOpen);
    }
    Ok(IntentFacts {
        event_id: String::new(),
        time: now,
        ordered: order.accepted,
        partner_id: "10000000001".to_owned(),
        purchase_order: order.number.clone(),
        customer_order: order.number.clone(),
        ship_node_type: "WFSFulfilled".to_owned(),
        lines,
    })
}
