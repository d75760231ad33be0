//! Builds the callers from the settings.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::time::Instant;

use crate::config::{AccountSet, ClientConfig, Config};
use crate::domain::feed::AccountScope;
use crate::grpc::layers::authn::{AllowedClient, ClientCredential};
use crate::grpc::layers::client_limits::{ClientLimitSettings, ClientLimits};
use crate::ports::call::{Caller, VisibleAccounts};
use crate::service::AccountDirectory;

/// Returns the callers in the order of the settings; empty for an open gateway.
pub(super) fn from_config(config: &Config, directory: &AccountDirectory) -> Vec<AllowedClient> {
    config.clients.iter().map(|client| one(client, config, directory)).collect()
}

/// Returns the accounts visible to each client, by client name.
pub(super) fn scopes(config: &Config) -> HashMap<String, AccountScope> {
    let scope = |accounts: &AccountSet| match accounts {
        AccountSet::All => AccountScope::All,
        AccountSet::Some(ids) => {
            AccountScope::only(config.accounts.iter().map(|account| &account.id).filter(|id| ids.contains(id)))
        }
    };
    config.clients.iter().map(|client| (client.name.clone(), scope(&client.accounts))).collect()
}

fn one(settings: &ClientConfig, config: &Config, directory: &AccountDirectory) -> AllowedClient {
    let credential = match &settings.san {
        Some(san) => ClientCredential::San(san.clone()),
        None => ClientCredential::Tokens(settings.tokens.clone()),
    };
    let limits = ClientLimitSettings {
        calls: config.grpc.max_calls_per_client.get() as usize,
        streams: config.grpc.max_streams_per_client.get() as usize,
        max_concurrent: settings.max_concurrent.map(|limit| limit.get() as usize),
        per_second: settings.per_second.map(|limit| f64::from(limit.get())),
    };
    AllowedClient {
        caller: Arc::new(Caller {
            name: settings.name.clone(),
            accounts: visible(&settings.accounts, directory),
            services: settings.services.as_ref().map(|names| names.iter().cloned().collect()),
        }),
        credential,
        limits: Arc::new(ClientLimits::new(limits, Instant::now())),
    }
}

fn visible(accounts: &AccountSet, directory: &AccountDirectory) -> VisibleAccounts {
    match accounts {
        AccountSet::All => VisibleAccounts::All,
        AccountSet::Some(ids) => VisibleAccounts::Only(ids.iter().filter_map(|id| directory.position(id)).collect()),
    }
}
