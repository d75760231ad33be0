//! Building blocks for strict JSON reading. A missing value, a null and a value of a different type stay distinct,
//! unknown keys are skipped, and a key that occurs twice in one object is an error.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

/// Longest list that is read. A page has at most 50 orders; a longer list makes the answer unreadable.
const LONGEST_LIST: usize = 1_000;

/// An object with some known keys.
pub(super) trait ObjectFields: Default {
    /// Reads the value of `key` from `object` if the key is known; otherwise leaves the value unread and returns false.
    fn read<'de, A: MapAccess<'de>>(&mut self, key: &str, object: &mut A) -> Result<bool, A::Error>;
}

/// An object of which only the presence counts.
impl ObjectFields for () {
    fn read<'de, A: MapAccess<'de>>(&mut self, _: &str, _: &mut A) -> Result<bool, A::Error> {
        Ok(false)
    }
}

/// Implements [`ObjectFields`] for rows whose keys each have a field.
macro_rules! object_fields {
    ($($row:ident { $($key:literal => $field:ident),* })*) => {
        $(impl $crate::domain::ledger::evidence::json::ObjectFields for $row {
            fn read<'de, A: serde::de::MapAccess<'de>>(
                &mut self,
                key: &str,
                object: &mut A,
            ) -> Result<bool, A::Error> {
                match key {
                    $($key => $crate::domain::ledger::evidence::json::once(&mut self.$field, object),)*
                    _ => Ok(false),
                }
            }
        })*
    };
}
pub(super) use object_fields;

/// Reads the next value of `object` into `field`. Fails when `field` is set, because a duplicate key leaves the meaning
/// open.
pub(super) fn once<'de, A, T>(field: &mut Option<T>, object: &mut A) -> Result<bool, A::Error>
where
    A: MapAccess<'de>,
    T: Deserialize<'de>,
{
    if field.is_some() {
        return Err(A::Error::custom("a key stands twice"));
    }
    *field = Some(object.next_value()?);
    Ok(true)
}

/// A value in a place for text or a number.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum JsonScalar {
    Null,
    Text(String),
    Number(Number),
    /// A flag, a list or an object.
    Other,
}

impl JsonScalar {
    /// Trimmed text, or a number as written in JSON. `None` for blank text and for any type besides text and number.
    pub(super) fn shown(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Text(text) => Some(text.trim()).filter(|text| !text.is_empty()).map(Cow::Borrowed),
            Self::Number(number) => Some(Cow::Owned(number.to_string())),
            Self::Null | Self::Other => None,
        }
    }

    /// A finite number that is not negative, also from text.
    pub(super) fn amount(&self) -> Option<f64> {
        let amount = match self {
            Self::Number(number) => number.as_f64()?,
            Self::Text(text) => text.trim().parse().ok()?,
            Self::Null | Self::Other => return None,
        };
        (amount.is_finite() && amount >= 0.0).then_some(amount)
    }
}

/// A value in a place for an object or a list of objects.
#[derive(Debug)]
pub(super) enum JsonPart<T> {
    Null,
    /// Text, a number or a flag.
    Scalar(JsonScalar),
    Object(Box<T>),
    /// Elements other than objects are `None`.
    List(Vec<Option<T>>),
}

impl<T> JsonPart<T> {
    /// The object, or the objects of the list.
    pub(super) fn objects(&self) -> impl Iterator<Item = &T> {
        let (one, many) = match self {
            Self::Object(one) => (Some(&**one), None),
            Self::List(many) => (None, Some(many.iter().flatten())),
            Self::Null | Self::Scalar(_) => (None, None),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

/// The objects of an optional part.
pub(super) fn objects<T>(part: &Option<JsonPart<T>>) -> impl Iterator<Item = &T> {
    part.iter().flat_map(JsonPart::objects)
}

/// The objects of an optional part; `None` when it has anything else, which may hide an object.
pub(super) fn only_objects<T>(part: &Option<JsonPart<T>>) -> Option<Vec<&T>> {
    match part {
        Some(JsonPart::List(many)) => many.iter().map(Option::as_ref).collect(),
        Some(JsonPart::Scalar(_)) => None,
        Some(JsonPart::Object(_) | JsonPart::Null) | None => Some(objects(part).collect()),
    }
}

/// Reads a whole body. `None` when the body is no JSON object, is cut short, or names a field twice.
pub(super) fn object_of<T: ObjectFields>(body: &[u8]) -> Option<T> {
    match part_of(body)? {
        JsonPart::Object(object) => Some(*object),
        JsonPart::Null | JsonPart::Scalar(_) | JsonPart::List(_) => None,
    }
}

/// Reads a whole body of any form. `None` when the body is no JSON, is cut short, or names a field twice.
pub(super) fn part_of<T: ObjectFields>(body: &[u8]) -> Option<JsonPart<T>> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let part = JsonPart::deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()?;
    Some(part)
}

/// Reads the known keys of an object and skips the rest.
pub(super) fn object<'de, A: MapAccess<'de>, T: ObjectFields>(mut object: A) -> Result<T, A::Error> {
    let mut fields = T::default();
    while let Some(key) = object.next_key::<JsonKey<'de>>()? {
        if !fields.read(&key.0, &mut object)? {
            object.next_value::<IgnoredAny>()?;
        }
    }
    Ok(fields)
}

/// A key, borrowed when free of escapes.
pub(super) struct JsonKey<'de>(pub(super) Cow<'de, str>);

