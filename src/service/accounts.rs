//! Finds the account of a call and checks the caller's access.

use std::sync::Arc;

use super::{AccountError, ServiceError};
use crate::domain::account::{AccountId, AccountIndex};
use crate::domain::rules::{FieldFaults, FieldPath};
use crate::ports::call::CallContext;

/// The accounts by name. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AccountDirectory(Arc<[AccountId]>);

impl AccountDirectory {
    /// Takes the account ids in the order of the settings.
    pub fn new(ids: Vec<AccountId>) -> Self {
        Self(ids.into())
    }

    /// The id of the account at this position.
    pub fn id(&self, index: AccountIndex) -> &AccountId {
        &self.0[index.0]
    }

    /// The number of accounts.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the settings have no account.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The position of the account with this id.
    pub fn position(&self, id: &AccountId) -> Option<AccountIndex> {
        self.0.iter().position(|known| known == id).map(AccountIndex)
    }

    /// Finds the account of a unary call. An empty name means the only account visible to the caller; fails when
    /// several are visible.
    pub fn one(&self, name: &str, call: &CallContext) -> Result<AccountIndex, ServiceError> {
        let index = if name.is_empty() {
            let mut visible = self.visible(call);
            match (visible.next(), visible.next()) {
                (Some(only), None) => only,
                (None, _) => return Err(ServiceError::Account(AccountError::NotAllowed)),
                (Some(_), Some(_)) => {
                    let mut faults = FieldFaults::default();
                    faults.add(&FieldPath::Top("account"), "is required, because several accounts are visible");
                    return Err(ServiceError::Invalid(faults));
                }
            }
        } else {
            self.named(name, call)?
        };
        call.facts.set_account(self.id(index));
        Ok(index)
    }

    /// Finds the accounts of a list. An empty name means all accounts visible to the caller.
    pub fn many(&self, name: &str, call: &CallContext) -> Result<Vec<AccountIndex>, ServiceError> {
        if name.is_empty() { Ok(self.visible(call).collect()) } else { self.one(name, call).map(|one| vec![one]) }
    }

    /// Finds the account of this name, if visible to the caller.
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
