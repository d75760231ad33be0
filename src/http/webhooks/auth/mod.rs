//! Verifies the origin of a delivery, by the scheme of its account.
//!
//! A received body is an [`UnverifiedDelivery`]; only [`ProofVerifier::check`] turns it into a [`VerifiedDelivery`],
//! and no reader accepts anything else. Secrets are read at every check, because their files may change. Comparisons
//! with a secret take constant time.

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

/// A received body, with the head of its request.
#[derive(Debug)]
pub struct UnverifiedDelivery<'a> {
    /// Method, path and headers as received.
    pub head: &'a Parts,
    /// The body as received.
    pub body: Bytes,
}

/// A body whose origin is proved.
#[derive(Debug)]
pub struct VerifiedDelivery(Bytes);

impl VerifiedDelivery {
    /// Returns the proved body.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

/// The reason why the origin is not proved. Holds nothing of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// A header of the proof is missing.
    #[error("the request carries no proof of where it comes from")]
    Missing,
    /// A header of the proof is repeated; the sender must not choose which value counts.
    #[error("a header of the proof is repeated")]
    Repeated,
    /// The proof has the wrong form.
    #[error("the proof cannot be read")]
    Malformed,
    /// The timestamp is too old, or in the future.
    #[error("the timestamp is too old, or too far ahead")]
    Time,
    /// The proof is wrong.
    #[error("the proof is wrong")]
    Wrong,
}

/// Verifies the deliveries of one account.
#[derive(Debug)]
pub struct ProofVerifier {
    account: AccountId,
    webhook: WebhookAuth,
}

impl ProofVerifier {
    /// Verifies by the scheme in the settings.
    pub fn new(account: AccountId, webhook: WebhookAuth) -> Self {
        Self { account, webhook }
    }

    /// Verifies a delivery. `now` is the time since 1970. With tokens issued by the gateway ([`ProofVerifier::grants`])
    /// every delivery is refused without the `key` of tokens.
    ///
    /// # Errors The proof is missing or wrong.
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

    /// The header with the proof; `None` when deliveries carry no proof.
    pub fn proof_header(&self) -> Option<&HeaderName> {
        match &self.webhook {
            WebhookAuth::Hmac { header, .. }
            | WebhookAuth::Basic { header, .. }
            | WebhookAuth::Oauth { header, .. } => Some(header),
            WebhookAuth::HmacV2 { .. } => Some(&signature::SIGNATURE),
            WebhookAuth::None => None,
        }
    }

    /// Whether this account's deliveries carry a token issued by the gateway.
    pub const fn grants(&self) -> bool {
        matches!(self.webhook, WebhookAuth::Oauth { .. })
    }

    /// Answers a request for an access token.
    ///
    /// # Errors The credentials or the form are wrong, or this account uses no tokens.
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

/// Returns the value of a header that must be present once, without the spaces around it.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<&'a [u8], ProofError> {
    let mut all = headers.get_all(name).iter();
    let value = all.next().ok_or(ProofError::Missing)?;
    match all.next() {
        None => Ok(value.as_bytes().trim_ascii()),
        Some(_) => Err(ProofError::Repeated),
    }
}

/// Strips `word`, in any case, and the spaces after it. Returns the value unchanged when it begins with another word or
/// none.
fn after<'a>(word: &str, value: &'a [u8]) -> &'a [u8] {
    match value.split_at_checked(word.len()) {
        Some((first, rest)) if first.eq_ignore_ascii_case(word.as_bytes()) && rest.starts_with(b" ") => {
            rest.trim_ascii_start()
        }
        _ => value,
    }
}

/// Decodes base64 of either alphabet, padded or not.
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
mod tests;
