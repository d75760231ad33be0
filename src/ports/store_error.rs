//! Failures of the store, for all ports kept there.

use std::fmt;

/// A failure of the store. Nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {text}")]
pub struct StoreError {
    /// Kind of the failure.
    pub kind: StoreErrorKind,
    /// The store's own error text, for the log.
    pub text: String,
}

/// The kinds of store failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoreErrorKind {
    /// No space is left.
    Full,
    /// The store may not be written.
    ReadOnly,
    /// A different process holds the store.
    Busy,
    /// The content is damaged.
    Corrupt,
    /// A failure of any other kind.
    Failed,
}

impl fmt::Display for StoreErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the store is full",
            Self::ReadOnly => "the store is read-only",
            Self::Busy => "the store is locked by another process",
            Self::Corrupt => "the store is damaged",
            Self::Failed => "the store failed",
        })
    }
}
