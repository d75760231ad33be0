//! What Walmart's answers have and the messages have not: counted by operation and place, and logged once for each place.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::domain::operation::Operation;

/// Most places with a series of their own; further ones share a series for each operation.
const MAX_PLACES: usize = 200;
/// The label of further places.
const OTHER: &str = "_OTHER";

/// Answers with fields that the messages do not have.
#[derive(Debug)]
pub struct UnmappedMetrics {
    family: Family<UnmappedLabels, Counter>,
    /// The places with a series, and the series of the further ones.
    known: Mutex<BTreeMap<(usize, String), Counter>>,
}

impl UnmappedMetrics {
    pub(super) fn register(r: &mut Registry) -> Self {
        let family = Family::<UnmappedLabels, Counter>::default();
        let help = "Answers of Walmart with a field, or a type of value, that the messages do not have";
        r.register("order_gateway_unmapped_fields", help, family.clone());
        Self { family, known: Mutex::default() }
    }

    /// Counts an answer. A place has no values and no data of orders, only names of fields.
    pub fn note(&self, operation: Operation, places: &BTreeSet<String>) {
        // A poisoned lock is safe to use: the map is complete after every step.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut others = false;
        for place in places {
            let key = (operation.index(), place.clone());
            if let Some(counter) = known.get(&key) {
                counter.inc();
            } else if known.len() < MAX_PLACES {
                tracing::warn!(
                    operation = operation.name(),
                    path = place,
                    "Walmart's answer has a field that this version does not know, or a value of another type; \
                     callers find it in `unmapped`"
                );
                let counter = self.counter(operation, place);
                counter.inc();
                known.insert(key, counter);
            } else {
                others = true;
            }
        }
        drop(known);
        if others {
            self.counter(operation, OTHER).inc();
        }
    }

    fn counter(&self, operation: Operation, path: &str) -> Counter {
        self.family.get_or_create_owned(&UnmappedLabels { operation: operation.name(), path: path.to_owned() })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UnmappedLabels {
    operation: &'static str,
    path: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::logs::LogLines;

    fn places(names: impl IntoIterator<Item = String>) -> BTreeSet<String> {
        names.into_iter().collect()
    }

    #[test]
    fn each_place_is_counted_logged_once_and_bounded() {
        let (lines, mut registry) = (LogLines::default(), Registry::default());
        let metrics = UnmappedMetrics::register(&mut registry);
        tracing::dispatcher::with_default(&lines.json(), || {
            metrics.note(Operation::Orders, &places(["a".into(), "b".into()]));
            metrics.note(Operation::Orders, &places(["a".into()]));
            metrics.note(Operation::Order, &places(["a".into()]));
            metrics.note(Operation::Status, &places((0..500).map(|n| format!("n{n}"))));
            metrics.note(Operation::Status, &places(["x".into(), "y".into()]));
        });
        let count = |operation, path: &str| metrics.counter(operation, path).get();
        assert_eq!(
            (count(Operation::Orders, "a"), count(Operation::Orders, "b"), count(Operation::Order, "a")),
            (2, 1, 1)
        );
        assert_eq!(count(Operation::Status, OTHER), 2, "answers, not places");
        assert_eq!(lines.parsed().len(), MAX_PLACES);
        assert_eq!(lines.text().matches("\"path\":\"a\"").count(), 2, "one for each operation");
    }
}
