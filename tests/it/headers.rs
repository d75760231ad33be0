//! What stands in the headers of every call to Walmart (contract, section 5).

use serde_json::{Value, json};

use crate::support::app::{Setup, TestApp};
use crate::support::bodies;

/// One call of each operation; all that reached the emulator, the token calls too.
async fn every_call(app: &TestApp) -> Vec<Value> {
    let client = app.client().await;
    client.promise(&bodies::promise()).await.unwrap();
    client.create(&bodies::create()).await.unwrap();
    client.status(&json!({"orderNumber": "SO123"})).await.unwrap();
    client.cancel(&bodies::cancel()).await.unwrap();
    let journal = app.control("GET", "requests", "").await;
    journal["requests"].as_array().unwrap().clone()
}

fn is_uuid(text: &str) -> bool {
    uuid::Uuid::parse_str(text).is_ok_and(|id| id.get_version_num() == 4)
}

#[tokio::test]
async fn production() {
    let app = TestApp::start().await;
    let requests = every_call(&app).await;
    // A cancellation looks at the order first.
    assert_eq!(requests.len(), 6);
    for request in &requests {
        let headers = &request["headers"];
        assert_eq!(headers["accept"], "application/json");
        assert_eq!(headers["wm_svc.name"], "Walmart Marketplace");
        assert!(is_uuid(headers["wm_qos.correlation_id"].as_str().unwrap()));
        assert!(headers["traceparent"].as_str().unwrap().starts_with("00-"));
        let token = request["operation"] == "token";
        // The journal hides the values.
        assert_eq!(headers.get("wm_sec.access_token").is_some(), !token, "{request}");
        assert_eq!(headers.get("authorization").is_some(), token, "{request}");
        let content_type = match (token, request["method"].as_str().unwrap()) {
            (true, _) => json!("application/x-www-form-urlencoded"),
            (_, "POST") => json!("application/json"),
            _ => Value::Null,
        };
        assert_eq!(headers.get("content-type").cloned().unwrap_or_default(), content_type);
        for sandbox in ["wm_sandbox", "martid", "buid"] {
            assert!(headers.get(sandbox).is_none(), "{request}");
        }
    }
    let ids: std::collections::BTreeSet<_> = requests.iter().map(|r| r["correlation_id"].to_string()).collect();
    assert_eq!(ids.len(), requests.len(), "one for each logical call");
    app.finish().await;
}

#[tokio::test]
async fn sandbox() {
    let settings = "walmart.profile = \"sandbox\"\nwalmart.service_name = \"Mine\"";
    let app = Setup::new().settings(settings).start().await;
    for request in every_call(&app).await.iter().filter(|request| request["operation"] != "token") {
        let headers = &request["headers"];
        assert_eq!(headers["wm_sandbox"], "v2");
        assert_eq!((headers["martid"].as_str(), headers["buid"].as_str()), (Some("202"), Some("0")));
        assert_eq!(headers["wm_svc.name"], "Mine");
        assert!(headers.get("authorization").is_some() && headers.get("wm_sec.access_token").is_some());
    }
    app.finish().await;
}

#[tokio::test]
async fn a_callers_trace_goes_on_under_one_correlation_id() {
    let app = TestApp::start().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let client = app.client().await.with("traceparent", &format!("00-{trace}-00f067aa0ba902b7-01"));
    // A page of HTML first, then the answer.
    let answer = client.promise(&bodies::promise_of("SKU-HTML")).await.unwrap();
    let requests = app.requests("promise").await;
    assert_eq!(requests.len(), 2);
    let spans: Vec<_> = requests.iter().map(|r| r["headers"]["traceparent"].as_str().unwrap()).collect();
    assert!(spans.iter().all(|span| span.starts_with(&format!("00-{trace}-")) && span.ends_with("-01")), "{spans:?}");
    assert!(spans[0] != spans[1], "each attempt is a span of its own");
    assert!(requests.iter().all(|request| request["correlation_id"] == answer.correlation_id));
    app.finish().await;
}
