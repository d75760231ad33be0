use std::sync::atomic::Ordering;

use axum::body::Body;
use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{Method, Request};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::testing::{
    Answer, App, INTENT, Log, SETTINGS, Unending, gzip, in_pieces, is_stored, post, signed, signed_bytes,
};
use super::*;
use crate::config::Secret;
use crate::domain::feed::FeedName;
use crate::domain::feed::notification::DeliveryContent;
use crate::domain::timestamp::Timestamp;
use crate::telemetry::testing::LogLines;

#[tokio::test(start_paused = true)]
async fn an_intent_is_stored_with_its_exact_body_and_acknowledged() {
    let app = App::new();
    is_stored(&app.send(signed(INTENT)).await, false);
    let stored = app.log.stored();
    let [arrival] = stored.as_slice() else { panic!("{stored:?}") };
    assert_eq!((arrival.account.as_str(), &arrival.raw[..]), ("acme", INTENT.as_bytes()));
    assert_eq!(arrival.received, Timestamp(1_760_000_000_123));
    assert!(
        matches!(&arrival.content, DeliveryContent::Event { feed: FeedName::CancelIntents, event_id, .. } if event_id.starts_with("0d16aa10"))
    );
    assert_eq!(app.counted("acme"), [("stored".to_owned(), 1)]);
}

#[tokio::test]
async fn what_the_log_knows_already_is_told() {
    let app = App::new();
    app.log.will_answer(AppendOutcome::Conflict);
    app.log.will_answer(AppendOutcome::Duplicate);
    is_stored(&app.send(signed(INTENT)).await, true);
    is_stored(&app.send(signed(INTENT)).await, true);
    assert_eq!(app.counted("acme"), [("conflict".to_owned(), 1), ("duplicate".to_owned(), 1)]);
}

#[tokio::test]
async fn other_events_and_unreadable_ones_are_stored_too() {
    let app = App::new();
    for body in [r#"{"source":{"eventType":"PO_CREATED"},"payload":{}}"#, r#"{"hello":"world"}"#, "\u{0}{", ""] {
        is_stored(&app.send(signed(body)).await, false);
    }
    let kinds: Vec<_> = app.log.stored().into_iter().map(|arrival| arrival.content).collect();
    assert!(
        matches!(&kinds[0], DeliveryContent::Event { feed: FeedName::OrderUpdates, event_type, .. } if event_type == "PO_CREATED"),
        "{kinds:?}"
    );
    assert_eq!(kinds[1], DeliveryContent::Unreadable { reason: "no event type".into() });
    assert!(
        matches!((&kinds[2], &kinds[3]), (DeliveryContent::Unreadable { .. }, DeliveryContent::Unreadable { .. })),
        "{kinds:?}"
    );
    assert_eq!(app.counted("acme"), [("quarantined".to_owned(), 3), ("stored".to_owned(), 1)]);
}

#[tokio::test]
async fn nothing_that_is_not_proved_is_stored() {
    let app = App::new();
    let mut forged = signed(INTENT);
    *forged.body_mut() = Body::from(INTENT.replace("1700000000001", "1700000000002"));
    let answer = app.send(forged).await;
    assert_eq!((answer.status, answer.body), (401, json!({"error": "the proof is wrong"})));
    let answer = app.post("acme", INTENT).await;
    assert_eq!(answer.body, json!({"error": "the request carries no proof of where it comes from"}));
    assert_eq!(app.post("tokens", INTENT).await.status, 401);
    // Not even what is unreadable.
    assert_eq!(app.post("acme", "{").await.status, 401);
    assert_eq!(app.log.stored(), []);
    assert_eq!(app.counted("acme"), [("unauthenticated".to_owned(), 3)]);
}

