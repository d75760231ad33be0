//! Access tokens for Walmart's deliveries, for accounts with this scheme.
//!
//! A token is `<end>.<mac>`: the end of its validity in seconds since 1970, and an HMAC-SHA256 over it. The key is
//! created once and kept in the store ([`crate::ports::token_keys`]); tokens themselves are not stored. A token is
//! therefore valid for its hour after a restart, at every replica, and after a rotation of the client secret. A change
//! of the `client_id` ends its validity.

use std::time::Duration;

use ::base64::Engine as _;
use ::base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};
use secrecy::zeroize::Zeroizing;

use super::{ProofError, after, base64, basic, only};
use crate::config::Secret;
use crate::domain::account::AccountId;
use crate::ports::token_keys::TokenKeyBytes;

/// Validity of a token, as announced to Walmart.
const LIFE: Duration = Duration::from_secs(3600);
/// Extra validity: clocks differ, and a delivery takes time.
const LEEWAY: Duration = Duration::from_secs(60);
/// Prefix of the signed text, which makes the key useless for any other purpose.
const PURPOSE: &str = "order-gateway webhook access token 2";

/// The key of all tokens.
#[derive(Clone, Debug)]
pub struct TokenKey(hmac::Key);

impl TokenKey {
    /// Creates the key from its bytes.
    pub fn new(bytes: &TokenKeyBytes) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// Generates bytes for a new key, from the system's secure random source. `None` when the source fails.
    pub fn random_bytes() -> Option<TokenKeyBytes> {
        let mut bytes = TokenKeyBytes::default();
        SystemRandom::new().fill(&mut bytes).ok()?;
        Some(bytes)
    }
}

/// An issued access token.
#[derive(Debug, PartialEq)]
pub struct TokenGrant {
    /// The token for Walmart's deliveries.
    pub access_token: String,
    /// Validity of the token, from now.
    pub expires_in: Duration,
}

/// The reason why no token was issued. Source of the names: RFC 6749, section 5.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenRefusal {
    /// `grant_type` is missing or repeated.
    InvalidRequest,
    /// `grant_type` is not `client_credentials`.
    UnsupportedGrantType,
    /// The credentials are missing or wrong.
    InvalidClient,
}

/// The tokens of one account.
pub(super) struct AccountTokens<'a> {
    pub(super) account: &'a AccountId,
    pub(super) client_id: &'a str,
    pub(super) client_secrets: &'a [Secret],
    pub(super) key: &'a TokenKey,
}

impl AccountTokens<'_> {
    /// Issues a token. The credentials may be in `header` (as Walmart sends them), in `Authorization: Basic`, or in the
    /// form.
    pub(super) fn grant(
        &self,
        headers: &HeaderMap,
        header: &HeaderName,
        form: &[u8],
        now: Duration,
    ) -> Result<TokenGrant, TokenRefusal> {
        let field = |wanted: &str| {
            let mut all = url::form_urlencoded::parse(form).filter(|(name, _)| name == wanted);
            all.next().map(|(_, value)| value).filter(|_| all.next().is_none())
        };
        match field("grant_type").as_deref() {
            Some("client_credentials") => {}
            Some(_) => return Err(TokenRefusal::UnsupportedGrantType),
            None => return Err(TokenRefusal::InvalidRequest),
        }
        let sent = |name: &HeaderName| basic::decode(only(headers, name).ok()?);
        let in_form = || {
            let (id, secret) = (field("client_id")?, Zeroizing::new(field("client_secret")?.into_owned()));
            Some(Zeroizing::new([&*id, secret.as_str()].join(":").into_bytes()))
        };
        let candidates = [sent(header), sent(&AUTHORIZATION), in_form()];
        let right = |sent: &Zeroizing<Vec<u8>>| {
            let fits = |secret| basic::check(sent, self.client_id, secret).is_ok();
            // Compare all secrets, to take the same time for any of them.
            self.client_secrets.iter().fold(false, |found, secret| fits(secret) | found)
        };
        if !candidates.iter().flatten().any(right) {
            return Err(TokenRefusal::InvalidClient);
        }
        let end = now.saturating_add(LIFE).saturating_add(LEEWAY).as_secs();
        let mac = URL_SAFE_NO_PAD.encode(hmac::sign(&self.key.0, &self.signed(end)));
        Ok(TokenGrant { access_token: format!("{end}.{mac}"), expires_in: LIFE })
    }

    /// Verifies that a header's value is a token of this account, with or without the word `Bearer`, and not expired.
    pub(super) fn check(&self, value: &[u8], now: Duration) -> Result<(), ProofError> {
        let token = std::str::from_utf8(after("bearer", value)).map_err(|_| ProofError::Malformed)?;
        let (end, mac) = token.split_once('.').ok_or(ProofError::Malformed)?;
        let end: u64 = end.parse().map_err(|_| ProofError::Malformed)?;
        let mac = base64(mac.as_bytes()).ok_or(ProofError::Malformed)?;
        hmac::verify(&self.key.0, &self.signed(end), &mac).map_err(|_| ProofError::Wrong)?;
        if now.as_secs() < end { Ok(()) } else { Err(ProofError::Time) }
    }

    /// The signed text. Ids of accounts and clients hold no line ends, which makes the text unambiguous.
    fn signed(&self, end: u64) -> Vec<u8> {
        format!("{PURPOSE}\n{}\n{}\n{end}", self.account, self.client_id).into_bytes()
    }
}
