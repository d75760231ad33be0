//! Caches the access token of each account. Concurrent callers share a single refresh; refreshes start before expiry,
//! and pause after a failure.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method};
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;
use uuid::Uuid;

use super::accounts::{ClientCredentials, SellerRefresh};
use super::failure::{AttemptFailure, NotSent};
use super::headers::RateLimitHeaders;
use super::token_failure::{FailedTokenCall, is_edge_page, words};
use super::transport::{Endpoint, HttpError, HttpService};
use crate::crash_point::{CrashPoint, reach};
use crate::domain::account::AccountIndex;
use crate::domain::account_table::AccountTable;
use crate::ports::clock::Clock;
use crate::ports::overview::{TokenFailure, TokenFailureKind, TokenView};
use crate::ports::random::Random;
use crate::single_flight::{SingleFlight, Waiter};
use crate::telemetry::metrics::{AttemptOutcome, Metrics, TokenOutcome};
use crate::telemetry::semconv;
use crate::telemetry::trace::{BackgroundSpan, ClientRequest, ClientSpan, TraceContext, Tracer};
use crate::wire::lenient;

const PARTNER_ID: HeaderName = HeaderName::from_static("wm_partner.id");
const PATH: &str = "/v3/token";
/// Walmart's published lifetime in seconds, used if the answer gives none.
const USUAL_LIFE: f64 = 900.0;
/// A token is renewed at a random point between this part and [`LATEST_RENEWAL`] of the lifetime.
const EARLIEST_RENEWAL: f64 = 0.75;
const LATEST_RENEWAL: f64 = 0.85;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The access tokens of all accounts. Cheap to clone.
#[derive(Clone)]
pub struct TokenCache<H>(Arc<TokenClient<H>>);

struct TokenClient<H> {
    http: H,
    endpoint: Endpoint,
    clock: Clock,
    random: Random,
    metrics: Arc<Metrics>,
    timeout: Duration,
    states: AccountTable<Mutex<TokenState>>,
    /// The refreshes in flight, by account.
    refreshes: SingleFlight<Result<HeaderValue, NotSent>>,
}

#[derive(Default)]
struct TokenState {
    token: Option<AccessToken>,
    /// Set after a failure: no refresh starts until the pause ends.
    paused: Option<RefreshPause>,
    /// The length of the last pause. Cleared when Walmart accepts a token, or a token lasts until renewal.
    last_pause: Option<Duration>,
    /// The failure of the last refresh. Cleared by a success.
    failure: Option<TokenFailure>,
}

struct RefreshPause {
    until: Instant,
    why: TokenFault,
    /// The refused credentials. Changed credentials end the pause.
    refused: Option<ClientCredentials>,
}

/// The kind of a failed refresh.
#[derive(Clone, Copy, Debug, PartialEq)]
enum TokenFault {
    /// No answer, or an unusable answer.
    Unavailable,
    /// Walmart refuses the credentials, or the tokens issued for them.
    Refused,
    /// Walmart throttles the token call.
    Limited(Duration),
}

impl TokenFault {
    /// Converts the fault for the caller; `wait` is the time until the next try.
    fn told(self, wait: Duration) -> NotSent {
        match self {
            TokenFault::Unavailable => NotSent::TokenUnavailable(wait),
            TokenFault::Refused => NotSent::CredentialsRefused(wait),
            TokenFault::Limited(_) => NotSent::TokenLimited(wait),
        }
    }
}

type Refresh = Waiter<Result<HeaderValue, NotSent>>;

#[derive(Clone)]
struct AccessToken {
    value: HeaderValue,
    renew_at: Instant,
    expires_at: Instant,
}

impl<H: HttpService> TokenCache<H> {
    /// Creates a cache which fetches tokens from `endpoint` through `http`, waiting at most `timeout` for an answer.
    pub fn new(
        http: H,
        endpoint: Endpoint,
        clock: Clock,
        random: Random,
        metrics: Arc<Metrics>,
        timeout: Duration,
    ) -> Self {
        let states = AccountTable::default();
        let after_panic = Err(NotSent::TokenUnavailable(FIRST_PAUSE));
        let refreshes = SingleFlight::new(TaskTracker::new(), after_panic);
        Self(Arc::new(TokenClient { http, endpoint, clock, random, metrics, timeout, states, refreshes }))
    }

    /// Returns the cached token if usable at `now`. Starts a refresh in the background if the token is due for
    /// renewal.
    pub fn kept(&self, account: AccountIndex, now: Instant) -> Option<HeaderValue> {
        self.kept_in(&self.lock(account), account, now)
    }

