//! Canaries: secrets, tokens and customers' data are sent through a real process that logs all it can, and must not come
//! out of its log, its metrics or its errors.

use serde_json::{Value, json};

use super::serve::Pair;
use crate::support::app::get;
use crate::support::bodies;
use crate::support::client::Client;

const TOKEN: &str = "canary-of-the-callers-token-0123456789";

/// The sample order about a person whose data can be recognised.
fn order(number: &str) -> Value {
    let contact = json!({"name": {"firstName": "canaryfirst", "lastName": "canarylast"}, "phone": "555-canary-phone",
        "email": "canary@example.test"});
    let address = json!({"line1": "1 Canary Street", "line2": "canary flat", "city": "Canaryville", "state": "CA",
        "country": "US", "zip": "94111"});
    let mut body = bodies::create_as(number);
    body["payload"]["customer"]["contact"] = contact.clone();
    body["payload"]["orderItems"][0]["shippingTo"] = json!({"contact": contact, "address": address});
    body
}

fn assert_clean(what: &str, text: &str) {
    for line in text.lines() {
        let found = line.to_ascii_lowercase().find("canary");
        assert!(found.is_none(), "{what} has a canary: {line}");
        // How the emulator's tokens begin: {"alg":"dir",...
        assert!(!line.contains("eyJhbGciOiJkaXIi"), "{what} has a token: {line}");
        // acme-id:canary… as Basic credentials.
        assert!(!line.contains("YWNtZS1pZDpjYW5"), "{what} has credentials: {line}");
    }
}

#[tokio::test]
async fn no_canary_comes_out() {
    // Refusals that repeat what the order said, a drop, an unreadable answer.
    let echo = r#"{"status":"FAIL","errors":[{"code":"X","field":"customer","description":"canary@example.test, canaryfirst canarylast, 1 Canary Street, Canaryville is unknown","info":"555-canary-phone"}]}"#;
    let faults = format!("[[fault]]\noperation = \"create\"\ncount = 1\nstatus = 400\nbody = '{echo}'");
    let settings = format!(
        "telemetry.access_log = \"all\"\nclients = [{{ name = \"oms\", token = \"{TOKEN}\", accounts = [\"acme\"] }}]"
    );
    let mut pair = Pair::start(&settings, &faults, &[("RUST_LOG", "trace")]);
    let client = Client::connect(pair.grpc).await.with("authorization", &format!("Bearer {TOKEN}"));
    let mut errors = String::new();
    for number in ["A", "MAGIC-DROP-AFTER-1", "MAGIC-UNREADABLE-1", "MAGIC-500-1", "MAGIC-TOKEN-EXPIRED-1"] {
        for _ in 0..2 {
            if let Err(problem) = client.create(&order(number)).await {
                errors.push_str(&problem.text);
                errors.push('\n');
            }
        }
    }
    let mut bad = order("BAD");
    bad["payload"]["customerOrderNo"] = json!("canary-number");
    bad["payload"]["orderItems"][0]["qty"]["measurementValue"] = json!(0.5);
    errors.push_str(&client.create(&bad).await.unwrap_err().text);
    let mut promise = bodies::promise();
    promise["payload"]["destinations"][0]["address"] =
        order("")["payload"]["orderItems"][0]["shippingTo"]["address"].clone();
    client.promise(&promise).await.unwrap();
    for event_type in ["ORDER_UPDATES", "MAGIC-WEBHOOK-CREATE-DROP-BEFORE-1"] {
        let event = json!({"eventType": event_type, "eventVersion": "V1", "resourceName": "ORDER",
            "eventUrl": "https://gw.example/hook?canary", "headers": {"x-key": "canary-of-a-header"},
            "authDetails": {"authMethod": "HMAC", "authHeaderName": "X-Auth", "clientSecret": "canary-of-a-webhook"}});
        let hurried = client.clone().with("grpc-timeout", "2S");
        if let Err(problem) = hurried.create_webhook(&json!({ "events": [event] })).await {
            errors.push_str(&problem.text);
            errors.push('\n');
        }
    }
    let listed = client.webhooks(&json!({})).await.unwrap();
    let auth = listed.events[0].auth_details.clone().unwrap();
    assert_eq!((auth.client_secret(), listed.events[0].headers["x-key"].as_str()), ("[redacted]", "[redacted]"));
    client.cancel(&bodies::cancel()).await.unwrap_err();
    let wrong = Client::connect(pair.grpc).await.with("authorization", "Bearer canary-of-a-wrong-token");
    errors.push_str(&wrong.create(&order("B")).await.unwrap_err().text);
    assert!(errors.contains("[redacted]") && errors.contains("OUTCOME_PENDING"), "{errors}");
    assert_clean("an error", &errors);

    let (_, metrics) = get(pair.http, "/metrics").await;
    assert!(metrics.contains("rpc_server_call_duration_seconds"));
    assert_clean("a metric", &metrics);

    pair.gateway.wait_for_line("UNAUTHENTICATED");
    pair.gateway.terminate();
    let (_, log) = pair.gateway.wait_for_end();
    assert!(log.iter().any(|line| line.contains("TRACE")), "the log tells all it can");
    assert!(log.iter().filter(|line| line.contains("order_gateway::access")).count() >= 16);
    assert_clean("the log", &log.join("\n"));
    for line in &log {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
    drop(pair.emulator);
}
