//! Evidence: the value of Walmart's answer to a look-up for a mutation with a lost answer.
//!
//! An answer proves presence ([`Evidence::Present`]), absence ([`Evidence::Absent`]), a different order under the
//! number ([`Evidence::Contradicted`]), or nothing. The reading is strict: a missing field, a null and a value of the
//! wrong type are three different cases, and an unknown form proves nothing. Taking an empty object for presence would
//! report an order that never existed; taking a failed look-up for absence would create an order twice.
//!
//! Pure. [`answer`](self::answer) reads the body, [`absence`](self::absence) has the two proofs of absence,
//! [`create`](self::create), [`cancel`](self::cancel) and [`seller_lines`](self::seller_lines) judge, [`others`](self::others) has what other calls may have
//! changed, and [`search`](self::search) reads pages of a search by date.

mod absence;
mod answer;
mod cancel;
mod create;
mod json;
mod order;
mod others;
mod returns;
mod search;
mod seller_lines;
mod seller_order;
mod units;
mod webhooks;

use std::fmt;

use bytes::Bytes;

pub use self::absence::is_not_found;
pub use self::answer::{is_order_service_not_found, is_service_not_found};
pub use self::cancel::{CancelSnapshot, SnapshotLine, change_of_cancel, judge_cancel};
pub use self::create::{ExpectedOrder, judge_create};
pub use self::others::{Change, ChangedPart, OtherChanges};
pub use self::returns::{
    McsReturnsSnapshot, ReturnSnapshot, ReturnSnapshotLine, change_of_opened_return, change_of_refunded_return,
    judge_cancelled_return, judge_opened_return, judge_refunded_return,
};
pub use self::search::{SearchPage, SearchProgress, read_search_page};
pub use self::seller_lines::{
    SellerSnapshot, SellerSnapshotLine, SnapshotParcel, change_of_cancelled_lines, change_of_refunded_lines,
    change_of_shipped_lines, judge_cancelled_lines, judge_refunded_lines, judge_shipped_lines,
};
pub use self::seller_order::cents;
pub use self::webhooks::{
    WantedSubscription, WebhookSnapshot, change_of_created_subscriptions, judge_created_subscriptions,
    standing_subscriptions,
};

/// Walmart's complete and unread HTTP answer to a look-up.
#[derive(Clone, Debug, PartialEq)]
pub struct LookupAnswer {
    /// Status code of the answer.
    pub http_status: u16,
    /// The body; not necessarily JSON.
    pub body: Bytes,
}

/// The value of one answer for one mutation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The mutation was carried out.
    Present(PresenceProof),
    /// Walmart shows no trace of the mutation so far.
    Absent(AbsenceProof),
    /// The order number belongs to an order other than the one that was sent.
    Contradicted(Contradiction),
    /// The answer proves nothing.
    Nothing(NoEvidence),
}

/// The value of an answer for a caller searching an order by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderShown {
    /// One order or several are shown.
    Order,
    /// Walmart's order service does not have the order.
    Absent,
    /// The answer shows neither presence nor absence.
    Nothing,
}

/// Judges an answer for a caller searching an order by number. Comparing the number is left to the caller.
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
    /// Number of orders that do not contradict the order that was sent; more than one is a duplicate. Always 1 for a
    /// cancellation, because units cancelled twice look like the units of a second cancellation.
    pub copies: usize,
}

/// Proof that Walmart's order service does not have the order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AbsenceProof {
    /// An explicit empty list, without any hint of an order beside the list.
    EmptyList,
    /// The not-found of the order service, as the only error.
    OrderServiceNotFound {
        /// The error code in Walmart's answer.
        code: String,
    },
    /// For a cancellation: the order is shown, and no unit was cancelled since the snapshot.
    NothingCancelled,
    /// For a shipment: the order is shown without the parcels, and its units are still open.
    NothingShipped,
    /// For a refund: the order is shown, and its lines are as in the snapshot. Never a reason to send again.
    NothingRefunded,
    /// For webhook subscriptions: a whole list without a new one of the type and URL.
    NoSubscription,
}

