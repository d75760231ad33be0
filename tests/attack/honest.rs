//! Honest callers: a few of each kind, none in a hurry, who note every failure and how long each answer took.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use order_gateway::pb;
use order_gateway::pb::cancel_intent_service_client::CancelIntentServiceClient;
use order_gateway::pb::fulfillment_service_client::FulfillmentServiceClient;
use order_gateway::pb::gateway_service_client::GatewayServiceClient;
use ring::hmac;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::gateway::{ACCOUNT, Gateway, HonestChannel, Result, SECRET, channel, text};

/// Callers of each kind, and the pause of each between an answer and the next call.
const CALLERS: [(Kind, usize, u64); 6] = [
    (Kind::Promise, 3, 10),
    (Kind::Create, 2, 30),
    (Kind::Status, 1, 30),
    (Kind::Connect, 1, 100),
    (Kind::Webhook, 2, 30),
    (Kind::Probe, 1, 100),
];
/// Connections that the gRPC callers share.
const CONNECTIONS: usize = 3;
/// For an answer; the gateway's own deadline is before it.
const PATIENCE: Duration = Duration::from_secs(12);

/// What is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A promise that is kept.
    Promise,
    /// A new order.
    Create,
    /// GetStatus.
    Status,
    /// GetStatus on a connection of its own.
    Connect,
    /// A signed intent.
    Webhook,
    /// `/readyz`, on a connection of its own.
    Probe,
}

/// What was noted since the last time.
#[derive(Default)]
pub(crate) struct Notes {
    /// Microseconds until each answer.
    pub took: BTreeMap<Kind, Vec<u64>>,
    /// What failed, each once, and how often.
    pub errors: BTreeMap<String, usize>,
}

impl Notes {
    /// Of all kinds, in milliseconds: how long this share of the answers took at most.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let mut all: Vec<u64> = self.took.values().flatten().copied().collect();
        all.sort_unstable();
        let at = ((all.len() as f64 * share) as usize).min(all.len().saturating_sub(1));
        all.get(at).map_or(0.0, |micros| *micros as f64 / 1000.0)
    }

    /// How many answers there were.
    pub(crate) fn answers(&self) -> usize {
        self.took.values().map(Vec::len).sum()
    }
}

/// The callers of a gateway, and two who watch.
pub(crate) struct Honest {
    shared: Arc<Shared>,
    end: CancellationToken,
    tasks: JoinSet<()>,
}

struct Shared {
    notes: Mutex<Notes>,
    next: AtomicU64,
    stored: AtomicUsize,
    watched: [AtomicUsize; 2],
    http: SocketAddr,
    grpc: SocketAddr,
    client: reqwest::Client,
    order: pb::Order,
    promise: pb::FetchDeliveryPromiseRequest,
}

impl Honest {
    /// Starts all of them.
    pub(crate) fn start(gateway: &Gateway) -> Result<Self> {
        let shared = Arc::new(Shared {
            notes: Mutex::default(),
            next: AtomicU64::new(1),
            stored: AtomicUsize::new(0),
            watched: Default::default(),
            http: gateway.http,
            grpc: gateway.grpc,
            client: reqwest::Client::builder().no_proxy().build().map_err(text)?,
            order: sample(include_str!("../../examples/create.json"))?,
            promise: pb::FetchDeliveryPromiseRequest {
                payload: Some(sample(include_str!("../../examples/promise.json"))?),
                ..Default::default()
            },
        });
        let end = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let channels = (0..CONNECTIONS).map(|_| channel(gateway.grpc)).collect::<Result<Vec<_>>>()?;
        for (kind, callers, pause) in CALLERS {
            for _ in 0..callers {
                let channel = channels[tasks.len() % CONNECTIONS].clone();
                let caller = shared.clone().repeat(kind, channel, Duration::from_millis(pause));
                let end = end.clone();
                tasks.spawn(async move {
                    end.run_until_cancelled(caller).await;
                });
            }
        }
        for (n, channel) in channels.iter().take(shared.watched.len()).enumerate() {
            let watcher = shared.clone().watch(channel.clone(), n);
            let end = end.clone();
            tasks.spawn(async move {
                end.run_until_cancelled(watcher).await;
            });
        }
        Ok(Self { shared, end, tasks })
    }

