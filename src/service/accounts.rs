//! Which account a caller means, and whether it may.

use std::sync::Arc;

use super::ServiceError;
use crate::domain::account::{AccountId, AccountIndex};
use crate::domain::rules::{Faults, Path};
use crate::ports::call::CallContext;

/// The accounts by name. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Directory(Arc<[AccountId]>);

/// Why an account cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountError {
    /// The caller may not use it, or may not know whether it exists.
    NotAllowed,
    /// It does not exist; told only to callers who may see every account.
    NotFound,
}

impl Directory {
    /// In the order of the settings.
    pub fn new(ids: Vec<AccountId>) -> Self {
        Self(ids.into())
    }

    /// The account's name.
    pub fn id(&self, index: AccountIndex) -> &AccountId {
        &self.0[index.0]
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Where the account of this name stands.
    pub fn position(&self, id: &AccountId) -> Option<AccountIndex> {
        self.0.iter().position(|known| known == id).map(AccountIndex)
    }

    /// The one account that a unary call is for. An empty name means the only one that the caller can see.
    pub fn one(&self, name: &str, call: &CallContext) -> Result<AccountIndex, ServiceError> {
        let index = if name.is_empty() {
            let mut visible = self.visible(call);
            match (visible.next(), visible.next()) {
                (Some(only), None) => only,
                (None, _) => return Err(ServiceError::Account(AccountError::NotAllowed)),
                (Some(_), Some(_)) => {
                    let mut faults = Faults::default();
                    faults.add(&Path::Top("account"), "is required, because several accounts are visible");
                    return Err(ServiceError::Invalid(faults));
                }
            }
        } else {
            self.named(name, call)?
        };
        call.facts.set_account(self.id(index));
        Ok(index)
    }

    /// The accounts that a list is for. An empty name means all that the caller can see.
    pub fn many(&self, name: &str, call: &CallContext) -> Result<Vec<AccountIndex>, ServiceError> {
        if name.is_empty() { Ok(self.visible(call).collect()) } else { self.one(name, call).map(|one| vec![one]) }
    }

    /// The account of this name, if the caller may see it.
    pub(super) fn named(&self, name: &str, call: &CallContext) -> Result<AccountIndex, ServiceError> {
        let found = self.0.iter().position(|id| id.as_str() == name).map(AccountIndex);
        match found {
            Some(index) if call.caller().may_see(index) => Ok(index),
            None if call.caller().sees_all() => Err(ServiceError::Account(AccountError::NotFound)),
            _ => Err(ServiceError::Account(AccountError::NotAllowed)),
        }
    }

    fn visible<'a>(&'a self, call: &'a CallContext) -> impl Iterator<Item = AccountIndex> + 'a {
        (0..self.0.len()).map(AccountIndex).filter(|index| call.caller().may_see(*index))
    }
}

#[cfg(test)]
#[path = "accounts_tests.rs"]
mod tests;
