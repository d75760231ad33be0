//! The innermost service: builds the HTTP request of an attempt, sends the request and decodes the answer.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::future::Either;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower::Service;
use uuid::Uuid;

use super::accounts::{UpstreamAccount, UpstreamAccounts};
use super::attempt_futures::{AttemptResult, OrRefused, refused};
use super::call::{AnswerReader, AttemptRequest, AttemptResponse, SendTracker};
use super::codec::{self, AnswerError};
use super::failure::{AttemptFailure, LostAnswer, NotSent};
use super::headers::RateLimitHeaders;
use crate::domain::operation::Operation;
use crate::ports::clock::Clock;
use crate::telemetry::trace::{TraceContext, Tracer};
use crate::wire::error::{self, ErrorBody};

const ACCESS_TOKEN: HeaderName = HeaderName::from_static("wm_sec.access_token");
const CORRELATION_ID: HeaderName = HeaderName::from_static("wm_qos.correlation_id");
const SERVICE_NAME: HeaderName = HeaderName::from_static("wm_svc.name");
const SANDBOX: HeaderName = HeaderName::from_static("wm_sandbox");
const MART_ID: HeaderName = HeaderName::from_static("martid");
const CHANNEL_TYPE: HeaderName = HeaderName::from_static("wm_consumer.channel.type");
const BU_ID: HeaderName = HeaderName::from_static("buid");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A failure of the HTTP client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpError {
    /// The server has certainly not processed any part of the request.
    NotSent,
    /// The connection broke after bytes may have left.
    Interrupted,
    /// An answer with this status arrived, but the body was too large or truncated.
    BadBody(u16),
}

/// A request for the HTTP client, with the tracker of the first byte.
#[derive(Debug)]
pub struct OutgoingRequest {
    /// The HTTP request with absolute URL and all headers.
    pub request: http::Request<Bytes>,
    /// The tracker to notify; `None` for a token call.
    pub tracker: Option<SendTracker>,
}

impl From<http::Request<Bytes>> for OutgoingRequest {
    fn from(request: http::Request<Bytes>) -> Self {
        Self { request, tracker: None }
    }
}

/// A service for HTTP requests: the real client, or the emulator in tests.
pub trait HttpService:
    Service<OutgoingRequest, Response = http::Response<Bytes>, Error = HttpError, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<H> HttpService for H where
    H: Service<OutgoingRequest, Response = http::Response<Bytes>, Error = HttpError, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// Walmart's address, and the parts common to all requests.
#[derive(Clone)]
pub struct Endpoint(Arc<EndpointConfig>);

struct EndpointConfig {
    scheme: Scheme,
    authority: Authority,
    host: String,
    /// The port of the authority, or the default port of the scheme.
    port: u16,
    /// The path of the base URL, without a trailing slash.
    prefix: String,
    /// Path of returns of Multichannel orders, if the settings have another than [`codec::RETURN_ORDERS`].
    return_orders_path: Option<String>,
    /// Parsed URLs of the operations, by path. Nearly every call uses one of these.
    urls: Vec<(&'static str, Uri)>,
    service_name: HeaderValue,
    sandbox: bool,
    accounts: UpstreamAccounts,
    tracer: Tracer,
}

impl Endpoint {
    /// Creates an endpoint for `base`, an absolute http or https URL. Fails with a reason for any other URL.
    pub fn new(
        base: &Uri,
        service_name: HeaderValue,
        sandbox: bool,
        accounts: UpstreamAccounts,
        tracer: Tracer,
    ) -> Result<Self, &'static str> {
        let (Some(scheme), Some(authority)) = (base.scheme().cloned(), base.authority().cloned()) else {
            return Err("the base URL needs a scheme and a host");
        };
        let prefix = base.path().trim_end_matches('/').to_owned();
        let host = authority.host().to_owned();
        let port = authority.port_u16().unwrap_or(if scheme == Scheme::HTTP { 80 } else { 443 });
        let mut parts = EndpointConfig {
            scheme,
            authority,
            host,
            port,
            prefix,
            return_orders_path: None,
            urls: Vec::new(),
            service_name,
            sandbox,
            accounts,
            tracer,
        };
        parts.urls = parts.operations();
        Ok(Self(Arc::new(parts)))
    }

