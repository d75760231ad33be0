//! The tables of one row: the key of access tokens, and the record of the clocks.

use std::time::Duration;

use tokio_postgres::types::Type;

use super::PostgresStore;
use super::trouble::PgError;
use crate::domain::clock_check::ClockRecord;
use crate::domain::moment::{BootId, Moment, SteadyTime};
use crate::domain::timestamp::Timestamp;
use crate::ports::clock_record::ClockRecords;
use crate::ports::store_error::StoreError;
use crate::ports::token_keys::{TokenKeyBytes, TokenKeys};

impl TokenKeys for PostgresStore {
    async fn token_key(&self, fresh: TokenKeyBytes) -> Result<TokenKeyBytes, StoreError> {
        let keep = move |tx: super::tx::Tx| async move {
            let insert = "INSERT INTO token_key (key) VALUES ($1) ON CONFLICT DO NOTHING";
            tx.execute(insert, &[(&&fresh[..], Type::BYTEA)]).await?;
            // A statement of its own: it sees the key of another replica for which the insert waited.
            let rows = tx.query("SELECT key FROM token_key", &[]).await?;
            let key = rows.first().and_then(|row| row.try_get::<_, &[u8]>(0).ok()).and_then(|key| key.try_into().ok());
            key.ok_or_else(|| PgError::Damaged("the key of access tokens".into()))
        };
        self.changes().transaction(keep).await
    }
}

impl ClockRecords for PostgresStore {
    async fn clock_record(&self) -> Result<Option<ClockRecord>, StoreError> {
        self.told(self.read_clock_record().await)
    }

    async fn keep_clock_record(&self, record: ClockRecord) -> Result<(), StoreError> {
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let ClockRecord { moment, boot, pause_left } = record;
        let times =
            [moment.wall.0, moment.steady.0, u64::try_from(pause_left.as_millis()).unwrap_or(u64::MAX)].map(signed);
        let keep = move |tx: super::tx::Tx| async move {
            let sql = "INSERT INTO clock_record (boot, wall, steady, pause_left) VALUES ($1, $2, $3, $4) \
                       ON CONFLICT (one) DO UPDATE SET boot = excluded.boot, wall = excluded.wall, \
                       steady = excluded.steady, pause_left = excluded.pause_left";
            let [wall, steady, pause_left] = times;
            let params = [
                (&&boot.0[..] as _, Type::BYTEA),
                (&wall as _, Type::INT8),
                (&steady as _, Type::INT8),
                (&pause_left as _, Type::INT8),
            ];
            tx.execute(sql, &params).await.map(drop)
        };
        self.changes().transaction(keep).await
    }
}

impl PostgresStore {
    async fn read_clock_record(&self) -> Result<Option<ClockRecord>, PgError> {
        let rows = self.reads().query("SELECT boot, wall, steady, pause_left FROM clock_record", &[]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let damaged = || PgError::Damaged("the record of the clocks".into());
        let number =
            |at| row.try_get::<_, i64>(at).ok().and_then(|number| u64::try_from(number).ok()).ok_or_else(damaged);
        let boot = row.try_get::<_, &[u8]>(0)?.try_into().map_err(|_| damaged())?;
        let moment = Moment { wall: Timestamp(number(1)?), steady: SteadyTime(number(2)?) };
        Ok(Some(ClockRecord { moment, boot: BootId(boot), pause_left: Duration::from_millis(number(3)?) }))
    }
}
