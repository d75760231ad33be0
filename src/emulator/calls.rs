//! What every call of the fulfillment API knows and gives back.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::answer::Answer;

/// Who calls, when and how.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    /// Client id that the token was issued to.
    pub(crate) account: &'a str,
    pub(crate) correlation_id: &'a str,
    pub(crate) now: Timestamp,
    pub(crate) seed: u64,
    /// `WM_SANDBOX: v2` was sent: the sandbox's forms of answers.
    pub(crate) sandbox: bool,
}

impl Context<'_> {
    /// The request's `header`, given back.
    pub(crate) fn header(&self, body: &Value) -> Value {
        body["header"].clone()
    }

    /// 202 with a request id.
    pub(crate) fn accepted(&self, body: &Value, request_id: &str) -> Answer {
        let body = json!({"status": "ACCEPTED", "header": self.header(body), "payload": {"requestId": request_id}});
        Answer::json(202, body)
    }
}

/// What a call did.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) answer: Answer,
    pub(crate) effect: Effect,
}

impl Done {
    /// Nothing was changed or read.
    pub(crate) fn refused(answer: Answer) -> Self {
        Self { answer, effect: Effect::None }
    }
}

/// What was really executed, whatever the caller was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Effect {
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

impl Effect {
    /// Its name in the control API.
    pub fn name(self) -> &'static str {
        match self {
            Effect::None => "NONE",
            Effect::Issued => "TOKEN_ISSUED",
            Effect::Read => "READ",
            Effect::Created => "CREATED",
            Effect::CreatedAgain => "CREATED_AGAIN",
            Effect::Cancelled => "CANCELLED",
        }
    }
}
