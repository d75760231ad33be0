//! `POST /v3/token`: exchanges client credentials, or a seller's refresh token, for an access token of 900 seconds. As at
//! Walmart, a new token does not end the earlier tokens.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::HeaderMap;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::Credentials;
use super::answer::WalmartAnswer;
use super::ids::digest;
use super::magic;

/// Lifetime of a token, in seconds. Source: the published schema (`expires_in`).
pub(crate) const LIFETIME_SECONDS: i64 = 900;

#[derive(Debug, Default)]
pub(crate) struct IssuedTokens {
    live: HashMap<String, IssuedToken>,
    serial: u64,
}

#[derive(Debug)]
struct IssuedToken {
    /// The client id, or the partner id of the seller whose refresh token was exchanged.
    account: String,
    expires: Timestamp,
}

impl IssuedTokens {
    /// The account that the token was issued to, while the token is valid.
    pub(crate) fn account(&self, token: &str, now: Timestamp) -> Option<&str> {
        self.live.get(token).filter(|issued| now < issued.expires).map(|issued| issued.account.as_str())
    }

    /// Answers a token request. The flag says whether a token was issued.
    pub(crate) fn request(
        &mut self,
        headers: &HeaderMap,
        form: &[u8],
        accepted: &Option<Credentials>,
        seed: u64,
        now: Timestamp,
    ) -> (WalmartAnswer, bool) {
        let Some((id, secret)) = basic(headers) else {
            return (WalmartAnswer::unauthorized("client id and secret missing or malformed"), false);
        };
        if id.starts_with(magic::DEAD) {
            // Seen in production: a revoked client gets 400 with plain text, not 401 with an error object.
            return (WalmartAnswer::text(400, "Client credentials are no longer valid"), false);
        }
        let known = match accepted {
            Some(pair) => pair.client_id == id && pair.client_secret == secret,
            None => !id.is_empty() && !secret.is_empty(),
        };
        if !known {
            return (WalmartAnswer::unauthorized("client id or secret is wrong"), false);
        }
        let field = |name: &str| url::form_urlencoded::parse(form).find(|(key, _)| key == name).map(|(_, value)| value);
        let account = match field("grant_type").as_deref() {
            Some("client_credentials") => id,
            Some("refresh_token") => match seller(headers, field("refresh_token").as_deref()) {
                Ok(partner_id) => partner_id,
                Err(why) => return (WalmartAnswer::text(400, why), false),
            },
            Some("authorization_code") => {
                return (WalmartAnswer::text(400, "grant_type=authorization_code is not offered here"), false);
            }
            _ => return (WalmartAnswer::text(400, "grant_type is missing or unknown"), false),
        };
        let token = self.issue(&account, seed, now);
        let body = json!({"access_token": token, "token_type": "Bearer", "expires_in": LIFETIME_SECONDS});
        (WalmartAnswer::json(200, body), true)
    }

    fn issue(&mut self, account: &str, seed: u64, now: Timestamp) -> String {
        self.live.retain(|_, issued| now < issued.expires);
        self.serial += 1;
        // Walmart's token is an encrypted JWT of five parts and about 1 KB; the size matters to clients that bound
        // headers.
        let part = |name: &str, blocks: u32| {
            let bytes: Vec<u8> = (0..blocks)
                .flat_map(|block| digest(seed, &["token", account, name, &self.serial.to_string(), &block.to_string()]))
                .collect();
            URL_SAFE_NO_PAD.encode(bytes)
        };
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"dir","enc":"A256GCM","kid":"emulator"}"#);
        let token = format!("{header}..{}.{}.{}", part("iv", 1), part("text", 22), part("tag", 1));
        let expires = now.saturating_add(SignedDuration::from_secs(LIFETIME_SECONDS)).unwrap_or(Timestamp::MAX);
        self.live.insert(token.clone(), IssuedToken { account: account.to_owned(), expires });
        token
    }
}

