//! Removes customers' data from errors, because Walmart's texts may repeat data from a request or from an order that
//! was read.
//!
//! [`PersonalTexts`] collects the texts of `customer`, `shippingTo` and `address` at any depth of a message; a new
//! operation needs no list of fields. Texts are replaced as whole words in any case (`words`), and numbers such as
//! telephone numbers in any grouping of digits (`numbers`). Walmart's `code` and `field` stay unchanged, because
//! callers act on the values.

mod numbers;
#[cfg(test)]
mod tests;
mod words;

use std::collections::BTreeSet;

use prost::Message;
use serde::Serialize;
use serde_json::Value;

use self::numbers::NumberFinder;
use self::words::PhraseFinder;
use crate::pb::WalmartError;

/// The replacement for personal data.
pub(crate) const REDACTED: &str = "[redacted]";

/// Parts of keys, in lower case, whose objects hold personal data.
const PERSONAL_OBJECTS: [&str; 9] =
    ["customer", "shippingto", "shipto", "shipfrom", "recipient", "buyer", "contact", "address", "pickupperson"];
/// Parts of keys whose text is personal data at any depth. `customerOrderNo` contains none of these parts.
const PERSONAL_TEXTS: [&str; 3] = ["phone", "email", "address"];
/// Largest answer that is searched. A tree of JSON values takes fifty times the memory of its text.
const MAX_ANSWER: usize = 1024 * 1024;
/// Bounds of the texts beside a snapshot: room for an order with several addresses.
const MAX_KEPT: usize = 100;
const MAX_KEPT_TEXT: usize = 256;
/// Longest value of one of Walmart's closed sets. A longer value is treated as text.
const MAX_CODE: usize = 128;

/// Personal texts of any number of messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PersonalTexts(BTreeSet<String>);

/// The texts beside a snapshot. The only tag is reserved in all snapshots, which lets snapshot and texts share the same
/// bytes.
#[derive(Clone, PartialEq, Message)]
struct KeptTexts {
    #[prost(string, repeated, tag = "15")]
    texts: Vec<String>,
}

impl PersonalTexts {
    /// Collects the personal texts of a message from its JSON form.
    pub fn of(message: &impl Serialize) -> Self {
        // Conversion fails only for maps with keys other than text, which Walmart's messages do not have.
        serde_json::to_value(message).map_or_else(|_| Self::default(), |value| Self::of_json(&value))
    }

    /// Takes texts as they are, except blank ones.
    pub(crate) fn of_texts(texts: impl IntoIterator<Item = String>) -> Self {
        Self(texts.into_iter().filter(|text| !text.trim().is_empty()).collect())
    }

    /// Collects the personal texts of a raw answer. An answer that is not JSON, or too large, yields none, because
    /// personal texts cannot be recognized.
    pub(crate) fn of_answer(body: &[u8]) -> Self {
        let value = (body.len() <= MAX_ANSWER).then(|| serde_json::from_slice(body).ok()).flatten();
        value.map_or_else(Self::default, |value| Self::of_json(&value))
    }

    fn of_json(value: &Value) -> Self {
        let mut texts = BTreeSet::new();
        collect(value, false, &mut texts);
        Self(texts)
    }

    /// Adds the texts of another collection.
    pub fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// Reads the texts stored by [`PersonalTexts::beside`].
    pub(crate) fn kept_beside(snapshot: &[u8]) -> Self {
        let kept = KeptTexts::decode(snapshot).unwrap_or_default();
        Self(kept.texts.into_iter().collect())
    }

    /// Appends the texts to an encoded snapshot, for redacting errors of attempts made by a later process. Readers of
    /// the snapshot skip the texts.
    pub fn beside(&self, mut snapshot: Vec<u8>) -> Vec<u8> {
        let known = Self::kept_beside(&snapshot);
        let new = self.0.difference(&known.0).filter(|text| text.len() <= MAX_KEPT_TEXT);
        let texts = new.take(MAX_KEPT.saturating_sub(known.0.len())).cloned().collect();
        snapshot.extend(KeptTexts { texts }.encode_to_vec());
        snapshot
    }

    /// Replaces every personal text in the free texts of Walmart's errors, which are description and info. Severity and
    /// category have closed sets of values and are cleaned only where the value is no code.
    pub fn redact<'e>(&self, errors: impl IntoIterator<Item = &'e mut WalmartError>) {
        let mut errors = errors.into_iter().peekable();
        if errors.peek().is_none() || self.0.is_empty() {
            return;
        }
        let (phrases, numbers) = (PhraseFinder::new(&self.0), NumberFinder::new(&self.0));
        let clean = |text: &mut String| {
            let mut spans = phrases.find(text);
            spans.extend(numbers.find(text));
            if !spans.is_empty() {
                *text = replaced(text, spans);
            }
        };
        for WalmartError { code: _, field: _, description, info, severity, category } in errors {
            clean(description);
            clean(info);
            [severity, category].into_iter().filter(|text| !is_code(text)).for_each(clean);
        }
    }
}

/// A part of a text, as the first byte and the byte after the last.
type Span = (usize, usize);

/// Overlapping spans are merged: a text that contains another personal text must not leave a remainder.
fn replaced(text: &str, mut spans: Vec<Span>) -> String {
    spans.sort_unstable();
    let mut clean = String::with_capacity(text.len());
    let mut copied = 0;
    for (start, end) in spans {
        if start < copied {
            copied = copied.max(end);
            continue;
        }
        clean.push_str(&text[copied..start]);
        clean.push_str(REDACTED);
        copied = end;
    }
    clean.push_str(&text[copied..]);
    clean
}

fn is_code(text: &str) -> bool {
    text.len() <= MAX_CODE && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-:".contains(&b))
}

fn collect(value: &Value, inside: bool, texts: &mut BTreeSet<String>) {
    let mut add = |text: String| {
        if inside && !text.trim().is_empty() {
            texts.insert(text);
        }
    };
    match value {
        Value::String(text) => add(text.clone()),
        Value::Number(number) => add(number.to_string()),
        Value::Array(many) => many.iter().for_each(|one| collect(one, inside, texts)),
        Value::Object(fields) => {
            for (key, value) in fields {
                let key = key.to_lowercase();
                let names: &[&str] =
                    if value.is_object() || value.is_array() { &PERSONAL_OBJECTS } else { &PERSONAL_TEXTS };
                collect(value, inside || names.iter().any(|name| key.contains(name)), texts);
            }
        }
        Value::Bool(_) | Value::Null => {}
    }
}
