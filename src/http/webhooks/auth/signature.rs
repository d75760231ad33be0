//! HMAC-SHA256 with a shared secret: over the body alone, or over method, path, time and body.

use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, HeaderName};
use ring::{digest, hmac};
use secrecy::ExposeSecret as _;
use subtle::ConstantTimeEq as _;

use super::{ProofError, base64, only};
use crate::config::Secret;
use crate::domain::hex;

const TIMESTAMP: HeaderName = HeaderName::from_static("wm_sec.timestamp");
pub(super) static SIGNATURE: HeaderName = HeaderName::from_static("wm_sec.signature");

/// Largest lead of the sender's clock. Source: Walmart's guide to the scheme.
const AHEAD: Duration = Duration::from_secs(2 * 60);
/// Bytes of a SHA-256 hash.
const LENGTH: usize = 32;
/// Longest scheme name before a signature, in bytes.
const LONGEST_SCHEME: usize = 24;

/// Verifies a signature over the body, in hex or base64, with or without a scheme such as `sha256=`: Walmart does not
/// document the form.
pub(super) fn of_body(
    headers: &HeaderMap,
    header: &HeaderName,
    body: &[u8],
    secrets: &[Secret],
) -> Result<(), ProofError> {
    let sent = decode(only(headers, header)?).ok_or(ProofError::Malformed)?;
    by_any(secrets, &[body], &sent)
}

/// Verifies `WM_SEC.SIGNATURE` over method, path, time and body. The time is `WM_SEC.TIMESTAMP`, in seconds since 1970.
/// `WM_SEC.KEY_ID`, if present, names the secret in terms known to Walmart alone: all secrets are tried.
pub(super) fn of_request(
    head: &Parts,
    body: &[u8],
    secrets: &[Secret],
    tolerance: Duration,
    now: Duration,
) -> Result<(), ProofError> {
    let timestamp = only(&head.headers, &TIMESTAMP)?;
    let sent = decode(only(&head.headers, &SIGNATURE)?).ok_or(ProofError::Malformed)?;
    let time = seconds(timestamp).ok_or(ProofError::Malformed)?;
    if time > now.saturating_add(AHEAD) || now > time.saturating_add(tolerance) {
        return Err(ProofError::Time);
    }
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let hash = hex::lower(digest::digest(&digest::SHA256, body).as_ref());
    let method = head.method.as_str().as_bytes();
    by_any(secrets, &[method, b"\n", path.as_bytes(), b"\n", timestamp, b"\n", hash.as_bytes()], &sent)
}

fn seconds(text: &[u8]) -> Option<Duration> {
    let digits = text.iter().all(u8::is_ascii_digit);
    let seconds = std::str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Tries all secrets, to take the same time for any of them.
fn by_any(secrets: &[Secret], parts: &[&[u8]], sent: &[u8; LENGTH]) -> Result<(), ProofError> {
    let mut right = subtle::Choice::from(0);
    for secret in secrets {
        let secret = secret.current();
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
        let mut context = hmac::Context::with_key(&key);
        parts.iter().for_each(|part| context.update(part));
        right |= context.sign().as_ref().ct_eq(sent.as_slice());
    }
    if right.into() { Ok(()) } else { Err(ProofError::Wrong) }
}

/// Decodes a SHA-256 hash: hex of either case, or base64 of either alphabet, padded or not, with or without the name of
/// a scheme.
fn decode(text: &[u8]) -> Option<[u8; LENGTH]> {
    plain(text).or_else(|| plain(without_scheme(text)?))
}

fn plain(text: &[u8]) -> Option<[u8; LENGTH]> {
    hex::read(text).or_else(|| base64(text)?.try_into().ok())
}

/// Strips `sha256=`, `HMAC-SHA256 `, `v1:` and similar prefixes. Walmart does not document which prefix is sent, if
/// any, and the name decides nothing: the rest must be the right HMAC-SHA256.
fn without_scheme(text: &[u8]) -> Option<&[u8]> {
    let end = text.iter().position(|byte| !byte.is_ascii_alphanumeric() && !matches!(byte, b'-' | b'_'))?;
    let (scheme, rest) = text.split_at_checked(end)?;
    let separators = rest.iter().take_while(|byte| matches!(byte, b'=' | b':' | b' ')).count();
    let named = scheme.first().is_some_and(u8::is_ascii_alphabetic) && scheme.len() <= LONGEST_SCHEME;
    rest.get(separators..).filter(|_| named && separators > 0)
}
