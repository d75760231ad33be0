//! Posts events to a webhook receiver, with the proofs of origin that Walmart's subscriptions offer.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, redirect, retry};
use ring::{digest, hmac};
use url::Url;

use crate::domain::hex;

/// Time for a receiver's answer. Walmart is said to wait 3 s; a longer wait does not mistake a slow machine for a
/// failure.
const PATIENCE: Duration = Duration::from_secs(10);
/// Default header of the proof.
pub const WEBHOOK_HEADER: &str = "X-Walmart-Auth";
/// Bytes of an answer that are read.
const MAX_ANSWER: usize = 4096;

/// The proof of a delivery's origin.
#[derive(Clone)]
pub enum DeliveryProof {
    /// HMAC-SHA256 of the body, in a header.
    Hmac {
        /// The header of the signature.
        header: HeaderName,
        /// The secret shared with the receiver.
        secret: String,
    },
    /// HMAC-SHA256 of method, path, time and body, in the `WM_SEC.*` headers.
    HmacV2 {
        /// The secret shared with the receiver.
        secret: String,
    },
    /// User name and password, in a header.
    Basic {
        /// The header of the credentials.
        header: HeaderName,
        /// User name of the receiver.
        username: String,
        /// Password of the receiver.
        password: String,
    },
    /// An access token, which is fetched for each delivery with client credentials.
    OAuth {
        /// The header of the credentials and of the token.
        header: HeaderName,
        /// Where tokens are issued.
        url: String,
        /// Client id at the receiver.
        client_id: String,
        /// Client secret at the receiver.
        client_secret: String,
    },
    /// Deliveries without a proof.
    None,
}

impl DeliveryProof {
    /// The proof headers of a delivery of `body` to `url` at `now` (since 1970).
    fn headers(&self, url: &Url, body: &[u8], now: Duration) -> Vec<(HeaderName, String)> {
        let sign = |secret: &str, text: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), text);
        match self {
            Self::Hmac { header, secret } => vec![(header.clone(), STANDARD.encode(sign(secret, body)))],
            Self::HmacV2 { secret } => {
                let path = &url[url::Position::BeforePath..url::Position::AfterQuery];
                let (time, hash) = (now.as_secs(), hex::lower(digest::digest(&digest::SHA256, body).as_ref()));
                let text = format!("POST\n{path}\n{time}\n{hash}");
                vec![
                    (HeaderName::from_static("wm_sec.timestamp"), time.to_string()),
                    (HeaderName::from_static("wm_sec.signature"), STANDARD.encode(sign(secret, text.as_bytes()))),
                ]
            }
            Self::Basic { header, username, password } => {
                vec![(header.clone(), format!("Basic {}", STANDARD.encode(format!("{username}:{password}"))))]
            }
            // The token is fetched by `WebhookTarget::post`.
            Self::OAuth { .. } | Self::None => Vec::new(),
        }
    }
}

impl std::fmt::Debug for DeliveryProof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Hmac { .. } => "Hmac",
            Self::HmacV2 { .. } => "HmacV2",
            Self::Basic { .. } => "Basic",
            Self::OAuth { .. } => "OAuth",
            Self::None => "None",
        })
    }
}

/// The target of deliveries. Cheap to clone.
#[derive(Clone, Debug)]
pub struct WebhookTarget {
    client: Client,
    url: Url,
    proof: DeliveryProof,
    /// Further headers of each delivery.
    headers: Vec<(HeaderName, String)>,
}

/// A receiver's answer to a delivery.
#[derive(Clone, Debug, PartialEq)]
pub struct ReceiverAnswer {
    /// HTTP status of the answer.
    pub status: u16,
    /// The beginning of the body.
    pub body: String,
    /// Seconds of the `Retry-After` header.
    pub retry_after: Option<u64>,
}

