//! Finds what an answer says that its message has no place for: fields that the mirror does not know, and values of
//! another type than the mirror's. The answer is read a second time, by the descriptor of its message.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize as _, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::pb;

/// Most bytes of paths and values together.
const MAX_BYTES: usize = 4096;
/// Longest path that is kept or counted.
const MAX_PATH: usize = 512;
/// Most different places of one answer that are counted.
const MAX_PLACES: usize = 64;
/// Values of larger answers are not kept, only their places: a tree of JSON values takes fifty times the memory of its
/// text.
const MAX_VALUES_OF: usize = 1024 * 1024;
/// Longest name of a field. A longer name, or one with other characters than letters, digits and `_`, is no name of a
/// field but data.
const MAX_NAME: usize = 64;
/// Stands for the names that are data.
const DATA: &str = "*";

/// Objects of credentials: a field in them that the mirror does not know may be a secret.
const SECRET_OBJECTS: [&str; 2] = ["authDetails", "headers"];
/// Replaces values in such objects.
const REDACTED: &str = "\"[redacted]\"";

/// The message of Walmart's errors.
const ERROR: &str = "WalmartError";

/// Fields of answers that are the gateway's own.
const OWN: [&str; 7] =
    ["correlation_id", "request_id", "replayed", "cache", "batches", "already_acknowledged", "unmapped"];

static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(pb::FILE_DESCRIPTOR_SET).unwrap_or_default());

/// What an answer says beyond its message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unmapped {
    /// JSON text of the values by their paths (`list.elements.order[0].newField`), at most 4 KiB together. A value that
    /// does not fit is left out whole. May have personal data.
    pub values: BTreeMap<String, String>,
    /// The places of all values, without positions in lists and without names that are data
    /// (`list.elements.order[].newField`).
    pub places: BTreeSet<String>,
}

/// Finds what `body` says beyond the response message of this short name.
pub fn find(message: &str, body: &[u8]) -> Unmapped {
    let mut found = Finder { keeps: body.len() <= MAX_VALUES_OF, ..Finder::default() };
    if let Some(root) = POOL.get_message_by_name(&format!("ordergateway.v1.{message}")) {
        let place = Place::of_root(root, body);
        let mut parser = serde_json::Deserializer::from_slice(body);
        // The body was read before. A body that ends early has said what it has said.
        let _ = Walk { place, at: &Step::Root, found: &mut found }.deserialize(&mut parser);
    }
    found.unmapped
}

/// What the mirror takes in some place.
#[derive(Clone)]
enum Place {
    /// The answer itself.
    Root(MessageDescriptor),
    /// A message, or a list of which the first counts.
    One(MessageDescriptor),
    /// Messages, or one in place of a list.
    Many(MessageDescriptor),
    /// Texts, or one in place of a list.
    Texts,
    /// A scalar of this kind.
    Scalar(ScalarKind),
}

#[derive(Clone, Copy)]
enum ScalarKind {
    Text,
    Number,
    Integer,
    Flag,
}

impl Place {
    /// The answer, or the order alone in place of `{"order": …}`.
    fn of_root(root: MessageDescriptor, body: &[u8]) -> Self {
        let order = root.get_field_by_name("order").map(|field| field.kind());
        match order {
            Some(Kind::Message(order)) if !has_key(body, "order") => Self::One(order),
            _ => Self::Root(root),
        }
    }

    fn of(field: &FieldDescriptor) -> Self {
        match (field.kind(), field.is_list()) {
            (Kind::Message(message), true) => Self::Many(message),
            (Kind::Message(message), false) => Self::One(message),
            (Kind::String, true) => Self::Texts,
            (Kind::Double, _) => Self::Scalar(ScalarKind::Number),
            (Kind::Int32, _) => Self::Scalar(ScalarKind::Integer),
            (Kind::Bool, _) => Self::Scalar(ScalarKind::Flag),
            _ => Self::Scalar(ScalarKind::Text),
        }
    }

