//! Short keys for finding entries by numbers and ids chosen by callers.
//!
//! Keys keep the order of their texts. Rising numbers and ids, as many callers use, therefore touch few pages of an
//! index.

use std::ops::RangeInclusive;

use sha2::{Digest as _, Sha256};

use crate::domain::account::AccountId;
use crate::domain::feed::notification::{DeliveryContent, WebhookDelivery};
use crate::domain::ledger::{Entry, Fingerprint, MutationKind, NewEntry};

/// A key within one account; at most [`LONGEST`] bytes.
pub(super) type LookupKey = Box<[u8]>;

/// Longest key; a UUID as text is shorter.
const LONGEST: usize = 40;

/// Bytes of a hash at the end of a key: half a SHA-256. As for fingerprints, different texts have different keys.
pub(super) const HASH: usize = 16;

/// Bytes of the hash of an event's kind.
const KIND: usize = 4;

/// The keys of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EntryKeys {
    pub(super) account: AccountId,
    pub(super) kind: MutationKind,
    /// Key of the request id, if given; used together with the kind.
    pub(super) request: Option<LookupKey>,
    /// Key of the order number, for a creation.
    pub(super) number: Option<LookupKey>,
    /// Key of order number and fingerprint, for a cancellation.
    pub(super) content: Option<LookupKey>,
}

impl EntryKeys {
    pub(super) fn of(new: &NewEntry) -> Self {
        let NewEntry { account, kind, order_number, request_id, fingerprint, .. } = new;
        Self::from(account, *kind, order_number, request_id.as_deref(), fingerprint)
    }

    /// The keys of a stored entry, equal to the keys at its creation.
    pub(super) fn of_entry(entry: &Entry) -> Self {
        let Entry { account, kind, order_number, request_id, fingerprint, .. } = entry;
        Self::from(account, *kind, order_number, request_id.as_deref(), fingerprint)
    }

    fn from(
        account: &AccountId,
        kind: MutationKind,
        order_number: &str,
        request_id: Option<&str>,
        fingerprint: &Fingerprint,
    ) -> Self {
        Self {
            account: account.clone(),
            kind,
            request: request_id.map(short),
            number: kind.is_by_order_number().then(|| short(order_number)),
            content: (!kind.is_by_order_number()).then(|| content(order_number, fingerprint)),
        }
    }
}

/// The key of a number or an id. A text shorter than the limit is its own key; a longer text keeps its beginning,
/// followed by a hash.
pub(super) fn short(text: &str) -> LookupKey {
    let text = text.as_bytes();
    if text.len() < LONGEST {
        return text.into();
    }
    [&text[..LONGEST - HASH], &Sha256::digest(text)[..HASH]].concat().into()
}

fn content(order_number: &str, fingerprint: &Fingerprint) -> LookupKey {
    // The fingerprint has a fixed length, which keeps the two parts apart.
    let hash = Sha256::new().chain_update(fingerprint.0).chain_update(order_number).finalize();
    hash[..HASH].into()
}

/// The key of a delivery within its account: the identity of its event, or the hash of an unreadable body.
pub(super) fn delivery(arrival: &WebhookDelivery) -> LookupKey {
    match &arrival.content {
        DeliveryContent::Event { event_id: id, event_type, sub_event_type, .. } => {
            event(id, event_type, sub_event_type)
        }
        DeliveryContent::Unreadable { .. } => body(&arrival.body_hash).into(),
    }
}

/// The key of a body that is or was in quarantine.
pub(super) fn body(hash: &[u8; 32]) -> [u8; HASH] {
    let mut key = half(hash);
    key[0] |= 1;
    key
}

/// The key of an event: the key of its id, and a hash of its kind. A collision of two kinds under one id would make the
/// second body a conflict, which is shown to operators.
pub(super) fn event(event_id: &str, event_type: &str, sub_event_type: &str) -> LookupKey {
    // The length in front keeps the two texts apart.
    let length = (event_type.len() as u64).to_be_bytes();
    let kind = Sha256::new().chain_update(length).chain_update(event_type).chain_update(sub_event_type).finalize();
    [&self::event_id(event_id)[..], &kind[..KIND]].concat().into()
}

/// The common beginning of the keys of all events with an id, and the whole key of events stored before kinds were part
/// of the key. One bit differs from all keys of bodies, which keeps an event id from imitating a body.
pub(super) fn event_id(event_id: &str) -> [u8; HASH] {
    let mut key = half(&Sha256::digest(event_id).into());
    key[0] &= !1;
    key
}