#[tokio::test]
async fn who_receives_none_is_not_found_and_counted() {
    let app = App::new();
    let text = "no account of this name receives webhooks";
    for account in ["nobody", "silent", "ACME", "%ff", "acme%00", &"a".repeat(5000), "", "acme/x", "acme//"] {
        let answer = app.post(account, INTENT).await;
        assert_eq!((answer.status, answer.body), (404, json!({"error": text})), "{account}");
    }
    assert_eq!(app.counted("unknown"), [("unknown_account".to_owned(), 9)]);
    for path in ["/webhooks", "/webhooks/", "/webhooks/walmart", "/webhooks/walmart/", "/webhooks/other/acme"] {
        let request = Request::post(path).body(Body::from(INTENT)).unwrap();
        assert_eq!(app.send(request).await.status, 404, "{path}");
    }
    for account in ["nobody/token", "nobody/token/"] {
        assert_eq!(app.post(account, "").await.status, 404, "{account}");
    }
    assert_eq!(app.counted("unknown"), [("unknown_account".to_owned(), 16)]);
    for account in ["acme", "open"] {
        assert_eq!(app.post(&format!("{account}/token"), "").await.status, 404, "{account}");
        assert_eq!(app.value("order_gateway_webhook_tokens_total", account, "refused"), 1, "{account}");
    }
    assert_eq!(app.log.stored(), []);
}

#[tokio::test]
async fn an_event_that_may_be_an_intent_is_stored_counted_and_logged() {
    let lines = LogLines::default();
    let app = App::new();
    let _logging = tracing::dispatcher::set_default(&lines.json());
    let update = |id: u32, payload: Value| {
        json!({"source": {"eventType": "ORDER_UPDATES", "eventId": id}, "payload": payload}).to_string()
    };
    for body in [
        update(1, json!({"order": {"purchaseOrderId": "canary"}})),
        update(2, json!({"subEventType": "canary"})),
        update(3, json!({"subEventType": "canary"})),
        update(4, json!({"subEventType": "PO_CREATED", "order": {"intentToCancel": "canary"}})),
        update(5, json!({"subEventType": "PO_CREATED"})),
        update(6, json!({"subEventType": "INTENT_TO_CANCEL", "order": {}})),
    ] {
        is_stored(&app.send(signed(&body)).await, false);
    }
    // One that comes again is not counted again.
    app.log.will_answer(AppendOutcome::Duplicate);
    is_stored(&app.send(signed(&update(2, json!({"subEventType": "canary"})))).await, true);
    let text = app.metrics.encode(crate::telemetry::metrics::TextFormat::OpenMetrics).unwrap();
    for (cause, count) in [("no_kind", 1), ("unknown_kind", 2), ("unreadable_flag", 1)] {
        let series =
            format!("order_gateway_webhook_unclear_events_total{{account=\"acme\",cause=\"{cause}\"}} {count}");
        assert!(text.contains(&series), "{series}: {text}");
    }
    let told = lines.parsed();
    let told =
        Vec::from_iter(told.iter().map(|line| ["account", "cause", "level"].map(|name| line[name].as_str().unwrap())));
    assert_eq!(told, ["no_kind", "unknown_kind", "unreadable_flag"].map(|cause| ["acme", cause, "WARN"]));
    assert!(!lines.text().contains("canary"), "{}", lines.text());
}

#[tokio::test]
async fn each_refusal_is_logged_once_a_minute_without_what_was_sent() {
    let lines = LogLines::default();
    let app = App::new();
    let _logging = tracing::dispatcher::set_default(&lines.json());
    for _ in 0..3 {
        assert_eq!(app.post("canary-account", "canary").await.status, 404);
        assert_eq!(app.post("acme", "canary").await.status, 401);
    }
    let told = lines.parsed();
    let told = Vec::from_iter(
        told.iter().map(|line| ["account", "outcome", "level"].map(|name| line[name].as_str().unwrap())),
    );
    assert_eq!(told, [["unknown", "unknown_account", "WARN"], ["acme", "unauthenticated", "WARN"]]);
    assert!(!lines.text().contains("canary"), "{}", lines.text());
}

