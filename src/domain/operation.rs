//! The calls that Walmart offers: one table, from which everything that names them all is made.
//!
//! To add a call: a row here, its type with [`Read`](super::reads::Read) or [`Mutation`](super::mutations::Mutation), its
//! codec in `upstream::exchange`, its part of the emulator, and one function at the edge. `docs/ARCHITECTURE.md` shows the
//! steps.

use std::fmt;

/// Hands the table to the macro `$make`.
///
/// A row is the name in code, the types that use the call, its name in settings (`walmart.limits`), metrics and GetStatus,
/// the RPC that callers know it by, the calls a minute that Walmart allows an account by its published table, and the path
/// below the base URL. Rows of mutations keep their places: the ledger stores the place.
macro_rules! operations {
    ($make:ident) => {
        $make! {
            reads {
                /// `fetchOrderPromiseOptions`: a read, sent as POST.
                Promise: [FetchPromise] {
                    name: "promise",
                    rpc: "FetchDeliveryPromise",
                    published_limit: 20,
                    path: "/v3/fulfillment/orders-fulfillments/fetchOrderPromiseOptions",
                }
                /// Reads the state of orders.
                Status: [SearchOrders, FindOrder, LookUp] {
                    name: "status",
                    rpc: "GetOrderStatus",
                    published_limit: 20,
                    path: "/v3/fulfillment/orders-fulfillments/status",
                }
            }
            mutations {
                /// Creates an order: must happen once.
                Create: [CreateOrder] {
                    name: "create",
                    rpc: "CreateOrder",
                    published_limit: 600,
                    path: "/v3/fulfillment/orders-fulfillments",
                }
                /// Cancels lines of an order: one request for each hundred lines.
                Cancel: [CancelOrder] {
                    name: "cancel",
                    rpc: "CancelOrder",
                    published_limit: 600,
                    path: "/v3/fulfillment/orders-fulfillments/cancel",
                }
            }
        }
    };
}
pub(crate) use operations;

struct OperationFacts {
    name: &'static str,
    rpc: &'static str,
    published_limit: u32,
    path: &'static str,
}

macro_rules! operation {
    (
        reads { $($(#[$read_doc:meta])* $read:ident: $read_types:tt $read_facts:tt)* }
        mutations { $($(#[$doc:meta])* $mutation:ident: [$type:ident] $facts:tt)* }
    ) => {
        /// One of Walmart's calls. Each has its own bucket and circuit for every account.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Operation {
            $($(#[$read_doc])* $read,)*
            $($(#[$doc])* $mutation,)*
        }

        impl Operation {
            const COUNT: usize = [$(stringify!($read),)* $(stringify!($mutation),)*].len();

            /// All of them, in the order of [`Operation::index`].
            pub const ALL: [Self; Self::COUNT] = [$(Self::$read,)* $(Self::$mutation,)*];

            const fn facts(self) -> OperationFacts {
                match self {
                    $(Self::$read => OperationFacts $read_facts,)*
                    $(Self::$mutation => OperationFacts $facts,)*
                }
            }

            /// Whether carrying it out twice differs from carrying it out once. Such a call is never sent again while it may
            /// have been carried out.
            pub const fn is_mutation(self) -> bool {
                matches!(self, $(Self::$mutation)|*)
            }

            /// Whether it makes something under the order number that it gives, which is then taken.
            pub const fn takes_order_number(self) -> bool {
                match self {
                    $(Self::$mutation => <super::mutations::$type as super::mutations::Mutation>::BY_ORDER_NUMBER,)*
                    _ => false,
                }
            }
        }
    };
}
operations!(operation);

impl Operation {
    /// Position in [`Operation::ALL`], for tables.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Name in settings (`walmart.limits`), metrics and GetStatus.
    pub const fn name(self) -> &'static str {
        self.facts().name
    }

    /// The RPC that callers know it by.
    pub const fn rpc(self) -> &'static str {
        self.facts().rpc
    }

    /// Calls a minute that Walmart allows an account by its published table.
    pub const fn published_limit(self) -> u32 {
        self.facts().published_limit
    }

    /// Path of the call, below the base URL.
    pub const fn path(self) -> &'static str {
        self.facts().path
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One of Walmart's calls as a type: what is asked, and what a readable success says.
pub trait WalmartCall: Send + Sync + 'static {
    /// Its row in the table.
    const OPERATION: Operation;
    /// What is asked.
    type Request: Send + Sync + 'static;
    /// What a readable success says.
    type Answer: Send + Sync + 'static;
}
