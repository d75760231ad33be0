//! What the gateway knows of its own way to Walmart, for those who operate it.

use std::time::SystemTime;

use uuid::Uuid;

use crate::domain::account::AccountIndex;
use crate::domain::operation::Operation;

/// Looks at an account's state without touching it.
pub trait Overview: Send + Sync + 'static {
    /// The access token.
    fn token(&self, account: AccountIndex) -> TokenView;

    /// Why the last try to get a token gave none; `None` when it gave one.
    fn token_failure(&self, account: AccountIndex) -> Option<TokenFailure>;

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

/// A token call that gave no token, or one that Walmart turned away.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenFailure {
    /// When it failed.
    pub time: SystemTime,
    /// Whose fault it is.
    pub kind: TokenFailureKind,
    /// HTTP status of the answer; `None` when none came.
    pub http_status: Option<u16>,
    /// The words of the answer, without secrets and cut.
    pub said: String,
    /// The `WM_QOS.CORRELATION_ID` of the call.
    pub correlation_id: Uuid,
}

/// Whose fault a failed token call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenFailureKind {
    /// Walmart refuses the credentials.
    CredentialsRefused,
    /// An edge in front of Walmart refuses the call, so the credentials were not looked at.
    EdgeRefused,
    /// Walmart gives tokens for the credentials and turns them away.
    TokenRefused,
    /// Walmart was asked too often.
    Limited,
    /// No answer, or none that can be used.
    Unavailable,
}

impl TokenFailureKind {
    /// As the log says it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CredentialsRefused => "credentials_refused",
            Self::EdgeRefused => "edge_refused",
            Self::TokenRefused => "token_refused",
            Self::Limited => "limited",
            Self::Unavailable => "unavailable",
        }
    }
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
