//! The feed of order updates from the webhook to the client and back, beside that of the intents.

use order_gateway::pb;
use order_gateway::pb::get_order_update_request::Key;
use order_gateway::pb::order_update::Update;
use order_gateway::pb::order_update_service_client::OrderUpdateServiceClient;
use order_gateway::pb::subscribe_order_updates_response::Frame as Loan;
use order_gateway::pb::watch_order_updates_response::Frame;
use serde_json::{Value, json};
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::support::app::{Setup, TestApp};
use crate::support::client::{Client, Intercepted, message};
use crate::support::feed::{Stream, ack, answer, client, finish, open_streams, opened, post, subscribe, watch};
use crate::support::webhooks::{SETTINGS, Sender};

async fn app() -> TestApp {
    Setup::new().settings(SETTINGS).start().await
}

fn updates(of: &Client) -> OrderUpdateServiceClient<Intercepted> {
    OrderUpdateServiceClient::new(of.service())
}

/// An ORDER_UPDATES event of this kind.
fn order_update(event_id: &str, kind: &str, purchase_order: &str) -> Value {
    json!({
        "source": {"eventType": "ORDER_UPDATES", "eventTime": "2026-12-16T09:30:00.000Z", "eventId": event_id},
        "payload": {"subEventType": kind, "order": {"partnerId": "10000000001", "purchaseOrderId": purchase_order,
            "orderLines": [{"lineNumber": "1", "sku": "SKU-1", "quantity": {"measurementValue": "2"}}]}},
    })
}

/// Has Walmart post these to `demo`.
async fn deliver(app: &TestApp, bodies: impl IntoIterator<Item = Value>) {
    let mut walmart = Sender::connect(app.http).await;
    for body in bodies {
        assert_eq!(walmart.deliver(body.to_string().as_bytes()).await.0, 200);
    }
}

async fn watching(of: &Client, body: Value) -> Stream<pb::WatchOrderUpdatesResponse> {
    let request: pb::WatchOrderUpdatesRequest = message("WatchOrderUpdatesRequest", &body.to_string());
    opened(updates(of).watch_order_updates(request).await).unwrap()
}

async fn watched(stream: &mut Stream<pb::WatchOrderUpdatesResponse>) -> Frame {
    stream.next().await.unwrap().unwrap().frame.unwrap()
}

async fn lent(stream: &mut Stream<pb::SubscribeOrderUpdatesResponse>) -> pb::OrderUpdateDelivery {
    loop {
        if let Loan::Delivery(delivery) = stream.next().await.unwrap().unwrap().frame.unwrap() {
            return delivery;
        }
    }
}

