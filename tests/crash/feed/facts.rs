//! What a webhook says, and who wants it: read from the bytes that were sent, by code of the tests' own.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use order_gateway::pb;

/// What a body says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Facts {
    /// Walmart's, or made of the body.
    pub event_id: String,
    /// Whether it was made of the body.
    pub made: bool,
    /// As sent.
    pub event_type: String,
    /// As sent, wherever it stands.
    pub sub_event_type: String,
    /// Whether it belongs into the log.
    pub is_intent: bool,
    /// The purchase order.
    pub key: String,
    /// The seller.
    pub partner_id: String,
    /// Who ships.
    pub ship_node_type: String,
    /// Of the lines.
    pub skus: Vec<String>,
}

impl Facts {
    /// Reads a body; `None`: it cannot be read.
    pub(crate) fn read(body: &[u8]) -> Option<Self> {
        let body_json: Value = serde_json::from_slice(body).ok()?;
        let source = body_json.get("source")?;
        let payload = &body_json["payload"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let event_type = text(&source["eventType"]);
        let sub_event_type = match &payload["meta"]["subEventType"] {
            Value::String(inner) => inner.clone(),
            _ => text(&payload["subEventType"]),
        };
        let wrapped = event_type == "ORDER_UPDATES";
        let intent = if wrapped { &payload["order"] } else { payload };
        let event_id = text(&source["eventId"]);
        let lines = intent["orderLines"].as_array().map(Vec::as_slice).unwrap_or_default();
        Some(Self {
            made: event_id.is_empty(),
            event_id: if event_id.is_empty() { format!("sha256:{}", sha256(body)) } else { event_id },
            is_intent: event_type == "INTENT_TO_CANCEL" || wrapped && sub_event_type == "INTENT_TO_CANCEL",
            key: text(&intent["purchaseOrderId"]),
            partner_id: text(&intent["partnerId"]),
            ship_node_type: text(&intent["shipNodeType"]),
            skus: lines.iter().map(|line| text(&line["sku"])).collect(),
            event_type,
            sub_event_type,
        })
    }
}

/// In lower-case hex.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// In lower case.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// HMAC-SHA256 (RFC 2104).
pub(crate) fn hmac(secret: &[u8], message: &[u8]) -> [u8; 32] {
    let mut key = [0; 64];
    if secret.len() > key.len() {
        key[..32].copy_from_slice(&Sha256::digest(secret));
    } else {
        key[..secret.len()].copy_from_slice(secret);
    }
    let padded = |pad: u8| key.map(|byte| byte ^ pad);
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize().into()
}

/// What a reader asks for; empty parts ask for nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Choice {
    /// Seller accounts.
    pub accounts: Vec<&'static str>,
    /// Walmart's numbers of sellers.
    pub partner_ids: Vec<String>,
    /// Who ships, in any case of letters.
    pub ship_node_types: Vec<&'static str>,
    /// Purchase orders.
    pub keys: Vec<String>,
    /// Articles.
    pub skus: Vec<String>,
    /// Index and count.
    pub shard: Option<(u32, u32)>,
}

impl Choice {
    /// Whether it wants an event of this account that says this.
    pub(crate) fn wants(&self, account: &str, facts: &Facts) -> bool {
        let none_or = |wanted: &[String], value: &str| wanted.is_empty() || wanted.iter().any(|one| one == value);
        (self.accounts.is_empty() || self.accounts.contains(&account))
            && none_or(&self.partner_ids, &facts.partner_id)
            && (self.ship_node_types.is_empty()
                || self.ship_node_types.iter().any(|one| one.eq_ignore_ascii_case(&facts.ship_node_type)))
            && none_or(&self.keys, &facts.key)
            && (self.skus.is_empty() || facts.skus.iter().any(|sku| self.skus.contains(sku)))
            && self.shard.is_none_or(|(index, count)| shard_of(&facts.key, count) == index)
    }