/// The least and the greatest key of an event with this id.
pub(super) fn events_of(event_id: &str) -> ([u8; HASH], LookupKey) {
    let first = self::event_id(event_id);
    (first, [&first[..], &[u8::MAX; KIND]].concat().into())
}

/// The hash for finding a delivery. The first half comes from the event id and the second from the kind: all kinds of
/// one id lie together, and every kind can be found alone. Stored in every database; must never change.
pub(super) fn delivery_hash(key: &[u8]) -> i64 {
    let part = |four: Option<&[u8; 4]>| u32::from_be_bytes(four.copied().unwrap_or_default());
    i64::from(part(key.first_chunk()).cast_signed()) << 32 | i64::from(part(key.last_chunk()))
}

/// The range of hashes of all events with this id.
pub(super) fn hashes_of_events(event_id: &str) -> RangeInclusive<i64> {
    let first = delivery_hash(&self::event_id(event_id)) & !i64::from(u32::MAX);
    first..=first | i64::from(u32::MAX)
}

/// The key of a line of a purchase order, within its account.
pub(super) fn intent_line(purchase_order: &str, line: &str) -> [u8; HASH] {
    // The length in front keeps the two texts apart.
    let length = (purchase_order.len() as u64).to_be_bytes();
    half(&Sha256::new().chain_update(length).chain_update(purchase_order).chain_update(line).finalize().into())
}

/// The first half of a SHA-256.
pub(super) fn half(hash: &[u8; 32]) -> [u8; HASH] {
    let mut half = [0; HASH];
    half.copy_from_slice(&hash[..HASH]);
    half
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_an_event_id_has_a_key_of_its_own() {
        let keys =
            [("A", ""), ("", "A"), ("A", "B"), ("AB", ""), ("B", "A")].map(|(kind, sub)| event("e-1", kind, sub));
        let (first, last) = events_of("e-1");
        for (at, key) in keys.iter().enumerate() {
            assert!(!keys[..at].contains(key));
            assert!(first[..] <= key[..] && key <= &last && key.starts_with(&event_id("e-1")));
        }
        assert!(!event("e-2", "A", "").starts_with(&first));
        assert_ne!(body(&Sha256::digest("e-1").into()), first);
    }

    #[test]
    fn events_of_an_id_are_found_together_and_each_by_itself() {
        // As it is in every database.
        assert_eq!(delivery_hash(b"\xff\xff\xff\xfeabcdefgh\x80\0\0\x01"), (-2 << 32) + 0x8000_0001);
        let kinds = ["", "A", "B", "C", "D", "E", "F", "G"].map(|kind| delivery_hash(&event("e-1", kind, "")));
        let all = hashes_of_events("e-1");
        assert!(kinds.iter().chain([&delivery_hash(&event_id("e-1"))]).all(|hash| all.contains(hash)));
        assert!((1..kinds.len()).all(|at| !kinds[..at].contains(&kinds[at])));
        assert!(!all.contains(&delivery_hash(&event("e-2", "A", ""))));
        assert_eq!((*all.end() - *all.start(), delivery_hash(b""), delivery_hash(b"abc")), (0xffff_ffff, 0, 0));
    }

    #[test]
    fn each_line_of_each_purchase_order_has_a_key_of_its_own() {
        let keys =
            [("17", "1"), ("17", "2"), ("171", ""), ("1", "71"), ("", "171")].map(|(po, at)| intent_line(po, at));
        assert!((1..keys.len()).all(|at| !keys[..at].contains(&keys[at])));
    }

    #[test]
    fn short_texts_are_their_keys_and_long_ones_differ() {
        assert_eq!(*short("order 1"), *b"order 1");
        let uuid = "018f4e3a-5d6b-7c8d-9e0f-112233445566";
        assert_eq!(*short(uuid), *uuid.as_bytes());
        let long = "n".repeat(LONGEST - 1);
        let keys = [1, 2, 3, 1000].map(|more| short(&format!("{long}{}", "n".repeat(more))));
        assert!(keys.iter().all(|key| key.len() == LONGEST));
        assert!((1..keys.len()).all(|at| !keys[..at].contains(&keys[at])));
        assert_eq!(short(&long).len(), LONGEST - 1);
    }
}
