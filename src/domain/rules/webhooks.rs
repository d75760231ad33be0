//! Checks of the requests of WebhookSubscriptionService.

use std::collections::HashSet;

use url::Url;

use super::parts::text;
use super::seller_orders::path_id;
use super::{FieldFaults, FieldPath, check_request_id};
use crate::domain::webhooks::comparable;
use crate::pb::{
    AuthDetails, CreateWebhookSubscriptionRequest, DeleteWebhookSubscriptionRequest, TestWebhookSubscriptionRequest,
    UpdateWebhookSubscriptionRequest,
};

/// Checks subscriptions to make and returns all of their faults.
pub(crate) fn check_webhook_creation(request: &CreateWebhookSubscriptionRequest) -> Result<(), FieldFaults> {
    let mut faults = FieldFaults::default();
    check_request_id(&request.request_id, &mut faults);
    let at = FieldPath::Top("events");
    if request.events.is_empty() {
        faults.add(&at, "needs at least one subscription");
    }
    let mut seen = HashSet::new();
    for (i, event) in request.events.iter().enumerate() {
        let at = at.index(i);
        text(event.event_type.as_ref(), &at.field("event_type"), &mut faults);
        text(event.event_version.as_ref(), &at.field("event_version"), &mut faults);
        text(event.resource_name.as_ref(), &at.field("resource_name"), &mut faults);
        let url_at = at.field("event_url");
        text(event.event_url.as_ref(), &url_at, &mut faults);
        url(event.event_url.as_ref(), &url_at, &mut faults);
        let is_given = !event.event_url().is_empty() && !event.event_type().is_empty();
        if is_given && !seen.insert((event.event_type(), comparable(event.event_url()))) {
            faults.add(&url_at, "must be unique in the request for each event_type");
        }
        status(event.status.as_ref(), &at.field("status"), &mut faults);
        proof(event.auth_details.as_ref(), &at.field("auth_details"), &mut faults);
    }
    faults.into_result()
}

/// Checks a change of a subscription and returns all of its faults. A change of nothing is a fault of no field.
pub(crate) fn check_webhook_update(request: &UpdateWebhookSubscriptionRequest) -> Result<(), FieldFaults> {
    let mut faults = FieldFaults::default();
    path_id(&request.subscription_id, &FieldPath::Top("subscription_id"), &mut faults);
    if request.event_type.is_some() {
        text(request.event_type.as_ref(), &FieldPath::Top("event_type"), &mut faults);
        for (name, value) in [("event_version", &request.event_version), ("resource_name", &request.resource_name)] {
            if value.as_ref().is_none_or(String::is_empty) {
                faults.add(&FieldPath::Top(name), "is required with event_type");
            }
        }
    }
    if request.event_url.is_some() {
        text(request.event_url.as_ref(), &FieldPath::Top("event_url"), &mut faults);
    }
    url(request.event_url.as_ref(), &FieldPath::Top("event_url"), &mut faults);
    status(request.status.as_ref(), &FieldPath::Top("status"), &mut faults);
    proof(request.auth_details.as_ref(), &FieldPath::Top("auth_details"), &mut faults);
    let texts = [
        &request.partner_id,
        &request.event_type,
        &request.event_version,
        &request.resource_name,
        &request.event_url,
        &request.status,
    ];
    let changes = texts.iter().any(|text| text.is_some()) || request.auth_details.is_some();
    if changes || !request.headers.is_empty() { faults.into_result() } else { Err(faults) }
}

/// Checks a deletion.
pub(crate) fn check_webhook_deletion(request: &DeleteWebhookSubscriptionRequest) -> Result<(), FieldFaults> {
    let mut faults = FieldFaults::default();
    path_id(&request.subscription_id, &FieldPath::Top("subscription_id"), &mut faults);
    faults.into_result()
}

/// Checks a request for a sample event and returns all of its faults.
pub(crate) fn check_webhook_test(request: &TestWebhookSubscriptionRequest) -> Result<(), FieldFaults> {
    let mut faults = FieldFaults::default();
    text(request.event_type.as_ref(), &FieldPath::Top("event_type"), &mut faults);
    text(request.event_version.as_ref(), &FieldPath::Top("event_version"), &mut faults);
    text(request.resource_name.as_ref(), &FieldPath::Top("resource_name"), &mut faults);
    text(request.event_url.as_ref(), &FieldPath::Top("event_url"), &mut faults);
    url(request.event_url.as_ref(), &FieldPath::Top("event_url"), &mut faults);
    proof(request.auth_details.as_ref(), &FieldPath::Top("auth_details"), &mut faults);
    faults.into_result()
}

fn url(value: Option<&String>, at: &FieldPath<'_>, faults: &mut FieldFaults) {
    let Some(value) = value.filter(|value| !value.is_empty()) else { return };
    let is_web = Url::parse(value).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if !is_web {
        faults.add(at, "must be an http or https URL");
    }
}

fn status(value: Option<&String>, at: &FieldPath<'_>, faults: &mut FieldFaults) {
    if value.is_some_and(|value| value != "ACTIVE" && value != "INACTIVE") {
        faults.add(at, "must be ACTIVE or INACTIVE");
    }
}

