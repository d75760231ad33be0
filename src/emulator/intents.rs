//! Customers that change their mind: intents to cancel for the emulator's orders, posted in Walmart's form.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::ids;
use super::posting::WebhookTarget;
use super::seller::{SellerLine, SellerOrder};
use super::world::{Order, World};

/// Waits before the second and the third try of a delivery; Walmart waits 5 and 15 minutes.
const RETRY_AFTER: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];
/// Concurrent deliveries of a round.
const AT_ONCE: usize = 16;
/// Largest count that a control call may request.
pub(crate) const MAX_COUNT: usize = 10_000;
/// Finished deliveries kept for `GET intents`.
const REMEMBERED: usize = 1_000;

/// The envelope of an intent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum IntentEnvelope {
    #[default]
    Intent,
    /// ORDER_UPDATES with the sub-event INTENT_TO_CANCEL.
    OrderUpdates,
}

/// The content of an intent.
#[derive(Clone, Debug)]
pub(crate) struct IntentFacts {
    /// The unique id of the event.
    pub(crate) event_id: String,
    /// The time of the event.
    pub(crate) time: Timestamp,
    /// The time of the order.
    pub(crate) ordered: Timestamp,
    /// Walmart's number of the seller.
    pub(crate) partner_id: String,
    pub(crate) purchase_order: String,
    /// The customer's order number.
    pub(crate) customer_order: String,
    /// The party that ships.
    pub(crate) ship_node_type: String,
    /// The lines to cancel.
    pub(crate) lines: Vec<WantedLine>,
}

/// A line to cancel.
#[derive(Clone, Debug)]
pub(crate) struct WantedLine {
    pub(crate) number: String,
    pub(crate) sku: String,
    pub(crate) name: String,
    pub(crate) units: u64,
}

/// Builds an event in Walmart's form. Source of the forms: seed 003, and Walmart's page on ORDER_UPDATES.
pub(crate) fn event(envelope: IntentEnvelope, facts: &IntentFacts) -> Value {
    const DAY: i64 = 24 * 60 * 60;
    let later = |seconds: i64| facts.ordered.saturating_add(jiff::SignedDuration::from_secs(seconds));
    let date = |time: Timestamp| time.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string();
    let day = |days: i64| date(later(days * DAY).unwrap_or(facts.ordered));
    let line = |line: &WantedLine| {
        json!({"lineNumber": line.number, "sku": line.sku, "productName": line.name,
            "quantity": {"unitOfMeasure": "EACH", "measurementValue": line.units.to_string()},
            "status": "PO Created", "statusDate": facts.time.strftime("%Y-%m-%dT%H:%M:%S%.3f+00:00").to_string(),
            "shippingProgramType": "TWO_DAY", "shippingMethod": "VALUE", "cancellationReason": "Customer changed mind",
            "cancelSubReasonCodeDescription": "Ordered twice"})
    };
    let lines: Vec<Value> = facts.lines.iter().map(line).collect();
    let order = json!({"partnerId": facts.partner_id, "purchaseOrderId": facts.purchase_order,
        "customerOrderId": facts.customer_order, "orderDate": day(0), "estimatedDeliveryDate": day(7),
        "estimatedShipDate": day(3), "orderLines": lines, "shipNodeType": facts.ship_node_type});
    let (event_type, payload) = match envelope {
        IntentEnvelope::Intent => ("INTENT_TO_CANCEL", order),
        IntentEnvelope::OrderUpdates => {
            ("ORDER_UPDATES", json!({"meta": {"subEventType": "INTENT_TO_CANCEL"}, "order": order}))
        }
    };
    let time = facts.time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
    json!({"source": {"eventType": event_type, "eventFilters": null, "eventTime": time, "eventId": facts.event_id},
        "payload": payload})
}

/// The target of deliveries, and the deliveries made.
#[derive(Debug, Default)]
pub(crate) struct IntentPoster {
    pub(crate) webhook: Option<WebhookTarget>,
    made: u64,
    posted: Arc<Mutex<VecDeque<Value>>>,
}

/// The intents to post.
#[derive(Debug, Default)]
pub(crate) struct IntentRequest {
    /// The order; `None` takes the orders in turn.
    pub(crate) order_number: Option<String>,
    /// The line; `None` takes every open line.
    pub(crate) line_id: Option<String>,
    pub(crate) envelope: IntentEnvelope,
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

/// Events to deliver in one round.
#[derive(Debug)]
pub(crate) struct DeliveryRound {
    pub(crate) events: Vec<Value>,
    webhook: WebhookTarget,
    posted: Arc<Mutex<VecDeque<Value>>>,
    now: Duration,
}

impl IntentPoster {
    pub(crate) fn new(webhook: Option<WebhookTarget>) -> Self {
        Self { webhook, ..Self::default() }
    }

