//! The accounts covered by a subscription.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::domain::account::AccountId;

/// A set of accounts by name. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountScope {
    /// Every account, including removed ones.
    All,
    /// The listed accounts, possibly none.
    Only(Arc<BTreeSet<Box<str>>>),
}

/// The text of [`AccountScope::All`]; no account has this name.
const EVERY: &str = "*";

impl AccountScope {
    /// A scope of these accounts.
    pub fn only<'a>(accounts: impl IntoIterator<Item = &'a AccountId>) -> Self {
        Self::of_names(accounts.into_iter().map(AccountId::as_str))
    }

    fn of_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self::Only(Arc::new(names.into_iter().map(Box::from).collect()))
    }

    /// Whether the scope has the account of this name.
    pub fn has(&self, account: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.contains(account),
        }
    }

    /// Whether `other` has every account of this scope.
    pub(crate) fn is_within(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::All) => true,
            (Self::All, Self::Only(_)) => false,
            (Self::Only(names), Self::Only(others)) => names.is_subset(others),
        }
    }

    /// The accounts named by a filter; all accounts when the filter names none.
    #[must_use]
    pub(crate) fn narrowed(&self, named: &[String]) -> Self {
        if named.is_empty() {
            return self.clone();
        }
        Self::of_names(named.iter().map(String::as_str).filter(|name| self.has(name)))
    }

    /// The account names, or `*` for every account.
    pub fn names(&self) -> Vec<String> {
        match self {
            Self::All => vec![EVERY.to_owned()],
            Self::Only(names) => names.iter().map(|name| name.to_string()).collect(),
        }
    }

    /// The stored form. Account names have no spaces.
    pub(crate) fn to_text(&self) -> String {
        self.names().join(" ")
    }

    /// Reads the text written by [`Self::to_text`].
    pub(crate) fn from_text(text: &str) -> Self {
        if text == EVERY { Self::All } else { Self::of_names(text.split_ascii_whitespace()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(names: &[&str]) -> AccountScope {
        AccountScope::of_names(names.iter().copied())
    }

    #[test]
    fn comes_back_from_its_text() {
        for (of, text) in [(AccountScope::All, "*"), (scope(&[]), ""), (scope(&["b", "a", "b"]), "a b")] {
            assert_eq!((of.to_text().as_str(), AccountScope::from_text(text)), (text, of));
        }
    }

    #[test]
    fn a_filter_narrows_and_never_widens() {
        let named = ["a", "c"].map(str::to_owned);
        assert_eq!(AccountScope::All.narrowed(&named), scope(&["a", "c"]));
        assert_eq!(scope(&["a", "b"]).narrowed(&named), scope(&["a"]));
        assert_eq!(scope(&["b"]).narrowed(&named), scope(&[]));
        assert_eq!((AccountScope::All.narrowed(&[]), scope(&["b"]).narrowed(&[])), (AccountScope::All, scope(&["b"])));
    }

    #[test]
    fn one_is_within_another_that_has_all_of_its_accounts() {
        let (all, none, a, both) = (AccountScope::All, scope(&[]), scope(&["a"]), scope(&["a", "b"]));
        for (one, other, is_within) in [
            (&all, &all, true),
            (&both, &all, true),
            (&all, &both, false),
            (&a, &both, true),
            (&both, &a, false),
            (&none, &a, true),
        ] {
            assert_eq!(one.is_within(other), is_within, "{one:?} {other:?}");
        }
        assert!(all.has("a") && a.has("a") && !a.has("b") && !none.has("a"));
    }
}
