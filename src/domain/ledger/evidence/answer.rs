//! The envelope of an answer to a look-up, read strictly.

use serde::de::MapAccess;

use super::json::{JsonPart, JsonScalar, ObjectFields, object_fields, object_of, objects, once};
use super::order::OrderRow;

/// The parts of a body that can prove something.
#[derive(Debug, Default)]
pub(super) struct LookupEnvelope {
    status: Option<JsonScalar>,
    header: Option<JsonPart<HeaderRow>>,
    pub(super) payload: Option<JsonPart<OrderRow>>,
    errors: Option<JsonPart<ErrorRow>>,
    error: Option<JsonPart<ErrorRow>>,
    counts: CountFields,
}

impl ObjectFields for LookupEnvelope {
    fn read<'de, A: MapAccess<'de>>(&mut self, key: &str, object: &mut A) -> Result<bool, A::Error> {
        match key {
            "status" => once(&mut self.status, object),
            "header" => once(&mut self.header, object),
            "payload" => once(&mut self.payload, object),
            "errors" => once(&mut self.errors, object),
            "error" => once(&mut self.error, object),
            _ => self.counts.read(key, object),
        }
    }
}

/// The `status` field of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AnswerStatus {
    Success,
    Partial,
    Failed,
    /// No status, or an unknown word.
    Unknown,
}

/// The errors of an answer, from all places where Walmart puts errors.
#[derive(Debug, Default, PartialEq)]
pub(super) struct ErrorCodes {
    /// Number of errors, unreadable errors included.
    pub(super) count: usize,
    /// The first code that is a not-found of the order service.
    pub(super) not_found: Option<String>,
    /// Whether a code is a not-found of any service.
    pub(super) of_service: bool,
}

/// A count of orders or pages in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ShownCount {
    Missing,
    Of(u64),
    Unreadable,
}

/// The counts of an answer: the largest value from all places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AnswerTotals {
    pub(super) orders: ShownCount,
    pub(super) pages: ShownCount,
}

/// The meaning of a `status` field.
pub(super) fn status_of(status: &Option<JsonScalar>) -> AnswerStatus {
    let Some(status) = status.as_ref().and_then(JsonScalar::shown) else { return AnswerStatus::Unknown };
    let is = |word: &str| status.eq_ignore_ascii_case(word);
    if is("OK") || is("SUCCESS") {
        AnswerStatus::Success
    } else if status.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("PARTIAL")) {
        AnswerStatus::Partial
    } else if is("FAIL") || is("FAILED") {
        AnswerStatus::Failed
    } else {
        AnswerStatus::Unknown
    }
}

impl LookupEnvelope {
    /// Reads a body. Returns `None` when the body is no JSON object, is cut short, or names a field twice.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        object_of(body)
    }

    pub(super) fn status(&self) -> AnswerStatus {
        status_of(&self.status)
    }

    pub(super) fn errors(&self) -> ErrorCodes {
        let mut found = ErrorCodes::default();
        for part in [&self.errors, &self.error].into_iter().flatten() {
            collect(part, &mut found);
        }
        found
    }

    pub(super) fn totals(&self) -> AnswerTotals {
        self.counts.totals().and(AnswerTotals::of_header(&self.header))
    }

    /// The orders of the payload, which is a list or one object.
    pub(super) fn orders(&self) -> impl Iterator<Item = &OrderRow> {
        objects(&self.payload)
    }
}

impl AnswerTotals {
    /// The totals in a header.
    pub(super) fn of_header(header: &Option<JsonPart<HeaderRow>>) -> Self {
        let none = Self { orders: ShownCount::Missing, pages: ShownCount::Missing };
        let unreadable = Self { orders: ShownCount::Unreadable, ..none };
        match header {
            None | Some(JsonPart::Null) => none,
            Some(JsonPart::Object(header)) => {
                let totals = header.counts.totals();
                match &header.attributes {
                    None | Some(JsonPart::Null) => totals,
                    Some(JsonPart::Object(attributes)) => totals.and(attributes.totals()),
                    Some(JsonPart::Scalar(_) | JsonPart::List(_)) => totals.and(unreadable),
                }
            }
            Some(JsonPart::Scalar(_) | JsonPart::List(_)) => unreadable,
        }
    }

    fn and(self, other: Self) -> Self {
        Self { orders: self.orders.and(other.orders), pages: self.pages.and(other.pages) }
    }

    pub(super) fn are_readable(self) -> bool {
        self.orders != ShownCount::Unreadable && self.pages != ShownCount::Unreadable
    }

    /// Whether no order exists beyond the shown ones: at most `orders` orders, on one page.
    pub(super) fn end_at(self, orders: usize) -> bool {
        let within = |count, most: u64| match count {
            ShownCount::Missing => true,
            ShownCount::Of(count) => count <= most,
            ShownCount::Unreadable => false,
        };
        within(self.orders, u64::try_from(orders).unwrap_or(u64::MAX)) && within(self.pages, 1)
    }
}

