//! Keys of the ledger in memory. Unlike those of a file they need no order, only little room.

use sha2::{Digest as _, Sha256};

use super::keys::{HASH, half};
use crate::domain::account::AccountId;
use crate::domain::ledger::{Kind, NewEntry};

/// A key and whose it is, as half a SHA-256: two that differ have different ones. What is kept for long is kept in few
/// pieces of memory: each that is freed has long left the processor's caches.
pub(super) type Hash = [u8; HASH];

/// What a key is of, where it is not of a request, which has its kind.
const NUMBER: u8 = u8::MAX;
const CONTENT: u8 = u8::MAX - 1;

/// The keys of a call's entries as the maps have them.
#[derive(Clone, Copy)]
pub(super) struct Hashes {
    pub(super) request: Option<Hash>,
    pub(super) number: Option<Hash>,
    pub(super) content: Option<Hash>,
}

impl Hashes {
    pub(super) fn of(new: &NewEntry) -> Self {
        let NewEntry { account, kind, order_number, request_id, fingerprint, .. } = new;
        Self {
            request: request_id.as_deref().map(|id| of_request(account, *kind, id)),
            number: (*kind == Kind::Create).then(|| of_number(account, order_number)),
            // The fingerprint has one length, so the two cannot be taken for others.
            content: (*kind == Kind::Cancel).then(|| hash(account, CONTENT, [&fingerprint.0, order_number.as_bytes()])),
        }
    }
}

pub(super) fn of_request(account: &AccountId, kind: Kind, id: &str) -> Hash {
    hash(account, kind as u8, [id.as_bytes(), b""])
}

pub(super) fn of_number(account: &AccountId, order_number: &str) -> Hash {
    hash(account, NUMBER, [order_number.as_bytes(), b""])
}

/// No account has a zero byte, so none can run into what follows.
fn hash(account: &AccountId, of: u8, parts: [&[u8]; 2]) -> Hash {
    let [one, other] = parts;
    let hash = Sha256::new().chain_update(account.as_str()).chain_update([0, of]).chain_update(one).chain_update(other);
    let hash = hash.finalize();
    half(&hash.into())
}
