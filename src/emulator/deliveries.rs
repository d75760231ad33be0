//! Delivers events to receivers: three tries each, and a memory of what became of them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::time::sleep;

use super::posting::{DeliveryProof, WebhookTarget};

/// Waits before the second and the third try of a delivery; Walmart waits 5 and 15 minutes.
const RETRY_AFTER: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];
/// Concurrent deliveries of a round.
const AT_ONCE: usize = 16;
/// Finished deliveries kept for `GET intents`.
const REMEMBERED: usize = 1_000;

/// The newest finished deliveries. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct PostedEvents(Arc<Mutex<VecDeque<Value>>>);

impl PostedEvents {
    /// The finished deliveries, oldest first.
    pub(crate) fn shown(&self) -> Vec<Value> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

/// Events to deliver in one round.
#[derive(Debug)]
pub(crate) struct DeliveryRound {
    pub(crate) deliveries: Vec<Delivery>,
    posted: PostedEvents,
    now: Duration,
}

/// One event for one receiver.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) event: Value,
    pub(crate) to: Receiver,
}

/// Where an event is posted.
#[derive(Clone, Debug)]
pub(crate) enum Receiver {
    /// The webhook of the control API and of the command line.
    Preset(WebhookTarget),
    /// The URL of a subscription.
    Subscribed {
        /// Id of the subscription; empty for a sample.
        subscription: String,
        url: String,
        proof: DeliveryProof,
        headers: Vec<(String, String)>,
    },
}

impl Receiver {
    /// Prepares for posting.
    fn target(&self) -> Result<WebhookTarget, String> {
        match self {
            Self::Preset(target) => Ok(target.clone()),
            Self::Subscribed { url, proof, headers, .. } => {
                Ok(WebhookTarget::new(url, proof.clone())?.with_headers(headers.iter().cloned()))
            }
        }
    }

    fn subscription(&self) -> Option<&str> {
        match self {
            Self::Preset(_) => None,
            Self::Subscribed { subscription, .. } => Some(subscription),
        }
    }
}

impl DeliveryRound {
    /// A round of deliveries at `now`, which `posted` remembers.
    pub(crate) fn new(deliveries: Vec<Delivery>, posted: &PostedEvents, now: Timestamp) -> Self {
        let now = Duration::try_from(now.duration_since(Timestamp::UNIX_EPOCH)).unwrap_or_default();
        Self { deliveries, posted: posted.clone(), now }
    }

    /// Delivers the events in the background, if there are any and this is a runtime.
    pub(crate) fn post_in_background(self) {
        if !self.deliveries.is_empty()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(self.post());
        }
    }

    /// Delivers all events. An event is tried three times at most, until the answer is 200.
    pub(crate) async fn post(self) {
        let Self { deliveries, posted, now } = self;
        let posted = &posted;
        let one = |Delivery { event, to }: Delivery| async move {
            let target = to.target();
            let body = event.to_string().into_bytes();
            let mut tries = Vec::new();
            let mut waits = RETRY_AFTER.into_iter();
            let delivered = loop {
                let answer = match &target {
                    Ok(target) => target.post(body.clone(), now).await,
                    Err(why) => Err(why.clone()),
                };
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
            remember(posted, &event, &to, &tries, delivered);
        };
        futures_util::stream::iter(deliveries).for_each_concurrent(AT_ONCE, one).await;
    }
}

fn remember(posted: &PostedEvents, event: &Value, to: &Receiver, tries: &[Value], delivered: bool) {
    let order = if event["payload"]["order"].is_object() { &event["payload"]["order"] } else { &event["payload"] };
    let summary = json!({"event_id": event["source"]["eventId"], "event_type": event["source"]["eventType"],
        "time": event["source"]["eventTime"], "order_number": order["purchaseOrderId"],
        "subscription_id": to.subscription(), "delivered": delivered, "tries": tries});
    let mut posted = posted.0.lock().unwrap_or_else(PoisonError::into_inner);
    posted.push_back(summary);
    while posted.len() > REMEMBERED {
        posted.pop_front();
    }
}
