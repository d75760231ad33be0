//! The reads of the ledger.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::rows::{self, array, coded, entries, integer};
use crate::domain::account::AccountId;
use crate::domain::ledger::{AlertKind, Entry, EntryState, Fingerprint, MutationKind, OperationId};
use crate::domain::timestamp::Timestamp;
use crate::ports::ledger::{BeginConflict, BeginOutcome, EntryCount, EntryQuery, PlannedAudit};
use crate::store::codes::CodedEnum as _;
use crate::store::keys::{EntryKeys, short};
use crate::store::postgres::accounts::Accounts;
use crate::store::postgres::requests::Requests;
use crate::store::postgres::trouble::PgError;

pub(super) async fn get(reads: &Requests, accounts: &Accounts, id: OperationId) -> Result<Option<Entry>, PgError> {
    let rows = reads.query(entries!("WHERE e.id = $1"), &[(&integer(id.0), Type::INT8)]).await?;
    rows.first().map(|row| rows::entry(row, accounts)).transpose()
}

pub(super) async fn of_request(
    reads: &Requests,
    accounts: &Accounts,
    account: &AccountId,
    kind: MutationKind,
    request_id: &str,
) -> Result<Vec<Entry>, PgError> {
    let sql = entries!("WHERE a.seller = $1 AND e.kind = $2 AND e.request_key = $3 ORDER BY e.id DESC LIMIT 1");
    by_request(reads, accounts, sql, &accounts.key_of(account), kind, &short(request_id)).await
}

async fn by_request(
    reads: &Requests,
    accounts: &Accounts,
    sql: &'static str,
    seller: &String,
    kind: MutationKind,
    key: &[u8],
) -> Result<Vec<Entry>, PgError> {
    let params = [(seller as _, Type::TEXT), (&kind.number() as _, Type::INT2), (&key as _, Type::BYTEA)];
    whole(reads, accounts, &reads.query(sql, &params).await?).await
}

/// All entries of the request of the first of these rows.
async fn whole(reads: &Requests, accounts: &Accounts, rows: &[Row]) -> Result<Vec<Entry>, PgError> {
    let Some(entry) = rows.first().map(|row| rows::entry(row, accounts)).transpose()? else { return Ok(Vec::new()) };
    if entry.batches == 1 {
        return Ok(vec![entry]);
    }
    let sql = entries!("WHERE e.first = (SELECT first FROM entries WHERE id = $1) AND e.batches > 1 ORDER BY e.batch");
    rows::all(&reads.query(sql, &[(&integer(entry.id.0), Type::INT8)]).await?, accounts)
}

pub(super) async fn creation_of(
    reads: &Requests,
    accounts: &Accounts,
    account: &AccountId,
    order_number: &str,
) -> Result<Option<Entry>, PgError> {
    let rows = by_number(reads, accounts, account, &short(order_number)).await?;
    rows.first().map(|row| rows::entry(row, accounts)).transpose()
}

pub(super) async fn changes_of(
    reads: &Requests,
    accounts: &Accounts,
    account: &AccountId,
    kind: MutationKind,
    order_number: &str,
    since: Timestamp,
    limit: usize,
) -> Result<Vec<Entry>, PgError> {
    let sql = entries!(
        "WHERE a.seller = $1 AND e.kind = $2 AND e.order_number = $3 AND e.kind <> 0 AND e.effect <> 0 \
         AND (e.state < 4 OR e.updated >= $4) ORDER BY e.id DESC LIMIT $5"
    );
    let params = [
        (&accounts.key_of(account) as _, Type::TEXT),
        (&kind.number() as _, Type::INT2),
        (&order_number as _, Type::TEXT),
        (&integer(since.0) as _, Type::INT8),
        (&size(limit) as _, Type::INT8),
    ];
    rows::all(&reads.query(sql, &params).await?, accounts)
}

async fn by_number(
    reads: &Requests,
    accounts: &Accounts,
    account: &AccountId,
    key: &[u8],
) -> Result<Vec<Row>, PgError> {
    let sql = entries!("WHERE a.seller = $1 AND e.number_key = $2");
    reads.query(sql, &[(&accounts.key_of(account), Type::TEXT), (&key, Type::BYTEA)]).await
}

