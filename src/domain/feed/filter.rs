//! Filters, by which a reader chooses events.

use std::collections::BTreeSet;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::AccountScope;
use crate::domain::account::AccountId;
use crate::domain::rules::{FieldFaults, FieldPath};
use crate::pb;

/// Most values in all lists of a filter together.
const MAX_VALUES: usize = 1_000;
/// Longest value in bytes.
const MAX_LENGTH: usize = 256;
/// Most shards of a filter.
const MAX_SHARDS: u32 = 1_024;

/// Accepted values, of which one must match; `None` accepts any value.
type OneOf = Option<BTreeSet<String>>;

/// A checked filter. Every part that is set must match; within a part one matching value is enough.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    accounts: OneOf,
    partner_ids: OneOf,
    /// Values in lower case, compared with folded facts.
    ship_node_types: OneOf,
    purchase_order_ids: OneOf,
    skus: OneOf,
    shard: Option<KeyShard>,
}

/// A share of the ordering keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct KeyShard {
    index: u32,
    /// At least two, because a single shard has every key.
    count: u32,
}

impl EventFilter {
    /// Checks a filter; `at` is the path of the filter in the request.
    ///
    /// # Errors
    /// All faults of the filter.
    pub fn new(filter: &pb::Filter, at: &FieldPath<'_>) -> Result<Self, FieldFaults> {
        let mut faults = FieldFaults::default();
        check(filter, at, &mut faults);
        faults.into_result().map(|()| Self::of_checked(filter))
    }

    /// Reads a filter that was checked before it was stored.
    pub(super) fn of_checked(filter: &pb::Filter) -> Self {
        let one_of = |values: &[String]| (!values.is_empty()).then(|| values.iter().cloned().collect());
        let folded: Vec<String> = filter.ship_node_types.iter().map(|value| value.to_ascii_lowercase()).collect();
        let shard = filter.shard.filter(|shard| shard.count > 1);
        Self {
            accounts: one_of(&filter.accounts),
            partner_ids: one_of(&filter.partner_ids),
            ship_node_types: one_of(&folded),
            purchase_order_ids: one_of(&filter.purchase_order_ids),
            skus: one_of(&filter.skus),
            shard: shard.map(|shard| KeyShard { index: shard.index, count: shard.count }),
        }
    }

    /// Narrows the filter to these accounts. With an empty list the filter matches nothing.
    #[must_use]
    pub fn within(self, accounts: impl IntoIterator<Item = AccountId>) -> Self {
        let wanted = |account: &str| self.accounts.as_ref().is_none_or(|all| all.contains(account));
        let accounts = accounts.into_iter().filter(|account| wanted(account.as_str()));
        let accounts = accounts.map(|account| account.as_str().to_owned()).collect();
        Self { accounts: Some(accounts), ..self }
    }

    /// The same, further narrowed to the accounts of a subscription.
    #[must_use]
    pub(crate) fn within_scope(mut self, scope: &AccountScope) -> Self {
        if let AccountScope::Only(names) = scope {
            let wanted = |name: &str| self.accounts.as_ref().is_none_or(|all| all.contains(name));
            self.accounts = Some(names.iter().filter(|name| wanted(name)).map(|name| name.to_string()).collect());
        }
        self
    }

    /// This filter without its accounts.
    pub(super) fn anywhere(self) -> Self {
        Self { accounts: None, ..self }
    }

    /// Whether every event matches.
    pub(crate) fn is_all(&self) -> bool {
        *self == Self::default()
    }

    /// Whether an event with these facts matches.
    pub fn wants(&self, facts: &EventFacts) -> bool {
        holds(&self.accounts, &facts.account)
            && holds(&self.partner_ids, &facts.partner_id)
            && holds(&self.purchase_order_ids, &facts.purchase_order_id)
            && holds(&self.ship_node_types, &facts.ship_node_type)
            && (self.skus.is_none() || facts.skus.iter().any(|sku| holds(&self.skus, sku)))
            && self.shard.is_none_or(|shard| shard.has(&facts.ordering_key))
    }
}

/// The facts of an event that filters use. A decoded event with many lines takes far more memory than its bytes; the
/// facts are small enough to be cached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventFacts {
    account: Box<str>,
    partner_id: Box<str>,
    purchase_order_id: Box<str>,
    /// The type in lower case.
    ship_node_type: Box<str>,
    /// Distinct SKUs, none empty.
    skus: Box<[Box<str>]>,
    /// The ordering key, as in [`pb::Event::ordering_key`].
    pub ordering_key: Arc<str>,
}

