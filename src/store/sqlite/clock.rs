//! The table of the clock record.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::SqliteLedger;
use super::rows::{integer, number};
use super::tx::WriteTx;
use crate::domain::clock_check::ClockRecord;
use crate::domain::moment::{BootId, Moment, SteadyTime};
use crate::domain::timestamp::Timestamp;
use crate::ports::clock_record::ClockRecords;
use crate::ports::store_error::StoreError;

impl ClockRecords for SqliteLedger {
    async fn clock_record(&self) -> Result<Option<ClockRecord>, StoreError> {
        self.read(read).await
    }

    async fn keep_clock_record(&self, record: ClockRecord) -> Result<(), StoreError> {
        self.write(move |tx| keep(tx, record)).await
    }
}

fn read(db: &Connection) -> rusqlite::Result<Option<ClockRecord>> {
    let mut kept = db.prepare_cached("SELECT boot, wall, steady, pause_left FROM clock_record")?;
    let record = kept.query_row([], |row| {
        Ok(ClockRecord {
            boot: BootId(row.get(0)?),
            moment: Moment { wall: Timestamp(number(row, 1)?), steady: SteadyTime(number(row, 2)?) },
            pause_left: std::time::Duration::from_millis(number(row, 3)?),
        })
    });
    record.optional()
}

fn keep(tx: &mut WriteTx<'_>, record: ClockRecord) -> rusqlite::Result<()> {
    let ClockRecord { moment, boot, pause_left } = record;
    let pause_left = i64::try_from(pause_left.as_millis()).unwrap_or(i64::MAX);
    tx.sql("DELETE FROM clock_record")?.execute([])?;
    tx.sql("INSERT INTO clock_record (boot, wall, steady, pause_left) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![&boot.0[..], integer(moment.wall.0), integer(moment.steady.0), pause_left])
        .map(drop)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::sqlite::tests::Place;
    use crate::testing::store::moment;

    #[tokio::test]
    async fn the_last_record_is_kept() {
        let place = Place::new();
        let store = place.open();
        assert_eq!(store.clock_record().await.unwrap(), None);
        let record = |seconds| ClockRecord {
            moment: moment(seconds),
            boot: BootId([7; 16]),
            pause_left: Duration::from_millis(seconds),
        };
        for seconds in [1, 2] {
            store.keep_clock_record(record(seconds)).await.unwrap();
            assert_eq!(store.clock_record().await.unwrap(), Some(record(seconds)));
        }
        store.close().await;
        let store = place.open();
        assert_eq!(store.clock_record().await.unwrap(), Some(record(2)));
        store.close().await;
    }
}
