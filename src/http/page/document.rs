//! The HTML document of the status page: one file for the browser, built from three source files.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderValue;
use sha2::{Digest as _, Sha256};

const HTML: &str = include_str!("page.html");
const CSS: &str = include_str!("page.css");
const JS: &str = include_str!("page.js");

/// The places of style and script in the HTML.
const STYLE: &str = "/* page.css */";
const SCRIPT: &str = "/* page.js */";

/// The document and its policy.
pub(super) struct PageDocument {
    pub(super) body: Bytes,
    /// Value of the `Content-Security-Policy` header.
    pub(super) policy: HeaderValue,
}

impl PageDocument {
    /// Builds the document, once per process.
    pub(super) fn new() -> Self {
        let body = HTML.replacen(STYLE, CSS, 1).replacen(SCRIPT, JS, 1);
        // Trusted types: text cannot become markup, not even through a mistake in the script.
        let policy = format!(
            "default-src 'none'; style-src {}; script-src {}; connect-src 'self'; img-src data:; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
            hash(CSS),
            hash(JS),
        );
        // Cannot fail: the policy consists of fixed words and base64. The fallback allows nothing.
        let policy = HeaderValue::from_str(&policy).unwrap_or(super::NOTHING);
        Self { body: body.into(), policy }
    }
}

/// The hash of an inline style or script, in the form of the policy.
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
