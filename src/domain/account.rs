//! Seller accounts by name and by position.

use std::fmt;
use std::sync::Arc;

/// A seller account's id, as in the settings. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId(Arc<str>);

impl AccountId {
    /// Longest id in characters.
    pub const MAX: usize = 64;

    /// Accepts 1 to 64 ASCII letters, digits, `-` and `_`: the id stands in paths, labels and environment variables.
    pub fn new(id: impl Into<String>) -> Result<Self, InvalidAccountId> {
        let id = id.into();
        let fits = (1..=Self::MAX).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if fits { Ok(Self(id.into())) } else { Err(InvalidAccountId) }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An account's id has a form that is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 64 ASCII letters, digits, '-' or '_'")]
pub struct InvalidAccountId;

/// Position of an account in the settings. Tables with a row for each account are indexed by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountIndex(pub usize);
