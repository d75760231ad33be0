//! Serves gRPC over an accept loop of our own, on hyper's HTTP/2.
//!
//! tonic's `Server` does not fit: its connection age has no jitter, its own timeout races our deadlines and answers
//! CANCELLED, it waits without a limit for open streams, and it does not bound the send buffer of a slow stream.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{sleep, timeout};
use tokio_rustls::server::TlsStream;
use tower::Service;

use super::frame_guard::{FrameFlood, FrameGuard};
use super::lingering::Lingering;
use super::open_calls::{CHECK_INTERVAL, CountCalls, OpenCalls};
use super::poll_clock::PollClock;
use super::preface_read::PrefaceRead;
use super::request_bytes::RequestBytesLimit;
use super::stream_tasks::StreamExecutor;
use crate::accept::{AcceptOutcome, Acceptor, ListenSocket, PeerStream};
use crate::grpc::tls::{PeerNames, ReloadableTls};
use crate::limits::{STREAMS_PER_CONNECTION, UNFINISHED_REQUEST_BYTES};
use crate::quota::Quota;
use crate::shutdown::Shutdown;
use crate::telemetry::log_throttle::LogThrottle;
use crate::telemetry::metrics::{CutReason, GaugeGuard, Metrics};

/// Bytes of a request's headers; h2 allows 16 MiB. Bounds floods of CONTINUATION frames too.
const MAX_HEADER_LIST: u32 = 16 * 1024;
/// Streams reset by the peer before they were accepted: more is a rapid reset attack (CVE-2023-44487).
const MAX_PENDING_RESETS: usize = 20;
/// Streams that we reset for the peer's errors (RUSTSEC-2024-0003).
const MAX_ERROR_RESETS: usize = 1024;
/// Bytes buffered for one stream whose reader is slow; hyper allows 400 KB.
const MAX_SEND_BUFFER: usize = 64 * 1024;
/// Flow-control windows, in bytes: of one stream, and of the connection.
const WINDOWS: (u32, u32) = (256 * 1024, 1024 * 1024);
/// Interval of keep-alive PINGs, and the time for the acknowledgement before the connection is closed.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));
/// Time for the TLS handshake, and again for the HTTP/2 preface.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for the first call of a connection: a connection without calls holds a place in vain.
const FIRST_CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Time without calls after which a connection is closed with GOAWAY; the check may take twice as long. Clients
/// reconnect by themselves.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// Time for the peer to acknowledge GOAWAY, once no calls are in flight.
const GOAWAY_TIMEOUT: Duration = Duration::from_millis(500);

/// Bounds and encryption of the listener's connections.
#[derive(Clone)]
pub(crate) struct ConnectionSettings {
    /// Open connections; one address gets at most half of the places that the rest have left.
    pub(crate) max: usize,
    /// Age at which a connection is closed with GOAWAY, for clients to spread anew; calls in flight finish.
    pub(crate) max_age: Duration,
    /// Returns a value from 0 to 1 per connection, which spreads the age by 10 % either way.
    pub(crate) jitter: Arc<dyn Fn() -> f64 + Send + Sync>,
    /// TLS of the listener; `None` for plain text.
    pub(crate) tls: Option<ReloadableTls>,
}

impl ConnectionSettings {
    fn age(&self) -> Duration {
        self.max_age.mul_f64(0.9 + 0.2 * (self.jitter)().clamp(0.0, 1.0))
    }
}

/// Accepts and serves connections until `shutdown` stops, then returns at once. Open connections are tasks of
/// `shutdown`.
pub(crate) async fn serve<S, B>(
    listener: ListenSocket,
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
    let room = Quota::new(UNFINISHED_REQUEST_BYTES);
    let throttle = Arc::<LogThrottle>::default();
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
            throttle: throttle.clone(),
        };
        shutdown.tasks().spawn(async move {
            let _held = (place, open);
            // Boxed, as the stages below are: an argument of an async fn lies in the future twice, most connections are
            // idle, and thousands of connections may be open.
            Box::pin(connection(stream, service, connections.tls, context)).await;
        });
    }
}

/// Parts shared with all connections, and the age at which this connection ends.
struct ConnectionContext {
    age: Duration,
    stop: Shutdown,
    room: Quota,
    metrics: Arc<Metrics>,
    throttle: Arc<LogThrottle>,
}

async fn connection<S, B>(stream: PeerStream, service: S, tls: Option<ReloadableTls>, context: ConnectionContext)
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
            if let Some((opened, flood)) = opening.await {
                Box::pin(requests(opened, flood, service, context)).await;
            }
        }
        Some(tls) => {
            let handshake = Box::pin(handshake_done(stream, tls, &context));
            let Some((stream, peer)) = handshake.await else { return };
            let opening = Box::pin(preface_read(stream, &context));
            if let Some((opened, flood)) = opening.await {
                Box::pin(requests(opened, flood, WithPeerNames { inner: service, peer }, context)).await;
            }
        }
    }
}

