//! WebhookSubscriptionService, whole.

use std::time::Duration;

use order_gateway::pb;
use order_gateway::pb::{Effect, OperationKind, OperationState as State, ResolveOutcome as Outcome};
use serde_json::{Value, json};
use tonic::Code;

use crate::support::app::{Setup, TestApp};
use crate::support::client::Client;

const URL: &str = "https://gw.example.org/webhooks/walmart/acme";
const SECRETS: [&str; 2] = ["s3cret-of-hmac", "s3cret-of-header"];

/// The body of Walmart's page, with secrets that are found again wherever they go.
fn body() -> Value {
    json!({ "events": [event("ORDER_UPDATES", URL)] })
}

fn event(event_type: &str, url: &str) -> Value {
    json!({"eventType": event_type, "eventVersion": "V1", "resourceName": "ORDER", "eventUrl": url, "status": "ACTIVE",
        "authDetails": {"authMethod": "HMAC", "authHeaderName": "X-Walmart-Auth", "clientSecret": SECRETS[0]},
        "headers": {"content-type": "application/json", "x-key": SECRETS[1]}})
}

fn of_type(event_type: &str) -> Value {
    json!({ "events": [event(event_type, URL)] })
}

fn shows_no_secret(text: &str) {
    for secret in SECRETS {
        assert!(!text.contains(secret), "{text}");
    }
}

#[tokio::test]
async fn a_subscription_is_made_listed_changed_tested_and_deleted() {
    // The emulator posts the sample by a client of its own.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let app = TestApp::start().await;
    let client = app.client().await;
    let types = client.event_types(&json!({})).await.unwrap().event_types;
    assert!(
        types.iter().any(|one| (one.event_type.as_str(), one.resource_name.as_str()) == ("ORDER_UPDATES", "ORDER"))
    );
    let made = client.create_webhook(&body()).await.unwrap();
    assert!(!made.replayed && made.request_id.starts_with("content-"));
    let id = made.events[0].subscription_id().to_owned();
    assert_eq!((made.events[0].event_type(), made.events[0].status()), ("ORDER_UPDATES", "ACTIVE"));
    // As it stands, key by key.
    assert_eq!(app.requests("webhook_create").await[0]["body"], body());
    let listed = client.webhooks(&json!({"eventType": "ORDER_UPDATES", "status": "ACTIVE"})).await.unwrap();
    let shown = &listed.events[0];
    assert_eq!((shown.subscription_id(), shown.event_url(), shown.partner_id()), (id.as_str(), URL, "10000000001"));
    assert_eq!(shown.auth_details.as_ref().unwrap().client_secret(), "[redacted]");
    assert_eq!(shown.auth_details.as_ref().unwrap().auth_header_name(), "X-Walmart-Auth");
    let headers: Vec<_> = shown.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(headers, [("content-type", "application/json"), ("x-key", "[redacted]")]);
    assert!(client.webhooks(&json!({"eventType": "PO_CREATED"})).await.unwrap().events.is_empty());
    let changed = client.update_webhook(&json!({"subscriptionId": id, "status": "INACTIVE"})).await.unwrap();
    assert_eq!((changed.events[0].subscription_id(), changed.events[0].status()), (id.as_str(), "INACTIVE"));
    shows_no_secret(&format!("{made:?} {listed:?} {changed:?}"));
    let sent = app.requests("webhook_update").await;
    assert_eq!((&sent[0]["method"], &sent[0]["body"]), (&json!("PATCH"), &json!({"status": "INACTIVE"})));
    let mut sample = event("INTENT_TO_CANCEL", "http://127.0.0.1:9/");
    sample.as_object_mut().unwrap().remove("status");
    assert_eq!(client.test_webhook(&sample).await.unwrap().message, "Test notification sent");
    assert_eq!(app.requests("webhook_test").await[0]["body"], sample);
    let deleted = client.delete_webhook(&json!({ "subscriptionId": id })).await.unwrap();
    assert_eq!((deleted.subscription_id.as_str(), deleted.message.is_empty()), (id.as_str(), false));
    client.delete_webhook(&json!({ "subscriptionId": id })).await.unwrap_err().is(Code::NotFound, "UPSTREAM_NOT_FOUND");
    let unknown = client.update_webhook(&json!({"subscriptionId": id, "status": "ACTIVE"})).await.unwrap_err();
    unknown.is(Code::NotFound, "UPSTREAM_NOT_FOUND");
    app.stop_unchecked().await;
}

