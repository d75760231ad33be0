//! Finds the account of a call and checks the caller's access.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::{AccountError, ServiceError};
use crate::domain::account::{AccountId, AccountIndex, SellerId};
use crate::domain::rules::{FieldFaults, FieldPath};
use crate::ports::call::CallContext;

/// The accounts by name. Cheap to clone; all clones share the accounts.
#[derive(Clone, Debug)]
pub struct AccountDirectory(Arc<ArcSwap<Vec<KnownAccount>>>);

/// An account that is, or was, in the settings of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
struct KnownAccount {
    id: AccountId,
    seller: SellerId,
    /// Whether the account is in the settings now.
    present: bool,
}

impl AccountDirectory {
    /// Takes sellers and their accounts, in the order of the settings.
    pub fn new(accounts: impl IntoIterator<Item = (SellerId, AccountId)>) -> Self {
        let known = accounts.into_iter().map(|(seller, id)| KnownAccount { id, seller, present: true });
        Self(Arc::new(ArcSwap::from_pointee(known.collect())))
    }

    /// The numbers that these sellers have, or will have after [`Self::replace`], in their order.
    pub(crate) fn indexes<'a>(&self, sellers: impl IntoIterator<Item = &'a SellerId>) -> Vec<AccountIndex> {
        let known = self.0.load();
        let mut next = known.len();
        let of = |seller: &SellerId| {
            let found = known.iter().position(|account| account.seller == *seller);
            AccountIndex(found.unwrap_or_else(|| {
                next += 1;
                next - 1
            }))
        };
        sellers.into_iter().map(of).collect()
    }

    /// Replaces the accounts after a change of the settings. A seller keeps its number; the numbers of sellers that are
    /// left out are kept for when they come back.
    pub(crate) fn replace(&self, accounts: &[(SellerId, AccountId)]) {
        let indexes = self.indexes(accounts.iter().map(|(seller, _)| seller));
        let gone = self.0.load().iter().map(|account| KnownAccount { present: false, ..account.clone() }).collect();
        let mut all: Vec<_> = gone;
        for (index, (seller, id)) in indexes.into_iter().zip(accounts) {
            let account = KnownAccount { id: id.clone(), seller: seller.clone(), present: true };
            match all.get_mut(index.0) {
                Some(known) => *known = account,
                None => all.push(account),
            }
        }
        self.0.store(Arc::new(all));
    }

    /// The id of an account, which may have been removed since.
    pub fn id(&self, index: AccountIndex) -> AccountId {
        self.0.load()[index.0].id.clone()
    }

    /// The seller of an account.
    pub(crate) fn seller(&self, id: &AccountId) -> Option<SellerId> {
        let known = self.0.load();
        known.iter().find(|account| account.present && account.id == *id).map(|account| account.seller.clone())
    }

    /// Whether a seller has, or had, an account in this process.
    pub(crate) fn knows(&self, seller: &SellerId) -> bool {
        self.0.load().iter().any(|account| account.seller == *seller)
    }

    /// The accounts in the settings.
    pub(crate) fn all(&self) -> Vec<AccountIndex> {
        self.0.load().iter().enumerate().filter(|(_, account)| account.present).map(|(i, _)| AccountIndex(i)).collect()
    }

    /// The number of the account with this id.
    pub fn position(&self, id: &AccountId) -> Option<AccountIndex> {
        self.0.load().iter().position(|known| known.present && known.id == *id).map(AccountIndex)
    }

    /// Finds the account of a unary call. An empty name means the only account visible to the caller; fails when
    /// several are visible.
    pub fn one(&self, name: &str, call: &CallContext) -> Result<AccountIndex, ServiceError> {
        let index = if name.is_empty() {
            match self.visible(call).as_slice() {
                [only] => *only,
                [] => return Err(ServiceError::Account(AccountError::NotAllowed)),
                _ => {
                    let mut faults = FieldFaults::default();
                    faults.add(&FieldPath::Top("account"), "is required, because several accounts are visible");
                    return Err(ServiceError::Invalid(faults));
                }
            }
        } else {
            self.named(name, call)?
        };
        call.facts.set_account(&self.id(index));
        Ok(index)
    }

    /// Finds the account of a call as [`AccountDirectory::one`] does. A failure also lists the faults of the request.
    pub(super) fn of_request(
        &self,
        name: &str,
        call: &CallContext,
        check: impl FnOnce() -> Result<(), FieldFaults>,
    ) -> Result<AccountIndex, ServiceError> {
        self.one(name, call).map_err(|error| error.with_faults(check()))
    }

    /// Finds the accounts of a list. An empty name means all accounts visible to the caller.
    pub fn many(&self, name: &str, call: &CallContext) -> Result<Vec<AccountIndex>, ServiceError> {
        if name.is_empty() { Ok(self.visible(call)) } else { self.one(name, call).map(|one| vec![one]) }
    }

    /// Finds the account of this name, if visible to the caller.
    pub(super) fn named(&self, name: &str, call: &CallContext) -> Result<AccountIndex, ServiceError> {
        let found = self.0.load().iter().position(|known| known.present && known.id.as_str() == name).map(AccountIndex);
        match found {
            Some(index) if call.caller().may_see(index) => Ok(index),
            None if call.caller().sees_all() => Err(ServiceError::Account(AccountError::NotFound)),
            _ => Err(ServiceError::Account(AccountError::NotAllowed)),
        }
    }

    fn visible(&self, call: &CallContext) -> Vec<AccountIndex> {
        let mut all = self.all();
        all.retain(|index| call.caller().may_see(*index));
        all
    }

    /// A directory of accounts whose sellers do not matter.
    #[cfg(test)]
    pub(crate) fn of_ids(ids: impl IntoIterator<Item = AccountId>) -> Self {
        Self::new(ids.into_iter().map(|id| (SellerId::new(id.as_str()), id)))
    }
}

#[cfg(test)]
#[path = "accounts_tests.rs"]
mod tests;
