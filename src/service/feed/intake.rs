//! Takes in deliveries from Walmart: builds the stored form, and stores it.

use bytes::Bytes;
use prost::Message as _;
use sha2::{Digest as _, Sha256};

use crate::crash_point::{CrashPoint, reach};
use crate::domain::account::{AccountId, SellerId};
use crate::domain::feed::notification::{DeliveryContent, WebhookDelivery};
use crate::domain::feed::{WebhookNotification, intent_key, is_of_another_seller};
use crate::domain::hex;
use crate::domain::timestamp::Timestamp;
use crate::pb;
use crate::planted_bug::{PlantedBug, is_planted};
use crate::ports::clock::Clock;
use crate::ports::event_log::{AppendOutcome, EventLog};
use crate::ports::store_error::{StoreError, StoreErrorKind};

/// The reason why a delivery cannot be read, without any text of its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableBody(String);

impl UnreadableBody {
    /// Takes a short reason, for operators.
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }

    /// The reason in words.
    pub fn reason(&self) -> &str {
        &self.0
    }
}

/// The account that received a delivery.
#[derive(Clone, Debug)]
pub struct DeliveryRecipient {
    /// Id of the account.
    pub account: AccountId,
    /// Seller of the account; the body of a delivery may not name the seller.
    pub seller: SellerId,
}

/// Stores deliveries. Cheap to clone.
#[derive(Clone, Debug)]
pub struct WebhookIntake<L> {
    log: L,
    clock: Clock,
}

impl<L: EventLog> WebhookIntake<L> {
    /// Stores deliveries in this log.
    pub fn new(log: L, clock: Clock) -> Self {
        Self { log, clock }
    }

    /// Stores an authenticated delivery. The result is durable. The write continues when the future is dropped: a
    /// delivery must not be lost because Walmart closed the connection.
    pub async fn take(
        &self,
        recipient: &DeliveryRecipient,
        raw: Bytes,
        read: Result<WebhookNotification, UnreadableBody>,
    ) -> Result<AppendOutcome, StoreError> {
        let arrival = arrival(recipient, self.clock.now().into(), raw, read);
        let log = self.log.clone();
        let stored = tokio::spawn(async move {
            reach(CrashPoint::W1);
            let stored = log.append(arrival).await;
            reach(CrashPoint::W2);
            stored
        });
        if is_planted(PlantedBug::WebhookAnsweredBeforeCommit) {
            return Ok(AppendOutcome::Duplicate);
        }
        stored.await.unwrap_or_else(|error| {
            tracing::error!(%error, "storing a delivery ended in a bug");
            Err(StoreError { kind: StoreErrorKind::Failed, text: error.to_string() })
        })
    }
}

pub(super) fn arrival(
    recipient: &DeliveryRecipient,
    received: Timestamp,
    raw: Bytes,
    read: Result<WebhookNotification, UnreadableBody>,
) -> WebhookDelivery {
    let body_hash = Sha256::digest(&raw).into();
    let content = content(recipient, received, &body_hash, read);
    WebhookDelivery { account: recipient.account.clone(), received, raw, body_hash, content }
}

fn content(
    recipient: &DeliveryRecipient,
    received: Timestamp,
    body_hash: &[u8; 32],
    read: Result<WebhookNotification, UnreadableBody>,
) -> DeliveryContent {
    let notification = match read {
        Ok(notification) => notification,
        Err(unreadable) => return DeliveryContent::Unreadable { reason: unreadable.0 },
    };
    let feed = notification.feed();
    let body_sha256 = hex::lower(body_hash);
    let id_synthesized = notification.event_id.is_empty();
    let event_id = if id_synthesized { format!("sha256:{body_sha256}") } else { notification.event_id };
    let WebhookNotification { event_type, sub_event_type, event_version, event_time, intent, update, .. } =
        notification;
    let DeliveryRecipient { account, seller } = recipient;
    let origin = pb::EventOrigin::Webhook.into();
    let (event_time, received_at) = (event_time.map(moment), Some(moment(received)));
    // Fields known only to the log, and the body, are added when an event is read.
    let message = match intent {
        Some(intent) => pb::Event {
            intent_key: intent_key(seller, &intent),
            origin,
            partner_mismatch: is_of_another_seller(seller, &intent.partner_id),
            event_id: event_id.clone(),
            event_type: event_type.clone(),
            event_version,
            event_time,
            received_at,
            ordering_key: intent.purchase_order_id.clone(),
            intent: Some(intent),
            body_sha256,
            id_synthesized,
            account: account.to_string(),
            sub_event_type: sub_event_type.clone(),
            ..Default::default()
        }
        .encode_to_vec(),
        None => pb::OrderUpdate {
            origin,
            partner_mismatch: is_of_another_seller(seller, &update.partner_id),
            ordering_key: update.ordering_key,
            update: update.content,
            event_id: event_id.clone(),
            event_type: event_type.clone(),
            event_version,
            event_time,
            received_at,
            body_sha256,
            id_synthesized,
            account: account.to_string(),
            sub_event_type: sub_event_type.clone(),
            ..Default::default()
        }
        .encode_to_vec(),
    };
    DeliveryContent::Event { feed, event_id, event_type, sub_event_type, message: message.into() }
}

fn moment(time: Timestamp) -> prost_types::Timestamp {
    let seconds = i64::try_from(time.0 / 1000).unwrap_or(i64::MAX);
    // The value is below a billion.
    let nanos = (time.0 % 1000) as i32 * 1_000_000;
    prost_types::Timestamp { seconds, nanos }
}

#[cfg(test)]
#[path = "intake_tests.rs"]
mod tests;
