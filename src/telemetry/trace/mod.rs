//! Distributed tracing: W3C trace context in and out, a SERVER span per RPC and per webhook, a CLIENT span per upstream
//! attempt, INTERNAL spans for waits.
//!
//! The sampling decision is made once, at the inbound edge: by the caller's flag, else by the ratio. An unsampled
//! call builds no span; the ids are still forwarded and logged. Spans are built with OpenTelemetry directly instead
//! of `tracing-opentelemetry`, which opens a `tracing` span for every call and decides afterwards (2.7 µs a call at 0
//! % sampling, more than the budget of all inbound layers).

mod context;
mod current;
mod posted;
mod span;
mod tracer;

pub use context::TraceContext;
pub use current::SpanIds;
pub(crate) use posted::{HttpExchange, PostSpan};
pub use span::{BackgroundSpan, ClientRequest, ClientSpan, ServerSpan, WaitSpan};
pub(crate) use span::{code_name, is_server_fault};
pub use tracer::{Sampling, Tracer};
