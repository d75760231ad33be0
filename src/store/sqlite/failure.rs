//! What SQLite's errors mean to those who use the store.

use rusqlite::{Error, ErrorCode, ffi};

use crate::ports::ledger::{StoreError, StoreErrorKind};

/// The error that the port knows.
pub(super) fn of(error: &Error) -> StoreError {
    let kind = match error {
        Error::FromSqlConversionFailure(..) | Error::InvalidColumnType(..) | Error::IntegralValueOutOfRange(..) => {
            StoreErrorKind::Corrupt
        }
        _ => match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => StoreErrorKind::Full,
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => StoreErrorKind::ReadOnly,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreErrorKind::Busy,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreErrorKind::Corrupt,
            _ => StoreErrorKind::Failed,
        },
    };
    StoreError { kind, text: error.to_string() }
}

/// Whether a sync failed. What the disk holds then is not known, and asking again would only hear that all is well:
/// the kernel has forgotten what it could not write.
pub(super) fn is_fatal(error: &Error) -> bool {
    let code = error.sqlite_error().map(|error| error.extended_code);
    matches!(code, Some(ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC))
}

/// Whether others could be written where this one could not: the store itself works.
pub(super) fn is_of_one(error: &Error) -> bool {
    let busy_or_io = matches!(error.sqlite_error_code(), Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen));
    matches!(of(error).kind, StoreErrorKind::Failed | StoreErrorKind::Corrupt) && !busy_or_io
}
