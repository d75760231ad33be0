//! The door for what Walmart posts: what is judged and in which order, what passes, and who cannot shut it.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use order_gateway::pb;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::app::{Setup, TestApp};
use crate::support::feed;
use crate::support::webhooks::{SETTINGS, Sender, intent, request, sign};

async fn app() -> TestApp {
    Setup::new().settings(SETTINGS).start().await
}

/// The form that replaces the event INTENT_TO_CANCEL.
fn order_update(event_id: &str, purchase_order: &str) -> String {
    json!({
        "source": {"eventType": "ORDER_UPDATES", "eventFilters": null, "eventTime": "2026-12-16T09:30:00.000Z",
            "eventId": event_id},
        "payload": {"subEventType": "INTENT_TO_CANCEL", "order": {
            "partnerId": "10000000001", "purchaseOrderId": purchase_order, "customerOrderId": "5550000000001",
            "orderLines": [{"lineNumber": "1", "sku": "MUG-RED-12", "productName": "Red mug",
                "quantity": {"unitOfMeasure": "EACH", "measurementValue": "2"}, "cancellationReason": "ordered twice"}],
        }},
    })
    .to_string()
}

/// A whole post, with these lines among its headers.
fn post(path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("POST {path} HTTP/1.1\r\nhost: gateway\r\n{headers}content-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// Purchase orders of the intent feed, and reasons in quarantine.
async fn places(app: &TestApp) -> (Vec<String>, Vec<String>) {
    let client = app.client().await;
    let mut rpcs = feed::client(&client);
    let intents = rpcs.list_cancel_intents(pb::ListCancelIntentsRequest::default()).await.unwrap().into_inner();
    let kept = rpcs.list_quarantined_webhooks(pb::ListQuarantinedWebhooksRequest::default()).await.unwrap();
    let orders = intents.events.into_iter().map(|event| event.intent.unwrap().purchase_order_id);
    (orders.collect(), kept.into_inner().webhooks.into_iter().map(|webhook| webhook.reason).collect())
}

#[tokio::test]
async fn account_size_and_proof_are_judged_before_the_content_and_the_content_type_never() {
    const DOOR: &str = "/webhooks/walmart/demo";
    const ANOTHER: &str = "content-type: application/octet-stream\r\n";
    let app = app().await;
    let mut walmart = Sender::connect(app.http).await;
    let cases = [
        ("101", DOOR, "content-type: application/json\r\n", "right", 200),
        ("102", DOOR, "", "right", 200),
        ("103", DOOR, ANOTHER, "right", 200),
        ("104", "/webhooks/walmart/demo/", "content-type: application/json\r\n", "right", 200),
        ("105", DOOR, ANOTHER, "wrong", 401),
        ("106", "/webhooks/walmart/nobody", "content-type: application/json\r\n", "right", 404),
        ("107", "/webhooks/walmart/nobody/", ANOTHER, "wrong", 404),
        ("108", DOOR, "content-type: text/plain\r\n", "prefixed", 200),
    ];
    for (order, path, content_type, proof, answer) in cases {
        let body = order_update(&format!("c0ffee00-{order}"), &format!("1700000000{order}"));
        let proof = match proof {
            "right" => sign(body.as_bytes()),
            "prefixed" => format!("sha256={}", sign(body.as_bytes())),
            _ => sign(b"another body"),
        };
        let headers = format!("{content_type}x-walmart-auth: {proof}\r\n");
        assert_eq!(walmart.send(&post(path, &headers, body.as_bytes())).await.0, answer, "{order}");
    }
    // Not to be read, and of a content type that is not JSON: proved, so it is kept.
    let headers = format!("{ANOTHER}x-walmart-auth: {}\r\n", sign(b"\x00\x01"));
    assert_eq!(walmart.send(&post(DOOR, &headers, b"\x00\x01")).await.0, 200);
    let (orders, kept) = places(&app).await;
    assert_eq!(orders, ["101", "102", "103", "104", "108"].map(|order| format!("1700000000{order}")));
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert!(kept[0].starts_with("not JSON"), "{kept:?}");
    for (account, outcome, count) in [("demo", "unauthenticated", 1.0), ("unknown", "unknown_account", 2.0)] {
        let labels = format!("{{account=\"{account}\",outcome=\"{outcome}\"}}");
        assert_eq!(app.metric(&format!("order_gateway_webhooks_total{labels}")).await, count);
        assert_eq!(app.metric(&format!("order_gateway_webhooks_signed_refused_total{labels}")).await, count);
    }
    drop(walmart);
    feed::finish(app).await;
}

#[tokio::test]
async fn the_path_is_proved_as_it_was_received() {
    const ANOTHER: &str = r#"
[[accounts]]
id = "demo"
partner_id = "10000000001"
client_id = "demo"
client_secret = "demo-secret"
webhook = { auth = "hmac_v2", secret = "dev-secret" }
"#;
    let app = Setup::new().settings(ANOTHER).start().await;
    let mut walmart = Sender::connect(app.http).await;
    let now = jiff::Timestamp::from_second(1_795_262_400).unwrap();
    assert_eq!(now.to_string(), "2026-11-21T12:00:00Z", "the time at which the gateway begins");
    let signed = |path: &str, sent_to: &str| {
        let body = order_update(sent_to, "1");
        let hash = ring::digest::digest(&ring::digest::SHA256, body.as_bytes());
        let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let text = format!("POST\n{path}\n{}\n{hash}", now.as_second());
        let headers =
            format!("WM_SEC.TIMESTAMP: {}\r\nWM_SEC.SIGNATURE: {}\r\n", now.as_second(), sign(text.as_bytes()));
        post(sent_to, &headers, body.as_bytes())
    };
    for path in [
        "/webhooks/walmart/demo",
        "/webhooks/walmart/demo/",
        "/webhooks/walmart/demo/?a=%2f",
        "/webhooks/walmart/dem%6f",
    ] {
        assert_eq!(walmart.send(&signed(path, path)).await.0, 200, "{path}");
    }
    let (with, without) = ("/webhooks/walmart/demo/", "/webhooks/walmart/demo");
    assert_eq!(walmart.send(&signed(with, without)).await.0, 401);
    assert_eq!(walmart.send(&signed(without, with)).await.0, 401);
    drop(walmart);
    app.finish().await;
}

async fn connect_from(last: u8, gateway: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::new(127, 0, 0, last), 0).into())?;
    socket.connect(gateway).await
}