/// Requires the fields of the method. Other methods than the known ones need a header only.
fn proof(value: Option<&AuthDetails>, at: &FieldPath<'_>, faults: &mut FieldFaults) {
    let Some(proof) = value.filter(|proof| !proof.auth_method().is_empty()) else { return };
    let required: &[(&'static str, &Option<String>)] = match proof.auth_method() {
        "BASIC_AUTH" => &[("user_name", &proof.user_name), ("password", &proof.password)],
        "HMAC" => &[("client_secret", &proof.client_secret)],
        "OAUTH" => {
            &[("auth_url", &proof.auth_url), ("client_id", &proof.client_id), ("client_secret", &proof.client_secret)]
        }
        _ => &[],
    };
    for &(name, value) in required.iter().chain(&[("auth_header_name", &proof.auth_header_name)]) {
        text(value.as_ref(), &at.field(name), faults);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn fields(checked: Result<(), FieldFaults>) -> Vec<String> {
        checked.err().map(|faults| faults.kept.into_iter().map(|fault| fault.field).collect()).unwrap_or_default()
    }

    fn create(events: &[Value]) -> Vec<String> {
        let events = events.iter().map(|event| serde_json::from_value(event.clone()).unwrap()).collect();
        fields(check_webhook_creation(&CreateWebhookSubscriptionRequest { events, ..Default::default() }))
    }

    fn whole() -> Value {
        json!({"eventType": "ORDER_UPDATES", "eventVersion": "V1", "resourceName": "ORDER", "eventUrl": "https://gw.example/a"})
    }

    fn with(name: &str, value: Value) -> Value {
        let mut event = whole();
        event[name] = value;
        event
    }

    #[test]
    fn a_subscription_has_a_kind_a_url_and_the_fields_of_its_proof() {
        assert_eq!(create(&[]), ["events"]);
        assert_eq!(create(&[whole()]), [""; 0]);
        let all = ["event_type", "event_version", "resource_name", "event_url"].map(|name| format!("events[0].{name}"));
        assert_eq!(create(&[json!({})]), all);
        for url in ["ftp://gw.example/", "gw.example", "http://", "/webhooks"] {
            assert_eq!(create(&[with("eventUrl", json!(url))]), ["events[0].event_url"], "{url}");
        }
        assert_eq!(create(&[with("status", json!("active"))]), ["events[0].status"]);
        assert_eq!(create(&[with("status", json!(""))]), ["events[0].status"]);
        assert_eq!(create(&[whole(), with("eventUrl", json!("HTTPS://gw.EXAMPLE:443/a"))]), ["events[1].event_url"]);
        assert_eq!(create(&[whole(), with("eventType", json!("PO_CREATED"))]), [""; 0]);
        let proof = |method: &str| create(&[with("authDetails", json!({ "authMethod": method }))]);
        let at = |names: &[&str]| names.iter().map(|name| format!("events[0].auth_details.{name}")).collect::<Vec<_>>();
        assert_eq!(proof("BASIC_AUTH"), at(&["user_name", "password", "auth_header_name"]));
        assert_eq!(proof("HMAC"), at(&["client_secret", "auth_header_name"]));
        assert_eq!(proof("OAUTH"), at(&["auth_url", "client_id", "client_secret", "auth_header_name"]));
        assert_eq!(proof("MTLS"), at(&["auth_header_name"]));
        assert_eq!(proof(""), [""; 0]);
    }

    #[test]
    fn an_update_changes_something_and_a_kind_as_a_whole() {
        let update = |body: Value| {
            let mut request: UpdateWebhookSubscriptionRequest = serde_json::from_value(body).unwrap();
            request.subscription_id = "s-1".into();
            check_webhook_update(&request)
        };
        let nothing = update(json!({})).unwrap_err();
        assert_eq!((nothing.kept.len(), nothing.omitted), (0, 0));
        assert_eq!(fields(check_webhook_update(&Default::default())), ["subscription_id"]);
        for body in [json!({"status": "INACTIVE"}), json!({"headers": {"accept": "a"}}), json!({"partnerId": "1"})] {
            assert!(update(body.clone()).is_ok(), "{body}");
        }
        assert_eq!(fields(update(json!({"eventType": "A"}))), ["event_version", "resource_name"]);
        assert_eq!(fields(update(json!({"eventUrl": ""}))), ["event_url"]);
        assert_eq!(fields(update(json!({"eventUrl": "mailto:a@b"}))), ["event_url"]);
        assert_eq!(
            fields(update(json!({"authDetails": {"authMethod": "HMAC"}}))),
            ["auth_details.client_secret", "auth_details.auth_header_name"]
        );
    }

    #[test]
    fn deletions_and_tests_name_what_they_are_about() {
        for id in ["", ".", ".."] {
            let request = DeleteWebhookSubscriptionRequest { subscription_id: id.into(), ..Default::default() };
            assert_eq!(fields(check_webhook_deletion(&request)), ["subscription_id"]);
        }
        let all = ["event_type", "event_version", "resource_name", "event_url"];
        assert_eq!(fields(check_webhook_test(&Default::default())), all);
    }
}
