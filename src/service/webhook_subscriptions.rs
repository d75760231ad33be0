//! Reads and changes webhook subscriptions. The creation is carried out by [`Mutate`], reads and repeatable changes by
//! [`CoalescedRead`]; this file shapes the answers.

use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::time::timeout_at;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::error::timed_out;
use super::ledger::Mutations;
use super::mutate::{Mutate, MutationError, MutationReply};
use super::read::{self, CallEnd, CoalescedRead};
use super::{AccountDirectory, ServiceError, WebhookChecks};
use crate::domain::account_table::AccountTable;
use crate::domain::mutations::{self, ShownObject};
use crate::domain::operation::Operation;
use crate::domain::reads::{
    DeleteWebhookSubscription, ListEventTypes, ListWebhookSubscriptions, ReadCall as _, TestWebhookSubscription,
    UpdateWebhookSubscription,
};
use crate::domain::webhooks::without_access;
use crate::pb;
use crate::ports::call::CallContext;
use crate::ports::ledger::Ledger;
use crate::ports::upstream::{ErrorKind, Reply, WalmartApi};

/// The use cases of WebhookSubscriptionService. Each answers a caller, for the account that the request names. Cheap to
/// clone.
pub struct WebhookSubscriptions<U, L> {
    directory: AccountDirectory,
    event_types: CoalescedRead<ListEventTypes, U>,
    list: CoalescedRead<ListWebhookSubscriptions, U>,
    update: CoalescedRead<UpdateWebhookSubscription, U>,
    delete: CoalescedRead<DeleteWebhookSubscription, U>,
    test: CoalescedRead<TestWebhookSubscription, U>,
    create: Mutate<mutations::CreateWebhookSubscription, U, L>,
    /// One creation at a time for each account: two that read at once would both see no subscription.
    turns: Arc<AccountTable<Mutex<()>>>,
    checks: WebhookChecks,
}

impl<U: Clone, L> Clone for WebhookSubscriptions<U, L> {
    fn clone(&self) -> Self {
        Self {
            directory: self.directory.clone(),
            event_types: self.event_types.clone(),
            list: self.list.clone(),
            update: self.update.clone(),
            delete: self.delete.clone(),
            test: self.test.clone(),
            create: self.create.clone(),
            turns: self.turns.clone(),
            checks: self.checks.clone(),
        }
    }
}

impl<U: WalmartApi, L: Ledger> WebhookSubscriptions<U, L> {
    /// Sends to `upstream`, and works on `mutations`. Work without a remaining caller continues among `tasks`. Changes are
    /// followed by a check.
    pub fn new(upstream: U, mutations: Mutations<U, L>, tasks: TaskTracker, checks: WebhookChecks) -> Self {
        Self {
            directory: mutations.directory().clone(),
            event_types: CoalescedRead::new(upstream.clone()),
            list: CoalescedRead::new(upstream.clone()),
            update: CoalescedRead::new(upstream.clone()),
            delete: CoalescedRead::new(upstream.clone()).concluding(deleted),
            test: CoalescedRead::new(upstream),
            create: Mutate::new(mutations, tasks),
            turns: Arc::default(),
            checks,
        }
    }

    /// Lists the kinds of events.
    pub async fn event_types(
        &self,
        request: pb::ListEventTypesRequest,
        call: &CallContext,
    ) -> Result<pb::ListEventTypesResponse, ServiceError> {
        let account = self.directory.of_request(&request.account, call, || ListEventTypes::check(&request))?;
        self.event_types.call(account, request, call).await
    }

    /// Lists subscriptions.
    pub async fn list(
        &self,
        request: pb::ListWebhookSubscriptionsRequest,
        call: &CallContext,
    ) -> Result<pb::ListWebhookSubscriptionsResponse, ServiceError> {
        let account =
            self.directory.of_request(&request.account, call, || ListWebhookSubscriptions::check(&request))?;
        self.list.call(account, request, call).await
    }