    fn kept_in(&self, state: &TokenState, account: AccountIndex, now: Instant) -> Option<HeaderValue> {
        let token = state.token.as_ref().filter(|token| now < token.expires_at)?;
        let (value, fresh) = (token.value.clone(), now < token.renew_at);
        if !fresh {
            // Nobody waits: the old token is still valid, and a failure is harmless. The refresh goes on in a task.
            drop(self.refresh(state, account, now));
        }
        Some(value)
    }

    /// The tracer for spans of waits.
    pub(crate) fn tracer(&self) -> &Tracer {
        self.0.endpoint.tracer()
    }

    /// Returns a usable token. Waits for a refresh only if no token is usable.
    pub async fn get(&self, account: AccountIndex) -> Result<HeaderValue, NotSent> {
        let refresh = {
            let state = self.lock(account);
            let now = Instant::now();
            match self.kept_in(&state, account, now) {
                Some(token) => return Ok(token),
                None => self.refresh(&state, account, now)?,
            }
        };
        refresh.wait().await
    }

    /// Drops the rejected token `refused` and returns another.
    pub async fn replace(&self, account: AccountIndex, refused: &HeaderValue) -> Result<HeaderValue, NotSent> {
        {
            let mut state = self.lock(account);
            if state.token.as_ref().is_some_and(|token| token.value == *refused) {
                state.token = None;
            }
        }
        self.get(account).await
    }

    /// Records a token as accepted by Walmart, which ends the back-off.
    pub fn accepted(&self, account: AccountIndex) {
        self.lock(account).last_pause = None;
    }

    /// Records the rejection of a fresh replacement token, and pauses refreshes: asking again at once would not help.
    /// `call` is the correlation id of the rejected call.
    pub fn refused_again(&self, account: AccountIndex, refused: &HeaderValue, call: Uuid, failure: &AttemptFailure) {
        let mut state = self.lock(account);
        if state.token.as_ref().is_some_and(|token| token.value == *refused) {
            state.token = None;
            let code = match failure {
                AttemptFailure::Refused { body, .. } => body.errors.first().map(|error| error.code.clone()),
                _ => None,
            };
            let kind = TokenFailureKind::TokenRefused;
            // Log the code only: the texts may contain a customer's data.
            let said = code.unwrap_or_default();
            let failed = FailedTokenCall { kind, http_status: failure.status(), said, correlation_id: call };
            self.pause(&mut state, account, TokenFault::Refused, failed, None);
        }
    }

    /// The failure of the last refresh.
    pub fn failure(&self, account: AccountIndex) -> Option<TokenFailure> {
        self.lock(account).failure.clone()
    }

    /// The token's state for the overview.
    pub fn view(&self, account: AccountIndex) -> TokenView {
        let state = self.lock(account);
        let now = Instant::now();
        match (&state.token, &state.paused) {
            (Some(token), _) if now < token.expires_at => TokenView::Valid(self.0.clock.at(token.expires_at)),
            (_, Some(pause)) => TokenView::Failed(self.0.clock.at(pause.until)),
            (Some(token), None) => TokenView::Expired(self.0.clock.at(token.expires_at)),
            (None, None) => TokenView::None,
        }
    }

