//! What Walmart's API gateway checks before a service sees the call: headers, content type, token.
//!
//! Two forms of a business call are known. Production: `WM_SEC.ACCESS_TOKEN` (an `Authorization: Bearer` beside it does
//! not matter), `WM_QOS.CORRELATION_ID` and `WM_SVC.NAME` required; Bearer alone is 401. Sandbox, recognised by a
//! `WM_SANDBOX` header or by `martId` and `buId` together: as seed 001 prints it, Bearer alone is enough and the WM_
//! headers may be missing.

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, Method};
use jiff::Timestamp;

use super::answer::WalmartAnswer;
use super::target::Target;
use super::token::IssuedTokens;

/// The form in which the caller reads answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum AnswerFormat {
    Json,
    Xml,
    /// Neither: 406.
    Other,
}

/// JSON when asked for it or for anything, XML when asked for it or, as at Walmart, for nothing.
pub(crate) fn accepts(headers: &HeaderMap) -> AnswerFormat {
    let Some(accept) = text(headers, ACCEPT.as_str()).filter(|accept| !accept.is_empty()) else {
        return AnswerFormat::Xml;
    };
    let accept = accept.to_ascii_lowercase();
    if ["json", "*/*", "application/*"].iter().any(|known| accept.contains(known)) {
        AnswerFormat::Json
    } else if accept.contains("xml") {
        AnswerFormat::Xml
    } else {
        AnswerFormat::Other
    }
}

/// A header's value; empty when it is blank, none when it is missing or not text.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    Some(headers.get(name)?.to_str().ok()?.trim())
}

/// Whether `WM_SANDBOX: v2` is there: the dynamic sandbox and its forms of answers.
pub(crate) fn dynamic_sandbox(headers: &HeaderMap) -> bool {
    text(headers, "wm_sandbox").is_some_and(|value| value.eq_ignore_ascii_case("v2"))
}

fn sandbox_profile(headers: &HeaderMap) -> bool {
    headers.contains_key("wm_sandbox") || (headers.contains_key("martid") && headers.contains_key("buid"))
}

/// Checks method, headers and content type.
pub(crate) fn check(target: Target, method: &Method, headers: &HeaderMap) -> Result<(), WalmartAnswer> {
    if *method != target.method() {
        let answer = WalmartAnswer::gateway(405, "METHOD_NOT_ALLOWED", "method", "Method not allowed", "");
        return Err(answer.with("allow", target.method()));
    }
    if accepts(headers) == AnswerFormat::Other {
        return Err(WalmartAnswer::gateway(406, "INVALID_ACCEPT_TYPE", "Accept", "Accept type is not offered", ""));
    }
    if method == Method::POST {
        check_content_type(target, headers)?;
    }
    if !(sandbox_profile(headers) && target != Target::Token) {
        for (name, spelled) in [("wm_qos.correlation_id", "WM_QOS.CORRELATION_ID"), ("wm_svc.name", "WM_SVC.NAME")] {
            let (code, what) = match text(headers, name) {
                None => ("MISSING_REQUEST_HEADER", "header missing"),
                Some("") => ("INVALID_REQUEST_HEADER", "header blank"),
                Some(_) => continue,
            };
            return Err(WalmartAnswer::gateway(400, code, spelled, what, "Request header is not valid"));
        }
    }
    Ok(())
}

fn check_content_type(target: Target, headers: &HeaderMap) -> Result<(), WalmartAnswer> {
    let Some(sent) = text(headers, CONTENT_TYPE.as_str()) else {
        // Reported by many callers: no explanation, a number that is no HTTP status.
        return Err(WalmartAnswer::of_status(520));
    };
    let wanted = match target {
        Target::Token => "application/x-www-form-urlencoded",
        Target::Call(_) => "application/json",
    };
    let media_type = sent.split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case(wanted) {
        return Ok(());
    }
    Err(WalmartAnswer::gateway(415, "UNSUPPORTED_MEDIA_TYPE", "Content-Type", "Media type is not supported", wanted))
}

/// Whose call it is: the client that the token was issued to.
pub(crate) fn caller(tokens: &IssuedTokens, headers: &HeaderMap, now: Timestamp) -> Result<String, WalmartAnswer> {
    let bearer = || {
        let (scheme, token) = text(headers, AUTHORIZATION.as_str())?.split_once(' ')?;
        (sandbox_profile(headers) && scheme.eq_ignore_ascii_case("bearer")).then(|| token.trim())
    };
    let token = text(headers, "wm_sec.access_token").or_else(bearer);
    let client = token.and_then(|token| tokens.client(token, now));
    client.map(str::to_owned).ok_or_else(|| WalmartAnswer::of_status(401))
}
