//! Traces, metrics and logs. Usable from anywhere; knows nothing of ours but `domain`.

pub mod log;
pub mod metrics;
pub mod recent;
pub mod trace;
