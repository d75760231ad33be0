//! The real client and HTTP/2 over TLS: what a connection does, and what is known of a request then.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tower::{Layer as _, ServiceExt as _};
use uuid::Uuid;

use crate::domain::mutations::{AcceptedAnswer, CreateOrder};
use crate::ports::clock::Clock;
use crate::telemetry::trace::Tracer;
use crate::testing::upstream::{ACCEPTED, FIRST, accounts, context, credentials};
use crate::upstream::call::{AttemptRequest, OutboundCall};
use crate::upstream::codec::RestRequest;
use crate::upstream::failure::{AttemptFailure, LostAnswer, NotSent};
use crate::upstream::http_client::{ConnectionTimes, HttpClient};
use crate::upstream::layers::attempt_timeout::AttemptTimeoutLayer;
use crate::upstream::transport::{Endpoint, HttpTransport};

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(400);

const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Pings and lives so long that they play no part.
const CALM: ConnectionTimes = ConnectionTimes { ping_interval: LONG, ping_timeout: LONG, longest_life: LONG };

/// A server of one address, with a client that trusts it.
struct Peer {
    client: HttpClient,
    endpoint: Endpoint,
    connections: Arc<AtomicUsize>,
}

impl Peer {
    /// Does `serve` with each connection, counted from 0.
    async fn new<F>(times: ConnectionTimes, serve: impl Fn(usize, TlsStream<TcpStream>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        // Another test may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = connections.clone();
        tokio::spawn(async move {
            loop {
                let (connection, _) = listener.accept().await.unwrap();
                let Ok(stream) = acceptor.accept(connection).await else { continue };
                tokio::spawn(serve(counter.fetch_add(1, Ordering::SeqCst), stream));
            }
        });
        let root = reqwest::Certificate::from_der(made.cert.der()).unwrap();
        let client = HttpClient::with(times, move |builder| builder.tls_certs_only([root.clone()])).unwrap();
        Self { client, endpoint: endpoint(&format!("https://localhost:{port}")), connections }
    }

    /// One attempt of a create by a caller with this deadline.
    async fn attempt(&self, limit: Duration, deadline: Duration) -> Result<String, AttemptFailure> {
        attempt(&self.client, &self.endpoint, limit, deadline).await
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn endpoint(base: &str) -> Endpoint {
    let accounts = accounts(Arc::new(Mutex::new(credentials("secret"))));
    Endpoint::new(&base.parse().unwrap(), HeaderValue::from_static("x"), false, accounts, Tracer::off()).unwrap()
}

#[test]
fn returns_of_multichannel_orders_may_have_another_path() {
    let endpoint = endpoint("https://walmart.example/base").with_return_orders_path("/v3/other/return-orders");
    for (target, path) in [
        ("/v3/fulfillment/return-orders", "/base/v3/other/return-orders"),
        ("/v3/fulfillment/return-orders?limit=1", "/base/v3/other/return-orders?limit=1"),
        ("/v3/fulfillment/return-orders/1/cancel", "/base/v3/other/return-orders/1/cancel"),
        ("/v3/returns", "/base/v3/returns"),
    ] {
        assert_eq!(endpoint.uri(target).unwrap(), *format!("https://walmart.example{path}"), "{target}");
    }
}

async fn attempt(
    client: &HttpClient,
    endpoint: &Endpoint,
    limit: Duration,
    deadline: Duration,
) -> Result<String, AttemptFailure> {
    let (method, target, body) = (http::Method::POST, "/orders".into(), Bytes::from_static(b"{\"a\":1}"));
    let request = RestRequest { method, target, body };
    let call = OutboundCall::new::<CreateOrder>(request, FIRST, Uuid::from_u128(1), context(deadline));
    let transport = HttpTransport::new(client.clone(), endpoint.clone(), Clock::system());
    let service = AttemptTimeoutLayer::new(limit).layer(transport);
    let answered = service.oneshot(AttemptRequest::new(call)).await?;
    Ok(answered.answer.downcast::<AcceptedAnswer>().unwrap().acceptance.request_id)
}

/// Answers every request until it is told to freeze; then it neither reads nor writes, and the connection stays.
async fn until_frozen(stream: TlsStream<TcpStream>, freeze: Arc<Notify>) {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    loop {
        tokio::select! {
            request = connection.accept() => {
                let Some(Ok((_, mut respond))) = request else { return };
                let mut body = respond.send_response(Response::new(()), false).unwrap();
                body.send_data(Bytes::from_static(ACCEPTED.as_bytes()), true).unwrap();
            }
            () = freeze.notified() => std::future::pending::<()>().await,
        }
    }
}

/// A peer whose first connection freezes when told to.
async fn freezing(times: ConnectionTimes) -> (Peer, Arc<Notify>) {
    let freeze = Arc::new(Notify::new());
    let first = freeze.clone();
    let peer = Peer::new(times, move |nth, stream| {
        until_frozen(stream, if nth == 0 { first.clone() } else { Arc::new(Notify::new()) })
    });
    (peer.await, freeze)
}

fn accepted(result: Result<String, AttemptFailure>) {
    assert_eq!(result.unwrap(), "R1");
}

fn not_sent(result: Result<String, AttemptFailure>, why: NotSent) {
    match result {
        Err(AttemptFailure::NotSent(not_sent)) => assert_eq!(not_sent, why),
        other => panic!("{other:?}"),
    }
}

fn lost(result: Result<String, AttemptFailure>, how: LostAnswer) {
    match result {
        Err(AttemptFailure::Lost(lost)) => assert_eq!(lost, how),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_ping_finds_a_connection_whose_peer_is_gone() {
    let times = ConnectionTimes { ping_interval: millis(100), ping_timeout: millis(200), ..CALM };
    let (peer, freeze) = freezing(times).await;
    accepted(peer.attempt(LONG, LONG).await);
    freeze.notify_one();
    sleep(millis(20)).await;
    let began = Instant::now();
    lost(peer.attempt(LONG, LONG).await, LostAnswer::Interrupted);
    assert!(began.elapsed() < LONG / 2, "{:?}", began.elapsed());
    accepted(peer.attempt(LONG, LONG).await);
    assert_eq!(peer.connections(), 2);
}

#[tokio::test]
async fn a_ping_finds_it_while_nothing_is_asked() {
    let times = ConnectionTimes { ping_interval: millis(100), ping_timeout: millis(200), ..CALM };
    let (peer, freeze) = freezing(times).await;
    accepted(peer.attempt(LONG, LONG).await);
    freeze.notify_one();
    sleep(millis(1_500)).await;
    accepted(peer.attempt(LONG, LONG).await);
    assert_eq!(peer.connections(), 2);
}

#[tokio::test]
async fn two_timeouts_in_a_row_give_the_pool_up() {
    let (peer, freeze) = freezing(CALM).await;
    accepted(peer.attempt(LONG, LONG).await);
    freeze.notify_one();
    sleep(millis(20)).await;
    lost(peer.attempt(SHORT, LONG).await, LostAnswer::TimedOut);
    lost(peer.attempt(SHORT, LONG).await, LostAnswer::TimedOut);
    let recovered = async {
        // The new pool is made beside the calls.
        while peer.attempt(SHORT, LONG).await.is_err() {}
    };
    tokio::time::timeout(LONG, recovered).await.unwrap();
    assert_eq!(peer.connections(), 2);
}

#[tokio::test]
async fn a_pool_is_replaced_at_its_age_and_calls_go_on() {
    let (peer, _freeze) = freezing(ConnectionTimes { longest_life: millis(200), ..CALM }).await;
    let replaced = async {
        while peer.connections() < 2 {
            accepted(peer.attempt(LONG, LONG).await);
            sleep(millis(20)).await;
        }
    };
    tokio::time::timeout(LONG, replaced).await.unwrap();
}

/// Frames of HTTP/2, by hand: what no library would send.
mod frames {
    pub(super) const SETTINGS: u8 = 4;
    pub(super) const HEADERS: u8 = 1;
    pub(super) const DATA: u8 = 0;
    pub(super) const ACK: u8 = 1;
    pub(super) const END_STREAM: u8 = 1;

    pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        frame
    }

    pub(super) fn goaway(last_stream: u32) -> Vec<u8> {
        let mut payload = last_stream.to_be_bytes().to_vec();
        payload.extend(0u32.to_be_bytes());
        frame(7, 0, 0, &payload)
    }

    pub(super) fn reset(reason: u32) -> Vec<u8> {
        frame(3, 0, 1, &reason.to_be_bytes())
    }

    /// At most one stream at once.
    pub(super) fn one_stream() -> Vec<u8> {
        frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 1])
    }
}

/// Begins a connection with `settings` and tells `on` the kind and flags of each frame of the client's. What that returns
/// is the last that is sent: soon after the connection ends.
async fn by_hand(mut stream: TlsStream<TcpStream>, settings: Vec<u8>, on: impl Fn(u8, u8) -> Option<Vec<u8>>) {
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await.unwrap();
    stream.write_all(&settings).await.unwrap();
    stream.flush().await.unwrap();
    let mut head = [0; 9];
    while stream.read_exact(&mut head).await.is_ok() {
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        stream.read_exact(&mut payload).await.unwrap();
        if let Some(answer) = on(head[3], head[4]) {
            stream.write_all(&answer).await.unwrap();
            stream.flush().await.unwrap();
            sleep(millis(200)).await;
            return;
        }
    }
}

/// What is known of a request whose stream the server answers with these frames, before it ends the connection.
async fn answered_with(answer: Vec<u8>) -> Result<String, AttemptFailure> {
    let peer = Peer::new(CALM, move |_, stream| {
        let answer = answer.clone();
        by_hand(stream, frames::frame(frames::SETTINGS, 0, 0, &[]), move |kind, flags| {
            // The end of the body: all of the request is there.
            (kind == frames::DATA && flags & frames::END_STREAM != 0).then(|| answer.clone())
        })
    });
    peer.await.attempt(LONG, LONG).await
}

#[tokio::test]
async fn a_stream_behind_the_last_one_of_a_goaway_was_not_begun() {
    not_sent(answered_with(frames::goaway(0)).await, NotSent::Connect);
    lost(answered_with(frames::goaway(1)).await, LostAnswer::Interrupted);
}

#[tokio::test]
async fn a_refused_stream_was_not_begun() {
    const INTERNAL_ERROR: u32 = 2;
    const REFUSED_STREAM: u32 = 7;
    const CANCEL: u32 = 8;
    not_sent(answered_with(frames::reset(REFUSED_STREAM)).await, NotSent::Connect);
    lost(answered_with(frames::reset(INTERNAL_ERROR)).await, LostAnswer::Interrupted);
    lost(answered_with(frames::reset(CANCEL)).await, LostAnswer::Interrupted);
}

#[tokio::test]
async fn a_stream_that_never_opens_was_not_sent() {
    let (known, begun) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (tell_known, tell_begun) = (known.clone(), begun.clone());
    let peer = Peer::new(CALM, move |_, stream| {
        let (known, begun) = (tell_known.clone(), tell_begun.clone());
        by_hand(stream, frames::one_stream(), move |kind, flags| {
            match (kind, flags) {
                (frames::SETTINGS, frames::ACK) => known.notify_one(),
                (frames::HEADERS, _) => begun.notify_one(),
                _ => {}
            }
            None
        })
    });
    let peer = peer.await;
    let others = async {
        known.notified().await;
        begun.notified().await;
        let whose = futures_util::future::join(peer.attempt(SHORT, LONG), peer.attempt(LONG, 2 * SHORT));
        let (whole, impatient) = whose.await;
        not_sent(whole, NotSent::Connect);
        not_sent(impatient, NotSent::Deadline);
    };
    tokio::select! {
        first = peer.attempt(LONG, LONG) => panic!("{first:?}"),
        () = others => {}
    }
}

#[tokio::test]
async fn a_connect_that_hangs_sends_nothing_whoevers_time_ends_first() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    // TCP stands, TLS never comes.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = endpoint(&format!("https://localhost:{}", listener.local_addr().unwrap().port()));
    let client = HttpClient::new().unwrap();
    not_sent(attempt(&client, &endpoint, SHORT, LONG).await, NotSent::Connect);
    not_sent(attempt(&client, &endpoint, LONG, 2 * SHORT).await, NotSent::Deadline);
}