/// Returns the connection after the TLS handshake. Returns `None` when the handshake fails or times out, or when the
/// process stops. A peer that has sent nothing has not failed: load balancers connect to see whether the port is open.
async fn handshake_done(
    stream: PeerStream,
    tls: ReloadableTls,
    context: &ConnectionContext,
) -> Option<(TlsStream<PeerStream>, PeerNames)> {
    let mut has_spoken = false;
    let accepting = timeout(HANDSHAKE_TIMEOUT, async {
        has_spoken = stream.speaks().await;
        if has_spoken { tls.accept(stream).await.ok() } else { None }
    });
    let accepted = context.stop.stopping().run_until_cancelled(accepting).await?.ok().flatten();
    if has_spoken && accepted.is_none() {
        context.metrics.tls_failures.inc();
    }
    accepted
}

/// Returns the connection after the HTTP/2 preface was read. Returns `None` on anything else, after the timeout, or
/// when the process stops: before the preface no call can be lost.
async fn preface_read<I: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: I,
    context: &ConnectionContext,
) -> Option<(PrefaceRead<FrameGuard<Lingering<I>>>, FrameFlood)> {
    let flood = FrameFlood::default();
    let stream = Lingering::new(stream, context.stop.tasks().clone());
    let opening = timeout(HANDSHAKE_TIMEOUT, PrefaceRead::new(FrameGuard::new(stream, flood.clone())));
    Some((context.stop.stopping().run_until_cancelled(opening).await?.ok()?.ok()?, flood))
}

async fn requests<I, S, B>(io: I, flood: FrameFlood, service: S, context: ConnectionContext)
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
    let calls = OpenCalls::default();
    let mut builder = http2::Builder::new(StreamExecutor(calls.clone()));
    builder
        .timer(clock.clone())
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .max_header_list_size(MAX_HEADER_LIST)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_ERROR_RESETS)
        .max_send_buf_size(MAX_SEND_BUFFER)
        .initial_stream_window_size(WINDOWS.0)
        .initial_connection_window_size(WINDOWS.1)
        .keep_alive_interval(KEEP_ALIVE.0)
        .keep_alive_timeout(KEEP_ALIVE.1)
        // gRPC clients do not use the date header.
        .auto_date_header(false);
    let service = TowerToHyperService::new(CountCalls::new(service, calls.clone(), context.room.clone()));
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(io), service));
    let (stopping, aborted) = (context.stop.stopping(), context.stop.aborted());
    let mut lifetime = poll_when_woken(async {
        tokio::select! {
            () = flood.came() => Some(CutReason::Flood),
            () = end_unread(&calls, &context) => None,
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
        context.metrics.peers.cut(reason).inc();
    }
    connection.as_mut().graceful_shutdown();
    if ended == Some(CutReason::Flood) {
        context.throttle.note("flood", |times| {
            tracing::warn!(times, "a gRPC connection is closed: its peer sends too many frames that are no calls");
        });
        // Long enough to write GOAWAY. Calls of such a peer are not waited for.
        let _ = timeout(GOAWAY_TIMEOUT, clock.drive(connection)).await;
        return;
    }
    let mut drain = poll_when_woken(async {
        let goaway = async {
            calls.ended().await;
            // hyper has sent GOAWAY. A peer that is alive acknowledges at once; a dead peer must not hold up the end.
            sleep(GOAWAY_TIMEOUT).await;
        };
        tokio::select! {
            () = end_unread(&calls, &context) => {}
            () = goaway => {}
            () = aborted.cancelled() => {}
        }
    });
    tokio::select! {
        () = clock.drive(connection) => {}
        _ = drain.next() => {}
    }
}

/// Polls a future only when the future itself was woken. The connection beside it is woken several times per call, and
/// polling timers is not cheap.
fn poll_when_woken<F: Future>(future: F) -> FuturesUnordered<F> {
    FuturesUnordered::from_iter([future])
}

/// Ends the streams whose peer has stopped reading their responses. Never completes.
async fn end_unread(calls: &OpenCalls, context: &ConnectionContext) {
    loop {
        sleep(CHECK_INTERVAL).await;
        let ended = calls.end_unread();
        if ended > 0 {
            context.metrics.peers.cut(CutReason::Unread).inc_by(ended as u64);
            context.throttle.note("unread", |times| {
                tracing::warn!(times, "a gRPC stream is ended: its peer does not read the response");
            });
        }
    }
}

/// Completes when the connection had no calls for [`IDLE_TIMEOUT`], or no first call within [`FIRST_CALL_TIMEOUT`].
async fn idle(calls: &OpenCalls) {
    sleep(FIRST_CALL_TIMEOUT).await;
    let mut begun = 0;
    while calls.begun() > begun || !calls.is_empty() {
        begun = calls.begun();
        sleep(IDLE_TIMEOUT).await;
    }
}

/// Adds the names in the peer's certificate to every request.
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
