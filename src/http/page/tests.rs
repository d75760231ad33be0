//! What viewers are answered, by a gateway of which each part can be made to fail.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use http::header::ALLOW;
use http::{HeaderMap, Method, Request};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;
use crate::config::GrpcListen;
use crate::domain::account::AccountIndex;
use crate::domain::ledger::EntryState as Entered;
use crate::domain::operation::Operation;
use crate::domain::timestamp::Timestamp;
use crate::http::ProcessStage;
use crate::ports::overview::{CircuitView, OperationView, TokenFailure, TokenFailureKind, TokenView, UpstreamOverview};
use crate::service::{AccountDirectory, BackfillState, BoardRows, Operations, SettingsState, WebhookChecks};
use crate::telemetry::metrics::DeliveryOutcome;
use crate::testing::feed::{TestFeed, asking, feed, plain};
use crate::testing::feed_store::FaultyFeed;
use crate::testing::ledger::{Faulty, batch, creation, put};
use crate::testing::walmart::{Walmart, over};

/// When the clock begins.
const START: u64 = crate::testing::feed::START;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(START) + Duration::from_secs(seconds)
}

/// The second account is in trouble, and so is the last.
#[derive(Default)]
struct Walmarts(AtomicUsize);

impl UpstreamOverview for Walmarts {
    fn token(&self, account: AccountIndex) -> TokenView {
        self.0.fetch_add(1, Ordering::Relaxed);
        if account.0 % 200 == 1 { TokenView::Failed(at(30)) } else { TokenView::Valid(at(900)) }
    }

    fn token_failure(&self, account: AccountIndex) -> Option<TokenFailure> {
        (account.0 % 200 == 1).then(|| TokenFailure {
            time: at(0),
            kind: TokenFailureKind::EdgeRefused,
            http_status: Some(403),
            said: "Access Denied".into(),
            correlation_id: uuid::Uuid::nil(),
        })
    }

    fn operation(&self, account: AccountIndex, operation: Operation) -> OperationView {
        let broken = account.0 == 1 && operation == Operation::Create;
        let circuit = if broken { CircuitView::Open(at(10)) } else { CircuitView::Closed };
        let next_token = broken.then(|| at(3));
        OperationView { limit_per_minute: 20, tokens: if broken { 0.0 } else { 19.96 }, next_token, circuit }
    }
}

struct Stand {
    router: Router,
    status: GatewayStatus<Walmart, Faulty, FaultyFeed>,
    ledger: Faulty,
    feed: TestFeed,
    probes: HealthProbes,
    metrics: Arc<Metrics>,
    walmarts: Arc<Walmarts>,
}

fn stand(accounts: &[String]) -> Stand {
    let (ledger, feed) = (Faulty::default(), feed());
    let ids: Vec<_> = accounts.iter().map(|id| AccountId::new(id.as_str()).unwrap()).collect();
    let walmarts = Arc::new(Walmarts::default());
    let metrics = Arc::new(Metrics::new([]));
    let counts = metrics.webhooks.of("acme");
    counts.count(DeliveryOutcome::Stored);
    let probes = HealthProbes::new(vec![("store", Box::new(|| Some("the store is full".into())))]);
    let page = StatusPage {
        status: GatewayStatus {
            directory: AccountDirectory::of_ids(ids.clone()),
            overview: walmarts.clone(),
            operations: Operations::new(over(&Walmart::default(), ledger.clone(), 20)),
            feed: feed.feed.clone(),
            webhooks: WebhookChecks::default(),
            backfill: BackfillState::default(),
            clock_watch: feed.clock_watch.clone(),
            settings: SettingsState::new(at(0)),
            start_time: at(0),
        },
        probes: probes.clone(),
        metrics: metrics.clone(),
        webhooks: WebhookCounts(Arc::new(ArcSwap::from_pointee(vec![(ids[0].clone(), counts)]))),
        grpc: GrpcEndpoint { listen: GrpcListen::Tcp("0.0.0.0:50051".parse().unwrap()), tls: false, clients: true },
        clock: Clock::following(at(0)),
    };
    let status = page.status.clone();
    Stand { router: page.router(), status, ledger, feed, probes, metrics, walmarts }
}

fn two() -> Stand {
    stand(&["acme".into(), "other".into()])
}

