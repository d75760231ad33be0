//! One order of an answer: the fields that can prove or contradict, in the two forms of Walmart's answers.

use std::collections::HashMap;
use std::fmt;

use icu_normalizer::ComposingNormalizerBorrowed;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::json::{JsonKey, JsonPart, JsonScalar, ObjectFields, object_fields, objects, once};
use crate::domain::timestamp::Timestamp;

/// A row of the production form, or the object of the sandbox form.
#[derive(Debug, Default)]
pub(super) struct OrderRow {
    seller_order_id: Option<JsonScalar>,
    order_number: Option<JsonScalar>,
    customer_order_no: Option<JsonScalar>,
    order_channel_id: Option<JsonScalar>,
    order_date: Option<JsonScalar>,
    order_placed_time: Option<JsonScalar>,
    order_id: Option<JsonScalar>,
    purchase_order_id: Option<JsonScalar>,
    shipments: Option<JsonPart<ShipmentRow>>,
    /// The lines of the production form.
    pub(super) order_lines: Option<JsonPart<LineRow>>,
    /// The lines of the sandbox form.
    pub(super) order_items: Option<JsonPart<LineRow>>,
    keys: usize,
}

impl ObjectFields for OrderRow {
    fn read<'de, A: MapAccess<'de>>(&mut self, key: &str, object: &mut A) -> Result<bool, A::Error> {
        self.keys += 1;
        match key {
            "sellerOrderId" => once(&mut self.seller_order_id, object),
            "orderNumber" => once(&mut self.order_number, object),
            "customerOrderNo" => once(&mut self.customer_order_no, object),
            "orderChannelId" => once(&mut self.order_channel_id, object),
            "orderDate" => once(&mut self.order_date, object),
            "orderPlacedTime" => once(&mut self.order_placed_time, object),
            "orderId" => once(&mut self.order_id, object),
            "purchaseOrderId" => once(&mut self.purchase_order_id, object),
            "shipments" => once(&mut self.shipments, object),
            "orderLines" => once(&mut self.order_lines, object),
            "orderItems" => once(&mut self.order_items, object),
            _ => Ok(false),
        }
    }
}

/// The result of comparing the numbers of an order with the wanted number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NumberMatch {
    /// Equal byte for byte.
    Equal,
    /// Equal only after trimming, case folding or normalization, or as a JSON number.
    AlmostEqual,
    /// Only different numbers are shown.
    Other,
    /// No number is shown.
    Missing,
}

impl OrderRow {
    /// Whether the object has no key at all.
    pub(super) fn is_empty(&self) -> bool {
        self.keys == 0
    }

    pub(super) fn number_match(&self, wanted: &str) -> NumberMatch {
        let numbers = [&self.seller_order_id, &self.order_number, &self.customer_order_no];
        let mut found = NumberMatch::Missing;
        for number in numbers.into_iter().flatten() {
            if matches!(number, JsonScalar::Text(text) if text == wanted) {
                return NumberMatch::Equal;
            }
            let Some(shown) = number.shown() else { continue };
            if folded(&shown) == folded(wanted) {
                found = NumberMatch::AlmostEqual;
            } else if found == NumberMatch::Missing {
                found = NumberMatch::Other;
            }
        }
        found
    }

    /// Whether any order number is shown.
    pub(super) fn has_number(&self) -> bool {
        [&self.seller_order_id, &self.order_number, &self.customer_order_no]
            .into_iter()
            .flatten()
            .any(|number| number.shown().is_some())
    }

    /// The sales channel of the order.
    pub(super) fn channel(&self) -> Option<&JsonScalar> {
        self.order_channel_id.as_ref()
    }

    /// The latest moment in the meaning of the order's date.
    pub(super) fn ordered_by(&self) -> Option<Timestamp> {
        let [date, placed] = [&self.order_date, &self.order_placed_time].map(|s| s.as_ref().and_then(latest_meaning));
        date.or(placed)
    }

    pub(super) fn lines(&self) -> impl Iterator<Item = &LineRow> {
        objects(&self.order_lines).chain(objects(&self.order_items))
    }

