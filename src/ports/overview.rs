//! The state of the gateway's access to Walmart, for operators.

use std::time::SystemTime;

use uuid::Uuid;

use crate::domain::account::AccountIndex;
use crate::domain::operation::Operation;

/// Reads an account's state without changing it.
pub trait UpstreamOverview: Send + Sync + 'static {
    /// The state of the access token.
    fn token(&self, account: AccountIndex) -> TokenView;

    /// The failure of the last token request; `None` after a success.
    fn token_failure(&self, account: AccountIndex) -> Option<TokenFailure>;

    /// The state of the bucket and the circuit of one operation.
    fn operation(&self, account: AccountIndex, operation: Operation) -> OperationView;
}

/// State of an access token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TokenView {
    /// No token was needed yet.
    None,
    /// The token is usable until this time.
    Valid(SystemTime),
    /// The token expired at this time.
    Expired(SystemTime),
    /// The last token request failed; the next request is made at this time.
    Failed(SystemTime),
}

/// A token request without a token, or a token that Walmart rejected.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenFailure {
    /// Time of the failure.
    pub time: SystemTime,
    /// Cause of the failure.
    pub kind: TokenFailureKind,
    /// HTTP status of the answer; `None` without an answer.
    pub http_status: Option<u16>,
    /// Text of the answer, without secrets and shortened.
    pub said: String,
    /// The `WM_QOS.CORRELATION_ID` of the request.
    pub correlation_id: Uuid,
}

/// The cause of a failed token request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenFailureKind {
    /// Walmart refuses the credentials.
    CredentialsRefused,
    /// An edge in front of Walmart refused the request; the credentials were not checked.
    EdgeRefused,
    /// Walmart issues tokens for the credentials and rejects the tokens.
    TokenRefused,
    /// Walmart's rate limit was reached.
    Limited,
    /// No answer, or an unusable one.
    Unavailable,
}

impl TokenFailureKind {
    /// The name in log lines.
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
    /// Refill of the bucket in calls a minute.
    pub limit_per_minute: u32,
    /// Number of calls possible at once.
    pub tokens: f64,
    /// Time of the next possible call; `None` when a call is possible now.
    pub next_token: Option<SystemTime>,
    /// State of the circuit.
    pub circuit: CircuitView,
}

/// State of a circuit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CircuitView {
    /// Calls pass the circuit.
    Closed,
    /// Calls fail at once until this time.
    Open(SystemTime),
    /// One call is in flight as a probe.
    HalfOpen,
}
