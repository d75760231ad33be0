//! The document: one file for the browser, made of three for us.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderValue;
use sha2::{Digest as _, Sha256};

use crate::domain::operation::Operation;

const HTML: &str = include_str!("page.html");
const CSS: &str = include_str!("page.css");
const JS: &str = include_str!("page.js");

/// Where style and script go.
const STYLE: &str = "/* page.css */";
const SCRIPT: &str = "/* page.js */";
/// Where the table of accounts has a column for each of Walmart's calls.
const OPERATIONS: &str = "<!-- operations -->";

/// The page and what it may do.
pub(super) struct PageDocument {
    pub(super) body: Bytes,
    /// Its `Content-Security-Policy`.
    pub(super) policy: HeaderValue,
}

impl PageDocument {
    /// Puts it together, once in the life of the process.
    pub(super) fn new() -> Self {
        let column = |operation: Operation| format!("<th scope=\"col\">{operation}</th>");
        let columns: String = Operation::ALL.map(column).concat();
        let body = HTML.replacen(STYLE, CSS, 1).replacen(SCRIPT, JS, 1).replacen(OPERATIONS, &columns, 1);
        // Trusted types: text can never become markup, not by a mistake either.
        let policy = format!(
            "default-src 'none'; style-src {}; script-src {}; connect-src 'self'; img-src data:; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
            hash(CSS),
            hash(JS),
        );
        // Of fixed words and base64. Were it not a header's value, nothing would be allowed.
        let policy = HeaderValue::from_str(&policy).unwrap_or(super::NOTHING);
        Self { body: body.into(), policy }
    }
}

/// As policies name a piece of inline style or script.
fn hash(text: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
        let text = text.split_once(from).unwrap().1;
        text.split_once(to).unwrap().0
    }

    #[test]
    fn the_policy_names_exactly_the_style_and_the_script_that_the_document_has() {
        let document = PageDocument::new();
        let (body, policy) = (str::from_utf8(&document.body).unwrap(), document.policy.to_str().unwrap());
        for (tag, directive) in [("style", "style-src"), ("script", "script-src")] {
            assert_eq!(body.matches(&format!("<{tag}")).count(), 1, "{tag}");
            let inside = between(body, &format!("<{tag}>"), &format!("</{tag}>"));
            assert_eq!(between(policy, &format!("{directive} "), ";"), hash(inside), "{tag}");
        }
        assert!(policy.starts_with("default-src 'none'; "));
        assert!(!policy.contains("unsafe"));
    }

    #[test]
    fn each_of_walmarts_calls_has_its_column() {
        let document = PageDocument::new();
        let head = between(str::from_utf8(&document.body).unwrap(), ">Access token</th>", "</tr>");
        let columns: Vec<_> =
            head.split("<th scope=\"col\">").skip(1).map(|cell| cell.trim_end_matches("</th>")).collect();
        assert_eq!(columns, Operation::ALL.map(Operation::name));
    }

    /// As <https://www.w3.org/TR/CSP3/#example-hash-source> has it.
    #[test]
    fn a_hash_is_written_as_policies_want_it() {
        assert_eq!(hash("alert('Hello, world.');"), "'sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng='");
    }

    #[test]
    fn nothing_is_fetched_from_elsewhere_and_nothing_runs_but_the_script() {
        let body = PageDocument::new().body;
        let body = str::from_utf8(&body).unwrap();
        for word in ["http://", "https://", "src=", "@import", "url(", "style=\"", "onclick", "onload", "innerHTML"] {
            assert!(!body.contains(word), "{word}");
        }
    }
}
