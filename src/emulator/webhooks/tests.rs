//! Subscriptions that really deliver, to a receiver on a real port.

use std::time::Duration;

use axum::Router;
use axum::extract::State as Given;
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::emulator::EmulatorOptions;
use crate::emulator::tests::{CREATE, Seller, cancel_body, create_body, options, send};

const PATH: &str = "/v3/webhooks/subscriptions";

type Post = (String, HeaderMap, Bytes);

/// A receiver of everything, at `/hook` and `/token`.
struct Receiver {
    base: String,
    posts: mpsc::Receiver<Post>,
}

impl Receiver {
    async fn start() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (sender, posts) = mpsc::channel(100);
        let take = async |Given(sender): Given<mpsc::Sender<Post>>, uri: http::Uri, headers: HeaderMap, body: Bytes| {
            let is_token = uri.path() == "/token";
            sender.send((uri.path().to_owned(), headers, body)).await.unwrap();
            axum::Json(if is_token { json!({"access_token": "tok", "expires_in": 3600}) } else { json!({}) })
        };
        let router = Router::new().route("/hook", post(take)).route("/token", post(take)).with_state(sender);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, router).into_future());
        Self { base, posts }
    }

    fn url(&self) -> String {
        format!("{}/hook", self.base)
    }

    /// The next event, with its headers.
    async fn next(&mut self) -> (HeaderMap, Value) {
        let (path, headers, body) = self.posts.recv().await.unwrap();
        assert_eq!(path, "/hook");
        (headers, serde_json::from_slice(&body).unwrap())
    }

    async fn next_kinds(&mut self, count: usize) -> Vec<String> {
        let mut kinds = Vec::new();
        for _ in 0..count {
            kinds.push(self.next().await.1["source"]["eventType"].as_str().unwrap().to_owned());
        }
        kinds.sort();
        kinds
    }
}

fn subscription(event_type: &str, url: &str) -> Value {
    let resource = if event_type.starts_with("RETURN_") { "ReturnsAndRefunds" } else { "ORDER" };
    json!({"eventType": event_type, "eventVersion": "V1", "resourceName": resource, "eventUrl": url, "status": "ACTIVE"})
}

async fn call(seller: &Seller, method: Method, path: &str, body: &Value) -> (u16, Value) {
    let request = seller.post_request(path).method(method).body(body.to_string().into()).unwrap();
    let got = send(&seller.emulator, request).await.unwrap();
    (got.status, got.body)
}

/// Makes a subscription and tells its id.
async fn subscribe(seller: &Seller, event: Value) -> String {
    let (status, body) = call(seller, Method::POST, PATH, &json!({ "events": [event] })).await;
    assert_eq!(status, 200, "{body}");
    body["events"][0]["subscriptionId"].as_str().unwrap().to_owned()
}

async fn list(seller: &Seller) -> Value {
    let request = seller.post_request(PATH).method(Method::GET).body(Bytes::new()).unwrap();
    send(&seller.emulator, request).await.unwrap().body
}

async fn simulate(seller: &Seller, path: &str, body: &Value) {
    let uri = format!("/v1/simulations/{path}");
    let request = Request::post(uri).body(Bytes::from(body.to_string())).unwrap();
    assert_eq!(send(&seller.emulator, request).await.unwrap().status, 200);
}

#[tokio::test]
async fn subscriptions_are_made_again_changed_listed_and_deleted() {
    let seller = Seller::new(options()).await;
    let mut event = subscription("ORDER_UPDATES", "https://gw.example/a");
    event["authDetails"] = json!({"authMethod": "HMAC", "authHeaderName": "X-Auth", "clientSecret": "s3cret"});
    let first = subscribe(&seller, event.clone()).await;
    let second = subscribe(&seller, event.clone()).await;
    assert_ne!(first, second, "a repeat is carried out again");
    let shown = list(&seller).await;
    assert_eq!(shown["events"].as_array().unwrap().len(), 2);
    assert_eq!(shown["events"][0]["authDetails"]["clientSecret"], "s3cret", "Walmart echoes secrets");
    let path = format!("{PATH}/{first}");
    let (status, changed) = call(&seller, Method::PATCH, &path, &json!({"status": "INACTIVE"})).await;
    assert_eq!((status, &changed["status"], &changed["subscriptionId"]), (200, &json!("INACTIVE"), &json!(first)));
    assert_eq!(call(&seller, Method::PATCH, &path, &json!({"eventType": "PO_CREATED"})).await.0, 400);
    assert_eq!(call(&seller, Method::PATCH, &path, &json!({})).await.0, 400);
    let (status, gone) = call(&seller, Method::DELETE, &path, &Value::Null).await;
    assert_eq!((status, &gone["subscriptionId"]), (200, &json!(first)));
    let (status, unknown) = call(&seller, Method::DELETE, &path, &Value::Null).await;
    assert_eq!((status, &unknown["errors"][0]["code"]), (404, &json!("CONTENT_NOT_FOUND.GMP_NOTIFICATION_API")));
    let mut other = seller.clone();
    other.sign_in("b3RoZXI6c2VjcmV0").await; // other:secret
    assert_eq!(list(&other).await, json!({"events": []}), "an account has its own");
    let sandbox = seller.in_sandbox();
    assert_eq!(list(&sandbox).await.as_array().unwrap().len(), 1, "a bare list");
    for bad in [
        json!({}),
        json!({"events": []}),
        json!({"events": [{}]}),
        json!({"events": [subscription("NO_EVENT", "http://a/")]}),
        json!({"events": [subscription("ORDER_UPDATES", "gw.example")]}),
    ] {
        assert_eq!(call(&sandbox, Method::POST, PATH, &bad).await.0, 400, "{bad}");
    }
}

