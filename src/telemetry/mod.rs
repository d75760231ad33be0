//! Traces, metrics and logs, and their export. Usable from anywhere; knows nothing of ours but `domain`.

pub mod complaints;
pub mod lines;
pub mod log;
pub mod metrics;
pub mod otlp;
pub mod recent;
pub(crate) mod semconv;
#[cfg(test)]
pub(crate) mod testing;
pub mod trace;
