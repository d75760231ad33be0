//! `[[accounts]]`: seller accounts and how each authenticates, both ways.

use std::time::Duration;

use http::HeaderName;

use super::Secret;
use crate::domain::account::AccountId;

/// A seller account.
#[derive(Clone, Debug)]
pub struct AccountConfig {
    /// Its name at this gateway.
    pub id: AccountId,
    /// Walmart's number of the seller.
    pub partner_id: String,
    /// Of the API key.
    pub client_id: String,
    /// Of the API key.
    pub client_secret: Secret,
    /// Business unit, as Walmart's `header.headerAttributes` wants it.
    pub mart_id: String,
    /// Business sub-unit, as Walmart's `header.headerAttributes` wants it.
    pub bu_id: String,
    /// Absent: no webhook of this account is accepted.
    pub webhook: Option<WebhookAuth>,
}

/// How an account's webhooks prove where they come from.
#[derive(Clone, Debug)]
pub enum WebhookAuth {
    /// A header carries the HMAC-SHA256 of the body.
    Hmac {
        /// That header.
        header: HeaderName,
        /// One; two or more while rotating. Any of them is good.
        secrets: Vec<Secret>,
    },
    /// HMAC-SHA256 of method, path, timestamp and body hash, in headers whose names Walmart fixes (`WM_SEC.*`).
    HmacV2 {
        /// One; two or more while rotating. Any of them is good.
        secrets: Vec<Secret>,
        /// Greatest age of a delivery's timestamp. Not zero.
        timestamp_tolerance: Duration,
    },
    /// A header carries user name and password.
    Basic {
        /// That header.
        header: HeaderName,
        /// Who.
        username: String,
        /// The proof.
        password: Secret,
    },
    /// Walmart fetches a token from this gateway with client credentials, and sends it in a header.
    Oauth {
        /// That header.
        header: HeaderName,
        /// Who.
        client_id: String,
        /// One; two or more while rotating. Any of them is good.
        client_secrets: Vec<Secret>,
    },
    /// Nothing is checked: for local work only.
    None,
}
