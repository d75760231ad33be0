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

    /// All calls. A correction of a tracking number is a form of the call for shipments.
    fn all() -> impl Iterator<Item = Self> {
        let calls = Operation::ALL.into_iter().filter(|operation| *operation != Operation::Tracking);
        std::iter::once(Target::Token).chain(calls.map(Target::Call))
    }

    /// Finds the call of a method and path; a trailing slash is ignored. A path that is known with another method is found
    /// too.
    pub(crate) fn of(method: &Method, path: &str) -> Option<Self> {
        let path = path.strip_suffix('/').unwrap_or(path);
        // The sandbox page has the returns of Multichannel orders under another path.
        let path = match path.strip_prefix("/v3/fulfillment/orders-fulfillments/return-orders") {
            Some(rest) => format!("/v3/fulfillment/return-orders{rest}"),
            None => path.to_owned(),
        };
        let mut found = Self::all().filter(|target| matches(target.path(), &path)).peekable();
        let first = found.peek().copied();
        found.find(|target| target.method() == *method).or(first)
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::all().find(|target| target.name() == name)
    }

    /// The names of all calls, for messages.
    pub(crate) fn names() -> String {
        Self::all().map(Self::name).collect::<Vec<_>>().join(", ")
    }

    /// Whether the call reads orders, returns or subscriptions, and so can be answered with the lies of reads.
    pub(crate) fn reads_orders(self) -> bool {
        matches!(
            self,
            Target::Call(
                Operation::Status
                    | Operation::Order
                    | Operation::Orders
                    | Operation::Returns
                    | Operation::McsReturns
                    | Operation::EventTypes
                    | Operation::Webhooks
            )
        )
    }

    /// Whether the call is about orders that the seller fulfills.
    pub(crate) fn is_of_sellers_order(self) -> bool {
        self.path().starts_with("/v3/orders")
    }

    /// Whether the call is about returns.
    pub(crate) fn is_of_returns(self) -> bool {
        self.path().starts_with("/v3/returns") || self.path().starts_with("/v3/fulfillment/return-orders")
    }

    /// Whether the call is about webhook subscriptions.
    pub(crate) fn is_of_webhooks(self) -> bool {
        self.path().starts_with("/v3/webhooks/")
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
            Target::Call(Operation::WebhookUpdate) => Method::PATCH,
            Target::Call(Operation::WebhookDelete) => Method::DELETE,
            Target::Call(_) if self.reads_orders() => Method::GET,
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
            Target::Call(Operation::Orders) => "/v3/orders",
            Target::Call(Operation::Order) => "/v3/orders/{purchaseOrderId}",
            Target::Call(Operation::Acknowledge) => "/v3/orders/{purchaseOrderId}/acknowledge",
            Target::Call(Operation::CancelLines) => "/v3/orders/{purchaseOrderId}/cancel",
            Target::Call(Operation::Ship | Operation::Tracking) => "/v3/orders/{purchaseOrderId}/shipping",
            Target::Call(Operation::Refund) => "/v3/orders/{purchaseOrderId}/refund",
            Target::Call(Operation::Returns) => "/v3/returns",
            Target::Call(Operation::ReturnRefund) => "/v3/returns/{returnOrderId}/refund",
            Target::Call(Operation::McsReturns | Operation::McsReturnCreate) => "/v3/fulfillment/return-orders",
            Target::Call(Operation::McsReturnCancel) => "/v3/fulfillment/return-orders/{returnOrderId}/cancel",
            Target::Call(Operation::EventTypes) => "/v3/webhooks/eventTypes",
            Target::Call(Operation::Webhooks | Operation::WebhookCreate) => "/v3/webhooks/subscriptions",
            Target::Call(Operation::WebhookUpdate | Operation::WebhookDelete) => {
                "/v3/webhooks/subscriptions/{subscriptionId}"
            }
            Target::Call(Operation::WebhookTest) => "/v3/webhooks/test",
        }
    }
}

/// Whether the path fits the template, in which braces stand for one segment.
fn matches(template: &str, path: &str) -> bool {
    let (mut wanted, mut segments) = (template.split('/'), path.split('/'));
    loop {
        match (wanted.next(), segments.next()) {
            (None, None) => return true,
            (Some(wanted), Some(segment)) if wanted == segment || (wanted.starts_with('{') && !segment.is_empty()) => {}
            _ => return false,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