    fn shown_order_id(&self) -> Option<String> {
        Some(self.order_id.as_ref()?.shown()?.into_owned())
    }

    /// The purchase orders of the order and of its shipments.
    fn purchase_orders(&self) -> impl Iterator<Item = String> {
        let of_shipments = objects(&self.shipments).map(|shipment| &shipment.purchase_order_id);
        let all = std::iter::once(&self.purchase_order_id).chain(of_shipments);
        all.filter_map(|id| Some(id.as_ref()?.shown()?.into_owned()))
    }
}

/// Counts the different orders among rows of one number. Rows are different orders if they show different order ids,
/// or, without order ids, disjoint purchase orders. Rows that show neither may be one order.
pub(super) fn count_orders(rows: &[&OrderRow]) -> usize {
    let mut order_ids = std::collections::HashSet::new();
    // Rows with a common purchase order are one order: every row joins the groups of its purchase orders.
    let mut groups = PurchaseOrderGroups::default();
    for row in rows {
        if let Some(id) = row.shown_order_id() {
            order_ids.insert(id);
        } else {
            groups.add(row.purchase_orders());
        }
    }
    order_ids.len().max(groups.count).max(1)
}

/// Disjoint sets of purchase orders (union-find).
#[derive(Default)]
struct PurchaseOrderGroups {
    members: HashMap<String, usize>,
    parents: Vec<usize>,
    count: usize,
}

impl PurchaseOrderGroups {
    fn add(&mut self, ids: impl Iterator<Item = String>) {
        let mut joined: Option<usize> = None;
        for id in ids {
            let next = self.parents.len();
            let at = *self.members.entry(id).or_insert(next);
            if at == next {
                self.parents.push(next);
                self.count += 1;
            }
            let root = self.root(at);
            match joined.map(|other| self.root(other)) {
                Some(other) if other != root => {
                    self.parents[root] = other;
                    self.count -= 1;
                }
                _ => joined = Some(root),
            }
        }
    }

    fn root(&mut self, mut at: usize) -> usize {
        while self.parents[at] != at {
            self.parents[at] = self.parents[self.parents[at]];
            at = self.parents[at];
        }
        at
    }
}

#[derive(Debug, Default)]
struct ShipmentRow {
    purchase_order_id: Option<JsonScalar>,
}

object_fields! {
    ShipmentRow { "purchaseOrderId" => purchase_order_id }
}

/// A line of an order.
#[derive(Debug, Default)]
pub(super) struct LineRow {
    pub(super) seller_line_id: Option<JsonScalar>,
    /// Every field named `sku`, at any depth.
    pub(super) skus: Vec<JsonScalar>,
    /// Units of the line, in the sandbox form.
    pub(super) qty: Option<JsonPart<QuantityRow>>,
    /// The state of the whole line, in the sandbox form.
    pub(super) line_status: Option<JsonScalar>,
    /// Units by state, in the production form.
    pub(super) states: Option<JsonPart<StateRow>>,
}

impl LineRow {
    /// The seller's id of the line.
    pub(super) fn id(&self) -> Option<std::borrow::Cow<'_, str>> {
        self.seller_line_id.as_ref()?.shown()
    }
}

impl ObjectFields for LineRow {
    fn read<'de, A: MapAccess<'de>>(&mut self, key: &str, object: &mut A) -> Result<bool, A::Error> {
        match key {
            "sellerLineId" => once(&mut self.seller_line_id, object),
            "qty" => once(&mut self.qty, object),
            "lineStatus" => once(&mut self.line_status, object),
            "orderLineQuantityInfo" => once(&mut self.states, object),
            _ => read_skus(key, &mut self.skus, object).map(|()| true),
        }
    }
}

/// Units in one state.
#[derive(Debug, Default)]
pub(super) struct StateRow {
    pub(super) status: Option<JsonScalar>,
    pub(super) units: Option<JsonPart<QuantityRow>>,
}

object_fields! {
    StateRow { "status" => status, "statusQuantity" => units }
}