#[tokio::test]
async fn the_read_decides_about_another_and_the_ledger_about_a_replay() {
    let app = TestApp::start().await;
    let client = app.client().await;
    let with_id = |id: &str, mut body: Value| {
        body["requestId"] = json!(id);
        body
    };
    let made = client.create_webhook(&body()).await.unwrap();
    let id = made.events[0].subscription_id().to_owned();
    let again = client.create_webhook(&body()).await.unwrap();
    assert!(again.replayed);
    assert_eq!((again.events[0].subscription_id(), again.request_id), (id.as_str(), made.request_id.clone()));
    let mut other = body();
    other["events"][0]["authDetails"]["clientSecret"] = json!("another");
    for body in [other.clone(), with_id("desk-1", body())] {
        let error = client.create_webhook(&body).await.unwrap_err();
        error.is(Code::AlreadyExists, "SUBSCRIPTION_EXISTS");
        assert_eq!(error.metadata["subscriptionId"], id);
    }
    assert_eq!(app.requests("webhook_create").await.len(), 1);
    // INACTIVE or deleted: a new one, whatever the ledger holds.
    client.update_webhook(&json!({"subscriptionId": id, "status": "INACTIVE"})).await.unwrap();
    let second = client.create_webhook(&body()).await.unwrap();
    assert!(!second.replayed && second.events[0].subscription_id() != id);
    client.delete_webhook(&json!({ "subscriptionId": second.events[0].subscription_id() })).await.unwrap();
    let third = client.create_webhook(&with_id("desk-1", body())).await.unwrap();
    assert!(!third.replayed);
    assert!(client.create_webhook(&with_id("desk-1", body())).await.unwrap().replayed);
    client.delete_webhook(&json!({ "subscriptionId": third.events[0].subscription_id() })).await.unwrap();
    assert!(!client.create_webhook(&with_id("desk-1", body())).await.unwrap().replayed);
    let reused = client.create_webhook(&with_id("desk-1", other)).await.unwrap_err();
    reused.is(Code::InvalidArgument, "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(app.requests("webhook_create").await.len(), 4);
    app.finish().await;
}

#[tokio::test]
async fn creations_at_once_make_one_subscription() {
    let app = TestApp::start().await;
    let client = app.client().await;
    let mut other = body();
    other["events"][0]["headers"] = json!({});
    other["requestId"] = json!("desk-2");
    let same = body();
    let (one, two, three) =
        tokio::join!(client.create_webhook(&same), client.create_webhook(&same), client.create_webhook(&other));
    let made = [one.ok(), two.ok(), three.ok()];
    assert_eq!(made.iter().flatten().filter(|reply| !reply.replayed).count(), 1);
    assert_eq!(app.requests("webhook_create").await.len(), 1);
    app.finish().await;
}

#[tokio::test]
async fn a_lost_creation_is_found_or_expires_and_is_never_sent_again() {
    let app = Setup::new().ledger_times(300, &[50, 150, 300]).start().await;
    let client = app.client().await;
    let found = client.create_webhook(&of_type("MAGIC-WEBHOOK-CREATE-DROP-AFTER-1")).await.unwrap();
    assert_eq!((found.replayed, found.events[0].event_type()), (false, "MAGIC-WEBHOOK-CREATE-DROP-AFTER-1"));
    shows_no_secret(&format!("{found:?}"));
    assert!(client.create_webhook(&of_type("MAGIC-WEBHOOK-CREATE-DROP-AFTER-1")).await.unwrap().replayed);
    let lost = of_type("MAGIC-WEBHOOK-CREATE-DROP-BEFORE-1");
    let hurried = app.client().await.with("grpc-timeout", "1S");
    let error = hurried.create_webhook(&lost).await.unwrap_err();
    if error.reason != "OPERATION_EXPIRED" {
        error.is(Code::Unavailable, "OUTCOME_PENDING");
        client.create_webhook(&lost).await.unwrap_err().is(Code::Aborted, "OPERATION_EXPIRED");
    }
    assert_eq!(app.requests("webhook_create").await.len(), 2, "nothing is sent again");
    let made = client.create_webhook(&lost).await.unwrap();
    assert!(!made.replayed);
    app.finish().await;
}

#[tokio::test]
async fn nothing_is_sent_without_the_list() {
    for lie in ["empty-object", "partial", "gateway-404", "odd-rows", "proxy-404", "accepted-read", "no-content"] {
        let app = Setup::new().faults(&format!("[[fault]]\noperation = \"webhooks\"\nlie = \"{lie}\"")).start().await;
        let client = app.client().await.with("grpc-timeout", "2S");
        client.create_webhook(&body()).await.unwrap_err().is(Code::Unavailable, "UPSTREAM_UNAVAILABLE");
        client.webhooks(&json!({})).await.unwrap_err().is(Code::Unavailable, "UPSTREAM_UNAVAILABLE");
        assert!(app.requests("webhook_create").await.is_empty(), "{lie}");
        app.finish().await;
    }
}

#[tokio::test]
async fn lies_about_the_list_settle_nothing() {
    for lie in ["empty-object", "partial", "gateway-404", "odd-rows", "no-content"] {
        let app = Setup::new().ledger_times(300, &[50, 100, 150]).faults(&lost_among_lies(lie)).start().await;
        let hurried = app.client().await.with("grpc-timeout", "1S");
        hurried.create_webhook(&body()).await.unwrap_err().is(Code::Unavailable, "OUTCOME_PENDING");
        app.finish().await;
    }
}

/// The list is true once, for the snapshot, and a lie in each look-up for a creation that was lost.
fn lost_among_lies(lie: &str) -> String {
    format!(
        "[[fault]]\noperation = \"webhooks\"\ndelay = \"1ms\"\ncount = 1\n\
         [[fault]]\noperation = \"webhooks\"\nlie = \"{lie}\"\n\
         [[fault]]\noperation = \"webhook_create\"\ndrop = \"before\""
    )
}

#[tokio::test]
async fn an_operator_settles_a_creation_but_cannot_send_it_again() {
    let app = Setup::new().ledger_times(300, &[50, 100, 150]).start().await;
    let client = app.client().await;
    app.set_faults(&lost_among_lies("gateway-404")).await;
    let hurried = app.client().await.with("grpc-timeout", "1S");
    let error = hurried.create_webhook(&body()).await.unwrap_err();
    error.is(Code::Unavailable, "OUTCOME_PENDING");
    assert_eq!(error.walmart().effect(), Effect::Unknown);
    let name = client.operations(&json!({})).await.unwrap().operations.pop().unwrap().name;
    let fault = client.resolve(&name, Outcome::Resend, "try").await.unwrap_err();
    fault.is(Code::InvalidArgument, "INVALID_REQUEST");
    assert_eq!(fault.fields, ["outcome"]);
    let settled = client.resolve(&name, Outcome::Rejected, "it is not there").await.unwrap();
    assert_eq!((settled.kind(), settled.state()), (OperationKind::WebhookCreate, State::Rejected));
    assert_eq!(settled.order_number, "ORDER_UPDATES");
    app.finish().await;
}

#[tokio::test]
async fn what_is_gone_after_a_lost_answer_was_deleted() {
    let app = TestApp::start().await;
    let client = app.client().await;
    let made = client.create_webhook(&body()).await.unwrap();
    let id = json!({ "subscriptionId": made.events[0].subscription_id() });
    app.set_faults("[[fault]]\noperation = \"webhook_delete\"\ndrop = \"after\"\ncount = 1").await;
    let deleted = client.delete_webhook(&id).await.unwrap();
    assert_eq!(deleted.subscription_id, made.events[0].subscription_id());
    assert_eq!(app.requests("webhook_delete").await.len(), 2);
    app.set_faults("[[fault]]\noperation = \"webhook_delete\"\nstatus = 429\ncount = 1").await;
    let patient = app.client().await.with("grpc-timeout", "20S");
    patient.delete_webhook(&id).await.unwrap_err().is(Code::NotFound, "UPSTREAM_NOT_FOUND");
    app.set_faults("[[fault]]\noperation = \"webhook_delete\"\nstatus = 404\nbody = '<html>gone</html>'").await;
    client.delete_webhook(&id).await.unwrap_err().is(Code::Unavailable, "UPSTREAM_UNAVAILABLE");
    app.finish().await;
}

#[tokio::test]
async fn a_sample_is_asked_for_once() {
    let app = TestApp::start().await;
    let client = app.client().await;
    let mut sample = event("ORDER_UPDATES", "http://127.0.0.1:9/");
    sample.as_object_mut().unwrap().remove("status");
    app.set_faults("[[fault]]\noperation = \"webhook_test\"\ndrop = \"before\"\ncount = 1").await;
    let error = client.test_webhook(&sample).await.unwrap_err();
    error.is(Code::Unavailable, "UPSTREAM_UNAVAILABLE");
    assert_eq!(error.walmart().effect(), Effect::Unknown);
    assert_eq!(app.requests("webhook_test").await.len(), 1);
    app.finish().await;
}

#[tokio::test]
async fn every_fault_is_told_at_once_and_nothing_is_sent() {
    let app = TestApp::start().await;
    let client = app.client().await;
    let body = json!({"requestId": "a b", "events": [
        {"status": "active", "authDetails": {"authMethod": "OAUTH"}},
        event("PO_CREATED", URL), event("PO_CREATED", URL)]});
    let error = client.create_webhook(&body).await.unwrap_err();
    error.is(Code::InvalidArgument, "INVALID_REQUEST");
    let at = |name: &str| format!("events[0].{name}");
    let mut wanted = vec!["request_id".to_owned()];
    wanted.extend(["event_type", "event_version", "resource_name", "event_url", "status"].map(at));
    wanted.extend(["auth_details.auth_url", "auth_details.client_id", "auth_details.client_secret"].map(at));
    wanted.extend([at("auth_details.auth_header_name"), "events[2].event_url".to_owned()]);
    assert_eq!(error.fields, wanted);
    let nothing = client.update_webhook(&json!({"subscriptionId": "s-1"})).await.unwrap_err();
    nothing.is(Code::InvalidArgument, "INVALID_REQUEST");
    assert!(nothing.fields.is_empty());
    let kind = client.update_webhook(&json!({"subscriptionId": "", "eventType": "A"})).await.unwrap_err();
    assert_eq!(kind.fields, ["subscription_id", "event_version", "resource_name"]);
    assert_eq!(client.delete_webhook(&json!({})).await.unwrap_err().fields, ["subscription_id"]);
    assert_eq!(
        client.test_webhook(&json!({})).await.unwrap_err().fields,
        ["event_type", "event_version", "resource_name", "event_url"]
    );
    for operation in ["webhooks", "webhook_create", "webhook_update", "webhook_delete", "webhook_test"] {
        assert!(app.requests(operation).await.is_empty(), "{operation}");
    }
    app.finish().await;
}

#[tokio::test]
async fn secrets_in_walmarts_words_are_redacted_and_the_store_has_none() {
    let app = TestApp::start().await;
    let client = app.client().await;
    let words = format!(
        r#"{{"errors":[{{"code":"X","description":"bad secret {} here","info":"{}"}}]}}"#,
        SECRETS[0], SECRETS[1]
    );
    for operation in ["webhook_create", "webhook_update", "webhook_test"] {
        app.set_faults(&format!("[[fault]]\noperation = \"{operation}\"\nstatus = 400\nbody = '{words}'")).await;
        let mut change = event("ORDER_UPDATES", URL);
        let error = match operation {
            "webhook_create" => client.create_webhook(&body()).await.unwrap_err(),
            "webhook_update" => {
                change["subscriptionId"] = json!("s-1");
                client.update_webhook(&change).await.unwrap_err()
            }
            _ => {
                change.as_object_mut().unwrap().remove("status");
                client.test_webhook(&change).await.unwrap_err()
            }
        };
        error.is(Code::InvalidArgument, "UPSTREAM_REJECTED");
        let told = &error.walmart().errors[0];
        assert_eq!((told.description.as_str(), told.info.as_str()), ("bad secret [redacted] here", "[redacted]"));
    }
    app.set_faults("[[fault]]\noperation = \"webhook_create\"\ndrop = \"before\"").await;
    let hurried = app.client().await.with("grpc-timeout", "1S");
    hurried.create_webhook(&body()).await.unwrap_err().is(Code::Unavailable, "OUTCOME_PENDING");
    // The entry is open, and the store has it with all that it keeps.
    let files = app.store_files();
    assert!(!files.is_empty());
    for bytes in files {
        for secret in SECRETS {
            assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()), "{secret}");
        }
        assert!(!bytes.windows(URL.len()).any(|part| part == URL.as_bytes()));
    }
    app.stop_unchecked().await;
}

