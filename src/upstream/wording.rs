//! What the words of Walmart's errors speak about. Walmart has no codes for most refusals, only texts that vary. Pure.
//!
//! Texts are compared as words: lower case, split at every other character and within `camelCase`, so that
//! `customerOrderNo`, `CUSTOMER_ORDER_NO` and "customer order no" are the same.

use crate::domain::ledger::evidence::is_order_service_not_found;
use crate::pb::WalmartError;

/// Phrases that call something taken. A `*` at the end stands for any rest of the word.
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
/// Phrases by which an order or line is past the point at which the request could be carried out.
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
/// The same, but an address has a state too.
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
const OF_AN_ADDRESS: [&str; 7] = ["address", "zip", "zipcode", "postal", "city", "province", "country"];
/// What can be taken or repeated besides the order's number.
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
/// Words after which "number" alone means the order's.
const BEFORE_ITS_NUMBER: [&str; 8] = ["this", "that", "the", "a", "same", "your", "given", "reference"];

/// Whether the error calls the order's number taken: its field or its words name the order, and not a SKU, line or plan.
pub fn calls_order_number_taken(error: &WalmartError) -> bool {
    let texts = ErrorWords::of(error);
    match TextSubject::of(&texts.field) {
        TextSubject { order: true, other: false } => texts.any(&TAKEN),
        TextSubject { other: true, .. } => false,
        TextSubject { .. } => texts.subjects(&TAKEN).any(|subject| subject.order && !subject.other),
    }
}

/// Whether the error may mean that Walmart has the order already: as [`calls_order_number_taken`], but only a SKU, line or
/// plan that is named without the order speaks against it. A hint, no proof.
pub fn hints_at_order(error: &WalmartError) -> bool {
    let texts = ErrorWords::of(error);
    let field = TextSubject::of(&texts.field);
    if field.order && !field.other && (texts.any(&TAKEN) || texts.any(&TOO_LATE)) {
        return true;
    }
    let mut subjects = texts.subjects(&TAKEN).chain(texts.subjects(&TOO_LATE).filter(|subject| subject.order));
    subjects.any(|subject| subject.order || !(subject.other || field.other))
}

/// Whether the error says that the order or line is in the wrong state for the request.
pub fn says_too_late(error: &WalmartError) -> bool {
    let texts = ErrorWords::of(error);
    let of_address = || texts.all().any(|text| OF_AN_ADDRESS.iter().any(|word| says(text, word)));
    texts.any(&TOO_LATE) || (texts.any(&WRONG_STATE) && !of_address())
}

/// Walmart's order service itself does not know the order. A gateway that knows no route uses the same names.
pub fn tells_unknown_order(error: &WalmartError) -> bool {
    is_order_service_not_found(&error.code)
}

/// The generic refusal that Walmart's order API gives during outages, seen in the field. Its words stand in either text.
pub fn is_outage_in_disguise(error: &WalmartError) -> bool {
    let generic = |text: &str| text.trim().trim_end_matches('.').eq_ignore_ascii_case("Request invalid");
    error.code == "INVALID_REQUEST.GMP_ORDER_API" && (generic(&error.info) || generic(&error.description))
}

/// The texts of an error as words.
struct ErrorWords {
    field: String,
    /// Without its component, such as `.GMP_ORDER_API`, which names an order whatever is wrong.
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

    /// What each text with one of these phrases speaks about: what it names, or else what all of them name.
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

/// What a text names.
#[derive(Clone, Copy)]
struct TextSubject {
    /// The order, or its number.
    order: bool,
    /// A SKU, line, plan, ...
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
                // The items of an order are not the order.
                subject.order |= !words.peek().is_some_and(|next| OTHER_SUBJECTS.contains(next));
            } else if word == "number" && (before.is_empty() || BEFORE_ITS_NUMBER.contains(&before)) {
                subject.order = true;
            }
            before = word;
        }
        subject
    }
}

/// The words of `text`, each with a blank before and behind.
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

/// Whether these words have the phrase, and not its denial.
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
