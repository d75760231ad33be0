//! Input and result of every call of the fulfillment API.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::answer::WalmartAnswer;

/// The caller of a call, its time and its form.
#[derive(Debug)]
pub(crate) struct EmulatedCall<'a> {
    /// Client id that the token was issued to.
    pub(crate) account: &'a str,
    pub(crate) correlation_id: &'a str,
    pub(crate) now: Timestamp,
    pub(crate) seed: u64,
    /// Whether `WM_SANDBOX: v2` was sent, which selects the sandbox's forms of answers.
    pub(crate) sandbox: bool,
}

impl EmulatedCall<'_> {
    /// The request's `header`, echoed.
    pub(crate) fn header(&self, body: &Value) -> Value {
        body["header"].clone()
    }

    /// A 202 answer with a request id.
    pub(crate) fn accepted(&self, body: &Value, request_id: &str) -> WalmartAnswer {
        let body = json!({"status": "ACCEPTED", "header": self.header(body), "payload": {"requestId": request_id}});
        WalmartAnswer::json(202, body)
    }
}

/// The result of a call.
#[derive(Debug)]
pub(crate) struct CallResult {
    pub(crate) answer: WalmartAnswer,
    pub(crate) effect: CallEffect,
}

impl CallResult {
    /// A refused call, without an effect.
    pub(crate) fn refused(answer: WalmartAnswer) -> Self {
        Self { answer, effect: CallEffect::None }
    }
}

/// The effect of a call, independent of the answer sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CallEffect {
    /// Nothing was changed or read.
    None,
    /// A token was issued.
    Issued,
    /// Orders or promises were read.
    Read,
    /// An order was created.
    Created,
    /// A second order with a used number was created.
    CreatedAgain,
    /// Units of an order were cancelled.
    Cancelled,
    /// A seller's order was acknowledged.
    Acknowledged,
    /// Units of a seller's order were cancelled.
    LinesCancelled,
    /// Units of a seller's order were shipped.
    Shipped,
    /// The tracking of a parcel was corrected.
    Corrected,
    /// Lines of a seller's order were refunded.
    Refunded,
    /// Units of a return were refunded.
    ReturnRefunded,
    /// A return of a Multichannel order was opened.
    ReturnOpened,
    /// A return of a Multichannel order was taken back.
    ReturnCancelled,
    /// Webhook subscriptions were made.
    Subscribed,
    /// A webhook subscription was changed.
    SubscriptionChanged,
    /// A webhook subscription was deleted.
    Unsubscribed,
    /// A sample event was posted.
    SamplePosted,
}

impl CallEffect {
    /// The name in the control API.
    pub fn name(self) -> &'static str {
        match self {
            CallEffect::None => "NONE",
            CallEffect::Issued => "TOKEN_ISSUED",
            CallEffect::Read => "READ",
            CallEffect::Created => "CREATED",
            CallEffect::CreatedAgain => "CREATED_AGAIN",
            CallEffect::Cancelled => "CANCELLED",
            CallEffect::Acknowledged => "ACKNOWLEDGED",
            CallEffect::LinesCancelled => "LINES_CANCELLED",
            CallEffect::Shipped => "SHIPPED",
            CallEffect::Corrected => "TRACKING_CORRECTED",
            CallEffect::Refunded => "REFUNDED",
            CallEffect::ReturnRefunded => "RETURN_REFUNDED",
            CallEffect::ReturnOpened => "RETURN_OPENED",
            CallEffect::ReturnCancelled => "RETURN_CANCELLED",
            CallEffect::Subscribed => "SUBSCRIBED",
            CallEffect::SubscriptionChanged => "SUBSCRIPTION_CHANGED",
            CallEffect::Unsubscribed => "UNSUBSCRIBED",
            CallEffect::SamplePosted => "SAMPLE_POSTED",
        }
    }
}