/// An amount with its unit.
#[derive(Debug, Default)]
pub(super) struct QuantityRow {
    measurement_value: Option<JsonScalar>,
}

object_fields! {
    QuantityRow { "measurementValue" => measurement_value }
}

/// The amount of a quantity, which is an object or a bare number.
pub(super) fn amount(quantity: &Option<JsonPart<QuantityRow>>) -> Option<f64> {
    match quantity.as_ref()? {
        JsonPart::Object(quantity) => quantity.measurement_value.as_ref()?.amount(),
        JsonPart::Scalar(bare) => bare.amount(),
        JsonPart::Null | JsonPart::List(_) => None,
    }
}

/// Most SKUs read from one line; a line has one.
const MOST_SKUS: usize = 16;

/// Reads the value of `key`: a SKU, or a value with SKUs inside.
fn read_skus<'de, A: MapAccess<'de>>(key: &str, skus: &mut Vec<JsonScalar>, object: &mut A) -> Result<(), A::Error> {
    if key != "sku" {
        return object.next_value_seed(SkuCollector(skus));
    }
    if skus.len() == MOST_SKUS {
        return Err(A::Error::custom("too many SKUs"));
    }
    skus.push(object.next_value()?);
    Ok(())
}

/// Collects the fields named `sku` inside a value and skips the rest.
struct SkuCollector<'a>(&'a mut Vec<JsonScalar>);

impl<'de> DeserializeSeed<'de> for SkuCollector<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for SkuCollector<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(SkuCollector(&mut *self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        while let Some(key) = object.next_key::<JsonKey<'de>>()? {
            read_skus(&key.0, self.0, &mut object)?;
        }
        Ok(())
    }
}

/// Folds an order number for comparison: removes blanks and controls, and folds case and compatibility forms.
fn folded(text: &str) -> String {
    let hidden = |c: char| {
        c.is_whitespace()
            || c.is_control()
            || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
    };
    let composed = ComposingNormalizerBorrowed::new_nfkc();
    let upper = composed.normalize(text).to_uppercase();
    // Upper case first, which maps letters with a common capital to the same text, such as "ß" and "ss".
    composed.normalize(&upper.to_lowercase()).chars().filter(|c| !hidden(*c)).collect()
}

/// The latest moment in the meaning of a date: the end of the day when no time is shown.
fn latest_meaning(date: &JsonScalar) -> Option<Timestamp> {
    let moment = match date {
        JsonScalar::Number(number) => of_epoch(number.as_i64()?)?,
        JsonScalar::Text(text) => of_text(text.trim(), true)?,
        JsonScalar::Null | JsonScalar::Other => return None,
    };
    Some(moment)
}

/// The earliest moment in the meaning of a date in a request.
pub(super) fn earliest_meaning(date: &str) -> Option<Timestamp> {
    of_text(date.trim(), false)
}

fn of_text(text: &str, end_of_day: bool) -> Option<Timestamp> {
    if let Ok(moment) = text.parse::<jiff::Timestamp>() {
        return Some(timestamp(moment));
    }
    if let Ok(number) = text.parse::<i64>() {
        return of_epoch(number);
    }
    // A date without offset is read as UTC; the error is smaller than the day of margin in the comparison.
    let civil: jiff::civil::DateTime = text.parse().ok()?;
    let has_time = text.contains([':', 'T', 't']);
    let civil = if end_of_day && !has_time { civil.date().at(23, 59, 59, 999_000_000) } else { civil };
    Some(timestamp(civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp()))
}

/// Reads seconds or milliseconds since 1970. Smaller numbers are neither: a date written as 20261130, or 0 for "not
/// set".
fn of_epoch(number: i64) -> Option<Timestamp> {
    match u64::try_from(number).ok()? {
        millis @ 100_000_000_000.. => Some(Timestamp(millis)),
        seconds @ 100_000_000.. => Some(Timestamp(seconds * 1000)),
        _ => None,
    }
}

fn timestamp(moment: jiff::Timestamp) -> Timestamp {
    Timestamp(u64::try_from(moment.as_millisecond()).unwrap_or_default())
}
