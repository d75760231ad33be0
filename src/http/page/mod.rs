//! The page for people at `GET /`, and what it shows as JSON at `GET /status.json`.
//!
//! Whoever reaches the listener may look: the page has ids, counts and times, and no secret and nothing of a person. What
//! strangers named (subscriptions, orders, purchase orders) is data in the JSON and text on the page, never markup. The
//! policy of the document allows its own script and style, by their hashes, and nothing else.
//!
//! The JSON is made for the page; it may change with every version.

mod document;
mod shared;
mod view;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderName, HeaderValue, StatusCode};

use self::document::PageDocument;
use self::shared::SharedView;
use super::HealthProbes;
use crate::domain::account::AccountId;
use crate::ports::clock::Clock;
use crate::ports::ledger::Ledger;
use crate::ports::upstream::WalmartApi;
use crate::service::GatewayStatus;
use crate::service::feed::FeedStore;
use crate::telemetry::metrics::{AccountWebhooks, Metrics};

/// Of the JSON, should somebody open it as a document.
const NOTHING: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
const SAME_ORIGIN: HeaderValue = HeaderValue::from_static("same-origin");

/// What the page is built of.
pub struct StatusPage<U, L, F> {
    /// Accounts, ledger and feed.
    pub status: GatewayStatus<U, L, F>,
    /// Stage and checks.
    pub probes: HealthProbes,
    /// The last failures.
    pub metrics: Arc<Metrics>,
    /// The deliveries of the accounts that receive any.
    pub webhooks: Vec<(AccountId, AccountWebhooks)>,
    /// Where to ask on.
    pub grpc: GrpcEndpoint,
    /// The time of day.
    pub clock: Clock,
}

/// How gRPC is reached, for the command lines that the page suggests.
#[derive(Clone, Copy, Debug)]
pub struct GrpcEndpoint {
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether by TLS.
    pub tls: bool,
    /// Whether callers need credentials.
    pub clients: bool,
}

impl<U: WalmartApi, L: Ledger, F: FeedStore> StatusPage<U, L, F> {
    /// The routes, to be merged with others.
    pub fn router(self) -> Router {
        let document = Router::new().route("/", get(page)).with_state(Arc::new(PageDocument::new()));
        let shared = Arc::new(SharedView::new(self));
        document.merge(Router::new().route("/status.json", get(status::<U, L, F>)).with_state(shared))
    }
}

async fn page(State(document): State<Arc<PageDocument>>) -> Response {
    guarded("text/html; charset=utf-8", document.policy.clone(), document.body.clone())
}

async fn status<U: WalmartApi, L: Ledger, F: FeedStore>(State(shared): State<Arc<SharedView<U, L, F>>>) -> Response {
    match shared.json().await {
        Some(json) => guarded("application/json", NOTHING, json),
        None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// An answer that is for its own origin, is not kept, and may do what `policy` says.
fn guarded(kind: &'static str, policy: HeaderValue, body: Bytes) -> Response {
    let value = HeaderValue::from_static;
    let headers: [(HeaderName, HeaderValue); 8] = [
        (CONTENT_TYPE, value(kind)),
        (CONTENT_SECURITY_POLICY, policy),
        (X_CONTENT_TYPE_OPTIONS, value("nosniff")),
        (REFERRER_POLICY, value("no-referrer")),
        (CACHE_CONTROL, value("no-store")),
        (X_FRAME_OPTIONS, value("DENY")),
        (HeaderName::from_static("cross-origin-resource-policy"), SAME_ORIGIN),
        (HeaderName::from_static("cross-origin-opener-policy"), SAME_ORIGIN),
    ];
    (headers, body).into_response()
}

#[cfg(test)]
mod tests;
