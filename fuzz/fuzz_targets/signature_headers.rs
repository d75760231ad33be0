//! Whatever stands in the headers of a proof, it is refused: nothing is right by chance, nothing breaks. The input is one
//! header value a line, then the body.
#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request};
use libfuzzer_sys::fuzz_target;
use order_gateway::config::{Secret, WebhookAuth};
use order_gateway::domain::account::AccountId;
use order_gateway::http::webhooks::auth::{ProofVerifier, TokenKey, UnverifiedDelivery};

const NAMES: [&str; 4] = ["x-walmart-auth", "wm_sec.timestamp", "wm_sec.signature", "authorization"];
const NOW: Duration = Duration::from_secs(1_760_000_000);

static GATES: LazyLock<Vec<ProofVerifier>> = LazyLock::new(|| {
    let header = HeaderName::from_static(NAMES[0]);
    let secret = || Secret::inline("9fbd2f5b7a4e-not-to-be-found");
    let all = [
        WebhookAuth::Hmac { header: header.clone(), secrets: vec![secret(), secret()] },
        WebhookAuth::HmacV2 { secrets: vec![secret()], timestamp_tolerance: Duration::from_secs(86_400) },
        WebhookAuth::Basic { header: header.clone(), username: "walmart".into(), password: secret() },
        WebhookAuth::Oauth { header, client_id: "walmart".into(), client_secrets: vec![secret(), secret()] },
    ];
    all.into_iter().map(|webhook| ProofVerifier::new(AccountId::new("a").unwrap(), webhook)).collect()
});

static KEY: LazyLock<TokenKey> = LazyLock::new(|| TokenKey::new(&[0x5b; 32]));

fuzz_target!(|input: &[u8]| {
    let mut parts = input.splitn(NAMES.len() + 1, |byte| *byte == b'\n');
    let mut head = Request::post("/webhooks/walmart/a?b=%20").body(()).unwrap().into_parts().0;
    for (name, value) in NAMES.into_iter().zip(parts.by_ref()) {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            head.headers.append(name, value);
        }
    }
    let body = parts.next().unwrap_or_default();
    for gate in GATES.iter() {
        let delivery = UnverifiedDelivery { head: &head, body: Bytes::copy_from_slice(body) };
        assert!(gate.check(delivery, NOW, Some(&KEY)).is_err());
        assert!(gate.grant(&head.headers, body, NOW, &KEY).is_err());
    }
});
