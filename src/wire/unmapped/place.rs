//! What a message has a place for, by its descriptor.

use std::fmt;
use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use crate::pb;

/// The message of Walmart's errors.
pub(super) const ERROR: &str = "WalmartError";

/// Fields of answers that are the gateway's own.
const OWN: [&str; 7] =
    ["correlation_id", "request_id", "replayed", "cache", "batches", "already_acknowledged", "unmapped"];

static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(pb::FILE_DESCRIPTOR_SET).unwrap_or_default());

/// What the mirror takes in some place.
#[derive(Clone)]
pub(super) enum Place {
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
pub(super) enum ScalarKind {
    Text,
    Number,
    Integer,
    Flag,
}

impl Place {
    /// The answer, or the order alone in place of `{"order": …}`. `None` for an unknown message.
    pub(super) fn of_answer(message: &str, body: &[u8]) -> Option<Self> {
        let root = message_of(message)?;
        let order = root.get_field_by_name("order").map(|field| field.kind());
        Some(match order {
            Some(Kind::Message(order)) if !has_key(body, "order") => Self::One(order),
            _ => Self::Root(root),
        })
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
    pub(super) fn field(&self, key: &str) -> Option<Self> {
        let (message, is_root) = match self {
            Self::Root(message) => (message, true),
            Self::One(message) | Self::Many(message) => (message, false),
            Self::Texts | Self::Scalar(_) => return None,
        };
        let known = message.get_field_by_json_name(key).filter(|field| !(is_root && OWN.contains(&field.name())));
        match (known, key) {
            (Some(field), _) => Some(Self::of(&field)),
            // Errors are read in all forms: `{"errors": {"error": [..]}}`, `{"error": [..]}`.
            (None, "error" | "errors") if is_root || message.name() == ERROR => message_of(ERROR).map(Self::Many),
            (None, _) => None,
        }
    }

    /// Whether a scalar has its place here.
    pub(super) fn takes(&self, value: &Value) -> bool {
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

/// The message of this short name.
fn message_of(name: &str) -> Option<MessageDescriptor> {
    POOL.get_message_by_name(&format!("ordergateway.v1.{name}"))
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
