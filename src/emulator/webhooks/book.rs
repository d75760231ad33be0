//! The subscriptions of all accounts.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{OLD_EVENTS, are_old_events_gone};
use crate::emulator::deliveries::Receiver;
use crate::emulator::posting::{DeliveryProof, WEBHOOK_HEADER};

/// Walmart's number of the seller, in every event and subscription.
pub(crate) const PARTNER: &str = "10000000001";

/// The fields of a subscription that callers set.
pub(super) const FIELDS: [&str; 7] =
    ["eventType", "eventVersion", "resourceName", "eventUrl", "status", "authDetails", "headers"];

/// A subscription of one account.
#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    pub(super) account: String,
    pub(super) id: String,
    /// The fields as they were sent.
    pub(super) fields: Map<String, Value>,
    pub(super) created: Timestamp,
    pub(super) deleted: Option<Timestamp>,
    /// The fields before each change, with the time of the change, for reads that lag.
    pub(super) earlier: Vec<(Timestamp, Map<String, Value>)>,
}

impl Subscription {
    pub(super) fn text(&self, name: &str) -> &str {
        self.fields.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    fn is_active(&self, now: Timestamp) -> bool {
        let is_gone = are_old_events_gone(now) && OLD_EVENTS.contains(&self.text("eventType"));
        self.deleted.is_none() && self.text("status") == "ACTIVE" && !is_gone
    }

    /// The subscription as it was at `time`, with the credentials that Walmart echoes; `None` when it was not there.
    pub(super) fn shown(&self, time: Timestamp) -> Option<Value> {
        if self.created > time || self.deleted.is_some_and(|deleted| deleted <= time) {
            return None;
        }
        let before = self.earlier.iter().find(|(changed, _)| *changed > time).map(|(_, fields)| fields);
        let mut shown = before.unwrap_or(&self.fields).clone();
        shown.insert("subscriptionId".into(), json!(self.id));
        shown.insert("partnerId".into(), json!(PARTNER));
        Some(Value::Object(shown))
    }

    /// What Walmart shows of a new subscription: no URL, no credentials.
    pub(super) fn shown_in_short(&self) -> Value {
        json!({"eventType": self.text("eventType"), "subscriptionId": self.id, "partnerId": PARTNER,
            "eventVersion": self.text("eventVersion"), "resourceName": self.text("resourceName"),
            "status": self.text("status")})
    }

    /// The receiver of the subscription's events.
    pub(super) fn receiver(fields: &Map<String, Value>, id: &str) -> Receiver {
        let texts = fields.get("headers").and_then(Value::as_object);
        let headers =
            texts.into_iter().flatten().filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
        Receiver::Subscribed {
            subscription: id.to_owned(),
            url: fields.get("eventUrl").and_then(Value::as_str).unwrap_or_default().to_owned(),
            proof: proof(fields.get("authDetails").unwrap_or(&Value::Null)),
            headers: headers.collect(),
        }
    }
}

/// The proof that `authDetails` ask for. A header that cannot be one becomes the default.
fn proof(auth: &Value) -> DeliveryProof {
    let text = |name: &str| auth[name].as_str().unwrap_or_default().to_owned();
    let header = text("authHeaderName").parse().ok();
    let header = header.or_else(|| WEBHOOK_HEADER.parse().ok());
    match (auth["authMethod"].as_str(), header) {
        (Some("BASIC_AUTH"), Some(header)) => {
            DeliveryProof::Basic { header, username: text("userName"), password: text("password") }
        }
        (Some("HMAC"), Some(header)) => DeliveryProof::Hmac { header, secret: text("clientSecret") },
        (Some("OAUTH"), Some(header)) => DeliveryProof::OAuth {
            header,
            url: text("authUrl"),
            client_id: text("clientId"),
            client_secret: text("clientSecret"),
        },
        _ => DeliveryProof::None,
    }
}

/// All subscriptions, oldest first.
#[derive(Debug, Default)]
pub(crate) struct SubscriptionBook {
    all: Vec<Subscription>,
}

impl SubscriptionBook {
    pub(super) fn add(&mut self, subscription: Subscription) {
        self.all.push(subscription);
    }

    /// The number of subscriptions ever made, of which new ids are made.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn of_account<'a>(&'a self, account: &'a str) -> impl Iterator<Item = &'a Subscription> {
        self.all.iter().filter(move |one| one.account == account)
    }

    pub(super) fn get_mut(&mut self, account: &str, id: &str) -> Option<&mut Subscription> {
        self.all.iter_mut().find(|one| one.account == account && one.id == id && one.deleted.is_none())
    }

    /// The receivers of an event: ACTIVE subscriptions of the type, of this account or of all.
    pub(crate) fn receivers(&self, account: Option<&str>, event_type: &str, now: Timestamp) -> Vec<Receiver> {
        let is_meant = |one: &&Subscription| account.is_none_or(|account| one.account == account);
        let active =
            self.all.iter().filter(is_meant).filter(|one| one.is_active(now) && one.text("eventType") == event_type);
        active.map(|one| Subscription::receiver(&one.fields, &one.id)).collect()
    }

    /// All of them, for the control API.
    pub(crate) fn shown(&self, now: Timestamp) -> Vec<Value> {
        let shown = |one: &Subscription| {
            let mut shown = one.shown(now)?;
            shown["account"] = json!(one.account);
            Some(shown)
        };
        self.all.iter().filter_map(shown).collect()
    }
}
