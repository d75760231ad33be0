//! Senders who mean harm: nothing of theirs is taken, nothing breaks, and memory stays bounded.

use std::sync::LazyLock;
use std::time::Duration;

use order_gateway::pb;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::app::{Setup, TestApp};
use crate::support::client::message;
use crate::support::feed;
use crate::support::webhooks::{SETTINGS, Sender, intent, request, sign};

async fn app() -> TestApp {
    Setup::new().settings(SETTINGS).start().await
}

/// A small generator of its own: the same bodies on every run.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        let size = self.below(most + 1);
        (0..size).map(|_| self.next().to_le_bytes()[3]).collect()
    }
}

/// A small body that no client would send.
fn hostile(dice: &mut Dice) -> Vec<u8> {
    let depth = dice.below(400);
    let odd =
        [json!(null), json!(true), json!(-1), json!(1e300), json!("\u{0}"), json!([[[]]]), json!({"a": {}}), json!("")];
    let any = |dice: &mut Dice| odd[dice.below(odd.len())].clone();
    match dice.below(9) {
        0 => dice.bytes(200),
        1 => "[".repeat(depth).into_bytes(),
        2 => format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth)).into_bytes(),
        3 => {
            let mut event = intent("e", "p");
            let paths = [
                "/source",
                "/source/eventType",
                "/source/eventId",
                "/payload",
                "/payload/orderLines",
                "/payload/purchaseOrderId",
                "/payload/orderLines/0",
                "/payload/orderLines/0/quantity",
            ];
            *event.pointer_mut(paths[dice.below(paths.len())]).unwrap() = any(dice);
            event.to_string().into_bytes()
        }
        4 => {
            let mut cut = intent("e", "p").to_string().into_bytes();
            cut.truncate(dice.below(200));
            cut
        }
        5 => {
            let mut torn = intent("e", "p").to_string().into_bytes();
            let at = dice.below(torn.len());
            torn[at] = dice.next().to_le_bytes()[0];
            torn
        }
        6 => {
            // Packed: whole, cut off, torn, or more than there may be.
            let mut packed = PACKED[dice.below(PACKED.len())].clone();
            match dice.below(3) {
                0 => packed.truncate(2 + dice.below(packed.len())),
                1 => {
                    let at = dice.below(packed.len());
                    packed[at] = dice.next().to_le_bytes()[0];
                }
                _ => {}
            }
            packed
        }
        7 => {
            // In the names of the Orders API, with something odd in one place or two.
            let mut event = json!({"source": {"eventType": "ORDER_UPDATES", "subEventType": "INTENT_TO_CANCEL"}, "payload": {
                "meta": {"subEventType": "PO_CREATED"}, "order": {"purchaseOrderId": "p", "shipNode": {"type": "SellerFulfilled"},
                "shippingInfo": {"methodCode": "VALUE"}, "orderLines": {"orderLine": [{"lineNumber": "1", "intentToCancel": "TRUE",
                "item": {"sku": "s"}, "orderLineQuantity": {"amount": "1"}, "orderLineStatuses": {"orderLineStatus": [{}]}}]}}}});
            let line = "/payload/order/orderLines/orderLine/0";
            let paths = [
                "/source/subEventType",
                "/payload/meta",
                "/payload/order/shipNode",
                "/payload/order/shippingInfo/methodCode",
                "/payload/order/orderLines/orderLine",
                line,
                "/payload/order/orderLines",
                "/payload/order",
            ];
            let within = ["intentToCancel", "item", "orderLineQuantity", "orderLineStatuses"];
            event.pointer_mut(line).unwrap()[within[dice.below(within.len())]] = any(dice);
            *event.pointer_mut(paths[dice.below(paths.len())]).unwrap() = any(dice);
            // An event, a list of it, or its text.
            match dice.below(3) {
                0 => event = json!([event]),
                1 => event["payload"] = json!(event["payload"].to_string()),
                _ => {}
            }
            event.to_string().into_bytes()
        }
        _ => json!({"source": {"eventType": "ORDER_UPDATES", "eventTime": any(dice)},
            "payload": {"subEventType": "INTENT_TO_CANCEL", "meta": any(dice), "order": any(dice)}})
        .to_string()
        .into_bytes(),
    }
}

