//! Notices while an answer is read whether it says anything that the messages have no place for.
//!
//! Readers pass over unknown fields and odd values. [`from_slice`] wraps the JSON parser so that a value passed over
//! raises a flag. The wrappers have no state, and an answer without such a value costs one look at the flag. What was
//! passed over, and whether it says anything, is found by a second reading ([`super::unmapped`]).

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

thread_local! {
    /// Whether the reading in progress has passed something over. Answers are read without a break, each on one thread.
    static NOTICED: Cell<bool> = const { Cell::new(false) };
}

/// Runs a reading, and tells whether it passed something over.
pub fn watching<T>(read: impl FnOnce() -> T) -> (T, bool) {
    forget();
    let result = read();
    (result, NOTICED.get())
}

/// Raises the flag: a reader drops a value that says something.
pub fn notice() {
    NOTICED.set(true);
}

/// Lowers the flag: what was read so far was not the answer's form.
pub fn forget() {
    NOTICED.set(false);
}

/// Reads JSON like [`serde_json::from_slice`], and raises the flag where something is passed over.
pub fn from_slice<T: DeserializeOwned>(body: &[u8]) -> serde_json::Result<T> {
    let mut parser = serde_json::Deserializer::from_slice(body);
    let value = T::deserialize(Watched(&mut parser))?;
    parser.end()?;
    Ok(value)
}

/// A parser whose ignored values raise the flag.
struct Watched<D>(D);

macro_rules! forward {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.0.$method(Watched(visitor))
        })*
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Watched<D> {
    type Error = D::Error;

    forward! {
        deserialize_any deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_u8
        deserialize_u16 deserialize_u32 deserialize_u64 deserialize_f32 deserialize_f64 deserialize_char deserialize_str
        deserialize_string deserialize_bytes deserialize_byte_buf deserialize_option deserialize_unit deserialize_seq
        deserialize_map deserialize_identifier
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_unit_struct(name, Watched(visitor))
    }
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_newtype_struct(name, Watched(visitor))
    }
    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_tuple(length, Watched(visitor))
    }
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_tuple_struct(name, length, Watched(visitor))
    }
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_struct(name, fields, Watched(visitor))
    }
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_enum(name, variants, visitor)
    }

    /// Unknown fields come here.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        // The value is not looked at: a number out of range or a broken text must not make the answer unreadable.
        notice();
        self.0.deserialize_ignored_any(visitor)
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Watched<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }
    fn visit_bool<E: Error>(self, value: bool) -> Result<V::Value, E> {
        self.0.visit_bool(value)
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<V::Value, E> {
        self.0.visit_i64(value)
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<V::Value, E> {
        self.0.visit_u64(value)
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<V::Value, E> {
        self.0.visit_f64(value)
    }
    fn visit_str<E: Error>(self, value: &str) -> Result<V::Value, E> {
        self.0.visit_str(value)
    }
    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<V::Value, E> {
        self.0.visit_borrowed_str(value)
    }
    fn visit_string<E: Error>(self, value: String) -> Result<V::Value, E> {
        self.0.visit_string(value)
    }
    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.0.visit_unit()
    }
    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.0.visit_none()
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.0.visit_some(Watched(deserializer))
    }
    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.0.visit_newtype_struct(Watched(deserializer))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(Watched(seq))
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(Watched(map))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Watched<A> {
    type Error = A::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, A::Error> {
        self.0.next_element_seed(Watched(seed))
    }
    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Watched<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        self.0.next_key_seed(seed)
    }
    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, A::Error> {
        self.0.next_value_seed(Watched(seed))
    }
    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, T: DeserializeSeed<'de>> DeserializeSeed<'de> for Watched<T> {
    type Value = T::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T::Value, D::Error> {
        self.0.deserialize(Watched(deserializer))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::pb;
    use crate::wire::lenient;

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(default)]
    struct Holding {
        #[serde(deserialize_with = "lenient::list")]
        orders: Vec<pb::SellerOrder>,
        #[serde(deserialize_with = "lenient::object")]
        promise: Option<pb::Promise>,
    }

    /// Whether something is passed over. What is read is the same as without the watch.
    fn is_noticed(value: &serde_json::Value) -> bool {
        let body = value.to_string();
        let (read, noticed) = watching(|| from_slice::<Holding>(body.as_bytes()).unwrap());
        assert_eq!(read, serde_json::from_slice(body.as_bytes()).unwrap());
        noticed
    }

    #[test]
    fn what_has_a_place_is_not_noticed() {
        for known in [
            json!({}),
            json!({"orders": [], "promise": null}),
            json!({"orders": {"purchaseOrderId": 17, "orderLines": {"orderLine": {"lineNumber": "1"}}}}),
            json!({"promise": [{"offers": {"sku": "A", "availableQuantity": "2"}}]}),
            // Nothing is said by these.
            json!({"orders": [{"shipNode": []}, {"orderDate": {}, "customerOrderId": ""}, null], "promise": ""}),
        ] {
            assert!(!is_noticed(&known), "{known}");
        }
    }

    #[test]
    fn what_has_none_is_noticed_however_deep() {
        for unknown in [
            json!({"new": 0}),
            json!({"new": [null]}),
            json!({"new": false}),
            json!({"orders": [{}, {"new": {"a": null}}]}),
            json!({"orders": {"orderLines": {"orderLine": [{"item": {"new": "x"}}]}}}),
            // An object, a list or another type in the place of something else.
            json!({"orders": [{"purchaseOrderId": {"a": 1}}]}),
            json!({"orders": [{"purchaseOrderId": ["a", "b"]}]}),
            json!({"orders": ["17"]}),
            json!({"promise": [{"offers": []}, {"offers": []}]}),
            json!({"promise": {"offers": {"availableQuantity": "some"}}}),
            json!({"orders": [{"orderLines": {"orderLine": {"charges": {"charge": {"chargeAmount": {"amount": "a lot"}}}}}}]}),
        ] {
            assert!(is_noticed(&unknown), "{unknown}");
        }
    }

    #[test]
    fn deep_nesting_is_no_crash() {
        let deep = format!(r#"{{"new":[{}1{}]}}"#, "[".repeat(100_000), "]".repeat(100_000));
        let (read, noticed) = watching(|| from_slice::<Holding>(deep.as_bytes()));
        assert_eq!((read.unwrap(), noticed), (Holding::default(), true));
    }
}
