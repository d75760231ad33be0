//! Finds what an answer says that its message has no place for: fields that the mirror does not know, and values of
//! another type than the mirror's. The answer is read a second time, by the descriptor of its message.

mod emptiness;
mod path;
mod place;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize as _, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use self::emptiness::{SaysSomething, says_something};
use self::path::Step;
use self::place::{ERROR, Place};

/// Most bytes of paths and values together.
const MAX_BYTES: usize = 4096;
/// Longest path that is kept or counted.
const MAX_PATH: usize = 512;
/// Most different places of one answer that are counted.
const MAX_PLACES: usize = 64;
/// Values of larger answers are not kept, only their places: a tree of JSON values takes fifty times the memory of its
/// text.
const MAX_VALUES_OF: usize = 1024 * 1024;
/// Objects of credentials: a field in them that the mirror does not know may be a secret.
const SECRET_OBJECTS: [&str; 2] = ["authDetails", "headers"];
/// Replaces values in such objects.
const REDACTED: &str = "\"[redacted]\"";

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
    if let Some(place) = Place::of_answer(message, body) {
        let mut parser = serde_json::Deserializer::from_slice(body);
        // The body was read before. A body that ends early has said what it has said.
        let _ = Walk { place, at: &Step::Root, found: &mut found }.deserialize(&mut parser);
    }
    found.unmapped
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

#[cfg(test)]
mod tests;