static PACKED: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| [100, 300 * 1024].map(|size| gzip(&vec![b' '; size])));

fn gzip(body: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

/// Resident memory of this process in KiB; 0 where that is not told.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok()).unwrap_or_default()
}

/// Sends hostile bodies over eight connections: half of them forged, half signed, because a seller's own system may be
/// what breaks. Tells how many had each status.
async fn storm(app: &TestApp, count: u64) -> [u64; 3] {
    let senders = (0..8).map(|number| {
        let gateway = app.http;
        tokio::spawn(async move {
            let mut walmart = Sender::connect(gateway).await;
            let mut seen = [0; 3];
            for round in 0..count / 8 {
                // Bodies come again after a while: what is kept of them must not grow for ever.
                let mut dice = Dice((round % 5_000 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (number + 1));
                let body = hostile(&mut dice);
                let forged = round % 2 == 0;
                let mut delivery = request(&body);
                if forged {
                    let at = delivery.windows(4).position(|w| w == b"uth:").unwrap() + 6 + dice.below(64);
                    delivery[at] = if delivery[at] == b'0' { b'1' } else { b'0' };
                }
                let (status, answer) = walmart.send(&delivery).await;
                let expected = if forged { 401 } else { 200 };
                assert_eq!(status, expected, "{answer} for {:?}", String::from_utf8_lossy(&delivery));
                seen[if forged { 0 } else { 1 + usize::from(answer["duplicate"] == true) }] += 1;
            }
            seen
        })
    });
    let mut total = [0; 3];
    for sender in senders.collect::<Vec<_>>() {
        total.iter_mut().zip(sender.await.unwrap()).for_each(|(total, seen)| *total += seen);
    }
    total
}

async fn survives_a_storm(count: u64) {
    let app = app().await;
    storm(&app, count / 10).await;
    let (before, began) = (resident(), Instant::now());
    let [refused, new, again] = storm(&app, count).await;
    let (took, after) = (began.elapsed(), resident());
    let rate = (refused + new + again) as f64 / took.as_secs_f64();
    println!("{refused} refused, {new} stored, {again} again in {took:?} ({rate:.0}/s); {before} -> {after} KiB");
    assert_eq!(refused, count / 2);
    assert!(after < before + 100 * 1024, "{before} -> {after} KiB");
    assert_eq!(app.metric("order_gateway_panics_total").await, 0.0);
    assert_eq!(app.metric("order_gateway_webhooks_in_flight").await, 0.0);
    let mut walmart = Sender::connect(app.http).await;
    let (status, answer) = walmart.deliver(intent("after", "PO-1").to_string().as_bytes()).await;
    assert_eq!((status, &answer["duplicate"]), (200, &json!(false)));
    drop(walmart);
    app.finish().await;
}

/// `HOSTILE_BODIES` says how many; a million take minutes.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_bodies_break_nothing() {
    let count = std::env::var("HOSTILE_BODIES").map_or(4_000, |count| count.parse().unwrap());
    survives_a_storm(count).await;
}

