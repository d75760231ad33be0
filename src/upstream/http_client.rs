//! The HTTP client, based on reqwest. Retries, redirects and proxies of reqwest are off, since the layers would not
//! see such requests.
//!
//! **Sent or not sent.** HTTP/1 and HTTP/2 poll the request body only after the connection is established and the
//! stream is open. A request with an unpolled body has certainly not been carried out, for example while the
//! connection hangs or the server allows no further stream. A request without a body always counts as sent. An HTTP/2
//! server also reports unprocessed streams by REFUSED_STREAM and by a GOAWAY with an earlier last stream.
//!
//! **Dead connections** are found by HTTP/2 pings, also on idle connections, and by timeouts ([`PoolManager`]).

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
use super::codec;
use super::pool::{ConnectionPool, PoolManager};
use super::transport::{HttpError, OutgoingRequest};
use super::watched_body::WatchedBody;
use crate::crash_point::{CrashPoint, reach};
use crate::domain::operation::Operation;
use crate::limits::WALMART_ANSWER_BYTES;
use crate::telemetry::log_throttle::LogThrottle;

/// Servers and load balancers close idle connections after a minute or more. The client closes first, because a
/// request sent on a connection being closed is lost, and a lost creation needs a look-up.
const POOL_IDLE: Duration = Duration::from_secs(30);
/// Short enough for three attempts within the default deadline.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("order-gateway/", env!("CARGO_PKG_VERSION")));

/// The number of parsed URLs kept. Only URLs without a query are kept; Walmart has a handful of them.
const MAX_URLS: usize = 16;

/// Timeouts after which a connection or pool is given up.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionTimes {
    /// Time between HTTP/2 pings, also on idle connections.
    pub ping_interval: Duration,
    /// Time for the answer to a ping before the connection is closed.
    pub ping_timeout: Duration,
    /// Age at which a pool is replaced.
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

/// An HTTP client with a connection pool. Cheap to clone.
#[derive(Clone)]
pub struct HttpClient(Arc<PooledClient>);

struct PooledClient {
    pools: PoolManager,
    /// A list: comparing with a few entries is faster than hashing.
    urls: RwLock<Vec<(Uri, Url)>>,
    throttle: LogThrottle,
}

impl HttpClient {
    /// Creates a client. Needs a process-wide rustls provider. Fails if TLS cannot be set up, for example on a
    /// machine without root certificates.
    pub fn new() -> Result<Self, reqwest::Error> {
        Self::with(ConnectionTimes::default(), |builder| builder)
    }

    /// Creates a client with other timeouts; `also` changes the builder of every new pool.
    pub fn with(
        times: ConnectionTimes,
        also: impl Fn(ClientBuilder) -> ClientBuilder + Send + Sync + 'static,
    ) -> Result<Self, reqwest::Error> {
        let make = move || {
            let builder = Client::builder()
                .no_proxy()
                .redirect(redirect::Policy::none())
                // `never()` turns retries off; a limit of 0 also keeps reqwest from cloning each request for a retry.
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
        Ok(Self(Arc::new(PooledClient { pools, urls: RwLock::default(), throttle: LogThrottle::default() })))
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
        // Start the request before the async block: a captured request, which is large, would stay in the future
        // until the end.
        let response = parts.translate(request, tracker.as_ref()).map(|request| pool.client.execute(request));
        let under_way = InFlightRequest { parts: parts.clone(), pool, tracker };
        Box::pin(async move {
            let mut response = response?.await.map_err(|error| {
                tell(&parts.throttle, &error);
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

/// A request in flight. If the attempt times out, the drop reports the timeout to the pool.
struct InFlightRequest {
    parts: Arc<PooledClient>,
    pool: Arc<ConnectionPool>,
    /// Present for a call with a request body.
    tracker: Option<SendTracker>,
}

impl InFlightRequest {
    /// Decides from an error whether bytes may have left. When in doubt, they have.
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
    /// Converts the request to reqwest's type. The parsed URL is taken from a list, because parsing costs a twentieth
    /// of a call's work.
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
        // Only the addresses of calls without an id are few and come back.
        let is_kept = Operation::ALL.into_iter().any(|operation| uri.path().ends_with(codec::path(operation)));
        if uri.query().is_some() || !is_kept {
            return Url::parse(&uri.to_string()).ok();
        }
        let kept = |urls: &Vec<(Uri, Url)>| {
            // Compare the paths first: the path decides, and the other parts take longer to compare.
            let known = urls.iter().find(|(known, _)| known.path() == uri.path() && *known == uri);
            known.map(|(_, url)| url.clone())
        };
        // A poisoned lock is safe to use: the list only ever grows by whole entries.
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

/// Whether the body is JSON, as in business calls; a token request has a form.
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
    if response.content_length().is_some_and(|length| length > WALMART_ANSWER_BYTES as u64) {
        return Err(bad);
    }
    // Most bodies come in a single chunk, which needs no copy.
    let Some(first) = response.chunk().await.map_err(|_| bad)? else { return Ok(Bytes::new()) };
    let Some(second) = response.chunk().await.map_err(|_| bad)? else { return Ok(first) };
    let mut body = BytesMut::from(first);
    body.extend_from_slice(&second);
    while let Some(more) = response.chunk().await.map_err(|_| bad)? {
        if body.len() + more.len() > WALMART_ANSWER_BYTES {
            return Err(bad);
        }
        body.extend_from_slice(&more);
    }
    Ok(body.freeze())
}

/// Logs the cause of a failed connection: DNS, port or certificate. Only the innermost error is logged, because outer
/// errors contain the URL, which may hold an order number.
fn tell(throttle: &LogThrottle, error: &reqwest::Error) {
    if !error.is_connect() {
        return;
    }
    throttle.note("connect", |times| {
        let host = error.url().and_then(Url::host_str);
        let mut cause: &dyn StdError = error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        tracing::warn!(host, times, "no connection to Walmart: {cause}");
    });
}

/// Whether an HTTP/2 server reported the stream as unprocessed, by REFUSED_STREAM or by a GOAWAY with an earlier last
/// stream. h2 returns the peer's GOAWAY as the error of a stream only if the stream is behind the last processed
/// stream.
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
