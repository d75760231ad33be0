//! Interprets the texts of Walmart's errors. Walmart has no codes for most refusals, only texts in varying forms.
//! Pure.
//!
//! Texts are compared word by word: in lower case, split at every character which is not alphanumeric and within
//! `camelCase`. Thus `customerOrderNo`, `CUSTOMER_ORDER_NO` and "customer order no" are equal.

use crate::domain::ledger::evidence::{is_order_service_not_found, is_service_not_found};
use crate::domain::operation::Operation;
use crate::pb::WalmartError;

/// Phrases for a value already in use. A trailing `*` matches any ending of the word.
const TAKEN: [&str; 27] = [
    "duplicat*",
    "already exist*",
    "exists already",
    "already present",
    "not unique",
    "isnt unique",
    "non unique",
    "nonunique",
    "must be unique",
    "should be unique",
    "been used",
    "already used",
    "used already",
    "used before",
    "previously used",
    "was used",
    "is used",
    "reused",
    "in use",
    "is taken",
    "been taken",
    "already taken",
    "already assigned",
    "already been created",
    "already created",
    "already submitted",
    "already placed",
];
/// Phrases for an order or line past the state required by the request.
const TOO_LATE: [&str; 58] = [
    "is already",
    "are already",
    "already shipped",
    "already cancel*",
    "already delivered",
    "already dispatched",
    "already processed",
    "already completed",
    "already closed",
    "already fulfilled",
    "already been shipped",
    "already been cancel*",
    "already been delivered",
    "already been processed",
    "been shipped",
    "been cancel*",
    "been delivered",
    "been dispatched",
    "been fulfilled",
    "is shipped",
    "are shipped",
    "was shipped",
    "were shipped",
    "has shipped",
    "have shipped",
    "is cancelled",
    "is canceled",
    "was cancelled",
    "was canceled",
    "is delivered",
    "was delivered",
    "in process",
    "in progress",
    "being processed",
    "being shipped",
    "being fulfilled",
    "being picked",
    "being packed",
    "cannot be cancel*",
    "can not be cancel*",
    "cant be cancel*",
    "no longer be cancel*",
    "no longer cancel*",
    "not cancel*",
    "not eligible for cancel*",
    "cancellation window",
    "cancel window",
    "window has passed",
    "window has closed",
    "window has expired",
    "window is closed",
    "window is over",
    "past the window",
    "past the cancel*",
    "outside the window",
    "outside of the window",
    "too late",
    "higher status",
];
/// Further phrases for a wrong state; excluded for address errors, because "state" is also a part of an address.
const WRONG_STATE: [&str; 9] = [
    "invalid state",
    "invalid order state",
    "invalid line state",
    "invalid status",
    "invalid order status",
    "invalid line status",
    "wrong state",
    "wrong status",
    "incorrect state",
];
/// Further phrases for a wrong state, in the words of the services for the seller's own orders and for returns.
const WRONG_STATE_OF_LINES: [&str; 11] = [
    "overshipped",
    "over shipped",
    "cannot be shipped",
    "can not be shipped",
    "not eligible for return*",
    "quantity is not available",
    "quantity not available",
    "quantity is not refundable",
    "quantity not refundable",
    "intent to cancel",
    "requested to cancel",
];
const OF_AN_ADDRESS: [&str; 7] = ["address", "zip", "zipcode", "postal", "city", "province", "country"];
/// Things other than the order number which an error can call taken or duplicate.
const OTHER_SUBJECTS: [&str; 23] = [
    "sku",
    "skus",
    "line",
    "lines",
    "item",
    "items",
    "plan",
    "plans",
    "offer",
    "offers",
    "product",
    "products",
    "channel",
    "channels",
    "shipment",
    "shipments",
    "tracking",
    "package",
    "packages",
    "charge",
    "charges",
    "phone",
    "email",
];
/// Words before "number" which make "number" mean the order number.
const BEFORE_ITS_NUMBER: [&str; 8] = ["this", "that", "the", "a", "same", "your", "given", "reference"];

/// Whether the error calls the order number taken: the field or the text names the order, and no SKU, line or plan.
pub(crate) fn calls_order_number_taken(error: &WalmartError) -> bool {
    let texts = ErrorWords::of(error);
    match TextSubject::of(&texts.field) {
        TextSubject { order: true, other: false } => texts.any(&TAKEN),
        TextSubject { other: true, .. } => false,
        TextSubject { .. } => texts.subjects(&TAKEN).any(|subject| subject.order && !subject.other),
    }
}

/// Whether the error hints at an existing order. Weaker than [`calls_order_number_taken`]: only a SKU, line or plan
/// named without the order speaks against the hint. Not a proof.
pub(crate) fn hints_at_order(error: &WalmartError) -> bool {
    let texts = ErrorWords::of(error);
    let field = TextSubject::of(&texts.field);
    if field.order && !field.other && (texts.any(&TAKEN) || texts.any(&TOO_LATE)) {
        return true;
    }
    let mut subjects = texts.subjects(&TAKEN).chain(texts.subjects(&TOO_LATE).filter(|subject| subject.order));
    subjects.any(|subject| subject.order || !(subject.other || field.other))
}

/// Whether the call is about orders that the seller fulfills, or about returns: services of their own, with words of their
/// own.
const fn is_of_fulfillment_by_seller(operation: Operation) -> bool {
    !matches!(operation, Operation::Promise | Operation::Create | Operation::Cancel | Operation::Status)
}

