//! Starts the scans of the orders for missed intents.

use crate::config::{BackfillConfig, Config};
use crate::ports::clock::Clock;
use crate::ports::event_log::EventLog;
use crate::service::{AccountDirectory, Backfill, BackfillParts, BackfillSettings, BackfillState};
use crate::shutdown::Shutdown;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::trace::Tracer;
use crate::upstream::client::RestUpstream;
use crate::upstream::transport::HttpService;

/// Starts the scans if they are switched on. Nothing waits for them.
pub(super) fn start<H: HttpService, F: EventLog>(
    config: &Config,
    (upstream, store, directory): (&RestUpstream<H>, F, &AccountDirectory),
    shutdown: &Shutdown,
    clock: Clock,
    tracer: Tracer,
    metrics: &Metrics,
) -> BackfillState {
    let state = BackfillState::default();
    let BackfillConfig { enabled, interval, window, ship_node_types } = config.feed.backfill.clone();
    if enabled {
        let parts = BackfillParts {
            upstream: upstream.clone(),
            store,
            directory: directory.clone(),
            settings: BackfillSettings { interval, window, ship_node_types },
            clock,
            tracer,
            metrics: metrics.backfill.clone(),
            state: state.clone(),
        };
        shutdown.tasks().spawn(Backfill::new(parts).run(shutdown.stopping().clone()));
    }
    state
}
