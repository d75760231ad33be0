//! Quarantined bodies: unreadable bodies, and conflicts.

use rusqlite::{Connection, Row, params};

use super::super::rows::{self, integer, number_of};
use super::super::tx::WriteTx;
use super::enter::{EnterOutcome, enter};
use super::known::{self, NewDelivery};
use super::reads::limit;
use crate::domain::account::AccountId;
use crate::domain::feed::notification::{CONFLICT, DeliveryContent, EventIdentity, WebhookDelivery};
use crate::planted_bug::{PlantedBug, is_planted};
use crate::ports::event_log::{QuarantinedDelivery, RereadOutcome};
use crate::store::keys;

/// The reason of the quarantine.
pub(super) enum QuarantineReason<'a> {
    /// The body cannot be read, for this reason.
    Unreadable(&'a str),
    /// The event of this identity was stored before with a different body.
    Conflict(EventIdentity),
}

impl QuarantineReason<'_> {
    fn reason(&self) -> &str {
        match self {
            Self::Unreadable(reason) => reason,
            Self::Conflict(_) => CONFLICT,
        }
    }

    fn identity(&self) -> Option<&EventIdentity> {
        match self {
            Self::Unreadable(_) => None,
            Self::Conflict(identity) => Some(identity),
        }
    }
}

/// Quarantines a body, once. Returns whether the body is new.
pub(super) fn keep(
    tx: &mut WriteTx<'_>,
    account: i64,
    arrival: &WebhookDelivery,
    cause: &QuarantineReason<'_>,
) -> rusqlite::Result<bool> {
    let received = integer(arrival.received.0);
    let (key, body) = (keys::body(&arrival.body_hash), keys::half(&arrival.body_hash));
    if !is_planted(PlantedBug::DuplicateCheckedBeforeInsert) && known::body_of(tx, account, &key)?.is_some() {
        return Ok(false);
    }
    let new = NewDelivery { account, received: arrival.received, place: None, key: &key, body };
    let id = known::note(tx, &new)?;
    let mut insert = tx.sql(
        "INSERT INTO quarantine (id, received, account, reason, body_hash, body) VALUES (?1, ?2, ?3, '', ?4, ?5)",
    )?;
    insert.execute(params![id, received, account, arrival.body_hash, &arrival.raw[..]])?;
    note(tx, id, cause)?;
    tx.feed().has_quarantine = true;
    tx.rows += 1;
    Ok(true)
}

/// Stores the reason of the quarantine.
fn note(tx: &WriteTx<'_>, id: i64, cause: &QuarantineReason<'_>) -> rusqlite::Result<()> {
    let none = EventIdentity::default();
    let (conflict, identity) = (cause.identity().is_some(), cause.identity().unwrap_or(&none));
    let mut update = tx.sql(
        "UPDATE quarantine SET reason = ?2, conflict = ?3, event_id = ?4, event_type = ?5, sub_event_type = ?6 WHERE id = ?1",
    )?;
    let EventIdentity { event_id, event_type, sub_event_type } = identity;
    update.execute(params![id, cause.reason(), conflict, event_id, event_type, sub_event_type])?;
    Ok(())
}

/// Releases a body that was unreadable at its first arrival and is an event now.
pub(super) fn release(tx: &mut WriteTx<'_>, account: i64, body_hash: &[u8; 32]) -> rusqlite::Result<()> {
    if !tx.feed().has_quarantine {
        return Ok(());
    }
    let gone = tx
        .sql("DELETE FROM quarantine WHERE account = ?1 AND body_hash = ?2 AND NOT conflict")?
        .execute(params![account, body_hash])?;
    tx.rows += gone as u64;
    Ok(())
}

/// Stores the result of reading a body again.
pub(super) fn reread(tx: &mut WriteTx<'_>, id: u64, arrival: &WebhookDelivery) -> rusqlite::Result<RereadOutcome> {
    let (account, id) = (tx.account(&arrival.account)?, integer(id));
    let mut known = tx.sql("SELECT 1 FROM quarantine WHERE id = ?1 AND account = ?2")?;
    if !known.exists([id, account])? {
        return Ok(RereadOutcome::Missing);
    }
    let reread = match &arrival.content {
        DeliveryContent::Unreadable { reason } => {
            note(tx, id, &QuarantineReason::Unreadable(reason))?;
            RereadOutcome::Unreadable
        }
        DeliveryContent::Event { .. } => match enter(tx, account, arrival)? {
            EnterOutcome::New(seq) => RereadOutcome::Moved { seq },
            EnterOutcome::Known => RereadOutcome::Duplicate,
            EnterOutcome::Conflict(identity) => {
                note(tx, id, &QuarantineReason::Conflict(identity))?;
                RereadOutcome::Conflict
            }
        },
    };
    if matches!(reread, RereadOutcome::Moved { .. } | RereadOutcome::Duplicate) {
        tx.sql("DELETE FROM quarantine WHERE id = ?1")?.execute([id])?;
    }
    tx.rows += 1;
    Ok(reread)
}

/// Reads the quarantine of these accounts after a number.
pub(super) fn list(
    db: &Connection,
    accounts: &[AccountId],
    after: u64,
    most: usize,
    raw: bool,
) -> rusqlite::Result<Vec<QuarantinedDelivery>> {
    let mut found = Vec::new();
    let mut of_account = db.prepare_cached(
        "SELECT id, received, reason, body_hash, length(body), CASE WHEN ?4 THEN body END, \
         conflict, event_id, event_type, sub_event_type FROM quarantine \
         WHERE account = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
    )?;
    for account in accounts {
        let Some(number) = number_of(db, account)? else { continue };
        let conflict = |row: &Row<'_>| {
            let identity =
                EventIdentity { event_id: row.get(7)?, event_type: row.get(8)?, sub_event_type: row.get(9)? };
            Ok::<_, rusqlite::Error>(row.get::<_, bool>(6)?.then_some(identity))
        };
        let theirs = of_account.query_map(params![number, integer(after), limit(most), raw], |row| {
            Ok(QuarantinedDelivery {
                id: rows::number(row, 0)?,
                account: account.clone(),
                received: rows::time(row, 1)?,
                reason: row.get(2)?,
                conflict: conflict(row)?,
                body_hash: row.get(3)?,
                size: row.get(4)?,
                raw: row.get::<_, Option<Vec<u8>>>(5)?.unwrap_or_default().into(),
            })
        })?;
        for one in theirs {
            found.push(one?);
        }
    }
    found.sort_by_key(|one| one.id);
    // The caller may have named an account twice.
    found.dedup_by_key(|one| one.id);
    found.truncate(most);
    Ok(found)
}
