//! `/livez` and `/readyz`.
//!
//! The process is alive while it answers. It is ready unless starting or draining: a failed check is reported, but does
//! not make the process unready, because the check would fail on every replica at once, and reads go on without the
//! failed part.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use serde_json::{Map, Value, json};

/// The stage of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum ProcessStage {
    Starting,
    Ready,
    Draining,
}

impl ProcessStage {
    /// The name in the probes and on the page.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Draining => "draining",
        }
    }
}

/// Returns the failure of a part; `None` while the part works.
type HealthCheck = Box<dyn Fn() -> Option<String> + Send + Sync>;

/// The state behind the probes. Clones share the state.
#[derive(Clone)]
pub(crate) struct HealthProbes(Arc<ProbeState>);

struct ProbeState {
    stage: AtomicU8,
    checks: Vec<(&'static str, HealthCheck)>,
}

impl HealthProbes {
    /// Starts in [`ProcessStage::Starting`]. A check must answer from memory, without waiting.
    pub(crate) fn new(checks: Vec<(&'static str, HealthCheck)>) -> Self {
        Self(Arc::new(ProbeState { stage: AtomicU8::new(ProcessStage::Starting as u8), checks }))
    }

    /// Moves to a later stage. The process never leaves [`ProcessStage::Draining`].
    pub(crate) fn set(&self, stage: ProcessStage) {
        self.0.stage.fetch_max(stage as u8, Ordering::AcqRel);
    }

    pub(crate) fn stage(&self) -> ProcessStage {
        match self.0.stage.load(Ordering::Acquire) {
            0 => ProcessStage::Starting,
            1 => ProcessStage::Ready,
            _ => ProcessStage::Draining,
        }
    }

    /// Runs all checks, and returns their names and failures.
    pub(super) fn checks(&self) -> impl Iterator<Item = (&'static str, Option<String>)> {
        self.0.checks.iter().map(|(name, check)| (*name, check()))
    }

    /// The body of the response: the stage, the checks, and the reasons of the failed checks.
    fn report(&self, state: &str) -> Value {
        let (mut checks, mut reasons) = (Map::new(), Map::new());
        for (name, failing) in self.checks() {
            checks.insert(name.to_owned(), if failing.is_some() { "failing" } else { "ok" }.into());
            reasons.extend(failing.map(|reason| (name.to_owned(), reason.into())));
        }
        let mut report = json!({ "state": state, "checks": checks });
        if !reasons.is_empty() {
            report["reasons"] = reasons.into();
        }
        report
    }
}

impl fmt::Debug for HealthProbes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HealthProbes").field("stage", &self.stage()).finish_non_exhaustive()
    }
}

/// The routes, to be merged with the listener's.
pub(crate) fn router(probes: HealthProbes) -> Router {
    Router::new().route("/livez", get(livez)).route("/readyz", get(readyz)).with_state(probes)
}

async fn livez(State(probes): State<HealthProbes>) -> Response {
    Json(probes.report("alive")).into_response()
}

async fn readyz(State(probes): State<HealthProbes>) -> Response {
    let stage = probes.stage();
    let status = if stage == ProcessStage::Ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(probes.report(stage.name()))).into_response()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use axum::body::Body;
    use http::Request;
    use http::header::{ACCEPT, CONTENT_TYPE};
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    async fn get(router: &Router, path: &str, accept: &str) -> (StatusCode, String, String) {
        let request = Request::builder().uri(path).header(ACCEPT, accept).body(Body::empty()).unwrap();
        let answer = router.clone().oneshot(request).await.unwrap();
        let kind = answer.headers()[CONTENT_TYPE].to_str().unwrap().to_owned();
        let status = answer.status();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, kind, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn ready_only_between_starting_and_draining() {
        let store = Arc::new(AtomicBool::new(true));
        let works = store.clone();
        let probes = HealthProbes::new(vec![(
            "store",
            Box::new(move || (!works.load(Ordering::Relaxed)).then(|| "no room".into())),
        )]);
        let router = router(probes.clone());
        let ready = async || {
            let (status, kind, body) = get(&router, "/readyz", "*/*").await;
            assert_eq!(kind, "application/json");
            (status.as_u16(), body)
        };
        assert_eq!(ready().await, (503, r#"{"checks":{"store":"ok"},"state":"starting"}"#.into()));
        probes.set(ProcessStage::Ready);
        assert_eq!(ready().await, (200, r#"{"checks":{"store":"ok"},"state":"ready"}"#.into()));
        store.store(false, Ordering::Relaxed);
        assert_eq!(
            ready().await,
            (200, r#"{"checks":{"store":"failing"},"reasons":{"store":"no room"},"state":"ready"}"#.into())
        );
        probes.set(ProcessStage::Draining);
        probes.set(ProcessStage::Ready);
        assert_eq!(ready().await.0, 503);
        assert_eq!(get(&router, "/livez", "*/*").await.0, StatusCode::OK);
    }
}