#[tokio::test]
async fn only_post_is_served() {
    let app = App::new();
    for path in ["/webhooks/walmart/acme", "/webhooks/walmart/tokens/token/", "/webhooks/walmart/nobody"] {
        for method in [Method::GET, Method::PUT, Method::DELETE] {
            let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
            let answer = app.send(request).await;
            assert_eq!((answer.status, answer.headers[ALLOW].to_str().unwrap()), (405, "POST"), "{path}");
        }
    }
    for account in ["acme", "tokens", "unknown"] {
        assert_eq!(app.counted(account), [("wrong_method".to_owned(), 3)], "{account}");
    }
}

#[tokio::test]
async fn a_slash_at_the_end_is_the_same_path() {
    let app = App::new();
    let mut delivery = signed(INTENT);
    *delivery.uri_mut() = "/webhooks/walmart/acme/".parse().unwrap();
    is_stored(&app.send(delivery).await, false);
    assert_eq!(app.post("tokens/token/", "").await.body, json!({"error": "invalid_request"}));
}

#[tokio::test]
async fn the_content_type_decides_nothing() {
    let app = App::new();
    let odd = [
        None,
        Some("application/octet-stream"),
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
        Some(" ; x=y"),
        Some("application/json;charset=UTF-16"),
    ];
    for (kind, right) in odd.iter().flat_map(|kind| [(kind, true), (kind, false)]) {
        let mut request = signed(INTENT);
        request.headers_mut().remove(CONTENT_TYPE);
        if let Some(kind) = kind {
            request.headers_mut().insert(CONTENT_TYPE, kind.parse().unwrap());
        }
        if !right {
            *request.body_mut() = Body::from("{}");
        }
        // The proof is judged first, and nothing else of a body without one.
        assert_eq!(app.send(request).await.status, if right { 200 } else { 401 }, "{kind:?}");
    }
    let stored = app.log.stored();
    assert_eq!(stored.len(), odd.len());
    assert!(
        stored
            .iter()
            .all(|arrival| matches!(arrival.content, DeliveryContent::Event { feed: FeedName::CancelIntents, .. })),
        "{stored:?}"
    );
    assert_eq!(app.counted("acme"), [("stored".to_owned(), 6), ("unauthenticated".to_owned(), 6)]);
}

#[tokio::test]
async fn a_packed_body_is_proved_as_it_was_sent_and_kept_as_it_unpacks() {
    let app = App::new();
    is_stored(&app.send(signed_bytes(gzip(INTENT.as_bytes()))).await, false);
    let stored = app.log.stored();
    assert_eq!(stored[0].raw, INTENT);
    assert!(
        matches!(&stored[0].content, DeliveryContent::Event { feed: FeedName::CancelIntents, event_id, .. } if event_id.starts_with("0d16aa10"))
    );
    // A proof of what it unpacks to is none.
    let mut other = signed(INTENT);
    *other.body_mut() = Body::from(gzip(INTENT.as_bytes()));
    assert_eq!(app.send(other).await.status, 401);
    // What cannot be unpacked is kept as it was sent.
    let bomb = gzip(&vec![b' '; 50 * MAX_BODY]);
    is_stored(&app.send(signed_bytes(bomb.clone())).await, false);
    let stored = app.log.stored();
    let reason = "packed by gzip, and more than 256 KiB when unpacked".to_owned();
    assert_eq!((&stored[1].raw, &stored[1].content), (&Bytes::from(bomb), &DeliveryContent::Unreadable { reason }));
    assert_eq!(app.counted("acme").len(), 3);
}

/// Account, size, proof, content: a post that fails several checks is told the first.
#[tokio::test]
async fn the_checks_have_an_order() {
    let app = App::new();
    let too_large = || Body::from(vec![b'x'; MAX_BODY + 1]);
    assert_eq!(app.post("nobody", too_large()).await.status, 404);
    assert_eq!(app.post("acme", too_large()).await.status, 413);
    assert_eq!(app.post("acme", in_pieces(1, 3)).await.status, 400);
    assert_eq!(app.post("acme", "{").await.status, 401);
    is_stored(&app.send(signed("{")).await, false);
}

