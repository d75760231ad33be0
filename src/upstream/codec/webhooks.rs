//! Webhook subscriptions (`/v3/webhooks`). Walmart answers with `events`, `event`, one object, or a bare list. Secrets
//! leave this file redacted.

use bytes::Bytes;
use http::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{AnswerError, LookUpCodec, OperationCodec, RestRequest, get, has_errors, in_path, json, with_query};
use crate::domain::ledger::evidence::LookupAnswer;
use crate::domain::mutations::{AcceptedAnswer, CreateWebhookSubscription, ShownObject};
use crate::domain::reads::{
    DeleteWebhookSubscription, ListEventTypes, ListWebhookSubscriptions, LookUpWebhookSubscriptions,
    TestWebhookSubscription, UpdateWebhookSubscription,
};
use crate::domain::webhooks::redacted;
use crate::pb::{self, EventType, HeaderAttributes, WebhookSubscription};
use crate::wire::error::{self, ErrorForm};

/// The names of a list of event types.
const EVENT_TYPES: [&str; 3] = ["eventTypes", "events", "items"];
/// The names of a list of subscriptions.
const SUBSCRIPTIONS: [&str; 2] = ["events", "event"];

/// The body that makes subscriptions.
#[derive(Serialize)]
struct CreationBody {
    events: Vec<WebhookSubscription>,
}

impl OperationCodec for ListEventTypes {
    const PATH: &'static str = "/v3/webhooks/eventTypes";

    fn build(_request: &Self::Request, _account: &HeaderAttributes) -> RestRequest {
        get(Self::PATH.to_owned())
    }

    fn read(_status: u16, body: &[u8]) -> Result<Self::Answer, AnswerError> {
        let event_types: Vec<EventType> =
            rows(whole(body)?, &EVENT_TYPES, "eventType").ok_or_else(|| has_errors(body))?;
        Ok(pb::ListEventTypesResponse { event_types, ..Default::default() })
    }
}

impl OperationCodec for ListWebhookSubscriptions {
    const PATH: &'static str = "/v3/webhooks/subscriptions";

    fn build(request: &Self::Request, _account: &HeaderAttributes) -> RestRequest {
        get(with_query(
            Self::PATH,
            &[
                ("subscriptionId", &request.subscription_id),
                ("eventType", &request.event_type),
                ("resourceName", &request.resource_name),
                ("status", &request.status),
            ],
        ))
    }

    /// A list in part would be taken for the whole, and its missing subscriptions be made again.
    fn read(status: u16, body: &[u8]) -> Result<Self::Answer, AnswerError> {
        if status != 200 {
            return Err(has_errors(body));
        }
        let events = subscriptions(whole(body)?).ok_or_else(|| has_errors(body))?;
        Ok(pb::ListWebhookSubscriptionsResponse { events, ..Default::default() })
    }
}

impl OperationCodec for LookUpWebhookSubscriptions {
    const PATH: &'static str = ListWebhookSubscriptions::PATH;

    fn build(request: &Self::Request, account: &HeaderAttributes) -> RestRequest {
        ListWebhookSubscriptions::build(request, account)
    }

    fn is_answer(status: u16, body: &[u8]) -> bool {
        LookUpCodec::is_answer(status, body)
    }

    fn read(status: u16, body: &[u8]) -> Result<LookupAnswer, AnswerError> {
        Ok(LookUpCodec::read(status, body))
    }
}

impl OperationCodec for CreateWebhookSubscription {
    const PATH: &'static str = "/v3/webhooks/subscriptions";

    fn build(request: &Self::Request, _account: &HeaderAttributes) -> RestRequest {
        json(Method::POST, Self::PATH.to_owned(), &CreationBody { events: Self::sent(request) })
    }

    /// An acceptance has Walmart's id of each subscription. Errors beside it are passed on.
    fn read(_status: u16, body: &[u8]) -> Result<Self::Answer, AnswerError> {
        let value: Value = serde_json::from_slice(body).map_err(|_| has_errors(body))?;
        let made = subscriptions(value).filter(|made| !made.is_empty()).ok_or_else(|| has_errors(body))?;
        if made.iter().any(|one| one.subscription_id().is_empty()) {
            return Err(has_errors(body));
        }
        // A body without errors would be read as one error with the start of its text, and that has secrets.
        let beside = error::read(body);
        let errors = if beside.form == ErrorForm::Envelope { beside.errors } else { Vec::new() };
        let (status, shown) = ("ACCEPTED".into(), ShownObject::Webhooks(made));
        Ok(AcceptedAnswer { status, errors, shown, ..AcceptedAnswer::default() })
    }
}