impl EventFacts {
    /// Takes the facts of a cancel-intent event.
    pub fn of(event: &pb::Event) -> Self {
        let Some(intent) = &event.intent else { return Self::without_content(&event.account, &event.ordering_key) };
        Self {
            partner_id: intent.partner_id.as_str().into(),
            purchase_order_id: intent.purchase_order_id.as_str().into(),
            ship_node_type: intent.ship_node_type.to_ascii_lowercase().into(),
            skus: distinct(intent.order_lines.iter().map(|line| line.sku.as_str())),
            ..Self::without_content(&event.account, &event.ordering_key)
        }
    }

    /// Takes the facts of an order update. A fact missing from the update is empty, and no filter value is empty.
    pub(crate) fn of_update(event: &pb::OrderUpdate) -> Self {
        use pb::order_update::Update;
        let nothing = Self::without_content(&event.account, &event.ordering_key);
        match &event.update {
            None => nothing,
            Some(Update::OrderStatus(it)) => Self {
                partner_id: it.partner_id.as_str().into(),
                skus: distinct(it.line_item_status.iter().filter_map(|line| sku_of(line.item_detail.as_ref()))),
                ..nothing
            },
            Some(Update::Shipment(it)) => Self { partner_id: it.partner_id.as_str().into(), ..nothing },
            Some(Update::ReturnStatus(it)) => Self {
                partner_id: it.partner_id.as_str().into(),
                skus: distinct(it.return_order_lines.iter().filter_map(|line| sku_of(line.item_detail.as_ref()))),
                ..nothing
            },
            Some(Update::SellerOrder(it)) => Self {
                partner_id: it.partner_id.as_str().into(),
                purchase_order_id: it.purchase_order_id.as_str().into(),
                ship_node_type: it.ship_node_type.to_ascii_lowercase().into(),
                skus: distinct(it.order_lines.iter().map(|line| line.sku.as_str())),
                ..nothing
            },
        }
    }

    /// The account that received it.
    pub fn account(&self) -> &str {
        &self.account
    }

    fn without_content(account: &str, ordering_key: &str) -> Self {
        Self {
            account: account.into(),
            partner_id: "".into(),
            purchase_order_id: "".into(),
            ship_node_type: "".into(),
            skus: [].into(),
            ordering_key: ordering_key.into(),
        }
    }
}

impl KeyShard {
    fn has(self, key: &str) -> bool {
        let hash = Sha256::digest(key);
        let number = hash[..8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        number % u64::from(self.count) == u64::from(self.index)
    }
}

/// Distinct SKUs, without empty values.
fn distinct<'a>(skus: impl Iterator<Item = &'a str>) -> Box<[Box<str>]> {
    let skus: BTreeSet<&str> = skus.filter(|sku| !sku.is_empty()).collect();
    skus.into_iter().map(Box::from).collect()
}

fn sku_of(item: Option<&pb::ItemDetail>) -> Option<&str> {
    item?.sku.as_deref()
}

fn holds(wanted: &OneOf, value: &str) -> bool {
    wanted.as_ref().is_none_or(|values| values.contains(value))
}

fn check(filter: &pb::Filter, at: &FieldPath<'_>, faults: &mut FieldFaults) {
    let lists = [
        ("accounts", &filter.accounts),
        ("partner_ids", &filter.partner_ids),
        ("ship_node_types", &filter.ship_node_types),
        ("purchase_order_ids", &filter.purchase_order_ids),
        ("skus", &filter.skus),
    ];
    if lists.iter().map(|(_, values)| values.len()).sum::<usize>() > MAX_VALUES {
        faults.add(at, "must have at most 1000 values");
    }
    for (name, values) in lists {
        for (i, value) in values.iter().enumerate() {
            if let Some(description) = fault_of(name, value) {
                faults.add(&at.field(name).index(i), description);
            }
        }
    }
    if let Some(shard) = &filter.shard {
        check_shard(*shard, &at.field("shard"), faults);
    }
}

fn fault_of(name: &str, value: &str) -> Option<&'static str> {
    match name {
        "accounts" => AccountId::new(value).is_err().then_some("must be 1 to 64 ASCII letters, digits, '-' or '_'"),
        _ if value.is_empty() => Some("must not be empty"),
        _ => (value.len() > MAX_LENGTH).then_some("must be at most 256 bytes"),
    }
}

fn check_shard(shard: pb::Shard, at: &FieldPath<'_>, faults: &mut FieldFaults) {
    if !(1..=MAX_SHARDS).contains(&shard.count) {
        faults.add(&at.field("count"), "must be 1 to 1024");
    } else if shard.index >= shard.count {
        faults.add(&at.field("index"), "must be less than count");
    }
}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;
