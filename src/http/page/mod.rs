//! The status page at `GET /`, its data as JSON at `GET /status.json`, and the runbook at `GET /runbook`.
//!
//! Anyone who reaches the listener may read the page: it has ids, counts and times, but no secrets and no personal
//! data. Names chosen by strangers (subscriptions, orders, purchase orders) are data in the JSON and text on the page,
//! never markup. The policy of the document allows its own style and script, by hash, and nothing else.
//!
//! The JSON is internal to the page, and may change with any version.

mod document;
mod shared;
mod view;

use std::sync::Arc;

use arc_swap::ArcSwap;
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
use crate::config::{AccountConfig, GrpcListen};
use crate::domain::account::AccountId;
use crate::ports::clock::Clock;
use crate::ports::ledger::Ledger;
use crate::ports::upstream::WalmartApi;
use crate::service::GatewayStatus;
use crate::service::feed::FeedStore;
use crate::telemetry::metrics::{AccountWebhooks, Metrics};

/// The policy of the JSON, in case a browser opens the JSON as a document.
const NOTHING: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
const RUNBOOK: &str = include_str!("../../../docs/RUNBOOK.md");
const SAME_ORIGIN: HeaderValue = HeaderValue::from_static("same-origin");

/// The sources of the status page.
pub(crate) struct StatusPage<U, L, F> {
    pub(crate) status: GatewayStatus<U, L, F>,
    pub(crate) probes: HealthProbes,
    pub(crate) metrics: Arc<Metrics>,
    /// Delivery counts of the accounts that receive webhooks.
    pub(crate) webhooks: WebhookCounts,
    /// The gRPC endpoint, for the command lines on the page.
    pub(crate) grpc: GrpcEndpoint,
    pub(crate) clock: Clock,
}

/// Delivery counts of the accounts that receive webhooks. Cheap to clone; all clones share the accounts.
#[derive(Clone)]
pub(crate) struct WebhookCounts(Arc<ArcSwap<Vec<(AccountId, AccountWebhooks)>>>);

impl WebhookCounts {
    /// The counts of the accounts whose settings have a webhook scheme.
    pub(crate) fn new(accounts: &[AccountConfig], metrics: &Metrics) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(Self::of(accounts, metrics))))
    }

    /// Replaces the accounts after a change of the settings.
    pub(crate) fn replace(&self, accounts: &[AccountConfig], metrics: &Metrics) {
        self.0.store(Arc::new(Self::of(accounts, metrics)));
    }

    fn of(accounts: &[AccountConfig], metrics: &Metrics) -> Vec<(AccountId, AccountWebhooks)> {
        let receiving = accounts.iter().filter(|account| account.webhook.is_some());
        receiving.map(|account| (account.id.clone(), metrics.webhooks.of(account.id.as_str()))).collect()
    }
}

/// The gRPC endpoint, for the command lines on the page.
#[derive(Clone, Debug)]
pub(crate) struct GrpcEndpoint {
    pub(crate) listen: GrpcListen,
    /// Whether the endpoint uses TLS.
    pub(crate) tls: bool,
    /// Whether callers need credentials.
    pub(crate) clients: bool,
}

impl<U: WalmartApi, L: Ledger, F: FeedStore> StatusPage<U, L, F> {
    /// The routes, to be merged with the listener's.
    pub(crate) fn router(self) -> Router {
        let document = Router::new().route("/", get(page)).with_state(Arc::new(PageDocument::new()));
        let document = document.route("/runbook", get(runbook));
        let shared = Arc::new(SharedView::new(self));
        document.merge(Router::new().route("/status.json", get(status::<U, L, F>)).with_state(shared))
    }
}

async fn page(State(document): State<Arc<PageDocument>>) -> Response {
    guarded("text/html; charset=utf-8", document.policy.clone(), document.body.clone())
}

/// The runbook of this version, as text. Links of the page name a section by a text fragment.
async fn runbook() -> Response {
    guarded("text/plain; charset=utf-8", NOTHING, Bytes::from_static(RUNBOOK.as_bytes()))
}

async fn status<U: WalmartApi, L: Ledger, F: FeedStore>(State(shared): State<Arc<SharedView<U, L, F>>>) -> Response {
    match shared.json().await {
        Some(json) => guarded("application/json", NOTHING, json),
        None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Builds a response for the same origin only, never cached, and restricted by `policy`.
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
