//! The feed with the real grpcurl: each call is one line.

use serde_json::{Value, json};

use crate::support::dev::{Dev, stdout};
use crate::support::process::gateway;

const SERVICE: &str = "ordergateway.v1.CancelIntentService";

/// The messages that grpcurl printed.
fn messages(text: &str) -> Vec<Value> {
    serde_json::Deserializer::from_str(text).into_iter().map(|value| value.unwrap()).collect()
}

fn ask(dev: &Dev, method: &str, body: &Value) -> Vec<Value> {
    messages(&stdout(dev.grpcurl(&["-d", "@"], &[&format!("{SERVICE}/{method}")], &body.to_string())))
}

#[test]
fn grpcurl_watches_subscribes_and_settles() {
    let dev = Dev::start();
    let url = format!("http://{}", dev.http);
    let posted = gateway(["trigger", "cancel-intent", "--url", &url, "--count", "3"]).output().unwrap();
    stdout(posted);
    let watched = ask(&dev, "WatchCancelIntents", &json!({"start": {"earliest": true}, "limit": 3}));
    assert_eq!(watched.len(), 4, "{watched:#?}");
    let opened = &watched[0]["opened"];
    assert_eq!((&opened["firstAvailable"], &opened["heartbeatInterval"]), (&json!("1"), &json!("10s")));
    for (number, frame) in watched[1..].iter().enumerate() {
        let event = &frame["event"];
        assert_eq!(event["seq"], json!((number + 1).to_string()));
        assert_eq!((&event["account"], &event["eventType"]), (&json!("demo"), &json!("INTENT_TO_CANCEL")));
        assert!(event["intent"]["purchaseOrderId"].is_string() && event["receivedAt"].is_string(), "{event:#}");
    }
    let last = watched[3]["event"]["cursor"].as_str().unwrap();
    assert_eq!(last, format!("{}.3", &opened["logId"].as_str().unwrap()[..8]));
    let resumed =
        ask(&dev, "WatchCancelIntents", &json!({"start": {"afterCursor": watched[2]["event"]["cursor"]}, "limit": 1}));
    assert_eq!(resumed[1], watched[3]);

    // A subscription's stream has no good end: the caller's own time is up.
    let body = json!({"subscription": "oms", "consumerId": "me", "createIfMissing": {"start": {"earliest": true}}});
    let method = format!("{SERVICE}/SubscribeCancelIntents");
    let output = dev.grpcurl(&["-max-time", "2", "-d", "@"], &[&method], &body.to_string());
    let frames = messages(std::str::from_utf8(&output.stdout).unwrap());
    assert_eq!(frames[0]["opened"]["leaseDuration"], "30s");
    assert_eq!(frames[1]["delivery"]["lease"], "g1.s1.a1");
    let body = json!({"subscription": "oms", "verdicts": [{"lease": "g1.s1.a1", "ack": {}}]});
    let settled = ask(&dev, "SettleCancelIntents", &body);
    assert_eq!(settled[0]["results"][0]["outcome"], "SETTLE_OUTCOME_APPLIED");
    let shown = ask(&dev, "GetSubscription", &json!({"name": "oms"}));
    assert_eq!(shown[0]["subscription"]["floor"].as_str().unwrap().split('.').nth(1), Some("1"));
}

#[test]
fn grpcurl_describes_it_with_its_comments() {
    let dev = Dev::start();
    let described = stdout(dev.grpcurl(&[], &["describe", SERVICE], ""));
    for method in ["WatchCancelIntents", "SubscribeCancelIntents", "SettleCancelIntents", "ListQuarantinedWebhooks"] {
        assert!(described.contains(&format!("rpc {method}")), "{described}");
    }
    assert!(described.contains("ends with OK only when `limit` is reached"), "{described}");
    let message = stdout(dev.grpcurl(&[], &["describe", "ordergateway.v1.Heartbeat"], ""));
    assert!(message.contains("all matching events up to this cursor have been sent"), "{message}");
}