impl<'de> Deserialize<'de> for JsonKey<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;

        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = JsonKey<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_str<E>(self, key: &'de str) -> Result<JsonKey<'de>, E> {
                Ok(JsonKey(Cow::Borrowed(key)))
            }

            fn visit_str<E>(self, key: &str) -> Result<JsonKey<'de>, E> {
                Ok(JsonKey(Cow::Owned(key.to_owned())))
            }
        }

        deserializer.deserialize_str(KeyVisitor)
    }
}

/// Skips the elements of a list.
fn pass_over<'de, A: SeqAccess<'de>>(mut list: A) -> Result<(), A::Error> {
    while list.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}

fn pass_over_object<'de, A: MapAccess<'de>>(mut object: A) -> Result<(), A::Error> {
    while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
    Ok(())
}

impl<'de> Deserialize<'de> for JsonScalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = JsonScalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<JsonScalar, E> {
        Ok(JsonScalar::Null)
    }

    fn visit_str<E>(self, text: &str) -> Result<JsonScalar, E> {
        Ok(JsonScalar::Text(text.to_owned()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<JsonScalar, E> {
        Ok(JsonScalar::Number(number.into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<JsonScalar, E> {
        Ok(JsonScalar::Number(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<JsonScalar, E> {
        Ok(Number::from_f64(number).map_or(JsonScalar::Other, JsonScalar::Number))
    }

    fn visit_bool<E>(self, _: bool) -> Result<JsonScalar, E> {
        Ok(JsonScalar::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<JsonScalar, A::Error> {
        pass_over(list).map(|()| JsonScalar::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<JsonScalar, A::Error> {
        pass_over_object(object).map(|()| JsonScalar::Other)
    }
}

impl<'de, T: ObjectFields> Deserialize<'de> for JsonPart<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PartVisitor(PhantomData))
    }
}

struct PartVisitor<T>(PhantomData<fn() -> T>);

impl<'de, T: ObjectFields> Visitor<'de> for PartVisitor<T> {
    type Value = JsonPart<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<JsonPart<T>, E> {
        Ok(JsonPart::Null)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<JsonPart<T>, E> {
        ScalarVisitor.visit_str(text).map(JsonPart::Scalar)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<JsonPart<T>, E> {
        ScalarVisitor.visit_u64(number).map(JsonPart::Scalar)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<JsonPart<T>, E> {
        ScalarVisitor.visit_i64(number).map(JsonPart::Scalar)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<JsonPart<T>, E> {
        ScalarVisitor.visit_f64(number).map(JsonPart::Scalar)
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<JsonPart<T>, E> {
        ScalarVisitor.visit_bool(flag).map(JsonPart::Scalar)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<JsonPart<T>, A::Error> {
        object(map).map(|one| JsonPart::Object(Box::new(one)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<JsonPart<T>, A::Error> {
        let mut elements = Vec::new();
        while let Some(ListElement(element)) = list.next_element()? {
            if elements.len() == LONGEST_LIST {
                return Err(A::Error::custom("the list is too long"));
            }
            elements.push(element);
        }
        Ok(JsonPart::List(elements))
    }
}

/// An element of a list of objects.
struct ListElement<T>(Option<T>);

impl<'de, T: ObjectFields> Deserialize<'de> for ListElement<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ElementVisitor(PhantomData))
    }
}

struct ElementVisitor<T>(PhantomData<fn() -> T>);

impl<'de, T: ObjectFields> Visitor<'de> for ElementVisitor<T> {
    type Value = ListElement<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<ListElement<T>, E> {
        Ok(ListElement(None))
    }

    fn visit_str<E>(self, _: &str) -> Result<ListElement<T>, E> {
        Ok(ListElement(None))
    }

    fn visit_u64<E>(self, _: u64) -> Result<ListElement<T>, E> {
        Ok(ListElement(None))
    }

    fn visit_i64<E>(self, _: i64) -> Result<ListElement<T>, E> {
        Ok(ListElement(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<ListElement<T>, E> {
        Ok(ListElement(None))
    }

    fn visit_bool<E>(self, _: bool) -> Result<ListElement<T>, E> {
        Ok(ListElement(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<ListElement<T>, A::Error> {
        pass_over(list).map(|()| ListElement(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ListElement<T>, A::Error> {
        object(map).map(|one| ListElement(Some(one)))
    }
}
