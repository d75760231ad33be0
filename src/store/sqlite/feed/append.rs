//! Stores deliveries in the log or in quarantine, and recognises duplicates.

use super::super::tx::WriteTx;
use super::enter::{EnterOutcome, enter};
use super::quarantine::{self, QuarantineReason};
use crate::domain::feed::notification::{DeliveryContent, WebhookDelivery};
use crate::ports::event_log::AppendOutcome;

pub(super) fn append(tx: &mut WriteTx<'_>, arrival: &WebhookDelivery) -> rusqlite::Result<AppendOutcome> {
    let account = tx.account(&arrival.account)?;
    match &arrival.content {
        DeliveryContent::Event { .. } => match enter(tx, account, arrival)? {
            EnterOutcome::New(seq) => {
                quarantine::release(tx, account, &arrival.body_hash)?;
                tx.rows += 1;
                Ok(AppendOutcome::Stored { seq: Some(seq) })
            }
            EnterOutcome::Known => Ok(AppendOutcome::Duplicate),
            EnterOutcome::Conflict(identity) => {
                let is_new = quarantine::keep(tx, account, arrival, &QuarantineReason::Conflict(identity))?;
                Ok(if is_new { AppendOutcome::Conflict } else { AppendOutcome::Duplicate })
            }
        },
        DeliveryContent::Unreadable { reason } => {
            let is_new = quarantine::keep(tx, account, arrival, &QuarantineReason::Unreadable(reason))?;
            Ok(if is_new { AppendOutcome::Stored { seq: None } } else { AppendOutcome::Duplicate })
        }
    }
}
