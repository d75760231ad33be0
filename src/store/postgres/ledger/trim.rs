//! Drops old final entries.

use tokio_postgres::types::Type;

use super::reads::size;
use super::rows::integer;
use crate::domain::timestamp::Timestamp;
use crate::store::postgres::requests::Requests;
use crate::store::postgres::trouble::PgError;
use crate::store::postgres::tx::Tx;

/// Requests read at once.
const PAGE: usize = 500;

/// The ids of the first entries of requests that may be dropped as a whole: of `part` entries together, or of one larger
/// request within `most`. Requests are read in the order of their ids, which is nearly that of their calls; the first that
/// is too recent ends the search. A final entry never changes, so that they are ripe until they are dropped.
pub(super) async fn ripe(reads: &Requests, before: Timestamp, part: usize, most: usize) -> Result<Vec<i64>, PgError> {
    let (mut found, mut entries, mut after) = (Vec::new(), 0, 0_i64);
    loop {
        let params = [(&integer(before.0) as _, Type::INT8), (&after as _, Type::INT8), (&size(PAGE) as _, Type::INT8)];
        let rows = reads.query(REQUESTS, &params).await?;
        for row in &rows {
            let (id, batches, is_old, is_ripe): (i64, i32, bool, bool) =
                (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
            after = id;
            if !is_old {
                return Ok(found);
            }
            if !is_ripe {
                continue;
            }
            let batches = usize::try_from(batches).unwrap_or(usize::MAX);
            let room = if found.is_empty() { most } else { part.saturating_sub(entries) };
            if batches > room {
                return Ok(found);
            }
            found.push(id);
            entries += batches;
        }
        if rows.len() < PAGE {
            return Ok(found);
        }
    }
}

/// Drops the entries of these requests and returns their number.
pub(super) async fn drop_requests(tx: Tx, firsts: Vec<i64>) -> Result<usize, PgError> {
    let rows = tx.query(DROP, &[(&firsts, Type::INT8_ARRAY), (&tx.life(), Type::INT8)]).await?;
    let dropped: i64 = rows.first().map(|row| row.try_get(0)).transpose()?.unwrap_or_default();
    Ok(usize::try_from(dropped).unwrap_or_default())
}

const REQUESTS: &str = "SELECT e.id, e.batches, e.created < $1, e.state >= 4 AND e.updated < $1 AND (e.batches = 1 OR NOT EXISTS \
     (SELECT 1 FROM entries o WHERE o.first = e.id AND o.batches > 1 AND (o.state < 4 OR o.updated >= $1))) \
     FROM entries e WHERE e.id > $2 AND e.first = e.id ORDER BY e.id LIMIT $3";

/// One statement, so that an order number is at each moment either in `entries` or in `tombstones`.
const DROP: &str = "WITH gone AS (DELETE FROM entries e \
     WHERE e.id = ANY($1) OR (e.first = ANY($1) AND e.batches > 1) \
     RETURNING e.id, e.account, e.state, e.number_key, e.order_number, e.fingerprint, e.answer), \
     kept AS (INSERT INTO tombstones (account, number_key, order_number, fingerprint, answer) \
     SELECT account, number_key, order_number, fingerprint, answer FROM gone WHERE number_key IS NOT NULL \
     ORDER BY account, number_key ON CONFLICT DO NOTHING), \
     closed AS (DELETE FROM unfinished u USING gone g WHERE u.id = g.id), \
     forgotten AS (DELETE FROM alerts l USING gone g WHERE l.entry = g.id), \
     counted AS (INSERT INTO counts (account, replica, entries) SELECT account, $2::bigint, -count(*) FROM gone \
     WHERE state = 4 GROUP BY account ORDER BY account \
     ON CONFLICT (account, replica) DO UPDATE SET entries = counts.entries + excluded.entries) \
     SELECT count(*) FROM gone";
