//! Lists quarantined deliveries, and reads them again.

use bytes::Bytes;
use futures_util::future::try_join_all;

use super::events::{AT_ONCE, PAGE_BYTES};
use super::intake::{self, DeliveryRecipient, UnreadableBody};
use super::{Feed, FeedStore, timestamp};
use crate::domain::account::AccountId;
use crate::domain::feed::{ByFeed, FeedName, LogId, WebhookNotification};
use crate::domain::hex;
use crate::pb;
use crate::ports::call::CallContext;
use crate::ports::event_log::{LogBounds, QuarantinedDelivery, RereadOutcome};
use crate::service::{AccountError, ServiceError, paging};

/// Reads a body authenticated before, and returns the body to be stored.
pub type ReadBody = fn(Bytes) -> (Bytes, Result<WebhookNotification, UnreadableBody>);

impl<F: FeedStore> Feed<F> {
    /// Reads a page of the quarantine.
    pub async fn quarantined(
        &self,
        request: &pb::ListQuarantinedWebhooksRequest,
        call: &CallContext,
    ) -> Result<pb::ListQuarantinedWebhooksResponse, ServiceError> {
        let accounts = self.accounts_in_quarantine(&request.account, call)?;
        let (size, after) = paging::numbered(request.page_size, &request.page_token)?;
        let at_once = if request.include_raw { AT_ONCE } else { size + 1 };
        let (mut webhooks, mut after, mut bytes) = (Vec::new(), after, 0);
        loop {
            let read = self.store().quarantined(&accounts, after, at_once, request.include_raw).await?;
            let last = read.len() < at_once;
            for one in read {
                if webhooks.len() == size || (bytes > 0 && bytes + one.raw.len() > PAGE_BYTES) {
                    return Ok(pb::ListQuarantinedWebhooksResponse { webhooks, next_page_token: after.to_string() });
                }
                bytes += one.raw.len();
                after = one.id;
                webhooks.push(shown(one));
            }
            if last {
                return Ok(pb::ListQuarantinedWebhooksResponse { webhooks, next_page_token: String::new() });
            }
        }
    }

    /// Reads a page of quarantined bodies again. Each body that can be read now moves into the feed of its event.
    ///
    /// # Errors
    /// The request has faults, the caller may not see the account, or the store fails. Bodies that moved before the
    /// failure stay in their feeds.
    pub async fn reread(
        &self,
        request: &pb::RereadQuarantinedWebhooksRequest,
        call: &CallContext,
    ) -> Result<pb::RereadQuarantinedWebhooksResponse, ServiceError> {
        let accounts = self.accounts_in_quarantine(&request.account, call)?;
        let (size, mut after) = paging::numbered(request.page_size, &request.page_token)?;
        let logs = self.bounds().await?;
        let mut webhooks = Vec::new();
        loop {
            let most = AT_ONCE.min(size - webhooks.len());
            let read = self.store().quarantined(&accounts, after, most, true).await?;
            let Some(last) = read.last() else {
                return Ok(pb::RereadQuarantinedWebhooksResponse { webhooks, next_page_token: String::new() });
            };
            after = last.id;
            // The writes are handed over in this order, which becomes the order of the log, and share their fsyncs.
            webhooks.extend(try_join_all(read.into_iter().map(|one| self.read_again(one, &logs))).await?);
            if webhooks.len() >= size {
                return Ok(pb::RereadQuarantinedWebhooksResponse { webhooks, next_page_token: after.to_string() });
            }
        }
    }

    fn accounts_in_quarantine(&self, account: &str, call: &CallContext) -> Result<Vec<AccountId>, ServiceError> {
        let directory = &self.0.parts.directory;
        let accounts = directory.many(account, call)?;
        if accounts.is_empty() && !call.caller().sees_all() {
            return Err(ServiceError::Account(AccountError::NotAllowed));
        }
        Ok(accounts.into_iter().map(|account| directory.id(account)).collect())
    }

    async fn read_again(
        &self,
        one: QuarantinedDelivery,
        logs: &ByFeed<LogBounds>,
    ) -> Result<pb::RereadWebhook, ServiceError> {
        let QuarantinedDelivery { id, account, received, raw, .. } = one;
        let (raw, read) = (self.0.parts.read)(raw);
        let feed = read.as_ref().ok().map(WebhookNotification::feed);
        let unclear = read.as_ref().ok().and_then(|notification| notification.unclear);
        let seller = self.0.parts.directory.seller(&account);
        let mut webhook = pb::RereadWebhook { id, account: account.to_string(), ..Default::default() };
        let Some(seller) = seller else {
            // The account was removed from the settings just now.
            webhook.set_outcome(pb::RereadOutcome::Kept);
            return Ok(webhook);
        };
        let arrival = intake::arrival(&DeliveryRecipient { account, seller }, received, raw, read);
        let reread = self.store().reread(id, arrival).await?;
        let account = &webhook.account;
        if let (RereadOutcome::Moved { seq }, Some(feed)) = (reread, feed) {
            let feed_name = feed.name();
            tracing::info!(account, id, feed = feed_name, seq, "a webhook from quarantine was read and is in its feed");
            if let Some(cause) = unclear {
                let cause = cause.name();
                tracing::warn!(
                    account,
                    seq,
                    cause,
                    "an event may be an intent to cancel; it is among the order updates"
                );
            }
            let log: LogId = logs.of(feed).log;
            webhook.cursor = log.cursor(seq).to_string();
        }
        webhook.set_outcome(match (reread, feed) {
            (RereadOutcome::Moved { .. }, Some(FeedName::CancelIntents)) => pb::RereadOutcome::CancelIntents,
            (RereadOutcome::Moved { .. }, _) => pb::RereadOutcome::OrderUpdates,
            (RereadOutcome::Duplicate | RereadOutcome::Missing, _) => pb::RereadOutcome::Duplicate,
            (RereadOutcome::Unreadable | RereadOutcome::Conflict, _) => pb::RereadOutcome::Kept,
        });
        Ok(webhook)
    }
}

fn shown(one: QuarantinedDelivery) -> pb::QuarantinedWebhook {
    let cause = if one.conflict.is_some() { pb::QuarantineCause::Conflict } else { pb::QuarantineCause::Unreadable };
    let identity = one.conflict.unwrap_or_default();
    pb::QuarantinedWebhook {
        id: one.id,
        account: one.account.to_string(),
        received_at: timestamp(one.received),
        reason: one.reason,
        body_sha256: hex::lower(&one.body_hash),
        raw_body: one.raw.to_vec(),
        body_size: one.size,
        cause: cause.into(),
        event_id: identity.event_id,
        event_type: identity.event_type,
        sub_event_type: identity.sub_event_type,
    }
}

#[cfg(test)]
#[path = "quarantine_tests.rs"]
mod tests;