impl WebhookTarget {
    /// Delivers to an address, http or https, with this proof. Needs a process-wide rustls provider.
    ///
    /// # Errors A line, without the secret.
    pub fn new(url: &str, proof: DeliveryProof) -> Result<Self, String> {
        let url: Url = url.parse().map_err(|error| format!("is no URL: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("must be http:// or https://".into());
        }
        let builder = Client::builder().no_proxy().redirect(redirect::Policy::none()).retry(retry::never());
        let builder = builder.timeout(PATIENCE).tcp_nodelay(true).user_agent("order-gateway emulator");
        let client = builder.build().map_err(|error| format!("HTTP cannot be set up: {error}"))?;
        Ok(Self { client, url, proof, headers: Vec::new() })
    }

    /// Adds headers to each delivery, except those that are no headers and the content type, which is always JSON.
    #[must_use]
    pub fn with_headers(mut self, headers: impl IntoIterator<Item = (String, String)>) -> Self {
        let named = headers.into_iter().filter_map(|(name, value)| Some((name.parse::<HeaderName>().ok()?, value)));
        self.headers.extend(named.filter(|(name, _)| *name != CONTENT_TYPE));
        self
    }

    /// The header with a new access token, for deliveries that need one.
    async fn token(&self) -> Result<Option<(HeaderName, String)>, String> {
        let DeliveryProof::OAuth { header, url, client_id, client_secret } = &self.proof else { return Ok(None) };
        let request = self.client.post(url).header(header, STANDARD.encode(format!("{client_id}:{client_secret}")));
        let request = request
            .header(ACCEPT, "application/json; charset=UTF-8")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded; charset=ISO-8859-1")
            .body("grant_type=client_credentials");
        let answer = request.send().await.map_err(|error| innermost(&error))?;
        let status = answer.status().as_u16();
        let body = answer.bytes().await.map_err(|error| innermost(&error))?;
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        match body["access_token"].as_str() {
            Some(token) if status == 200 => Ok(Some((header.clone(), format!("Bearer {token}")))),
            _ => Err(format!("no access token: the answer was {status}")),
        }
    }

    /// The address of the receiver.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Sends an event once. `now` is the time since 1970.
    ///
    /// # Errors No complete answer arrived; the line says why.
    pub async fn post(&self, body: Vec<u8>, now: Duration) -> Result<ReceiverAnswer, String> {
        let mut request = self.client.post(self.url.clone()).header(CONTENT_TYPE, "application/json");
        let mut proof = self.proof.headers(&self.url, &body, now);
        proof.extend(self.token().await?);
        for (name, value) in proof.into_iter().chain(self.headers.iter().cloned()) {
            let value = HeaderValue::from_str(&value).map_err(|_| "the proof cannot stand in a header".to_owned())?;
            request = request.header(name, value);
        }
        let mut response = request.body(body).send().await.map_err(|error| innermost(&error))?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let mut answer = Vec::new();
        while let Some(part) = response.chunk().await.map_err(|error| innermost(&error))?
            && answer.len() < MAX_ANSWER
        {
            answer.extend_from_slice(&part);
        }
        answer.truncate(MAX_ANSWER);
        Ok(ReceiverAnswer { status, body: String::from_utf8_lossy(&answer).into_owned(), retry_after })
    }
}

/// The innermost cause, which says most.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of Walmart's fact sheet.
    const BODY: &str =
        r#"{"source":{"eventType":"INTENT_TO_CANCEL","eventId":"e-1"},"payload":{"purchaseOrderId":"1"}}"#;

    fn headers(proof: &DeliveryProof) -> Vec<(String, String)> {
        let url = "https://gateway.example/hooks/walmart?tenant=7".parse().unwrap();
        let headers = proof.headers(&url, BODY.as_bytes(), Duration::from_secs(1_760_000_000));
        headers.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
    }

    #[test]
    fn proofs_are_those_of_the_fact_sheet() {
        let header = HeaderName::from_static("x-walmart-auth");
        let secret = "test-secret-not-real".to_owned();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let hmac = DeliveryProof::Hmac { header: header.clone(), secret: secret.clone() };
        assert_eq!(headers(&hmac), [pair("x-walmart-auth", "7EaqKniIkOD1imOVsYAnHWdchaAg4W98LyT3askSgug=")]);
        let v2 = [
            pair("wm_sec.timestamp", "1760000000"),
            pair("wm_sec.signature", "OXjPzVLQhrbTN4efphvOcJAnFKFiCvZdawpkRKumFEM="),
        ];
        assert_eq!(headers(&DeliveryProof::HmacV2 { secret }), v2);
        let basic = DeliveryProof::Basic { header, username: "hookuser".into(), password: "hookpass".into() };
        assert_eq!(headers(&basic), [pair("x-walmart-auth", "Basic aG9va3VzZXI6aG9va3Bhc3M=")]);
        assert_eq!(headers(&DeliveryProof::None), []);
        assert_eq!(format!("{basic:?}{hmac:?}"), "BasicHmac");
    }

    #[test]
    fn what_is_no_address_is_told() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        for url in ["", "gateway:8080", "ftp://gateway/", "http://"] {
            assert!(WebhookTarget::new(url, DeliveryProof::None).is_err(), "{url}");
        }
        assert_eq!(WebhookTarget::new("http://gateway:8080/a", DeliveryProof::None).unwrap().url().path(), "/a");
    }
}
