//! The rows of the subscription tables. The numbers below are in every database and must never change.

use rusqlite::Row as Found;
use rusqlite::types::Type;

use super::super::rows::{CodedValue, number, time};
use crate::domain::feed::AccountScope;
use crate::domain::feed::subscription::{
    DeliveryCause, EventRow, LastVerdict, RowState, SubscriptionConfig, SubscriptionHead,
};
use crate::domain::moment::{Moment, SteadyTime};
use crate::domain::timestamp::Timestamp;
use crate::store::codes::CodedEnum;

/// The beginning of every query for heads.
pub(super) const HEADS: &str =
    "SELECT id, name, config, version, generation, floor, scanned, created, updated, scope FROM subscriptions";

/// The beginning of every query for rows.
pub(super) const ROWS: &str = "SELECT seq, key, size, received, attempt, failures, redriven, state, cause, time, words, said, steady, since \
     FROM subscription_rows";

impl CodedEnum for DeliveryCause {
    const ALL: &'static [Self] = &[Self::First, Self::LeaseExpired, Self::Retry, Self::Reclaimed, Self::Redriven];
}

impl CodedEnum for LastVerdict {
    const ALL: &'static [Self] = &[Self::Retry, Self::Park, Self::Release];
}

/// Reads the columns of [`HEADS`].
pub(super) fn head(row: &Found<'_>) -> rusqlite::Result<SubscriptionHead> {
    let invalid = |error| rusqlite::Error::FromSqlConversionFailure(2, Type::Blob, Box::new(error));
    Ok(SubscriptionHead {
        id: number(row, 0)?,
        name: row.get(1)?,
        config: SubscriptionConfig::decode(row.get_ref(2)?.as_blob()?).map_err(invalid)?,
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
pub(super) fn row(row: &Found<'_>) -> rusqlite::Result<EventRow> {
    let cause = || row.get::<_, CodedValue<DeliveryCause>>(8).map(|cause| cause.0);
    // A row without steady time is of an earlier boot, and is not used before `boot.rs` has set the time.
    let steady = |column| {
        row.get::<_, Option<i64>>(column).map(|it| SteadyTime(it.and_then(|it| it.try_into().ok()).unwrap_or(0)))
    };
    let until = || Ok::<_, rusqlite::Error>(Moment { wall: time(row, 9)?, steady: steady(12)? });
    let words = || row.get::<_, String>(10);
    let state = match row.get(7)? {
        0 => RowState::Pending { cause: cause()? },
        LEASED => RowState::Leased { cause: cause()?, since: steady(13)?, until: until()?, consumer: words()?.into() },
        WAITING => RowState::Waiting { until: until()? },
        ACKED => RowState::Acked,
        PARKED => RowState::Parked { since: time(row, 9)?, reason: words()? },
        other => return Err(rusqlite::Error::IntegralValueOutOfRange(7, other)),
    };
    Ok(EventRow {
        seq: number(row, 0)?,
        key: row.get::<_, String>(1)?.into(),
        size: row.get(2)?,
        received: time(row, 3)?,
        attempt: row.get(4)?,
        failures: row.get(5)?,
        redriven: row.get(6)?,
        said: row.get::<_, Option<CodedValue<LastVerdict>>>(11)?.map(|said| said.0),
        state,
    })
}

/// The number of [`RowState::Leased`].
pub(super) const LEASED: i64 = 1;
/// The number of [`RowState::Waiting`].
pub(super) const WAITING: i64 = 2;
/// The number of [`RowState::Acked`].
pub(super) const ACKED: i64 = 3;

/// The number of [`RowState::Parked`].
pub(super) const PARKED: i64 = 4;

/// The columns of a row's state.
#[derive(Default)]
pub(super) struct StateColumns<'a> {
    pub(super) state: i64,
    pub(super) cause: Option<CodedValue<DeliveryCause>>,
    pub(super) time: Option<Timestamp>,
    pub(super) steady: Option<SteadyTime>,
    pub(super) since: Option<SteadyTime>,
    pub(super) words: Option<&'a str>,
}

pub(super) fn of_state(state: &RowState) -> StateColumns<'_> {
    let of = |state| StateColumns { state, ..StateColumns::default() };
    let until =
        |state, until: &Moment| StateColumns { time: Some(until.wall), steady: Some(until.steady), ..of(state) };
    match state {
        RowState::Pending { cause } => StateColumns { cause: Some(CodedValue(*cause)), ..of(0) },
        RowState::Leased { cause, since, until: end, consumer } => StateColumns {
            cause: Some(CodedValue(*cause)),
            words: Some(consumer),
            since: Some(*since),
            ..until(LEASED, end)
        },
        RowState::Waiting { until: end } => until(WAITING, end),
        RowState::Acked => of(ACKED),
        RowState::Parked { since, reason } => StateColumns { time: Some(*since), words: Some(reason), ..of(PARKED) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_what_they_always_were() {
        let (cause, until) = (DeliveryCause::First, Moment::default());
        let states = [
            RowState::Pending { cause },
            RowState::Leased { cause, since: until.steady, until, consumer: "c".into() },
            RowState::Waiting { until },
            RowState::Acked,
            RowState::Parked { since: until.wall, reason: String::new() },
        ];
        for (number, state) in (0..).zip(&states) {
            assert_eq!(of_state(state).state, number, "{state:?}");
        }
        let causes = [
            DeliveryCause::First,
            DeliveryCause::LeaseExpired,
            DeliveryCause::Retry,
            DeliveryCause::Reclaimed,
            DeliveryCause::Redriven,
        ];
        assert_eq!(<DeliveryCause as CodedEnum>::ALL, causes);
        assert_eq!(<LastVerdict as CodedEnum>::ALL, [LastVerdict::Retry, LastVerdict::Park, LastVerdict::Release]);
    }
}
