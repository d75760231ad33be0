//! The calls of the emulated API, by path.

use std::fmt;

use http::Method;

use crate::domain::operation::Operation;

/// A call that the emulator answers as Walmart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    /// `POST /v3/token`
    Token,
    /// A call of the fulfillment API.
    Call(Operation),
}

impl Target {
    pub(crate) const CREATE: Target = Target::Call(Operation::Create);

    const ALL: [Target; 5] = [
        Target::Token,
        Target::Call(Operation::Promise),
        Target::Call(Operation::Create),
        Target::Call(Operation::Cancel),
        Target::Call(Operation::Status),
    ];

    /// Finds the call of a path; a trailing slash is ignored.
    pub(crate) fn of_path(path: &str) -> Option<Self> {
        let path = path.strip_suffix('/').unwrap_or(path);
        Self::ALL.into_iter().find(|target| target.path() == path)
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|target| target.name() == name)
    }

    /// The name in fault rules and in `GET requests`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Target::Token => "token",
            Target::Call(operation) => operation.name(),
        }
    }

    pub(crate) fn method(self) -> Method {
        match self {
            Target::Call(Operation::Status) => Method::GET,
            _ => Method::POST,
        }
    }

    fn path(self) -> &'static str {
        match self {
            Target::Token => "/v3/token",
            Target::Call(Operation::Promise) => "/v3/fulfillment/orders-fulfillments/fetchOrderPromiseOptions",
            Target::Call(Operation::Status) => "/v3/fulfillment/orders-fulfillments/status",
            Target::Call(Operation::Create) => "/v3/fulfillment/orders-fulfillments",
            Target::Call(Operation::Cancel) => "/v3/fulfillment/orders-fulfillments/cancel",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
