//! The sellers of the database and the accounts of this process.
//!
//! Rows refer to the number of a seller, and a seller is known by Walmart's number (`partner_id`). The names of accounts are
//! those of this process's settings: replicas may have other names for a while, and nothing in the database changes with
//! a name.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use tokio_postgres::types::Type;

use super::requests::Requests;
use super::trouble::PgError;
use crate::domain::account::{AccountId, SellerId};
use crate::store::AccountConflict;

/// Beginning of the key of an account whose seller no settings tell. No partner_id has a colon.
const UNTOLD: &str = "account:";

/// Cheap to clone; all clones share the names and numbers.
#[derive(Clone, Default)]
pub(in crate::store) struct Accounts(Arc<RwLock<AccountTables>>);

#[derive(Default)]
struct AccountTables {
    sellers: HashMap<AccountId, SellerId>,
    names: HashMap<SellerId, AccountId>,
    /// Numbers in the database, which never change.
    numbers: HashMap<AccountId, i32>,
}

impl Accounts {
    pub(super) fn new(accounts: Vec<(AccountId, SellerId)>) -> Self {
        let made = Self::default();
        made.add(accounts);
        made
    }

    /// Adds the accounts that are not known, or none of them if there are conflicts, which are returned.
    pub(super) fn add(&self, accounts: Vec<(AccountId, SellerId)>) -> Vec<AccountConflict> {
        let mut tables = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let conflicts: Vec<_> =
            accounts.iter().filter_map(|(account, seller)| tables.conflict(account, seller)).collect();
        if conflicts.is_empty() {
            for (account, seller) in accounts {
                tables.sellers.insert(account.clone(), seller.clone());
                tables.names.insert(seller, account.clone());
                // It may have had rows without a seller.
                tables.numbers.remove(&account);
            }
        }
        conflicts
    }

    /// The seller by which the account's rows are kept, as `accounts.seller` has it.
    pub(in crate::store) fn key_of(&self, account: &AccountId) -> String {
        let tables = self.0.read().unwrap_or_else(PoisonError::into_inner);
        match tables.sellers.get(account) {
            Some(seller) => seller.as_str().to_owned(),
            None => match account.as_str().strip_prefix("partner:") {
                Some(seller) => seller.to_owned(),
                None => format!("{UNTOLD}{account}"),
            },
        }
    }

    /// The account of a seller, by `accounts.seller`.
    pub(in crate::store) fn name_of(&self, key: &str) -> Result<AccountId, PgError> {
        if let Some(account) = key.strip_prefix(UNTOLD) {
            return AccountId::from_store(account.to_owned()).map_err(|error| PgError::Damaged(error.to_string()));
        }
        let tables = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let named = tables.names.get(&SellerId::new(key)).cloned();
        Ok(named.unwrap_or_else(|| AccountId::without_account(Some(key), "")))
    }

    /// The numbers of accounts in the database, in the order given. Sellers that have no number get one, which is committed
    /// at once.
    pub(in crate::store) async fn numbers(
        &self,
        requests: &Requests,
        accounts: &[&AccountId],
    ) -> Result<Vec<i32>, PgError> {
        loop {
            let missing: Vec<&AccountId> = {
                let tables = self.0.read().unwrap_or_else(PoisonError::into_inner);
                let found: Vec<_> =
                    accounts.iter().filter_map(|account| tables.numbers.get(*account).copied()).collect();
                if found.len() == accounts.len() {
                    return Ok(found);
                }
                accounts.iter().filter(|account| !tables.numbers.contains_key(**account)).copied().collect()
            };
            let keys: Vec<String> = missing.iter().map(|account| self.key_of(account)).collect();
            let rows = requests.query(NUMBERS, &[(&keys, Type::TEXT_ARRAY)]).await?;
            let mut numbers = HashMap::new();
            for row in &rows {
                numbers.insert(row.try_get::<_, String>(1)?, row.try_get::<_, i32>(0)?);
            }
            let mut tables = self.0.write().unwrap_or_else(PoisonError::into_inner);
            for (account, key) in missing.into_iter().zip(keys) {
                // Another replica may be making it just now; then the next question finds it.
                if let Some(number) = numbers.get(&key) {
                    tables.numbers.insert(account.clone(), *number);
                }
            }
        }
    }
}

impl AccountTables {
    fn conflict(&self, account: &AccountId, seller: &SellerId) -> Option<AccountConflict> {
        match (self.names.get(seller), self.sellers.get(account)) {
            (Some(name), _) if name != account => {
                Some(AccountConflict::Renamed { account: account.clone(), from: name.as_str().to_owned() })
            }
            (None, Some(_)) => Some(AccountConflict::Taken { account: account.clone() }),
            _ => None,
        }
    }
}

const NUMBERS: &str = "WITH made AS (INSERT INTO accounts (seller) SELECT DISTINCT unnest($1::text[]) ORDER BY 1 \
     ON CONFLICT DO NOTHING RETURNING id, seller) \
     SELECT id, seller FROM made UNION ALL SELECT id, seller FROM accounts WHERE seller = ANY($1)";

#[cfg(test)]
mod tests {
    use super::*;

    fn account(id: &str) -> AccountId {
        AccountId::new(id).unwrap()
    }

    #[test]
    fn rows_are_kept_by_the_seller_and_shown_by_the_present_name() {
        let accounts = Accounts::new(vec![(account("acme"), SellerId::new("100"))]);
        assert_eq!(accounts.key_of(&account("acme")), "100");
        assert_eq!(accounts.name_of("100").unwrap(), account("acme"));
        let removed = accounts.name_of("200").unwrap();
        assert_eq!(removed.as_str(), "partner:200");
        assert_eq!(accounts.key_of(&removed), "200");
        assert_eq!(accounts.key_of(&account("other")), "account:other");
        assert_eq!(accounts.name_of("account:other").unwrap(), account("other"));
        assert!(accounts.name_of("account:#").is_err());
    }

    #[test]
    fn an_account_is_added_unless_its_name_or_seller_is_anothers() {
        let accounts = Accounts::new(vec![(account("acme"), SellerId::new("100"))]);
        assert_eq!(accounts.add(vec![(account("acme"), SellerId::new("100"))]), []);
        let renamed = AccountConflict::Renamed { account: account("b"), from: "acme".into() };
        let both = vec![(account("b"), SellerId::new("100")), (account("c"), SellerId::new("300"))];
        assert_eq!(accounts.add(both), [renamed]);
        assert_eq!(accounts.key_of(&account("c")), "account:c");
        let taken = AccountConflict::Taken { account: account("acme") };
        assert_eq!(accounts.add(vec![(account("acme"), SellerId::new("200"))]), [taken]);
        assert_eq!(accounts.add(vec![(account("c"), SellerId::new("300"))]), []);
        assert_eq!(accounts.name_of("300").unwrap(), account("c"));
    }
}