/// Begins posts that never finish, without a proof, and keeps as many of them open as may be: by turns half a body and half a
/// head.
async fn attack(from: u8, gateway: SocketAddr, at_once: usize, begun: tokio::sync::watch::Sender<usize>) {
    let half = b"POST /webhooks/walmart/demo HTTP/1.1\r\nhost: x\r\ncontent-length: 999\r\n\r\n{\"source\":";
    let mut open = VecDeque::new();
    for number in 0_usize.. {
        let half = if number % 2 == 0 { &half[..] } else { &half[..40] };
        while open.len() >= at_once {
            // The gateway has ended it, or it is given up for a new one.
            open.pop_front();
        }
        // Its port or its place may be gone for the moment: the next one will find one.
        if let Ok(mut stream) = connect_from(from, gateway).await
            && stream.write_all(half).await.is_ok()
        {
            open.push_back(stream);
            begun.send_modify(|begun| *begun += 1);
        }
        tokio::task::yield_now().await;
    }
}

async fn deliver(from: u8, gateway: SocketAddr, number: usize) -> u16 {
    let mut stream = connect_from(from, gateway).await.unwrap();
    stream.write_all(&request(intent(&format!("e-{number}"), "PO-1").to_string().as_bytes())).await.unwrap();
    let mut answer = [0; 12];
    // Ended without an answer: refused.
    let read = stream.read_exact(&mut answer).await;
    read.map_or(0, |_| std::str::from_utf8(&answer[9..]).unwrap().parse().unwrap())
}

/// `HALF_SENT_POSTS` says how many are kept open from each address.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn posts_that_never_finish_refuse_no_signed_one() {
    let at_once = std::env::var("HALF_SENT_POSTS").map_or(100, |count| count.parse().unwrap());
    let app = app().await;
    let (begun, mut seen) = tokio::sync::watch::channel(0);
    let mut attackers = JoinSet::new();
    for from in [1, 2] {
        attackers.spawn(attack(from, app.http, at_once, begun.clone()));
    }
    seen.wait_for(|begun| *begun > 1100).await.unwrap();
    let mut took = Vec::new();
    for number in 0..200 {
        let asked = Instant::now();
        // Three from elsewhere, one from where the attack comes from.
        let from = if number % 4 == 3 { 1 } else { 3 };
        assert_eq!(deliver(from, app.http, number).await, 200, "number {number}");
        took.push(asked.elapsed());
    }
    took.sort();
    let unfinished = *seen.borrow();
    println!(
        "{unfinished} posts begun; of 200 signed ones p50 {:?}, p99 {:?}, max {:?}",
        took[100], took[198], took[199]
    );
    attackers.shutdown().await;
    let counted = |outcome| format!("order_gateway_webhooks_total{{account=\"demo\",outcome=\"{outcome}\"}}");
    assert_eq!(app.metric(&counted("stored")).await, 200.0);
    assert_eq!(app.metric(&counted("overloaded")).await, 0.0);
    let displaced = app.metric(&counted("displaced")).await;
    let incomplete = app.metric(&counted("incomplete")).await;
    assert!(displaced + incomplete > 900.0, "{displaced} {incomplete}");
    while app.metric("order_gateway_webhooks_in_flight").await > 0.0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    app.finish().await;
}

#[tokio::test]
async fn one_that_is_ended_for_others_is_told_so() {
    let app = app().await;
    let half = b"POST /webhooks/walmart/demo HTTP/1.1\r\nhost: x\r\ncontent-length: 999\r\n\r\n{";
    let mut open = Vec::new();
    for number in 0..64 {
        let mut sender = Sender::connect(app.http).await;
        sender.begin(half).await;
        open.push(sender);
        while app.metric("order_gateway_webhooks_in_flight").await < f64::from(number + 1) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    let mut walmart = Sender::connect(app.http).await;
    assert_eq!(walmart.deliver(intent("e-1", "PO-1").to_string().as_bytes()).await.0, 200);
    let error: Value = json!({"error": "the body was incomplete while too many other posts came"});
    assert_eq!(open[0].answer().await, (408, error));
    drop((walmart, open));
    app.finish().await;
}
