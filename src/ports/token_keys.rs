//! The signing key for access tokens of webhooks.

use std::future::Future;

use super::store_error::StoreError;

/// The bytes of the key.
pub type TokenKeyBytes = [u8; 32];

/// Stores one key permanently: a token stays valid after a restart, at every replica, and while the secret behind the
/// token changes.
pub trait TokenKeys: Clone + Send + Sync + 'static {
    /// Reads the stored key. A store without a key stores `fresh`, which is the key from then on. The write is durable
    /// when the method returns `Ok`.
    fn token_key(&self, fresh: TokenKeyBytes) -> impl Future<Output = Result<TokenKeyBytes, StoreError>> + Send;
}
