//! Those who may call, as the settings have them.

use std::sync::{Arc, Mutex, PoisonError};

use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::Instant;

use crate::config::{AccountSet, Client as Settings, Config, Secret};
use crate::domain::account::AccountIndex;
use crate::grpc::layers::authn::{Client, Credential, CurrentTokens, TokenHash};
use crate::grpc::layers::share::Share;
use crate::ports::call::{Caller, Visible};

/// In the order of the settings; none for an open gateway.
pub(super) fn from_config(config: &Config) -> Vec<Client> {
    config.clients.iter().filter_map(|client| one(client, config)).collect()
}

/// A client has a token or a name: the settings are checked.
fn one(settings: &Settings, config: &Config) -> Option<Client> {
    let credential = match (&settings.token, &settings.san) {
        (Some(token), _) => Credential::Token(hashes(token.clone())),
        (None, Some(san)) => Credential::San(san.clone()),
        (None, None) => return None,
    };
    let max_concurrent = settings.max_concurrent.map(|limit| limit.get() as usize);
    let per_second = settings.per_second.map(|limit| f64::from(limit.get()));
    Some(Client {
        caller: Arc::new(Caller {
            name: settings.name.clone(),
            accounts: visible(&settings.accounts, config),
            services: settings.services.as_ref().map(|names| names.iter().cloned().collect()),
        }),
        credential,
        share: Share::new(max_concurrent, per_second, Instant::now()),
    })
}

fn visible(accounts: &AccountSet, config: &Config) -> Visible {
    match accounts {
        AccountSet::All => Visible::All,
        AccountSet::Some(ids) => Visible::Only(
            config
                .accounts
                .iter()
                .enumerate()
                .filter(|(_, a)| ids.contains(&a.id))
                .map(|(i, _)| AccountIndex(i))
                .collect(),
        ),
    }
}

/// The hash of the token, made anew only when the token has changed.
fn hashes(token: Secret) -> CurrentTokens {
    let hash = |value: &SecretString| TokenHash::of(value.expose_secret().as_bytes());
    let first = token.current();
    let kept = Mutex::new((hash(&first), first));
    Box::new(move || {
        let current = token.current();
        // Both are replaced together.
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&kept.1, &current) {
            *kept = (hash(&current), current);
        }
        vec![kept.0]
    })
}