impl fmt::Display for AbsenceProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmptyList => f.write_str("an explicit list without an order"),
            Self::OrderServiceNotFound { code } => write!(f, "the order service's {code}"),
            Self::NothingCancelled => f.write_str("no unit of the lines was cancelled since"),
            Self::NothingShipped => f.write_str("the parcels do not show, and their units are still open"),
            Self::NothingRefunded => f.write_str("nothing of the lines was refunded since"),
            Self::NoSubscription => f.write_str("no subscription of the type and URL is new"),
        }
    }
}

/// The fields in which an order under the number differs from the order that was sent. Only field names are kept: no
/// value of the customer leaves the judgement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contradiction {
    /// A different sales channel.
    pub channel: bool,
    /// An order date before the creation.
    pub order_date: bool,
    /// A seller line id that was not sent.
    pub lines: bool,
    /// A line with a different SKU.
    pub sku: bool,
}

impl Contradiction {
    /// Whether any field differs.
    pub const fn is_any(self) -> bool {
        self.channel || self.order_date || self.lines || self.sku
    }

    /// Combines the differing fields of the two contradictions.
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

/// Why an answer proves nothing. Operators read the text, which has no personal data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NoEvidence {
    /// The stored request cannot be read; no comparison is possible.
    RequestUnreadable,
    /// An HTTP status without meaning for orders: 202, 204, 206, 3xx, or a 4xx of another kind.
    HttpStatus,
    /// A 404 not written by the order service: a gateway or proxy has no such path.
    GatewayNotFound,
    /// The body is no JSON object, is cut short, or names a field twice.
    Unreadable,
    /// `PARTIAL_SUCCESS`: part of the answer is missing.
    PartialSuccess,
    /// The status reports a failed look-up.
    StatusFailed,
    /// The status is missing, or is not one of success.
    StatusUnknown,
    /// The answer has errors, a sign of an incomplete answer.
    Errors,
    /// The not-found of the order service comes together with further errors or with an order.
    NotFoundNotAlone,
    /// The answer has no `payload`.
    PayloadMissing,
    /// The `payload` is null.
    PayloadNull,
    /// The `payload` is a text, number or flag.
    PayloadNotList,
    /// The list is empty, and a total or page count says that orders exist.
    TotalsContradict,
    /// The header or its counts cannot be read.
    TotalsUnreadable,
    /// Rows that are null, text or lists.
    RowsNotOrders,
    /// An object or rows without any order number.
    NumberMissing,
    /// Only orders of different numbers.
    NumberOther,
    /// An order number equal to the wanted number only after trimming, case folding or Unicode normalization, or a JSON
    /// number. The row may be the order: an operator has to look.
    NumberAlmostEqual,
    /// For a cancellation: the order itself is not shown.
    OrderNotShown,
    /// For a cancellation: the answer counts more orders than the rows show.
    ListNotComplete,
    /// For a cancellation: the cancelled lines cannot be told from the remaining lines.
    LinesNotTold,
    /// For a cancellation: the units of a line, or their states, are not shown.
    UnitsNotShown,
    /// For a cancellation: some units are cancelled, but fewer than asked for or fewer than before.
    UnitsUnclear,
    /// For lines of a seller's order: some have changed and some not, or by other amounts or under other numbers.
    LinesUnclear,
    /// For a refund: the state from before is not known.
    NoSnapshot,
    /// For webhook subscriptions: some of several show, or a new one does not show its URL.
    SubscriptionsUnclear,
    /// The object has changed as the mutation changes it, and another call may have made that change.
    OtherCalls,
}

impl NoEvidence {
    /// All reasons, in their order.
    pub const ALL: [Self; 27] = [
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
        Self::LinesUnclear,
        Self::NoSnapshot,
        Self::SubscriptionsUnclear,
        Self::OtherCalls,
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
            Self::LinesUnclear => "the lines have changed, but not as this call changes them",
            Self::NoSnapshot => "the state of the lines from before is not known",
            Self::SubscriptionsUnclear => "the new subscriptions are not told from others, or only some of them show",
            Self::OtherCalls => "another call may have made the change that the look-up shows",
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