impl OperationCodec for UpdateWebhookSubscription {
    const PATH: &'static str = "/v3/webhooks/subscriptions/{subscriptionId}";

    fn build(request: &Self::Request, _account: &HeaderAttributes) -> RestRequest {
        json(Method::PATCH, in_path(Self::PATH, &request.subscription_id), request)
    }

    fn read(status: u16, body: &[u8]) -> Result<Self::Answer, AnswerError> {
        if status == 204 {
            return Ok(Self::Answer::default());
        }
        let events = subscriptions(whole(body)?).ok_or_else(|| has_errors(body))?;
        Ok(pb::UpdateWebhookSubscriptionResponse { events, ..Default::default() })
    }
}

impl OperationCodec for DeleteWebhookSubscription {
    const PATH: &'static str = UpdateWebhookSubscription::PATH;

    fn build(request: &Self::Request, _account: &HeaderAttributes) -> RestRequest {
        let target = in_path(Self::PATH, &request.subscription_id).into();
        RestRequest { method: Method::DELETE, target, body: Bytes::new() }
    }

    fn read(status: u16, body: &[u8]) -> Result<Self::Answer, AnswerError> {
        let said = said(status, body)?;
        let (subscription_id, message) = (text(&said, "subscriptionId"), text(&said, "message"));
        Ok(pb::DeleteWebhookSubscriptionResponse { subscription_id, message, ..Default::default() })
    }
}

impl OperationCodec for TestWebhookSubscription {
    const PATH: &'static str = "/v3/webhooks/test";

    fn build(request: &Self::Request, _account: &HeaderAttributes) -> RestRequest {
        json(Method::POST, Self::PATH.to_owned(), request)
    }

    fn read(status: u16, body: &[u8]) -> Result<Self::Answer, AnswerError> {
        let message = text(&said(status, body)?, "message");
        Ok(pb::TestWebhookSubscriptionResponse { message, ..Default::default() })
    }
}

/// Reads a body without errors that is a whole answer: no failure, and no success in part.
fn whole(body: &[u8]) -> Result<Value, AnswerError> {
    let value: Value = serde_json::from_slice(body).map_err(|_| has_errors(body))?;
    let is_envelope = SUBSCRIPTIONS.iter().chain(&EVENT_TYPES).any(|name| value.get(name).is_some());
    let status = value.get("status").and_then(Value::as_str).filter(|_| is_envelope);
    let is_whole = status.is_none_or(|status| ["OK", "SUCCESS"].iter().any(|good| status.eq_ignore_ascii_case(good)));
    let has_errors_beside = ["errors", "error"].iter().any(|name| match value.get(name) {
        None | Some(Value::Null) => false,
        Some(Value::Array(errors)) => !errors.is_empty(),
        Some(_) => true,
    });
    if is_whole && !has_errors_beside { Ok(value) } else { Err(has_errors(body)) }
}

/// The object of an answer that says little. No content is an empty one.
fn said(status: u16, body: &[u8]) -> Result<Map<String, Value>, AnswerError> {
    if status == 204 || body.trim_ascii().is_empty() {
        return Ok(Map::new());
    }
    match whole(body)? {
        Value::Object(fields) => Ok(fields),
        _ => Err(has_errors(body)),
    }
}