/// What stands against a call with these keys, in the order of the port.
pub(super) async fn standing(
    reads: &Requests,
    accounts: &Accounts,
    keys: &EntryKeys,
    join: bool,
) -> Result<Option<BeginOutcome>, PgError> {
    let seller = accounts.key_of(&keys.account);
    let existing =
        |by, entries: Vec<Entry>| Ok((!entries.is_empty()).then_some(BeginOutcome::Existing { by, entries }));
    if let Some(key) = &keys.request {
        let sql = entries!(
            "WHERE a.seller = $1 AND e.kind = $2 AND e.request_key = $3 AND e.freed = 0 ORDER BY e.id LIMIT 1"
        );
        let entries = by_request(reads, accounts, sql, &seller, keys.kind, key).await?;
        if !entries.is_empty() {
            return existing(BeginConflict::RequestId, entries);
        }
    }
    if let Some(key) = &keys.number {
        let rows = by_number(reads, accounts, &keys.account, key).await?;
        if !rows.is_empty() {
            return existing(BeginConflict::OrderNumber, whole(reads, accounts, &rows).await?);
        }
        let sql = "SELECT t.fingerprint, t.answer FROM tombstones t JOIN accounts a ON a.id = t.account \
                   WHERE a.seller = $1 AND t.number_key = $2";
        let key: &[u8] = key;
        let rows = reads.query(sql, &[(&seller, Type::TEXT), (&key, Type::BYTEA)]).await?;
        if let Some(row) = rows.first() {
            let fingerprint = Fingerprint(array(row, 0)?);
            return Ok(Some(BeginOutcome::Trimmed { fingerprint, answer: row.try_get(1)? }));
        }
    }
    if let Some(key) = keys.content.as_ref().filter(|_| join) {
        let sql = entries!("WHERE a.seller = $1 AND e.content_key = $2 ORDER BY e.id LIMIT 1");
        let key: &[u8] = key;
        let rows = reads.query(sql, &[(&seller, Type::TEXT), (&key, Type::BYTEA)]).await?;
        return existing(BeginConflict::Content, whole(reads, accounts, &rows).await?);
    }
    Ok(None)
}

pub(super) async fn orphans(
    reads: &Requests,
    accounts: &Accounts,
    after: OperationId,
    limit: usize,
) -> Result<Vec<Entry>, PgError> {
    let sql = entries!(
        "JOIN unfinished u ON u.id = e.id WHERE u.owner IN (SELECT id FROM replicas WHERE ended) AND u.state < 4 \
         AND u.id > $1 ORDER BY u.id LIMIT $2"
    );
    let params = [(&integer(after.0) as _, Type::INT8), (&size(limit) as _, Type::INT8)];
    rows::all(&reads.query(sql, &params).await?, accounts)
}

pub(super) async fn in_hand(
    reads: &Requests,
    accounts: &Accounts,
    life: i64,
    after: OperationId,
    limit: usize,
) -> Result<Vec<Entry>, PgError> {
    let sql = entries!(
        "JOIN unfinished u ON u.id = e.id WHERE u.owner = $1 AND u.state < 4 AND u.id > $2 ORDER BY u.id LIMIT $3"
    );
    let params = [(&life as _, Type::INT8), (&integer(after.0) as _, Type::INT8), (&size(limit) as _, Type::INT8)];
    rows::all(&reads.query(sql, &params).await?, accounts)
}

pub(super) async fn due(
    reads: &Requests,
    accounts: &Accounts,
    of: &[AccountId],
    now: Timestamp,
    limit: usize,
) -> Result<Vec<Entry>, PgError> {
    let sql = entries!(
        "JOIN unfinished u ON u.id = e.id WHERE u.account IN (SELECT id FROM accounts WHERE seller = ANY($1)) \
         AND u.owner IS NULL AND u.state < 4 AND u.next <= $2 ORDER BY u.next, u.id LIMIT $3"
    );
    let sellers: Vec<String> = of.iter().map(|account| accounts.key_of(account)).collect();
    let params =
        [(&sellers as _, Type::TEXT_ARRAY), (&integer(now.0) as _, Type::INT8), (&size(limit) as _, Type::INT8)];
    rows::all(&reads.query(sql, &params).await?, accounts)
}

