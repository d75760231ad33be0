//! What the way to Walmart needs of each account.

use std::sync::Arc;

use http::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};

use crate::domain::account::{AccountId, AccountIndex};
use crate::pb::HeaderAttributes;

/// One account, without its changing state.
#[derive(Clone)]
pub struct UpstreamAccount {
    /// Its id in the settings.
    pub id: AccountId,
    /// What fills the header of a body where the caller left it out.
    pub header: HeaderAttributes,
    /// The same as HTTP headers, for the sandbox.
    pub mart_id: HeaderValue,
    /// See `mart_id`.
    pub bu_id: HeaderValue,
    /// Gives the present client id and secret; they may change while the process runs.
    pub credentials: Arc<dyn Fn() -> ClientCredentials + Send + Sync>,
}

/// Client id and secret of Walmart's token call.
#[derive(Clone, Debug)]
pub struct ClientCredentials {
    /// The client id.
    pub client_id: String,
    /// The client secret.
    pub client_secret: Arc<SecretString>,
}

impl PartialEq for ClientCredentials {
    fn eq(&self, other: &Self) -> bool {
        self.client_id == other.client_id && self.client_secret.expose_secret() == other.client_secret.expose_secret()
    }
}

/// All accounts, by position.
#[derive(Clone)]
pub struct UpstreamAccounts(Arc<[UpstreamAccount]>);

impl UpstreamAccounts {
    /// In the order of the settings.
    pub fn new(accounts: Vec<UpstreamAccount>) -> Self {
        Self(accounts.into())
    }

    /// The account at `index`, which came from this list.
    pub fn get(&self, index: AccountIndex) -> &UpstreamAccount {
        &self.0[index.0]
    }

    /// In the order of the settings.
    pub fn iter(&self) -> std::slice::Iter<'_, UpstreamAccount> {
        self.0.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
