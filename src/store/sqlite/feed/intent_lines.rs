//! The lines of purchase orders of which there was an intent, from a webhook or found in an order.
//!
//! The intake does not write them, which would cost every delivery a row for each line: they are noted behind it, from
//! the events of the log, before they are asked for and before events are trimmed.

use rusqlite::params;

use super::super::tx::WriteTx;
use super::enter::{EnterOutcome, enter};
use crate::domain::feed::{FoundIntent, lines_of_intent};
use crate::store::keys;

/// Deliveries looked at by one statement.
const AT_ONCE: i64 = 1000;

/// Stores a found intent about the lines that are new, and returns its position.
pub(super) fn append(tx: &mut WriteTx<'_>, found: FoundIntent) -> rusqlite::Result<Option<u64>> {
    note_all(tx)?;
    let account = tx.account(&found.account)?;
    let purchase_order = found.intent.purchase_order_id.trim().to_owned();
    let mut known = tx.sql("SELECT 1 FROM intent_lines WHERE account = ?1 AND key = ?2")?;
    let mut failed = None;
    let is_new = |line: &str| match known.exists(params![account, keys::intent_line(&purchase_order, line)]) {
        Ok(exists) => !exists,
        Err(error) => {
            failed = Some(error);
            false
        }
    };
    let event = found.event(is_new);
    if let Some(error) = failed {
        return Err(error);
    }
    let Some(event) = event else { return Ok(None) };
    // Under a known id nothing new is told, whatever the body says by now.
    let EnterOutcome::New(seq) = enter(tx, account, &event)? else { return Ok(None) };
    tx.rows += 1;
    note_all(tx)?;
    Ok(Some(seq))
}

/// Notes the lines of all stored intents.
fn note_all(tx: &mut WriteTx<'_>) -> rusqlite::Result<()> {
    while note(tx, AT_ONCE)? {}
    Ok(())
}

/// Notes the lines of the intents among the next `limit` deliveries. Returns whether more deliveries follow.
pub(super) fn note(tx: &mut WriteTx<'_>, limit: i64) -> rusqlite::Result<bool> {
    let mut noted = tx.sql("SELECT value FROM numbers WHERE name = 'intent_lines_noted'")?;
    let from: i64 = noted.query_row([], |row| row.get(0))?;
    let last = tx.feed().next_delivery - 1;
    if from >= last {
        return Ok(false);
    }
    let to = last.min(from.saturating_add(limit));
    let mut events = tx.sql(
        "SELECT d.account, d.received, e.message FROM deliveries d CROSS JOIN events e ON e.seq = d.seq \
         WHERE d.id > ?1 AND d.id <= ?2 AND d.seq IS NOT NULL ORDER BY d.id",
    )?;
    let mut events = events.query([from, to])?;
    // A line stays with its first intent, and is kept as long as the id of that one.
    let mut insert = tx.sql("INSERT OR IGNORE INTO intent_lines (account, received, key) VALUES (?1, ?2, ?3)")?;
    while let Some(event) = events.next()? {
        let (account, received): (i64, i64) = (event.get(0)?, event.get(1)?);
        let (purchase_order, lines) = lines_of_intent(event.get_ref(2)?.as_blob()?);
        for line in lines.iter().filter(|_| !purchase_order.is_empty()) {
            insert.execute(params![account, received, keys::intent_line(&purchase_order, line)])?;
        }
    }
    tx.sql("UPDATE numbers SET value = ?1 WHERE name = 'intent_lines_noted'")?.execute([to])?;
    Ok(to < last)
}
