//! Evidence: what Walmart's answer to a look-up proves about a mutation whose own answer was lost.
//!
//! An answer proves that the mutation is there ([`Evidence::Present`]), that it is not ([`Evidence::Absent`]), that the
//! number belongs to something else ([`Evidence::Contradicted`]), or nothing. The reading is strict: a missing field, a null
//! and a value of the wrong type are three different things, and a form that is not known proves nothing. An empty object
//! taken for presence reports an order that never was; a failed look-up taken for absence doubles an order.
//!
//! Pure. [`answer`](self::answer) reads the body, [`absence`](self::absence) has the two proofs of absence,
//! [`create`](self::create) and [`cancel`](self::cancel) judge, [`search`](self::search) reads pages of a search by date.

mod absence;
mod answer;
mod cancel;
mod create;
mod json;
mod order;
mod search;
mod units;

use std::fmt;

use bytes::Bytes;

pub use self::absence::{absence, is_order_service_not_found};
pub use self::cancel::{CancelSnapshot, SnapshotLine, judge_cancel};
pub use self::create::{ExpectedOrder, judge_create};
pub use self::search::{SearchPage, SearchProgress, read_search_page};

/// An HTTP answer of Walmart's to a look-up, complete and as it came.
#[derive(Clone, Debug, PartialEq)]
pub struct LookupAnswer {
    /// HTTP status.
    pub http_status: u16,
    /// The body; not necessarily JSON.
    pub body: Bytes,
}

/// The worth of one answer for one mutation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The mutation was carried out.
    Present(PresenceProof),
    /// Walmart shows nothing of it, so far.
    Absent(AbsenceProof),
    /// The order number belongs to an order that is not the one that was sent.
    Contradicted(Contradiction),
    /// The answer proves nothing.
    Nothing(NoEvidence),
}

/// The worth of an answer for a caller who asks for an order by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderShown {
    /// An order is shown, or several.
    Order,
    /// Walmart's order service does not have it.
    Absent,
    /// Neither is shown.
    Nothing,
}

/// Judges an answer for a caller who asked for an order by its number. The number in the answer is the caller's to compare.
pub fn judge_search_by_number(answer: &LookupAnswer) -> OrderShown {
    let Some(read) = answer::LookupEnvelope::read(&answer.body) else { return OrderShown::Nothing };
    if read.orders().any(|order| order.has_number()) {
        OrderShown::Order
    } else if absence::of_answer(answer.http_status, &read).is_ok() {
        OrderShown::Absent
    } else {
        OrderShown::Nothing
    }
}

/// Proof that a mutation was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PresenceProof {
    /// Orders of the number that do not contradict the one that was sent: more than one is a duplicate. Always 1 for a
    /// cancellation, because units that were cancelled twice look like those of another cancellation.
    pub copies: usize,
}

/// Proof that Walmart's order service does not have the order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AbsenceProof {
    /// An explicit list without a row, and nothing beside it that speaks of one.
    EmptyList,
    /// The order service's own not-found, as the only error.
    OrderServiceNotFound {
        /// Walmart's error code.
        code: String,
    },
    /// A cancellation: the order is shown, and none of its units was cancelled since.
    NothingCancelled,
}

impl fmt::Display for AbsenceProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmptyList => f.write_str("an explicit list without an order"),
            Self::OrderServiceNotFound { code } => write!(f, "the order service's {code}"),
            Self::NothingCancelled => f.write_str("no unit of the lines was cancelled since"),
        }
    }
}

/// The fields in which an order under the number differs from the one that was sent. Names only: no value of the
/// customer's leaves the judgement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contradiction {
    /// Another sales channel.
    pub channel: bool,
    /// Ordered before this order can have been made.
    pub order_date: bool,
    /// A line that was not sent, by its seller line id.
    pub lines: bool,
    /// A line with another SKU.
    pub sku: bool,
}

impl Contradiction {
    /// Whether a field differs.
    pub const fn is_any(self) -> bool {
        self.channel || self.order_date || self.lines || self.sku
    }

    /// The fields that differ in this one or in `other`.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            channel: self.channel || other.channel,
            order_date: self.order_date || other.order_date,
            lines: self.lines || other.lines,
            sku: self.sku || other.sku,
        }
    }
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = [
            (self.channel, "sales channel"),
            (self.order_date, "order date"),
            (self.lines, "line ids"),
            (self.sku, "SKU"),
        ];
        let names: Vec<&str> = named.into_iter().filter(|(differs, _)| *differs).map(|(_, name)| name).collect();
        write!(f, "another order has this number: different {}", names.join(", "))
    }
}

