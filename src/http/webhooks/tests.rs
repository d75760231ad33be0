use std::sync::atomic::Ordering;

use axum::body::Body;
use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, RETRY_AFTER};
use http::{Method, Request};
use http_body_util::BodyExt as _;
use serde_json::json;
use tower::ServiceExt as _;

use super::testing::{App, INTENT, Unending, in_pieces, is_stored, post, signed};
use super::*;
use crate::config::Secret;
use crate::domain::feed::notification::Content;
use crate::domain::timestamp::Timestamp;
use crate::telemetry::metrics::Form;

#[tokio::test(start_paused = true)]
async fn an_intent_is_stored_with_its_exact_body_and_acknowledged() {
    let app = App::new();
    is_stored(&app.send(signed(INTENT)).await, false);
    let stored = app.log.stored();
    let [arrival] = stored.as_slice() else { panic!("{stored:?}") };
    assert_eq!((arrival.account.as_str(), &arrival.raw[..]), ("acme", INTENT.as_bytes()));
    assert_eq!(arrival.received, Timestamp(1_760_000_000_123));
    assert!(matches!(&arrival.content, Content::Intent { event_id, .. } if event_id.starts_with("0d16aa10")));
    assert_eq!(app.counted("acme"), [("stored".to_owned(), 1)]);
}

#[tokio::test]
async fn what_the_log_knows_already_is_told() {
    let app = App::new();
    app.log.will_answer(Appended::Conflict);
    app.log.will_answer(Appended::Duplicate);
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
    assert!(matches!(&kinds[0], Content::Other { event_type, .. } if event_type == "PO_CREATED"), "{kinds:?}");
    assert_eq!(kinds[1], Content::Unreadable { reason: "no event type".into() });
    assert!(matches!((&kinds[2], &kinds[3]), (Content::Unreadable { .. }, Content::Unreadable { .. })), "{kinds:?}");
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
async fn who_receives_none_is_not_found() {
    let app = App::new();
    for account in ["nobody", "silent", "ACME", "%ff", "acme%00", &"a".repeat(5000)] {
        let answer = app.post(account, INTENT).await;
        let text = "no account of this name receives webhooks";
        assert_eq!((answer.status, answer.body), (404, json!({"error": text})), "{account}");
        assert_eq!(app.post(&format!("{account}/token"), "").await.status, 404, "{account}");
    }
    for account in ["acme", "open"] {
        assert_eq!(app.post(&format!("{account}/token"), "").await.status, 404, "{account}");
    }
    assert_eq!(app.counted("_OTHER"), [("unknown_account".to_owned(), 6)]);
    assert_eq!(app.log.stored(), []);
}

#[tokio::test]
async fn only_post_is_served() {
    let app = App::new();
    for path in ["/webhooks/walmart/acme", "/webhooks/walmart/tokens/token", "/webhooks/walmart/nobody"] {
        for method in [Method::GET, Method::PUT, Method::DELETE] {
            let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
            let answer = app.send(request).await;
            assert_eq!((answer.status, answer.headers[ALLOW].to_str().unwrap()), (405, "POST"), "{path}");
        }
    }
}

#[tokio::test]
async fn only_json_is_taken() {
    let app = App::new();
    let with = |kind: &'static str| {
        let mut request = post("open", Body::from(r#"{"source":{"eventType":"X"}}"#));
        request.headers_mut().insert(CONTENT_TYPE, kind.parse().unwrap());
        app.send(request)
    };
    for kind in
        ["application/json", "Application/JSON;charset=UTF-8", " application/json ; x=y", "application/vnd.w+json"]
    {
        is_stored(&with(kind).await, false);
    }
    let none = app.send(Request::post("/webhooks/walmart/open").body(Body::from("{}")).unwrap()).await;
    assert_eq!((none.status, none.body), (415, json!({"error": "the content type must be application/json"})));
    for kind in
        ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", "json", "application/xml; a=+json"]
    {
        assert_eq!(with(kind).await.status, 415, "{kind}");
    }
    assert_eq!(app.counted("open"), [("not_json".to_owned(), 6), ("stored".to_owned(), 4)]);
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
        assert_eq!((answer.status, answer.body), (503, json!({"error": "it cannot be stored now"})));
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
    assert_eq!((answer.status, answer.body), (503, json!({"error": "too many at once"})));
    assert_eq!(
        (&answer.headers[RETRY_AFTER], &answer.headers[CONNECTION]),
        (&"5".parse().unwrap(), &"close".parse().unwrap())
    );
    app.log.open();
    for sent in sending {
        assert_eq!(sent.await.unwrap().unwrap().status(), 200);
    }
    is_stored(&app.send(signed(INTENT)).await, false);
    assert_eq!(app.counted("acme")[0], ("overloaded".to_owned(), 1));
}

#[tokio::test(start_paused = true)]
async fn bodies_that_hold_too_much_together_are_put_off_and_give_their_room_back() {
    let app = App::new();
    let (part, read) = (Bytes::from(vec![b' '; MAX_BODY]), Arc::default());
    let mut sending = Vec::new();
    for _ in 0..MAX_BYTES / MAX_BODY {
        let body = Unending::after(part.clone(), &read);
        sending.push(tokio::spawn(app.router.clone().oneshot(post("open", body))));
    }
    while read.load(Ordering::SeqCst) < MAX_BYTES / MAX_BODY {
        tokio::task::yield_now().await;
    }
    assert_eq!(app.post("open", "{}").await.status, 503);
    for sent in sending {
        assert_eq!(sent.await.unwrap().unwrap().status(), 408);
    }
    is_stored(&app.post("open", "{}").await, false);
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
    let text = app.metrics.encode(Form::OpenMetrics).unwrap();
    for (outcome, count) in [("issued", 1), ("refused", 3)] {
        let line = format!("order_gateway_webhook_tokens_total{{account=\"tokens\",outcome=\"{outcome}\"}} {count}\n");
        assert!(text.contains(&line), "{text}");
    }
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
