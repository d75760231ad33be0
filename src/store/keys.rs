//! Keys by which entries are found: those that callers choose, made short.
//!
//! Their order is kept, so that numbers and ids that rise (as those of many callers do) touch few pages of an index.

use std::ops::RangeInclusive;

use sha2::{Digest as _, Sha256};

use crate::domain::account::AccountId;
use crate::domain::feed::notification::{DeliveryContent, WebhookDelivery};
use crate::domain::ledger::{Entry, Fingerprint, MutationKind, NewEntry};

/// Of one account; at most [`LONGEST`] bytes.
pub(super) type LookupKey = Box<[u8]>;

/// A UUID as text is shorter.
const LONGEST: usize = 40;

/// Bytes of a hash at the end of a key: half a SHA-256. Two things that differ have different keys, as for fingerprints.
pub(super) const HASH: usize = 16;

/// Bytes of the hash of an event's kind.
const KIND: usize = 4;

/// Of what an entry is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EntryKeys {
    pub(super) account: AccountId,
    pub(super) kind: MutationKind,
    /// Of the request, if it has an id. With the kind.
    pub(super) request: Option<LookupKey>,
    /// Of the order number, for a creation.
    pub(super) number: Option<LookupKey>,
    /// Of order number and fingerprint, for a cancellation.
    pub(super) content: Option<LookupKey>,
}

impl EntryKeys {
    pub(super) fn of(new: &NewEntry) -> Self {
        let NewEntry { account, kind, order_number, request_id, fingerprint, .. } = new;
        Self::from(account, *kind, order_number, request_id.as_deref(), fingerprint)
    }

    /// The same as when the entry was new, whatever it stands by now.
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

/// Of a number or an id. A text below the greatest length is its own key; of a longer one the beginning stays, and the
/// key has the greatest length.
pub(super) fn short(text: &str) -> LookupKey {
    let text = text.as_bytes();
    if text.len() < LONGEST {
        return text.into();
    }
    [&text[..LONGEST - HASH], &Sha256::digest(text)[..HASH]].concat().into()
}

fn content(order_number: &str, fingerprint: &Fingerprint) -> LookupKey {
    // The fingerprint has one length, so the two cannot be taken for others.
    let hash = Sha256::new().chain_update(fingerprint.0).chain_update(order_number).finalize();
    hash[..HASH].into()
}

/// By what a delivery is known again within its account: the identity of its event, or its body when that could not be read.
pub(super) fn delivery(arrival: &WebhookDelivery) -> LookupKey {
    match &arrival.content {
        DeliveryContent::Event { event_id: id, event_type, sub_event_type, .. } => {
            event(id, event_type, sub_event_type)
        }
        DeliveryContent::Unreadable { .. } => body(&arrival.body_hash).into(),
    }
}

/// Of a body that is in quarantine, or was.
pub(super) fn body(hash: &[u8; 32]) -> [u8; HASH] {
    let mut key = half(hash);
    key[0] |= 1;
    key
}

/// Of an event: the key of its id and a hash of its kind. Two kinds of one id whose hashes are the same would be taken for one
/// event, and the second body for a conflict, which is shown too.
pub(super) fn event(event_id: &str, event_type: &str, sub_event_type: &str) -> LookupKey {
    // With its length in front the one cannot be taken for a part of the other.
    let length = (event_type.len() as u64).to_be_bytes();
    let kind = Sha256::new().chain_update(length).chain_update(event_type).chain_update(sub_event_type).finalize();
    [&self::event_id(event_id)[..], &kind[..KIND]].concat().into()
}

/// What the keys of all events of an id begin with. It is the whole key of events that versions before the kinds stored. Differs
/// in one bit from all keys of bodies, so that no id can be made that stands for a body.
pub(super) fn event_id(event_id: &str) -> [u8; HASH] {
    let mut key = half(&Sha256::digest(event_id).into());
    key[0] &= !1;
    key
}

/// The least and the greatest key of an event of this id.
pub(super) fn events_of(event_id: &str) -> ([u8; HASH], LookupKey) {
    let first = self::event_id(event_id);
    (first, [&first[..], &[u8::MAX; KIND]].concat().into())
}

/// By what a delivery with this key is found. The first half is of the event id and the second of the kind, so that all kinds of
/// one id lie together and each is found by itself. A part of every database: it never changes.
pub(super) fn delivery_hash(key: &[u8]) -> i64 {
    let part = |four: Option<&[u8; 4]>| u32::from_be_bytes(four.copied().unwrap_or_default());
    i64::from(part(key.first_chunk()).cast_signed()) << 32 | i64::from(part(key.last_chunk()))
}

/// By what all events of this id are found.
pub(super) fn hashes_of_events(event_id: &str) -> RangeInclusive<i64> {
    let first = delivery_hash(&self::event_id(event_id)) & !i64::from(u32::MAX);
    first..=first | i64::from(u32::MAX)
}

/// Half a SHA-256.
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
