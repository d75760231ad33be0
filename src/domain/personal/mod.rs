//! Keeps customers' data out of errors: Walmart's texts may repeat what a request, or an order that was read, says.
//!
//! [`PersonalTexts`] collects the texts of `customer`, `shippingTo` and `address`, wherever they stand in a message, so that a new
//! operation needs no list of its own fields. Each text is replaced as whole words in any case (`words`), and numbers such as
//! telephones however their digits are grouped (`numbers`). Walmart's `code` and `field` stay as they are: callers act on them.

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

/// What stands in the place of personal data.
pub const REDACTED: &str = "[redacted]";

/// Parts of the keys whose objects hold personal data, in lower case.
const PERSONAL_OBJECTS: [&str; 7] = ["customer", "shippingto", "shipto", "recipient", "buyer", "contact", "address"];
/// Parts of the keys whose text is personal data wherever it stands. `customerOrderNo` is none of them.
const PERSONAL_TEXTS: [&str; 3] = ["phone", "email", "address"];
/// Answers beyond this are not searched: a tree of values costs fifty times its text.
const MAX_ANSWER: usize = 1024 * 1024;
/// Bounds of what is kept beside a snapshot: the texts of an order with several addresses.
const MAX_KEPT: usize = 100;
const MAX_KEPT_TEXT: usize = 256;
/// What a value of Walmart's closed sets is made of; anything else in its place is a text.
const MAX_CODE: usize = 128;

/// Personal texts, of any number of messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PersonalTexts(BTreeSet<String>);

/// The texts beside a snapshot. Its only tag is reserved in all snapshots, so that both can stand in the same bytes.
#[derive(Clone, PartialEq, Message)]
struct KeptTexts {
    #[prost(string, repeated, tag = "15")]
    texts: Vec<String>,
}

impl PersonalTexts {
    /// Of a message, by its JSON form.
    pub fn of(message: &impl Serialize) -> Self {
        // Only maps with keys that are no text fail, and Walmart's messages have none.
        serde_json::to_value(message).map_or_else(|_| Self::default(), |value| Self::of_json(&value))
    }

    /// Of an answer as it came. One that is not JSON, or that is too large, has none that could be told from other texts.
    pub fn of_answer(body: &[u8]) -> Self {
        let value = (body.len() <= MAX_ANSWER).then(|| serde_json::from_slice(body).ok()).flatten();
        value.map_or_else(Self::default, |value| Self::of_json(&value))
    }

    fn of_json(value: &Value) -> Self {
        let mut texts = BTreeSet::new();
        collect(value, false, &mut texts);
        Self(texts)
    }

    /// These texts and the others.
    pub fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// Those that were kept with [`PersonalTexts::beside`].
    pub fn kept_beside(snapshot: &[u8]) -> Self {
        let kept = KeptTexts::decode(snapshot).unwrap_or_default();
        Self(kept.texts.into_iter().collect())
    }

    /// The encoded snapshot with these texts beside it, for errors of attempts that another process may make. Readers of the
    /// snapshot pass over them.
    pub fn beside(&self, mut snapshot: Vec<u8>) -> Vec<u8> {
        let known = Self::kept_beside(&snapshot);
        let new = self.0.difference(&known.0).filter(|text| text.len() <= MAX_KEPT_TEXT);
        let texts = new.take(MAX_KEPT.saturating_sub(known.0.len())).cloned().collect();
        snapshot.extend(KeptTexts { texts }.encode_to_vec());
        snapshot
    }

    /// Replaces every personal text in what Walmart tells for people to read: description and info. Severity and category are
    /// of closed sets and stay too, unless a text stands in their place.
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

/// A part of a text: its first byte and the one after its last.
type Span = (usize, usize);

/// Spans that overlap are one: no part of a text is left over where another text is a part of it.
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
