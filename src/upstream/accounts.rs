//! The accounts as the outbound stack needs them.

use std::sync::Arc;

use http::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};

use crate::domain::account::{AccountId, AccountIndex};
use crate::pb::HeaderAttributes;

/// The fixed settings of an account.
#[derive(Clone)]
pub struct UpstreamAccount {
    /// Account id from the settings.
    pub id: AccountId,
    /// Header values for request bodies in which the caller left them out.
    pub header: HeaderAttributes,
    /// The `martId` header of the sandbox.
    pub mart_id: HeaderValue,
    /// The `buId` header of the sandbox.
    pub bu_id: HeaderValue,
    /// Returns the current client id and secret, which can change while the process runs.
    pub credentials: Arc<dyn Fn() -> ClientCredentials + Send + Sync>,
}

/// OAuth client credentials for Walmart's token call.
#[derive(Clone, Debug)]
pub struct ClientCredentials {
    /// The id sent as Basic user name.
    pub client_id: String,
    /// The secret sent as Basic password.
    pub client_secret: Arc<SecretString>,
}

impl PartialEq for ClientCredentials {
    fn eq(&self, other: &Self) -> bool {
        self.client_id == other.client_id && self.client_secret.expose_secret() == other.client_secret.expose_secret()
    }
}

/// All accounts, indexed by [`AccountIndex`].
#[derive(Clone)]
pub struct UpstreamAccounts(Arc<[UpstreamAccount]>);

impl UpstreamAccounts {
    /// Takes the accounts in the order of the settings.
    pub fn new(accounts: Vec<UpstreamAccount>) -> Self {
        Self(accounts.into())
    }

    /// Returns the account at `index`, an index of this list.
    pub fn get(&self, index: AccountIndex) -> &UpstreamAccount {
        &self.0[index.0]
    }

    /// Iterates in the order of the settings.
    pub fn iter(&self) -> std::slice::Iter<'_, UpstreamAccount> {
        self.0.iter()
    }

    /// The number of accounts.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the list is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
