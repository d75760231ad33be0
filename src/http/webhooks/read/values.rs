//! Reads values in the forms that Walmart may use: text or number, one or many, an object or its JSON text.

use serde_json::{Map, Value};

use crate::domain::timestamp::Timestamp;

/// Longest id or name of Walmart's, in bytes; a longer value counts as absent.
const LONGEST_NAME: usize = 256;
/// Bound between seconds and milliseconds: milliseconds since 1973 are larger.
const SECONDS_BELOW: f64 = 1e11;

/// The content of a place for one object.
#[derive(Clone, Copy, Debug)]
pub(super) enum ObjectPlace<'a> {
    /// The place is absent, or null.
    Nothing,
    /// An object, or a list with one object.
    One(&'a Map<String, Value>),
    /// A list of several objects.
    Several,
    /// Another value, or a list without an object.
    Other,
}

impl<'a> ObjectPlace<'a> {
    /// Examines the value in a place for one object.
    pub(super) fn in_place(value: Option<&'a Value>) -> Self {
        match value {
            None | Some(Value::Null) => Self::Nothing,
            Some(Value::Object(one)) => Self::One(one),
            Some(Value::Array(many)) => {
                let mut objects = many.iter().filter_map(Value::as_object);
                match (objects.next(), objects.next()) {
                    (None, _) => Self::Other,
                    (Some(one), None) => Self::One(one),
                    (Some(_), Some(_)) => Self::Several,
                }
            }
            Some(_) => Self::Other,
        }
    }

    pub(super) const fn one(self) -> Option<&'a Map<String, Value>> {
        match self {
            Self::One(one) => Some(one),
            Self::Nothing | Self::Several | Self::Other => None,
        }
    }
}

/// Returns the object, or the only object in a list.
pub(super) fn into_object(value: Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(object) => Some(object),
        other => ObjectPlace::in_place(Some(&other)).one().cloned(),
    }
}

/// Parses a text that holds a JSON object; any other value passes unchanged.
pub(super) fn unfold(value: Value) -> Value {
    match &value {
        Value::String(text) if text.trim_start().starts_with('{') => match serde_json::from_str(text) {
            Ok(object @ Value::Object(_)) => object,
            Ok(_) | Err(_) => value,
        },
        _ => value,
    }
}

/// Calls `each` with the object, or with all objects in nested lists.
pub(super) fn objects<'a>(value: Option<&'a Value>, each: &mut impl FnMut(&'a Map<String, Value>)) {
    match value {
        Some(Value::Object(one)) => each(one),
        // serde_json's limit on nesting bounds this recursion.
        Some(Value::Array(many)) => many.iter().for_each(|one| objects(Some(one), each)),
        _ => {}
    }
}

/// Returns the object, or the first object in nested lists.
pub(super) fn first_object(value: Option<&Value>) -> Option<&Map<String, Value>> {
    match value? {
        Value::Object(one) => Some(one),
        Value::Array(many) => many.iter().find_map(|one| first_object(Some(one))),
        _ => None,
    }
}

/// A non-empty text, or a number or flag as text.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(float) => Some(float.to_string()),
            None => Some(number.to_string()),
        },
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// A number, or a text with a number.
pub(super) fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.filter(|number| number.is_finite())
}

/// An id or a name: visible text, or a whole number.
pub(super) fn name(value: &Value) -> Option<String> {
    let name = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) if !number.is_f64() => number.to_string(),
        _ => return None,
    };
    let fits = !name.is_empty() && name.len() <= LONGEST_NAME && !name.contains(char::is_control);
    fits.then_some(name)
}

/// A time since 1970: ISO text, in UTC unless it names an offset, or seconds or milliseconds.
pub(super) fn time(value: &Value) -> Option<Timestamp> {
    match value {
        Value::Number(number) => from_epoch(number.as_f64()?),
        Value::String(text) => {
            let text = text.trim();
            let moment = text.parse::<jiff::Timestamp>().ok();
            let local = || text.parse::<jiff::civil::DateTime>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok();
            let moment = moment.or_else(|| Some(local()?.timestamp()));
            match moment {
                Some(moment) => u64::try_from(moment.as_millisecond()).ok().map(Timestamp),
                None => from_epoch(text.parse().ok()?),
            }
        }
        _ => None,
    }
}

fn from_epoch(number: f64) -> Option<Timestamp> {
    // The end of the year 9999: a later time is an error.
    const LAST: f64 = 253_402_300_799_999.0;
    let millis = if number < SECONDS_BELOW { number * 1000.0 } else { number };
    (0.0..=LAST).contains(&millis).then_some(Timestamp(millis as u64))
}
