//! Keys of the ledger in memory. Unlike those of a file they need no order, only little room.

use sha2::{Digest as _, Sha256};

use super::keys::{HASH, Keys, half};
use crate::domain::account::AccountId;
use crate::domain::ledger::Kind;

/// A key and whose it is, as half a SHA-256: two that differ have different ones. What is kept for long is kept in few
/// pieces of memory: each that is freed has long left the processor's caches.
pub(super) type Hash = [u8; HASH];

/// The keys of a call's entries as the maps have them.
#[derive(Clone, Copy)]
pub(super) struct Hashes {
    pub(super) request: Option<Hash>,
    pub(super) number: Option<Hash>,
    pub(super) content: Option<Hash>,
}

impl From<&Keys> for Hashes {
    fn from(keys: &Keys) -> Self {
        let Keys { account, kind, request, number, content } = keys;
        Self {
            request: request.as_ref().map(|key| of_request(account, *kind, key)),
            number: number.as_ref().map(|key| of_account(account, key)),
            content: content.as_ref().map(|key| of_account(account, key)),
        }
    }
}

pub(super) fn of_request(account: &AccountId, kind: Kind, key: &[u8]) -> Hash {
    hash(account, kind as u8, key)
}

pub(super) fn of_account(account: &AccountId, key: &[u8]) -> Hash {
    hash(account, u8::MAX, key)
}

/// No account has a zero byte, so none can run into what follows.
fn hash(account: &AccountId, kind: u8, key: &[u8]) -> Hash {
    let hash = Sha256::new().chain_update(account.as_str()).chain_update([0, kind]).chain_update(key).finalize();
    half(&hash.into())
}
