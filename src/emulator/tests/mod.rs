//! The emulator from outside, as its callers see it.

mod calls;
mod control;
mod disturbed;
mod gateway;
mod intents;
mod port;
mod records;
mod wire;
mod world;

use bytes::Bytes;
use http::{Request, Response};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{DroppedCall, Emulator, EmulatorClock, EmulatorOptions};

pub(super) const PROMISE: &str = "/v3/fulfillment/orders-fulfillments/fetchOrderPromiseOptions";
pub(super) const CREATE: &str = "/v3/fulfillment/orders-fulfillments";
pub(super) const CANCEL: &str = "/v3/fulfillment/orders-fulfillments/cancel";
pub(super) const STATUS: &str = "/v3/fulfillment/orders-fulfillments/status";

/// An emulator with a token for it.
#[derive(Clone)]
pub(super) struct Seller {
    pub(super) emulator: Emulator,
    pub(super) token: String,
    sandbox: bool,
}

pub(super) struct Got {
    pub(super) status: u16,
    pub(super) body: Value,
    pub(super) headers: http::HeaderMap,
    pub(super) text: String,
    pub(super) bytes: Bytes,
}

impl Got {
    pub(super) fn of(response: Response<Bytes>) -> Self {
        let (parts, body) = response.into_parts();
        let text = String::from_utf8_lossy(&body).into_owned();
        let json = serde_json::from_slice(&body).unwrap_or_default();
        Self { status: parts.status.as_u16(), body: json, headers: parts.headers, text, bytes: body }
    }

    /// Code of the first error, in whichever envelope.
    pub(super) fn code(&self) -> &str {
        let list = if self.body["error"].is_array() { &self.body["error"] } else { &self.body["errors"] };
        list[0]["code"].as_str().unwrap_or_default()
    }
}

/// Fixed options: the clock stands with tokio's.
pub(super) fn options() -> EmulatorOptions {
    EmulatorOptions {
        seed: 7,
        clock: EmulatorClock::tokio("2026-11-21T12:00:00Z".parse().unwrap()),
        ..EmulatorOptions::default()
    }
}

pub(super) async fn send(emulator: &Emulator, request: Request<Bytes>) -> Result<Got, DroppedCall> {
    emulator.clone().oneshot(request).await.map(Got::of)
}

pub(super) fn token_request(basic: &str) -> http::request::Builder {
    Request::post("/v3/token")
        .header("authorization", format!("Basic {basic}"))
        .header("accept", "application/json")
        .header("content-type", "application/x-www-form-urlencoded")
        .header("wm_qos.correlation_id", "c")
        .header("wm_svc.name", "test")
}

impl Seller {
    pub(super) fn without_token(options: EmulatorOptions) -> Self {
        Self { emulator: Emulator::new(options), token: String::new(), sandbox: false }
    }

    pub(super) async fn new(options: EmulatorOptions) -> Self {
        let mut seller = Self::without_token(options);
        seller.sign_in("aWQ6c2VjcmV0").await; // id:secret
        seller
    }

    pub(super) async fn sign_in(&mut self, basic: &str) {
        let signed_in = self.try_sign_in(basic).await;
        assert!(signed_in.is_some());
    }

    /// None: the answer has no token.
    pub(super) async fn try_sign_in(&mut self, basic: &str) -> Option<()> {
        let request = token_request(basic).body("grant_type=client_credentials".into()).unwrap();
        let got = send(&self.emulator, request).await.unwrap();
        self.token = got.body["access_token"].as_str()?.to_owned();
        Some(())
    }

    pub(super) fn in_sandbox(mut self) -> Self {
        self.sandbox = true;
        self
    }

    pub(super) fn post_request(&self, path: &str) -> http::request::Builder {
        self.headers(Request::post(path)).header("content-type", "application/json")
    }

