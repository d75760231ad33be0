//! The access tokens with which Walmart's deliveries come, where an account asks for that.
//!
//! A token is `<end>.<mac>`: until when it is good, in seconds since 1970, and an HMAC-SHA256 of that under a key made of
//! the client's secret. Nothing is kept, so a token is good after a restart and at every replica.

use std::time::Duration;

use ::base64::Engine as _;
use ::base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};
use ring::hmac;
use secrecy::ExposeSecret as _;
use secrecy::zeroize::Zeroizing;

use super::{Refused, after, base64, basic, only};
use crate::config::Secret;
use crate::domain::account::AccountId;

/// What Walmart is told that a token is good for.
const LIFE: Duration = Duration::from_secs(3600);
/// So much longer it is: clocks differ, and a delivery takes its time.
const LEEWAY: Duration = Duration::from_secs(60);
/// What the keys of tokens are made for, so that they are good for nothing else.
const PURPOSE: &[u8] = b"order-gateway webhook access token 1";

/// An access token that was given out.
#[derive(Debug, PartialEq)]
pub struct Grant {
    /// The token.
    pub access_token: String,
    /// How long it is good, from now.
    pub expires_in: Duration,
}

/// Why none was given. Source of the names: RFC 6749, section 5.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoToken {
    /// There is no readable `grant_type`.
    InvalidRequest,
    /// It is not `client_credentials`.
    UnsupportedGrantType,
    /// There are no credentials, or wrong ones.
    InvalidClient,
}

/// The tokens of one account.
pub(super) struct Tokens<'a> {
    pub(super) account: &'a AccountId,
    pub(super) client_id: &'a str,
    pub(super) client_secret: &'a Secret,
}

impl Tokens<'_> {
    /// Gives a token out. The credentials may stand in `header` (as Walmart sends them), in `Authorization: Basic`, or in
    /// the form.
    pub(super) fn grant(
        &self,
        headers: &HeaderMap,
        header: &HeaderName,
        form: &[u8],
        now: Duration,
    ) -> Result<Grant, NoToken> {
        let field = |wanted: &str| {
            let mut all = url::form_urlencoded::parse(form).filter(|(name, _)| name == wanted);
            all.next().map(|(_, value)| value).filter(|_| all.next().is_none())
        };
        match field("grant_type").as_deref() {
            Some("client_credentials") => {}
            Some(_) => return Err(NoToken::UnsupportedGrantType),
            None => return Err(NoToken::InvalidRequest),
        }
        let sent = |name: &HeaderName| basic::decode(only(headers, name).ok()?);
        let in_form = || {
            let (id, secret) = (field("client_id")?, Zeroizing::new(field("client_secret")?.into_owned()));
            Some(Zeroizing::new([&*id, secret.as_str()].join(":").into_bytes()))
        };
        let candidates = [sent(header), sent(&AUTHORIZATION), in_form()];
        let right = |sent: &Zeroizing<Vec<u8>>| basic::check(sent, self.client_id, self.client_secret).is_ok();
        if !candidates.iter().flatten().any(right) {
            return Err(NoToken::InvalidClient);
        }
        let end = now.saturating_add(LIFE).saturating_add(LEEWAY).as_secs();
        let mac = URL_SAFE_NO_PAD.encode(hmac::sign(&self.key(), &self.signed(end)));
        Ok(Grant { access_token: format!("{end}.{mac}"), expires_in: LIFE })
    }

    /// Whether a header's value is a token of this account, with or without the word `Bearer`, that is good now.
    pub(super) fn check(&self, value: &[u8], now: Duration) -> Result<(), Refused> {
        let token = std::str::from_utf8(after("bearer", value)).map_err(|_| Refused::Malformed)?;
        let (end, mac) = token.split_once('.').ok_or(Refused::Malformed)?;
        let end: u64 = end.parse().map_err(|_| Refused::Malformed)?;
        let mac = base64(mac.as_bytes()).ok_or(Refused::Malformed)?;
        hmac::verify(&self.key(), &self.signed(end), &mac).map_err(|_| Refused::Wrong)?;
        if now.as_secs() < end { Ok(()) } else { Err(Refused::Time) }
    }

    fn key(&self) -> hmac::Key {
        let secret = self.client_secret.current();
        let secret = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
        hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&secret, PURPOSE).as_ref())
    }

    /// Ids of accounts and clients hold no line ends.
    fn signed(&self, end: u64) -> Vec<u8> {
        format!("{}\n{}\n{end}", self.account, self.client_id).into_bytes()
    }
}
