//! Decodes Walmart's error bodies, in all known forms.
//!
//! The forms are `{"errors":{"error":[..]}}`, `{"error":[..]}`, `{"errors":[..]}`, an object in place of a list,
//! `status: FAIL` with any of these, problem+json, XML, plain text, HTML and an empty body. Decoding never fails: an
//! unknown body becomes a single error with the start of the text as description, and [`ErrorForm::Unknown`].

use serde_json::Value;

use crate::pb::WalmartError;

/// Maximum number of errors kept from an answer; further errors are counted.
const MAX_ERRORS: usize = 100;
/// Maximum length of a field in bytes.
const MAX_TEXT: usize = 2048;
/// Larger bodies are not parsed, and only the first words are kept: a tree of JSON values takes fifty times the
/// memory of the text.
const MAX_PARSED: usize = 1024 * 1024;
/// Larger XML is not parsed: the parser's time grows with the square of the attributes of an element, and of the
/// namespaces.
const MAX_XML: usize = 256 * 1024;
const MAX_ATTRIBUTES: usize = 256;

/// Prefix of the code for a throttled call; the HTTP status varies.
pub const THRESHOLD_VIOLATED: &str = "REQUEST_THRESHOLD_VIOLATED";

/// The errors decoded from a body.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ErrorBody {
    /// The errors in the order sent, at most a hundred.
    pub errors: Vec<WalmartError>,
    /// The number of further errors.
    pub omitted: usize,
    /// The form of the body.
    pub form: ErrorForm,
}

/// The form of an error body. Only a known form proves the answer to be Walmart's; any proxy on the way can write an
/// unknown form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ErrorForm {
    /// Error objects under `errors` or `error`, in a list or in XML, or an envelope with the status FAIL.
    Envelope,
    /// A complete problem+json object (RFC 9457).
    Problem,
    /// An empty body, text, HTML, a truncated or compressed body, or unknown JSON.
    #[default]
    Unknown,
}

impl ErrorBody {
    /// Whether the body has a form used by Walmart for refusals.
    pub fn is_readable(&self) -> bool {
        self.form != ErrorForm::Unknown
    }
}

/// Decodes the errors of a body.
pub fn read(body: &[u8]) -> ErrorBody {
    let text = String::from_utf8_lossy(body);
    let text = text.trim_start_matches('\u{feff}').trim();
    let unknown = || (from_text(text), ErrorForm::Unknown);
    let (mut errors, form) = match text.as_bytes().first() {
        Some(b'<') => from_xml(text).map_or_else(unknown, |errors| (errors, ErrorForm::Envelope)),
        _ if text.len() <= MAX_PARSED => {
            serde_json::from_str(text).map_or_else(|_| unknown(), |value| from_json(&value))
        }
        _ => unknown(),
    };
    let omitted = errors.len().saturating_sub(MAX_ERRORS);
    errors.truncate(MAX_ERRORS);
    ErrorBody { errors, omitted, form }
}

fn from_json(value: &Value) -> (Vec<WalmartError>, ErrorForm) {
    let mut found = Vec::new();
    match value {
        Value::Array(_) => {
            collect(value, &mut found);
            // Lists of other objects may have descriptions too, but no codes.
            let form =
                if found.iter().any(|error| !error.code.is_empty()) { ErrorForm::Envelope } else { ErrorForm::Unknown };
            (found, form)
        }
        Value::Object(object) => {
            let mut listed = false;
            for key in ["errors", "error"] {
                if let Some(inner) = object.get(key) {
                    listed |= collect(inner, &mut found);
                }
            }
            if found.is_empty() {
                found.extend(from_object(value));
            }
            let form = if listed || says_fail(value) {
                ErrorForm::Envelope
            } else if is_problem(value) {
                ErrorForm::Problem
            } else {
                ErrorForm::Unknown
            };
            (found, form)
        }
        Value::String(text) => (from_text(text), ErrorForm::Unknown),
        _ => (found, ErrorForm::Unknown),
    }
}