#[tokio::test]
async fn forged_signatures_are_all_refused() {
    let app = app().await;
    let mut sender = Sender::connect(app.http).await;
    let body = intent("e-1", "PO-1").to_string();
    let right = sign(body.as_bytes());
    let old: String = right.chars().rev().collect();
    let with = |header: &str| {
        let request = String::from_utf8(request(body.as_bytes())).unwrap();
        request.replace(&format!("x-walmart-auth: {right}\r\n"), header).into_bytes()
    };
    for header in [
        String::new(),
        "x-walmart-auth:\r\n".into(),
        "x-walmart-auth: sha256=\r\n".into(),
        format!("x-walmart-auth: {old}\r\n"),
        format!("x-walmart-auth: {}\r\n", &right[1..]),
        format!("x-walmart-auth: {right}{right}\r\n"),
        format!("x-walmart-auth: {right}, {right}\r\n"),
        format!("x-walmart-auth: {right}\r\nx-walmart-auth: {right}\r\n"),
        format!("x-walmart-auth: {right}\r\nX-WALMART-AUTH: {old}\r\n"),
        format!("authorization: {right}\r\n"),
        format!("x-walmart-auth: {}\r\n", "A".repeat(8000)),
    ] {
        assert_eq!(sender.send(&with(&header)).await.0, 401, "{header}");
    }
    let mut dice = Dice(1);
    for _ in 0..500 {
        let forged: String = (0..64).map(|_| char::from(b"0123456789abcdef"[dice.below(16)])).collect();
        assert_eq!(sender.send(&with(&format!("x-walmart-auth: {forged}\r\n"))).await.0, 401);
    }
    assert_eq!(sender.send(&with(&format!("x-walmart-auth: {right}\r\n"))).await.0, 200);
    drop(sender);
    app.finish().await;
}

#[tokio::test]
async fn what_is_no_request_ends_its_connection_alone() {
    let app = app().await;
    let mut dice = Dice(7);
    for _ in 0..200 {
        let status = Sender::connect(app.http).await.send(&[dice.bytes(300), b"\r\n\r\n".to_vec()].concat()).await.0;
        assert!(status == 0 || (400..500).contains(&status), "{status}");
    }
    let large = "a".repeat(20 * 1024);
    let many: String = (0..200).map(|n| format!("h{n}: x\r\n")).collect();
    for (what, head, expected) in [
        ("a large header", format!("POST /webhooks/walmart/demo HTTP/1.1\r\nhost: x\r\nx: {large}\r\n\r\n"), 431),
        ("a large path", format!("POST /webhooks/walmart/{large} HTTP/1.1\r\nhost: x\r\n\r\n"), 431),
        ("many headers", format!("POST /webhooks/walmart/demo HTTP/1.1\r\nhost: x\r\n{many}\r\n"), 431),
        (
            "a negative length",
            "POST /webhooks/walmart/demo HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n".into(),
            400,
        ),
        (
            "two lengths",
            "POST /webhooks/walmart/demo HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n".into(),
            400,
        ),
        (
            "a bad chunk",
            "POST /webhooks/walmart/demo HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
             transfer-encoding: chunked\r\n\r\nxyz\r\n"
                .into(),
            400,
        ),
    ] {
        let (status, _) = Sender::connect(app.http).await.send(head.as_bytes()).await;
        assert_eq!(status, expected, "{what}");
    }
    assert_eq!(app.get("/livez").await.0, 200);
    app.finish().await;
}

#[tokio::test]
async fn slow_senders_are_cut_off_and_hold_up_nobody() {
    let app = app().await;
    let whole = request(intent("slow", "PO-1").to_string().as_bytes());
    let mut slow: Vec<(Sender, Vec<u8>)> = Vec::new();
    for number in 0..200 {
        // In the middle of the head, or of the body.
        let cut = if number % 2 == 0 { 40 } else { whole.len() - 20 };
        slow.push((Sender::connect(app.http).await, whole[..cut].to_vec()));
    }
    let waiting = slow.into_iter().map(|(mut sender, part)| tokio::spawn(async move { sender.send(&part).await }));
    let waiting: Vec<_> = waiting.collect();
    // Of those in the middle of a body 64 may be open.
    let counted = |outcome| format!("order_gateway_webhooks_total{{account=\"demo\",outcome=\"{outcome}\"}}");
    while app.metric(&counted("displaced")).await < 36.0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(app.metric("order_gateway_webhooks_in_flight").await, 64.0);
    let mut walmart = Sender::connect(app.http).await;
    let asked = Instant::now();
    assert_eq!(walmart.deliver(intent("e-1", "PO-1").to_string().as_bytes()).await.0, 200);
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    drop(walmart);
    app.advance(Duration::from_secs(11)).await;
    let mut seen = [0; 3];
    for sent in waiting {
        let (status, answer) = sent.await.unwrap();
        match (status, answer["error"].as_str()) {
            (0, None) => seen[0] += 1,
            (408, Some("the body did not come in time")) => seen[1] += 1,
            (408, Some("the body was incomplete while too many other posts came")) => seen[2] += 1,
            other => panic!("{other:?}"),
        }
    }
    // The delivery took the place of one.
    assert_eq!(seen, [100, 63, 37]);
    assert_eq!(app.metric(&counted("incomplete")).await, 63.0);
    assert_eq!(app.metric(&counted("displaced")).await, 37.0);
    app.finish().await;
}

