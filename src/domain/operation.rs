//! The table of Walmart's calls. Every list of calls in this crate is generated from the table.
//!
//! To add a call, write a row in this file, a type with [`Read`](super::reads::ReadCall) or
//! [`Mutation`](super::mutations::Mutation), a codec in `upstream::codec`, a part of the emulator, and one function
//! at the edge. `CONTRIBUTING.md` has the recipe.

use std::fmt;

/// Hands the table to the macro `$make`.
///
/// A row has the name in code, the types of the call, the name in settings (`walmart.limits`), metrics and GetStatus,
/// the RPC for callers, and the calls a minute that Walmart's published table allows an account, which are the default
/// of the setting. Rows of `reads` may be sent again at any time: reads, and changes that are the same however often they
/// are made. Rows of mutations keep their positions, because the ledger stores the position.
macro_rules! operations {
    ($make:ident) => {
        $make! {
            reads {
                /// `fetchOrderPromiseOptions`: a read, sent as POST.
                Promise: [FetchPromise] {
                    name: "promise",
                    rpc: "FetchDeliveryPromise",
                    published_limit: 20,
                }
                /// Reads the state of orders.
                Status: [SearchOrders, FindOrder, LookUp] {
                    name: "status",
                    rpc: "GetOrderStatus",
                    published_limit: 20,
                }
                /// Lists orders of the seller's own fulfillment.
                Orders: [ListSellerOrders] {
                    name: "orders",
                    rpc: "ListOrders",
                    published_limit: 5000,
                }
                /// Reads one order of the seller's own fulfillment.
                Order: [GetSellerOrder, LookUpSellerOrder] {
                    name: "order",
                    rpc: "GetOrder",
                    published_limit: 5000,
                }
                /// Acknowledges an order; the same however often it is done.
                Acknowledge: [AcknowledgeOrder] {
                    name: "acknowledge",
                    rpc: "AcknowledgeOrder",
                    published_limit: 60,
                }
                /// Lists returns of marketplace orders.
                Returns: [ListMarketplaceReturns, LookUpReturn] {
                    name: "returns",
                    rpc: "ListReturns",
                    published_limit: 50,
                }
                /// Lists returns of Multichannel orders.
                McsReturns: [ListMcsReturnOrders, LookUpMcsReturns] {
                    name: "mcs_returns",
                    rpc: "ListMcsReturns",
                    published_limit: 60,
                }
                /// Lists the kinds of events that Walmart can post.
                EventTypes: [ListEventTypes] {
                    name: "event_types",
                    rpc: "ListEventTypes",
                    published_limit: 5,
                }
                /// Lists webhook subscriptions.
                Webhooks: [ListWebhookSubscriptions, LookUpWebhookSubscriptions] {
                    name: "webhooks",
                    rpc: "ListWebhookSubscriptions",
                    published_limit: 50,
                }
                /// Changes a webhook subscription; the same however often it is done.
                WebhookUpdate: [UpdateWebhookSubscription] {
                    name: "webhook_update",
                    rpc: "UpdateWebhookSubscription",
                    published_limit: 5,
                }
                /// Deletes a webhook subscription; the same however often it is done.
                WebhookDelete: [DeleteWebhookSubscription] {
                    name: "webhook_delete",
                    rpc: "DeleteWebhookSubscription",
                    published_limit: 10,
                }
                /// Has Walmart post a sample event; sent once, see [`Operation::is_sent_once`].
                WebhookTest: [TestWebhookSubscription] {
                    name: "webhook_test",
                    rpc: "TestWebhookSubscription",
                    published_limit: 10,
                }
                /// Corrects a tracking number; the same however often it is done.
                Tracking: [CorrectTracking] {
                    name: "tracking",
                    rpc: "ShipOrderLines with process_mode PARTIAL_UPDATE",
                    published_limit: 60,
                }
            }
            mutations {
                /// Creates an order; must happen exactly once.
                Create: [CreateOrder] {
                    name: "create",
                    rpc: "CreateOrder",
                    published_limit: 600,
                }
                /// Cancels lines of an order, with one request for every hundred lines.
                Cancel: [CancelOrder] {
                    name: "cancel",
                    rpc: "CancelOrder",
                    published_limit: 600,
                }
                /// Cancels lines of an order of the seller's own fulfillment, with one request for every hundred lines.
                CancelLines: [CancelOrderLines] {
                    name: "cancel_lines",
                    rpc: "CancelOrderLines",
                    published_limit: 60,
                }
                /// Tells of shipped units, which charges the customer; must happen exactly once.
                Ship: [ShipOrderLines] {
                    name: "ship",
                    rpc: "ShipOrderLines",
                    published_limit: 60,
                }
                /// Refunds lines; money that cannot be taken back.
                Refund: [RefundOrderLines] {
                    name: "refund",
                    rpc: "RefundOrderLines",
                    published_limit: 60,
                }
                /// Refunds units of a return; money that cannot be taken back.
                ReturnRefund: [RefundReturn] {
                    name: "return_refund",
                    rpc: "RefundReturn",
                    published_limit: 60,
                }
                /// Opens a return of a Multichannel order; must happen exactly once.
                McsReturnCreate: [CreateMcsReturn] {
                    name: "mcs_return_create",
                    rpc: "CreateMcsReturn",
                    published_limit: 60,
                }
                /// Takes a return of a Multichannel order back.
                McsReturnCancel: [CancelMcsReturn] {
                    name: "mcs_return_cancel",
                    rpc: "CancelMcsReturn",
                    published_limit: 60,
                }
                /// Makes webhook subscriptions; two of one kind mean every event twice.
                WebhookCreate: [CreateWebhookSubscription] {
                    name: "webhook_create",
                    rpc: "CreateWebhookSubscription",
                    published_limit: 200,
                }
            }
        }
    };
}
pub(crate) use operations;

