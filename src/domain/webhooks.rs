//! Webhook subscriptions: their secrets, and the check that an account receives what it should.

use url::Url;

use super::account::AccountId;
use super::personal::{PersonalTexts, REDACTED};
use crate::pb::{
    AuthDetails, CreateWebhookSubscriptionRequest, TestWebhookSubscriptionRequest, UpdateWebhookSubscriptionRequest,
    WebhookSubscription,
};

/// The event that brings intents, new orders and lapsed lines from 15 December 2026 on, and then alone.
pub const ORDER_UPDATES: &str = "ORDER_UPDATES";
/// The event of intents until then.
const INTENT_TO_CANCEL: &str = "INTENT_TO_CANCEL";
/// Headers whose values are no secrets.
const OPEN_HEADERS: [&str; 2] = ["content-type", "accept"];

/// A part of a message that has secrets.
pub(crate) trait HasSecrets {
    /// The proof of origin.
    fn auth_details(&self) -> Option<&AuthDetails>;
    /// The further headers.
    fn headers(&self) -> impl Iterator<Item = (&String, &String)>;
}

macro_rules! has_secrets {
    ($($message:ident),*) => {
        $(impl HasSecrets for $message {
            fn auth_details(&self) -> Option<&AuthDetails> {
                self.auth_details.as_ref()
            }

            fn headers(&self) -> impl Iterator<Item = (&String, &String)> {
                self.headers.iter()
            }
        })*
    };
}
has_secrets!(WebhookSubscription, UpdateWebhookSubscriptionRequest, TestWebhookSubscriptionRequest);

/// The secrets of a message, to be redacted from Walmart's texts as personal data are.
pub(crate) fn secrets(message: &impl HasSecrets) -> PersonalTexts {
    let of_proof = message.auth_details().into_iter().flat_map(|auth| [&auth.password, &auth.client_secret]).flatten();
    let of_headers = message.headers().filter(|(name, _)| is_secret(name)).map(|(_, value)| value);
    PersonalTexts::of_texts(of_proof.chain(of_headers).cloned())
}

/// The secrets of all subscriptions of a request.
pub(crate) fn secrets_of_all(request: &CreateWebhookSubscriptionRequest) -> PersonalTexts {
    request.events.iter().fold(PersonalTexts::default(), |all, one| all.and(secrets(one)))
}

fn is_secret(header: &str) -> bool {
    !OPEN_HEADERS.iter().any(|open| header.eq_ignore_ascii_case(open))
}

/// The subscription without its secrets: every one that is not empty reads `[redacted]`.
pub(crate) fn redacted(mut subscription: WebhookSubscription) -> WebhookSubscription {
    let hide = |secret: &mut String| {
        if !secret.is_empty() {
            REDACTED.clone_into(secret);
        }
    };
    if let Some(auth) = &mut subscription.auth_details {
        [&mut auth.password, &mut auth.client_secret].into_iter().flatten().for_each(hide);
    }
    subscription.headers.iter_mut().filter(|(name, _)| is_secret(name)).for_each(|(_, value)| hide(value));
    subscription
}

/// The subscription without anything that may give access: proof, headers and URL, which may have a user or a token.
pub(crate) fn without_access(subscription: &WebhookSubscription) -> WebhookSubscription {
    let (auth_details, event_url, headers) = (None, None, Default::default());
    WebhookSubscription { auth_details, event_url, headers, ..subscription.clone() }
}

