//! CreateWebhookSubscription: never a second subscription of one kind and URL, and no secret in the ledger.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

use super::ship_order_lines::joined;
use super::{AcceptedAnswer, LookupProbe, Mutation};
use crate::domain::ledger::evidence::{
    Change, Evidence, LookupAnswer, OtherChanges, WebhookSnapshot, change_of_created_subscriptions,
    judge_created_subscriptions, standing_subscriptions,
};
use crate::domain::ledger::machine::ResendPolicy;
use crate::domain::ledger::{Entry, MutationKind};
use crate::domain::operation::{Operation, WalmartCall};
use crate::domain::personal::PersonalTexts;
use crate::domain::rules::{FieldFaults, check_webhook_creation};
use crate::domain::webhooks::{comparable, secrets_of_all};
use crate::pb::{CreateWebhookSubscriptionRequest, WebhookSubscription};

/// Makes webhook subscriptions.
#[derive(Debug)]
pub struct CreateWebhookSubscription;

impl WalmartCall for CreateWebhookSubscription {
    const OPERATION: Operation = Operation::WebhookCreate;
    type Request = CreateWebhookSubscriptionRequest;
    type Answer = AcceptedAnswer;
}

impl CreateWebhookSubscription {
    /// The subscriptions as they are sent: ACTIVE unless the caller says otherwise.
    pub fn sent(request: &CreateWebhookSubscriptionRequest) -> Vec<WebhookSubscription> {
        let mut events = request.events.clone();
        for event in &mut events {
            event.status.get_or_insert_with(|| "ACTIVE".to_owned());
        }
        events
    }

    /// The read of the subscriptions that the request is about: of one event type where the request has one.
    fn list(request: &CreateWebhookSubscriptionRequest) -> LookupProbe {
        let types: BTreeSet<&str> = request.events.iter().map(WebhookSubscription::event_type).collect();
        LookupProbe::Webhooks(if types.len() == 1 { Self::order_number(request).to_owned() } else { String::new() })
    }
}

impl Mutation for CreateWebhookSubscription {
    const KIND: MutationKind = MutationKind::WebhookCreate;
    const BY_ORDER_NUMBER: bool = false;
    const NEEDS_ORDER: bool = false;
    const IS_AUDITED: bool = false;
    const NEEDS_SNAPSHOT: bool = true;
    const READ_DECIDES: bool = true;

    fn check(request: &CreateWebhookSubscriptionRequest) -> Result<(), FieldFaults> {
        check_webhook_creation(request)
    }

    /// The event type of the first subscription.
    fn order_number(request: &CreateWebhookSubscriptionRequest) -> &str {
        request.events.first().map(WebhookSubscription::event_type).unwrap_or_default()
    }

    fn request_id(request: &CreateWebhookSubscriptionRequest) -> &str {
        &request.request_id
    }

    fn payload(request: &CreateWebhookSubscriptionRequest) -> Vec<u8> {
        CreateWebhookSubscriptionRequest { events: Self::sent(request), ..Default::default() }.encode_to_vec()
    }

    /// The set of event types and URLs.
    fn content_key(request: &CreateWebhookSubscriptionRequest) -> Option<Vec<u8>> {
        let pairs = request.events.iter().map(|event| (event.event_type(), comparable(event.event_url())));
        let pairs: BTreeSet<_> = pairs.collect();
        Some(joined(pairs.iter().flat_map(|(event_type, url)| [*event_type, url.as_str()])))
    }

    fn batches(request: Arc<CreateWebhookSubscriptionRequest>) -> Vec<Arc<CreateWebhookSubscriptionRequest>> {
        vec![request]
    }

    /// Empty: the request has secrets.
    fn body(_: &CreateWebhookSubscriptionRequest, _: &[u8]) -> Bytes {
        Bytes::new()
    }

    fn snapshot_probe(request: &CreateWebhookSubscriptionRequest) -> Option<LookupProbe> {
        Some(Self::list(request))
    }

