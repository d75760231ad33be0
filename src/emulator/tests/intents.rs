//! Intents to cancel, posted to a receiver on a real port.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State as Given;
use axum::routing::post;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::domain::hex;

type Delivery = (http::HeaderMap, Bytes);
type Script = Arc<(mpsc::Sender<Delivery>, Mutex<VecDeque<u16>>)>;

/// A receiver that answers by script, then 200.
struct Receiver {
    url: String,
    deliveries: mpsc::Receiver<Delivery>,
}

impl Receiver {
    async fn start(answers: &[u16]) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (sender, deliveries) = mpsc::channel(100);
        let script: Script = Arc::new((sender, Mutex::new(answers.iter().copied().collect())));
        let answer = async |Given(script): Given<Script>, headers: http::HeaderMap, body: Bytes| {
            script.0.send((headers, body)).await.unwrap();
            let status = script.1.lock().unwrap().pop_front().unwrap_or(200);
            (http::StatusCode::from_u16(status).unwrap(), "told")
        };
        let router = Router::new().route("/hook", post(answer)).with_state(script);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, router).into_future());
        Self { url, deliveries }
    }

    async fn next(&mut self) -> (http::HeaderMap, Value) {
        let (headers, body) = self.deliveries.recv().await.unwrap();
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"s3cret");
        use base64::Engine as _;
        let sent = base64::engine::general_purpose::STANDARD.decode(&headers["x-walmart-auth"]).unwrap();
        ring::hmac::verify(&key, &body, &sent).unwrap_or_else(|_| panic!("{}", hex::lower(&sent)));
        (headers, serde_json::from_slice(&body).unwrap())
    }
}

async fn seller_with(receiver: &Receiver) -> Seller {
    let seller = Seller::new(options()).await;
    let body = json!({"url": receiver.url, "secret": "s3cret"}).to_string();
    let set = seller.control("PUT", "webhook", &body).await;
    assert_eq!((set.status, &set.body["webhook"]), (200, &json!(receiver.url)), "{}", set.text);
    seller
}