    /// The place of a field; `None` for a field that the mirror does not know.
    fn field(&self, key: &str) -> Option<Self> {
        let (message, is_root) = match self {
            Self::Root(message) => (message, true),
            Self::One(message) | Self::Many(message) => (message, false),
            Self::Texts | Self::Scalar(_) => return None,
        };
        let known = message.get_field_by_json_name(key).filter(|field| !(is_root && OWN.contains(&field.name())));
        match (known, key) {
            (Some(field), _) => Some(Self::of(&field)),
            // Errors are read in all forms: `{"errors": {"error": [..]}}`, `{"error": [..]}`.
            (None, "error" | "errors") if is_root || message.name() == ERROR => {
                POOL.get_message_by_name(&format!("ordergateway.v1.{ERROR}")).map(Self::Many)
            }
            (None, _) => None,
        }
    }

    /// Whether a scalar has its place here.
    fn takes(&self, value: &Value) -> bool {
        let number = || match value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
            _ => None,
        };
        match self {
            Self::Texts | Self::Scalar(ScalarKind::Text) => true,
            Self::Scalar(ScalarKind::Number) => number().is_some(),
            Self::Scalar(ScalarKind::Integer) => {
                let range = f64::from(i32::MIN)..=f64::from(i32::MAX);
                number().is_some_and(|number| number.fract() == 0.0 && range.contains(&number))
            }
            Self::Scalar(ScalarKind::Flag) => match value {
                Value::Bool(_) => true,
                Value::String(text) => ["true", "false"].iter().any(|word| text.eq_ignore_ascii_case(word)),
                Value::Number(number) => matches!(number.as_u64(), Some(0 | 1)),
                _ => false,
            },
            // A quantity may be bare, and a name in one text.
            Self::One(message) if message.name() == "Quantity" => number().is_some(),
            Self::One(message) => message.name() == "Name",
            Self::Root(_) | Self::Many(_) => false,
        }
    }
}

/// The path to a value, as steps towards the root.
enum Step<'a> {
    Root,
    Field(&'a Step<'a>, &'a str),
    Element(&'a Step<'a>, usize),
}

impl Step<'_> {
    /// The path, with positions in lists or without.
    fn write(&self, exact: bool, path: &mut String) {
        match self {
            Self::Root => {}
            Self::Field(before, name) => {
                before.write(exact, path);
                let name = match (is_name(name), exact) {
                    (true, _) => (*name).to_owned(),
                    (false, true) => format!("[{}]", Value::from(*name)),
                    (false, false) => DATA.to_owned(),
                };
                if !path.is_empty() && !name.starts_with('[') {
                    path.push('.');
                }
                path.push_str(&name);
            }
            Self::Element(before, index) => {
                before.write(exact, path);
                // Writing to a `String` cannot fail.
                let _ = if exact { write!(path, "[{index}]") } else { path.write_str("[]") };
            }
        }
    }
}

/// Whether this is the name of a field, and no data in its place.
fn is_name(name: &str) -> bool {
    name.len() <= MAX_NAME
        && name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// What was found so far.
#[derive(Default)]
struct Finder {
    unmapped: Unmapped,
    bytes: usize,
    /// Whether values are kept.
    keeps: bool,
}

impl Finder {
    /// Whether there is room for a value at all.
    fn has_room(&self) -> bool {
        self.keeps && self.bytes < MAX_BYTES
    }

    /// Counts a place; keeps the value if it fits.
    fn note(&mut self, at: &Step<'_>, value: Option<&Value>) {
        let mut place = String::new();
        at.write(false, &mut place);
        let may_be_secret = place.split('.').any(|step| SECRET_OBJECTS.contains(&step.trim_end_matches("[]")));
        if place.len() <= MAX_PATH && self.unmapped.places.len() < MAX_PLACES {
            self.unmapped.places.insert(place);
        }
        let Some(value) = value else { return };
        let mut path = String::new();
        at.write(true, &mut path);
        let text = if may_be_secret { REDACTED.to_owned() } else { value.to_string() };
        let bytes = path.len() + text.len();
        if path.len() <= MAX_PATH && self.bytes + bytes <= MAX_BYTES {
            self.bytes += bytes;
            self.unmapped.values.insert(path, text);
        }
    }
}

/// Whether a value is more than null or empty.
fn says_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(many) => !many.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    }
}

