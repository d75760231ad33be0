use std::sync::atomic::Ordering;

use axum::body::Body;
use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE};
use http::{Method, Request};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use super::app::{App, INTENT, gzip, in_pieces, is_stored, post, signed, signed_bytes};
use super::*;
use crate::config::Secret;
use crate::domain::feed::FeedName;
use crate::domain::feed::notification::DeliveryContent;
use crate::domain::timestamp::Timestamp;
use crate::testing::logs::LogLines;

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
    let bomb = gzip(&vec![b' '; 50 * DELIVERY_BYTES]);
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
    let too_large = || Body::from(vec![b'x'; DELIVERY_BYTES + 1]);
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
    assert_eq!(wrong("acme", Body::from(vec![b' '; DELIVERY_BYTES + 1])).await.status, 413);
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
    is_stored(&app.post("open", padded(DELIVERY_BYTES)).await, false);
    assert_eq!(app.log.stored()[0].raw.len(), DELIVERY_BYTES);
    let told = app.post("open", padded(DELIVERY_BYTES + 1)).await;
    assert_eq!((told.status, told.body), (413, json!({"error": "the body is too large"})));
    assert_eq!(told.headers[CONNECTION], "close");
    // Its length untold; one more piece would be an error.
    let piece = 16 * 1024;
    assert_eq!(app.post("open", in_pieces(DELIVERY_BYTES / piece + 1, piece)).await.status, 413);
    // A length that cannot be: no memory is taken for it.
    let body = Body::new(http_body_util::Full::new(Bytes::from_static(b"{}")).map_err(|never| match never {}));
    let mut lying = post("open", body);
    lying.headers_mut().insert("content-length", u64::MAX.into());
    assert_eq!(app.send(lying).await.status, 200);
    assert_eq!(app.log.stored().len(), 2);
    assert_eq!(app.counted("open")[2], ("too_large".to_owned(), 2));
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