/// The seller whose refresh token was sent: the partner id of the header. Any refresh token is good for any seller, unless
/// it is called dead.
fn seller(headers: &HeaderMap, refresh_token: Option<&str>) -> Result<String, &'static str> {
    let partner_id = headers.get("wm_partner.id").and_then(|value| value.to_str().ok()).map_or("", str::trim);
    if partner_id.is_empty() {
        return Err("WM_PARTNER.ID is missing");
    }
    match refresh_token {
        None | Some("") => Err("refresh_token is missing"),
        Some(token) if token.starts_with(magic::DEAD) => Err("The refresh token is no longer valid"),
        Some(_) => Ok(partner_id.to_owned()),
    }
}

fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(http::header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    Some((id.to_owned(), secret.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn ask(tokens: &mut IssuedTokens, pair: &str, form: &str, accepted: &Option<Credentials>) -> (WalmartAnswer, bool) {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", format!("Basic {}", STANDARD.encode(pair)).parse().unwrap());
        tokens.request(&headers, form.as_bytes(), accepted, 1, at(0))
    }

    const GRANT: &str = "grant_type=client_credentials";

    fn token(answer: &WalmartAnswer) -> String {
        answer.value().unwrap()["access_token"].as_str().unwrap().to_owned()
    }

    #[test]
    fn two_tokens_live_side_by_side_for_900_seconds() {
        let mut tokens = IssuedTokens::default();
        let first = token(&ask(&mut tokens, "id:secret", GRANT, &None).0);
        let second = token(&ask(&mut tokens, "id:secret", GRANT, &None).0);
        assert_ne!(first, second);
        assert!((1000..1500).contains(&first.len()), "{}", first.len());
        assert_eq!(tokens.account(&first, at(899)), Some("id"));
        assert_eq!(tokens.account(&second, at(899)), Some("id"));
        assert_eq!(tokens.account(&first, at(900)), None);
        assert_eq!(tokens.account("made up", at(0)), None);
    }

    #[test]
    fn refuses_wrong_dead_and_odd_requests() {
        let mut tokens = IssuedTokens::default();
        let fixed = Some(Credentials { client_id: "id".into(), client_secret: "right".into() });
        for (pair, form, status) in [
            ("id:wrong", GRANT, 401),
            (":right", GRANT, 401),
            ("no colon", GRANT, 401),
            ("MAGIC-DEAD-1:right", GRANT, 400),
            ("id:right", "", 400),
            ("id:right", "grant_type=refresh_token&refresh_token=RT-1", 400),
            ("id:right", "grant_type=authorization_code&code=1", 400),
            ("id:right", GRANT, 200),
        ] {
            let (answer, issued) = ask(&mut tokens, pair, form, &fixed);
            assert_eq!((answer.status, issued), (status, status == 200), "{pair} {form}");
        }
        assert_eq!(ask(&mut tokens, "id:", GRANT, &None).0.status, 401);
    }

    #[test]
    fn a_refresh_token_gives_a_token_of_the_seller() {
        let mut tokens = IssuedTokens::default();
        let mut headers = HeaderMap::new();
        headers.insert("authorization", format!("Basic {}", STANDARD.encode("provider:secret")).parse().unwrap());
        let mut ask = |headers: &HeaderMap, form: &str| {
            let (answer, issued) = tokens.request(headers, form.as_bytes(), &None, 1, at(0));
            assert_eq!(issued, answer.status == 200, "{form}");
            (answer.status, issued.then(|| tokens.account(&token(&answer), at(899)).unwrap().to_owned()))
        };
        assert_eq!(ask(&headers, "grant_type=refresh_token&refresh_token=RT-1"), (400, None), "no WM_PARTNER.ID");
        headers.insert("wm_partner.id", "10000680931".parse().unwrap());
        assert_eq!(ask(&headers, "grant_type=refresh_token&refresh_token=RT-1"), (200, Some("10000680931".into())));
        assert_eq!(ask(&headers, "grant_type=refresh_token"), (400, None));
        assert_eq!(ask(&headers, "grant_type=refresh_token&refresh_token=MAGIC-DEAD-1"), (400, None));
        assert_eq!(ask(&headers, GRANT), (200, Some("provider".into())), "the client's own");
    }
}
