//! Explains failed token calls: the error text, and whether Walmart or an edge wrote the answer.
//!
//! An edge in front of Walmart blocks the gateway's IP address with the same statuses as Walmart uses for dead
//! credentials. New credentials would not help against a block, so operators see which of the two refused.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret as _;
use serde_json::Value;
use uuid::Uuid;

use super::accounts::ClientCredentials;
use crate::ports::overview::TokenFailureKind;
use crate::wire::error::{self, ErrorForm};

/// Maximum length of the logged text, in bytes.
const MAX_TEXT: usize = 300;
/// Maximum number of errors logged from an answer.
const MAX_ERRORS: usize = 3;
/// Keys of a refusal in a JSON object. The challenge page of an edge has different keys, such as `appId` and `vid`.
const OF_A_REFUSAL: [&str; 8] =
    ["error", "errors", "error_description", "code", "message", "status", "title", "description"];
const REDACTED: &str = "[redacted]";

/// A failed token call, for the log and the overview.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct FailedTokenCall {
    pub(super) kind: TokenFailureKind,
    /// `None` if no answer arrived.
    pub(super) http_status: Option<u16>,
    /// The error text of the answer, without secrets.
    pub(super) said: String,
    /// The correlation id sent with the token call.
    pub(super) correlation_id: Uuid,
}

/// Whether an edge, and not Walmart, wrote a 400, 401 or 403: HTML, plain text, or JSON without any key of a refusal.
/// An empty body counts as Walmart's.
pub(super) fn is_edge_page(body: &[u8]) -> bool {
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => !OF_A_REFUSAL.iter().any(|key| object.contains_key(*key)),
        Ok(Value::Array(_)) => false,
        Ok(_) => true,
        Err(_) => !body.trim_ascii().is_empty() && error::read(body).form == ErrorForm::Unknown,
    }
}

/// Extracts the error text of an answer to a token call, as a single line. Client secret and refresh token are redacted
/// if the answer repeats them; the client id is not secret.
pub(super) fn words(body: &[u8], credentials: &ClientCredentials) -> String {
    let oauth = serde_json::from_slice::<Value>(body).ok();
    let text = |key: &str| oauth.as_ref().and_then(|value| value.get(key)?.as_str()).map(str::to_owned);
    let mut all: Vec<String> = Vec::new();
    if let Some(error) = text("error") {
        all.push(error);
        all.extend(text("error_description"));
    } else {
        for error in error::read(body).errors.into_iter().take(MAX_ERRORS) {
            all.extend([error.code, error.description, error.info].into_iter().filter(|text| !text.is_empty()));
        }
    }
    let secret = credentials.client_secret.expose_secret();
    let pair = STANDARD.encode(format!("{}:{secret}", credentials.client_id));
    let mut said = all.join(" ");
    let refresh_token = credentials.refresh.as_ref().map_or("", |refresh| refresh.token.expose_secret());
    for known in [pair.as_str(), secret, refresh_token] {
        if !known.is_empty() {
            said = said.replace(known, REDACTED);
        }
    }
    let mut said = said.replace(char::is_control, " ");
    said.truncate(said.floor_char_boundary(MAX_TEXT));
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::upstream::{credentials, refresh};

    fn said(body: &str) -> String {
        words(body.as_bytes(), &credentials("s3cret"))
    }

    #[test]
    fn the_words_are_those_of_the_answer() {
        for (body, words) in [
            (r#"{"error":"invalid_client","error_description":"unknown client"}"#, "invalid_client unknown client"),
            (
                r#"{"error":[{"code":"UNAUTHORIZED.GMP_GATEWAY_API","description":"Unauthorized","info":"bad id"}]}"#,
                "UNAUTHORIZED.GMP_GATEWAY_API Unauthorized bad id",
            ),
            ("<html><h1>Access Denied</h1>\n<p>Reference #18.2</p></html>", "Access Denied Reference #18.2"),
            ("", ""),
        ] {
            assert_eq!(said(body), words);
        }
        assert_eq!(said(&"x".repeat(1000)).len(), MAX_TEXT);
        assert_eq!(said(r#"{"error":"a\u001b[2Jb"}"#), "a [2Jb", "nothing that a terminal would obey");
    }

    #[test]
    fn no_secret_is_repeated() {
        let pair = STANDARD.encode("client:s3cret");
        let body = format!(r#"{{"error":"no","error_description":"client / s3cret / Basic {pair}"}}"#);
        assert_eq!(said(&body), "no client / [redacted] / Basic [redacted]");
        let token = Some(refresh("RT-7", "10000680931"));
        let credentials = ClientCredentials { refresh: token, ..credentials("s3cret") };
        let body = br#"{"error":"invalid_grant","error_description":"RT-7 of 10000680931 is over"}"#;
        assert_eq!(words(body, &credentials), "invalid_grant [redacted] of 10000680931 is over");
    }

    #[test]
    fn an_edges_page_is_told_from_walmarts_word() {
        for page in [
            "<html><head><title>Access Denied</title></head><body>Reference #18.2</body></html>",
            "<!DOCTYPE html><p>Request blocked",
            "Access Denied",
            r#"{"appId":"PX1","jsClientSrc":"/x.js","vid":"1"}"#,
            r#""blocked""#,
        ] {
            assert!(is_edge_page(page.as_bytes()), "{page}");
        }
        for refusal in [
            "",
            " \n",
            r#"{"error":"invalid_client"}"#,
            r#"{"errors":[{"code":"X"}]}"#,
            r#"[{"code":"X"}]"#,
            r#"{"title":"Bad Request","status":400}"#,
            "<errors><error><code>UNAUTHORIZED</code></error></errors>",
        ] {
            assert!(!is_edge_page(refusal.as_bytes()), "{refusal}");
        }
    }
}
