//! Converts entries of the ledger to messages of GatewayService.

use std::time::{Duration, SystemTime};

use prost_types::Timestamp as Moment;

use crate::domain::effect::Effect;
use crate::domain::ledger::machine::OperatorVerdict;
use crate::domain::ledger::{AlertKind, Entry, EntryState, EvidenceKind, LookupRecord, MutationKind};
use crate::domain::rules::{FieldFaults, FieldPath};
use crate::domain::timestamp::Timestamp;
use crate::pb;
use crate::ports::ledger::EntryCount;
use crate::service::{ListOperations, OperationDetails, check_page};

/// Converts an entry, without its alerts.
pub(super) fn message(entry: Entry) -> pb::Operation {
    pb::Operation {
        name: entry.id.to_string(),
        account: entry.account.to_string(),
        kind: kind(entry.kind),
        order_number: entry.order_number.to_string(),
        request_id: entry.request_id.as_deref().unwrap_or_default().to_owned(),
        state: state(entry.state).into(),
        effect: match entry.effect {
            Effect::None => pb::Effect::None,
            Effect::Applied => pb::Effect::Applied,
            Effect::Unknown => pb::Effect::Unknown,
        }
        .into(),
        attempts: entry.attempts,
        last_error: entry.last_error,
        create_time: Some(moment(entry.created)),
        update_time: Some(moment(entry.updated)),
        next_lookup_time: entry.next.map(|next| moment(next.wall)),
        correlation_id: entry.correlation_id.to_string(),
        batch: entry.batch,
        batch_count: entry.batches,
        resolution: entry.resolution,
        alerts: Vec::new(),
        last_evidence: entry.evidence.map(evidence),
        snapshot: Vec::new(),
    }
}

/// The proto's numbers are the stored codes plus 1; 0 is "unspecified".
fn kind(kind: MutationKind) -> i32 {
    i32::from(kind.code()) + 1
}

fn evidence(record: LookupRecord) -> pb::LookupEvidence {
    let LookupRecord { time, asked, worth, detail } = record;
    let kind = match worth {
        EvidenceKind::Present => pb::EvidenceKind::Present,
        EvidenceKind::Absent => pb::EvidenceKind::Absent,
        EvidenceKind::Contradicted => pb::EvidenceKind::Contradicted,
        EvidenceKind::Nothing => pb::EvidenceKind::Nothing,
    };
    pb::LookupEvidence { time: Some(moment(time)), asked, kind: kind.into(), detail }
}

/// Converts an entry with its alerts.
pub(super) fn viewed(view: OperationDetails) -> pb::Operation {
    let alerts = view.alerts.into_iter().map(|(kind, time)| pb::OperationAlert {
        kind: match kind {
            AlertKind::LateEffect => pb::OperationAlertKind::LateEffect,
            AlertKind::Duplicate => pb::OperationAlertKind::Duplicate,
        }
        .into(),
        time: Some(moment(time)),
    });
    pb::Operation { alerts: alerts.collect(), snapshot: view.snapshot, ..message(view.entry) }
}

/// Converts the number of entries in a state.
pub(super) fn count(count: &EntryCount) -> pb::StateCount {
    pb::StateCount {
        state: state(count.state).into(),
        count: count.entries,
        oldest_create_time: count.oldest.map(moment),
    }
}

/// Converts and checks a request to list operations.
pub(super) fn listing(request: pb::ListOperationsRequest) -> Result<ListOperations, FieldFaults> {
    let mut faults = FieldFaults::default();
    let pb::ListOperationsRequest { account, states, min_age, page_size, page_token } = request;
    let states = states.into_iter().enumerate().filter_map(|(i, number)| {
        let state = pb::OperationState::try_from(number).ok().and_then(of_message);
        if state.is_none() {
            faults.add(&FieldPath::Top("states").index(i), "must be a state");
        }
        state
    });
    let states = states.collect();
    let min_age = min_age.and_then(|age| {
        let age = Duration::try_from(age);
        if age.is_err() {
            faults.add(&FieldPath::Top("min_age"), "must not be negative");
        }
        age.ok()
    });
    if let Err(more) = check_page(page_size, &page_token) {
        faults.extend(more);
    }
    faults.into_result()?;
    Ok(ListOperations { account, states, min_age, page_size, page_token })
}

/// Converts an operator's verdict; `None` when the request has none.
pub(super) const fn verdict(outcome: pb::ResolveOutcome) -> Option<OperatorVerdict> {
    match outcome {
        pb::ResolveOutcome::Unspecified => None,
        pb::ResolveOutcome::Succeeded => Some(OperatorVerdict::Succeeded),
        pb::ResolveOutcome::Rejected => Some(OperatorVerdict::Rejected),
        pb::ResolveOutcome::Resend => Some(OperatorVerdict::Resend),
    }
}

const fn state(state: EntryState) -> pb::OperationState {
    match state {
        EntryState::Recorded => pb::OperationState::Recorded,
        EntryState::Sending => pb::OperationState::Sending,
        EntryState::Unknown => pb::OperationState::Unknown,
        EntryState::NeedsOperator => pb::OperationState::NeedsOperator,
        EntryState::Succeeded => pb::OperationState::Succeeded,
        EntryState::Rejected => pb::OperationState::Rejected,
        EntryState::NotSent => pb::OperationState::NotSent,
        EntryState::Expired => pb::OperationState::Expired,
    }
}

fn of_message(message: pb::OperationState) -> Option<EntryState> {
    EntryState::ALL.into_iter().find(|known| state(*known) == message)
}

fn moment(time: Timestamp) -> Moment {
    SystemTime::from(time).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_name_in_the_proto() {
        for known in MutationKind::ALL {
            let name = format!("OPERATION_KIND_{}", known.operation().name().to_uppercase());
            assert_eq!(pb::OperationKind::from_str_name(&name).map(i32::from), Some(kind(*known)), "{name}");
        }
    }
}
