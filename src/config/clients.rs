//! `[[clients]]`: who may call, as what, how much.

use std::num::NonZeroU32;

use super::Secret;
use crate::domain::account::AccountId;

/// A caller. It has either a token or a name in its certificate, never both.
#[derive(Clone, Debug)]
pub struct Client {
    /// In logs and metrics. Unique.
    pub name: String,
    /// Sent as `authorization: Bearer …`.
    pub token: Option<Secret>,
    /// A subject alternative name of the caller's certificate (URI or DNS), with mTLS.
    pub san: Option<String>,
    /// What it may act for.
    pub accounts: AccountSet,
    /// Short names of the services that it may call. Absent: all.
    pub services: Option<Vec<String>>,
    /// Its calls in flight. Absent: no limit of its own.
    pub max_concurrent: Option<NonZeroU32>,
    /// Its calls a second. Absent: no limit of its own.
    pub per_second: Option<NonZeroU32>,
}

/// A choice of the configured accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountSet {
    /// Every one.
    All,
    /// These, at least one; all are configured.
    Some(Vec<AccountId>),
}

impl AccountSet {
    /// Whether `account` is among them.
    pub fn contains(&self, account: &AccountId) -> bool {
        match self {
            AccountSet::All => true,
            AccountSet::Some(ids) => ids.contains(account),
        }
    }
}
