//! The key of a cancel intent, equal for every way in which the intent may arrive.

use std::collections::BTreeSet;

use prost::Message as _;
use sha2::{Digest as _, Sha256};

use crate::domain::account::SellerId;
use crate::domain::hex;
use crate::pb;

/// The key of an intent: a hash over the seller, the purchase order and the sorted line numbers, in 64 hex digits.
/// Nothing else enters the hash, which makes the key equal for the two envelopes and the backfill. Empty for an intent
/// without a purchase order, because all such intents would otherwise share one key.
///
/// `seller` is the seller of the account, because a body may name no seller.
pub fn intent_key(seller: &SellerId, intent: &pb::CancelIntent) -> String {
    let purchase_order = intent.purchase_order_id.trim();
    if purchase_order.is_empty() {
        return String::new();
    }
    let lines: BTreeSet<&str> = intent.order_lines.iter().map(|line| line.line_number.trim()).collect();
    let lines = lines.into_iter().filter(|number| !number.is_empty());
    let mut hash = Sha256::new();
    for part in [seller.as_str(), purchase_order].into_iter().chain(lines) {
        // The length in front keeps one part from being read as two, or as a different part.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hex::lower(&<[u8; 32]>::from(hash.finalize()))
}

/// Whether an event names a seller (`partnerId`, which may be empty) other than the seller of the receiving account.
pub(crate) fn is_of_another_seller(seller: &SellerId, partner_id: &str) -> bool {
    let named = partner_id.trim();
    !named.is_empty() && named != seller.as_str()
}

/// Adds the fields of this version to a [`pb::Event`] stored by a version without keys. `seller` is the seller of the
/// account; where the store does not know the seller, the `partnerId` of the body is used.
pub(crate) fn with_intent_key(message: &[u8], seller: Option<&str>) -> Vec<u8> {
    let Ok(pb::Event { intent: Some(intent), .. }) = pb::Event::decode(message) else { return message.to_vec() };
    let seller = SellerId::new(seller.unwrap_or_else(|| intent.partner_id.trim()));
    let added = pb::Event {
        intent_key: intent_key(&seller, &intent),
        origin: pb::EventOrigin::Webhook.into(),
        partner_mismatch: is_of_another_seller(&seller, &intent.partner_id),
        ..pb::Event::default()
    };
    // The added fields are new to the message; appending leaves the stored bytes unread and unmoved.
    [message, &added.encode_to_vec()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_of_an_earlier_version_gets_what_a_new_one_has() {
        let intent = pb::CancelIntent { partner_id: "11".into(), ..intent("17", &["1"]) };
        let old = pb::Event { event_id: "e".into(), intent: Some(intent.clone()), ..Default::default() };
        for (seller, of, partner_mismatch) in [(Some("10"), "10", true), (Some("11"), "11", false), (None, "11", false)]
        {
            let expected = pb::Event {
                intent_key: intent_key(&SellerId::new(of), &intent),
                origin: pb::EventOrigin::Webhook.into(),
                partner_mismatch,
                ..old.clone()
            };
            assert_eq!(pb::Event::decode(&with_intent_key(&old.encode_to_vec(), seller)[..]), Ok(expected));
        }
        for other in [pb::Event { event_id: "e".into(), ..Default::default() }.encode_to_vec(), b"\xff".to_vec()] {
            assert_eq!(with_intent_key(&other, Some("10")), other);
        }
    }

    fn seller() -> SellerId {
        SellerId::new("10000680931")
    }

    fn intent(purchase_order: &str, lines: &[&str]) -> pb::CancelIntent {
        let line = |number: &&str| pb::CancelIntentLine { line_number: (*number).into(), ..Default::default() };
        pb::CancelIntent {
            purchase_order_id: purchase_order.into(),
            order_lines: lines.iter().map(line).collect(),
            ..Default::default()
        }
    }

    fn key(purchase_order: &str, lines: &[&str]) -> String {
        intent_key(&seller(), &intent(purchase_order, lines))
    }

    #[test]
    fn it_is_the_hash_that_it_always_was() {
        // By `printf '\0\0\0\0\0\0\0\v10000680931\0\0\0\0\0\0\0\r1700000000101\0\0\0\0\0\0\0\0011' | sha256sum`.
        let expected = "583d691c5b11ce24c28fb4c62942c1c01680b7e1a6d1cd845b5dd3d343f90b1e";
        assert_eq!(key("1700000000101", &["1"]), expected);
        assert!(expected.len() <= 64 && expected.bytes().all(|byte| byte.is_ascii_graphic()));
    }

    #[test]
    fn nothing_but_seller_order_and_lines_counts() {
        let one = key("17", &["1", "2"]);
        assert_eq!(key(" 17", &["2", "1", "1", "", " 2 "]), one);
        let mut other = intent("17", &["1", "2"]);
        other.partner_id = "another".into();
        other.customer_order_id = "5".into();
        other.order_lines[0].sku = "MUG".into();
        other.order_lines[0].quantity = Some(pb::Quantity { unit_of_measure: None, measurement_value: Some(2.0) });
        assert_eq!(intent_key(&seller(), &other), one);
    }

    #[test]
    fn other_intents_have_other_keys() {
        let keys = [
            key("17", &[]),
            key("17", &["1"]),
            key("17", &["2"]),
            key("17", &["1", "2"]),
            key("17", &["12"]),
            key("171", &[]),
            key("1", &["7"]),
            intent_key(&SellerId::new("1000068093"), &intent("117", &[])),
            intent_key(&SellerId::new("10000680931"), &intent("18", &[])),
        ];
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len());
    }

    #[test]
    fn without_a_purchase_order_there_is_none() {
        assert_eq!([key("", &["1"]), key("  ", &[])], ["", ""]);
    }

    #[test]
    fn another_seller_is_one_that_is_named_and_differs() {
        for (named, expected) in [("", false), ("10000680931", false), (" 10000680931 ", false), ("10000999999", true)]
        {
            assert_eq!(is_of_another_seller(&seller(), named), expected, "{named}");
        }
    }
}