fn text(said: &Map<String, Value>, name: &str) -> String {
    said.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn subscriptions(value: Value) -> Option<Vec<WebhookSubscription>> {
    let rows: Vec<WebhookSubscription> = rows(value, &SUBSCRIPTIONS, "subscriptionId")?;
    Some(rows.into_iter().map(redacted).collect())
}

/// Reads a bare list, a list or object under one of the names, or one object, which is known by `key`. `None` for any other
/// form, and for rows that are no objects.
fn rows<T: DeserializeOwned>(value: Value, names: &[&str], key: &str) -> Option<Vec<T>> {
    let rows = match value {
        Value::Array(rows) => rows,
        Value::Object(mut fields) => match names.iter().find_map(|name| fields.remove(*name)) {
            Some(Value::Array(rows)) => rows,
            Some(row @ Value::Object(_)) => vec![row],
            Some(_) => return None,
            None if fields.contains_key(key) => vec![Value::Object(fields)],
            None => return None,
        },
        _ => return None,
    };
    rows.into_iter().map(|row| serde_json::from_value(row).ok()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn listed(body: &Value) -> Option<Vec<WebhookSubscription>> {
        let read = ListWebhookSubscriptions::read(200, body.to_string().as_bytes());
        read.ok().map(|answer| answer.events)
    }

    #[test]
    fn subscriptions_come_in_each_form_and_without_secrets() {
        let row = json!({"subscriptionId": "s-1", "partnerId": 10000000001_u64, "eventType": "ORDER_UPDATES",
            "status": "ACTIVE", "authDetails": {"authMethod": "HMAC", "clientSecret": "s3cret"},
            "headers": {"content-type": "application/json", "x-key": 7}});
        for body in [
            json!([row]),
            json!({"events": [row]}),
            json!({"event": [row]}),
            json!({"events": row}),
            row.clone(),
            json!({"status": "OK", "events": [row], "errors": []}),
        ] {
            let shown = listed(&body).unwrap_or_else(|| panic!("{body}"));
            assert_eq!(shown.len(), 1, "{body}");
            assert_eq!(shown[0].partner_id(), "10000000001");
            assert_eq!(shown[0].auth_details.as_ref().unwrap().client_secret(), "[redacted]");
            let headers: Vec<_> =
                shown[0].headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            assert_eq!(headers, [("content-type", "application/json"), ("x-key", "[redacted]")]);
        }
        assert_eq!(listed(&json!([])), Some(Vec::new()));
        assert_eq!(listed(&json!({"events": []})), Some(Vec::new()));
        for body in [
            json!({}),
            json!({"events": null}),
            json!({"events": "none"}),
            json!([null]),
            json!("none"),
            json!({"status": "PARTIAL_SUCCESS", "events": []}),
            json!({"events": [], "errors": [{"code": "X"}]}),
            json!({"status": "OK", "payload": []}),
        ] {
            assert_eq!(listed(&body), None, "{body}");
        }
        for status in [202, 206] {
            assert!(ListWebhookSubscriptions::read(status, b"[]").is_err(), "{status}");
        }
    }

    #[test]
    fn an_acceptance_has_the_id_of_each_subscription() {
        let read = |body: Value| CreateWebhookSubscription::read(200, body.to_string().as_bytes());
        let made = read(json!({"events": [{"subscriptionId": "s-1"}], "errors": [{"code": "X"}]})).unwrap();
        assert_eq!(made.errors.len(), 1);
        assert!(matches!(made.shown, ShownObject::Webhooks(made) if made[0].subscription_id() == "s-1"));
        for body in [json!({"events": []}), json!({"events": [{"eventType": "A"}]}), json!({}), json!("ok")] {
            assert_eq!(read(body.clone()), Err(AnswerError::Unreadable), "{body}");
        }
        assert!(matches!(read(json!({"errors": [{"code": "X"}]})), Err(AnswerError::Failed(_))));
    }

    #[test]
    fn only_fields_that_are_present_are_sent() {
        let account = HeaderAttributes::default();
        let request = pb::UpdateWebhookSubscriptionRequest {
            account: "acme".into(),
            subscription_id: "a/b".into(),
            status: Some("INACTIVE".into()),
            ..Default::default()
        };
        let sent = UpdateWebhookSubscription::build(&request, &account);
        assert_eq!((sent.method, sent.target.as_ref()), (Method::PATCH, "/v3/webhooks/subscriptions/a%2Fb"));
        assert_eq!(sent.body, r#"{"status":"INACTIVE"}"#);
        let request = pb::DeleteWebhookSubscriptionRequest { subscription_id: "s-1".into(), ..Default::default() };
        let sent = DeleteWebhookSubscription::build(&request, &account);
        assert_eq!((sent.method, sent.body.len()), (Method::DELETE, 0));
    }

    #[test]
    fn little_is_said_of_deletions_and_tests() {
        let deleted = |status, body: &str| DeleteWebhookSubscription::read(status, body.as_bytes());
        let said = deleted(200, r#"{"subscriptionId":"s-1","message":"gone"}"#).unwrap();
        assert_eq!((said.subscription_id.as_str(), said.message.as_str()), ("s-1", "gone"));
        assert!(deleted(204, "").is_ok() && deleted(200, "").is_ok());
        for body in ["<html>", "[]", r#"{"errors":[{"code":"X"}]}"#] {
            assert!(deleted(200, body).is_err(), "{body}");
        }
        assert_eq!(TestWebhookSubscription::read(200, br#"{"message":"sent"}"#).unwrap().message, "sent");
        for name in ["eventTypes", "events", "items"] {
            let body = json!({ name: [{"resourceName": "ORDER", "eventType": "A"}] }).to_string();
            assert_eq!(ListEventTypes::read(200, body.as_bytes()).unwrap().event_types.len(), 1, "{name}");
        }
    }
}
