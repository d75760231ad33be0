//! A receiver over a log that remembers, and deliveries to it.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::task::{Context, Poll};
use std::time::SystemTime;

use axum::body::Body;
use bytes::Bytes;
use http::Request;
use http::header::CONTENT_TYPE;
use http_body::Frame;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tower::ServiceExt as _;

use super::*;
use crate::config::Config;
use crate::domain::account::AccountId;
use crate::domain::feed::notification::WebhookDelivery;
use crate::domain::feed::{FeedName, FoundIntent, LogId};
use crate::domain::timestamp::Timestamp;
use crate::ports::event_log::{LogBounds, QuarantinedDelivery, RereadOutcome, StoredEvent, TrimOutcome, TrimTimes};
use crate::ports::store_error::{StoreError, StoreErrorKind};
use crate::ports::token_keys::TokenKeyBytes;
use crate::telemetry::metrics::TextFormat;

pub(super) const INTENT: &str = include_str!("../testdata/intent.json");

/// A log that remembers what it was given, and fails or waits when told to.
#[derive(Clone, Default)]
pub(super) struct Log(pub(super) Arc<Inner>);

#[derive(Default)]
pub(super) struct Inner {
    pub(super) arrivals: Mutex<Vec<WebhookDelivery>>,
    pub(super) answers: Mutex<Vec<AppendOutcome>>,
    pub(super) fails: AtomicBool,
    /// Writes wait for it while it is shut.
    pub(super) shut: AtomicBool,
    pub(super) opened: Notify,
    pub(super) handed_over: Notify,
    pub(super) token_key: OnceLock<TokenKeyBytes>,
}

impl TokenKeys for Log {
    async fn token_key(&self, fresh: TokenKeyBytes) -> Result<TokenKeyBytes, StoreError> {
        if self.0.fails.load(Ordering::SeqCst) {
            return Err(StoreError { kind: StoreErrorKind::Full, text: "canary of the store".into() });
        }
        Ok(*self.0.token_key.get_or_init(|| fresh))
    }
}

impl Log {
    pub(super) fn stored(&self) -> Vec<WebhookDelivery> {
        self.0.arrivals.lock().unwrap().clone()
    }

    pub(super) fn will_answer(&self, appended: AppendOutcome) {
        self.0.answers.lock().unwrap().push(appended);
    }

    pub(super) fn open(&self) {
        self.0.shut.store(false, Ordering::SeqCst);
        self.0.opened.notify_waiters();
    }
}

impl EventLog for Log {
    async fn append(&self, arrival: WebhookDelivery) -> Result<AppendOutcome, StoreError> {
        self.0.handed_over.notify_one();
        let opened = self.0.opened.notified();
        if self.0.shut.load(Ordering::SeqCst) {
            opened.await;
        }
        if self.0.fails.load(Ordering::SeqCst) {
            return Err(StoreError { kind: StoreErrorKind::Full, text: "canary of the store".into() });
        }
        let mut arrivals = self.0.arrivals.lock().unwrap();
        arrivals.push(arrival);
        let seq = u64::try_from(arrivals.len()).ok();
        Ok(self.0.answers.lock().unwrap().pop().unwrap_or(AppendOutcome::Stored { seq }))
    }

    fn head(&self, _: FeedName) -> watch::Receiver<u64> {
        watch::channel(0).1
    }
    async fn bounds(&self, _: FeedName) -> Result<LogBounds, StoreError> {
        Ok(LogBounds { log: LogId(1), first: 1, head: 0 })
    }
    async fn read(&self, _: FeedName, _: u64, _: usize, _: usize, _: bool) -> Result<Vec<StoredEvent>, StoreError> {
        Ok(Vec::new())
    }
    async fn pick(&self, _: FeedName, _: Vec<u64>, _: bool) -> Result<Vec<StoredEvent>, StoreError> {
        Ok(Vec::new())
    }
    async fn find(&self, _: FeedName, _: &AccountId, _: &str, _: bool) -> Result<Option<StoredEvent>, StoreError> {
        Ok(None)
    }
    async fn before(&self, _: FeedName, _: Timestamp) -> Result<u64, StoreError> {
        Ok(0)
    }
    async fn reread(&self, _: u64, _: WebhookDelivery) -> Result<RereadOutcome, StoreError> {
        Ok(RereadOutcome::Missing)
    }
    async fn quarantined(
        &self,
        _: &[AccountId],
        _: u64,
        _: usize,
        _: bool,
    ) -> Result<Vec<QuarantinedDelivery>, StoreError> {
        Ok(Vec::new())
    }
    async fn append_found(&self, _: FoundIntent) -> Result<Option<u64>, StoreError> {
        Ok(None)
    }
    async fn note_intent_lines(&self, _: usize) -> Result<bool, StoreError> {
        Ok(false)
    }
    async fn trim_log(&self, _: TrimTimes, _: usize) -> Result<TrimOutcome, StoreError> {
        Ok(TrimOutcome::default())
    }
}

