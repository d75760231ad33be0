//! User name and password, as base64 of `user:password`.

use ring::digest::{SHA256, digest};
use secrecy::ExposeSecret as _;
use secrecy::zeroize::Zeroizing;
use subtle::ConstantTimeEq as _;

use super::{ProofError, after, base64};
use crate::config::Secret;

/// Decodes a header's value, with or without the word `Basic`: Walmart does not document whether the word is sent.
pub(super) fn decode(value: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    base64(after("basic", value)).map(Zeroizing::new)
}

/// Compares `sent` with `user:password`.
pub(super) fn check(sent: &[u8], user: &str, password: &Secret) -> Result<(), ProofError> {
    let password = password.current();
    let expected = Zeroizing::new([user, password.expose_secret()].join(":"));
    // Compare hashes, which have one length: the length of the right value is not revealed.
    let (sent, expected) = (digest(&SHA256, sent), digest(&SHA256, expected.as_bytes()));
    if sent.as_ref().ct_eq(expected.as_ref()).into() { Ok(()) } else { Err(ProofError::Wrong) }
}
