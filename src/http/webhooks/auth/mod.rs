//! Where a delivery comes from: each account's way to prove it.
//!
//! A body of which that is not known is [`UnverifiedDelivery`]; only [`ProofVerifier::check`] makes a [`VerifiedDelivery`] of it, and nothing reads
//! another. Secrets are asked for at each check, because their files may change; whatever is compared with one takes the
//! same time however much of it is right.

mod basic;
mod oauth;
mod signature;

use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName};

use crate::config::WebhookAuth;
use crate::domain::account::AccountId;

pub use self::oauth::{TokenGrant, TokenKey, TokenRefusal};

/// A body as it came, with the head of its request.
#[derive(Debug)]
pub struct UnverifiedDelivery<'a> {
    /// Method, path and headers as they were received.
    pub head: &'a Parts,
    /// The body as it was received.
    pub body: Bytes,
}

/// A body of which it is proved that it comes from where it should.
#[derive(Debug)]
pub struct VerifiedDelivery(Bytes);

impl VerifiedDelivery {
    /// The body.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

/// Why it is not proved. Nothing of what was sent is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// A header that belongs to the proof is not there.
    #[error("the request carries no proof of where it comes from")]
    Missing,
    /// It is there more than once: which one counts is not for the sender to choose.
    #[error("a header of the proof stands there more than once")]
    Repeated,
    /// It cannot be what it should be.
    #[error("the proof cannot be read")]
    Malformed,
    /// It is too old, or from the future.
    #[error("the timestamp is too old, or too far ahead")]
    Time,
    /// It is not right.
    #[error("the proof is wrong")]
    Wrong,
}

/// An account's way to tell where a delivery comes from.
#[derive(Debug)]
pub struct ProofVerifier {
    account: AccountId,
    webhook: WebhookAuth,
}

impl ProofVerifier {
    /// As the settings have it.
    pub fn new(account: AccountId, webhook: WebhookAuth) -> Self {
        Self { account, webhook }
    }

    /// Lets a delivery through if it is what it should be. `now` is the time since 1970. Where deliveries carry a token that
    /// is given out here ([`ProofVerifier::grants`]), none is right without the `key` of tokens.
    pub fn check(
        &self,
        delivery: UnverifiedDelivery<'_>,
        now: Duration,
        key: Option<&TokenKey>,
    ) -> Result<VerifiedDelivery, ProofError> {
        let UnverifiedDelivery { head, body } = delivery;
        match &self.webhook {
            WebhookAuth::Hmac { header, secrets } => signature::of_body(&head.headers, header, &body, secrets)?,
            WebhookAuth::HmacV2 { secrets, timestamp_tolerance } => {
                signature::of_request(head, &body, secrets, *timestamp_tolerance, now)?;
            }
            WebhookAuth::Basic { header, username, password } => {
                let sent = basic::decode(only(&head.headers, header)?).ok_or(ProofError::Malformed)?;
                basic::check(&sent, username, password)?;
            }
            WebhookAuth::Oauth { header, client_id, client_secrets } => {
                let key = key.ok_or(ProofError::Wrong)?;
                let tokens = oauth::AccountTokens { account: &self.account, client_id, client_secrets, key };
                tokens.check(only(&head.headers, header)?, now)?;
            }
            WebhookAuth::None => {}
        }
        Ok(VerifiedDelivery(body))
    }

    /// The header that carries the proof. `None`: nothing is checked.
    pub fn proof_header(&self) -> Option<&HeaderName> {
        match &self.webhook {
            WebhookAuth::Hmac { header, .. }
            | WebhookAuth::Basic { header, .. }
            | WebhookAuth::Oauth { header, .. } => Some(header),
            WebhookAuth::HmacV2 { .. } => Some(&signature::SIGNATURE),
            WebhookAuth::None => None,
        }
    }

    /// Whether this account's deliveries carry a token that is given out here.
    pub const fn grants(&self) -> bool {
        matches!(self.webhook, WebhookAuth::Oauth { .. })
    }

    /// Answers a request for an access token. Never given out where no delivery carries one.
    pub fn grant(
        &self,
        headers: &HeaderMap,
        form: &[u8],
        now: Duration,
        key: &TokenKey,
    ) -> Result<TokenGrant, TokenRefusal> {
        let WebhookAuth::Oauth { header, client_id, client_secrets } = &self.webhook else {
            return Err(TokenRefusal::InvalidClient);
        };
        let tokens = oauth::AccountTokens { account: &self.account, client_id, client_secrets, key };
        tokens.grant(headers, header, form, now)
    }
}

/// The value of a header that must be there once, without the spaces around it.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<&'a [u8], ProofError> {
    let mut all = headers.get_all(name).iter();
    let value = all.next().ok_or(ProofError::Missing)?;
    match all.next() {
        None => Ok(value.as_bytes().trim_ascii()),
        Some(_) => Err(ProofError::Repeated),
    }
}

/// What follows `word` and spaces, whatever the case of its letters; all of it where another word or none stands.
fn after<'a>(word: &str, value: &'a [u8]) -> &'a [u8] {
    match value.split_at_checked(word.len()) {
        Some((first, rest)) if first.eq_ignore_ascii_case(word.as_bytes()) && rest.starts_with(b" ") => {
            rest.trim_ascii_start()
        }
        _ => value,
    }
}

/// Reads base64 of either alphabet, padded or not.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    use base64::Engine as _;
    use base64::alphabet::{STANDARD, URL_SAFE};
    use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

    const LENIENT: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    const PLAIN: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);
    const FOR_URLS: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT);
    PLAIN.decode(text).or_else(|_| FOR_URLS.decode(text)).ok()
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