pub(super) const SETTINGS: &str = r#"
[[accounts]]
id = "acme"
partner_id = "1"
client_id = "a"
client_secret = "b"
webhook = { auth = "hmac", secret = "test-secret-not-real" }

[[accounts]]
id = "tokens"
partner_id = "2"
client_id = "a"
client_secret = "b"
webhook = { auth = "oauth", client_id = "walmart", client_secret = "s3cret" }

[[accounts]]
id = "open"
partner_id = "3"
client_id = "a"
client_secret = "b"
webhook = { auth = "none" }

[[accounts]]
id = "silent"
partner_id = "4"
client_id = "a"
client_secret = "b"
"#;

pub(super) struct App {
    pub(super) log: Log,
    pub(super) router: Router,
    pub(super) metrics: Arc<Metrics>,
}

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Value,
}

impl App {
    pub(super) fn new() -> Self {
        Self::over(Log::default(), SETTINGS)
    }

    /// Over this log, as these settings have it.
    pub(super) fn over(log: Log, settings: &str) -> Self {
        Self::traced(log, settings, Tracer::off())
    }

    /// With spans.
    pub(super) fn traced(log: Log, settings: &str, tracer: Tracer) -> Self {
        let config = Config::load(settings, []).unwrap();
        let metrics = Arc::new(Metrics::new([]));
        let clock = Clock::following(SystemTime::UNIX_EPOCH + Duration::from_millis(1_760_000_000_123));
        let webhooks = WebhookReceiver::new(&config.accounts, log.clone(), clock, metrics.clone(), tracer);
        Self { log, router: webhooks.router(), metrics }
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Answer {
        let (parts, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body: serde_json::from_slice(&body).unwrap() }
    }

    pub(super) async fn post(&self, account: &str, body: impl Into<Body>) -> Answer {
        self.send(post(account, body.into())).await
    }

    /// What was counted of an account, but zeros.
    pub(super) fn counted(&self, account: &str) -> Vec<(String, u64)> {
        let text = self.metrics.encode(TextFormat::OpenMetrics).unwrap();
        let start = format!("order_gateway_webhooks_total{{account=\"{account}\",outcome=\"");
        let lines = text.lines().filter_map(|line| line.strip_prefix(&start)?.split_once("\"} "));
        let counts = lines.map(|(outcome, n)| (outcome.to_owned(), n.parse().unwrap())).filter(|(_, n)| *n > 0);
        let mut sorted: Vec<_> = counts.collect();
        sorted.sort();
        sorted
    }
}

impl App {
    /// The value of a series by its account and its outcome.
    pub(super) fn value(&self, metric: &str, account: &str, outcome: &str) -> u64 {
        let text = self.metrics.encode(TextFormat::OpenMetrics).unwrap();
        let series = format!("{metric}{{account=\"{account}\",outcome=\"{outcome}\"}} ");
        text.lines()
            .find_map(|line| line.strip_prefix(&series)?.parse().ok())
            .unwrap_or_else(|| panic!("{series}: {text}"))
    }
}

pub(super) fn post(account: &str, body: Body) -> Request<Body> {
    let request = Request::post(format!("/webhooks/walmart/{account}")).header(CONTENT_TYPE, "application/json");
    request.body(body).unwrap()
}

pub(super) fn gzip(body: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn signed(body: &str) -> Request<Body> {
    signed_bytes(body.to_owned())
}

pub(super) fn signed_bytes(body: impl Into<Bytes>) -> Request<Body> {
    let body = body.into();
    let mut request = post("acme", Body::from(body.clone()));
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"test-secret-not-real");
    let signature = crate::domain::hex::lower(ring::hmac::sign(&key, &body).as_ref());
    request.headers_mut().insert("x-walmart-auth", signature.parse().unwrap());
    request
}

pub(super) fn is_stored(answer: &Answer, duplicate: bool) {
    assert_eq!((answer.status, &answer.body), (200, &json!({"stored": true, "duplicate": duplicate})));
}

/// A body of which the rest never comes. Counts those whose beginning was read.
pub(super) struct Unending {
    first: Option<Bytes>,
    read: Arc<AtomicUsize>,
}

impl Unending {
    pub(super) fn after(first: impl Into<Bytes>, read: &Arc<AtomicUsize>) -> Body {
        Body::new(Self { first: Some(first.into()), read: read.clone() })
    }
}

impl http_body::Body for Unending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(Ok(Frame::data(first)))),
            None => {
                self.read.fetch_add(1, Ordering::SeqCst);
                Poll::Pending
            }
        }
    }
}

/// A body that comes in pieces, its length untold, and fails when more of it is asked for than is there.
pub(super) fn in_pieces(pieces: usize, size: usize) -> Body {
    let pieces = (0..pieces).map(move |_| Ok(Bytes::from(vec![b' '; size])));
    let end = std::iter::once(Err(std::io::Error::other("read too far")));
    Body::from_stream(futures_util::stream::iter(pieces.chain(end)))
}