pub(super) async fn which_ended(reads: &Requests, ids: &[OperationId]) -> Result<Vec<OperationId>, PgError> {
    let asked: Vec<i64> = ids.iter().map(|id| integer(id.0)).collect();
    let sql = "SELECT id FROM unfinished WHERE id = ANY($1) AND state < 4";
    let rows = reads.query(sql, &[(&asked, Type::INT8_ARRAY)]).await?;
    let open = rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<i64>, _>>()?;
    Ok(ids.iter().zip(asked).filter(|(_, asked)| !open.contains(asked)).map(|(id, _)| *id).collect())
}

pub(super) async fn list(reads: &Requests, accounts: &Accounts, query: &EntryQuery) -> Result<Vec<Entry>, PgError> {
    let states = if query.states.is_empty() { &EntryState::ALL[..] } else { &query.states };
    // All but the succeeded are in a small table, by account and state.
    let sql = if states.contains(&EntryState::Succeeded) {
        entries!(
            "WHERE ($1::text[] IS NULL OR a.seller = ANY($1)) AND e.state = ANY($2) AND e.created < $3 AND e.id > $4 \
             ORDER BY e.id LIMIT $5"
        )
    } else {
        entries!(
            "JOIN unfinished u ON u.id = e.id WHERE ($1::text[] IS NULL OR a.seller = ANY($1)) AND u.state = ANY($2) \
             AND u.created < $3 AND u.id > $4 ORDER BY u.id LIMIT $5"
        )
    };
    let sellers: Option<Vec<String>> =
        query.accounts.as_ref().map(|of| of.iter().map(|account| accounts.key_of(account)).collect());
    let states: Vec<i16> = states.iter().map(|state| state.number()).collect();
    let before = query.created_before.map_or(i64::MAX, |before| integer(before.0));
    let params = [
        (&sellers as _, Type::TEXT_ARRAY),
        (&states as _, Type::INT2_ARRAY),
        (&before as _, Type::INT8),
        (&integer(query.after.0) as _, Type::INT8),
        (&size(query.limit) as _, Type::INT8),
    ];
    rows::all(&reads.query(sql, &params).await?, accounts)
}

pub(super) async fn counts(reads: &Requests, accounts: &Accounts) -> Result<Vec<EntryCount>, PgError> {
    let sql = "SELECT a.seller, c.state, c.entries, c.oldest FROM (\
               SELECT account, state, count(*) AS entries, CASE WHEN state < 4 THEN min(created) END AS oldest \
               FROM unfinished GROUP BY account, state UNION ALL \
               SELECT account, 4::smallint, sum(entries)::bigint, NULL FROM counts GROUP BY account HAVING sum(entries) > 0\
               ) AS c JOIN accounts a ON a.id = c.account ORDER BY a.seller, c.state";
    let rows = reads.query(sql, &[]).await?;
    let count = |row: &Row| {
        Ok(EntryCount {
            account: accounts.name_of(row.try_get(0)?)?,
            state: coded(row, 1)?,
            entries: rows::number(row, 2)?,
            oldest: rows::maybe_time(row, 3)?,
        })
    };
    rows.iter().map(count).collect()
}

pub(super) async fn due_audits(reads: &Requests, now: Timestamp, limit: usize) -> Result<Vec<PlannedAudit>, PgError> {
    let sql = "SELECT entry, time FROM audits WHERE time <= $1 ORDER BY time, entry LIMIT $2";
    let rows = reads.query(sql, &[(&integer(now.0), Type::INT8), (&size(limit), Type::INT8)]).await?;
    let audit =
        |row: &Row| Ok(PlannedAudit { operation: OperationId(rows::number(row, 0)?), time: rows::time(row, 1)? });
    rows.iter().map(audit).collect()
}

pub(super) async fn alerts(reads: &Requests, operation: OperationId) -> Result<Vec<(AlertKind, Timestamp)>, PgError> {
    let sql = "SELECT kind, time FROM alerts WHERE entry = $1 ORDER BY time, kind";
    let rows = reads.query(sql, &[(&integer(operation.0), Type::INT8)]).await?;
    rows.iter().map(|row| Ok((coded(row, 0)?, rows::time(row, 1)?))).collect()
}

/// A number of rows, as Postgres has numbers.
pub(super) fn size(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}
