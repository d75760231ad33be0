//! The key with which access tokens of webhooks are signed.

use std::future::Future;

use super::ledger::StoreError;

/// Bytes of the key.
pub type TokenKeyBytes = [u8; 32];

/// Keeps one key for good, so that a token is good after a restart, at every replica, and while the secret for which it was
/// given out changes.
pub trait TokenKeys: Clone + Send + Sync + 'static {
    /// The key that is kept. A store that has none keeps `fresh`, which is the key from then on. Durable when it returns
    /// `Ok`.
    fn token_key(&self, fresh: TokenKeyBytes) -> impl Future<Output = Result<TokenKeyBytes, StoreError>> + Send;
}
