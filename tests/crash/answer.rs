//! What a caller was told, in the form in which answers are compared.

use order_gateway::pb;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// One answer to one call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    /// The call was carried out.
    Accepted(Accepted),
    /// It was not, for good.
    Refused(Refused),
    /// It may be repeated, and has to be.
    Pending,
    /// The gateway says that it has a bug.
    Bug(String),
}

/// What a successful answer says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Accepted {
    /// All of it that has to be the same on every repeat.
    pub lasting: String,
    /// Whether it came from the ledger.
    pub replayed: bool,
    /// Of a cancellation: each line, and whether its cancellation was accepted.
    pub lines: Vec<(String, bool)>,
}

/// What a refusal says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Refused {
    /// `ErrorInfo.reason`.
    pub reason: String,
    /// Code and message, which have to be the same on every repeat.
    pub lasting: String,
}

/// Reasons after which nobody repeats a call.
const FINAL: [&str; 10] = [
    "INVALID_REQUEST",
    "UPSTREAM_REJECTED",
    "UPSTREAM_NOT_FOUND",
    "ORDER_NUMBER_USED",
    "IDEMPOTENCY_KEY_REUSED",
    "RETURN_ID_USED",
    "SUBSCRIPTION_EXISTS",
    "OPERATION_EXPIRED",
    "ACCOUNT_NOT_FOUND",
    "ACCOUNT_NOT_ALLOWED",
];

impl Refused {
    /// Whether the ledger keeps this refusal as the end of an operation. The others tell why no operation was begun.
    pub(crate) fn ended_an_operation(&self) -> bool {
        const NOT_BEGUN: [&str; 4] =
            ["ORDER_NUMBER_USED", "IDEMPOTENCY_KEY_REUSED", "RETURN_ID_USED", "SUBSCRIPTION_EXISTS"];
        !NOT_BEGUN.contains(&self.reason.as_str())
    }
}

/// Reads the answer to a creation.
pub(crate) fn of_creation(result: Result<pb::CreateOrderResponse, Status>) -> Answer {
    match result {
        Ok(answer) => Answer::Accepted(Accepted {
            lasting: format!("{} {:?} {}", answer.status, answer.payload, answer.correlation_id),
            replayed: answer.replayed,
            lines: Vec::new(),
        }),
        Err(status) => of_error(&status),
    }
}

/// Reads the answer to a cancellation.
pub(crate) fn of_cancellation(result: Result<pb::CancelOrderResponse, Status>) -> Answer {
    let answer = match result {
        Ok(answer) => answer,
        Err(status) => return of_error(&status),
    };
    if answer.batches.iter().any(|batch| batch.status() == pb::BatchStatus::Unknown) {
        return Answer::Pending;
    }
    let accepted = |batch: &pb::CancelBatch| batch.status() == pb::BatchStatus::Accepted;
    let lines = answer.batches.iter().flat_map(|b| b.line_ids.iter().map(move |id| (id.clone(), accepted(b))));
    let lines = lines.collect();
    let batch = |batch: &pb::CancelBatch| {
        let error = batch.error.as_ref().map(|error| (error.code, error.message.as_str()));
        format!("{:?} {} {error:?}", batch.status(), batch.upstream_request_id)
    };
    let batches: Vec<String> = answer.batches.iter().map(batch).collect();
    let lasting = format!("{} {:?} {batches:?}", answer.status, answer.payload);
    Answer::Accepted(Accepted { lasting, replayed: answer.replayed, lines })
}

/// Reads the answer to a change of a seller order or a return, of which the correlation id is the same on every repeat, and
/// whether it came from the ledger.
pub(crate) fn of_change(result: Result<(String, bool), Status>) -> Answer {
    match result {
        Ok((lasting, replayed)) => Answer::Accepted(Accepted { lasting, replayed, lines: Vec::new() }),
        Err(status) => of_error(&status),
    }
}

fn of_error(status: &Status) -> Answer {
    let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
    if FINAL.contains(&reason.as_str()) {
        let lasting = format!("{:?} {}", status.code(), status.message());
        Answer::Refused(Refused { reason, lasting })
    } else if reason == "INTERNAL" || status.code() == Code::Unimplemented {
        Answer::Bug(format!("{:?} {}", status.code(), status.message()))
    } else {
        // No reason: the connection broke, and may have broken at any moment.
        Answer::Pending
    }
}