#[tokio::test]
async fn each_refusal_is_counted_and_apart_where_a_proof_was_there() {
    let app = App::new();
    let wrong = |path: &str, body: Body| {
        let mut request = post("acme", body);
        *request.uri_mut() = format!("/webhooks/walmart/{path}").parse().unwrap();
        request.headers_mut().insert("x-walmart-auth", "wrong".parse().unwrap());
        app.send(request)
    };
    assert_eq!(wrong("acme", Body::from("{}")).await.status, 401);
    assert_eq!(wrong("acme", Body::from(vec![b' '; MAX_BODY + 1])).await.status, 413);
    assert_eq!(wrong("acme", in_pieces(1, 3)).await.status, 400);
    assert_eq!(wrong("nobody", Body::from("{}")).await.status, 404);
    app.log.0.fails.store(true, Ordering::SeqCst);
    assert_eq!(app.send(signed(INTENT)).await.status, 503);
    // Without a proof, or with an empty one.
    assert_eq!(app.post("acme", "{}").await.status, 401);
    assert_eq!(app.post("nobody", "{}").await.status, 404);
    let mut empty = post("acme", Body::from("{}"));
    empty.headers_mut().insert("x-walmart-auth", " ".parse().unwrap());
    assert_eq!(app.send(empty).await.status, 401);
    let signed_refused = |account, outcome| app.value("order_gateway_webhooks_signed_refused_total", account, outcome);
    for (account, outcome, all) in [
        ("acme", "unauthenticated", 3),
        ("acme", "too_large", 1),
        ("acme", "incomplete", 1),
        ("acme", "not_stored", 1),
        ("unknown", "unknown_account", 2),
    ] {
        assert_eq!(app.value("order_gateway_webhooks_total", account, outcome), all, "{outcome}");
        assert_eq!(signed_refused(account, outcome), 1, "{outcome}");
    }
}

#[tokio::test]
async fn the_largest_body_is_taken_and_a_larger_one_not_read() {
    let app = App::new();
    let event = r#"{"source":{"eventType":"X"}}"#;
    let padded = |size: usize| [event, &" ".repeat(size - event.len())].concat();
    is_stored(&app.post("open", padded(MAX_BODY)).await, false);
    assert_eq!(app.log.stored()[0].raw.len(), MAX_BODY);
    let told = app.post("open", padded(MAX_BODY + 1)).await;
    assert_eq!((told.status, told.body), (413, json!({"error": "the body is too large"})));
    assert_eq!(told.headers[CONNECTION], "close");
    // Its length untold; one more piece would be an error.
    let piece = 16 * 1024;
    assert_eq!(app.post("open", in_pieces(MAX_BODY / piece + 1, piece)).await.status, 413);
    // A length that cannot be: no memory is taken for it.
    let body = Body::new(http_body_util::Full::new(Bytes::from_static(b"{}")).map_err(|never| match never {}));
    let mut lying = post("open", body);
    lying.headers_mut().insert("content-length", u64::MAX.into());
    assert_eq!(app.send(lying).await.status, 200);
    assert_eq!(app.log.stored().len(), 2);
    assert_eq!(app.counted("open")[2], ("too_large".to_owned(), 2));
}

#[tokio::test(start_paused = true)]
async fn a_slow_body_is_given_up_after_ten_seconds() {
    let app = App::new();
    let began = Instant::now();
    let answer = app.post("open", Unending::after("{", &Arc::default())).await;
    assert_eq!((answer.status, answer.body), (408, json!({"error": "the body did not come in time"})));
    assert_eq!((began.elapsed(), &answer.headers[CONNECTION]), (Duration::from_secs(10), &"close".parse().unwrap()));
    assert_eq!(app.post("open", in_pieces(1, 3)).await.status, 400);
    assert_eq!(app.counted("open"), [("incomplete".to_owned(), 2)]);
    assert_eq!(app.log.stored(), []);
}

