//! Any body of a delivery is read or unreadable, and what was read can be stored.
#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use libfuzzer_sys::fuzz_target;
use order_gateway::config::WebhookAuth;
use order_gateway::domain::account::AccountId;
use order_gateway::http::webhooks::auth::{ProofVerifier, UnverifiedDelivery};
use order_gateway::http::webhooks::read::read;
use prost::Message as _;

static GATE: LazyLock<ProofVerifier> = LazyLock::new(|| ProofVerifier::new(AccountId::new("a").unwrap(), WebhookAuth::None));
static HEAD: LazyLock<Parts> = LazyLock::new(|| http::Request::post("/").body(()).unwrap().into_parts().0);

fuzz_target!(|body: &[u8]| {
    let delivery = UnverifiedDelivery { head: &HEAD, body: Bytes::copy_from_slice(body) };
    let (back, read) = read(GATE.check(delivery, Duration::ZERO, None).unwrap());
    if !body.starts_with(&[0x1f, 0x8b]) {
        assert_eq!(back, body);
    }
    match read {
        Ok(notification) => {
            assert!(!notification.event_type.is_empty());
            assert!(notification.event_id.len() <= 256 && !notification.event_id.contains('\0'));
            if let Some(intent) = notification.intent {
                let again = order_gateway::pb::CancelIntent::decode(&intent.encode_to_vec()[..]).unwrap();
                assert_eq!(again, intent);
            }
        }
        Err(unreadable) => assert!(!unreadable.reason().is_empty() && unreadable.reason().len() < 200),
    }
});
