//! Checks made by Walmart's API gateway before a service: headers, content type, token.
//!
//! A business call has one of two forms. In production `WM_SEC.ACCESS_TOKEN`, `WM_QOS.CORRELATION_ID` and `WM_SVC.NAME`
//! are required; an additional `Authorization: Bearer` is ignored, and Bearer alone gets 401. The sandbox is recognised
//! by a `WM_SANDBOX` header, or by `martId` and `buId` together: as in seed 001, Bearer alone is enough, and the WM_
//! headers are optional.

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, Method};
use jiff::Timestamp;

use super::answer::WalmartAnswer;
use super::target::Target;
use super::token::IssuedTokens;

/// The format of the answer, by the caller's `Accept`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum AnswerFormat {
    Json,
    Xml,
    /// Neither format is accepted: 406.
    Other,
}

/// JSON for a caller that asks for it or for any format; XML for a caller that asks for it, or, as at Walmart, names no
/// format.
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

/// A header's value. Empty for a blank header; `None` when missing or not text.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    Some(headers.get(name)?.to_str().ok()?.trim())
}

/// Whether `WM_SANDBOX: v2` is present, which selects the dynamic sandbox and its forms of answers.
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
    if method == Method::POST || method == Method::PATCH {
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
        // Reported by many callers: no explanation, and a number that is not an HTTP status.
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

/// Returns the caller: the client that the token was issued to.
pub(crate) fn caller(tokens: &IssuedTokens, headers: &HeaderMap, now: Timestamp) -> Result<String, WalmartAnswer> {
    let bearer = || {
        let (scheme, token) = text(headers, AUTHORIZATION.as_str())?.split_once(' ')?;
        (sandbox_profile(headers) && scheme.eq_ignore_ascii_case("bearer")).then(|| token.trim())
    };
    let token = text(headers, "wm_sec.access_token").or_else(bearer);
    let client = token.and_then(|token| tokens.account(token, now));
    client.map(str::to_owned).ok_or_else(|| WalmartAnswer::of_status(401))
}
