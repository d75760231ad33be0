//! Events stored without a message by versions before the order-update feed.

use prost::Message as _;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::domain::hex;
use crate::domain::timestamp::Timestamp;
use crate::pb;

/// Makes the encoded [`pb::OrderUpdate`] of an event for which an earlier version stored account, time, type and body.
/// The payload is not read: `update` stays unset, and readers have the raw body.
pub(crate) fn order_update_of_kept(account: String, received: Timestamp, event_type: String, body: &[u8]) -> Vec<u8> {
    let event: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).map(str::trim).unwrap_or_default();
    let first = |pointers: &[&str]| pointers.iter().map(|at| text(at)).find(|it| !it.is_empty()).unwrap_or_default();
    let body_sha256 = hex::lower(&Sha256::digest(body));
    let event_id = first(&["/source/eventId", "/eventId"]);
    let update = pb::OrderUpdate {
        id_synthesized: event_id.is_empty(),
        event_id: if event_id.is_empty() { format!("sha256:{body_sha256}") } else { event_id.to_owned() },
        event_type,
        event_version: first(&["/source/eventVersion", "/eventVersion"]).to_owned(),
        received_at: Some(std::time::SystemTime::from(received).into()),
        ordering_key: first(&["/payload/order/purchaseOrderId", "/payload/purchaseOrderId"]).to_owned(),
        body_sha256,
        account,
        sub_event_type: first(&["/payload/subEventType", "/payload/meta/subEventType"]).to_owned(),
        ..Default::default()
    };
    update.encode_to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(body: &str) -> pb::OrderUpdate {
        let message = order_update_of_kept("acme".into(), Timestamp(1_500), "PO_CREATED".into(), body.as_bytes());
        pb::OrderUpdate::decode(&message[..]).unwrap()
    }

    #[test]
    fn the_head_is_read_and_the_payload_is_not() {
        let body = r#"{"source":{"eventId":" e-1 ","eventVersion":"V1"},
            "payload":{"meta":{"subEventType":"PO_CREATED"},"order":{"purchaseOrderId":"17"}}}"#;
        let expected = pb::OrderUpdate {
            event_id: "e-1".into(),
            event_type: "PO_CREATED".into(),
            event_version: "V1".into(),
            received_at: Some(prost_types::Timestamp { seconds: 1, nanos: 500_000_000 }),
            ordering_key: "17".into(),
            body_sha256: hex::lower(&Sha256::digest(body)),
            account: "acme".into(),
            sub_event_type: "PO_CREATED".into(),
            ..Default::default()
        };
        assert_eq!(kept(body), expected);
    }

    #[test]
    fn a_body_of_any_form_becomes_an_update() {
        for body in ["", "no JSON", "[]", "{}", r#"{"source":7,"payload":[{"order":null}]}"#] {
            let update = kept(body);
            let id = format!("sha256:{}", hex::lower(&Sha256::digest(body)));
            assert_eq!(
                (update.event_id, update.id_synthesized, update.ordering_key.as_str()),
                (id, true, ""),
                "{body}"
            );
        }
    }
}