    fn lock(&self, account: AccountIndex) -> std::sync::MutexGuard<'_, TokenState> {
        // A poisoned lock is safe to use: no state is left half changed.
        self.0.states.row(account, Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins the refresh in flight, or starts a new refresh.
    fn refresh(&self, state: &TokenState, account: AccountIndex, now: Instant) -> Result<Refresh, NotSent> {
        let key = account.0.to_be_bytes();
        if let Some(running) = self.0.refreshes.join_existing(&key) {
            return Ok(running);
        }
        if let Some(pause) = &state.paused
            && now < pause.until
            && !pause.refused.as_ref().is_some_and(|refused| *refused != self.credentials(account))
        {
            return Err(pause.why.told(pause.until - now));
        }
        let tokens = self.clone();
        let tracer = self.0.endpoint.tracer();
        Ok(self.0.refreshes.join(&key, (), || {
            // A trace of its own: a token serves many calls and belongs to no caller's trace.
            let mut whole = tracer.background_span("token refresh");
            whole.set(semconv::ACCOUNT, || self.0.endpoint.accounts().get(account).id.to_string().into());
            whole.context().ids().scope(async move { tokens.fetch_and_keep(account, whole).await })
        }))
    }

    async fn fetch_and_keep(&self, account: AccountIndex, mut whole: BackgroundSpan) -> Result<HeaderValue, NotSent> {
        let credentials = self.credentials(account);
        let fetched = self.fetch(account, &credentials, whole.context()).await;
        if fetched.is_err() {
            whole.failed("no_token");
        }
        drop(whole);
        let now = Instant::now();
        let mut state = self.lock(account);
        match fetched {
            Ok((value, life)) => {
                self.0.metrics.upstream.token_refresh(TokenOutcome::Success);
                self.0.metrics.upstream.token_came(&self.0.endpoint.accounts().get(account).id, now);
                let share = EARLIEST_RENEWAL + (LATEST_RENEWAL - EARLIEST_RENEWAL) * self.0.random.fraction();
                // The old token lasted until renewal, so earlier failures are over.
                if state.token.is_some() {
                    state.last_pause = None;
                }
                let token =
                    AccessToken { value: value.clone(), renew_at: now + life.mul_f64(share), expires_at: now + life };
                state.token = Some(token);
                state.paused = None;
                state.failure = None;
                Ok(value)
            }
            Err((fault, failed)) => {
                let refused = fault == TokenFault::Refused;
                let outcome = if refused { TokenOutcome::Refused } else { TokenOutcome::Failed };
                self.0.metrics.upstream.token_refresh(outcome);
                Err(self.pause(&mut state, account, fault, failed, refused.then_some(credentials)))
            }
        }
    }

    fn credentials(&self, account: AccountIndex) -> ClientCredentials {
        (self.0.endpoint.accounts().get(account).credentials)()
    }

    /// Delays the next refresh: twice the last pause, or as long as Walmart says.
    fn pause(
        &self,
        state: &mut TokenState,
        account: AccountIndex,
        why: TokenFault,
        failed: FailedTokenCall,
        refused: Option<ClientCredentials>,
    ) -> NotSent {
        let pause = match why {
            TokenFault::Limited(wait) => wait.max(FIRST_PAUSE),
            TokenFault::Unavailable | TokenFault::Refused => {
                let pause = state.last_pause.map_or(FIRST_PAUSE, |last| (last * 2).min(LONGEST_PAUSE));
                state.last_pause = Some(pause);
                pause
            }
        };
        state.paused = Some(RefreshPause { until: Instant::now() + pause, why, refused });
        let account = &self.0.endpoint.accounts().get(account).id;
        let FailedTokenCall { kind, http_status, said, correlation_id } = failed;
        let pause_s = pause.as_secs_f64();
        let why_text = match kind {
            TokenFailureKind::EdgeRefused => {
                "an edge answered instead of Walmart; the edge may block this machine's address, and the credentials may be \
                 valid"
            }
            TokenFailureKind::CredentialsRefused => "Walmart refuses the credentials of this account",
            TokenFailureKind::TokenRefused => "Walmart rejects the tokens issued for this account",
            TokenFailureKind::Limited => "the token call is rate limited",
            TokenFailureKind::Unavailable => "no answer, or an unusable answer",
        };
        let name = kind.name();
        tracing::warn!(
            %account, reason = name, http_status, said, %correlation_id, pause_s, "no usable access token from Walmart: {why_text}"
        );
        state.failure = Some(TokenFailure { time: self.0.clock.now(), kind, http_status, said, correlation_id });
        why.told(pause)
    }

    async fn fetch(
        &self,
        account: AccountIndex,
        credentials: &ClientCredentials,
        trace: &TraceContext,
    ) -> Result<(HeaderValue, Duration), (TokenFault, FailedTokenCall)> {
        let parts = &self.0;
        let (correlation_id, url) = (self.0.random.uuid(), parts.endpoint.uri(PATH));
        let (server_address, server_port) = parts.endpoint.server();
        let request = ClientRequest {
            method: "POST",
            template: PATH,
            server_address,
            server_port,
            url: url.as_ref(),
            correlation_id,
            resend_count: 0,
        };
        let span = parts.endpoint.tracer().client_span(trace, &request);
        let failed = |kind, http_status, said| FailedTokenCall { kind, http_status, said, correlation_id };
        let Some(request) = self.request(account, credentials, correlation_id, &span) else {
            let said = "the credentials contain characters not allowed in a header".to_owned();
            return Err((TokenFault::Unavailable, failed(TokenFailureKind::Unavailable, None, said)));
        };
        let began = Instant::now();
        let answer = timeout(parts.timeout, parts.http.clone().oneshot(request.into())).await;
        reach(CrashPoint::L9);
        let (outcome, status) = match &answer {
            Err(_) => (AttemptOutcome::TimedOut, None),
            Ok(Err(HttpError::NotSent)) => (AttemptOutcome::NotSent, None),
            Ok(Err(HttpError::Interrupted)) => (AttemptOutcome::Interrupted, None),
            Ok(Err(HttpError::BadBody(status))) => (AttemptOutcome::Unreadable, Some(*status)),
            Ok(Ok(response)) => (outcome(response.status().as_u16()), Some(response.status().as_u16())),
        };
        parts.metrics.upstream.attempt(None, "POST", outcome, status, began.elapsed(), span.context());
        span.end(status, outcome.failure());
        match answer {
            Ok(Ok(response)) => read(&response, &parts.clock).map_err(|fault| {
                let body = response.body();
                let kind = match fault {
                    TokenFault::Refused if is_edge_page(body) => TokenFailureKind::EdgeRefused,
                    TokenFault::Refused => TokenFailureKind::CredentialsRefused,
                    TokenFault::Limited(_) => TokenFailureKind::Limited,
                    TokenFault::Unavailable => TokenFailureKind::Unavailable,
                };
                // Leave out the body of a success: the body contains a token, or a part of a token.
                let said = if response.status().is_success() { String::new() } else { words(body, credentials) };
                (fault, failed(kind, status, said))
            }),
            _ => {
                Err((TokenFault::Unavailable, failed(TokenFailureKind::Unavailable, status, outcome.name().to_owned())))
            }
        }
    }

    fn request(
        &self,
        account: AccountIndex,
        credentials: &ClientCredentials,
        correlation_id: Uuid,
        span: &ClientSpan,
    ) -> Option<http::Request<Bytes>> {
        let pair = format!("{}:{}", credentials.client_id, credentials.client_secret.expose_secret());
        let mut basic = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair))).ok()?;
        basic.set_sensitive(true);
        let account = self.0.endpoint.accounts().get(account);
        let mut headers = self.0.endpoint.common_headers(&account, correlation_id, span.context());
        headers.insert(AUTHORIZATION, basic);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        let form = match &credentials.refresh {
            None => Bytes::from_static(b"grant_type=client_credentials"),
            Some(SellerRefresh { partner_id, token }) => {
                headers.insert(PARTNER_ID, partner_id.clone());
                let mut form = url::form_urlencoded::Serializer::new(String::new());
                form.append_pair("grant_type", "refresh_token").append_pair("refresh_token", token.expose_secret());
                form.finish().into()
            }
        };
        let mut request = http::Request::new(form);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.0.endpoint.uri(PATH)?;
        *request.headers_mut() = headers;
        Some(request)
    }
}