#[tokio::test]
async fn what_walmart_posts_is_watched_listed_lent_and_settled() {
    let app = app().await;
    let erp = app.client().await;
    let mut stream = watching(&erp, json!({"start": {"earliest": true}})).await;
    let Frame::Opened(beginning) = watched(&mut stream).await else { panic!("not opened") };
    assert_eq!((beginning.head, beginning.first_available), (0, 1));
    post(&app, 1, 2).await;
    deliver(&app, [order_update("u-1", "PO_CREATED", "PO-1"), order_update("u-2", "FRAUD_CANCEL", "PO-1")]).await;
    let mut seen = Vec::new();
    while seen.len() < 2 {
        if let Frame::Update(update) = watched(&mut stream).await {
            seen.push(update);
        }
    }
    let told: Vec<_> = seen.iter().map(|it| (it.seq, it.event_id.as_str(), it.sub_event_type.as_str())).collect();
    assert_eq!(told, [(1, "u-1", "PO_CREATED"), (2, "u-2", "FRAUD_CANCEL")]);
    let first = &seen[0];
    assert_eq!(
        (first.ordering_key.as_str(), first.account.as_str(), first.origin()),
        ("PO-1", "demo", pb::EventOrigin::Webhook)
    );
    let Some(Update::SellerOrder(order)) = &first.update else { panic!("{first:?}") };
    assert_eq!((order.purchase_order_id.as_str(), order.order_lines[0].sku.as_str()), ("PO-1", "SKU-1"));
    assert_eq!(open_streams(&app, "order_updates").await, 1.0);
    drop(stream);

    // Resumed after a cursor, as a list, and alone.
    let mut rest =
        watching(&erp, json!({"start": {"afterCursor": first.cursor}, "includeRaw": true, "limit": 1})).await;
    assert!(matches!(watched(&mut rest).await, Frame::Opened(opened) if opened.position == first.cursor));
    let Frame::Update(second) = watched(&mut rest).await else { panic!("no update") };
    assert_eq!(second.raw_body, order_update("u-2", "FRAUD_CANCEL", "PO-1").to_string().into_bytes());
    assert!(rest.next().await.unwrap().is_none(), "the limit is a good end");
    let list = |body: Value| message::<pb::ListOrderUpdatesRequest>("ListOrderUpdatesRequest", &body.to_string());
    let page = answer(updates(&erp).list_order_updates(list(json!({"pageSize": 1}))).await).unwrap();
    assert_eq!(page.updates, seen[..1]);
    let next = list(json!({"pageSize": 1, "pageToken": page.next_page_token}));
    assert_eq!(answer(updates(&erp).list_order_updates(next).await).unwrap().updates, seen[1..]);
    for key in [Key::Seq(1), Key::Cursor(first.cursor.clone()), Key::EventId("u-1".into())] {
        let request = pb::GetOrderUpdateRequest { key: Some(key), ..Default::default() };
        assert_eq!(answer(updates(&erp).get_order_update(request).await).unwrap().update.as_ref(), Some(first));
    }
    let request = pb::GetOrderUpdateRequest { key: Some(Key::EventId("e-1".into())), ..Default::default() };
    answer(updates(&erp).get_order_update(request).await).unwrap_err().is(Code::NotFound, "EVENT_NOT_FOUND");

    // Lent one after the other, because they are of one order; settled; parked and given out again.
    let asked = json!({"subscription": "erp", "consumerId": "me", "createIfMissing": {}});
    let request: pb::SubscribeOrderUpdatesRequest = message("SubscribeOrderUpdatesRequest", &asked.to_string());
    let mut loans = opened(updates(&erp).subscribe_order_updates(request).await).unwrap();
    let delivery = lent(&mut loans).await;
    assert_eq!((delivery.lease.as_str(), delivery.update.as_ref()), ("g1.s1.a1", Some(first)));
    let settle = async |lease: &str, verdict| {
        let verdicts = vec![pb::Verdict { lease: lease.into(), verdict: Some(verdict) }];
        let request = pb::SettleOrderUpdatesRequest { subscription: "erp".into(), verdicts };
        answer(updates(&erp).settle_order_updates(request).await).unwrap()
    };
    let park = pb::verdict::Verdict::Park(pb::Park { reason: "look".into() });
    assert_eq!(settle("g1.s1.a1", park).await.results[0].outcome(), pb::SettleOutcome::Applied);
    assert_eq!(lent(&mut loans).await.lease, "g1.s2.a1");
    let settled = settle("g1.s2.a1", pb::verdict::Verdict::Ack(pb::Ack {})).await;
    assert_eq!((settled.floor.split('.').nth(1), settled.backlog), (Some("2"), 0));
    let parked = pb::ListParkedCancelIntentsRequest { subscription: "erp".into(), ..Default::default() };
    let parked = answer(client(&erp).list_parked_cancel_intents(parked).await).unwrap();
    assert_eq!((parked.parked.len(), parked.updates[0].update.as_ref()), (0, Some(first)));
    let redrive = pb::RedriveCancelIntentsRequest { subscription: "erp".into(), seqs: vec![1], all: false };
    assert_eq!(answer(client(&erp).redrive_cancel_intents(redrive).await).unwrap().redriven, 1);
    assert_eq!(lent(&mut loans).await.cause(), pb::DeliveryCause::Redriven);

    let status = erp.gateway("").await.unwrap();
    let (intents, orders) = (status.feed.unwrap(), status.order_updates.unwrap());
    assert_ne!(intents.log_id, orders.log_id);
    assert_eq!((intents.head, orders.head, intents.open_streams, orders.open_streams), (2, 2, 0, 1));
    assert_eq!((intents.subscriptions.len(), orders.subscriptions[0].name.as_str()), (0, "erp"));
    drop(loans);
    finish(app).await;
}

