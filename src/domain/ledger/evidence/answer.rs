//! The envelope of an answer to a look-up, read strictly.

use serde::Deserialize as _;
use serde::de::MapAccess;

use super::absence::is_order_service_not_found;
use super::json::{Fields, Part, Scalar, objects, once};
use super::order::OrderRow;

/// The parts of a body that can prove something.
#[derive(Debug, Default)]
pub(super) struct Answer {
    status: Option<Scalar>,
    header: Option<Part<HeaderRow>>,
    pub(super) payload: Option<Part<OrderRow>>,
    errors: Option<Part<ErrorRow>>,
    error: Option<Part<ErrorRow>>,
    counts: Counts,
}

impl Fields for Answer {
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

/// The word of an answer's `status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Success,
    Partial,
    Failed,
    /// Missing, or another word.
    Unknown,
}

/// The errors of an answer, in all the places where Walmart puts them.
#[derive(Debug, Default, PartialEq)]
pub(super) struct ErrorCodes {
    /// How many there are, unreadable ones included.
    pub(super) count: usize,
    /// The first code that is the order service's not-found.
    pub(super) not_found: Option<String>,
}

/// How many orders or pages an answer says there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Count {
    Missing,
    Of(u64),
    Unreadable,
}

/// The counts of an answer: the largest of all places where one stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) orders: Count,
    pub(super) pages: Count,
}

impl Answer {
    /// Reads a body. `None` when it is no JSON object, is cut short, or names a field twice.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let mut deserializer = serde_json::Deserializer::from_slice(body);
        let part = Part::<Self>::deserialize(&mut deserializer).ok()?;
        deserializer.end().ok()?;
        match part {
            Part::Object(answer) => Some(*answer),
            Part::Null | Part::Scalar(_) | Part::List(_) => None,
        }
    }

    pub(super) fn status(&self) -> Status {
        let Some(status) = self.status.as_ref().and_then(Scalar::shown) else { return Status::Unknown };
        let is = |word: &str| status.eq_ignore_ascii_case(word);
        if is("OK") || is("SUCCESS") {
            Status::Success
        } else if status.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("PARTIAL")) {
            Status::Partial
        } else if is("FAIL") || is("FAILED") {
            Status::Failed
        } else {
            Status::Unknown
        }
    }

    pub(super) fn errors(&self) -> ErrorCodes {
        let mut found = ErrorCodes::default();
        for part in [&self.errors, &self.error].into_iter().flatten() {
            collect(part, &mut found);
        }
        found
    }

    pub(super) fn totals(&self) -> Totals {
        let mut totals = self.counts.totals();
        match &self.header {
            None | Some(Part::Null) => {}
            Some(Part::Object(header)) => {
                totals = totals.and(header.counts.totals());
                match &header.attributes {
                    None | Some(Part::Null) => {}
                    Some(Part::Object(attributes)) => totals = totals.and(attributes.totals()),
                    Some(Part::Scalar(_) | Part::List(_)) => totals.orders = Count::Unreadable,
                }
            }
            Some(Part::Scalar(_) | Part::List(_)) => totals.orders = Count::Unreadable,
        }
        totals
    }

    /// The orders of the payload, be it a list or one object.
    pub(super) fn orders(&self) -> impl Iterator<Item = &OrderRow> {
        objects(&self.payload)
    }
}

impl Totals {
    fn and(self, other: Self) -> Self {
        Self { orders: self.orders.and(other.orders), pages: self.pages.and(other.pages) }
    }

    pub(super) fn are_readable(self) -> bool {
        self.orders != Count::Unreadable && self.pages != Count::Unreadable
    }

    /// Whether there is no order beyond these: at most so many, on one page.
    pub(super) fn end_at(self, orders: usize) -> bool {
        let within = |count, most: u64| match count {
            Count::Missing => true,
            Count::Of(count) => count <= most,
            Count::Unreadable => false,
        };
        within(self.orders, u64::try_from(orders).unwrap_or(u64::MAX)) && within(self.pages, 1)
    }
}

impl Count {
    fn of(count: &Option<Scalar>) -> Self {
        let Some(count) = count else { return Self::Missing };
        match count {
            Scalar::Null => Self::Missing,
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
struct HeaderRow {
    attributes: Option<Part<Counts>>,
    counts: Counts,
}

impl Fields for HeaderRow {
    fn read<'de, A: MapAccess<'de>>(&mut self, key: &str, object: &mut A) -> Result<bool, A::Error> {
        match key {
            "headerAttributes" => once(&mut self.attributes, object),
            _ => self.counts.read(key, object),
        }
    }
}

#[derive(Debug, Default)]
struct Counts {
    total_count: Option<Scalar>,
    page_count: Option<Scalar>,
}

impl Counts {
    fn totals(&self) -> Totals {
        Totals { orders: Count::of(&self.total_count), pages: Count::of(&self.page_count) }
    }
}

impl Fields for Counts {
    fn read<'de, A: MapAccess<'de>>(&mut self, key: &str, object: &mut A) -> Result<bool, A::Error> {
        match key {
            "totalCount" => once(&mut self.total_count, object),
            "pageCount" => once(&mut self.page_count, object),
            _ => Ok(false),
        }
    }
}

/// An error, or an envelope around errors.
#[derive(Debug, Default)]
struct ErrorRow {
    code: Option<Scalar>,
    error: Option<Part<ErrorRow>>,
    errors: Option<Part<ErrorRow>>,
    causes: Option<Part<ErrorRow>>,
    keys: usize,
}

impl Fields for ErrorRow {
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

/// Counts the errors of a part. What is neither null nor a list counts as one, whatever it is.
fn collect(part: &Part<ErrorRow>, found: &mut ErrorCodes) {
    match part {
        Part::Null => {}
        Part::Scalar(_) => found.count += 1,
        Part::Object(one) => count(one, found),
        Part::List(many) => {
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
    // An object of which the only keys are `error` and `errors` is an envelope; anything else is an error itself.
    let wrapped = usize::from(error.error.is_some()) + usize::from(error.errors.is_some());
    if wrapped == 0 || error.keys > wrapped {
        found.count += 1;
    }
    if let Some(Scalar::Text(code)) = &error.code
        && found.not_found.is_none()
        && is_order_service_not_found(code)
    {
        found.not_found = Some(code.clone());
    }
    for inner in [&error.error, &error.errors, &error.causes].into_iter().flatten() {
        collect(inner, found);
    }
}
