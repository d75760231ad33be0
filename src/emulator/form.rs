//! Reads request bodies strictly, and collects all of their faults.

use serde_json::Value;

use super::answer::{FieldFault, complaint};

/// Faults listed in an answer at most.
const MAX_COMPLAINTS: usize = 20;
/// Largest quantity, in units.
const MAX_UNITS: f64 = 1e9;

/// A body being read, and the faults found.
#[derive(Debug, Default)]
pub(crate) struct Form {
    complaints: Vec<FieldFault>,
}

impl Form {
    pub(crate) fn complain(&mut self, field: impl Into<String>, text: impl Into<String>) {
        if self.complaints.len() < MAX_COMPLAINTS {
            self.complaints.push(complaint(field, text));
        }
    }

    /// Reads a required text, not blank. Returns an empty text after a fault.
    pub(crate) fn text<'a>(&mut self, at: &'a Value, path: &str, key: &str) -> &'a str {
        self.one_of(at, path, &[key])
    }

    /// Reads a required text under the first key present.
    pub(crate) fn one_of<'a>(&mut self, at: &'a Value, path: &str, keys: &[&str]) -> &'a str {
        match keys.iter().map(|key| &at[*key]).find(|value| !value.is_null()) {
            Some(Value::String(text)) if !text.trim().is_empty() => text,
            Some(Value::String(_)) => self.nothing(path, keys, "must not be blank"),
            Some(_) => self.nothing(path, keys, "must be a string"),
            None => self.nothing(path, keys, "is required"),
        }
    }

    fn nothing(&mut self, path: &str, keys: &[&str], what: &str) -> &'static str {
        let field = format!("{path}.{}", keys.first().unwrap_or(&""));
        self.complain(&field, format!("{field} {what}"));
        ""
    }

    /// Reads a required list, not empty. Returns an empty list after a fault.
    pub(crate) fn items<'a>(&mut self, at: &'a Value, path: &str, key: &str) -> &'a [Value] {
        match at[key].as_array() {
            Some(items) if !items.is_empty() => items,
            _ => {
                let field = format!("{path}.{key}");
                self.complain(&field, format!("{field} must be a list of at least one"));
                &[]
            }
        }
    }

    /// Reads a required quantity: a unit and a whole number of at least 1. Returns 1 after a fault.
    pub(crate) fn units(&mut self, at: &Value, path: &str, key: &str) -> u64 {
        let path = format!("{path}.{key}");
        let at = &at[key];
        let unit = self.text(at, &path, "unitOfMeasure");
        if !unit.is_empty() && !["EACH", "EA"].iter().any(|known| unit.eq_ignore_ascii_case(known)) {
            self.complain(format!("{path}.unitOfMeasure"), format!("{path}.unitOfMeasure must be EACH or EA"));
        }
        match at["measurementValue"].as_f64() {
            Some(n) if n.fract() == 0.0 && (1.0..=MAX_UNITS).contains(&n) => n as u64,
            _ => {
                let field = format!("{path}.measurementValue");
                self.complain(&field, format!("{field} must be a whole number of at least 1"));
                1
            }
        }
    }

    /// Reads an address in either family of keys.
    pub(crate) fn address(&mut self, at: &Value, path: &str) {
        let path = format!("{path}.address");
        let at = &at["address"];
        self.one_of(at, &path, &["line1", "addressLineOne"]);
        self.one_of(at, &path, &["city"]);
        self.one_of(at, &path, &["state", "stateCode"]);
        self.one_of(at, &path, &["country", "countryCode"]);
        let zip = self.one_of(at, &path, &["zip", "postalCode"]);
        if !zip.is_empty() && !is_zip(zip) {
            self.complain(format!("{path}.zip"), format!("{path}.zip must be 5 digits, or 5 and 4"));
        }
    }

    /// Reads a contact with name and phone.
    pub(crate) fn contact(&mut self, at: &Value, path: &str) {
        let path = format!("{path}.contact");
        let at = &at["contact"];
        let name = format!("{path}.name");
        self.text(&at["name"], &name, "firstName");
        self.text(&at["name"], &name, "lastName");
        self.text(at, &path, "phone");
    }

    /// Returns the faults found, if any.
    pub(crate) fn finish(self) -> Result<(), Vec<FieldFault>> {
        if self.complaints.is_empty() { Ok(()) } else { Err(self.complaints) }
    }
}

fn is_zip(text: &str) -> bool {
    let digits = |part: &str, length| part.len() == length && part.bytes().all(|b| b.is_ascii_digit());
    match text.split_once('-') {
        Some((five, four)) => digits(five, 5) && digits(four, 4),
        None => digits(text, 5),
    }
}

/// The order number of a body: `sellerOrderId` or `customerOrderNo`; empty without either.
pub(crate) fn order_number(payload: &Value) -> &str {
    let id = |key: &str| payload[key].as_str().filter(|text| !text.trim().is_empty());
    id("sellerOrderId").or_else(|| id("customerOrderNo")).unwrap_or_default()
}

/// Whether both ids are present and differ.
pub(crate) fn order_numbers_differ(payload: &Value) -> bool {
    let (seller, customer) = (&payload["sellerOrderId"], &payload["customerOrderNo"]);
    !seller.is_null() && !customer.is_null() && seller != customer
}
