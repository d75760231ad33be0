//! A scripted Walmart in place of HTTP, and a whole stack around it, for tests.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use secrecy::SecretString;
use tokio::time::{Instant, sleep};
use tower::Service;
use uuid::Uuid;

use crate::domain::account::{AccountId, AccountIndex};
use crate::domain::ledger::evidence::LookupAnswer;
use crate::domain::mutations::{AcceptedAnswer, CancelOrder, CreateOrder};
use crate::domain::operation::Operation;
use crate::domain::reads::{FetchPromise, FindOrder, LookUp, SearchOrders};
use crate::pb;
use crate::ports::call::{CallContext, CallPurpose, CallRecord, Caller};
use crate::ports::clock::Clock;
use crate::ports::random::Random;
use crate::ports::upstream::{Reply, Upstream, UpstreamError};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::trace::{TraceContext, Tracer};
use crate::upstream::accounts::{ClientCredentials, SellerRefresh, UpstreamAccount, UpstreamAccounts};
use crate::upstream::client::RestUpstream;
use crate::upstream::layers::circuit::AccountCircuits;
use crate::upstream::layers::rate_limit::AccountBuckets;
use crate::upstream::token::TokenCache;
use crate::upstream::transport::{Endpoint, HttpError, OutgoingRequest};
use crate::upstream::{StackResources, StackSettings};

/// 2026-10-30T14:05:00Z, when every test begins.
pub(crate) const NOW: u64 = 1_793_369_100;
pub(crate) const FIRST: AccountIndex = AccountIndex(0);
pub(crate) const SECOND: AccountIndex = AccountIndex(1);

/// What Walmart does with one request.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Answer(u16, Vec<(&'static str, String)>, String),
    Fail(HttpError),
    Hang,
    After(Duration, Box<Step>),
    Panic,
}

pub(crate) fn answer(status: u16, body: impl Into<String>) -> Step {
    Step::Answer(status, Vec::new(), body.into())
}

pub(crate) fn throttled(retry_after: &str) -> Step {
    Step::Answer(429, vec![("retry-after", retry_after.into())], String::new())
}

pub(crate) fn counted(tokens_left: &str, more: Option<(&'static str, String)>) -> Step {
    let mut headers = vec![("x-current-token-count", tokens_left.to_owned())];
    headers.extend(more);
    Step::Answer(200, headers, FOUND.into())
}

pub(crate) fn slow(seconds: u64, step: Step) -> Step {
    Step::After(Duration::from_secs(seconds), Box::new(step))
}

pub(crate) const FOUND: &str = r#"{"status":"OK","payload":[]}"#;
pub(crate) const ACCEPTED: &str = r#"{"status":"ACCEPTED","payload":{"requestId":"R1"}}"#;
pub(crate) const PROMISED: &str = r#"{"status":"SUCCESS","payload":{"offers":[]}}"#;

/// A request as Walmart got it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) at: Instant,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

#[derive(Default)]
struct Script {
    calls: VecDeque<Step>,
    tokens: VecDeque<Step>,
    seen: Vec<Seen>,
}

/// Plays the steps it is given, one a request, then says yes to everything. Like any service it may be called only where
/// `poll_ready` said so on that very clone.
#[derive(Default)]
pub(crate) struct Walmart {
    script: Arc<Mutex<Script>>,
    ready: bool,
}

impl Clone for Walmart {
    fn clone(&self) -> Self {
        Self { script: self.script.clone(), ready: false }
    }
}

impl Walmart {
    /// What becomes of the next business calls.
    pub(crate) fn calls(&self, steps: impl IntoIterator<Item = Step>) {
        self.script.lock().unwrap().calls.extend(steps);
    }

    /// What becomes of the next token calls.
    pub(crate) fn tokens(&self, steps: impl IntoIterator<Item = Step>) {
        self.script.lock().unwrap().tokens.extend(steps);
    }

    /// The business calls so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.all(false)
    }

    /// The token calls so far.
    pub(crate) fn token_calls(&self) -> Vec<Seen> {
        self.all(true)
    }

    fn all(&self, tokens: bool) -> Vec<Seen> {
        let script = self.script.lock().unwrap();
        script.seen.iter().filter(|seen| (seen.path == "/v3/token") == tokens).cloned().collect()
    }
}