fn outcome(status: u16) -> AttemptOutcome {
    match status {
        200..300 => AttemptOutcome::Success,
        401 | 403 => AttemptOutcome::Unauthorized,
        429 => AttemptOutcome::RateLimited,
        500.. => AttemptOutcome::ServerError,
        _ => AttemptOutcome::Rejected,
    }
}

/// Walmart answers dead credentials with 400 in production, and with 401 or 403 elsewhere.
fn read(response: &http::Response<Bytes>, clock: &Clock) -> Result<(HeaderValue, Duration), TokenFault> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct TokenAnswer {
        #[serde(deserialize_with = "lenient::text")]
        access_token: String,
        #[serde(deserialize_with = "lenient::optional_number")]
        expires_in: Option<f64>,
    }
    match response.status().as_u16() {
        200..300 => {}
        400 | 401 | 403 => return Err(TokenFault::Refused),
        429 => {
            let wait = RateLimitHeaders::read(response.headers(), clock).wait();
            return Err(TokenFault::Limited(wait.unwrap_or(LONGEST_PAUSE)));
        }
        _ => return Err(TokenFault::Unavailable),
    }
    let answer: TokenAnswer = serde_json::from_slice(response.body()).map_err(|_| TokenFault::Unavailable)?;
    let mut value = HeaderValue::from_str(&answer.access_token).map_err(|_| TokenFault::Unavailable)?;
    if value.is_empty() {
        return Err(TokenFault::Unavailable);
    }
    value.set_sensitive(true);
    // An implausible lifetime is ignored. If the token expires earlier, a 401 triggers a replay.
    let life = answer.expires_in.filter(|life| (1.0..=86_400.0).contains(life)).unwrap_or(USUAL_LIFE);
    Ok((value, Duration::from_secs_f64(life)))
}
