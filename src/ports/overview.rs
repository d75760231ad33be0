//! What the gateway knows of its own way to Walmart, for those who operate it.

use std::time::SystemTime;

use crate::domain::account::AccountIndex;
use crate::domain::operation::Operation;

/// Looks at an account's state without touching it.
pub trait Overview: Send + Sync + 'static {
    /// The access token.
    fn token(&self, account: AccountIndex) -> TokenView;

    /// Bucket and circuit of one operation.
    fn operation(&self, account: AccountIndex, operation: Operation) -> OperationView;
}

/// State of an access token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TokenView {
    /// None was needed yet.
    None,
    /// Usable until then.
    Valid(SystemTime),
    /// It ended then.
    Expired(SystemTime),
    /// The last try to get one failed; the next is made then.
    Failed(SystemTime),
}

/// State of a bucket and a circuit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OperationView {
    /// Calls a minute that the bucket refills.
    pub limit_per_minute: u32,
    /// Calls that could be made at once.
    pub tokens: f64,
    /// When the next call is possible; `None` when one is possible now.
    pub next_token: Option<SystemTime>,
    /// The circuit.
    pub circuit: CircuitView,
}

/// State of a circuit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CircuitView {
    /// Calls pass.
    Closed,
    /// Calls fail at once until then.
    Open(SystemTime),
    /// One call is under way to see.
    HalfOpen,
}
