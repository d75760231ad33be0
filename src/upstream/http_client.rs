//! HTTP by reqwest. Its own retries, redirects and proxies are off: each would act behind the back of the layers.
//!
//! **Whether a request may have left** is known by its body: HTTP/1 and HTTP/2 ask for it only when the connection stands
//! and the stream is open. A request whose body was never asked for has not been carried out: not while the connection
//! hangs, not while the server allows no further stream. Of a request without a body the answer is always that it may.
//! An HTTP/2 server also says itself which streams it has not begun to work on, by REFUSED_STREAM and by a GOAWAY that
//! names an earlier last stream.
//!
//! **A connection whose peer is gone** is found by HTTP/2 pings, also when it is idle, and by timeouts ([`PoolManager`]).

use std::error::Error as StdError;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Uri};
use reqwest::{Client, ClientBuilder, Response, redirect, retry};
use tower::Service;
use url::Url;

use super::call::SendTracker;
use super::pool::{ConnectionPool, PoolManager};
use super::transport::{HttpError, OutgoingRequest};
use super::watched_body::WatchedBody;
use crate::crash_point::{CrashPoint, reach};
use crate::telemetry::complaints::Complaints;

/// Larger answers are refused without being read whole.
pub const MAX_BODY: usize = 8 * 1024 * 1024;
/// Shorter than the minute or more after which servers and load balancers close idle connections: a request on a
/// connection that is just being closed is lost, and for a create that means a look-up.
const POOL_IDLE: Duration = Duration::from_secs(30);
/// So short that three attempts fit into the default deadline.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("order-gateway/", env!("CARGO_PKG_VERSION")));

/// URLs that are kept parsed: those without a query, of which Walmart has a handful.
const MAX_URLS: usize = 16;

/// When connections are given up.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionTimes {
    /// Time between HTTP/2 pings, also on idle connections.
    pub ping_interval: Duration,
    /// A ping that is not answered by then ends the connection.
    pub ping_timeout: Duration,
    /// A pool of this age is replaced.
    pub longest_life: Duration,
}

impl Default for ConnectionTimes {
    fn default() -> Self {
        Self {
            ping_interval: Duration::from_secs(10),
            ping_timeout: Duration::from_secs(5),
            longest_life: Duration::from_secs(5 * 60),
        }
    }
}

/// A client with its pool of connections. Cheap to clone.
#[derive(Clone)]
pub struct HttpClient(Arc<PooledClient>);

struct PooledClient {
    pools: PoolManager,
    /// Few: to compare with each is quicker than to hash.
    urls: RwLock<Vec<(Uri, Url)>>,
    complaints: Complaints,
}

impl HttpClient {
    /// Needs a process-wide rustls provider. Errors if TLS cannot be set up, such as when the machine has no certificates.
    pub fn new() -> Result<Self, reqwest::Error> {
        Self::with(ConnectionTimes::default(), |builder| builder)
    }

    /// The same with other times, and with what else is to be set on each pool that is made.
    pub fn with(
        times: ConnectionTimes,
        also: impl Fn(ClientBuilder) -> ClientBuilder + Send + Sync + 'static,
    ) -> Result<Self, reqwest::Error> {
        let make = move || {
            let builder = Client::builder()
                .no_proxy()
                .redirect(redirect::Policy::none())
                // By the first it may not; by the second it does not keep a copy of each request for it either.
                .retry(retry::never().max_retries_per_request(0))
                .referer(false)
                .connect_timeout(CONNECT_TIMEOUT)
                .pool_idle_timeout(POOL_IDLE)
                .http2_keep_alive_interval(times.ping_interval)
                .http2_keep_alive_timeout(times.ping_timeout)
                .http2_keep_alive_while_idle(true)
                .tcp_keepalive(Duration::from_secs(15))
                .tcp_nodelay(true)
                .user_agent(USER_AGENT);
            also(builder).build()
        };
        let pools = PoolManager::new(make, times.longest_life)?;
        Ok(Self(Arc::new(PooledClient { pools, urls: RwLock::default(), complaints: Complaints::default() })))
    }
}

impl Service<OutgoingRequest> for HttpClient {
    type Response = http::Response<Bytes>;
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<http::Response<Bytes>, HttpError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), HttpError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, OutgoingRequest { request, tracker }: OutgoingRequest) -> Self::Future {
        let parts = self.0.clone();
        let order_call = is_json(request.body());
        let tracker = tracker.filter(|_| !request.body().is_empty());
        if let Some(tracker) = &tracker {
            tracker.watch();
        }
        let pool = parts.pools.current();
        // Here already: the request, which is large, would stand in the future to its end.
        let response = parts.translate(request, tracker.as_ref()).map(|request| pool.client.execute(request));
        let under_way = InFlightRequest { parts: parts.clone(), pool, tracker };
        Box::pin(async move {
            let mut response = response?.await.map_err(|error| {
                tell(&parts.complaints, &error);
                under_way.phase(&error)
            })?;
            under_way.pool.answered();
            if order_call {
                reach(CrashPoint::L5);
            }
            let status = response.status();
            let headers = std::mem::take(response.headers_mut());
            let body = bounded_body(&mut response).await?;
            let mut answer = http::Response::new(body);
            *answer.status_mut() = status;
            *answer.headers_mut() = headers;
            Ok(answer)
        })
    }
}