/// Waits until the check of the account's subscriptions shows this.
async fn checked(
    client: &Client,
    holds: impl Fn(&pb::WebhookSubscriptionsStatus) -> bool,
) -> pb::WebhookSubscriptionsStatus {
    loop {
        let account = client.gateway("demo").await.unwrap().accounts.pop().unwrap();
        if let Some(shown) = account.webhook_subscriptions.filter(|shown| holds(shown)) {
            return shown;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_missing_subscription_shows_until_it_is_there() {
    const SERIES: &str = r#"order_gateway_webhook_subscription_missing{account="demo",event_type="ORDER_UPDATES"}"#;
    let app = Setup::new().settings("walmart.webhook_check_interval = \"24h\"").start().await;
    let client = app.client().await;
    let first = checked(&client, |shown| shown.checked_time.is_some()).await;
    assert_eq!((first.missing, first.error.as_str()), (vec!["ORDER_UPDATES".to_owned()], ""));
    assert_eq!(app.metric(SERIES).await, 1.0);
    let ours = json!({ "events": [event("ORDER_UPDATES", "https://gw.example.org/webhooks/walmart/demo")] });
    let id = client.create_webhook(&ours).await.unwrap().events[0].subscription_id().to_owned();
    checked(&client, |shown| shown.missing.is_empty()).await;
    assert_eq!(app.metric(SERIES).await, 0.0);
    // An intent to another URL has no ORDER_UPDATES beside it.
    let elsewhere = client.create_webhook(&of_type("INTENT_TO_CANCEL")).await.unwrap();
    checked(&client, |shown| !shown.missing.is_empty()).await;
    client.delete_webhook(&json!({ "subscriptionId": elsewhere.events[0].subscription_id() })).await.unwrap();
    checked(&client, |shown| shown.missing.is_empty()).await;
    client.update_webhook(&json!({"subscriptionId": id, "status": "INACTIVE"})).await.unwrap();
    checked(&client, |shown| !shown.missing.is_empty()).await;
    app.set_faults("[[fault]]\noperation = \"webhooks\"\nlie = \"gateway-404\"").await;
    app.advance(Duration::from_secs(25 * 60 * 60)).await;
    let failed = checked(&client, |shown| !shown.error.is_empty()).await;
    assert_eq!(failed.missing, ["ORDER_UPDATES"], "as it was");
    app.finish().await;
}

#[tokio::test]
async fn the_check_can_be_switched_off() {
    let app = TestApp::start().await;
    let client = app.client().await;
    client.create_webhook(&body()).await.unwrap();
    let account = client.gateway("demo").await.unwrap().accounts.pop().unwrap();
    assert_eq!(account.webhook_subscriptions, None);
    app.finish().await;
}