/// Why an answer proves nothing. Operators read the text; it has no personal data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NoEvidence {
    /// The request that the ledger keeps cannot be read, so nothing can be compared with it.
    RequestUnreadable,
    /// An HTTP status that says nothing about orders: 202, 204, 206, 3xx, a 4xx of another kind.
    HttpStatus,
    /// A 404 that is not the order service's: a gateway or proxy has no such path.
    GatewayNotFound,
    /// The body is no JSON object, is cut short, or names a field twice.
    Unreadable,
    /// `PARTIAL_SUCCESS`: part of the answer is missing.
    PartialSuccess,
    /// The status says that the look-up failed.
    StatusFailed,
    /// The status is missing, or is not one of success.
    StatusUnknown,
    /// Errors in an answer are a sign that it is not complete.
    Errors,
    /// The order service's not-found stands beside other errors, or beside an order.
    NotFoundNotAlone,
    /// The answer has no `payload`.
    PayloadMissing,
    /// `payload` is null.
    PayloadNull,
    /// `payload` is a text, number or flag.
    PayloadNotList,
    /// An empty list beside a total or page count that says that there are orders.
    TotalsContradict,
    /// The header or its counts cannot be read.
    TotalsUnreadable,
    /// Rows that are null, text or lists.
    RowsNotOrders,
    /// An object or rows in which no order number is shown.
    NumberMissing,
    /// Orders of other numbers only.
    NumberOther,
    /// An order number that equals the one asked for only after trimming, case folding or Unicode normalization, or that is
    /// a JSON number. It may be the order: an operator has to look.
    NumberAlmostEqual,
    /// A cancellation: the order itself is not shown.
    OrderNotShown,
    /// A cancellation: the answer has more orders than it shows.
    ListNotComplete,
    /// A cancellation: the lines that were to be cancelled cannot be told from others.
    LinesNotTold,
    /// A cancellation: the units of a line, or their states, are not shown.
    UnitsNotShown,
    /// A cancellation: some units are cancelled, but not as many as were asked for, or fewer than before.
    UnitsUnclear,
}

impl NoEvidence {
    /// All of them.
    pub const ALL: [Self; 23] = [
        Self::RequestUnreadable,
        Self::HttpStatus,
        Self::GatewayNotFound,
        Self::Unreadable,
        Self::PartialSuccess,
        Self::StatusFailed,
        Self::StatusUnknown,
        Self::Errors,
        Self::NotFoundNotAlone,
        Self::PayloadMissing,
        Self::PayloadNull,
        Self::PayloadNotList,
        Self::TotalsContradict,
        Self::TotalsUnreadable,
        Self::RowsNotOrders,
        Self::NumberMissing,
        Self::NumberOther,
        Self::NumberAlmostEqual,
        Self::OrderNotShown,
        Self::ListNotComplete,
        Self::LinesNotTold,
        Self::UnitsNotShown,
        Self::UnitsUnclear,
    ];

    /// The reason in words, for operators.
    pub const fn text(self) -> &'static str {
        match self {
            Self::RequestUnreadable => "the request that was sent cannot be read",
            Self::HttpStatus => "the look-up's HTTP status says nothing about orders",
            Self::GatewayNotFound => "the 404 is not the order service's",
            Self::Unreadable => "the look-up's body cannot be read",
            Self::PartialSuccess => "the look-up succeeded in part only",
            Self::StatusFailed => "the look-up's status says that it failed",
            Self::StatusUnknown => "the look-up's status is not one of success",
            Self::Errors => "the look-up's answer has errors",
            Self::NotFoundNotAlone => "the look-up's not-found does not stand alone",
            Self::PayloadMissing => "the look-up's answer has no payload",
            Self::PayloadNull => "the look-up's payload is null",
            Self::PayloadNotList => "the look-up's payload is not a list",
            Self::TotalsContradict => "the look-up's list is empty, but its totals are not",
            Self::TotalsUnreadable => "the look-up's totals cannot be read",
            Self::RowsNotOrders => "the look-up's rows are no orders",
            Self::NumberMissing => "the look-up's answer shows no order number",
            Self::NumberOther => "the look-up shows other orders only",
            Self::NumberAlmostEqual => "the look-up shows an order number that is almost, but not exactly, this one",
            Self::OrderNotShown => "the order of the cancellation is not shown",
            Self::ListNotComplete => "the look-up does not show all orders of the number",
            Self::LinesNotTold => "the look-up does not tell the cancelled lines from others",
            Self::UnitsNotShown => "the look-up does not show the units of a line and their states",
            Self::UnitsUnclear => "the cancelled units are not those of this cancellation",
        }
    }
}

impl fmt::Display for NoEvidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

#[cfg(test)]
mod tests;
