//! The calls that may be sent again at any time, as types: reads, and changes that are the same however often they are
//! made.
//!
//! A [`ReadCall`] defines when two requests are the same, and how an answer is completed. The use case `service::read`
//! works with these definitions alone.

mod returns;
mod seller_orders;
mod webhooks;

use prost::Message;

pub use self::returns::{ListMarketplaceReturns, ListMcsReturnOrders, LookUpMcsReturns, LookUpReturn};
pub use self::seller_orders::{AcknowledgeOrder, CorrectTracking, GetSellerOrder, ListSellerOrders, LookUpSellerOrder};
pub use self::webhooks::{
    DeleteWebhookSubscription, ListEventTypes, ListWebhookSubscriptions, LookUpWebhookSubscriptions,
    TestWebhookSubscription, UpdateWebhookSubscription,
};

use super::ledger::evidence::LookupAnswer;
use super::operation::{Operation, WalmartCall};
use super::personal::PersonalTexts;
use super::rules::{FieldFaults, check_order_status, check_promise};
use crate::pb::{
    FetchDeliveryPromiseRequest, FetchDeliveryPromiseResponse, GetOrderStatusRequest, GetOrderStatusResponse,
    PromiseCache, WalmartError,
};

/// A call that callers may ask for. Identical calls of one account share one upstream call while that is in flight.
pub trait ReadCall: WalmartCall<Request: Message + Clone, Answer: Message + Clone> {
    /// Checks the request and returns all of its faults.
    fn check(request: &Self::Request) -> Result<(), FieldFaults>;

    /// The part of the request that is sent to Walmart, as a key for sharing. The account is no part of the key,
    /// because callers may name the account or leave the field empty.
    fn identity(request: &Self::Request) -> Vec<u8>;

    /// Adds the `WM_QOS.CORRELATION_ID` of the upstream call to the answer.
    fn with_correlation_id(answer: Self::Answer, correlation_id: String) -> Self::Answer;

    /// Adds the source of the answer, for reads that report a source.
    fn with_source(answer: Self::Answer, source: AnswerSource) -> Self::Answer {
        let _ = source;
        answer
    }

    /// Completes an answer by what only the request tells. `None`: the answer shows that the object that was asked for
    /// does not exist.
    fn completed(request: &Self::Request, answer: Self::Answer) -> Option<Self::Answer> {
        let _ = request;
        Some(answer)
    }

    /// The answer that stands for Walmart's not-found, for searches, which Walmart answers so when nothing matches. `None`:
    /// a not-found is an error.
    fn found_nothing() -> Option<Self::Answer> {
        None
    }

    /// The customer's data in the request.
    fn personal(request: &Self::Request) -> PersonalTexts;

    /// The customer's data in the answer.
    fn personal_of_answer(answer: &Self::Answer) -> PersonalTexts;

    /// Walmart's errors in the answer, at every place where Walmart puts errors.
    fn errors(answer: &mut Self::Answer) -> Vec<&mut WalmartError>;
}

/// The source of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerSource {
    /// The cache of earlier answers.
    Cached,
    /// The call of another caller, joined while in flight.
    Joined,
    /// A call made for this caller.
    Own,
}

/// Fetches a delivery promise.
#[derive(Debug)]
pub struct FetchPromise;

impl WalmartCall for FetchPromise {
    const OPERATION: Operation = Operation::Promise;
    type Request = FetchDeliveryPromiseRequest;
    type Answer = FetchDeliveryPromiseResponse;
}

impl ReadCall for FetchPromise {
    fn check(request: &Self::Request) -> Result<(), FieldFaults> {
        check_promise(request)
    }

    fn identity(request: &Self::Request) -> Vec<u8> {
        // The header is length-delimited, because header and payload could otherwise run into one another.
        let header = request.header.as_ref().map(Message::encode_length_delimited_to_vec).unwrap_or_default();
        let mut identity = vec![u8::from(request.header.is_some())];
        identity.extend(header);
        if let Some(payload) = &request.payload {
            identity.extend(payload.encode_to_vec());
        }
        identity
    }

