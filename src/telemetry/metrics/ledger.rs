//! Metrics of the ledger.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::domain::ledger::{AlertKind, EntryState};

/// Open and closed mutations.
pub struct LedgerMetrics {
    closed: [Counter; EntryState::ALL.len()],
    open: [Gauge; EntryState::ALL.len()],
    late_effects: Counter,
    duplicates: Counter,

    /// Age of the oldest open operation in seconds; 0 if none is open.
    pub oldest_open: Gauge,
    /// Status calls made to look up outcomes.
    pub look_ups: Counter,
    /// Mutations sent again in the background.
    pub resends: Counter,
}

impl LedgerMetrics {
    pub(super) fn register(r: &mut Registry) -> Self {
        let closed = Family::<StateLabels, Counter>::default();
        r.register("order_gateway_operations_closed", "Mutations that became final", closed.clone());
        let open = Family::<StateLabels, Gauge>::default();
        r.register("order_gateway_operations_open", "Mutations that are open", open.clone());
        let alerts = Family::<AlertLabels, Counter>::default();
        let help = "Mutations found to have had an effect that they must not have";
        r.register("order_gateway_operation_alerts", help, alerts.clone());
        let oldest_open = Gauge::default();
        let help = "Age of the oldest mutation that is open; 0 when none is";
        r.register_with_unit("order_gateway_ledger_oldest_open_age", help, Unit::Seconds, oldest_open.clone());
        let mut counter = |name: &str, help: &str| {
            let counter = Counter::default();
            r.register(format!("order_gateway_{name}"), help, counter.clone());
            counter
        };
        let labels = |state: EntryState| StateLabels { state: state.name() };
        let alert = |kind: AlertKind| alerts.get_or_create_owned(&AlertLabels { kind: kind.name() });
        Self {
            // A state outside the metric gets an unregistered handle.
            closed: EntryState::ALL
                .map(|s| if s.is_open() { Counter::default() } else { closed.get_or_create_owned(&labels(s)) }),
            open: EntryState::ALL
                .map(|s| if s.is_open() { open.get_or_create_owned(&labels(s)) } else { Gauge::default() }),
            late_effects: alert(AlertKind::LateEffect),
            duplicates: alert(AlertKind::Duplicate),
            oldest_open,
            look_ups: counter("look_ups", "Status calls made to look up outcomes"),
            resends: counter("resends", "Mutations sent again in the background"),
        }
    }

    /// Counts a mutation becoming final.
    pub fn closed(&self, state: EntryState) {
        self.closed[state as usize].inc();
    }

    /// Sets the number of mutations in an open state.
    pub fn set_open(&self, state: EntryState, entries: u64) {
        self.open[state as usize].set(i64::try_from(entries).unwrap_or(i64::MAX));
    }

    /// Counts a finding of an audit.
    pub fn alert(&self, kind: AlertKind) {
        match kind {
            AlertKind::LateEffect => self.late_effects.inc(),
            AlertKind::Duplicate => self.duplicates.inc(),
        };
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AlertLabels {
    kind: &'static str,
}