    /// Sends calls about returns of Multichannel orders to `path`. For an endpoint that is not shared yet.
    #[must_use]
    pub fn with_return_orders_path(mut self, path: &str) -> Self {
        if let Some(parts) = Arc::get_mut(&mut self.0) {
            parts.return_orders_path = (path != codec::RETURN_ORDERS).then(|| path.to_owned());
            parts.urls = parts.operations();
        }
        self
    }

    /// Host and port, for spans.
    pub fn server(&self) -> (&str, u16) {
        (&self.0.host, self.0.port)
    }

    /// The accounts of the settings.
    pub fn accounts(&self) -> &UpstreamAccounts {
        &self.0.accounts
    }

    /// The tracer for spans of attempts.
    pub fn tracer(&self) -> &Tracer {
        &self.0.tracer
    }

    /// The URL of `target`, a path with a query. Returns `None` for an invalid path, which the codecs do not build
    /// since they escape all values.
    pub fn uri(&self, target: &str) -> Option<Uri> {
        self.url(target).cloned().or_else(|| self.0.uri(target))
    }

    /// The URL of an operation's path, without a query.
    pub fn url(&self, path: &str) -> Option<&Uri> {
        self.0.urls.iter().find(|(known, _)| *known == path).map(|(_, url)| url)
    }

    /// Builds the headers common to all requests of an account; the access token is not included.
    pub fn common_headers(&self, account: &UpstreamAccount, correlation_id: Uuid, trace: &TraceContext) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(12);
        headers.insert(ACCEPT, JSON);
        headers.insert(CORRELATION_ID, uuid_value(correlation_id));
        headers.insert(SERVICE_NAME, self.0.service_name.clone());
        if let Some(channel_type) = &account.channel_type {
            headers.insert(CHANNEL_TYPE, channel_type.clone());
        }
        self.0.tracer.inject(trace, &mut headers);
        headers
    }

    fn headers(&self, outbound: &AttemptRequest, account: &UpstreamAccount) -> HeaderMap {
        let call = &outbound.call;
        let mut headers = self.common_headers(account, call.correlation_id, &outbound.trace);
        if call.method == Method::POST || call.method == Method::PATCH {
            headers.insert(CONTENT_TYPE, JSON);
            if call.body.is_empty() {
                headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
            }
        }
        if let Some(token) = &outbound.token {
            if self.0.sandbox {
                headers.insert(AUTHORIZATION, bearer(token));
            }
            headers.insert(ACCESS_TOKEN, token.clone());
        }
        if self.0.sandbox {
            headers.insert(MART_ID, account.mart_id.clone());
            headers.insert(BU_ID, account.bu_id.clone());
            headers.insert(SANDBOX, HeaderValue::from_static("v2"));
        }
        headers
    }

    fn request(&self, outbound: &AttemptRequest) -> Option<http::Request<Bytes>> {
        let account = self.0.accounts.get(outbound.call.account);
        let mut request = http::Request::new(outbound.call.body.clone());
        *request.method_mut() = outbound.call.method.clone();
        *request.uri_mut() = self.uri(&outbound.call.target)?;
        *request.headers_mut() = self.headers(outbound, &account);
        Some(request)
    }
}

impl EndpointConfig {
    fn operations(&self) -> Vec<(&'static str, Uri)> {
        let paths = Operation::ALL.into_iter().map(codec::path);
        paths.filter_map(|path| Some((path, self.uri(path)?))).collect()
    }

    fn uri(&self, target: &str) -> Option<Uri> {
        let (prefix, target) = match (&self.return_orders_path, target.strip_prefix(codec::RETURN_ORDERS)) {
            (Some(path), Some(rest)) => (format!("{}{path}", self.prefix), rest),
            _ => (self.prefix.clone(), target),
        };
        let path = if prefix.is_empty() { target.parse::<PathAndQuery>() } else { format!("{prefix}{target}").parse() };
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(path.ok()?);
        Uri::from_parts(parts).ok()
    }
}