    fn with_correlation_id(answer: Self::Answer, correlation_id: String) -> Self::Answer {
        FetchDeliveryPromiseResponse { correlation_id, ..answer }
    }

    fn with_source(mut answer: Self::Answer, source: AnswerSource) -> Self::Answer {
        answer.set_cache(match source {
            AnswerSource::Cached => PromiseCache::Hit,
            AnswerSource::Joined => PromiseCache::Coalesced,
            AnswerSource::Own => PromiseCache::Miss,
        });
        answer
    }

    fn personal(request: &Self::Request) -> PersonalTexts {
        PersonalTexts::of(&request.payload)
    }

    fn personal_of_answer(answer: &Self::Answer) -> PersonalTexts {
        PersonalTexts::of(&answer.payload)
    }

    fn errors(answer: &mut Self::Answer) -> Vec<&mut WalmartError> {
        let plans = answer.payload.iter_mut().flat_map(|promise| &mut promise.fulfillment_plans);
        let groups =
            plans.flat_map(|plan| &mut plan.fulfillment_modules).flat_map(|module| &mut module.fulfillment_groups);
        let shipments =
            groups.flat_map(|group| &mut group.fulfillment_options).flat_map(|option| &mut option.fulfillments);
        answer.errors.iter_mut().chain(shipments.flat_map(|shipment| &mut shipment.errors)).collect()
    }
}

/// Searches orders by any filter except the order number.
#[derive(Debug)]
pub struct SearchOrders;

/// Searches the order of one number. An answer without an order is a success with an empty list only where the answer
/// proves absence.
#[derive(Debug)]
pub struct FindOrder;

/// Looks up the outcome of a mutation for the ledger. The answer is passed on unread, a 404 like a 200. An error is
/// never evidence.
#[derive(Debug)]
pub struct LookUp;

impl WalmartCall for SearchOrders {
    const OPERATION: Operation = Operation::Status;
    type Request = GetOrderStatusRequest;
    type Answer = GetOrderStatusResponse;
}

impl WalmartCall for FindOrder {
    const OPERATION: Operation = Operation::Status;
    type Request = GetOrderStatusRequest;
    type Answer = GetOrderStatusResponse;
}

impl WalmartCall for LookUp {
    const OPERATION: Operation = Operation::Status;
    type Request = GetOrderStatusRequest;
    type Answer = LookupAnswer;
}

impl ReadCall for SearchOrders {
    fn check(request: &Self::Request) -> Result<(), FieldFaults> {
        check_order_status(request)
    }

    fn identity(request: &Self::Request) -> Vec<u8> {
        GetOrderStatusRequest { account: String::new(), ..request.clone() }.encode_to_vec()
    }

    fn with_correlation_id(answer: Self::Answer, correlation_id: String) -> Self::Answer {
        GetOrderStatusResponse { correlation_id, ..answer }
    }

    /// The filters of a search have only numbers and dates.
    fn personal(_: &Self::Request) -> PersonalTexts {
        PersonalTexts::default()
    }

    fn personal_of_answer(answer: &Self::Answer) -> PersonalTexts {
        PersonalTexts::of(&answer.payload)
    }

    fn errors(answer: &mut Self::Answer) -> Vec<&mut WalmartError> {
        answer.errors.iter_mut().collect()
    }
}

impl ReadCall for FindOrder {
    fn check(request: &Self::Request) -> Result<(), FieldFaults> {
        SearchOrders::check(request)
    }

    fn identity(request: &Self::Request) -> Vec<u8> {
        SearchOrders::identity(request)
    }

    fn with_correlation_id(answer: Self::Answer, correlation_id: String) -> Self::Answer {
        SearchOrders::with_correlation_id(answer, correlation_id)
    }

    fn personal(request: &Self::Request) -> PersonalTexts {
        SearchOrders::personal(request)
    }

    fn personal_of_answer(answer: &Self::Answer) -> PersonalTexts {
        SearchOrders::personal_of_answer(answer)
    }

    fn errors(answer: &mut Self::Answer) -> Vec<&mut WalmartError> {
        SearchOrders::errors(answer)
    }
}
