//! Rows of the subscriptions' tables and what they mean. The numbers below are in every database: they never change.

use rusqlite::Row as Found;
use rusqlite::types::Type;

use super::super::rows::{Coded, Numbered, number, time};
use crate::domain::feed::subscription::{Cause, Config, Head, Row, Said, State};
use crate::domain::timestamp::Timestamp;

/// Begins every query for heads.
pub(super) const HEADS: &str =
    "SELECT id, name, config, version, generation, floor, scanned, created, updated FROM subscriptions";

/// Begins every query for rows.
pub(super) const ROWS: &str = "SELECT seq, key, size, received, attempt, failures, redriven, state, cause, time, words, said \
     FROM subscription_rows";

impl Numbered for Cause {
    const ALL: &'static [Self] = &[Self::First, Self::LeaseExpired, Self::Retry, Self::Reclaimed, Self::Redriven];
}

impl Numbered for Said {
    const ALL: &'static [Self] = &[Self::Retry, Self::Park, Self::Release];
}

/// Reads the columns of [`HEADS`].
pub(super) fn head(row: &Found<'_>) -> rusqlite::Result<Head> {
    let invalid = |error| rusqlite::Error::FromSqlConversionFailure(2, Type::Blob, Box::new(error));
    Ok(Head {
        id: number(row, 0)?,
        name: row.get(1)?,
        config: Config::decode(row.get_ref(2)?.as_blob()?).map_err(invalid)?,
        version: number(row, 3)?,
        generation: number(row, 4)?,
        floor: number(row, 5)?,
        scanned: number(row, 6)?,
        created: time(row, 7)?,
        updated: time(row, 8)?,
    })
}

/// Reads the columns of [`ROWS`].
pub(super) fn row(row: &Found<'_>) -> rusqlite::Result<Row> {
    let cause = || row.get::<_, Coded<Cause>>(8).map(|cause| cause.0);
    let until = || time(row, 9);
    let words = || row.get::<_, String>(10);
    let state = match row.get(7)? {
        0 => State::Pending { cause: cause()? },
        1 => State::Leased { cause: cause()?, until: until()?, consumer: words()?.into() },
        2 => State::Waiting { until: until()? },
        ACKED => State::Acked,
        4 => State::Parked { since: until()?, reason: words()? },
        other => return Err(rusqlite::Error::IntegralValueOutOfRange(7, other)),
    };
    Ok(Row {
        seq: number(row, 0)?,
        key: row.get::<_, String>(1)?.into(),
        size: row.get(2)?,
        received: time(row, 3)?,
        attempt: row.get(4)?,
        failures: row.get(5)?,
        redriven: row.get(6)?,
        said: row.get::<_, Option<Coded<Said>>>(11)?.map(|said| said.0),
        state,
    })
}

/// The number of [`State::Acked`].
pub(super) const ACKED: i64 = 3;

/// The columns of a state: its number, cause, time and words.
pub(super) fn of_state(state: &State) -> (i64, Option<Coded<Cause>>, Option<Timestamp>, Option<&str>) {
    match state {
        State::Pending { cause } => (0, Some(Coded(*cause)), None, None),
        State::Leased { cause, until, consumer } => (1, Some(Coded(*cause)), Some(*until), Some(consumer)),
        State::Waiting { until } => (2, None, Some(*until), None),
        State::Acked => (ACKED, None, None, None),
        State::Parked { since, reason } => (4, None, Some(*since), Some(reason)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_what_they_always_were() {
        let (cause, until) = (Cause::First, Timestamp(1));
        let states = [
            State::Pending { cause },
            State::Leased { cause, until, consumer: "c".into() },
            State::Waiting { until },
            State::Acked,
            State::Parked { since: until, reason: String::new() },
        ];
        for (number, state) in (0..).zip(&states) {
            assert_eq!(of_state(state).0, number, "{state:?}");
        }
        let causes = [Cause::First, Cause::LeaseExpired, Cause::Retry, Cause::Reclaimed, Cause::Redriven];
        assert_eq!(<Cause as Numbered>::ALL, causes);
        assert_eq!(<Said as Numbered>::ALL, [Said::Retry, Said::Park, Said::Release]);
    }
}
