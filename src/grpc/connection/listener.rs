//! Serves gRPC over an accept loop of our own, on hyper's HTTP/2.
//!
//! Not tonic's `Server`, because that has no jitter in the connection age, races our deadlines with a timeout of its own
//! that answers CANCELLED, waits for ever for open streams, and does not bound what it buffers for a slow one.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::server::TlsStream;
use tower::Service;

use super::frame_guard::FrameGuard;
use super::open_calls::{CHECK_INTERVAL, CountCalls, OpenCalls};
use super::poll_clock::PollClock;
use super::preface_read::PrefaceRead;
use super::request_bytes::{self, RequestBytesLimit};
use crate::accept::{AcceptOutcome, Acceptor};
use crate::grpc::tls::{PeerNames, ReloadableTls};
use crate::quota::Quota;
use crate::shutdown::Shutdown;
use crate::telemetry::metrics::{CutReason, GaugeGuard, Metrics};

/// Streams that one connection may have open.
const MAX_STREAMS: u32 = 256;
/// Bytes of one request's headers; h2 allows 16 MiB. Bounds floods of CONTINUATION frames too.
const MAX_HEADER_LIST: u32 = 16 * 1024;
/// Streams reset by the peer that wait to be accepted: more is a rapid reset attack (CVE-2023-44487).
const MAX_PENDING_RESETS: usize = 20;
/// Streams that we reset for the peer's errors (RUSTSEC-2024-0003).
const MAX_ERROR_RESETS: usize = 1024;
/// Bytes buffered for one stream whose reader is slow; hyper allows 400 KB.
const MAX_SEND_BUFFER: usize = 64 * 1024;
/// Bytes a peer may send ahead on one stream and on the connection.
const WINDOWS: (u32, u32) = (256 * 1024, 1024 * 1024);
/// Connections without life are pinged, then closed.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));
/// For the TLS handshake, and again for the first words of HTTP/2.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// For the first call of a connection. Whoever means to call does; the others take places.
const FIRST_CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// A connection without calls for so long, at most twice as long, is told to go. Clients come back by themselves.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// For the peer's part of a goodbye, once no calls are in flight.
const GOAWAY_TIMEOUT: Duration = Duration::from_millis(500);

/// How connections are treated.
#[derive(Clone)]
pub struct ConnectionSettings {
    /// Open ones at a time; one address gets at most half of those that others left.
    pub max: usize,
    /// Age at which a connection says goodbye, so that clients spread anew; calls in flight finish.
    pub max_age: Duration,
    /// Gives a value from 0 to 1 for each connection, to spread the age by 10 % either way.
    pub jitter: Arc<dyn Fn() -> f64 + Send + Sync>,
    /// Encrypts; `None` for plain text.
    pub tls: Option<ReloadableTls>,
}

impl ConnectionSettings {
    fn age(&self) -> Duration {
        self.max_age.mul_f64(0.9 + 0.2 * (self.jitter)().clamp(0.0, 1.0))
    }
}

/// Accepts and serves until `shutdown` stops. Returns at once then; open connections are tasks of `shutdown`.
pub async fn serve<S, B>(
    listener: TcpListener,
    service: S,
    connections: ConnectionSettings,
    shutdown: Shutdown,
    metrics: Arc<Metrics>,
) where
    S: Service<Request<RequestBytesLimit<Incoming>>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes, Error = tonic::Status> + Send + 'static,
{
    let mut acceptor = Acceptor::new(listener, connections.max);
    let room = Quota::new(request_bytes::MAX_UNFINISHED);
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.stopping().cancelled() => return,
            accepted = acceptor.next() => accepted,
        };
        let AcceptOutcome::Connection(stream, place) = accepted else {
            metrics.connections_refused.inc();
            continue;
        };
        let open = GaugeGuard::new(&metrics.connections);
        let (service, connections) = (service.clone(), connections.clone());
        let context = ConnectionContext {
            age: connections.age(),
            stop: shutdown.clone(),
            room: room.clone(),
            metrics: metrics.clone(),
        };
        shutdown.tasks().spawn(async move {
            let _held = (place, open);
            // Boxed, as the stages of its life are: what a future takes as an argument lies in it twice, most connections
            // are idle, and there may be thousands.
            Box::pin(connection(stream, service, connections.tls, context)).await;
        });
    }
}

/// What a connection shares with the others, and when it ends.
struct ConnectionContext {
    age: Duration,
    stop: Shutdown,
    room: Quota,
    metrics: Arc<Metrics>,
}

async fn connection<S, B>(stream: TcpStream, service: S, tls: Option<ReloadableTls>, context: ConnectionContext)
where
    S: Service<Request<RequestBytesLimit<Incoming>>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes, Error = tonic::Status> + Send + 'static,
{
    match tls {
        None => {
            let opening = Box::pin(preface_read(stream, &context));
            if let Some(opened) = opening.await {
                Box::pin(requests(opened, service, context)).await;
            }
        }
        Some(tls) => {
            let handshake = Box::pin(handshake_done(stream, tls, &context));
            let Some((stream, peer)) = handshake.await else { return };
            let opening = Box::pin(preface_read(stream, &context));
            if let Some(opened) = opening.await {
                Box::pin(requests(opened, WithPeerNames { inner: service, peer }, context)).await;
            }
        }
    }
}