    /// What was noted since the last time.
    pub(crate) fn notes(&self) -> Notes {
        std::mem::take(&mut *self.shared.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Everybody stops; then every intent that was stored must have come to both who watch, soon.
    pub(crate) async fn end(mut self) -> Result<usize> {
        // The watchers go on for as long as this takes.
        let until = Instant::now() + PATIENCE;
        let shared = self.shared.clone();
        self.shared.notes.lock().unwrap_or_else(PoisonError::into_inner).took.clear();
        loop {
            let stored = shared.stored.load(Ordering::Acquire);
            let watched = shared.watched.each_ref().map(|watched| watched.load(Ordering::Acquire));
            if watched.iter().all(|watched| *watched >= stored) {
                self.end.cancel();
                while self.tasks.join_next().await.is_some() {}
                return Ok(stored);
            }
            if Instant::now() > until {
                return Err(format!("{stored} intents were stored, those who watch have seen {watched:?}"));
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Shared {
    async fn repeat(self: Arc<Self>, kind: Kind, channel: HonestChannel, pause: Duration) {
        loop {
            let began = Instant::now();
            let answer = tokio::time::timeout(PATIENCE, self.call(kind, channel.clone())).await;
            let took = began.elapsed().as_micros() as u64;
            self.note(kind, took, answer.unwrap_or_else(|_| Err("no answer".to_owned())));
            // A caller has other things to do between two calls.
            sleep(pause).await;
        }
    }

    fn note(&self, kind: Kind, took: u64, answer: Result<()>) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Ok(()) => notes.took.entry(kind).or_default().push(took),
            Err(error) => *notes.errors.entry(format!("{kind:?}: {error}")).or_default() += 1,
        }
    }

    async fn call(&self, kind: Kind, channel: HonestChannel) -> Result<()> {
        match kind {
            Kind::Promise => {
                let call = FulfillmentServiceClient::new(channel);
                { call }.fetch_delivery_promise(self.promise.clone()).await.map(drop).map_err(text)
            }
            Kind::Create => {
                let number = format!("HONEST-{}", self.next.fetch_add(1, Ordering::Relaxed));
                let request = create(&self.order, &number);
                FulfillmentServiceClient::new(channel).create_order(request).await.map(drop).map_err(text)
            }
            Kind::Status => status(channel).await,
            Kind::Connect => status(self::channel(self.grpc)?).await,
            Kind::Webhook => {
                let n = self.next.fetch_add(1, Ordering::Relaxed);
                let (answer, _) = post(&self.client, self.http, &format!("honest-{n}")).await?;
                if answer != 200 {
                    return Err(format!("HTTP {answer}"));
                }
                self.stored.fetch_add(1, Ordering::AcqRel);
                Ok(())
            }
            Kind::Probe => {
                // Nothing of it is kept, as a kubelet does.
                let client = reqwest::Client::builder().no_proxy().build().map_err(text)?;
                let answer = client.get(format!("http://{}/readyz", self.http)).send().await.map_err(text)?;
                answer.error_for_status().map(drop).map_err(text)
            }
        }
    }

    async fn watch(self: Arc<Self>, channel: HonestChannel, n: usize) {
        let request = pb::WatchCancelIntentsRequest {
            start: Some(pb::Position { at: Some(pb::position::At::Earliest(true)) }),
            ..Default::default()
        };
        let failed = async {
            let mut frames = CancelIntentServiceClient::new(channel).watch_cancel_intents(request).await?.into_inner();
            while let Some(frame) = frames.message().await? {
                if matches!(frame.frame, Some(pb::watch_cancel_intents_response::Frame::Event(_))) {
                    self.watched[n].fetch_add(1, Ordering::AcqRel);
                }
            }
            Ok::<(), tonic::Status>(())
        };
        let failed = failed.await.map_or_else(text, |()| "it ended".to_owned());
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        *notes.errors.entry(format!("Watch: {failed}")).or_default() += 1;
    }
}

async fn status(channel: HonestChannel) -> Result<()> {
    let request = pb::GetStatusRequest::default();
    GatewayServiceClient::new(channel).get_status(request).await.map(drop).map_err(text)
}

/// The payload of one of the examples.
pub(crate) fn sample<T: serde::de::DeserializeOwned>(body: &str) -> Result<T> {
    let body: Value = serde_json::from_str(body).map_err(text)?;
    serde_json::from_value(body["payload"].clone()).map_err(text)
}

/// The order with another number.
pub(crate) fn create(order: &pb::Order, number: &str) -> pb::CreateOrderRequest {
    let order = pb::Order {
        seller_order_id: Some(number.to_owned()),
        customer_order_no: Some(number.to_owned()),
        ..order.clone()
    };
    pb::CreateOrderRequest { payload: Some(order), account: ACCOUNT.to_owned(), ..Default::default() }
}

/// Posts a signed intent. Tells the HTTP status and whether it was a duplicate.
pub(crate) async fn post(client: &reqwest::Client, http: SocketAddr, event: &str) -> Result<(u16, bool)> {
    let body = intent(event);
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let proof: String = hmac::sign(&key, &body).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let request = client.post(format!("http://{http}/webhooks/walmart/{ACCOUNT}"));
    let request = request.header("content-type", "application/json").header("X-Walmart-Auth", proof).body(body);
    let answer = request.send().await.map_err(text)?;
    let status = answer.status().as_u16();
    let body = answer.text().await.map_err(text)?;
    Ok((status, body.contains("\"duplicate\":true")))
}

/// An intent to cancel with this event id.
pub(crate) fn intent(event: &str) -> Vec<u8> {
    let body = json!({
        "source": {"eventType": "INTENT_TO_CANCEL", "eventTime": "2026-11-21T11:59:59.123Z", "eventId": event},
        "payload": {"partnerId": "10000000001", "purchaseOrderId": event,
            "orderLines": [{"lineNumber": "1", "sku": "SKU-1", "quantity": {"measurementValue": "1"}}]},
    });
    body.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_all_kinds_together() {
        let mut notes = Notes::default();
        assert_eq!(notes.quantile(0.99), 0.0);
        notes.took.insert(Kind::Promise, (1..=50).map(|n| n * 1000).collect());
        notes.took.insert(Kind::Probe, (51..=100).map(|n| n * 1000).collect());
        assert_eq!((notes.quantile(0.5), notes.quantile(0.99), notes.answers()), (51.0, 100.0, 100));
    }
}
