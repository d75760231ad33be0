//! Tokens of the OAuth scheme: given out, and sent with deliveries.

use std::sync::atomic::Ordering;

use axum::body::Body;
use http::Request;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use serde_json::json;

use super::app::{Answer, App, INTENT, Log, SETTINGS, is_stored, post};
use super::*;

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