/// Formats a UUID. Hexadecimal digits and dashes are always a valid header value.
fn uuid_value(id: Uuid) -> HeaderValue {
    let mut text = Uuid::encode_buffer();
    let text = id.hyphenated().encode_lower(&mut text);
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

fn bearer(token: &HeaderValue) -> HeaderValue {
    let mut value = Vec::with_capacity(7 + token.len());
    value.extend_from_slice(b"Bearer ");
    value.extend_from_slice(token.as_bytes());
    let mut value = HeaderValue::from_maybe_shared(Bytes::from(value)).unwrap_or(HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

/// Carries out attempts through the HTTP service `H`.
#[derive(Clone)]
pub struct HttpTransport<H> {
    http: H,
    endpoint: Endpoint,
    clock: Clock,
}

impl<H> HttpTransport<H> {
    /// Sends requests to `endpoint` through `http`.
    pub fn new(http: H, endpoint: Endpoint, clock: Clock) -> Self {
        Self { http, endpoint, clock }
    }
}

impl<H: HttpService> Service<AttemptRequest> for HttpTransport<H> {
    type Response = AttemptResponse;
    type Error = AttemptFailure;
    type Future = OrRefused<TransportFuture<H::Future>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AttemptFailure>> {
        self.http.poll_ready(cx).map_err(failed)
    }

    fn call(&mut self, outbound: AttemptRequest) -> Self::Future {
        let Some(request) = self.endpoint.request(&outbound) else { return refused(NotSent::Connect) };
        tracing::trace!(layer = "transport", attempt = outbound.attempt, "sent");
        outbound.call.context.facts.begin_attempt();
        let reader = outbound.call.reader;
        let tracker = SendTracker::new(outbound.call);
        let answer = self.http.call(OutgoingRequest { request, tracker: Some(tracker.clone()) });
        // Only `call` tells whether the client reports the first byte. With any other client bytes may have left already.
        if !tracker.is_watched() {
            tracker.left();
        }
        Either::Left(TransportFuture { answer, clock: self.clock, reader })
    }
}

pin_project! {
    /// The future of a sent request: awaits and decodes the answer.
    pub struct TransportFuture<F> {
        #[pin]
        answer: F,
        clock: Clock,
        reader: AnswerReader,
    }
}

impl<F> Future for TransportFuture<F>
where
    F: Future<Output = Result<http::Response<Bytes>, HttpError>>,
{
    type Output = AttemptResult;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<AttemptResult> {
        let this = self.project();
        let response = ready!(this.answer.poll(cx)).map_err(failed)?;
        let hint = RateLimitHeaders::read(response.headers(), this.clock);
        let status = response.status().as_u16();
        tracing::trace!(layer = "transport", status, "answered");
        Poll::Ready(read(*this.reader, status, hint, response.body()))
    }
}

fn read(reader: AnswerReader, status: u16, hint: RateLimitHeaders, body: &[u8]) -> AttemptResult {
    if !reader.is_answer(status, body) {
        return Err(AttemptFailure::Refused { status, body: error::read(body), hint });
    }
    match reader.read(status, body) {
        Ok((answer, unmapped)) => Ok(AttemptResponse { answer, status, at: Instant::now(), hint, unmapped }),
        Err(AnswerError::Failed(body)) => Err(AttemptFailure::Refused { status, body, hint }),
        Err(AnswerError::Unreadable) => Err(AttemptFailure::Unreadable { status, hint, cut: false }),
    }
}

fn failed(error: HttpError) -> AttemptFailure {
    match error {
        HttpError::NotSent => AttemptFailure::NotSent(NotSent::Connect),
        HttpError::Interrupted => AttemptFailure::Lost(LostAnswer::Interrupted),
        HttpError::BadBody(status @ 200..300) => {
            AttemptFailure::Unreadable { status, hint: RateLimitHeaders::default(), cut: true }
        }
        HttpError::BadBody(status) => {
            AttemptFailure::Refused { status, body: ErrorBody::default(), hint: RateLimitHeaders::default() }
        }
    }
}