#[tokio::test]
async fn active_subscriptions_receive_what_happens_each_in_its_envelope() {
    let mut receiver = Receiver::start().await;
    let seller = Seller::new(options()).await;
    for event_type in [
        "INTENT_TO_CANCEL",
        "ORDER_UPDATES",
        "PO_CREATED",
        "ORDER_STATUS_UPDATE",
        "ORDER_SHIPMENT_UPDATE",
        "MCS_RETURN_ORDER_STATUS_UPDATE",
        "RETURN_CREATED",
    ] {
        subscribe(&seller, subscription(event_type, &receiver.url())).await;
    }
    simulate(&seller, "orders", &json!({"purchaseOrderId": "1700000000777"})).await;
    assert_eq!(receiver.next_kinds(2).await, ["ORDER_UPDATES", "PO_CREATED"]);
    seller.control("POST", "intents", r#"{"purchase_order_id": "1700000000777"}"#).await;
    assert_eq!(receiver.next_kinds(2).await, ["INTENT_TO_CANCEL", "ORDER_UPDATES"]);
    seller.control("POST", "intents", r#"{"purchase_order_id": "1700000000777", "deliver": false}"#).await;
    seller.post(CREATE, &create_body("SO1", "SKU-1", 2)).await;
    let (_, made) = receiver.next().await;
    assert_eq!(
        (&made["source"]["eventType"], &made["payload"]["originSystemOrderId"]),
        (&json!("ORDER_STATUS_UPDATE"), &json!("SO1"))
    );
    seller.post(&format!("{CREATE}/cancel"), &cancel_body("SO1", "1", 1)).await;
    let (_, cancelled) = receiver.next().await;
    assert_eq!(cancelled["payload"]["lineItemStatus"][0]["itemStatus"][1]["status"], "CANCELLED");
    seller.post(CREATE, &create_body("SO2", "SKU-1", 1)).await;
    receiver.next().await;
    seller.control("POST", "orders/SO2/lines/1/ship", "").await;
    assert_eq!(receiver.next_kinds(2).await, ["ORDER_SHIPMENT_UPDATE", "ORDER_STATUS_UPDATE"]);
    let returned = json!({"header": {}, "payload": {"sellerReturnOrderId": "R-1", "sellerOrderId": "acme000123",
        "orderItems": [{"returnReason": "DAMAGED", "itemDetail": {"sku": "MUG-RED-12"}, "qty": {"measurementValue": 1}}]}});
    seller.post("/v3/fulfillment/return-orders", &returned).await;
    let (_, opened) = receiver.next().await;
    assert_eq!(opened["payload"]["header"]["eventName"], "MCS_RETURN_ORDER_CREATED");
    simulate(&seller, "returns", &json!({"purchaseOrderId": "1700000000003"})).await;
    assert_eq!(receiver.next_kinds(1).await, ["RETURN_CREATED"]);
    let missed = tokio::time::timeout(Duration::from_millis(50), receiver.posts.recv()).await;
    assert!(missed.is_err(), "{missed:?}");
}

#[tokio::test]
async fn two_subscriptions_are_two_deliveries_and_inactive_ones_are_none() {
    let mut receiver = Receiver::start().await;
    let seller = Seller::new(options()).await;
    for status in ["ACTIVE", "ACTIVE", "INACTIVE"] {
        let mut event = subscription("INTENT_TO_CANCEL", &receiver.url());
        event["status"] = json!(status);
        subscribe(&seller, event).await;
    }
    let asked = seller.control("POST", "intents", r#"{"order_number": "sellername001ABC123"}"#).await;
    assert_eq!(asked.body["event_ids"].as_array().unwrap().len(), 2);
    let (first, second) = (receiver.next().await.1, receiver.next().await.1);
    assert_ne!(first["source"]["eventId"], second["source"]["eventId"]);
    assert_eq!(first["payload"], second["payload"]);
}

#[tokio::test]
async fn each_proof_is_as_subscribed() {
    let mut receiver = Receiver::start().await;
    let seller = Seller::new(options()).await;
    let sample = |auth: Value| {
        let mut event = subscription("INTENT_TO_CANCEL", &receiver.url());
        event["authDetails"] = auth;
        event["headers"] = json!({"content-type": "application/json", "x-more": "m"});
        event.as_object_mut().unwrap().remove("status");
        event
    };
    let samples = [
        sample(json!({"authMethod": "BASIC_AUTH", "authHeaderName": "X-Auth", "userName": "u", "password": "p"})),
        sample(json!({"authMethod": "HMAC", "authHeaderName": "X-Auth", "clientSecret": "s3cret"})),
        sample(json!({"authMethod": "OAUTH", "authHeaderName": "X-Auth", "clientId": "c", "clientSecret": "s",
            "authUrl": format!("{}/token", receiver.base)})),
    ];
    for (at, body) in samples.iter().enumerate() {
        let (status, said) = call(&seller, Method::POST, "/v3/webhooks/test", body).await;
        assert_eq!((status, said["message"].is_string()), (200, true));
        if at == 2 {
            let (path, headers, form) = receiver.posts.recv().await.unwrap();
            assert_eq!((path.as_str(), &form[..]), ("/token", &b"grant_type=client_credentials"[..]));
            assert_eq!(headers["x-auth"], STANDARD.encode("c:s"));
        }
        let (path, headers, bytes) = receiver.posts.recv().await.unwrap();
        assert_eq!(
            (path.as_str(), &headers["x-more"], &headers["content-type"]),
            ("/hook", &http::HeaderValue::from_static("m"), &http::HeaderValue::from_static("application/json"))
        );
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"s3cret");
        let wanted = [
            format!("Basic {}", STANDARD.encode("u:p")),
            STANDARD.encode(ring::hmac::sign(&key, &bytes)),
            "Bearer tok".to_owned(),
        ];
        assert_eq!(headers["x-auth"], wanted[at]);
        let event: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(event["payload"]["purchaseOrderId"], "1999999999999", "nobody's");
    }
}

#[tokio::test]
async fn past_the_15th_of_december_only_order_updates_are_left() {
    let mut receiver = Receiver::start().await;
    let clock = crate::emulator::EmulatorClock::tokio("2026-12-14T23:00:00Z".parse().unwrap());
    let mut seller = Seller::new(EmulatorOptions { clock, ..options() }).await;
    let old = subscribe(&seller, subscription("INTENT_TO_CANCEL", &receiver.url())).await;
    subscribe(&seller, subscription("ORDER_UPDATES", &receiver.url())).await;
    seller.control("POST", "intents", "").await;
    assert_eq!(receiver.next_kinds(2).await, ["INTENT_TO_CANCEL", "ORDER_UPDATES"]);
    seller.control("POST", "clock/advance", r#"{"by": "61m"}"#).await;
    seller.sign_in("aWQ6c2VjcmV0").await;
    let asked = seller.control("POST", "intents", "").await;
    assert_eq!(asked.body["event_ids"].as_array().unwrap().len(), 1);
    assert_eq!(receiver.next_kinds(1).await, ["ORDER_UPDATES"]);
    assert_eq!(seller.control("POST", "intents", r#"{"event": "INTENT_TO_CANCEL"}"#).await.status, 400);
    for event_type in super::OLD_EVENTS {
        let body = json!({"events": [subscription(event_type, &receiver.url())]});
        assert_eq!(call(&seller, Method::POST, PATH, &body).await.0, 400, "{event_type}");
    }
    let types = seller.post_request("/v3/webhooks/eventTypes").method(Method::GET).body(Bytes::new()).unwrap();
    let types = send(&seller.emulator, types).await.unwrap().body["events"].to_string();
    assert!(types.contains("ORDER_UPDATES") && !types.contains("INTENT_TO_CANCEL"), "{types}");
    let ended = call(&seller, Method::PATCH, &format!("{PATH}/{old}"), &json!({"status": "INACTIVE"})).await;
    assert_eq!(ended.0, 200, "{}", ended.1);
}
