//! Starts the check of webhook subscriptions from the settings.

use std::sync::Arc;

use crate::config::Config;
use crate::domain::reads::ListWebhookSubscriptions;
use crate::ports::clock::Clock;
use crate::ports::upstream::Upstream;
use crate::service::{AccountDirectory, WebhookCheck, WebhookChecks};
use crate::shutdown::Shutdown;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::trace::Tracer;

pub(super) fn start<U: Upstream<ListWebhookSubscriptions>>(
    config: &Config,
    upstream: &U,
    directory: &AccountDirectory,
    shutdown: &Shutdown,
    (clock, tracer): (Clock, &Tracer),
    metrics: &Arc<Metrics>,
) -> WebhookChecks {
    let checks = WebhookChecks::default();
    let interval = config.walmart.webhook_check_interval;
    if !interval.is_zero() {
        let check = WebhookCheck {
            upstream: upstream.clone(),
            directory: directory.clone(),
            interval,
            clock,
            tracer: tracer.clone(),
            metrics: metrics.clone(),
        };
        shutdown.tasks().spawn(check.run(checks.clone(), shutdown.stopping().clone()));
    }
    checks
}
