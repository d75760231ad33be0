//! Seller accounts by name and by position, and sellers.

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

    /// Stands for a seller that no account of the settings names (any more): `partner:` and its number, or `former:` and the
    /// id that its account had where the number is not known. No account can have such an id, so it is visible only to callers
    /// who may see every account.
    pub fn without_account(seller: Option<&str>, last: &str) -> Self {
        match seller {
            Some(seller) => Self(format!("partner:{seller}").into()),
            None => Self(format!("former:{last}").into()),
        }
    }

    /// What a store kept: an account's id, or what [`Self::without_account`] made.
    ///
    /// # Errors
    /// It is neither.
    pub fn from_store(id: String) -> Result<Self, InvalidAccountId> {
        let without_account = id.starts_with("partner:") || id.starts_with("former:");
        if without_account { Ok(Self(id.into())) } else { Self::new(id) }
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

/// Walmart's number of a seller (`partner_id`). What is kept is kept by it: an account's id is a name for it, and may change.
/// Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SellerId(Arc<str>);

impl SellerId {
    /// As the settings have it.
    pub fn new(partner_id: &str) -> Self {
        Self(partner_id.into())
    }

    /// The number as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Position of an account in the settings. Tables with a row for each account are indexed by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountIndex(pub usize);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_for_a_seller_without_an_account_is_no_accounts_id() {
        for (seller, name) in [(Some("10000680931"), "partner:10000680931"), (None, "former:acme")] {
            let id = AccountId::without_account(seller, "acme");
            assert_eq!(id.as_str(), name);
            assert_eq!(AccountId::new(name), Err(InvalidAccountId));
            assert_eq!(AccountId::from_store(name.into()), Ok(id));
        }
        assert_eq!(AccountId::from_store("acme".into()), AccountId::new("acme"));
        for neither in ["", "a b", "#1", "partner"] {
            assert_eq!(AccountId::from_store(neither.into()).is_ok(), neither == "partner", "{neither}");
        }
    }
}