#[tokio::test]
async fn bodies_at_the_limit_stay_within_bounds() {
    let app = app().await;
    let fill = |open: &str, unit: &str, close: &str| {
        let room = 256 * 1024 - open.len() - close.len();
        let mut body = [open, &unit.repeat(room / unit.len())].concat();
        if body.ends_with(',') {
            body.pop();
        }
        [&body, close].concat()
    };
    let start = r#"{"source":{"eventType":"INTENT_TO_CANCEL"},"payload":{"purchaseOrderId":"1","orderLines":["#;
    let bodies: [String; 5] = [
        fill(start, "{},", "]}}"),
        fill(start, "[],", "]}}"),
        fill(start, "0,", "]}}"),
        fill(r#"{"source":{"eventType":"X"},"payload":""#, "\\u0000", "\"}"),
        fill(r#"{"source":{"eventType":"X"},"payload":{"#, "\"\":0,", "}}"),
    ];
    let mut walmart = Sender::connect(app.http).await;
    let before = resident();
    for round in 0..5 {
        for body in &bodies {
            let answer: (u16, Value) = walmart.deliver(body.as_bytes()).await;
            assert_eq!(answer, (200, json!({"stored": true, "duplicate": round > 0})), "{}", &body[..80]);
        }
    }
    assert!(resident() < before + 150 * 1024, "{before} -> {} KiB", resident());
    drop(walmart);
    app.finish().await;
}

/// An intent of 20,000 lines takes some 6 MiB as a message: a block of a hundred of them must never be in memory at once.
#[tokio::test]
async fn readers_of_intents_with_many_lines_stay_within_bounds() {
    let app = app().await;
    let mut walmart = Sender::connect(app.http).await;
    for number in 0..100 {
        let lines: Vec<_> = (0..20_000).map(|_| r#"{"sku":"a"}"#).collect();
        let body = format!(
            r#"{{"source":{{"eventType":"INTENT_TO_CANCEL","eventId":"e-{number}"}},"payload":{{"purchaseOrderId":"{number}","orderLines":[{}]}}}}"#,
            lines.join(",")
        );
        assert_eq!(walmart.deliver(body.as_bytes()).await.0, 200);
    }
    drop(walmart);
    let client = app.client().await;
    let before = resident();
    let mut watch =
        feed::watch(&client, &json!({"start": {"earliest": true}, "filter": {"skus": ["b"]}})).await.unwrap();
    watch.opened().await;
    let subscription = json!({"subscription": {"name": "all", "start": {"earliest": true}}}).to_string();
    let request: pb::CreateSubscriptionRequest = message("CreateSubscriptionRequest", &subscription);
    feed::client(&client).create_subscription(request).await.unwrap();
    let mut consumer = feed::subscribe(&client, &json!({"subscription": "all", "consumer_id": "me"})).await.unwrap();
    consumer.opened().await;
    // As many as are lent at once without being settled, none of which is taken by the test before the others are on their way.
    assert_eq!(
        consumer.deliveries(1).await[0].event.as_ref().unwrap().intent.as_ref().unwrap().order_lines.len(),
        20_000
    );
    let after = resident();
    assert!(after < before + 150 * 1024, "{before} -> {after} KiB");
    drop((watch, consumer, client));
    feed::finish(app).await;
}