macro_rules! operation {
    (
        reads { $($(#[$read_doc:meta])* $read:ident: $read_types:tt
            { name: $read_name:literal, rpc: $read_rpc:literal, published_limit: $read_limit:literal, }
        )* }
        mutations { $($(#[$doc:meta])* $mutation:ident: [$type:ident]
            { name: $name:literal, rpc: $rpc:literal, published_limit: $limit:literal, }
        )* }
    ) => {
        /// One of Walmart's calls. Every account has a bucket and a circuit for every operation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Operation {
            $($(#[$read_doc])* $read,)*
            $($(#[$doc])* $mutation,)*
        }

        impl Operation {
            const COUNT: usize = [$(stringify!($read),)* $(stringify!($mutation),)*].len();

            /// All operations, in the order of [`Operation::index`].
            pub const ALL: [Self; Self::COUNT] = [$(Self::$read,)* $(Self::$mutation,)*];

            /// The name in settings (`walmart.limits`), metrics and GetStatus.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$read => $read_name,)*
                    $(Self::$mutation => $name,)*
                }
            }

            /// Calls a minute that Walmart's published table allows an account.
            pub(crate) const fn published_limit(self) -> u32 {
                match self {
                    $(Self::$read => $read_limit,)*
                    $(Self::$mutation => $limit,)*
                }
            }

            /// Whether carrying out the call twice differs from carrying out the call once. A mutation is never resent
            /// while an earlier attempt may have been carried out.
            pub const fn is_mutation(self) -> bool {
                matches!(self, $(Self::$mutation)|*)
            }
        }
    };
}
operations!(operation);

impl Operation {
    /// Whether the upstream stack sends the call at most once where an attempt may have been carried out: every mutation,
    /// and a sample event, which a receiver would take for two events.
    pub(crate) const fn is_sent_once(self) -> bool {
        self.is_mutation() || matches!(self, Self::WebhookTest)
    }

    /// Position in [`Operation::ALL`], used as a table index.
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One of Walmart's calls as a type, with the types of the request and of a readable success.
pub trait WalmartCall: Send + Sync + 'static {
    /// The row of the call in the table.
    const OPERATION: Operation;
    /// The request of the call.
    type Request: Send + Sync + 'static;
    /// A readable success of the call.
    type Answer: Send + Sync + 'static;
}