/// Whether an object has this key.
fn has_key(body: &[u8], key: &str) -> bool {
    struct Keys<'a>(&'a str);
    impl<'de> Visitor<'de> for Keys<'_> {
        type Value = bool;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
            let mut has = false;
            while let Some(key) = map.next_key::<String>()? {
                map.next_value::<IgnoredAny>()?;
                has |= key == self.0;
            }
            Ok(has)
        }
    }
    serde_json::Deserializer::from_slice(body).deserialize_map(Keys(key)).unwrap_or(false)
}

/// One value of the answer, in its place.
struct Walk<'a> {
    place: Place,
    at: &'a Step<'a>,
    found: &'a mut Finder,
}

impl Walk<'_> {
    /// A value without a place.
    fn note<'de, D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.found.has_room() {
            match Value::deserialize(deserializer) {
                Ok(value) if says_something(&value) => self.found.note(self.at, Some(&value)),
                Ok(_) => {}
                Err(error) => {
                    // Nested too deep for a tree of values.
                    self.found.note(self.at, None);
                    return Err(error);
                }
            }
        } else if deserializer.deserialize_any(SaysSomething)? {
            self.found.note(self.at, None);
        }
        Ok(())
    }

    fn scalar(self, value: &Value) {
        if says_something(value) && !self.place.takes(value) {
            self.found.note(self.at, Some(value));
        }
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// A value without a place, as a seed.
struct Unplaced<'a>(Walk<'a>);

impl<'de> DeserializeSeed<'de> for Unplaced<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.0.note(deserializer)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.scalar(&value.into());
        Ok(())
    }
    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.scalar(&value.into());
        Ok(())
    }
    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.scalar(&value.into());
        Ok(())
    }
    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.scalar(&value.into());
        Ok(())
    }
    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.scalar(&value.into());
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Self { place, at, found } = self;
        for index in 0.. {
            let step = Step::Element(at, index);
            let element = Walk { place: place.clone(), at: &step, found: &mut *found };
            let next = match &place {
                Place::Scalar(_) => seq.next_element_seed(Unplaced(element))?,
                // Of several in the place of one, the first counts.
                Place::One(_) if index > 0 => seq.next_element_seed(Unplaced(element))?,
                Place::One(_) | Place::Root(_) | Place::Many(_) | Place::Texts => seq.next_element_seed(element)?,
            };
            if next.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        if matches!(self.place, Place::Texts | Place::Scalar(_)) {
            return self.note(MapAccessDeserializer::new(map));
        }
        let Self { place, at, found } = self;
        let is_error = matches!(&place, Place::One(message) | Place::Many(message) if message.name() == ERROR);
        let (mut described, mut message) = (false, None);
        while let Some(key) = map.next_key::<String>()? {
            let step = Step::Field(at, &key);
            match (place.field(&key), key.as_str()) {
                (None, "message") if is_error => message = Some(map.next_value::<Value>()?),
                (Some(_), "description") if is_error => {
                    let description: Value = map.next_value()?;
                    described = says_something(&description);
                }
                (Some(place), _) => map.next_value_seed(Walk { place, at: &step, found: &mut *found })?,
                (None, _) => {
                    let unplaced = Walk { place: place.clone(), at: &step, found: &mut *found };
                    map.next_value_seed(Unplaced(unplaced))?;
                }
            }
        }
        // `message` stands in for a missing description.
        if let Some(message) = message.filter(|message| described && says_something(message)) {
            found.note(&Step::Field(at, "message"), Some(&message));
        }
        Ok(())
    }
}

/// Whether a value is more than null or empty. What is inside is passed over, however deep.
struct SaysSomething;

