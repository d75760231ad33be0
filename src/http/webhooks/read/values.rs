//! Values as Walmart may write them: text or number, one or many, an object or the text of one.

use serde_json::{Map, Value};

use crate::domain::timestamp::Timestamp;

/// Bytes of an id or a name of Walmart's; a longer one is none.
const LONGEST_NAME: usize = 256;
/// Numbers of seconds are smaller, of milliseconds since 1973 larger.
const SECONDS_BELOW: f64 = 1e11;

/// What stands in the place of one object.
#[derive(Clone, Copy, Debug)]
pub(super) enum ObjectPlace<'a> {
    /// The place is missing, or null.
    Nothing,
    /// The object, or a list of this object alone.
    One(&'a Map<String, Value>),
    /// A list of several objects.
    Several,
    /// Another value, or a list without an object.
    Other,
}

impl<'a> ObjectPlace<'a> {
    /// What a value is where one object is expected.
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

/// The object that a value is, or the only one that it holds.
pub(super) fn into_object(value: Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(object) => Some(object),
        other => ObjectPlace::in_place(Some(&other)).one().cloned(),
    }
}

/// The object that a text is in JSON; any other value as it is.
pub(super) fn unfold(value: Value) -> Value {
    match &value {
        Value::String(text) if text.trim_start().starts_with('{') => match serde_json::from_str(text) {
            Ok(object @ Value::Object(_)) => object,
            Ok(_) | Err(_) => value,
        },
        _ => value,
    }
}

/// The objects that a value is or holds, however deep its lists are nested.
pub(super) fn objects<'a>(value: Option<&'a Value>, each: &mut impl FnMut(&'a Map<String, Value>)) {
    match value {
        Some(Value::Object(one)) => each(one),
        // The JSON reader's limit on nesting bounds this recursion.
        Some(Value::Array(many)) => many.iter().for_each(|one| objects(Some(one), each)),
        _ => {}
    }
}

/// The first of the objects that a value is or holds.
pub(super) fn first_object(value: Option<&Value>) -> Option<&Map<String, Value>> {
    match value? {
        Value::Object(one) => Some(one),
        Value::Array(many) => many.iter().find_map(|one| first_object(Some(one))),
        _ => None,
    }
}

/// Text that is not empty, or a number or flag as text.
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

/// A number, or text that is one.
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

/// A moment since 1970: ISO text, in UTC where it does not say otherwise, or seconds or milliseconds.
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
    // Later than the year 9999 is no time that anybody meant.
    const LAST: f64 = 253_402_300_799_999.0;
    let millis = if number < SECONDS_BELOW { number * 1000.0 } else { number };
    (0.0..=LAST).contains(&millis).then_some(Timestamp(millis as u64))
}