    /// Builds events about orders of this world.
    pub(crate) fn make(
        &mut self,
        world: &World,
        seed: u64,
        now: Timestamp,
        wish: &IntentRequest,
    ) -> Result<DeliveryRound, IntentRefusal> {
        let webhook = self.webhook.clone().ok_or(IntentRefusal::NoWebhook)?;
        let mut events = Vec::new();
        for _ in 0..wish.count {
            let order = choose(world, self.made, wish)?;
            self.made += 1;
            events.push(event(wish.envelope, &facts(order, wish, &ids_of(seed, self.made, now), now)?));
        }
        let now = Duration::try_from(now.duration_since(Timestamp::UNIX_EPOCH)).unwrap_or_default();
        Ok(DeliveryRound { events, webhook, posted: self.posted.clone(), now })
    }

    /// Builds an event about an order that the seller fulfills: the lines that the customer wants cancelled.
    pub(crate) fn make_about(
        &mut self,
        order: &SellerOrder,
        seed: u64,
        now: Timestamp,
        wish: &IntentRequest,
    ) -> Result<DeliveryRound, IntentRefusal> {
        let webhook = self.webhook.clone().ok_or(IntentRefusal::NoWebhook)?;
        self.made += 1;
        let meant = |line: &&SellerLine| line.intent && wish.line_id.as_deref().is_none_or(|id| id == line.number);
        let lines = order.lines.iter().filter(meant).map(|line| WantedLine {
            number: line.number.clone(),
            sku: line.sku.clone(),
            name: line.name.clone(),
            units: line.open(),
        });
        let facts = IntentFacts {
            event_id: ids_of(seed, self.made, now),
            time: now,
            ordered: order.created,
            partner_id: "10000000001".to_owned(),
            purchase_order: order.purchase_order.clone(),
            customer_order: order.customer_order.clone(),
            ship_node_type: order.ship_node_type.clone(),
            lines: lines.collect(),
        };
        let events = vec![event(wish.envelope, &facts)];
        let now = Duration::try_from(now.duration_since(Timestamp::UNIX_EPOCH)).unwrap_or_default();
        Ok(DeliveryRound { events, webhook, posted: self.posted.clone(), now })
    }

    /// The newest finished deliveries, oldest first.
    pub(crate) fn posted(&self) -> Vec<Value> {
        self.posted.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
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

fn facts(order: &Order, wish: &IntentRequest, event_id: &str, now: Timestamp) -> Result<IntentFacts, IntentRefusal> {
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
        event_id: event_id.to_owned(),
        time: now,
        ordered: order.accepted,
        partner_id: "10000000001".to_owned(),
        purchase_order: order.number.clone(),
        customer_order: order.number.clone(),
        ship_node_type: "WFSFulfilled".to_owned(),
        lines,
    })
}

impl DeliveryRound {
    /// Delivers all events. An event is tried three times at most, until the answer is 200.
    pub(crate) async fn post(self) {
        let Self { events, webhook, posted, now } = self;
        let (webhook, posted) = (&webhook, &posted);
        let one = |event: Value| async move {
            let body = event.to_string().into_bytes();
            let mut tries = Vec::new();
            let mut waits = RETRY_AFTER.into_iter();
            let delivered = loop {
                let answer = webhook.post(body.clone(), now).await;
                tries.push(match &answer {
                    Ok(answer) => json!({"status": answer.status, "body": answer.body}),
                    Err(why) => json!({"status": null, "error": why}),
                });
                if answer.is_ok_and(|answer| answer.status == 200) {
                    break true;
                }
                let Some(wait) = waits.next() else { break false };
                sleep(wait).await;
            };
            remember(posted, &event, &tries, delivered);
        };
        futures_util::stream::iter(events).for_each_concurrent(AT_ONCE, one).await;
    }
}

fn remember(posted: &Mutex<VecDeque<Value>>, event: &Value, tries: &[Value], delivered: bool) {
    let order = if event["payload"]["order"].is_object() { &event["payload"]["order"] } else { &event["payload"] };
    let summary = json!({"event_id": event["source"]["eventId"], "event_type": event["source"]["eventType"],
        "time": event["source"]["eventTime"], "order_number": order["purchaseOrderId"], "delivered": delivered,
        "tries": tries});
    let mut posted = posted.lock().unwrap_or_else(PoisonError::into_inner);
    posted.push_back(summary);
    while posted.len() > REMEMBERED {
        posted.pop_front();
    }
}