    fn headers(&self, builder: http::request::Builder) -> http::request::Builder {
        let builder = builder
            .header("accept", "application/json")
            .header("wm_sec.access_token", &self.token)
            .header("wm_qos.correlation_id", "corr-1")
            .header("wm_svc.name", "test");
        if self.sandbox { builder.header("wm_sandbox", "v2") } else { builder }
    }

    pub(super) async fn try_post(&self, path: &str, body: &Value) -> Result<Got, DroppedCall> {
        send(&self.emulator, self.post_request(path).body(body.to_string().into()).unwrap()).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Got {
        self.try_post(path, body).await.unwrap()
    }

    pub(super) fn get_request(&self, query: &str) -> Request<Bytes> {
        self.headers(Request::get(format!("{STATUS}?{query}"))).body(Bytes::new()).unwrap()
    }

    pub(super) async fn get_status(&self, query: &str) -> Got {
        send(&self.emulator, self.get_request(query)).await.unwrap()
    }

    pub(super) async fn control(&self, method: &str, path: &str, body: &str) -> Got {
        let uri = format!("/_emulator/v1/{path}");
        let request = Request::builder().method(method).uri(uri).body(Bytes::copy_from_slice(body.as_bytes())).unwrap();
        send(&self.emulator, request).await.unwrap()
    }

    pub(super) async fn stock(&self, sku: &str) -> u64 {
        self.control("GET", "stock", "").await.body["stock"][sku].as_u64().unwrap()
    }
}

/// Seed 001's create, for another number and SKU.
pub(super) fn create_body(number: &str, sku: &str, units: u64) -> Value {
    let contact =
        json!({"name": {"firstName": "A", "lastName": "B"}, "phone": "555-111-2222", "email": "[email protected]"});
    json!({"header": {"headerAttributes": {"martId": "202", "buId": "0"}}, "payload": {
        "orderChannelId": "ORDER_CHANNEL_ID", "sellerOrderId": number, "customerOrderNo": number,
        "orderPlacedTime": "2017-07-21T17:32:28Z", "customer": {"contact": contact},
        "orderItems": [{"sellerLineId": "1", "fulfillmentType": "S2H", "shippingMethod": "STANDARD",
            "itemDetail": {"sku": sku, "description": "Example product description"},
            "qty": {"unitOfMeasure": "EACH", "measurementValue": units},
            "shippingTo": {"contact": contact, "address": {"line1": "100 Main St", "city": "San Francisco",
                "state": "CA", "country": "US", "zip": "94103"}},
            "chargeDetails": [{"chargeCategory": "ITEM", "chargePerUnit": {"currencyAmount": 100, "currencyUnit": "USD"}}]}]}})
}

/// Seed 001's cancel, for another number.
pub(super) fn cancel_body(number: &str, line: &str, units: u64) -> Value {
    json!({"header": {"headerAttributes": {"martId": "202", "buId": "0"}}, "payload": {
        "sellerId": "ACCOUNT_ID", "sellerOrderId": number, "customerOrderNo": number,
        "orderItems": [{"sellerLineId": line, "qty": {"unitOfMeasure": "EACH", "measurementValue": units}}]}})
}

/// Seed 001's promise, for these SKUs.
pub(super) fn promise_body(skus: &[(&str, u64)]) -> Value {
    let offers: Vec<Value> = skus
        .iter()
        .enumerate()
        .map(|(i, (sku, units))| {
            json!({"sku": sku, "lineId": (i + 1).to_string(), "salesUnit": "EACH",
                "requestedQuantity": {"measurementValue": units, "unitOfMeasure": "EACH"}, "shippingMethod": "STANDARD"})
        })
        .collect();
    json!({"header": {"headerAttributes": {"martId": "202", "buId": "0"}}, "payload": {
        "offerSelections": [{"offers": offers}],
        "destinations": [{"fulfillmentType": "S2H", "address": {"line1": "100 Main St", "city": "San Francisco",
            "state": "CA", "country": "US", "zip": "94103"}}]}})
}