    /// As it is asked for.
    pub(crate) fn to_pb(&self) -> Option<pb::Filter> {
        if *self == Self::default() {
            return None;
        }
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Some(pb::Filter {
            accounts: owned(&self.accounts),
            partner_ids: self.partner_ids.clone(),
            ship_node_types: owned(&self.ship_node_types),
            purchase_order_ids: self.keys.clone(),
            skus: self.skus.clone(),
            shard: self.shard.map(|(index, count)| pb::Shard { index, count }),
        })
    }
}

fn shard_of(key: &str, count: u32) -> u32 {
    let hash = Sha256::digest(key.as_bytes());
    let first = hash.iter().take(8).fold(0u64, |sum, byte| (sum << 8) | u64::from(*byte));
    (first % u64::from(count)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str =
        r#"{"source":{"eventType":"INTENT_TO_CANCEL","eventId":"e-1"},"payload":{"purchaseOrderId":"1"}}"#;

    /// The vectors of the published scheme, checked by another program.
    #[test]
    fn hashes_as_others_do() {
        assert_eq!(sha256(BODY.as_bytes()), "fa116a0d565dca02a0ddf36dad6832e23e0ffe4d36252c79e682b5025ca2b98c");
        let signed = hmac(b"test-secret-not-real", BODY.as_bytes());
        assert_eq!(hex(&signed), "ec46aa2a788890e0f58a6395b180271d675c85a020e16f7c2f24f76ac91282e8");
    }

    #[test]
    fn reads_both_envelopes() {
        let plain = Facts::read(BODY.as_bytes()).unwrap();
        assert_eq!((plain.event_id.as_str(), plain.key.as_str(), plain.is_intent), ("e-1", "1", true));
        for inner in [r#""subEventType":"INTENT_TO_CANCEL""#, r#""meta":{"subEventType":"INTENT_TO_CANCEL"}"#] {
            let order = r#""order":{"purchaseOrderId":"2","orderLines":[{"sku":"A"},{"sku":"B"}]}"#;
            let body = format!(r#"{{"source":{{"eventType":"ORDER_UPDATES"}},"payload":{{{inner},{order}}}}}"#);
            let facts = Facts::read(body.as_bytes()).unwrap();
            assert!(facts.is_intent && facts.made, "{facts:?}");
            assert_eq!(facts.event_id, format!("sha256:{}", sha256(body.as_bytes())));
            assert_eq!((facts.key.as_str(), facts.skus), ("2", vec!["A".to_owned(), "B".to_owned()]));
        }
        let other = r#"{"source":{"eventType":"ORDER_UPDATES"},"payload":{"subEventType":"PO_CREATED"}}"#;
        assert!(!Facts::read(other.as_bytes()).unwrap().is_intent);
        assert_eq!(Facts::read(b"{\"source\":"), None);
    }

    #[test]
    fn every_part_of_a_choice_must_hold() {
        let facts = Facts {
            key: "17".into(),
            partner_id: "1".into(),
            ship_node_type: "SellerFulfilled".into(),
            skus: vec!["A".into(), "B".into()],
            ..Facts::default()
        };
        let all = Choice {
            accounts: vec!["north"],
            partner_ids: vec!["1".into()],
            ship_node_types: vec!["SELLERFULFILLED", "x"],
            keys: vec!["16".into(), "17".into()],
            skus: vec!["B".into()],
            shard: Some((shard_of("17", 3), 3)),
        };
        assert!(all.wants("north", &facts) && Choice::default().wants("east", &facts));
        assert!(!all.wants("east", &facts));
        let others: [fn(&mut Choice); 5] = [
            |choice| choice.partner_ids = vec!["2".into()],
            |choice| choice.ship_node_types = vec!["x"],
            |choice| choice.keys = vec!["16".into()],
            |choice| choice.skus = vec!["C".into()],
            |choice| choice.shard = Some(((choice.shard.unwrap().0 + 1) % 3, 3)),
        ];
        for other in others {
            let mut choice = all.clone();
            other(&mut choice);
            assert!(!choice.wants("north", &facts), "{choice:?}");
        }
    }
}