/// The event types that the account should receive and does not: ORDER_UPDATES, unless one that is ACTIVE has the URL of
/// the account's webhook, and every URL with an ACTIVE INTENT_TO_CANCEL has one too.
pub fn missing_events(account: &AccountId, subscriptions: &[WebhookSubscription]) -> Vec<&'static str> {
    let urls = |event_type: &'static str| {
        let active = subscriptions.iter().filter(move |one| one.event_type() == event_type && is_active(one));
        active.map(|one| comparable(one.event_url()))
    };
    let ours = format!("/webhooks/walmart/{account}");
    let is_ours = |url: &String| url.trim_end_matches('/').ends_with(&ours);
    let is_covered = |url: &String| urls(ORDER_UPDATES).any(|covered| covered == *url);
    let all_there = urls(ORDER_UPDATES).any(|url| is_ours(&url)) && urls(INTENT_TO_CANCEL).all(|url| is_covered(&url));
    if all_there { Vec::new() } else { vec![ORDER_UPDATES] }
}

fn is_active(subscription: &WebhookSubscription) -> bool {
    subscription.status().trim().eq_ignore_ascii_case("ACTIVE")
}

/// The URL in a form in which two writings of one URL are equal.
pub(crate) fn comparable(url: &str) -> String {
    Url::parse(url).map_or_else(|_| url.trim().to_owned(), String::from)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn subscription(value: Value) -> WebhookSubscription {
        serde_json::from_value(value).unwrap()
    }

    fn secret() -> WebhookSubscription {
        subscription(json!({"subscriptionId": "s-1", "eventUrl": "https://user:pass@gw.example/a",
            "authDetails": {"authMethod": "BASIC_AUTH", "userName": "hook", "password": "hook pass",
                "authHeaderName": "X-Auth", "clientSecret": ""},
            "headers": {"Content-Type": "application/json", "ACCEPT": "a", "x-api-key": "k-1", "x-empty": ""}}))
    }

    #[test]
    fn secrets_are_hidden_and_all_else_is_shown() {
        let shown = serde_json::to_value(redacted(secret())).unwrap();
        let wanted = json!({"subscriptionId": "s-1", "eventUrl": "https://user:pass@gw.example/a",
            "authDetails": {"authMethod": "BASIC_AUTH", "userName": "hook", "password": "[redacted]",
                "authHeaderName": "X-Auth", "clientSecret": ""},
            "headers": {"Content-Type": "application/json", "ACCEPT": "a", "x-api-key": "[redacted]", "x-empty": ""}});
        assert_eq!(shown, wanted);
        assert_eq!(serde_json::to_value(without_access(&secret())).unwrap(), json!({"subscriptionId": "s-1"}));
        let all = secrets(&secret());
        assert_eq!(all, PersonalTexts::of_texts(["hook pass".to_owned(), "k-1".to_owned()]));
    }

    #[test]
    fn an_account_needs_order_updates_at_its_own_url_and_beside_each_intent() {
        let account = AccountId::new("acme").unwrap();
        let one = |event: &str, url: &str, status: &str| {
            subscription(json!({"eventType": event, "eventUrl": url, "status": status}))
        };
        let missing = |all: &[WebhookSubscription]| !missing_events(&account, all).is_empty();
        let ours = "https://gw.example/webhooks/walmart/acme";
        assert!(missing(&[]));
        assert!(!missing(&[one("ORDER_UPDATES", ours, "ACTIVE")]));
        assert!(!missing(&[one("ORDER_UPDATES", &format!("{ours}/"), "active")]));
        assert!(missing(&[one("ORDER_UPDATES", ours, "INACTIVE")]));
        assert!(missing(&[one("ORDER_UPDATES", "https://gw.example/webhooks/walmart/other", "ACTIVE")]));
        assert!(missing(&[one("INTENT_TO_CANCEL", ours, "ACTIVE")]));
        let both = [
            one("ORDER_UPDATES", ours, "ACTIVE"),
            one("INTENT_TO_CANCEL", "HTTPS://GW.example:443/webhooks/walmart/acme", "ACTIVE"),
        ];
        assert!(!missing(&both));
        let elsewhere =
            |status| [one("ORDER_UPDATES", ours, "ACTIVE"), one("INTENT_TO_CANCEL", "https://old.example/", status)];
        assert!(missing(&elsewhere("ACTIVE")));
        assert!(!missing(&elsewhere("INACTIVE")));
    }
}
