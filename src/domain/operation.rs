//! The calls that Walmart offers, as data.

use std::fmt;

/// One of Walmart's calls. Each has its own bucket and circuit for every account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `fetchOrderPromiseOptions`: a read, sent as POST.
    Promise,
    /// Creates an order: must happen once.
    Create,
    /// Cancels lines of an order.
    Cancel,
    /// Reads the state of orders.
    Status,
}

impl Operation {
    /// All of them, in the order of [`Operation::index`].
    pub const ALL: [Operation; 4] = [Operation::Promise, Operation::Create, Operation::Cancel, Operation::Status];

    /// Position in [`Operation::ALL`], for tables.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Name in settings (`walmart.limits`), metrics and GetStatus.
    pub const fn name(self) -> &'static str {
        match self {
            Operation::Promise => "promise",
            Operation::Create => "create",
            Operation::Cancel => "cancel",
            Operation::Status => "status",
        }
    }

    /// Whether carrying it out twice differs from carrying it out once. Such a call is never sent again while it may
    /// have been carried out.
    pub const fn is_mutation(self) -> bool {
        matches!(self, Operation::Create | Operation::Cancel)
    }

    /// Calls a minute that Walmart allows an account by its published table.
    pub const fn published_limit(self) -> u32 {
        match self {
            Operation::Promise | Operation::Status => 20,
            Operation::Create | Operation::Cancel => 600,
        }
    }

    /// Path of the call, below the base URL.
    pub const fn path(self) -> &'static str {
        match self {
            Operation::Promise => "/v3/fulfillment/orders-fulfillments/fetchOrderPromiseOptions",
            Operation::Create => "/v3/fulfillment/orders-fulfillments",
            Operation::Cancel => "/v3/fulfillment/orders-fulfillments/cancel",
            Operation::Status => "/v3/fulfillment/orders-fulfillments/status",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
