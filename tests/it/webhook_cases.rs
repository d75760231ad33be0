//! Forms of deliveries, and where each must appear: posted to the door, looked for by the RPCs.

use order_gateway::pb;
use order_gateway::pb::order_update_service_client::OrderUpdateServiceClient;
use serde_json::{Value, json};

use crate::support::app::{Setup, TestApp};
use crate::support::feed;
use crate::support::webhooks::{Sender, sign};

/// The account whose seller the bodies name.
const SETTINGS: &str = r#"
[[accounts]]
id = "demo"
partner_id = "10000680931"
client_id = "demo"
client_secret = "demo-secret"
webhook = { auth = "hmac", secret = "dev-secret" }
"#;

/// Where a delivery appears, exactly once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In the feed of intents.
    Intents(Expected),
    /// In the feed of intents, in that of order updates or in quarantine.
    Shown,
    /// In none of them.
    Nowhere,
}

/// What an intent says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Expected {
    purchase_order: &'static str,
    sku: Option<&'static str>,
    partner_mismatch: bool,
}

/// How a body is posted.
struct Case {
    /// One after the other; the last one is looked for.
    bodies: Vec<Value>,
    path: &'static str,
    content_type: Option<&'static str>,
    is_signed: bool,
    answer: u16,
    place: Place,
}

impl Case {
    fn of(bodies: Vec<Value>, place: Place) -> Self {
        let (path, content_type) = ("/webhooks/walmart/demo", Some("application/json"));
        Self { bodies, path, content_type, is_signed: true, answer: 200, place }
    }

    fn intent(body: Value, purchase_order: &'static str) -> Self {
        Self::of(vec![body], Place::Intents(Expected { purchase_order, ..Expected::default() }))
    }

    fn with_sku(mut self) -> Self {
        if let Place::Intents(expected) = &mut self.place {
            expected.sku = Some("MUG-RED-12");
        }
        self
    }

    /// Whole posts, as bytes.
    fn posts(&self) -> impl Iterator<Item = Vec<u8>> + '_ {
        self.bodies.iter().map(|body| {
            let body = body.to_string();
            let proof = if self.is_signed { sign(body.as_bytes()) } else { sign(b"another body") };
            let content_type = self.content_type.map(|it| format!("content-type: {it}\r\n")).unwrap_or_default();
            format!(
                "POST {} HTTP/1.1\r\nhost: gateway\r\n{content_type}x-walmart-auth: {proof}\r\ncontent-length: {}\r\n\r\n{body}",
                self.path,
                body.len()
            )
            .into_bytes()
        })
    }
}

/// A line in the names of the event INTENT_TO_CANCEL.
fn lines() -> Value {
    json!([{"lineNumber": "1", "sku": "MUG-RED-12", "productName": "Red mug",
        "quantity": {"unitOfMeasure": "EACH", "measurementValue": "2"}, "cancellationReason": "ordered twice"}])
}

/// The event of this number. Its id and its purchase order end in it.
fn event(event_type: &str, number: u32, payload: Value) -> Value {
    json!({"source": {"eventType": event_type, "eventFilters": null, "eventTime": "2026-12-16T09:30:00.000Z",
        "eventId": format!("c0ffee00-0000-4000-8000-0000000000{number:02}")}, "payload": payload})
}

/// An event of its own about an order of this seller.
fn about(event_type: &str, number: u32, seller: &str) -> Value {
    let mut payload = order(number);
    payload["partnerId"] = json!(seller);
    event(event_type, number, payload)
}

fn order(number: u32) -> Value {
    json!({"partnerId": "10000680931", "purchaseOrderId": format!("17000000001{number:02}"),
        "customerOrderId": "5550000000001", "orderLines": lines()})
}

/// An order in the names of the Orders API.
fn api_order(number: u32) -> Value {
    json!({"purchaseOrderId": format!("17000000001{number:02}"), "orderLines": {"orderLine": [{"lineNumber": "1",
        "item": {"sku": "MUG-RED-12", "productName": "Red mug"},
        "orderLineQuantity": {"unitOfMeasurement": "EACH", "amount": "2"}}]}})
}

fn kind_in_payload() -> Value {
    event("ORDER_UPDATES", 1, json!({"subEventType": "INTENT_TO_CANCEL", "order": order(1)}))
}