impl<'de> Visitor<'de> for SaysSomething {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }
    fn visit_bool<E>(self, _: bool) -> Result<bool, E> {
        Ok(true)
    }
    fn visit_i64<E>(self, _: i64) -> Result<bool, E> {
        Ok(true)
    }
    fn visit_u64<E>(self, _: u64) -> Result<bool, E> {
        Ok(true)
    }
    fn visit_f64<E>(self, _: f64) -> Result<bool, E> {
        Ok(true)
    }
    fn visit_str<E>(self, text: &str) -> Result<bool, E> {
        Ok(!text.is_empty())
    }
    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<bool, A::Error> {
        let mut says = false;
        while seq.next_element::<IgnoredAny>()?.is_some() {
            says = true;
        }
        Ok(says)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let mut says = false;
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
            says = true;
        }
        Ok(says)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn values(message: &str, body: Value) -> Vec<(String, String)> {
        find(message, body.to_string().as_bytes()).values.into_iter().collect()
    }

    fn one(path: &str, value: &Value) -> Vec<(String, String)> {
        vec![(path.to_owned(), value.to_string())]
    }

    #[test]
    fn what_the_message_knows_is_not_found() {
        for (message, body) in [
            (
                "FetchDeliveryPromiseResponse",
                json!({"status": "SUCCESS", "header": {"headerAttributes": {"martId": 202}},
                "payload": {"offers": [{"availableQuantity": "2"}]}, "errors": {"error": [{"message": "no stock"}]}}),
            ),
            ("GetOrderStatusResponse", json!({"payload": {"orderNumber": 1, "shipments": {"trackNumber": "1Z"}}})),
            (
                "ListOrdersResponse",
                json!({"list": {"elements": {"order": [{"orderLines": {"orderLine": {"lineNumber": 1}}}]}}}),
            ),
            ("GetOrderResponse", json!({"order": {"purchaseOrderId": "17"}})),
            ("GetOrderResponse", json!({"purchaseOrderId": "17", "shipNode": []})),
            ("ListOrdersResponse", json!({"list": {"new": null}, "more": [], "elements": {}, "text": ""})),
            ("ListReturnsResponse", json!({"meta": {"totalCount": "3"}, "returnOrders": [], "new": null, "more": {}})),
        ] {
            assert_eq!(find(message, body.to_string().as_bytes()), Unmapped::default(), "{body}");
        }
    }

    #[test]
    fn each_value_without_a_place_is_found_with_its_path() {
        let order = json!({"order": {"purchaseOrderId": "17", "orderLines": {"orderLine": [
            {"lineNumber": "1"}, {"lineNumber": "2", "gift": {"note": "hello"}}]}}});
        assert_eq!(
            values("GetOrderResponse", order),
            one("order.orderLines.orderLine[1].gift", &json!({"note": "hello"}))
        );
        let unwrapped = json!({"purchaseOrderId": "17", "gift": true});
        assert_eq!(values("GetOrderResponse", unwrapped), one("gift", &json!(true)));
        // The gateway's own fields are no fields of Walmart's.
        assert_eq!(
            values("GetOrderResponse", json!({"order": {}, "correlationId": "x"})),
            one("correlationId", &json!("x"))
        );
        for (known, odd) in [
            ("lineNumber", json!(["1", "2"])),
            ("lineNumber", json!({"number": 1})),
            ("charges", json!("none")),
            ("orderLineQuantity", json!([{"amount": "1"}, {"amount": "2"}])),
        ] {
            let found = values("GetOrderResponse", json!({"order": {"orderLines": {"orderLine": {known: odd}}}}));
            assert!(
                found.iter().all(|(path, _)| path.starts_with(&format!("order.orderLines.orderLine.{known}"))),
                "{found:?}"
            );
            assert!(!found.is_empty(), "{odd}");
        }
        let amount = json!({"payload": {"offers": {"availableQuantity": {"measurementValue": "some"}}}});
        let path = "payload.offers.availableQuantity.measurementValue";
        assert_eq!(values("FetchDeliveryPromiseResponse", amount), one(path, &json!("some")));
    }

    #[test]
    fn a_message_beside_a_description_is_found() {
        let errors = |error: Value| json!({"payload": {}, "errors": [error]});
        let both = errors(json!({"code": "C", "message": "other words", "description": "words"}));
        assert_eq!(values("CreateOrderResponse", both), one("errors[0].message", &json!("other words")));
        let causes = errors(json!({"message": "words", "causes": [{"code": "D"}], "errorIdentifiers": {}}));
        assert_eq!(values("CreateOrderResponse", causes), one("errors[0].causes", &json!([{"code": "D"}])));
    }

    #[test]
    fn names_that_are_data_are_in_the_path_only() {
        let body = json!({"payload": {"ana@example.org": {"x": 1}, "a b": 2, "ok_1": 3}});
        let found = find("CreateOrderResponse", body.to_string().as_bytes());
        let paths: Vec<_> = found.values.keys().map(String::as_str).collect();
        assert_eq!(paths, ["payload.ok_1", r#"payload["a b"]"#, r#"payload["ana@example.org"]"#]);
        assert_eq!(Vec::from_iter(&found.places), ["payload.*", "payload.ok_1"]);
    }

    #[test]
    fn values_among_credentials_are_redacted() {
        let body = json!({"payload": {"authDetails": {"clientSecret": "s3cret"}, "headers": ["x"], "authDetail": 1}});
        let found = find("CreateOrderResponse", body.to_string().as_bytes());
        let expected = [("payload.authDetail", "1"), ("payload.authDetails", REDACTED), ("payload.headers", REDACTED)];
        assert_eq!(found.values, expected.map(|(path, value)| (path.to_owned(), value.to_owned())).into());
    }

    #[test]
    fn values_are_bounded_and_places_are_counted_without_positions() {
        let order = |n: usize| json!({"purchaseOrderId": n.to_string(), "gift": "g".repeat(100), format!("new{n}"): n});
        let body = json!({"list": {"elements": {"order": (0..200).map(order).collect::<Vec<_>>()}}}).to_string();
        let found = find("ListOrdersResponse", body.as_bytes());
        let bytes: usize = found.values.iter().map(|(path, value)| path.len() + value.len()).sum();
        assert!(bytes <= MAX_BYTES && bytes > MAX_BYTES - 200, "{bytes}");
        assert!(found.values.contains_key("list.elements.order[0].gift"));
        assert!(found.places.contains("list.elements.order[].gift"));
        assert_eq!(found.places.len(), MAX_PLACES);
        // A value that does not fit leaves room for others.
        let body = json!({"payload": {"long": "l".repeat(5000), "short": 1}}).to_string();
        let found = find("CreateOrderResponse", body.as_bytes());
        assert_eq!((found.values.len(), found.places.len()), (1, 2));
    }

    #[test]
    fn a_large_or_broken_answer_is_looked_through() {
        let body = json!({"payload": {"requestId": "x".repeat(MAX_VALUES_OF), "new": 1}}).to_string();
        let found = find("CreateOrderResponse", body.as_bytes());
        assert!(found.values.is_empty());
        assert_eq!(Vec::from_iter(&found.places), ["payload.new"]);
        let cut = find("CreateOrderResponse", br#"{"new": 1, "payload": {"more": "#);
        assert_eq!(cut.values, BTreeMap::from([("new".to_owned(), "1".to_owned())]));
        assert_eq!(find("CreateOrderResponse", b"<html>"), Unmapped::default());
        let deep = format!(r#"{{"new":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        let found = find("CreateOrderResponse", deep.as_bytes());
        assert!(found.values.is_empty());
        assert_eq!(Vec::from_iter(&found.places), ["new"]);
        assert_eq!(find("NoSuchMessage", br#"{"new": 1}"#), Unmapped::default());
    }
}
