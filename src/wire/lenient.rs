//! Lenient deserializers for Walmart's answers, which vary: text or number, object or list, null or missing.
//!
//! Every function accepts any JSON value and never fails because of the type. An unsuitable value counts as absent,
//! so that a single odd field does not make the whole answer unreadable. `build.rs` names these functions in serde
//! attributes. What a function drops it tells `super::watch`.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::watch::notice;
use crate::pb::{Name, Quantity, WalmartError};

/// Reads text, or a number or flag as text; otherwise empty.
pub fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(optional_text(deserializer)?.unwrap_or_default())
}

/// Reads text, or a number or flag as text; otherwise absent.
pub fn optional_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(scalar(deserializer)?.map(JsonScalar::into_text))
}

/// Reads a number or numeric text; otherwise absent.
pub fn optional_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    Ok(scalar(deserializer)?.and_then(|s| s.or_notice(JsonScalar::number)))
}

/// Reads a whole number in range, or such a number as text; otherwise absent.
pub fn optional_integer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i32>, D::Error> {
    let range = f64::from(i32::MIN)..=f64::from(i32::MAX);
    let integer = |s: &JsonScalar| s.number().filter(|n| n.fract() == 0.0 && range.contains(n)).map(|n| n as i32);
    Ok(scalar(deserializer)?.and_then(|s| s.or_notice(integer)))
}

/// Reads a flag, or "true", "false", 1, 0; otherwise absent.
pub fn optional_flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    Ok(scalar(deserializer)?.and_then(|s| s.or_notice(JsonScalar::flag)))
}

/// Reads an object, or the first object of a list; otherwise absent.
pub fn object<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let mut all = list(deserializer)?.into_iter();
    let first = all.next();
    if all.next().is_some() {
        notice();
    }
    Ok(first)
}

/// Reads a list of objects, or an object as a list; otherwise empty. Elements which are not objects are dropped.
pub fn list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    fn collect<T>(shape: JsonShape<T>, into: &mut Vec<T>) {
        match shape {
            JsonShape::Object(one) => into.push(one),
            JsonShape::List(many) => many.into_iter().for_each(|one| collect(one, into)),
            JsonShape::Scalar(one) => one.drop_noticed(),
            JsonShape::Absent => {}
        }
    }
    let mut all = Vec::new();
    collect(JsonShape::deserialize(deserializer)?, &mut all);
    Ok(all)
}

/// An error in all of its forms.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct AnyError {
    #[serde(deserialize_with = "text")]
    code: String,
    #[serde(deserialize_with = "text")]
    field: String,
    #[serde(deserialize_with = "text")]
    description: String,
    /// Newer services send it in place of `description`.
    #[serde(deserialize_with = "text")]
    message: String,
    #[serde(deserialize_with = "text")]
    info: String,
    #[serde(deserialize_with = "text")]
    severity: String,
    #[serde(deserialize_with = "text")]
    category: String,
}

/// Reads a list of errors like [`list`]. `message` stands in for a missing `description`.
pub fn errors<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<WalmartError>, D::Error> {
    let error = |error: AnyError| {
        let AnyError { code, field, mut description, message, info, severity, category } = error;
        if description.is_empty() {
            description = message;
        } else if !message.is_empty() {
            notice();
        }
        WalmartError { code, field, description, info, severity, category }
    };
    Ok(list(deserializer)?.into_iter().map(error).collect())
}

/// Reads a list of texts, or a text as a list; otherwise empty.
pub fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    fn collect(shape: JsonShape<IgnoredAny>, into: &mut Vec<String>) {
        match shape {
            JsonShape::Scalar(one) => into.push(one.into_text()),
            JsonShape::List(many) => many.into_iter().for_each(|one| collect(one, into)),
            JsonShape::Object(_) | JsonShape::Absent => {}
        }
    }
    let mut all = Vec::new();
    collect(JsonShape::deserialize(deserializer)?, &mut all);
    Ok(all)
}

/// Reads an object of texts; numbers and flags count as text, other values are dropped. Otherwise empty.
pub fn text_map<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    struct TextMap(BTreeMap<String, String>);

    impl<'de> Deserialize<'de> for TextMap {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let values = BTreeMap::<String, JsonShape<IgnoredAny>>::deserialize(deserializer)?;
            let texts = values.into_iter().filter_map(|(name, value)| match value {
                JsonShape::Scalar(text) => Some((name, text.into_text())),
                JsonShape::Object(_) | JsonShape::List(_) | JsonShape::Absent => None,
            });
            Ok(Self(texts.collect()))
        }
    }

    let map: Option<TextMap> = object(deserializer)?;
    Ok(map.map(|map| map.0).unwrap_or_default())
}

