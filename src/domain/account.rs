//! Seller accounts by name and by position, and sellers by Walmart's number.

use std::fmt;
use std::sync::Arc;

/// The id of a seller account, as written in the settings. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId(Arc<str>);

impl AccountId {
    /// Longest id in characters.
    pub const MAX: usize = 64;

    /// Accepts 1 to 64 ASCII letters, digits, `-` and `_`, because the id is used in paths, metric labels and names of
    /// environment variables.
    pub fn new(id: impl Into<String>) -> Result<Self, InvalidAccountId> {
        let id = id.into();
        let fits = (1..=Self::MAX).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if fits { Ok(Self(id.into())) } else { Err(InvalidAccountId) }
    }

    /// Stands for a seller without an account in the settings, for example after an account was removed: `partner:`
    /// with the seller's number, or `former:` with the last account id where the number is unknown. No account can have
    /// such an id, which makes the seller's data visible only to callers allowed every account.
    pub(crate) fn without_account(seller: Option<&str>, last: &str) -> Self {
        match seller {
            Some(seller) => Self(format!("partner:{seller}").into()),
            None => Self(format!("former:{last}").into()),
        }
    }

    /// Reads an id from a store: an account id, or a name made by [`Self::without_account`].
    ///
    /// # Errors
    /// The text is neither of the two.
    pub(crate) fn from_store(id: String) -> Result<Self, InvalidAccountId> {
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

/// The error for an account id in a form that is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 64 ASCII letters, digits, '-' or '_'")]
pub struct InvalidAccountId;

/// Walmart's number of a seller (`partner_id`). Stores key their rows by this number, because an account id is only a
/// name and may change. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SellerId(Arc<str>);

impl SellerId {
    /// Takes the number as written in the settings.
    pub fn new(partner_id: &str) -> Self {
        Self(partner_id.into())
    }

    /// The seller's number as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Number of an account in this process: first those of the settings in their order, then those added while the process
/// runs. Never used for another seller.
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
