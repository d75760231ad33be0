//! Intents that no webhook told, found in the orders.

use std::time::Duration;

use order_gateway::pb;
use serde_json::json;

use crate::support::app::{Setup, TestApp};
use crate::support::client::Client;
use crate::support::feed::{finish, watch};
use crate::support::webhooks::{SETTINGS, Sender, intent};

/// The order of the emulator's initial state whose customer wants line 1 cancelled.
const WANTED: &str = "1700000000002";
/// An acknowledged one of two lines.
const OTHER: &str = "1700000000001";

fn setup() -> Setup {
    Setup::new().settings(SETTINGS).settings("[feed.backfill]\nenabled = true\ninterval = \"1s\"\n")
}

/// What GetStatus shows, once it satisfies the test.
async fn status(client: &Client, until: impl Fn(&pb::BackfillStatus) -> bool) -> pb::BackfillStatus {
    let shown = async {
        loop {
            let account = client.gateway("demo").await.unwrap().accounts.remove(0);
            if let Some(backfill) = account.backfill.filter(|backfill| until(backfill)) {
                return backfill;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), shown).await.expect("GetStatus does not show it")
}

/// All events of the log of intents, with their bodies.
async fn events(client: &Client, count: usize) -> Vec<pb::Event> {
    let all = json!({"start": {"earliest": true}, "includeRaw": true, "limit": count});
    watch(client, &all).await.unwrap().events(count).await
}

async fn a_scan_later(client: &Client) {
    let last = status(client, |_| true).await.last_backfill_time;
    status(client, |backfill| backfill.last_backfill_time != last).await;
}

#[tokio::test]
async fn an_intent_without_a_webhook_is_in_the_feed_and_its_webhook_comes_as_well() {
    let app = setup().start().await;
    let client = app.client().await;
    let first = events(&client, 1).await.remove(0);
    assert_eq!(
        (first.event_id.as_str(), first.origin()),
        (&*format!("backfill:{WANTED}:1"), pb::EventOrigin::Backfill)
    );
    assert_eq!((first.event_type.as_str(), first.ordering_key.as_str()), ("INTENT_TO_CANCEL", WANTED));
    assert!(first.event_time.is_none() && first.received_at.is_some() && !first.partner_mismatch);
    let line = &first.intent.as_ref().unwrap().order_lines[0];
    assert_eq!((line.sku.as_str(), line.quantity.as_ref().unwrap().measurement_value), ("MUG-RED-12", Some(1.0)));
    let shown = status(&client, |backfill| backfill.backfilled == 1).await;
    assert_eq!(shown.error, "");

    // A customer asks, and Walmart's webhook does not come.
    app.control("POST", "intents", &json!({"purchase_order_id": OTHER, "line_id": "1", "deliver": false}).to_string())
        .await;
    let found = events(&client, 2).await.remove(1);
    assert_eq!(found.event_id, format!("backfill:{OTHER}:1"));
    // The order has name, address and e-mail of the customer; the event and its body have not.
    let order = client.get_order(OTHER).await.unwrap().order.unwrap();
    let address = order.shipping_info.unwrap().postal_address.unwrap();
    let body = String::from_utf8(found.raw_body.clone()).unwrap();
    for personal in [&address.name, &address.address1, &order.customer_email_id] {
        assert!(!personal.is_empty() && !body.contains(personal.as_str()), "{personal}: {body}");
    }
    // It comes after all: under the same key.
    let late = intent("late", OTHER).to_string();
    assert_eq!(Sender::connect(app.http).await.deliver(late.as_bytes()).await.0, 200);
    let late = events(&client, 3).await.remove(2);
    assert_eq!((late.origin(), &late.intent_key), (pb::EventOrigin::Webhook, &found.intent_key));
    assert_eq!(found.intent_key.len(), 64);
    a_scan_later(&client).await;
    assert_eq!(client.gateway("").await.unwrap().feed.unwrap().head, 3, "nothing is found twice");
    assert_eq!(app.metric("order_gateway_backfill_intents_total{account=\"demo\"}").await, 2.0);
    finish(app).await;
}

#[tokio::test]
async fn what_a_webhook_told_is_not_found() {
    let app = setup().settings("[feed.backfill]\ninterval = \"1h\"").start().await;
    let client = app.client().await;
    let first = status(&client, |backfill| backfill.last_backfill_time.is_some()).await;
    assert_eq!(first.backfilled, 1);
    app.control("POST", "intents", &json!({"purchase_order_id": OTHER, "deliver": false}).to_string()).await;
    // The webhook tells of line 1 only.
    let told = intent("told", OTHER).to_string();
    assert_eq!(Sender::connect(app.http).await.deliver(told.as_bytes()).await.0, 200);
    app.advance(Duration::from_secs(3601)).await;
    let client = app.client().await;
    let found = events(&client, 3).await.remove(2);
    assert_eq!(found.event_id, format!("backfill:{OTHER}:2"));
    finish(app).await;
}

#[tokio::test]
async fn what_was_found_is_known_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("[store]\nurl = \"sqlite://{}\"\n", folder.path().join("feed.db").display());
    for _ in 0..2 {
        let app = setup().settings(&store).start().await;
        let client = app.client().await;
        status(&client, |backfill| backfill.last_backfill_time.is_some()).await;
        assert_eq!(client.gateway("").await.unwrap().feed.unwrap().head, 1);
        finish(app).await;
    }
}

#[tokio::test]
async fn a_failing_scan_is_shown_and_nothing_waits_for_it() {
    let app = setup().faults("[[fault]]\noperation = \"orders\"\nstatus = 503").start().await;
    let client = app.client().await;
    assert_eq!(app.get("/readyz").await.0, 200);
    let failing = status(&client, |backfill| !backfill.error.is_empty()).await;
    assert!(failing.error.contains("503") && failing.last_backfill_time.is_none(), "{failing:?}");
    app.set_faults("").await;
    let again = status(&client, |backfill| backfill.last_backfill_time.is_some()).await;
    assert_eq!((again.error.as_str(), again.backfilled), ("", 1));
    finish(app).await;
}

#[tokio::test]
async fn the_sandbox_whose_cursor_never_advances_is_scanned_to_an_end() {
    let app = setup().settings("walmart.profile = \"sandbox\"").start().await;
    let client = app.client().await;
    assert_eq!(status(&client, |backfill| backfill.last_backfill_time.is_some()).await.backfilled, 1);
    finish(app).await;
}

#[tokio::test]
async fn without_the_setting_no_order_is_read() {
    let app = TestApp::start().await;
    let client = app.client().await;
    client.list_orders(&json!({})).await.unwrap();
    assert_eq!(client.gateway("").await.unwrap().accounts[0].backfill, None);
    assert_eq!(app.requests("orders").await.len(), 1);
    assert_eq!(app.metric("order_gateway_backfill_interval_seconds").await, 0.0);
    app.finish().await;
}