/// Reads a quantity as an object, a number or numeric text; otherwise absent.
pub fn quantity<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Quantity>, D::Error> {
    fn first(shape: JsonShape<Quantity>) -> Option<Quantity> {
        match shape {
            JsonShape::Object(one) => Some(one),
            JsonShape::Scalar(bare) => bare
                .or_notice(JsonScalar::number)
                .map(|n| Quantity { unit_of_measure: None, measurement_value: Some(n) }),
            JsonShape::List(many) => first_of(many, first),
            JsonShape::Absent => None,
        }
    }
    Ok(first(JsonShape::deserialize(deserializer)?))
}

/// Reads a person's name as an object, or as text, stored in `first_name`; otherwise absent.
pub fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Name>, D::Error> {
    fn first(shape: JsonShape<Name>) -> Option<Name> {
        match shape {
            JsonShape::Object(one) => Some(one),
            JsonShape::Scalar(whole) => Some(Name { first_name: Some(whole.into_text()), last_name: None }),
            JsonShape::List(many) => first_of(many, first),
            JsonShape::Absent => None,
        }
    }
    Ok(first(JsonShape::deserialize(deserializer)?))
}

/// The first value of a list that can be read; others are dropped.
fn first_of<T, V>(many: Vec<JsonShape<T>>, read: fn(JsonShape<T>) -> Option<V>) -> Option<V> {
    let mut values = many.into_iter();
    let first = values.find_map(read);
    if values.any(|dropped| !matches!(dropped, JsonShape::Absent)) {
        notice();
    }
    first
}

fn scalar<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<JsonScalar>, D::Error> {
    Ok(match JsonShape::<IgnoredAny>::deserialize(deserializer)? {
        JsonShape::Scalar(one) => Some(one),
        JsonShape::List(many) => {
            if !many.is_empty() {
                notice();
            }
            None
        }
        // An object that says something was noticed when it was passed over.
        JsonShape::Object(_) | JsonShape::Absent => None,
    })
}

/// The shape of a JSON value; an object is read as `T`. The recursion limit of the JSON parser bounds the nesting of
/// lists.
enum JsonShape<T> {
    Absent,
    Scalar(JsonScalar),
    Object(T),
    List(Vec<JsonShape<T>>),
}

enum JsonScalar {
    Text(String),
    Integer(i64),
    Unsigned(u64),
    Float(f64),
    Flag(bool),
}

impl JsonScalar {
    /// Reads the scalar; one that cannot be read is dropped.
    fn or_notice<T>(self, read: impl FnOnce(&Self) -> Option<T>) -> Option<T> {
        let value = read(&self);
        if value.is_none() {
            self.drop_noticed();
        }
        value
    }

    fn drop_noticed(self) {
        if !matches!(&self, Self::Text(text) if text.is_empty()) {
            notice();
        }
    }

    fn into_text(self) -> String {
        match self {
            JsonScalar::Text(v) => v,
            JsonScalar::Integer(v) => v.to_string(),
            JsonScalar::Unsigned(v) => v.to_string(),
            JsonScalar::Float(v) => v.to_string(),
            JsonScalar::Flag(v) => v.to_string(),
        }
    }

    fn number(&self) -> Option<f64> {
        match self {
            JsonScalar::Text(v) => v.trim().parse().ok().filter(|n: &f64| n.is_finite()),
            JsonScalar::Integer(v) => Some(*v as f64),
            JsonScalar::Unsigned(v) => Some(*v as f64),
            JsonScalar::Float(v) => Some(*v),
            JsonScalar::Flag(_) => None,
        }
    }

    fn flag(&self) -> Option<bool> {
        match self {
            JsonScalar::Flag(v) => Some(*v),
            JsonScalar::Text(v) if v.eq_ignore_ascii_case("true") => Some(true),
            JsonScalar::Text(v) if v.eq_ignore_ascii_case("false") => Some(false),
            JsonScalar::Integer(0) | JsonScalar::Unsigned(0) => Some(false),
            JsonScalar::Integer(1) | JsonScalar::Unsigned(1) => Some(true),
            _ => None,
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for JsonShape<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShapeVisitor(PhantomData))
    }
}