/// Whether the error reports a wrong state of the order, line or return.
pub(crate) fn says_wrong_state(operation: Operation, error: &WalmartError) -> bool {
    let of_lines = || {
        let texts = ErrorWords::of(error);
        texts.any(&WRONG_STATE_OF_LINES) || texts.told().into_iter().any(says_is_in_a_status)
    };
    says_too_late(error) || (is_of_fulfillment_by_seller(operation) && of_lines())
}

/// Whether the words contain "is in … status", with one or two words between.
fn says_is_in_a_status(words: &str) -> bool {
    let words: Vec<&str> = words.split_whitespace().collect();
    let ends = |end: &str| matches!(end, "status" | "state");
    words.windows(4).any(|w| w[..2] == ["is", "in"] && ends(w[3]))
        || words.windows(5).any(|w| w[..2] == ["is", "in"] && ends(w[4]))
}

fn says_too_late(error: &WalmartError) -> bool {
    let texts = ErrorWords::of(error);
    let of_address = || texts.all().any(|text| OF_AN_ADDRESS.iter().any(|word| says(text, word)));
    texts.any(&TOO_LATE) || (texts.any(&WRONG_STATE) && !of_address())
}

/// Whether Walmart's service does not know the order or return. A gateway without a route for the path uses the same
/// code.
pub(crate) fn tells_unknown_order(operation: Operation, error: &WalmartError) -> bool {
    if is_of_fulfillment_by_seller(operation) {
        is_service_not_found(&error.code)
    } else {
        is_order_service_not_found(&error.code)
    }
}

/// Whether the error is the generic refusal seen from Walmart's order API during outages. The text occurs in either
/// field.
pub(crate) fn is_outage_in_disguise(error: &WalmartError) -> bool {
    let generic = |text: &str| text.trim().trim_end_matches('.').eq_ignore_ascii_case("Request invalid");
    error.code == "INVALID_REQUEST.GMP_ORDER_API" && (generic(&error.info) || generic(&error.description))
}

/// The texts of an error, split into words.
struct ErrorWords {
    field: String,
    /// The code without its component suffix. A suffix such as `.GMP_ORDER_API` names an order in every error.
    code: String,
    description: String,
    info: String,
}

impl ErrorWords {
    fn of(error: &WalmartError) -> Self {
        let code = error.code.split('.').next().unwrap_or_default();
        Self {
            field: words(&error.field),
            code: words(code),
            description: words(&error.description),
            info: words(&error.info),
        }
    }

    fn told(&self) -> [&str; 3] {
        [&self.code, &self.description, &self.info]
    }

    fn all(&self) -> impl Iterator<Item = &str> {
        self.told().into_iter().chain([self.field.as_str()])
    }

    fn any(&self, phrases: &[&str]) -> bool {
        self.told().into_iter().any(|text| phrases.iter().any(|phrase| says(text, phrase)))
    }

    /// The subjects of all texts with any of `phrases`: the things named in the text, or else in all texts together.
    fn subjects(&self, phrases: &[&str]) -> impl Iterator<Item = TextSubject> {
        self.told().into_iter().filter(move |text| phrases.iter().any(|phrase| says(text, phrase))).map(|text| {
            let subject = TextSubject::of(text);
            if subject.order || subject.other {
                return subject;
            }
            let all = self.told().map(TextSubject::of);
            TextSubject { order: all.iter().any(|s| s.order), other: all.iter().any(|s| s.other) }
        })
    }
}

/// The things named in a text.
#[derive(Clone, Copy)]
struct TextSubject {
    /// The order, or the order number.
    order: bool,
    /// A SKU, line, plan or similar.
    other: bool,
}

impl TextSubject {
    fn of(words: &str) -> Self {
        let mut subject = Self { order: false, other: false };
        let mut before = "";
        let mut words = words.split_whitespace().peekable();
        while let Some(word) = words.next() {
            if OTHER_SUBJECTS.contains(&word) {
                subject.other = true;
            } else if matches!(word, "order" | "orders") {
                // "order items" and similar name a part of the order, not the order.
                subject.order |= !words.peek().is_some_and(|next| OTHER_SUBJECTS.contains(next));
            } else if word == "number" && (before.is_empty() || BEFORE_ITS_NUMBER.contains(&before)) {
                subject.order = true;
            }
            before = word;
        }
        subject
    }
}

/// Splits `text` into words, each surrounded by blanks.
fn words(text: &str) -> String {
    let mut words = String::with_capacity(text.len() + 8);
    words.push(' ');
    let mut lower_before = false;
    for c in text.chars() {
        if matches!(c, '\'' | '’') {
            continue;
        }
        if !c.is_alphanumeric() || (c.is_uppercase() && lower_before) {
            if !words.ends_with(' ') {
                words.push(' ');
            }
            lower_before = false;
        }
        if c.is_alphanumeric() {
            words.extend(c.to_lowercase());
            lower_before = c.is_lowercase();
        }
    }
    if !words.ends_with(' ') {
        words.push(' ');
    }
    words
}

/// Whether `words` contain the phrase without a negation before.
fn says(words: &str, phrase: &str) -> bool {
    let (phrase, whole) = match phrase.strip_suffix('*') {
        Some(stem) => (stem, false),
        None => (phrase, true),
    };
    words.match_indices(phrase).any(|(at, _)| {
        let (before, behind) = (&words[..at], &words[at + phrase.len()..]);
        let denied =
            [" not ", " not a ", " no ", " never ", " isnt ", " arent "].iter().any(|word| before.ends_with(word));
        before.ends_with(' ') && (!whole || behind.starts_with(' ')) && !denied
    })
}

#[cfg(test)]
#[path = "wording_tests.rs"]
mod tests;