/// A request under way. Dropped because its time is over, it counts against its pool.
struct InFlightRequest {
    parts: Arc<PooledClient>,
    pool: Arc<ConnectionPool>,
    /// Of a request with a body, made for a call.
    tracker: Option<SendTracker>,
}

impl InFlightRequest {
    /// Whether bytes may have left. In doubt they have.
    fn phase(&self, error: &reqwest::Error) -> HttpError {
        let never_left = self.tracker.as_ref().is_some_and(|tracker| !tracker.has_left());
        if never_left || error.is_connect() || error.is_builder() || was_not_begun(error) {
            HttpError::NotSent
        } else {
            HttpError::Interrupted
        }
    }
}

impl Drop for InFlightRequest {
    fn drop(&mut self) {
        if self.tracker.as_ref().is_some_and(SendTracker::timed_out) {
            self.parts.pools.timed_out(&self.pool);
        }
    }
}

impl PooledClient {
    /// The same request as reqwest has it. Parsing its URL again would be a twentieth of a call's work.
    fn translate(
        &self,
        request: http::Request<Bytes>,
        tracker: Option<&SendTracker>,
    ) -> Result<reqwest::Request, HttpError> {
        let (parts, body) = request.into_parts();
        let url = self.url(parts.uri).ok_or(HttpError::NotSent)?;
        let mut translated = reqwest::Request::new(parts.method, url);
        *translated.headers_mut() = parts.headers;
        if !body.is_empty() {
            *translated.body_mut() = Some(match tracker {
                Some(tracker) => reqwest::Body::wrap(WatchedBody::new(outgoing(body), tracker.clone())),
                None => body.into(),
            });
        }
        Ok(translated)
    }

    fn url(&self, uri: Uri) -> Option<Url> {
        if uri.query().is_some() {
            return Url::parse(&uri.to_string()).ok();
        }
        let kept = |urls: &Vec<(Uri, Url)>| {
            // The path tells them apart; the rest takes longer to compare.
            let known = urls.iter().find(|(known, _)| known.path() == uri.path() && *known == uri);
            known.map(|(_, url)| url.clone())
        };
        // Changed by whole entries only.
        if let Some(url) = kept(&self.urls.read().unwrap_or_else(PoisonError::into_inner)) {
            return Some(url);
        }
        let url = Url::parse(&uri.to_string()).ok()?;
        let mut urls = self.urls.write().unwrap_or_else(PoisonError::into_inner);
        if urls.len() < MAX_URLS && kept(&urls).is_none() {
            urls.push((uri, url.clone()));
        }
        Some(url)
    }
}

/// What is sent to Walmart's business calls, unlike the form of a token request.
fn is_json(body: &[u8]) -> bool {
    body.first() == Some(&b'{')
}

#[cfg(not(feature = "crash-points"))]
fn outgoing(body: Bytes) -> http_body_util::Full<Bytes> {
    body.into()
}

#[cfg(feature = "crash-points")]
fn outgoing(body: Bytes) -> super::split_body::SplitBody {
    super::split_body::SplitBody::new(body)
}

async fn bounded_body(response: &mut Response) -> Result<Bytes, HttpError> {
    let bad = HttpError::BadBody(response.status().as_u16());
    if response.content_length().is_some_and(|length| length > MAX_BODY as u64) {
        return Err(bad);
    }
    // Most answers come in one piece, which needs no copy.
    let Some(first) = response.chunk().await.map_err(|_| bad)? else { return Ok(Bytes::new()) };
    let Some(second) = response.chunk().await.map_err(|_| bad)? else { return Ok(first) };
    let mut body = BytesMut::from(first);
    body.extend_from_slice(&second);
    while let Some(more) = response.chunk().await.map_err(|_| bad)? {
        if body.len() + more.len() > MAX_BODY {
            return Err(bad);
        }
        body.extend_from_slice(&more);
    }
    Ok(body.freeze())
}

/// Says why there is no connection: a name, a port, a certificate. The outer errors hold the URL, which may hold the number
/// of an order; the innermost one says what is wrong.
fn tell(complaints: &Complaints, error: &reqwest::Error) {
    if !error.is_connect() {
        return;
    }
    complaints.note("connect", |times| {
        let host = error.url().and_then(Url::host_str);
        let mut cause: &dyn StdError = error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        tracing::warn!(host, times, "no connection to Walmart: {cause}");
    });
}

/// HTTP/2 servers say when they have not begun to work on a stream, and will not: by refusing it, or by going away with an
/// earlier one as their last. h2 ends a stream with the peer's GOAWAY only where it is behind the last one.
fn was_not_begun(error: &reqwest::Error) -> bool {
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(h2) = inner.downcast_ref::<h2::Error>() {
            return h2.is_remote() && (h2.is_go_away() || h2.reason() == Some(h2::Reason::REFUSED_STREAM));
        }
        source = inner.source();
    }
    false
}
