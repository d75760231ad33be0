//! Reads and repeatable changes of webhook subscriptions.

use prost::Message;

use super::ReadCall;
use crate::domain::ledger::evidence::LookupAnswer;
use crate::domain::operation::{Operation, WalmartCall};
use crate::domain::personal::PersonalTexts;
use crate::domain::rules::{FieldFaults, check_webhook_deletion, check_webhook_test, check_webhook_update};
use crate::domain::webhooks::secrets;
use crate::pb::{
    DeleteWebhookSubscriptionRequest, DeleteWebhookSubscriptionResponse, ListEventTypesRequest, ListEventTypesResponse,
    ListWebhookSubscriptionsRequest, ListWebhookSubscriptionsResponse, TestWebhookSubscriptionRequest,
    TestWebhookSubscriptionResponse, UpdateWebhookSubscriptionRequest, UpdateWebhookSubscriptionResponse, WalmartError,
};

/// Lists the kinds of events that Walmart can post.
#[derive(Debug)]
pub struct ListEventTypes;

/// Lists webhook subscriptions, without their secrets.
#[derive(Debug)]
pub struct ListWebhookSubscriptions;

/// Reads webhook subscriptions for the ledger, unread.
#[derive(Debug)]
pub struct LookUpWebhookSubscriptions;

/// Changes the given fields of a webhook subscription.
#[derive(Debug)]
pub struct UpdateWebhookSubscription;

/// Deletes a webhook subscription.
#[derive(Debug)]
pub struct DeleteWebhookSubscription;

/// Has Walmart post a sample event; sent once ([`Operation::is_sent_once`]).
#[derive(Debug)]
pub struct TestWebhookSubscription;

macro_rules! calls {
    ($($call:ident: $operation:ident, $request:ident, $answer:ident;)*) => {
        $(impl WalmartCall for $call {
            const OPERATION: Operation = Operation::$operation;
            type Request = $request;
            type Answer = $answer;
        })*
    };
}
calls! {
    ListEventTypes: EventTypes, ListEventTypesRequest, ListEventTypesResponse;
    ListWebhookSubscriptions: Webhooks, ListWebhookSubscriptionsRequest, ListWebhookSubscriptionsResponse;
    LookUpWebhookSubscriptions: Webhooks, ListWebhookSubscriptionsRequest, LookupAnswer;
    UpdateWebhookSubscription: WebhookUpdate, UpdateWebhookSubscriptionRequest, UpdateWebhookSubscriptionResponse;
    DeleteWebhookSubscription: WebhookDelete, DeleteWebhookSubscriptionRequest, DeleteWebhookSubscriptionResponse;
    TestWebhookSubscription: WebhookTest, TestWebhookSubscriptionRequest, TestWebhookSubscriptionResponse;
}

/// The part of a [`ReadCall`] that all calls about subscriptions share: answers without customers' data and errors.
macro_rules! read_call {
    ($call:ident, $request:ident, $answer:ident, $check:path, $personal:path) => {
        impl ReadCall for $call {
            fn check(request: &Self::Request) -> Result<(), FieldFaults> {
                $check(request)
            }

            fn identity(request: &Self::Request) -> Vec<u8> {
                $request { account: String::new(), ..request.clone() }.encode_to_vec()
            }

            fn with_correlation_id(answer: Self::Answer, correlation_id: String) -> Self::Answer {
                $answer { correlation_id, ..answer }
            }

            fn personal(request: &Self::Request) -> PersonalTexts {
                $personal(request)
            }

            fn personal_of_answer(_: &Self::Answer) -> PersonalTexts {
                PersonalTexts::default()
            }

            fn errors(_: &mut Self::Answer) -> Vec<&mut WalmartError> {
                Vec::new()
            }
        }
    };
}

fn nothing_personal<R>(_: &R) -> PersonalTexts {
    PersonalTexts::default()
}

read_call!(
    UpdateWebhookSubscription,
    UpdateWebhookSubscriptionRequest,
    UpdateWebhookSubscriptionResponse,
    check_webhook_update,
    secrets
);
read_call!(
    DeleteWebhookSubscription,
    DeleteWebhookSubscriptionRequest,
    DeleteWebhookSubscriptionResponse,
    check_webhook_deletion,
    nothing_personal
);
read_call!(
    TestWebhookSubscription,
    TestWebhookSubscriptionRequest,
    TestWebhookSubscriptionResponse,
    check_webhook_test,
    secrets
);

impl ReadCall for ListEventTypes {
    fn check(_: &Self::Request) -> Result<(), FieldFaults> {
        Ok(())
    }

    /// Empty: the request has nothing but its account.
    fn identity(_: &Self::Request) -> Vec<u8> {
        Vec::new()
    }

    fn with_correlation_id(answer: Self::Answer, correlation_id: String) -> Self::Answer {
        ListEventTypesResponse { correlation_id, ..answer }
    }

    fn personal(_: &Self::Request) -> PersonalTexts {
        PersonalTexts::default()
    }

    fn personal_of_answer(_: &Self::Answer) -> PersonalTexts {
        PersonalTexts::default()
    }

    fn errors(_: &mut Self::Answer) -> Vec<&mut WalmartError> {
        Vec::new()
    }
}

impl ReadCall for ListWebhookSubscriptions {
    fn check(_: &Self::Request) -> Result<(), FieldFaults> {
        Ok(())
    }

    fn identity(request: &Self::Request) -> Vec<u8> {
        ListWebhookSubscriptionsRequest { account: String::new(), ..request.clone() }.encode_to_vec()
    }

    fn with_correlation_id(answer: Self::Answer, correlation_id: String) -> Self::Answer {
        ListWebhookSubscriptionsResponse { correlation_id, ..answer }
    }

    /// Leaves out subscriptions that show another value than one of the filters. Walmart is known to pass over filters
    /// that it does not know, and would show everything.
    fn completed(request: &Self::Request, mut answer: Self::Answer) -> Option<Self::Answer> {
        let is = |wanted: &str, shown: &str| wanted.is_empty() || shown.is_empty() || wanted == shown;
        answer.events.retain(|one| {
            is(&request.subscription_id, one.subscription_id())
                && is(&request.event_type, one.event_type())
                && is(&request.resource_name, one.resource_name())
                && is(&request.status, one.status())
        });
        Some(answer)
    }

    fn found_nothing() -> Option<Self::Answer> {
        Some(ListWebhookSubscriptionsResponse::default())
    }

    /// The filters have only ids and names.
    fn personal(_: &Self::Request) -> PersonalTexts {
        PersonalTexts::default()
    }

    fn personal_of_answer(_: &Self::Answer) -> PersonalTexts {
        PersonalTexts::default()
    }

    fn errors(_: &mut Self::Answer) -> Vec<&mut WalmartError> {
        Vec::new()
    }
}
