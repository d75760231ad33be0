//! `[[accounts]]`: seller accounts, with credentials for Walmart and for webhooks.

use std::time::Duration;

use http::HeaderName;

use super::Secret;
use crate::domain::account::AccountId;

/// A seller account at Walmart.
#[derive(Clone, Debug, PartialEq)]
pub struct AccountConfig {
    /// Name of the account at this gateway.
    pub id: AccountId,
    /// Walmart's id of the seller.
    pub partner_id: String,
    /// Client id of the API key.
    pub client_id: String,
    /// Client secret of the API key.
    pub client_secret: Secret,
    /// Business unit, for Walmart's `header.headerAttributes`.
    pub mart_id: String,
    /// Business sub-unit, for Walmart's `header.headerAttributes`.
    pub bu_id: String,
    /// The `WM_CONSUMER.CHANNEL.TYPE` header of every call. Absent: the header is left out.
    pub channel_type: Option<String>,
    /// The seller's refresh token at a solution provider. Absent: tokens are fetched with client credentials.
    pub refresh_token: Option<Secret>,
    /// Authentication of webhooks. Absent: webhooks for this account are refused.
    pub webhook: Option<WebhookAuth>,
}

/// The authentication of an account's webhooks.
#[derive(Clone, Debug, PartialEq)]
pub enum WebhookAuth {
    /// A header carries the HMAC-SHA256 of the body.
    Hmac {
        /// Name of the header with the proof.
        header: HeaderName,
        /// The shared secret; several while rotating. Any matching secret is accepted.
        secrets: Vec<Secret>,
    },
    /// HMAC-SHA256 of method, path, timestamp and body hash, in headers with fixed names (`WM_SEC.*`).
    HmacV2 {
        /// The shared secret; several while rotating. Any matching secret is accepted.
        secrets: Vec<Secret>,
        /// Maximum age of a delivery's timestamp. Not zero.
        timestamp_tolerance: Duration,
    },
    /// A header carries user name and password.
    Basic {
        /// Name of the header with the proof.
        header: HeaderName,
        /// User name in the Basic credentials.
        username: String,
        /// Password in the Basic credentials.
        password: Secret,
    },
    /// Walmart fetches a token from this gateway with client credentials, and sends the token in a header.
    Oauth {
        /// Name of the header with the token.
        header: HeaderName,
        /// OAuth client id with which Walmart fetches a token.
        client_id: String,
        /// The client secret; several while rotating. Any matching secret is accepted.
        client_secrets: Vec<Secret>,
    },
    /// No authentication, for local work only.
    None,
}