/// What became of the deliveries, once there are so many.
async fn posted(seller: &Seller, count: usize) -> Vec<Value> {
    loop {
        let got = seller.control("GET", "intents", "").await;
        let all = got.body["intents"].as_array().unwrap().clone();
        if all.len() >= count {
            return all;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_intent_tells_what_is_open_of_an_order() {
    let mut receiver = Receiver::start(&[]).await;
    let seller = seller_with(&receiver).await;
    let asked = seller.control("POST", "intents", r#"{"order_number": "sellername001ABC123"}"#).await;
    assert_eq!(asked.status, 200, "{}", asked.text);
    let (headers, event) = receiver.next().await;
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(event["source"]["eventType"], "INTENT_TO_CANCEL");
    assert_eq!(event["source"]["eventId"], asked.body["event_ids"][0]);
    assert!(event["source"]["eventTime"].as_str().unwrap().starts_with("2026-11-21T12:00:00."), "{event}");
    let payload = &event["payload"];
    assert_eq!(payload["purchaseOrderId"], "sellername001ABC123");
    assert_eq!(payload["orderDate"], "2026-11-21T12:00:00+00:00");
    assert_eq!(payload["estimatedDeliveryDate"], "2026-11-28T12:00:00+00:00");
    let line = &payload["orderLines"][0];
    assert_eq!((&line["lineNumber"], &line["sku"]), (&json!("1232456"), &json!("SKU-1")));
    assert_eq!(line["quantity"], json!({"unitOfMeasure": "EACH", "measurementValue": "2"}));
    let posted = posted(&seller, 1).await;
    assert_eq!(
        (&posted[0]["delivered"], &posted[0]["tries"]),
        (&json!(true), &json!([{"status": 200, "body": "told"}]))
    );
}

#[tokio::test]
async fn order_updates_hold_the_same_order() {
    let mut receiver = Receiver::start(&[]).await;
    let seller = seller_with(&receiver).await;
    seller.control("POST", "intents", r#"{"event": "ORDER_UPDATES", "line_id": "1232456"}"#).await;
    let (_, event) = receiver.next().await;
    assert_eq!(event["source"]["eventType"], "ORDER_UPDATES");
    assert_eq!(event["payload"]["meta"]["subEventType"], "INTENT_TO_CANCEL");
    assert_eq!(event["payload"]["order"]["purchaseOrderId"], "sellername001ABC123");
}

#[tokio::test]
async fn a_delivery_is_tried_three_times_and_then_forgotten() {
    let mut receiver = Receiver::start(&[503, 401, 500, 503, 201]).await;
    let seller = seller_with(&receiver).await;
    seller.control("POST", "intents", "").await;
    let first = receiver.next().await.1;
    for _ in 0..2 {
        assert_eq!(receiver.next().await.1, first, "the same body");
    }
    let lost = posted(&seller, 1).await;
    let statuses: Vec<_> = lost[0]["tries"].as_array().unwrap().iter().map(|tried| tried["status"].as_u64()).collect();
    assert_eq!((&lost[0]["delivered"], statuses), (&json!(false), vec![Some(503), Some(401), Some(500)]));
    // Exactly 200 counts.
    seller.control("POST", "intents", "").await;
    let second = posted(&seller, 2).await;
    assert_eq!((&second[1]["delivered"], second[1]["tries"].as_array().unwrap().len()), (&json!(true), 3));
}

#[tokio::test]
async fn nobody_there_is_told() {
    let mut receiver = Receiver::start(&[]).await;
    let seller = seller_with(&receiver).await;
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let body = json!({"url": format!("http://{free}/"), "secret": "s"}).to_string();
    seller.control("PUT", "webhook", &body).await;
    seller.control("POST", "intents", "").await;
    let lost = posted(&seller, 1).await;
    assert_eq!((&lost[0]["delivered"], &lost[0]["tries"][2]["status"]), (&json!(false), &json!(null)));
    assert!(lost[0]["tries"][0]["error"].as_str().unwrap().contains("refused"), "{lost:?}");
    assert!(receiver.deliveries.try_recv().is_err());
}

#[tokio::test]
async fn only_what_is_open_can_be_cancelled() {
    let receiver = Receiver::start(&[]).await;
    let seller = seller_with(&receiver).await;
    for (body, status) in
        [(r#"{"order_number": "NO"}"#, 404), (r#"{"order_number": "sellername001ABC123", "line_id": "9"}"#, 404)]
    {
        assert_eq!(seller.control("POST", "intents", body).await.status, status, "{body}");
    }
    seller.control("POST", "orders/sellername001ABC123/lines/1232456/ship", "").await;
    for body in ["", r#"{"order_number": "sellername001ABC123"}"#] {
        assert_eq!(seller.control("POST", "intents", body).await.status, 409, "{body}");
    }
    seller.post(CREATE, &create_body("SO1", "SKU-1", 1)).await;
    assert_eq!(seller.control("POST", "intents", r#"{"count": 3}"#).await.status, 200);
    let posted = posted(&seller, 3).await;
    assert!(posted.iter().all(|intent| intent["order_number"] == "SO1"), "{posted:?}");
    let mut ids: Vec<_> = posted.iter().map(|intent| intent["event_id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 3);
    seller.control("POST", "reset", "").await;
    let left = seller.control("GET", "intents", "").await;
    assert_eq!((&left.body["webhook"], &left.body["intents"]), (&json!(null), &json!([])));
}

#[tokio::test]
async fn at_a_rate_orders_come_in_their_turn_until_the_end() {
    let mut receiver = Receiver::start(&[]).await;
    let seller = seller_with(&receiver).await;
    seller.post(CREATE, &create_body("SO1", "SKU-1", 1)).await;
    let stop = CancellationToken::new();
    let emulator = seller.emulator.clone();
    let ends = stop.clone();
    let posting = tokio::spawn(async move { emulator.post_intents(Duration::from_millis(1), ends).await });
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(receiver.next().await.1["payload"]["purchaseOrderId"].as_str().unwrap().to_owned());
    }
    assert_eq!(seen, ["sellername001ABC123", "SO1", "sellername001ABC123", "SO1"]);
    stop.cancel();
    posting.await.unwrap();
}
