//! The span and the measurement of each request to the webhook paths, as the semantic conventions for HTTP have them.
//!
//! Outcomes of deliveries are counted elsewhere ([`super::refusal`]): HTTP does not tell them apart.

use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{Method, StatusCode, Uri};
use tokio::time::Instant;

use crate::ports::clock::Clock;
use crate::telemetry::metrics::{HttpLabels, Metrics, OTHER_METHOD};
use crate::telemetry::trace::{HttpExchange, PostSpan, Tracer};

/// The webhook paths, with names in place of values.
const ROUTES: [&str; 3] = ["/webhooks/walmart/{account}", "/webhooks/walmart/{account}/token", "/webhooks/{*rest}"];

/// Observes requests. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct RequestObserver(Arc<ObserverParts>);

#[derive(Debug)]
struct ObserverParts {
    tracer: Tracer,
    metrics: Arc<Metrics>,
    clock: Clock,
}

impl RequestObserver {
    pub(super) fn new(tracer: Tracer, metrics: Arc<Metrics>, clock: Clock) -> Self {
        Self(Arc::new(ObserverParts { tracer, metrics, clock }))
    }
}

/// Observes one request.
pub(super) async fn observe(
    State(RequestObserver(parts)): State<RequestObserver>,
    path: MatchedPath,
    request: Request,
    next: Next,
) -> Response {
    let span = parts.tracer.post_span(request.headers());
    let ids = span.context().ids();
    let started = parts.clock.now();
    let method = method(request.method());
    let (route, uri) = (route(path.as_str()), request.uri().clone());
    let began = Instant::now();
    let mut open = OpenRequest { parts, span: Some(span), began, started, method, route, uri, status: None };
    let answer = ids.scope(next.run(request)).await;
    open.status = Some(answer.status());
    answer
}

/// A request that is being answered. Dropping ends it; without a status when the sender has left.
struct OpenRequest {
    parts: Arc<ObserverParts>,
    span: Option<PostSpan>,
    began: Instant,
    started: SystemTime,
    method: &'static str,
    route: &'static str,
    uri: Uri,
    status: Option<StatusCode>,
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        let Some(span) = self.span.take() else { return };
        let (method, route, status, started) = (self.method, self.route, self.status, self.started);
        let labels = HttpLabels { method, route, status: status.map(|status| status.as_u16()) };
        self.parts.metrics.http_server.observe(&labels, self.began.elapsed(), span.context());
        let exchange = HttpExchange { method, route, path: self.uri.path(), status, started };
        self.parts.tracer.end_post(span, &exchange);
    }
}

/// The method as a label: strangers cannot make further ones.
fn method(method: &Method) -> &'static str {
    let known = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    known.into_iter().find(|known| method.as_str() == *known).unwrap_or(OTHER_METHOD)
}

/// The path as a label.
fn route(matched: &str) -> &'static str {
    let matched = matched.trim_end_matches('/');
    ROUTES.into_iter().find(|route| *route == matched).unwrap_or(ROUTES[2])
}