/// The connection encrypted, in limited time.
async fn handshake_done(
    stream: TcpStream,
    tls: ReloadableTls,
    context: &ConnectionContext,
) -> Option<(TlsStream<TcpStream>, PeerNames)> {
    let accepting = timeout(HANDSHAKE_TIMEOUT, tls.accept(stream));
    let handshake = context.stop.stopping().run_until_cancelled(accepting).await?;
    if !matches!(handshake, Ok(Ok(_))) {
        context.metrics.tls_failures.inc();
    }
    handshake.ok()?.ok()
}

/// The connection once its peer has said the first words, in limited time. Before, there are no calls that could be lost.
async fn preface_read<I: AsyncRead + Unpin>(
    stream: I,
    context: &ConnectionContext,
) -> Option<PrefaceRead<FrameGuard<I>>> {
    let guard = FrameGuard::new(stream, &context.metrics.peers);
    let opening = timeout(HANDSHAKE_TIMEOUT, PrefaceRead::new(guard));
    context.stop.stopping().run_until_cancelled(opening).await?.ok()?.ok()
}

async fn requests<I, S, B>(io: I, service: S, context: ConnectionContext)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<RequestBytesLimit<Incoming>>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes, Error = tonic::Status> + Send + 'static,
{
    let clock = PollClock::new();
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(clock.clone())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_LIST)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_ERROR_RESETS)
        .max_send_buf_size(MAX_SEND_BUFFER)
        .initial_stream_window_size(WINDOWS.0)
        .initial_connection_window_size(WINDOWS.1)
        .keep_alive_interval(KEEP_ALIVE.0)
        .keep_alive_timeout(KEEP_ALIVE.1)
        // No gRPC client asks for it.
        .auto_date_header(false);
    let calls = OpenCalls::default();
    let service = TowerToHyperService::new(CountCalls::new(service, calls.clone(), context.room));
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(io), service));
    let (stopping, aborted) = (context.stop.stopping(), context.stop.aborted());
    let cut = |reason| {
        context.metrics.peers.cut(reason).inc();
    };
    let mut lifetime = poll_when_woken(async {
        tokio::select! {
            () = peer_stopped_reading(&calls) => Some(CutReason::Unread),
            () = idle(&calls) => Some(CutReason::Idle),
            () = sleep(context.age) => None,
            () = stopping.cancelled() => None,
        }
    });
    let ended = tokio::select! {
        () = clock.drive(connection.as_mut()) => return,
        ended = lifetime.next() => ended.flatten(),
    };
    if let Some(reason) = ended {
        cut(reason);
        // It does not read a goodbye either.
        if reason == CutReason::Unread {
            return;
        }
    }
    connection.as_mut().graceful_shutdown();
    let mut drain = poll_when_woken(async {
        let goaway = async {
            calls.ended().await;
            // A peer that is there confirms the goodbye at once; one that is not must not hold up the end.
            sleep(GOAWAY_TIMEOUT).await;
        };
        tokio::select! {
            () = peer_stopped_reading(&calls) => cut(CutReason::Unread),
            () = goaway => {}
            () = aborted.cancelled() => {}
        }
    });
    tokio::select! {
        () = clock.drive(connection) => {}
        _ = drain.next() => {}
    }
}

/// Polls a future only when that one was woken. What it runs beside is woken several times for each call, and timers are
/// not cheap to poll.
fn poll_when_woken<F: Future>(future: F) -> FuturesUnordered<F> {
    FuturesUnordered::from_iter([future])
}

/// Ends when the peer does not read its answers.
async fn peer_stopped_reading(calls: &OpenCalls) {
    loop {
        sleep(CHECK_INTERVAL).await;
        if calls.check_unread() {
            return;
        }
    }
}

/// Ends when there were no calls for long.
async fn idle(calls: &OpenCalls) {
    sleep(FIRST_CALL_TIMEOUT).await;
    let mut begun = 0;
    while calls.begun() > begun || !calls.is_empty() {
        begun = calls.begun();
        sleep(IDLE_TIMEOUT).await;
    }
}

/// Puts the names of the peer's certificate into every request.
#[derive(Clone)]
struct WithPeerNames<S> {
    inner: S,
    peer: PeerNames,
}

impl<S: Service<Request<RequestBytesLimit<Incoming>>>> Service<Request<RequestBytesLimit<Incoming>>>
    for WithPeerNames<S>
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<RequestBytesLimit<Incoming>>) -> S::Future {
        request.extensions_mut().insert(self.peer.clone());
        self.inner.call(request)
    }
}

#[cfg(test)]
#[path = "listener_tests.rs"]
mod tests;
