//! What Walmart posts, over a real socket: stored, told apart, acknowledged.

use std::time::Duration;

use order_gateway::shutdown::DrainOutcome;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::app::{Setup, TestApp};
use crate::support::webhooks::{SETTINGS, Sender, intent, request, sign};

async fn app() -> TestApp {
    Setup::new().settings(SETTINGS).start().await
}

async fn counted(app: &TestApp, outcome: &str) -> f64 {
    app.metric(&format!("order_gateway_webhooks_total{{account=\"demo\",outcome=\"{outcome}\"}}")).await
}

fn stored(duplicate: bool) -> (u16, Value) {
    (200, json!({"stored": true, "duplicate": duplicate}))
}

#[tokio::test]
async fn deliveries_are_stored_once_and_acknowledged_each_time() {
    let app = app().await;
    let mut walmart = Sender::connect(app.http).await;
    let first = intent("e-1", "PO-1").to_string();
    assert_eq!(walmart.deliver(first.as_bytes()).await, stored(false));
    assert_eq!(walmart.deliver(first.as_bytes()).await, stored(true));
    assert_eq!(walmart.deliver(intent("e-2", "PO-1").to_string().as_bytes()).await, stored(false));
    assert_eq!(walmart.deliver(intent("e-1", "PO-9").to_string().as_bytes()).await, stored(true), "a conflict");
    assert_eq!(
        walmart.deliver(b"{\"source\":{\"eventType\":\"PO_CREATED\",\"eventId\":\"e-3\"}}").await,
        stored(false)
    );
    assert_eq!(walmart.deliver(b"{ source\":").await, stored(false), "quarantine");
    assert_eq!(walmart.deliver(b"{ source\":").await, stored(true), "quarantine, once");
    for (outcome, count) in [("stored", 3.0), ("duplicate", 2.0), ("conflict", 1.0), ("quarantined", 1.0)] {
        assert_eq!(counted(&app, outcome).await, count, "{outcome}");
    }
    drop(walmart);
    app.finish().await;
}

#[tokio::test]
async fn walmarts_test_deliveries_are_acknowledged() {
    let app = app().await;
    let mut walmart = Sender::connect(app.http).await;
    for body in ["{}", "{\"message\":\"test\"}", "[]", "\"ping\"", r#"{"source":{"eventType":"TEST"},"payload":null}"#]
    {
        assert_eq!(walmart.deliver(body.as_bytes()).await, stored(false), "{body}");
    }
    drop(walmart);
    app.finish().await;
}

#[tokio::test]
async fn a_forged_delivery_leaves_nothing_behind() {
    let app = app().await;
    let mut sender = Sender::connect(app.http).await;
    let body = intent("e-1", "PO-1").to_string();
    let forged = String::from_utf8(request(body.as_bytes())).unwrap().replace("PO-1", "PO-2");
    assert_eq!(sender.send(forged.as_bytes()).await, (401, json!({"error": "the proof is wrong"})));
    assert_eq!(counted(&app, "unauthenticated").await, 1.0);
    // Nothing of it stands against the right one.
    assert_eq!(sender.deliver(body.as_bytes()).await, stored(false));
    drop(sender);
    app.finish().await;
}

#[tokio::test]
async fn the_limit_holds_for_chunked_bodies_too() {
    let app = app().await;
    let chunk = [b"8000\r\n".as_slice(), &[b' '; 0x8000], b"\r\n"].concat();
    let head = |signature: &str| {
        format!(
            "POST /webhooks/walmart/demo HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
             x-walmart-auth: {signature}\r\ntransfer-encoding: chunked\r\n\r\n"
        )
    };
    let exactly = [head(&sign(&[b' '; 256 * 1024])).as_bytes(), &chunk.repeat(8), b"0\r\n\r\n"].concat();
    assert_eq!(Sender::connect(app.http).await.send(&exactly).await, stored(false));
    // It never ends, and is answered.
    let more = [head("x").as_bytes(), &chunk.repeat(8), b"1\r\n \r\n"].concat();
    let refused = (413, json!({"error": "the body is too large"}));
    assert_eq!(Sender::connect(app.http).await.send(&more).await, refused);
    let told = "POST /webhooks/walmart/demo HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                content-length: 262145\r\n\r\n";
    assert_eq!(Sender::connect(app.http).await.send(told.as_bytes()).await, refused);
    assert_eq!(counted(&app, "too_large").await, 2.0);
    app.finish().await;
}

#[tokio::test]
async fn a_delivery_in_flight_is_finished_at_shutdown() {
    let mut app = app().await;
    let whole = request(intent("e-1", "PO-1").to_string().as_bytes());
    let (first, rest) = whole.split_at(whole.len() - 10);
    let mut walmart = TcpStream::connect(app.http).await.unwrap();
    walmart.write_all(first).await.unwrap();
    // It is being read.
    while app.metric("order_gateway_webhooks_in_flight").await != 1.0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let stopping = app.stop();
    walmart.write_all(rest).await.unwrap();
    let mut answer = String::new();
    walmart.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(r#"{"stored":true,"duplicate":false}"#), "{answer}");
    assert_eq!(stopping.await.unwrap(), DrainOutcome::Clean);
}