impl Service<OutgoingRequest> for Walmart {
    type Response = Response<Bytes>;
    type Error = HttpError;
    type Future = BoxFuture<'static, Result<Response<Bytes>, HttpError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), HttpError>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, OutgoingRequest { request, .. }: OutgoingRequest) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called without being asked whether it is ready");
        let (parts, body) = request.into_parts();
        let mut script = self.script.lock().unwrap();
        let path = parts.uri.path().to_owned();
        let seen = Seen { at: Instant::now(), path: path.clone(), headers: parts.headers, body };
        script.seen.push(seen);
        let step = if path == "/v3/token" {
            let nth = script.seen.iter().filter(|seen| seen.path == path).count();
            let token = format!(r#"{{"access_token":"token-{nth}","token_type":"Bearer","expires_in":900}}"#);
            script.tokens.pop_front().unwrap_or_else(|| answer(200, token))
        } else {
            script.calls.pop_front().unwrap_or_else(|| match path.rsplit('/').next() {
                Some("status") => answer(200, FOUND),
                Some("fetchOrderPromiseOptions") => answer(202, PROMISED),
                _ => answer(202, ACCEPTED),
            })
        };
        drop(script);
        Box::pin(play(step))
    }
}

async fn play(mut step: Step) -> Result<Response<Bytes>, HttpError> {
    loop {
        step = match step {
            Step::Answer(status, headers, body) => {
                let mut response = Response::new(Bytes::from(body));
                *response.status_mut() = status.try_into().unwrap();
                for (name, value) in headers {
                    response.headers_mut().insert(HeaderName::from_static(name), value.parse().unwrap());
                }
                return Ok(response);
            }
            Step::Fail(error) => return Err(error),
            Step::Hang => std::future::pending().await,
            Step::After(wait, then) => {
                sleep(wait).await;
                *then
            }
            Step::Panic => panic!("as the test wants it"),
        };
    }
}

/// What a test may want otherwise.
pub(crate) struct Settings {
    pub(crate) per_minute: u32,
    pub(crate) stack: StackSettings,
    pub(crate) sandbox: bool,
}

impl Default for Settings {
    fn default() -> Self {
        let attempt_timeout = Duration::from_secs(10);
        let stack = StackSettings { max_in_flight: 1000, max_attempts: 3, attempt_timeout };
        Self { per_minute: 600, stack, sandbox: false }
    }
}