impl Stand {
    async fn ask(&self, method: Method, path: &str) -> (StatusCode, HeaderMap, Bytes) {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = answer.into_parts();
        (head.status, head.headers, body.collect().await.unwrap().to_bytes())
    }

    /// The state now, not a second ago.
    async fn state(&self) -> Value {
        tokio::time::advance(shared::FRESH).await;
        let (status, _, body) = self.ask(Method::GET, "/status.json").await;
        assert_eq!(status, StatusCode::OK);
        serde_json::from_slice(&body).unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn all_of_it_has_this_shape() {
    let stand = two();
    stand.probes.set(ProcessStage::Ready);
    let old = Timestamp(START - 600_000);
    put(&stand.ledger, vec![creation("acme", "SO1", old)]).await;
    put(&stand.ledger, (0..2).map(|i| batch("c-1", i, 2, Entered::Recorded, old)).collect()).await;
    stand.feed.create(plain("oms")).await;
    stand.feed.post("acme", "PO-1").await;
    stand.feed.post("other", "PO-2").await;
    let (_stream, _) = stand.feed.subscribing(asking("oms", "me")).await;
    let id = uuid::Uuid::from_u128(7);
    let reason = Some("UPSTREAM_UNAVAILABLE".into());
    stand.metrics.recent.note("a.B/C", tonic::Code::Unavailable, reason, Some("acme"), Some(id));
    stand.metrics.recent.note("a.B/D", tonic::Code::Internal, None, None, None);
    insta::assert_snapshot!(serde_json::to_string_pretty(&stand.state().await).unwrap());
}

#[tokio::test(start_paused = true)]
async fn the_last_hour_has_a_value_for_each_minute() {
    let stand = two();
    let hour = &stand.metrics.last_hour;
    hour.note(None, Some(Duration::from_millis(2)));
    stand.status.note_levels(hour);
    tokio::time::advance(Duration::from_secs(60)).await;
    hour.note(Some("OUTCOME_PENDING".into()), None);
    let shown = &stand.state().await["hour"];
    assert_eq!((&shown["calls"], &shown["failures"]), (&json!([1, 1]), &json!({"OUTCOME_PENDING": [0, 1]})));
    assert_eq!((&shown["p50"], &shown["p99"]), (&json!([2.048, null]), &json!([2.048, null])));
    // The bucket of the second account is empty for creates.
    assert_eq!((&shown["levels"]["create"], &shown["levels"]["promise"]), (&json!([0.0, null]), &json!([0.998, null])));
}

/// Each section that the page links to is in the runbook.
#[test]
fn the_runbook_has_the_sections_that_the_page_names() {
    let script = include_str!("page.js");
    let named: Vec<_> =
        script.split('"').filter(|text| RUNBOOK.contains(&format!("\n## OrderGateway{text}\n"))).collect();
    for alert in [
        "StoreFailing",
        "CredentialsRefused",
        "CircuitOpen",
        "NeedsOperator",
        "UnknownOutcomes",
        "FeedLost",
        "FeedLag",
        "IntentsParked",
    ] {
        assert!(named.contains(&alert), "{alert}");
    }
}

#[tokio::test(start_paused = true)]
async fn all_answers_are_guarded_and_other_methods_refused() {
    let stand = two();
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/runbook", "text/plain; charset=utf-8"),
        ("/status.json", "application/json"),
    ] {
        let (status, headers, body) = stand.ask(Method::GET, path).await;
        assert_eq!((status, headers["content-type"].to_str().unwrap()), (StatusCode::OK, kind));
        assert!(
            !body.is_empty() && headers["content-security-policy"].to_str().unwrap().contains("default-src 'none'")
        );
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
            ("x-frame-options", "DENY"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
        ] {
            assert_eq!(headers[name], value, "{path} {name}");
        }
        let (status, head, nothing) = stand.ask(Method::HEAD, path).await;
        assert_eq!((status, nothing.len()), (StatusCode::OK, 0));
        assert_eq!(head["content-security-policy"], headers["content-security-policy"]);
        for method in [Method::POST, Method::PUT, Method::DELETE] {
            let (status, headers, _) = stand.ask(method, path).await;
            assert_eq!((status, headers[ALLOW].to_str().unwrap()), (StatusCode::METHOD_NOT_ALLOWED, "GET,HEAD"));
        }
    }
    assert_eq!(stand.ask(Method::GET, "/index.html").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn what_a_failing_store_cannot_tell_is_null_and_the_rest_stays() {
    let stand = two();
    stand.ledger.fail(true, true);
    stand.feed.store.fail(true, true);
    let state = stand.state().await;
    for part in ["operations", "feed", "intents", "subscriptions"] {
        assert_eq!(state[part], Value::Null, "{part}");
    }
    assert_eq!(state["checks"], json!([{"name": "store", "failing": "the store is full"}]));
    let account = &state["accounts"]["rows"][1];
    assert_eq!((&account["ledger"], &account["token"]["state"]), (&Value::Null, &json!("failed")));
    assert_eq!(account["operations"].as_array().unwrap().len(), Operation::ALL.len());
    stand.ledger.fail(false, false);
    stand.feed.store.fail(false, false);
    let state = stand.state().await;
    assert_eq!((&state["operations"], &state["intents"]), (&json!({"rows": [], "more": 0}), &json!([])));
}

#[tokio::test(start_paused = true)]
async fn a_hundred_viewers_cost_one_look_a_second() {
    let stand = two();
    let looks = || stand.walmarts.0.load(Ordering::Relaxed) / 2;
    let all = || async {
        let asked = (0..100).map(|_| stand.ask(Method::GET, "/status.json"));
        futures_util::future::join_all(asked).await
    };
    let answers = all().await;
    assert_eq!(looks(), 1);
    assert!(answers.iter().all(|answer| answer.2 == answers[0].2 && !answer.2.is_empty()));
    tokio::time::advance(shared::FRESH - Duration::from_millis(1)).await;
    all().await;
    assert_eq!(looks(), 1);
    tokio::time::advance(Duration::from_millis(1)).await;
    all().await;
    assert_eq!(looks(), 2);
}

/// Who leaves at once must not have the store read anew for each visit.
#[tokio::test(start_paused = true)]
async fn viewers_who_leave_do_not_make_it_look_again() {
    let stand = two();
    stand.feed.post_many(1).await;
    stand.feed.store.open(false);
    for _ in 0..10 {
        let asked = tokio::time::timeout(Duration::from_millis(1), stand.ask(Method::GET, "/status.json"));
        asked.await.unwrap_err();
    }
    assert_eq!(stand.feed.store.reads(), 1, "one look, which still waits");
    stand.feed.store.open(true);
    let (_, _, body) = stand.ask(Method::GET, "/status.json").await;
    let state: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((state["intents"].as_array().unwrap().len(), stand.feed.store.reads()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn lists_are_bounded_and_say_how_many_more_there_are() {
    let name = |number| if number == 0 { "acme".to_owned() } else { format!("a-{number}") };
    let names: Vec<String> = (0..202).map(name).collect();
    let stand = stand(&names);
    let old = Timestamp(START - 600_000);
    for number in 0..BoardRows::OPERATIONS + 5 {
        put(&stand.ledger, vec![creation("acme", &format!("SO{number}"), old)]).await;
    }
    for number in 0..=BoardRows::SUBSCRIPTIONS {
        stand.feed.create(plain(&format!("s{number:03}"))).await;
    }
    stand.feed.post_many(30).await;
    stand.feed.post("acme", &"<b>".repeat(1000)).await;
    let state = stand.state().await;
    let rows = |part: &str| state[part]["rows"].as_array().unwrap().len();
    assert_eq!((rows("accounts"), &state["accounts"]["more"]), (100, &json!(102)));
    let first = |at: usize| state["accounts"]["rows"][at]["account"].as_str().unwrap();
    assert_eq!((first(0), first(1), first(2)), ("a-1", "a-201", "acme"), "those in trouble first");
    assert_eq!((rows("operations"), &state["operations"]["more"]), (BoardRows::OPERATIONS, &json!(1)), "at least");
    assert_eq!((rows("subscriptions"), &state["subscriptions"]["more"]), (BoardRows::SUBSCRIPTIONS, &json!(true)));
    let intents = state["intents"].as_array().unwrap();
    assert_eq!((intents.len(), &intents[0]["seq"]), (BoardRows::INTENTS, &json!(31)));
    let longest = intents[0]["purchase_order_id"].as_str().unwrap();
    assert!(longest.chars().count() == 121 && longest.ends_with('…'), "{longest}");
}