#[tokio::test]
async fn every_kind_of_event_has_its_form_or_its_body() {
    let app = app().await;
    let erp = app.client().await;
    let status = json!({"payload": {"originSystemOrderId": "acme000123", "partnerId": "10000999999",
        "lineItemStatus": [{"sellerLineId": "1", "itemStatus": [{"qty": 1, "status": "shipped"}]}]}});
    let of_return = json!({"source": {"eventType": "MCS_RETURN_ORDER_STATUS_UPDATE", "eventId": "r-1"},
        "payload": {"header": {"eventName": "MCS_RETURN_ORDER_CREATED"}, "returnOrderId": "100"}});
    let unknown = json!({"source": {"eventType": "DRIVER_STATUS", "eventId": "d-1"}, "payload": {"x": 1}});
    deliver(&app, [status, of_return, unknown.clone()]).await;
    let request = pb::ListOrderUpdatesRequest { include_raw: true, ..Default::default() };
    let listed = answer(updates(&erp).list_order_updates(request).await).unwrap().updates;
    let [status, of_return, other] = &listed[..] else { panic!("{listed:?}") };
    assert_eq!(
        (status.event_type.as_str(), status.id_synthesized, status.partner_mismatch),
        ("ORDER_STATUS_UPDATE", true, true)
    );
    assert_eq!(status.ordering_key, "acme000123");
    assert!(
        matches!(&status.update, Some(Update::OrderStatus(it)) if it.line_item_status[0].item_status[0].status == "shipped")
    );
    assert_eq!(
        (of_return.sub_event_type.as_str(), of_return.ordering_key.as_str()),
        ("MCS_RETURN_ORDER_CREATED", "100")
    );
    assert!(matches!(&of_return.update, Some(Update::ReturnStatus(it)) if it.return_order_id == "100"));
    assert_eq!((other.event_type.as_str(), &other.update), ("DRIVER_STATUS", &None));
    assert_eq!(other.raw_body, unknown.to_string().into_bytes());
    finish(app).await;
}

#[tokio::test]
async fn a_subscription_is_of_one_feed() {
    let app = app().await;
    let erp = app.client().await;
    let create = json!({"subscription": {"name": "erp", "feed": "FEED_ORDER_UPDATES"}});
    let request: pb::CreateSubscriptionRequest = message("CreateSubscriptionRequest", &create.to_string());
    let made = answer(client(&erp).create_subscription(request).await).unwrap().subscription.unwrap();
    assert_eq!(made.feed(), pb::Feed::OrderUpdates);
    let refused = subscribe(&erp, &json!({"subscription": "erp", "consumerId": "me"})).await.err().unwrap();
    refused.is(Code::FailedPrecondition, "WRONG_FEED");
    assert_eq!((refused.metadata["name"].as_str(), refused.metadata["feed"].as_str()), ("erp", "order_updates"));
    ack(&erp, "erp", &["g1.s1.a1".into()]).await.unwrap_err().is(Code::FailedPrecondition, "WRONG_FEED");

    let asked = json!({"subscription": "oms", "consumerId": "me", "createIfMissing": {}});
    drop(subscribe(&erp, &asked).await.unwrap());
    let request: pb::SubscribeOrderUpdatesRequest = message("SubscribeOrderUpdatesRequest", &asked.to_string());
    let refused = opened(updates(&erp).subscribe_order_updates(request).await).err().unwrap();
    refused.is(Code::FailedPrecondition, "WRONG_FEED");
    assert_eq!(refused.metadata["feed"], "cancel_intents");
    let verdicts = vec![pb::Verdict { lease: "g1.s1.a1".into(), verdict: Some(pb::verdict::Verdict::Ack(pb::Ack {})) }];
    let request = pb::SettleOrderUpdatesRequest { subscription: "oms".into(), verdicts };
    answer(updates(&erp).settle_order_updates(request).await).unwrap_err().is(Code::FailedPrecondition, "WRONG_FEED");

    // A cursor of one log is none of the other.
    let log = erp.gateway("").await.unwrap().order_updates.unwrap().log_id;
    let place = json!({"start": {"afterCursor": format!("{}.0", &log[..8])}});
    watch(&erp, &place).await.err().unwrap().is(Code::FailedPrecondition, "LOG_CHANGED");
    finish(app).await;
}

#[tokio::test]
async fn health_knows_the_service_and_settings_may_allow_it() {
    let clients =
        "[[clients]]\nname = \"erp\"\ntoken = \"t\"\naccounts = [\"demo\"]\nservices = [\"OrderUpdateService\"]\n";
    let app = Setup::new().settings(&format!("{SETTINGS}{clients}")).start().await;
    let erp = app.client().await.with("authorization", "Bearer t");
    let service = "ordergateway.v1.OrderUpdateService".to_owned();
    let health = HealthClient::new(erp.service()).check(HealthCheckRequest { service }).await.unwrap();
    assert_eq!(health.into_inner().status, 1);
    let listed = updates(&erp).list_order_updates(pb::ListOrderUpdatesRequest::default()).await;
    assert_eq!(answer(listed).unwrap().updates, []);
    let refused = client(&erp).list_cancel_intents(pb::ListCancelIntentsRequest::default()).await;
    answer(refused).unwrap_err().is(Code::PermissionDenied, "SERVICE_NOT_ALLOWED");
    finish(app).await;
}
