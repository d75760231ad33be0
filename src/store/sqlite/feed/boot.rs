//! The boot from which the steady times of leases and pauses count.

use std::time::Duration;

use rusqlite::{OptionalExtension as _, params};

use super::super::rows::integer;
use super::super::tx::WriteTx;
use super::rows::{self, HEADS, LEASED, WAITING};
use crate::domain::feed::subscription::SubscriptionHead;
use crate::domain::moment::Moment;

/// Longest pause of a consumer or subscription.
const LONGEST_PAUSE: Duration = Duration::from_hours(24);

/// Replaces steady times of an earlier boot, once for every process.
///
/// The steady clock restarts with every boot; a time of an earlier boot does not show how much time has passed since.
/// Leases get their whole duration again, because the consumer may still work on the event. Pauses before a retry end
/// by the wall clock, because an early retry is harmless. The steady clock begins anew with each boot, so a time of
/// another boot does not tell how much has passed since. Leases get their whole time again, because the consumer that
/// holds one may still work on the event. Pauses before a retry end by the wall clock, because a retry that comes too
/// early does no harm.
pub(super) fn adopt(tx: &mut WriteTx<'_>) -> rusqlite::Result<()> {
    if tx.feed().is_of_this_boot {
        return Ok(());
    }
    let boot = tx.clock().boot_id().0;
    let stored = tx.sql("SELECT boot FROM lease_boot")?.query_row([], |row| row.get::<_, Vec<u8>>(0)).optional()?;
    if stored.as_deref() != Some(&boot[..]) {
        let now = tx.clock().moment();
        let mut heads = tx.sql(HEADS)?;
        let heads: Vec<SubscriptionHead> = heads.query_map([], rows::head)?.collect::<rusqlite::Result<_>>()?;
        for head in heads {
            begin_again(tx, &head, now)?;
        }
        tx.sql("DELETE FROM lease_boot")?.execute([])?;
        tx.sql("INSERT INTO lease_boot (boot) VALUES (?1)")?.execute(params![&boot[..]])?;
    }
    tx.feed().is_of_this_boot = true;
    Ok(())
}

fn begin_again(tx: &mut WriteTx<'_>, head: &SubscriptionHead, now: Moment) -> rusqlite::Result<()> {
    let (id, until) = (integer(head.id), now.plus(head.config.lease_duration));
    let mut leased = tx.sql(
        "UPDATE subscription_rows SET steady = ?3, time = ?4, since = ?5 WHERE subscription = ?1 AND state = ?2",
    )?;
    let leased =
        leased.execute(params![id, LEASED, integer(until.steady.0), integer(until.wall.0), integer(now.steady.0)])?;
    let longest = LONGEST_PAUSE.max(head.config.backoff_max).as_millis();
    let mut waiting = tx.sql(
        "UPDATE subscription_rows SET steady = ?3 + min(max(time - ?4, 0), ?5) WHERE subscription = ?1 AND state = ?2",
    )?;
    let longest = i64::try_from(longest).unwrap_or(i64::MAX);
    let waiting = waiting.execute(params![id, WAITING, integer(now.steady.0), integer(now.wall.0), longest])?;
    tx.rows += (leased + waiting) as u64;
    Ok(())
}
