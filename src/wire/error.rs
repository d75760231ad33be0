//! Walmart's error bodies, in every envelope they come in.
//!
//! `{"errors":{"error":[..]}}`, `{"error":[..]}`, `{"errors":[..]}`, one object where a list is meant, `status: FAIL` with
//! any of them, problem+json, XML, plain text, HTML, nothing at all. Reading never fails: what cannot be understood
//! becomes one error whose description is the start of the text.

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

/// Errors read from a body.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ErrorBody {
    /// In the order sent, at most a hundred.
    pub errors: Vec<WalmartError>,
    /// How many more there were.
    pub omitted: usize,
}

/// Reads the errors of a body that was not, or not only, a success.
pub fn read(body: &[u8]) -> ErrorBody {
    let text = String::from_utf8_lossy(body);
    let text = text.trim_start_matches('\u{feff}').trim();
    let mut errors = match text.as_bytes().first() {
        Some(b'<') => from_xml(text).unwrap_or_else(|| from_text(text)),
        _ if text.len() <= MAX_PARSED => {
            serde_json::from_str(text).map_or_else(|_| from_text(text), |value| from_json(&value))
        }
        _ => from_text(text),
    };
    let omitted = errors.len().saturating_sub(MAX_ERRORS);
    errors.truncate(MAX_ERRORS);
    ErrorBody { errors, omitted }
}

fn from_json(value: &Value) -> Vec<WalmartError> {
    let mut found = Vec::new();
    match value {
        Value::Array(_) => collect(value, &mut found),
        Value::Object(object) => {
            for key in ["errors", "error"] {
                if let Some(inner) = object.get(key) {
                    collect(inner, &mut found);
                }
            }
            if found.is_empty() {
                found.extend(from_object(value));
            }
        }
        Value::String(text) => found.extend(from_text(text)),
        _ => {}
    }
    found
}

/// Finds error objects under `errors` or `error`, however they are nested.
fn collect(value: &Value, found: &mut Vec<WalmartError>) {
    match value {
        Value::Array(many) => many.iter().for_each(|one| collect(one, found)),
        Value::Object(object) => match object.get("error").or_else(|| object.get("errors")) {
            Some(inner) if inner.is_array() || inner.is_object() => collect(inner, found),
            _ => found.extend(from_object(value)),
        },
        Value::String(text) => found.extend(from_text(text)),
        _ => {}
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
        // problem+json has no code; its type is a URL and its title the nearest thing.
        code: get(&["code", "errorCode", "title"]),
        field: get(&["field"]),
        description: get(&["description", "message", "detail"]),
        info: get(&["info"]),
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
