//! Metrics of the wall clock.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Wall clock steps and their consequences.
#[derive(Clone, Debug)]
pub struct ClockMetrics {
    /// Number of detected wall clock steps.
    pub steps: Counter,
    /// 1 while trimming is paused because the wall clock is not trusted, else 0.
    pub trimming_paused: Gauge,
}

impl ClockMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let (steps, trimming_paused) = (Counter::default(), Gauge::default());
        registry.register(
            "order_gateway_clock_steps",
            "Steps of the wall clock of more than five seconds that were noticed",
            steps.clone(),
        );
        registry.register(
            "order_gateway_clock_trimming_paused",
            "1 while nothing is dropped by its age, because the wall clock was set or cannot be believed",
            trimming_paused.clone(),
        );
        Self { steps, trimming_paused }
    }
}
