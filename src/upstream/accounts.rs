//! The accounts as the outbound stack needs them.

use std::sync::Arc;

use arc_swap::ArcSwap;
use http::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};

use crate::domain::account::{AccountId, AccountIndex};
use crate::pb::HeaderAttributes;

/// The settings of an account.
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
    /// The `WM_CONSUMER.CHANNEL.TYPE` header, if set.
    pub channel_type: Option<HeaderValue>,
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
    /// The seller's refresh token at a solution provider; `None` for the grant `client_credentials`.
    pub refresh: Option<SellerRefresh>,
}

/// The seller for whom a solution provider fetches tokens, by the grant `refresh_token`.
#[derive(Clone, Debug)]
pub struct SellerRefresh {
    /// The `WM_PARTNER.ID` header of the token call.
    pub partner_id: HeaderValue,
    /// The token that the seller granted to the solution provider.
    pub token: Arc<SecretString>,
}

impl PartialEq for ClientCredentials {
    fn eq(&self, other: &Self) -> bool {
        let refresh = |it: &Self| {
            it.refresh.as_ref().map(|refresh| (refresh.partner_id.clone(), refresh.token.expose_secret().to_owned()))
        };
        self.client_id == other.client_id
            && self.client_secret.expose_secret() == other.client_secret.expose_secret()
            && refresh(self) == refresh(other)
    }
}

/// All accounts, indexed by [`AccountIndex`]. Cheap to clone; all clones share the accounts.
#[derive(Clone)]
pub struct UpstreamAccounts(Arc<ArcSwap<Vec<Arc<UpstreamAccount>>>>);

impl UpstreamAccounts {
    /// Takes the accounts in the order of the settings.
    pub fn new(accounts: Vec<UpstreamAccount>) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(accounts.into_iter().map(Arc::new).collect())))
    }

    /// Returns the account at `index`, an index of this list.
    pub fn get(&self, index: AccountIndex) -> Arc<UpstreamAccount> {
        self.0.load()[index.0].clone()
    }

    /// Replaces the settings of accounts, or adds accounts at the end. An account that is left out keeps its settings,
    /// for the calls that are under way.
    pub(crate) fn update(&self, accounts: Vec<(AccountIndex, UpstreamAccount)>) {
        let mut all = Vec::clone(&self.0.load());
        for (index, account) in accounts {
            match all.get_mut(index.0) {
                Some(known) => *known = Arc::new(account),
                None => all.push(Arc::new(account)),
            }
        }
        self.0.store(Arc::new(all));
    }

    /// The number of accounts.
    pub fn len(&self) -> usize {
        self.0.load().len()
    }

    /// Whether the list is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
