//! Deliveries as Walmart posts them, over a socket.

use std::net::SocketAddr;

use ring::hmac;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Settings that make the account `demo` receive webhooks.
pub const SETTINGS: &str = r#"
[[accounts]]
id = "demo"
partner_id = "10000000001"
client_id = "demo"
client_secret = "demo-secret"
webhook = { auth = "hmac", secret = ["old-secret", "dev-secret"] }
"#;

/// An intent in the envelope of its own.
pub fn intent(event_id: &str, purchase_order: &str) -> Value {
    json!({
        "source": {"eventType": "INTENT_TO_CANCEL", "eventTime": "2026-11-21T11:59:59.123Z", "eventId": event_id},
        "payload": {"partnerId": "10000000001", "purchaseOrderId": purchase_order,
            "orderLines": [{"lineNumber": "1", "sku": "SKU-1", "quantity": {"measurementValue": "1"}}]},
    })
}

/// The signature that `demo` asks for.
pub fn sign(body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"dev-secret");
    hmac::sign(&key, body).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The whole of a signed delivery to `demo`.
pub fn request(body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /webhooks/walmart/demo HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\n\
         x-walmart-auth: {}\r\ncontent-length: {}\r\n\r\n",
        sign(body),
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// A connection that is kept.
pub struct Sender(TcpStream);

impl Sender {
    pub async fn connect(gateway: SocketAddr) -> Self {
        let stream = TcpStream::connect(gateway).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    /// Sends a signed delivery.
    pub async fn deliver(&mut self, body: &[u8]) -> (u16, Value) {
        self.send(&request(body)).await
    }

    /// Sends bytes and reads one answer. Status 0: the connection ended without one.
    pub async fn send(&mut self, bytes: &[u8]) -> (u16, Value) {
        self.begin(bytes).await;
        self.answer().await
    }

    /// Sends bytes that are not all of a request.
    pub async fn begin(&mut self, bytes: &[u8]) {
        // A gateway that has answered and closed may be gone before all is written.
        let _ = self.0.write_all(bytes).await;
    }

    /// Reads one answer. Status 0: the connection ended without one.
    pub async fn answer(&mut self) -> (u16, Value) {
        let mut answer = Vec::new();
        let mut part = [0; 4096];
        loop {
            if let Some(answer) = whole(&answer) {
                return answer;
            }
            match self.0.read(&mut part).await {
                Ok(0) | Err(_) => return (0, Value::Null),
                Ok(read) => answer.extend_from_slice(&part[..read]),
            }
        }
    }
}

/// An answer, once all of it is there.
fn whole(bytes: &[u8]) -> Option<(u16, Value)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let body = body.get(..length.unwrap_or(0))?;
    Some((status, serde_json::from_str(body).unwrap_or(Value::Null)))
}