    fn snapshot(batch: &CreateWebhookSubscriptionRequest, answer: &LookupAnswer) -> Vec<u8> {
        WebhookSnapshot::read(batch, answer).map(|snapshot| snapshot.encode_to_vec()).unwrap_or_default()
    }

    fn standing(request: &CreateWebhookSubscriptionRequest, answer: &LookupAnswer) -> Vec<String> {
        standing_subscriptions(request, answer)
    }

    /// None: subscriptions have no customer's data, but secrets.
    fn personal_of_look_up(_: &LookupAnswer) -> PersonalTexts {
        PersonalTexts::default()
    }

    fn probe(entry: &Entry) -> LookupProbe {
        let snapshot = WebhookSnapshot::of_entry(entry);
        let types = snapshot.iter().flat_map(|snapshot| &snapshot.wanted).map(|wanted| wanted.event_type.as_str());
        let types: BTreeSet<&str> = types.collect();
        LookupProbe::Webhooks(if types.len() == 1 { entry.order_number.to_string() } else { String::new() })
    }

    fn change(entry: &Entry) -> Option<Change> {
        WebhookSnapshot::of_entry(entry).as_ref().map(change_of_created_subscriptions)
    }

    fn judge(entry: &Entry, others: &OtherChanges, answer: &LookupAnswer) -> Evidence {
        judge_created_subscriptions(WebhookSnapshot::of_entry(entry).as_ref(), others, answer)
    }

    fn resend() -> ResendPolicy {
        ResendPolicy::Impossible
    }

    /// The secrets of the request.
    fn personal(request: &CreateWebhookSubscriptionRequest) -> PersonalTexts {
        secrets_of_all(request)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(pairs: &[(&str, &str)], secret: &str) -> CreateWebhookSubscriptionRequest {
        let event = |(event_type, url): &(&str, &str)| {
            let event = json!({"eventType": event_type, "eventUrl": url, "authDetails": {"clientSecret": secret}});
            serde_json::from_value(event).unwrap()
        };
        CreateWebhookSubscriptionRequest { events: pairs.iter().map(event).collect(), ..Default::default() }
    }

    #[test]
    fn types_and_urls_are_the_key_and_all_fields_are_the_content() {
        let key = |pairs: &[(&str, &str)]| CreateWebhookSubscription::content_key(&request(pairs, "s")).unwrap();
        assert_eq!(key(&[("A", "http://a/"), ("B", "http://b/")]), key(&[("B", "http://b/"), ("A", "HTTP://A")]));
        assert_ne!(key(&[("A", "http://a/")]), key(&[("A", "http://b/")]));
        assert_ne!(key(&[("A", "http://a/")]), key(&[("B", "http://a/")]));
        let payload = |request: &CreateWebhookSubscriptionRequest| CreateWebhookSubscription::payload(request);
        let one = request(&[("A", "http://a/")], "s");
        let mut active = one.clone();
        active.events[0].status = Some("ACTIVE".into());
        assert_eq!(payload(&one), payload(&active));
        assert_ne!(payload(&one), payload(&request(&[("A", "http://a/")], "t")));
    }

    #[test]
    fn nothing_secret_is_kept() {
        let request = request(&[("A", "https://user:in-url@a/")], "s3cret");
        let answer = LookupAnswer {
            http_status: 200,
            body: r#"{"events":[{"subscriptionId":"1","eventType":"B",
            "headers":{"x-email":"s3cret"},"authDetails":{"password":"s3cret"}}]}"#
                .into(),
        };
        assert!(CreateWebhookSubscription::body(&request, &CreateWebhookSubscription::payload(&request)).is_empty());
        let mut kept = CreateWebhookSubscription::snapshot(&request, &answer);
        assert!(!kept.is_empty());
        kept = CreateWebhookSubscription::personal_of_look_up(&answer).beside(kept);
        for secret in ["s3cret", "in-url"] {
            assert!(!kept.windows(secret.len()).any(|part| part == secret.as_bytes()), "{secret}");
        }
    }
}