#[tokio::test]
async fn a_store_that_fails_is_never_acknowledged_and_asks_for_another_try() {
    let app = App::new();
    app.log.0.fails.store(true, Ordering::SeqCst);
    for body in [INTENT, "{", r#"{"source":{"eventType":"X"}}"#] {
        let answer = app.send(signed(body)).await;
        assert_eq!((answer.status, answer.body), (503, json!({"error": "the delivery cannot be stored now"})));
        assert_eq!(answer.headers[RETRY_AFTER], "5");
    }
    assert_eq!(app.counted("acme"), [("not_stored".to_owned(), 3)]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_is_not_waited_for_and_still_takes_the_delivery() {
    let app = App::new();
    app.log.0.shut.store(true, Ordering::SeqCst);
    let began = Instant::now();
    let answer = app.send(signed(INTENT)).await;
    assert_eq!((answer.status, began.elapsed()), (503, STORE_TIME));
    app.log.open();
    while app.log.stored().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(app.log.stored()[0].raw, INTENT);
}

#[tokio::test]
async fn a_sender_that_goes_away_takes_nothing_with_it() {
    let app = App::new();
    app.log.0.shut.store(true, Ordering::SeqCst);
    let sending = tokio::spawn(app.router.clone().oneshot(signed(INTENT)));
    app.log.0.handed_over.notified().await;
    sending.abort();
    assert!(sending.await.unwrap_err().is_cancelled());
    app.log.open();
    while app.log.stored().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(app.log.stored().len(), 1);
}

#[tokio::test]
async fn too_many_at_once_are_put_off_and_the_places_come_back() {
    let app = App::new();
    app.log.0.shut.store(true, Ordering::SeqCst);
    let mut sending = Vec::new();
    for _ in 0..MAX_DELIVERIES {
        sending.push(tokio::spawn(app.router.clone().oneshot(signed(INTENT))));
        app.log.0.handed_over.notified().await;
    }
    let answer = app.send(signed(INTENT)).await;
    assert_eq!((answer.status, answer.body), (503, json!({"error": "too many deliveries at once"})));
    assert_eq!(answer.headers[RETRY_AFTER], "5");
    app.log.open();
    for sent in sending {
        assert_eq!(sent.await.unwrap().unwrap().status(), 200);
    }
    is_stored(&app.send(signed(INTENT)).await, false);
    assert_eq!(app.counted("acme")[0], ("overloaded".to_owned(), 1));
}

#[tokio::test]
async fn bodies_that_hold_too_much_together_are_put_off_and_give_their_room_back() {
    let app = App::new();
    app.log.0.shut.store(true, Ordering::SeqCst);
    let mut sending = Vec::new();
    for _ in 0..MAX_BYTES / MAX_BODY {
        sending.push(tokio::spawn(app.router.clone().oneshot(post("open", Body::from(vec![b' '; MAX_BODY])))));
        app.log.0.handed_over.notified().await;
    }
    assert_eq!(app.post("open", "{}").await.status, 503);
    app.log.open();
    for sent in sending {
        assert_eq!(sent.await.unwrap().unwrap().status(), 200);
    }
    is_stored(&app.post("open", "{}").await, false);
}

/// A delivery from this address, as the server tells it.
fn from(address: [u8; 4], mut delivery: Request<Body>) -> Request<Body> {
    delivery.extensions_mut().insert(PeerAddress(address.into()));
    delivery
}

#[tokio::test(start_paused = true)]
async fn posts_that_never_finish_are_ended_for_new_ones_and_refuse_no_signed_one() {
    let app = App::new();
    let (began, read) = (Instant::now(), Arc::default());
    let mut sending = std::collections::VecDeque::new();
    for number in 0..2 * UNPROVED.by_address {
        let half = from([192, 0, 2, 1], post("acme", Unending::after("{", &read)));
        sending.push_back(tokio::spawn(app.router.clone().oneshot(half)));
        while read.load(Ordering::SeqCst) <= number {
            tokio::task::yield_now().await;
        }
    }
    // The first half was ended for the second, in the order in which they came.
    for first in sending.drain(..UNPROVED.by_address) {
        let answer = first.await.unwrap().unwrap();
        assert_eq!((answer.status().as_u16(), &answer.headers()[CONNECTION]), (408, &"close".parse().unwrap()));
    }
    assert!(sending.iter().all(|open| !open.is_finished()));
    // From elsewhere, and from the very address.
    is_stored(&app.send(from([192, 0, 2, 2], signed(INTENT))).await, false);
    is_stored(&app.send(from([192, 0, 2, 1], signed(INTENT))).await, false);
    assert_eq!(sending.pop_front().unwrap().await.unwrap().unwrap().status(), 408);
    assert_eq!(began.elapsed(), Duration::ZERO);
    let displaced = u64::try_from(UNPROVED.by_address).unwrap() + 1;
    assert_eq!(app.counted("acme"), [("displaced".to_owned(), displaced), ("stored".to_owned(), 2)]);
    // The others had their ten seconds.
    for left in sending {
        assert_eq!(left.await.unwrap().unwrap().status(), 408);
    }
    assert_eq!(began.elapsed(), Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn unfinished_posts_of_many_addresses_refuse_no_signed_one() {
    let app = App::new();
    let (part, read) = (Bytes::from(vec![b' '; MAX_BODY - 1]), Arc::default());
    let mut sending = Vec::new();
    // More than all may be, in number and in bytes.
    for number in 0..2 * UNPROVED.posts {
        let [high, low] = u16::try_from(number / 50).unwrap().to_be_bytes();
        let first = if number % 8 == 0 { part.clone() } else { Bytes::from_static(b"{") };
        let half = from([10, 0, high, low], post("acme", Unending::after(first, &read)));
        sending.push(tokio::spawn(app.router.clone().oneshot(half)));
    }
    while sending.iter().filter(|open| !open.is_finished()).count() > UNPROVED.posts {
        tokio::task::yield_now().await;
    }
    is_stored(&app.send(from([192, 0, 2, 9], signed(INTENT))).await, false);
    for sent in sending {
        assert_eq!(sent.await.unwrap().unwrap().status(), 408);
    }
}

#[tokio::test]
async fn a_token_is_given_out_and_deliveries_come_with_it() {
    let app = App::new();
    let ask = |form: &'static str, pair: &str| {
        use base64::Engine as _;
        let pair = base64::engine::general_purpose::STANDARD.encode(pair);
        let request = Request::post("/webhooks/walmart/tokens/token").header("x-walmart-auth", pair);
        let kind = "application/x-www-form-urlencoded; charset=ISO-8859-1";
        app.send(request.header(CONTENT_TYPE, kind).body(Body::from(form)).unwrap())
    };
    let answer = ask("grant_type=client_credentials", "walmart:s3cret").await;
    assert_eq!((answer.status, &answer.headers["cache-control"]), (200, &"no-store".parse().unwrap()));
    assert_eq!((&answer.body["token_type"], &answer.body["expires_in"]), (&json!("Bearer"), &json!(3600)));
    let mut delivery = post("tokens", Body::from(INTENT));
    let bearer = format!("Bearer {}", answer.body["access_token"].as_str().unwrap());
    delivery.headers_mut().insert("x-walmart-auth", bearer.parse().unwrap());
    is_stored(&app.send(delivery).await, false);

    let answer = ask("grant_type=client_credentials", "walmart:wrong").await;
    assert_eq!((answer.status, answer.body), (401, json!({"error": "invalid_client"})));
    assert!(answer.headers.contains_key("www-authenticate"));
    let answer = ask("grant_type=password", "walmart:s3cret").await;
    assert_eq!((answer.status, answer.body), (400, json!({"error": "unsupported_grant_type"})));
    let answer = ask("", "walmart:s3cret").await;
    assert_eq!((answer.status, answer.body), (400, json!({"error": "invalid_request"})));
    let large = Request::post("/webhooks/walmart/tokens/token").body(Body::from(vec![b'x'; MAX_FORM + 1])).unwrap();
    assert_eq!(app.send(large).await.status, 413);
    for (outcome, count) in [("issued", 1), ("refused", 4)] {
        assert_eq!(app.value("order_gateway_webhook_tokens_total", "tokens", outcome), count, "{outcome}");
    }
}

async fn ask_for_token(app: &App, secret: &str) -> Answer {
    let form = format!("grant_type=client_credentials&client_id=walmart&client_secret={secret}");
    app.send(Request::post("/webhooks/walmart/tokens/token").body(Body::from(form)).unwrap()).await
}

fn with_token(answer: &Answer) -> Request<Body> {
    let mut delivery = post("tokens", Body::from(INTENT));
    let bearer = format!("Bearer {}", answer.body["access_token"].as_str().unwrap());
    delivery.headers_mut().insert("x-walmart-auth", bearer.parse().unwrap());
    delivery
}

#[tokio::test]
async fn tokens_keep_their_hour_over_a_restart_and_another_secret() {
    let settings = |secret: &str| SETTINGS.replace(r#"client_secret = "s3cret""#, &format!("client_secret = {secret}"));
    let log = Log::default();
    let before = ask_for_token(&App::over(log.clone(), &settings(r#""s3cret""#)), "s3cret").await;
    let app = App::over(log.clone(), &settings(r#"["s3cret", "new"]"#));
    let meanwhile = ask_for_token(&app, "s3cret").await;
    assert_eq!((before.status, meanwhile.status, ask_for_token(&app, "new").await.status), (200, 200, 200));
    let app = App::over(log, &settings(r#""new""#));
    assert_eq!(ask_for_token(&app, "s3cret").await.status, 401);
    is_stored(&app.send(with_token(&before)).await, false);
    is_stored(&app.send(with_token(&meanwhile)).await, false);
    // A store of its own has a key of its own.
    assert_eq!(App::new().send(with_token(&before)).await.status, 401);
}

#[tokio::test]
async fn without_its_key_no_token_is_judged() {
    let log = Log::default();
    let token = ask_for_token(&App::over(log.clone(), SETTINGS), "s3cret").await;
    let app = App::over(log.clone(), SETTINGS);
    log.0.fails.store(true, Ordering::SeqCst);
    for answer in [ask_for_token(&app, "s3cret").await, app.send(with_token(&token)).await] {
        assert_eq!((answer.status, &answer.headers[RETRY_AFTER]), (503, &"5".parse().unwrap()));
    }
    log.0.fails.store(false, Ordering::SeqCst);
    is_stored(&app.send(with_token(&token)).await, false);
}

#[tokio::test]
async fn nothing_of_a_delivery_comes_back() {
    let app = App::new();
    let canary = "canary-7";
    let mut request = signed(&format!("{{\"a\":\"{canary}\""));
    request.headers_mut().append("x-walmart-auth", canary.parse().unwrap());
    for request in [request, post(canary, Body::from(canary)), signed(canary)] {
        let answer = app.send(request).await;
        assert!(!format!("{:?} {}", answer.headers, answer.body).contains("canary"), "{}", answer.body);
    }
    app.log.0.fails.store(true, Ordering::SeqCst);
    assert!(!app.send(signed(canary)).await.body.to_string().contains("canary"));
    let reasons: Vec<_> = app.log.stored().into_iter().map(|arrival| arrival.content).collect();
    assert!(!reasons.is_empty() && !format!("{reasons:?}").contains("canary"), "{reasons:?}");
    let secret = Secret::inline(canary);
    assert!(!format!("{secret:?}").contains("canary"));
}