impl ShownCount {
    fn of(count: &Option<JsonScalar>) -> Self {
        let Some(count) = count else { return Self::Missing };
        match count {
            JsonScalar::Null => Self::Missing,
            _ => match count.amount() {
                Some(count) if count.fract() == 0.0 && count < 1e15 => Self::Of(count as u64),
                _ => Self::Unreadable,
            },
        }
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Unreadable, _) | (_, Self::Unreadable) => Self::Unreadable,
            (Self::Missing, count) | (count, Self::Missing) => count,
            (Self::Of(one), Self::Of(other)) => Self::Of(one.max(other)),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct HeaderRow {
    attributes: Option<JsonPart<CountFields>>,
    counts: CountFields,
}

impl ObjectFields for HeaderRow {
    fn read<'de, A: MapAccess<'de>>(&mut self, key: &str, object: &mut A) -> Result<bool, A::Error> {
        match key {
            "headerAttributes" => once(&mut self.attributes, object),
            _ => self.counts.read(key, object),
        }
    }
}

#[derive(Debug, Default)]
struct CountFields {
    total_count: Option<JsonScalar>,
    page_count: Option<JsonScalar>,
}

impl CountFields {
    fn totals(&self) -> AnswerTotals {
        AnswerTotals { orders: ShownCount::of(&self.total_count), pages: ShownCount::of(&self.page_count) }
    }
}

object_fields! {
    CountFields { "totalCount" => total_count, "pageCount" => page_count }
}

/// An error, or an envelope around errors.
#[derive(Debug, Default)]
struct ErrorRow {
    code: Option<JsonScalar>,
    error: Option<JsonPart<ErrorRow>>,
    errors: Option<JsonPart<ErrorRow>>,
    causes: Option<JsonPart<ErrorRow>>,
    keys: usize,
}

impl ObjectFields for ErrorRow {
    fn read<'de, A: MapAccess<'de>>(&mut self, key: &str, object: &mut A) -> Result<bool, A::Error> {
        self.keys += 1;
        match key {
            "code" => once(&mut self.code, object),
            "error" => once(&mut self.error, object),
            "errors" => once(&mut self.errors, object),
            "causes" => once(&mut self.causes, object),
            _ => Ok(false),
        }
    }
}

/// Counts the errors of a part. A value that is neither null nor a list counts as one error.
fn collect(part: &JsonPart<ErrorRow>, found: &mut ErrorCodes) {
    match part {
        JsonPart::Null => {}
        JsonPart::Scalar(_) => found.count += 1,
        JsonPart::Object(one) => count(one, found),
        JsonPart::List(many) => {
            for one in many {
                match one {
                    Some(one) => count(one, found),
                    None => found.count += 1,
                }
            }
        }
    }
}

fn count(error: &ErrorRow, found: &mut ErrorCodes) {
    // An object with only the keys `error` and `errors` is an envelope; any further key makes the object an error of
    // its own.
    let wrapped = usize::from(error.error.is_some()) + usize::from(error.errors.is_some());
    if wrapped == 0 || error.keys > wrapped {
        found.count += 1;
    }
    if let Some(JsonScalar::Text(code)) = &error.code {
        found.of_service |= is_service_not_found(code);
        if found.not_found.is_none() && is_order_service_not_found(code) {
            found.not_found = Some(code.clone());
        }
    }
    for inner in [&error.error, &error.errors, &error.causes].into_iter().flatten() {
        collect(inner, found);
    }
}

/// Whether the code is the not-found of the order service itself. A gateway or proxy in front of the service reports a
/// missing path, not a missing order.
pub fn is_order_service_not_found(code: &str) -> bool {
    if code == "OS_NOT_FOUND_ERROR" {
        return true;
    }
    if let Some(number) = code.strip_prefix("404.WSAAS.") {
        return !number.is_empty();
    }
    let component = ["CONTENT_NOT_FOUND.", "OS_NOT_FOUND_ERROR."].iter().find_map(|start| code.strip_prefix(start));
    component.is_some_and(|component| {
        let has = |starts: &[&str]| {
            component.split(['_', '.', '-']).any(|word| starts.iter().any(|start| word.starts_with(start)))
        };
        has(&["ORDER", "FULFILL"]) && !has(&["GATEWAY", "PROXY", "EDGE"])
    })
}

/// Whether the code is a not-found in the words of a service behind Walmart's gateway, whichever service it is. The gateway
/// itself reports a missing path.
pub fn is_service_not_found(code: &str) -> bool {
    let component = ["CONTENT_NOT_FOUND.", "OS_NOT_FOUND_ERROR."].iter().find_map(|start| code.strip_prefix(start));
    let of_service = |component: &str| {
        let mut words = component.split(['_', '.', '-']);
        !component.is_empty()
            && !words.any(|word| ["GATEWAY", "PROXY", "EDGE"].iter().any(|edge| word.starts_with(edge)))
    };
    // The returns service says with this code that it does not know the order or the return.
    code == "500.OS_SERVICE.200" || is_order_service_not_found(code) || component.is_some_and(of_service)
}
