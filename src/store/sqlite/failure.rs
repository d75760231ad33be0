//! Classification of SQLite's errors.

use rusqlite::{Error, ErrorCode, ffi};

use crate::ports::store_error::{StoreError, StoreErrorKind};

/// Converts to the error of the port.
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

/// Whether an fsync failed. The content of the disk is then unknown, and a second fsync would report success: the
/// kernel has dropped the pages that could not be written.
pub(super) fn is_fatal(error: &Error) -> bool {
    let code = error.sqlite_error().map(|error| error.extended_code);
    matches!(code, Some(ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC))
}

/// Whether the error concerns one write only, and the store itself works.
pub(super) fn is_of_one(error: &Error) -> bool {
    let busy_or_io = matches!(error.sqlite_error_code(), Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen));
    matches!(of(error).kind, StoreErrorKind::Failed | StoreErrorKind::Corrupt) && !busy_or_io
}