struct ShapeVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ShapeVisitor<T> {
    type Value = JsonShape<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(JsonShape::Absent)
    }
    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(JsonShape::Absent)
    }
    fn visit_bool<E>(self, v: bool) -> Result<Self::Value, E> {
        Ok(JsonShape::Scalar(JsonScalar::Flag(v)))
    }
    fn visit_i64<E>(self, v: i64) -> Result<Self::Value, E> {
        Ok(JsonShape::Scalar(JsonScalar::Integer(v)))
    }
    fn visit_u64<E>(self, v: u64) -> Result<Self::Value, E> {
        Ok(JsonShape::Scalar(JsonScalar::Unsigned(v)))
    }
    fn visit_f64<E>(self, v: f64) -> Result<Self::Value, E> {
        Ok(JsonShape::Scalar(JsonScalar::Float(v)))
    }
    fn visit_str<E>(self, v: &str) -> Result<Self::Value, E> {
        Ok(JsonShape::Scalar(JsonScalar::Text(v.to_owned())))
    }
    fn visit_string<E>(self, v: String) -> Result<Self::Value, E> {
        Ok(JsonShape::Scalar(JsonScalar::Text(v)))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut all = Vec::new();
        while let Some(one) = seq.next_element()? {
            all.push(one);
        }
        Ok(JsonShape::List(all))
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(JsonShape::Object)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use prost_reflect::DescriptorPool;
    use serde_json::{Value, json};

    use super::*;
    use crate::pb;

    /// An answer that holds one mirrored message, as Walmart's envelopes do.
    #[derive(serde::Deserialize)]
    struct Holding<T: Default + for<'a> Deserialize<'a>> {
        #[serde(default, deserialize_with = "object")]
        payload: Option<T>,
    }

    fn read<T: Default + for<'a> Deserialize<'a>>(payload: Value) -> Option<T> {
        let text = json!({ "payload": payload }).to_string();
        serde_json::from_str::<Holding<T>>(&text).unwrap().payload
    }

    fn header(attribute: &str, value: Value) -> pb::HeaderAttributes {
        read(json!({ attribute: value })).unwrap()
    }

    #[test]
    fn text_is_text_or_what_can_be_written_as_it() {
        let cases = [(json!("a"), "a"), (json!(""), ""), (json!(7), "7"), (json!(-7), "-7"), (json!(true), "true")];
        for (sent, expected) in cases {
            assert_eq!(header("martId", sent.clone()).mart_id.as_deref(), Some(expected), "{sent}");
            let error: pb::WalmartError = read(json!({ "code": sent })).unwrap();
            assert_eq!(error.code, expected);
        }
        for other in [json!(null), json!([]), json!(["a"]), json!({}), json!({ "a": 1 })] {
            assert_eq!(header("martId", other.clone()).mart_id, None, "{other}");
            let error: pb::WalmartError = read(json!({ "code": other })).unwrap();
            assert_eq!(error.code, "");
        }
    }

    #[test]
    fn whole_numbers_are_numbers_or_numeric_text_in_range() {
        for (sent, expected) in
            [(json!(3), 3), (json!(3.0), 3), (json!("3"), 3), (json!(" -3 "), -3), (json!(i32::MAX), i32::MAX)]
        {
            assert_eq!(header("pageCount", sent.clone()).page_count, Some(expected), "{sent}");
        }
        for other in
            [json!(null), json!(3.5), json!("x"), json!(""), json!(2_147_483_648_i64), json!(u64::MAX), json!(true)]
        {
            assert_eq!(header("pageCount", other.clone()).page_count, None, "{other}");
        }
    }

    #[test]
    fn numbers_are_numbers_or_numeric_text_and_finite() {
        let value = |sent| read::<pb::Quantity>(json!({ "measurementValue": sent })).unwrap().measurement_value;
        assert_eq!(value(json!(0)), Some(0.0));
        assert_eq!(value(json!("2.5")), Some(2.5));
        for other in ["NaN", "inf", "-Infinity", "1e999", "two", ""] {
            assert_eq!(value(json!(other)), None, "{other}");
        }
    }

    #[test]
    fn flags_are_flags_or_their_words() {
        let flag = |sent| read::<pb::Address>(json!({ "isPOBox": sent })).unwrap().is_po_box;
        for (sent, expected) in
            [(json!(false), false), (json!("TRUE"), true), (json!("false"), false), (json!(1), true)]
        {
            assert_eq!(flag(sent.clone()), Some(expected), "{sent}");
        }
        for other in [json!(2), json!("yes"), json!(0.5), json!(null), json!({})] {
            assert_eq!(flag(other.clone()), None, "{other}");
        }
    }

    #[test]
    fn one_stands_for_many_and_many_for_one() {
        let one = json!({ "offers": { "sku": "A" }, "destinations": [] });
        let many = json!({ "offers": [{ "sku": "A" }], "destinations": null });
        assert_eq!(read::<pb::Promise>(one.clone()), read::<pb::Promise>(many));
        assert_eq!(read::<pb::Promise>(json!([one])).unwrap().offers.len(), 1);
        let mixed: pb::Promise = read(json!({ "offers": [1, { "sku": "A" }, null, "B", [{ "sku": "C" }]] })).unwrap();
        assert_eq!(mixed.offers.iter().map(|o| o.sku.as_deref().unwrap()).collect::<Vec<_>>(), ["A", "C"]);
        let line: pb::LineItemAttributes = read(json!({ "fulfillmentChannel": "WFS" })).unwrap();
        assert_eq!(line.fulfillment_channel, ["WFS"]);
        let line: pb::LineItemAttributes = read(json!({ "fulfillmentChannel": ["WFS", null, 3, {}] })).unwrap();
        assert_eq!(line.fulfillment_channel, ["WFS", "3"]);
    }

    #[test]
    fn a_quantity_may_be_bare() {
        for sent in [json!({ "measurementValue": 2 }), json!(2), json!("2"), json!([{ "measurementValue": "2" }])] {
            let offer: pb::Offer = read(json!({ "availableQuantity": sent })).unwrap();
            assert_eq!(offer.available_quantity.unwrap().measurement_value, Some(2.0), "{sent}");
        }
        let offer: pb::Offer = read(json!({ "availableQuantity": "some" })).unwrap();
        assert_eq!(offer.available_quantity, None);
    }

    #[test]
    fn unknown_fields_are_passed_over() {
        assert_eq!(read::<pb::Sla>(json!({ "tier": "T", "new": { "deep": [1] } })).unwrap().tier, "T");
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_crash() {
        let nested = |open: &str, close: &str| {
            let text = format!(r#"{{"payload":{}1{}}}"#, open.repeat(100_000), close.repeat(100_000));
            serde_json::from_str::<Holding<pb::Promise>>(&text).map(|answer| answer.payload)
        };
        assert!(nested("[", "]").unwrap_err().to_string().contains("recursion limit"));
        // What nobody asks for is passed over, however deep.
        assert_eq!(nested(r#"{"x":["#, "]}").unwrap(), Some(pb::Promise::default()));
    }

    /// Any JSON value whose keys are names of our fields or not.
    fn any_json() -> impl Strategy<Value = Value> {
        let pool = DescriptorPool::decode(pb::FILE_DESCRIPTOR_SET).unwrap();
        let ours = pool.all_messages().filter(|m| m.package_name() == "ordergateway.v1");
        let names: BTreeSet<String> =
            ours.flat_map(|m| m.fields().map(|f| f.json_name().to_owned()).collect::<Vec<_>>()).collect();
        let key = prop_oneof![9 => prop::sample::select(names.into_iter().collect::<Vec<_>>()), 1 => ".{0,8}"];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
            "-?[0-9]{1,20}(\\.[0-9])?".prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 64, 8, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec((key.clone(), inner), 0..8).prop_map(|all| all.into_iter().collect::<Value>()),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_value_makes_an_answer_unreadable(value in any_json()) {
            read::<pb::Header>(value.clone());
            read::<pb::Promise>(value.clone());
            read::<pb::Acceptance>(value.clone());
            read::<pb::OrderStatus>(value.clone());
            read::<pb::WalmartError>(value);
        }

        #[test]
        fn what_was_read_is_written_and_read_the_same(value in any_json()) {
            if let Some(first) = read::<pb::OrderStatus>(value.clone()) {
                prop_assert_eq!(read(serde_json::to_value(&first).unwrap()), Some(first));
            }
            if let Some(first) = read::<pb::Promise>(value) {
                prop_assert_eq!(read(serde_json::to_value(&first).unwrap()), Some(first));
            }
        }
    }
}
