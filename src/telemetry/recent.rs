//! The latest failed calls, for the status page: method, reason and count. Contains no texts and no request data.
//!
//! Equal failures share a row, so a flood of equal failures does not push other rows out.

use std::borrow::Cow;
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;
use tonic::Code;
use uuid::Uuid;

/// Maximum number of rows; the row unseen for longest is dropped.
pub const KINDS: usize = 50;

/// A row: a method with code, reason and account.
#[derive(Clone, Debug, PartialEq)]
pub struct RecentFailure {
    /// Full method name, `package.Service/Method`, or `_OTHER`.
    pub method: &'static str,
    /// The status code of the answer.
    pub code: Code,
    /// `ErrorInfo.reason`; `None` for failures found by the gRPC library, and for abandoned calls.
    pub reason: Option<Cow<'static, str>>,
    /// The account of the call, if known.
    pub account: Option<String>,
    /// `WM_QOS.CORRELATION_ID` of the latest failure with a call to Walmart.
    pub correlation_id: Option<Uuid>,
    /// Time of the latest failure.
    pub last: Instant,
    /// Time of the first failure in the row.
    pub first: Instant,
    /// Number of failures in the row.
    pub count: u64,
}

/// The rows, latest first. A failed call takes a short lock; other calls do not touch the list.
#[derive(Debug, Default)]
pub struct RecentFailures(Mutex<Vec<RecentFailure>>);

impl RecentFailures {
    /// Records a call failing now.
    pub fn note(
        &self,
        method: &'static str,
        code: Code,
        reason: Option<Cow<'static, str>>,
        account: Option<&str>,
        correlation_id: Option<Uuid>,
    ) {
        let now = Instant::now();
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |kind: &RecentFailure| {
            kind.code == code && kind.method == method && kind.reason == reason && kind.account.as_deref() == account
        };
        if let Some(at) = kinds.iter().position(same) {
            kinds[..=at].rotate_right(1);
            let kind = &mut kinds[0];
            (kind.last, kind.count) = (now, kind.count + 1);
            kind.correlation_id = correlation_id.or(kind.correlation_id);
            return;
        }
        kinds.truncate(KINDS - 1);
        let account = account.map(str::to_owned);
        kinds.insert(
            0,
            RecentFailure { method, code, reason, account, correlation_id, last: now, first: now, count: 1 },
        );
    }

    /// Returns all rows, latest first.
    pub fn all(&self) -> Vec<RecentFailure> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn note(recent: &RecentFailures, method: &'static str, account: Option<&str>, correlation_id: u128) {
        let id = (correlation_id > 0).then(|| Uuid::from_u128(correlation_id));
        recent.note(method, Code::Unavailable, Some("STORE_UNAVAILABLE".into()), account, id);
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_failure_shares_a_row_which_comes_first() {
        let recent = RecentFailures::default();
        let start = Instant::now();
        note(&recent, "a", Some("acme"), 1);
        tokio::time::advance(Duration::from_secs(1)).await;
        note(&recent, "b", None, 0);
        note(&recent, "a", None, 0);
        note(&recent, "a", Some("acme"), 0);
        recent.note("a", Code::Internal, None, Some("acme"), None);
        let seen = recent.all();
        let rows = seen.iter().map(|row| (row.method, row.account.as_deref(), row.code, row.count));
        assert_eq!(
            rows.collect::<Vec<_>>(),
            [
                ("a", Some("acme"), Code::Internal, 1),
                ("a", Some("acme"), Code::Unavailable, 2),
                ("a", None, Code::Unavailable, 1),
                ("b", None, Code::Unavailable, 1),
            ]
        );
        assert_eq!((seen[1].first, seen[1].last), (start, start + Duration::from_secs(1)));
        assert_eq!(seen[1].correlation_id, Some(Uuid::from_u128(1)), "the last that is known");
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_one_kind_hides_no_other_and_kinds_are_bounded() {
        let recent = RecentFailures::default();
        note(&recent, "early", None, 0);
        for _ in 0..10_000 {
            note(&recent, "flood", None, 0);
        }
        assert_eq!(recent.all().iter().map(|row| row.count).collect::<Vec<_>>(), [10_000, 1]);
        for number in 0..KINDS {
            note(&recent, "many", Some(&number.to_string()), 0);
        }
        let rows = recent.all();
        assert_eq!((rows.len(), rows[0].account.as_deref()), (KINDS, Some("49")));
        assert!(rows.iter().all(|row| row.method == "many"));
    }
}