/// The whole way to a scripted Walmart, for two accounts.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) walmart: Walmart,
    pub(crate) shared: StackResources<Walmart>,
    pub(crate) clock: Clock,
    pub(crate) credentials: Arc<Mutex<ClientCredentials>>,
    upstream: RestUpstream<Walmart>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Settings::default())
    }

    pub(crate) fn limited(per_minute: u32) -> Self {
        Self::with(Settings { per_minute, ..Settings::default() })
    }

    pub(crate) fn with(settings: Settings) -> Self {
        let walmart = Walmart::default();
        let clock = Clock::following(UNIX_EPOCH + Duration::from_secs(NOW));
        let random = Random::from_seed(7);
        let metrics = Arc::new(Metrics::new([]));
        let credentials = Arc::new(Mutex::new(credentials("secret-1")));
        let accounts = accounts(credentials.clone());
        let base = "https://walmart.example".parse().unwrap();
        let name = HeaderValue::from_static("Walmart Marketplace");
        let endpoint = Endpoint::new(&base, name, settings.sandbox, accounts.clone(), Tracer::off()).unwrap();
        let timeout = settings.stack.attempt_timeout;
        let tokens =
            TokenCache::new(walmart.clone(), endpoint.clone(), clock, random.clone(), metrics.clone(), timeout);
        let shared = StackResources {
            endpoint,
            buckets: AccountBuckets::new(|_| settings.per_minute),
            circuits: AccountCircuits::new(&accounts, &metrics),
            tokens,
            metrics,
        };
        let upstream = RestUpstream::new(walmart.clone(), settings.stack, shared.clone(), clock, random);
        Self { walmart, shared, clock, credentials, upstream }
    }

    pub(crate) async fn status(&self) -> Result<Reply<pb::GetOrderStatusResponse>, UpstreamError> {
        self.status_within(Duration::from_secs(10)).await
    }

    pub(crate) async fn status_within(
        &self,
        time: Duration,
    ) -> Result<Reply<pb::GetOrderStatusResponse>, UpstreamError> {
        self.status_of(FIRST, time).await
    }

    pub(crate) async fn status_of(
        &self,
        account: AccountIndex,
        time: Duration,
    ) -> Result<Reply<pb::GetOrderStatusResponse>, UpstreamError> {
        let request = pb::GetOrderStatusRequest { order_number: "N1".into(), ..Default::default() };
        Upstream::<FindOrder>::call(&self.upstream, account, &request, None, &context(time)).await
    }

    pub(crate) async fn look_up(&self) -> Result<Reply<LookupAnswer>, UpstreamError> {
        self.looked_up(context(Duration::from_secs(10))).await
    }

    pub(crate) async fn search(&self) -> Result<Reply<pb::GetOrderStatusResponse>, UpstreamError> {
        let request = pb::GetOrderStatusRequest { order_channel_id: "C1".into(), ..Default::default() };
        Upstream::<SearchOrders>::call(&self.upstream, FIRST, &request, None, &context(Duration::from_secs(10))).await
    }

    /// A look-up of the ledger.
    pub(crate) async fn look_up_within(&self, time: Duration) -> Result<Reply<LookupAnswer>, UpstreamError> {
        self.looked_up(CallContext { purpose: CallPurpose::Lookup, ..context(time) }).await
    }

    async fn looked_up(&self, context: CallContext) -> Result<Reply<LookupAnswer>, UpstreamError> {
        let request = pb::GetOrderStatusRequest { order_number: "N1".into(), ..Default::default() };
        Upstream::<LookUp>::call(&self.upstream, FIRST, &request, None, &context).await
    }

    pub(crate) async fn create(&self) -> Result<Reply<AcceptedAnswer>, UpstreamError> {
        self.create_within(Duration::from_secs(10)).await
    }

    pub(crate) async fn create_within(&self, time: Duration) -> Result<Reply<AcceptedAnswer>, UpstreamError> {
        let (request, id) = (pb::CreateOrderRequest::default(), Uuid::from_u128(1));
        Upstream::<CreateOrder>::call(&self.upstream, FIRST, &request, Some(id), &context(time)).await
    }

    pub(crate) async fn cancel(&self) -> Result<Reply<AcceptedAnswer>, UpstreamError> {
        let (request, id) = (pb::CancelOrderRequest::default(), Uuid::from_u128(1));
        let context = context(Duration::from_secs(10));
        Upstream::<CancelOrder>::call(&self.upstream, FIRST, &request, Some(id), &context).await
    }

    pub(crate) async fn promise(&self) -> Result<Reply<pb::FetchDeliveryPromiseResponse>, UpstreamError> {
        let context = context(Duration::from_secs(10));
        let request = pb::FetchDeliveryPromiseRequest::default();
        Upstream::<FetchPromise>::call(&self.upstream, FIRST, &request, None, &context).await
    }

    /// Tokens of the first account's status bucket that could be used at once.
    pub(crate) fn available(&self) -> f64 {
        self.shared.buckets.state(FIRST, Operation::Status).available
    }
}

/// Two accounts with the same credentials.
pub(crate) fn accounts(credentials: Arc<Mutex<ClientCredentials>>) -> UpstreamAccounts {
    let account = |id: &str| {
        let credentials = credentials.clone();
        let attributes =
            pb::HeaderAttributes { mart_id: Some("202".into()), bu_id: Some("0".into()), ..Default::default() };
        UpstreamAccount {
            id: AccountId::new(id).unwrap(),
            header: attributes,
            mart_id: HeaderValue::from_static("202"),
            bu_id: HeaderValue::from_static("0"),
            channel_type: (id == "other").then_some(HeaderValue::from_static("channel-7")),
            credentials: Arc::new(move || credentials.lock().unwrap().clone()),
        }
    };
    UpstreamAccounts::new(vec![account("acme"), account("other")])
}

pub(crate) fn credentials(secret: &str) -> ClientCredentials {
    let client_secret = SecretString::from(secret).into();
    ClientCredentials { client_id: "client".into(), client_secret, refresh: None }
}

pub(crate) fn refresh(token: &str, partner_id: &'static str) -> SellerRefresh {
    SellerRefresh { partner_id: HeaderValue::from_static(partner_id), token: SecretString::from(token).into() }
}

/// A call whose caller waits this long.
pub(crate) fn context(time: Duration) -> CallContext {
    CallContext {
        deadline: Instant::now() + time,
        trace: TraceContext { trace_id: 0xabc, span_id: 1, sampled: false, state: None },
        facts: CallRecord::of(Caller::anonymous()),
        purpose: CallPurpose::Caller,
    }
}

/// Lets every task that can go on do so, without time passing.
pub(crate) async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}
