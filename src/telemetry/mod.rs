//! Traces, metrics and logs, and their export. Every module may use telemetry; telemetry uses only `domain`.

pub mod export_outage;
pub mod last_hour;
pub mod log;
pub mod log_throttle;
pub mod metrics;
pub mod otlp;
pub mod recent;
pub(crate) mod semconv;
pub mod trace;
