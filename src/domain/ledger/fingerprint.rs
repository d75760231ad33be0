//! The comparison of request contents.

use prost::Message;
use sha2::{Digest as _, Sha256};

use crate::domain::hex;

/// A hash of a request's payload. The first byte is the version of the hashing scheme, which makes fingerprints of
/// different versions unequal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; Fingerprint::LENGTH]);

impl Fingerprint {
    /// Length in bytes, version included.
    pub const LENGTH: usize = 33;
    const VERSION: u8 = 1;

    /// Hashes a payload. The protobuf form has its fields in the order of their numbers, and maps in the order of
    /// their keys; equal payloads therefore have equal bytes.
    pub fn of(payload: &impl Message) -> Self {
        Self::of_encoded(&payload.encode_to_vec())
    }

    /// The beginning of the hash as text: 32 characters, which differ for different payloads.
    pub(crate) fn in_short(&self) -> String {
        hex::lower(&self.0[1..17])
    }

    /// Hashes a payload that is already in protobuf form.
    pub(crate) fn of_encoded(payload: &[u8]) -> Self {
        let mut bytes = [0; Self::LENGTH];
        bytes[0] = Self::VERSION;
        bytes[1..].copy_from_slice(&Sha256::digest(payload));
        Self(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::{Value, json};

    use super::*;
    use crate::pb::Order;

    fn payload() -> Value {
        let request: Value = serde_json::from_str(include_str!("../../../examples/create.json")).unwrap();
        request["payload"].clone()
    }

    fn of(payload: &Value) -> Fingerprint {
        Fingerprint::of(&serde_json::from_value::<Order>(payload.clone()).unwrap())
    }

    /// Where the values stand, as JSON pointers.
    fn leaves(value: &Value, at: &str) -> Vec<String> {
        match value {
            Value::Object(fields) => {
                fields.iter().flat_map(|(name, value)| leaves(value, &format!("{at}/{name}"))).collect()
            }
            Value::Array(values) => {
                values.iter().enumerate().flat_map(|(i, value)| leaves(value, &format!("{at}/{i}"))).collect()
            }
            _ => vec![at.to_owned()],
        }
    }

    #[test]
    fn it_is_a_version_and_the_hash_of_the_protobuf_form() {
        let order: Order = serde_json::from_value(payload()).unwrap();
        let fingerprint = Fingerprint::of(&order);
        assert_eq!(fingerprint.0[0], 1);
        assert_eq!(fingerprint.0[1..], Sha256::digest(order.encode_to_vec())[..]);
        let mut of_later_version = fingerprint;
        of_later_version.0[0] = 2;
        assert_ne!(of_later_version, fingerprint);
    }

    #[test]
    fn the_same_payload_has_the_same_whichever_way_it_came() {
        let payload = payload();
        assert_eq!(of(&payload), of(&payload));
        let mut with_null = payload.clone();
        with_null["needsConfirmation"] = Value::Null;
        assert_eq!(of(&with_null), of(&payload));
        let order: Order = serde_json::from_value(payload.clone()).unwrap();
        assert_eq!(Fingerprint::of(&Order::decode(order.encode_to_vec().as_slice()).unwrap()), of(&payload));
    }

    #[test]
    fn every_value_of_the_payload_counts() {
        let payload = payload();
        let mut seen = HashSet::from([of(&payload)]);
        let leaves = leaves(&payload, "");
        assert!(leaves.len() > 20, "{leaves:?}");
        for at in leaves {
            let value = payload.pointer(&at).unwrap();
            let changed = match value {
                Value::String(text) => json!(format!("{text}x")),
                Value::Bool(flag) => json!(!flag),
                number => json!(number.as_f64().unwrap() + 1.0),
            };
            for changed in [changed, Value::Null] {
                let mut other = payload.clone();
                *other.pointer_mut(&at).unwrap() = changed;
                assert!(seen.insert(of(&other)), "{at} does not count");
            }
        }
        for (field, value) in [("needsConfirmation", json!(false)), ("customerOrderNo", json!(""))] {
            let mut other = payload.clone();
            other[field] = Value::Null;
            let absent = of(&other);
            other[field] = value;
            assert_ne!(of(&other), absent, "{field}: present is not absent");
        }
        let mut twice = payload.clone();
        let line = payload["orderItems"][0].clone();
        twice["orderItems"].as_array_mut().unwrap().push(line);
        assert!(seen.insert(of(&twice)), "a line more");
    }
}