/// The published cases.
fn cases() -> Vec<Case> {
    const INTENT: &str = "INTENT_TO_CANCEL";
    let in_meta = event("ORDER_UPDATES", 2, json!({"meta": {"subEventType": INTENT}, "order": order(2)}));
    let mut in_source = event("ORDER_UPDATES", 3, json!({"order": order(3)}));
    in_source["source"]["subEventType"] = json!(INTENT);
    let mut in_order = event("ORDER_UPDATES", 4, json!({"order": order(4)}));
    in_order["payload"]["order"]["subEventType"] = json!(INTENT);
    let mut flag = event("ORDER_UPDATES", 5, json!({"order": api_order(5)}));
    flag["payload"]["order"]["orderLines"]["orderLine"][0]["intentToCancel"] = json!("TRUE");
    let api = event("ORDER_UPDATES", 6, json!({"subEventType": INTENT, "order": api_order(6)}));
    let inside = event(INTENT, 7, json!({"order": order(7)}));
    let mismatch = Expected { purchase_order: "1700000000113", sku: None, partner_mismatch: true };
    let again = || Case::intent(kind_in_payload(), "1700000000101");
    let seller = "10000680931";
    vec![
        Case::intent(kind_in_payload(), "1700000000101"),
        Case::intent(in_meta, "1700000000102"),
        Case::intent(in_source, "1700000000103"),
        Case::intent(in_order, "1700000000104"),
        Case::intent(flag, "1700000000105").with_sku(),
        Case::intent(api, "1700000000106").with_sku(),
        Case::intent(inside, "1700000000107").with_sku(),
        Case::of(vec![event("ORDER_UPDATES", 8, json!({"order": order(8)}))], Place::Shown),
        Case::of(
            vec![event("ORDER_UPDATES", 10, json!({"subEventType": "Intent To Cancel", "order": order(10)}))],
            Place::Shown,
        ),
        Case::of(
            vec![event("ORDER_UPDATES", 11, json!({"subEventType": "PO_LINE_MOVED", "order": order(11)}))],
            Place::Shown,
        ),
        Case::of(vec![about("PO_CREATED", 12, seller)], Place::Shown),
        Case::of(vec![about(INTENT, 13, "10000999999")], Place::Intents(mismatch)),
        // One event id, two bodies: the second is shown too.
        Case::of(vec![about("PO_CREATED", 14, seller), about(INTENT, 14, seller)], Place::Shown),
        Case { content_type: None, ..again() },
        Case { content_type: Some("application/octet-stream"), place: Place::Shown, ..again() },
        Case { path: "/webhooks/walmart/demo/", ..again() },
        Case {
            content_type: Some("application/octet-stream"),
            is_signed: false,
            answer: 401,
            place: Place::Nowhere,
            ..again()
        },
        Case { path: "/webhooks/walmart/nobody", answer: 404, place: Place::Nowhere, ..again() },
    ]
}

/// What the RPCs show of a gateway.
struct Shown {
    intents: Vec<pb::Event>,
    /// Bodies among the order updates and in quarantine.
    elsewhere: Vec<Vec<u8>>,
}

async fn shown(app: &TestApp) -> Shown {
    let client = app.client().await;
    let mut rpcs = feed::client(&client);
    let request = pb::ListCancelIntentsRequest { include_raw: true, ..Default::default() };
    let intents = rpcs.list_cancel_intents(request).await.unwrap().into_inner().events;
    let request = pb::ListQuarantinedWebhooksRequest { include_raw: true, ..Default::default() };
    let kept = rpcs.list_quarantined_webhooks(request).await.unwrap().into_inner().webhooks;
    let request = pb::ListOrderUpdatesRequest { include_raw: true, ..Default::default() };
    let updates = OrderUpdateServiceClient::new(client.service()).list_order_updates(request).await.unwrap();
    let updates = updates.into_inner().updates.into_iter().map(|update| update.raw_body);
    Shown { intents, elsewhere: kept.into_iter().map(|one| one.raw_body).chain(updates).collect() }
}

#[tokio::test]
async fn every_delivery_appears_where_it_belongs_and_nowhere_else() {
    for (number, case) in cases().into_iter().enumerate() {
        let app = Setup::new().settings(SETTINGS).start().await;
        let mut walmart = Sender::connect(app.http).await;
        let mut answer = 0;
        for post in case.posts() {
            answer = walmart.send(&post).await.0;
        }
        assert_eq!(answer, case.answer, "case {number}");
        let shown = shown(&app).await;
        let body = case.bodies.last().unwrap().to_string().into_bytes();
        let intents: Vec<_> = shown.intents.iter().filter(|event| event.raw_body == body).collect();
        let elsewhere = shown.elsewhere.iter().filter(|kept| **kept == body).count();
        match case.place {
            Place::Intents(expected) => {
                let [event] = intents[..] else { panic!("case {number}: {intents:?}") };
                let intent = event.intent.as_ref().unwrap();
                assert_eq!(intent.purchase_order_id, expected.purchase_order, "case {number}");
                assert_eq!(event.partner_mismatch, expected.partner_mismatch, "case {number}");
                if let Some(sku) = expected.sku {
                    assert_eq!(intent.order_lines[0].sku, sku, "case {number}");
                }
                assert_eq!(elsewhere, 0, "case {number}");
            }
            Place::Shown => assert_eq!(intents.len() + elsewhere, 1, "case {number}"),
            Place::Nowhere => assert_eq!(intents.len() + elsewhere, 0, "case {number}"),
        }
        drop(walmart);
        feed::finish(app).await;
    }
}

