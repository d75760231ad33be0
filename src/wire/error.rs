//! Walmart's error bodies, in every envelope they come in.
//!
//! `{"errors":{"error":[..]}}`, `{"error":[..]}`, `{"errors":[..]}`, one object where a list is meant, `status: FAIL` with
//! any of them, problem+json, XML, plain text, HTML, nothing at all. Reading never fails: what cannot be understood
//! becomes one error whose description is the start of the text, and [`ErrorForm`] says that it was not understood.

use serde_json::Value;

use crate::pb::WalmartError;

/// Most errors kept of one answer; the rest is counted.
const MAX_ERRORS: usize = 100;
/// Longest text kept of one field, in bytes.
const MAX_TEXT: usize = 2048;
/// Bodies beyond this are not parsed, only their first words are kept: a tree of values costs fifty times its text.
const MAX_PARSED: usize = 1024 * 1024;
/// The same for XML, whose reader takes time in the square of an element's attributes and of its namespaces.
const MAX_XML: usize = 256 * 1024;
const MAX_ATTRIBUTES: usize = 256;

/// How the code begins by which Walmart refuses a call because the account made too many, whatever the HTTP status.
pub const THRESHOLD_VIOLATED: &str = "REQUEST_THRESHOLD_VIOLATED";

/// Errors read from a body.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ErrorBody {
    /// In the order sent, at most a hundred.
    pub errors: Vec<WalmartError>,
    /// How many more there were.
    pub omitted: usize,
    /// How the body said them.
    pub form: ErrorForm,
}

/// The form of an error body. Only a body of a known form is Walmart's word on the request; every program on the way can
/// write the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ErrorForm {
    /// Error objects under `errors` or `error`, in a list or in XML, or an envelope with the status FAIL.
    Envelope,
    /// A whole problem+json object (RFC 9457).
    Problem,
    /// Nothing, text, HTML, a body that is cut or compressed, or JSON of another form.
    #[default]
    Unknown,
}

impl ErrorBody {
    /// Whether the body has one of the forms in which Walmart refuses a request.
    pub fn is_readable(&self) -> bool {
        self.form != ErrorForm::Unknown
    }
}

/// Reads the errors of a body that was not, or not only, a success.
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
            // Lists of other objects than errors have descriptions too, but no codes.
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

/// RFC 9457 requires no member. One that names the problem and one that says more are enough to tell it from the
/// `{"message": ...}` of a proxy.
fn is_problem(value: &Value) -> bool {
    let text = |key: &str| value.get(key).is_some_and(Value::is_string);
    (text("title") || text("detail")) && (text("type") || value.get("status").is_some_and(Value::is_number))
}

/// Finds error objects under `errors` or `error`, however they are nested. Tells whether there was one that says something.
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
        // problem+json has no code; its title is a text, which may name the customer and then must not stay.
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

/// Plain text, or HTML without its tags.
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
        // Any gap is one blank, or a page that begins with a thousand tags would have no words.
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
