//! The two proofs that Walmart's order service does not have an order, looked up by number.

use super::answer::{AnswerStatus, LookupEnvelope};
use super::json::JsonPart;
use super::{AbsenceProof, LookupAnswer, NoEvidence};

/// The reason why an unreadable body proves nothing.
pub(super) fn unreadable(http_status: u16) -> NoEvidence {
    match http_status {
        200 => NoEvidence::Unreadable,
        404 => NoEvidence::GatewayNotFound,
        _ => NoEvidence::HttpStatus,
    }
}

/// Whether the answer is a service's not-found and nothing else.
pub fn is_not_found(answer: &LookupAnswer) -> bool {
    let errors = LookupEnvelope::read(&answer.body).map(|read| read.errors());
    matches!(answer.http_status, 200 | 400 | 404) && errors.is_some_and(|errors| errors.count == 1 && errors.of_service)
}

pub(super) fn of_answer(http_status: u16, answer: &LookupEnvelope) -> Result<AbsenceProof, NoEvidence> {
    let errors = answer.errors();
    match errors.not_found {
        Some(code) if errors.count == 1 => not_found(http_status, answer, code),
        Some(_) => Err(NoEvidence::NotFoundNotAlone),
        None => complete(http_status, answer).and_then(|()| empty_list(answer)),
    }
}

/// Checks that the answer is complete: HTTP 200, a status of success, and no error.
pub(super) fn complete(http_status: u16, answer: &LookupEnvelope) -> Result<(), NoEvidence> {
    match (http_status, answer.status()) {
        (404, _) => Err(NoEvidence::GatewayNotFound),
        (200, AnswerStatus::Partial) => Err(NoEvidence::PartialSuccess),
        (200, AnswerStatus::Failed) => Err(NoEvidence::StatusFailed),
        (200, _) if answer.errors().count > 0 => Err(NoEvidence::Errors),
        (200, AnswerStatus::Success) => Ok(()),
        (200, AnswerStatus::Unknown) => Err(NoEvidence::StatusUnknown),
        _ => Err(NoEvidence::HttpStatus),
    }
}

fn not_found(http_status: u16, answer: &LookupEnvelope, code: String) -> Result<AbsenceProof, NoEvidence> {
    if !matches!(http_status, 200 | 400 | 404) {
        return Err(NoEvidence::HttpStatus);
    }
    if answer.status() == AnswerStatus::Partial {
        return Err(NoEvidence::PartialSuccess);
    }
    match &answer.payload {
        None | Some(JsonPart::Null) => {}
        Some(JsonPart::Object(object)) if object.is_empty() => {}
        Some(_) => return Err(NoEvidence::NotFoundNotAlone),
    }
    no_order_counted(answer)?;
    Ok(AbsenceProof::OrderServiceNotFound { code })
}

fn empty_list(answer: &LookupEnvelope) -> Result<AbsenceProof, NoEvidence> {
    match &answer.payload {
        None => Err(NoEvidence::PayloadMissing),
        Some(JsonPart::Null) => Err(NoEvidence::PayloadNull),
        Some(JsonPart::Scalar(_)) => Err(NoEvidence::PayloadNotList),
        Some(JsonPart::List(rows)) if rows.is_empty() => {
            no_order_counted(answer)?;
            Ok(AbsenceProof::EmptyList)
        }
        Some(JsonPart::List(rows)) if rows.iter().all(Option::is_none) => Err(NoEvidence::RowsNotOrders),
        Some(JsonPart::Object(_) | JsonPart::List(_)) => Err(if answer.orders().any(|order| order.has_number()) {
            NoEvidence::NumberOther
        } else {
            NoEvidence::NumberMissing
        }),
    }
}

fn no_order_counted(answer: &LookupEnvelope) -> Result<(), NoEvidence> {
    let totals = answer.totals();
    if !totals.are_readable() {
        Err(NoEvidence::TotalsUnreadable)
    } else if !totals.end_at(0) {
        Err(NoEvidence::TotalsContradict)
    } else {
        Ok(())
    }
}