fn says_fail(envelope: &Value) -> bool {
    let status = envelope.get("status").and_then(Value::as_str).unwrap_or_default();
    status.eq_ignore_ascii_case("FAIL") || status.eq_ignore_ascii_case("FAILED")
}

/// Recognizes problem+json. RFC 9457 requires no member, so two members are required here, to exclude the
/// `{"message": ...}` of a proxy.
fn is_problem(value: &Value) -> bool {
    let text = |key: &str| value.get(key).is_some_and(Value::is_string);
    (text("title") || text("detail")) && (text("type") || value.get("status").is_some_and(Value::is_number))
}

/// Collects error objects under `errors` or `error` at any nesting. Returns whether any error has a code or text.
fn collect(value: &Value, found: &mut Vec<WalmartError>) -> bool {
    match value {
        Value::Array(many) => {
            let mut speaks = false;
            for one in many {
                speaks |= collect(one, found);
            }
            speaks
        }
        Value::Object(object) => match object.get("error").or_else(|| object.get("errors")) {
            Some(inner) if inner.is_array() || inner.is_object() => collect(inner, found),
            _ => {
                let Some(error) = from_object(value) else { return false };
                let speaks = [&error.code, &error.description, &error.info].iter().any(|text| !text.is_empty());
                found.push(error);
                speaks
            }
        },
        Value::String(text) => {
            found.extend(from_text(text));
            false
        }
        _ => false,
    }
}

fn from_object(value: &Value) -> Option<WalmartError> {
    let get = |keys: &[&str]| {
        keys.iter()
            .find_map(|key| match value.get(key) {
                Some(Value::String(text)) if !text.is_empty() => Some(cut(text)),
                Some(Value::Number(number)) => Some(number.to_string()),
                _ => None,
            })
            .unwrap_or_default()
    };
    let error = WalmartError {
        code: get(&["code", "errorCode"]),
        field: get(&["field"]),
        description: get(&["description", "message", "detail"]),
        // problem+json has no code. The title is stored as text, because a title may contain personal data.
        info: get(&["info", "title"]),
        severity: get(&["severity"]),
        category: get(&["category"]),
    };
    (error != WalmartError::default()).then_some(error)
}

fn from_xml(text: &str) -> Option<Vec<WalmartError>> {
    if text.len() > MAX_XML || text.bytes().filter(|b| *b == b'=').count() > MAX_ATTRIBUTES {
        return None;
    }
    let document = roxmltree::Document::parse(text).ok()?;
    let errors: Vec<_> = document
        .descendants()
        .filter(|node| node.tag_name().name() == "error")
        .filter_map(|node| {
            let get = |name: &str| {
                node.children()
                    .find(|child| child.tag_name().name() == name)
                    .and_then(|child| child.text())
                    .map(cut)
                    .unwrap_or_default()
            };
            let error = WalmartError {
                code: get("code"),
                field: get("field"),
                description: get("description"),
                info: get("info"),
                severity: get("severity"),
                category: get("category"),
            };
            (error != WalmartError::default()).then_some(error)
        })
        .collect();
    (!errors.is_empty()).then_some(errors)
}

/// Extracts the text of plain text or HTML.
fn from_text(text: &str) -> Vec<WalmartError> {
    let mut plain = String::new();
    let mut in_tag = false;
    for c in text.chars() {
        if plain.len() > MAX_TEXT {
            break;
        }
        match c {
            '<' => in_tag = true,
            '>' if in_tag => in_tag = false,
            _ if in_tag => continue,
            c if !c.is_control() && !c.is_whitespace() => {
                plain.push(c);
                continue;
            }
            _ => {}
        }
        // Collapse gaps to a blank: otherwise a page with a thousand leading tags would use up the limit without any
        // words.
        if !plain.is_empty() && !plain.ends_with(' ') {
            plain.push(' ');
        }
    }
    let description = plain.trim_end();
    if description.is_empty() {
        return Vec::new();
    }
    vec![WalmartError { description: cut(description), ..WalmartError::default() }]
}

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_TEXT)].to_owned()
}

#[cfg(test)]
#[path = "error_tests.rs"]
mod tests;
