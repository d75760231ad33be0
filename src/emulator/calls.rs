//! What every call of the fulfillment API knows and gives back.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::answer::WalmartAnswer;

/// Who calls, when and how.
#[derive(Debug)]
pub(crate) struct EmulatedCall<'a> {
    /// Client id that the token was issued to.
    pub(crate) account: &'a str,
    pub(crate) correlation_id: &'a str,
    pub(crate) now: Timestamp,
    pub(crate) seed: u64,
    /// `WM_SANDBOX: v2` was sent: the sandbox's forms of answers.
    pub(crate) sandbox: bool,
}

impl EmulatedCall<'_> {
    /// The request's `header`, given back.
    pub(crate) fn header(&self, body: &Value) -> Value {
        body["header"].clone()
    }

    /// 202 with a request id.
    pub(crate) fn accepted(&self, body: &Value, request_id: &str) -> WalmartAnswer {
        let body = json!({"status": "ACCEPTED", "header": self.header(body), "payload": {"requestId": request_id}});
        WalmartAnswer::json(202, body)
    }
}

/// What a call did.
#[derive(Debug)]
pub(crate) struct CallResult {
    pub(crate) answer: WalmartAnswer,
    pub(crate) effect: CallEffect,
}

impl CallResult {
    /// Nothing was changed or read.
    pub(crate) fn refused(answer: WalmartAnswer) -> Self {
        Self { answer, effect: CallEffect::None }
    }
}

/// What was really executed, whatever the caller was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CallEffect {
    /// Nothing.
    None,
    /// A token was issued.
    Issued,
    /// Something was read.
    Read,
    /// An order was created.
    Created,
    /// An order was created though one of that number was there.
    CreatedAgain,
    /// Units of an order were cancelled.
    Cancelled,
}

impl CallEffect {
    /// Its name in the control API.
    pub fn name(self) -> &'static str {
        match self {
            CallEffect::None => "NONE",
            CallEffect::Issued => "TOKEN_ISSUED",
            CallEffect::Read => "READ",
            CallEffect::Created => "CREATED",
            CallEffect::CreatedAgain => "CREATED_AGAIN",
            CallEffect::Cancelled => "CANCELLED",
        }
    }
}