#[tokio::test]
async fn one_id_with_two_bodies_is_a_conflict_that_is_shown_and_stays_when_it_is_read_again() {
    let app = Setup::new().settings(SETTINGS).start().await;
    let client = app.client().await;
    let mut walmart = Sender::connect(app.http).await;
    let mut other = kind_in_payload();
    other["payload"]["order"]["orderLines"][0]["quantity"]["measurementValue"] = json!("1");
    let unreadable = json!({"nothing": "that is known"});
    for (body, duplicate) in
        [(&kind_in_payload(), false), (&other, true), (&kind_in_payload(), true), (&other, true), (&unreadable, false)]
    {
        let answer = walmart.deliver(body.to_string().as_bytes()).await;
        assert_eq!(answer, (200, json!({"stored": true, "duplicate": duplicate})), "{body}");
    }
    let mut rpcs = feed::client(&client);
    let kept = async |rpcs: &mut feed::IntentClient| {
        let request = pb::ListQuarantinedWebhooksRequest { include_raw: true, ..Default::default() };
        rpcs.list_quarantined_webhooks(request).await.unwrap().into_inner().webhooks
    };
    let before = kept(&mut rpcs).await;
    let [conflict, aside] = &before[..] else { panic!("{before:?}") };
    assert_eq!((conflict.cause(), aside.cause()), (pb::QuarantineCause::Conflict, pb::QuarantineCause::Unreadable));
    assert_eq!(conflict.raw_body, other.to_string().as_bytes());
    let key = pb::get_cancel_intent_request::Key::EventId(conflict.event_id.clone());
    let request = pb::GetCancelIntentRequest { key: Some(key), include_raw: true, ..Default::default() };
    let first = rpcs.get_cancel_intent(request).await.unwrap().into_inner().event.unwrap();
    assert_eq!(first.raw_body, kind_in_payload().to_string().as_bytes());
    assert_eq!((&first.event_type, &first.sub_event_type), (&conflict.event_type, &conflict.sub_event_type));
    // This version reads the same in them.
    let request = pb::RereadQuarantinedWebhooksRequest::default();
    let reread = rpcs.reread_quarantined_webhooks(request).await.unwrap().into_inner();
    assert!(reread.webhooks.iter().all(|one| one.outcome() == pb::RereadOutcome::Kept), "{reread:?}");
    assert_eq!((reread.webhooks.len(), reread.next_page_token.as_str()), (2, ""));
    assert_eq!(kept(&mut rpcs).await, before);
    for (outcome, count) in [("stored", 1.0), ("conflict", 1.0), ("duplicate", 2.0), ("quarantined", 1.0)] {
        let series = format!("order_gateway_webhooks_total{{account=\"demo\",outcome=\"{outcome}\"}}");
        assert_eq!(app.metric(&series).await, count, "{outcome}");
    }
    drop((walmart, rpcs, client));
    feed::finish(app).await;
}

#[tokio::test]
async fn both_envelopes_of_an_intent_are_two_events_of_one_key() {
    let app = Setup::new().settings(SETTINGS).start().await;
    let client = app.client().await;
    let mut walmart = Sender::connect(app.http).await;
    let mut own = about("INTENT_TO_CANCEL", 20, "10000680931");
    own["payload"]["purchaseOrderId"] = json!("1700000000101");
    for body in [kind_in_payload(), own] {
        assert_eq!(walmart.deliver(body.to_string().as_bytes()).await.0, 200);
    }
    let mut watch = feed::watch(&client, &json!({"start": {"earliest": true}})).await.unwrap();
    watch.opened().await;
    let events = watch.events(2).await;
    assert_ne!(events[0].event_id, events[1].event_id);
    let key = &events[0].intent_key;
    // Seller, purchase order and line: `intent_key` of the domain has the same.
    assert_eq!(key, "583d691c5b11ce24c28fb4c62942c1c01680b7e1a6d1cd845b5dd3d343f90b1e");
    assert!(events.iter().all(|event| event.intent_key == *key && event.origin() == pb::EventOrigin::Webhook));
    drop((watch, walmart, client));
    feed::finish(app).await;
}
