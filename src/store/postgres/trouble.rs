//! Failures of Postgres: what each one says about the transaction, and the error of the port that callers hear.

use tokio_postgres::error::SqlState;

use crate::ports::store_error::{StoreError, StoreErrorKind};

/// The state with which the step of a lane fails whose epoch was raised by somebody else (`migrations/`).
const FENCED: &str = "OG001";

/// A failure of one statement, of a transaction, or of a connection.
#[derive(Debug, thiserror::Error)]
pub(in crate::store) enum PgError {
    /// The server refused a statement, or the connection broke.
    #[error("{}", told(.0))]
    Database(#[from] tokio_postgres::Error),
    /// No connection could be made that may be used.
    #[error("{0}")]
    Unreachable(String),
    /// The server did not answer in time. The connection is not used any more.
    #[error("no answer within {0} s")]
    Silent(u64),
    /// The life of this process was ended by another replica.
    #[error("another replica has taken over")]
    Ended,
    /// A statement of the transaction was not read to its end, so that the transaction is not committed.
    #[error("a statement of the transaction was left unread")]
    Unread,
    /// A row does not have the form in which this version writes it.
    #[error("a row is damaged: {0}")]
    Damaged(String),
}

/// What to do about a failure of a transaction that was not committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Another transaction was in the way: the same transaction may succeed.
    Again,
    /// The statement itself is at fault: it fails each time.
    None,
    /// The connection is lost.
    Connect,
    /// The epoch of the lane was raised.
    Fenced,
}

impl PgError {
    pub(super) fn remedy(&self) -> Remedy {
        match self {
            Self::Database(error) => match error.code() {
                Some(code) if is_fence(code) => Remedy::Fenced,
                Some(code) if is_in_the_way(code) => Remedy::Again,
                Some(code) if ends_the_session(code) => Remedy::Connect,
                Some(_) => Remedy::None,
                // Without a state the server said nothing: the connection broke, or a value could not be converted.
                None if error.is_closed() || is_io(error) => Remedy::Connect,
                None => Remedy::None,
            },
            Self::Unreachable(_) | Self::Silent(_) => Remedy::Connect,
            Self::Ended => Remedy::Fenced,
            Self::Unread | Self::Damaged(_) => Remedy::None,
        }
    }

    /// Whether only the statement is at fault, and the store itself works.
    pub(super) fn is_of_one(&self) -> bool {
        match self {
            Self::Database(error) => {
                error.code().is_some_and(|code| matches!(code.code().get(..2), Some("22" | "23")))
                    || (self.remedy() == Remedy::None && error.code().is_none())
            }
            Self::Damaged(_) => true,
            _ => false,
        }
    }

    /// The error of the port.
    pub(super) fn to_store_error(&self) -> StoreError {
        let kind = match self {
            Self::Database(error) => error.code().map_or(StoreErrorKind::Failed, kind_of),
            Self::Damaged(_) => StoreErrorKind::Corrupt,
            _ => StoreErrorKind::Failed,
        };
        StoreError { kind, text: self.to_string() }
    }
}

fn kind_of(code: &SqlState) -> StoreErrorKind {
    match code.code() {
        "53100" => StoreErrorKind::Full,
        "25006" | "42501" => StoreErrorKind::ReadOnly,
        "53000" | "53200" | "53300" | "53400" | "55P03" | "40001" | "40P01" => StoreErrorKind::Busy,
        "XX001" | "XX002" => StoreErrorKind::Corrupt,
        _ => StoreErrorKind::Failed,
    }
}

fn is_fence(code: &SqlState) -> bool {
    code.code() == FENCED
}

/// Serialization failure, deadlock, and a lock that was not had in time.
fn is_in_the_way(code: &SqlState) -> bool {
    matches!(code.code(), "40001" | "40P01" | "55P03")
}

/// Shutdown, a terminated backend, a broken connection, and a timeout of the session.
fn ends_the_session(code: &SqlState) -> bool {
    matches!(code.code(), "57P01" | "57P02" | "57P03" | "57P05" | "25P03" | "25P04" | "25006")
        || code.code().starts_with("08")
}

fn is_io(error: &tokio_postgres::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<std::io::Error>())
}

/// The text of the server with its state; the library's own text says "db error" only.
fn told(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(told) => format!("{} ({})", told.message(), told.code().code()),
        None => match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        },
    }
}