    /// Makes subscriptions, never a second ACTIVE one of a type and URL.
    pub async fn create(
        &self,
        request: pb::CreateWebhookSubscriptionRequest,
        call: &CallContext,
    ) -> Result<pb::CreateWebhookSubscriptionResponse, MutationError> {
        let account = self.create.account(&request.account, &request, call)?;
        let request = Arc::new(request);
        let failed = |error| MutationError { request_id: request.request_id.clone(), error };
        let turn = self.turns.row(account, Mutex::default).lock();
        let Ok(_turn) = timeout_at(call.deadline, turn).await else {
            return Err(failed(timed_out(Operation::WebhookCreate, Uuid::nil())));
        };
        let by_content = request.request_id.is_empty();
        let reply = self.create.call(account, request.clone(), call).await;
        self.checks.changed(account);
        let reply = reply.map_err(|failed| match failed.error {
            // Without a request id the type and URL are the key: one is being made with another proof or other headers.
            ServiceError::RequestIdReused if by_content => {
                let error = ServiceError::SubscriptionExists { ids: Vec::new(), correlation_id: Uuid::nil() };
                MutationError { error, ..failed }
            }
            _ => failed,
        })?;
        let MutationReply { request_id, batches, replayed } = reply;
        let Reply { answer, correlation_id } = match batches.into_iter().next() {
            Some(Ok(reply)) => reply,
            Some(Err(error)) => return Err(MutationError { request_id, error }),
            None => return Err(MutationError { request_id, error: ServiceError::Internal }),
        };
        let events = match if replayed { answer.shown.kept() } else { answer.shown } {
            ShownObject::Webhooks(events) => events,
            // A look-up found them, and keeps nothing of them.
            ShownObject::SellerOrder(_) | ShownObject::McsReturn(_) | ShownObject::Nothing => {
                mutations::CreateWebhookSubscription::sent(&request).iter().map(without_access).collect()
            }
        };
        let correlation_id = correlation_id.to_string();
        Ok(pb::CreateWebhookSubscriptionResponse { events, correlation_id, request_id, replayed })
    }

    /// Changes the given fields of a subscription.
    pub async fn update(
        &self,
        request: pb::UpdateWebhookSubscriptionRequest,
        call: &CallContext,
    ) -> Result<pb::UpdateWebhookSubscriptionResponse, ServiceError> {
        let account =
            self.directory.of_request(&request.account, call, || UpdateWebhookSubscription::check(&request))?;
        let answer = self.update.call(account, request, call).await;
        self.checks.changed(account);
        answer
    }

    /// Deletes a subscription.
    pub async fn delete(
        &self,
        request: pb::DeleteWebhookSubscriptionRequest,
        call: &CallContext,
    ) -> Result<pb::DeleteWebhookSubscriptionResponse, ServiceError> {
        let account =
            self.directory.of_request(&request.account, call, || DeleteWebhookSubscription::check(&request))?;
        let subscription_id = request.subscription_id.clone();
        let answer = self.delete.call(account, request, call).await;
        self.checks.changed(account);
        let answer = answer?;
        Ok(pb::DeleteWebhookSubscriptionResponse { subscription_id, ..answer })
    }

    /// Has Walmart post a sample event.
    pub async fn test(
        &self,
        request: pb::TestWebhookSubscriptionRequest,
        call: &CallContext,
    ) -> Result<pb::TestWebhookSubscriptionResponse, ServiceError> {
        let account = self.directory.of_request(&request.account, call, || TestWebhookSubscription::check(&request))?;
        self.test.call(account, request, call).await
    }
}

/// The end of a deletion. Where an earlier attempt may have deleted the subscription, that it is gone is a success.
fn deleted(
    request: &pb::DeleteWebhookSubscriptionRequest,
    ended: CallEnd<DeleteWebhookSubscription>,
) -> Result<pb::DeleteWebhookSubscriptionResponse, ServiceError> {
    match ended {
        Err(error) if error.kind == ErrorKind::NotFound && error.after_lost_attempt => {
            let correlation_id = error.correlation_id.to_string();
            Ok(pb::DeleteWebhookSubscriptionResponse { correlation_id, ..Default::default() })
        }
        ended => read::reply::<DeleteWebhookSubscription>(request, ended),
    }
}

#[cfg(test)]
#[path = "webhook_subscriptions_tests.rs"]
mod tests;
