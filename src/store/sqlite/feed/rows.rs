//! The rows of the subscription tables. The numbers below are in every database and must never change.

use rusqlite::Row as Found;
use rusqlite::types::Type;

use super::super::rows::{Coded, Numbered, number, time};
use crate::domain::feed::AccountScope;
use crate::domain::feed::subscription::{Cause, Config, Head, Row, Said, State};
use crate::domain::moment::{Moment, SteadyTime};
use crate::domain::timestamp::Timestamp;

/// The beginning of every query for heads.
pub(super) const HEADS: &str =
    "SELECT id, name, config, version, generation, floor, scanned, created, updated, scope FROM subscriptions";

/// The beginning of every query for rows.
pub(super) const ROWS: &str = "SELECT seq, key, size, received, attempt, failures, redriven, state, cause, time, words, said, steady, since \
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
        scope: row.get::<_, Option<String>>(9)?.map(|scope| AccountScope::from_text(&scope)),
    })
}

/// Reads the columns of [`ROWS`].
pub(super) fn row(row: &Found<'_>) -> rusqlite::Result<Row> {
    let cause = || row.get::<_, Coded<Cause>>(8).map(|cause| cause.0);
    // A row without steady time is of an earlier boot, and is not used before `boot.rs` has set the time.
    let steady = |column| {
        row.get::<_, Option<i64>>(column).map(|it| SteadyTime(it.and_then(|it| it.try_into().ok()).unwrap_or(0)))
    };
    let until = || Ok::<_, rusqlite::Error>(Moment { wall: time(row, 9)?, steady: steady(12)? });
    let words = || row.get::<_, String>(10);
    let state = match row.get(7)? {
        0 => State::Pending { cause: cause()? },
        LEASED => State::Leased { cause: cause()?, since: steady(13)?, until: until()?, consumer: words()?.into() },
        WAITING => State::Waiting { until: until()? },
        ACKED => State::Acked,
        PARKED => State::Parked { since: time(row, 9)?, reason: words()? },
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

/// The number of [`State::Leased`].
pub(super) const LEASED: i64 = 1;
/// The number of [`State::Waiting`].
pub(super) const WAITING: i64 = 2;
/// The number of [`State::Acked`].
pub(super) const ACKED: i64 = 3;

/// The number of [`State::Parked`].
pub(super) const PARKED: i64 = 4;

/// The columns of a row's state.
#[derive(Default)]
pub(super) struct StateColumns<'a> {
    pub(super) state: i64,
    pub(super) cause: Option<Coded<Cause>>,
    pub(super) time: Option<Timestamp>,
    pub(super) steady: Option<SteadyTime>,
    pub(super) since: Option<SteadyTime>,
    pub(super) words: Option<&'a str>,
}

pub(super) fn of_state(state: &State) -> StateColumns<'_> {
    let of = |state| StateColumns { state, ..StateColumns::default() };
    let until =
        |state, until: &Moment| StateColumns { time: Some(until.wall), steady: Some(until.steady), ..of(state) };
    match state {
        State::Pending { cause } => StateColumns { cause: Some(Coded(*cause)), ..of(0) },
        State::Leased { cause, since, until: end, consumer } => StateColumns {
            cause: Some(Coded(*cause)),
            words: Some(consumer),
            since: Some(*since),
            ..until(LEASED, end)
        },
        State::Waiting { until: end } => until(WAITING, end),
        State::Acked => of(ACKED),
        State::Parked { since, reason } => StateColumns { time: Some(*since), words: Some(reason), ..of(PARKED) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_what_they_always_were() {
        let (cause, until) = (Cause::First, Moment::default());
        let states = [
            State::Pending { cause },
            State::Leased { cause, since: until.steady, until, consumer: "c".into() },
            State::Waiting { until },
            State::Acked,
            State::Parked { since: until.wall, reason: String::new() },
        ];
        for (number, state) in (0..).zip(&states) {
            assert_eq!(of_state(state).state, number, "{state:?}");
        }
        let causes = [Cause::First, Cause::LeaseExpired, Cause::Retry, Cause::Reclaimed, Cause::Redriven];
        assert_eq!(<Cause as Numbered>::ALL, causes);
        assert_eq!(<Said as Numbered>::ALL, [Said::Retry, Said::Park, Said::Release]);
    }
}
