//! Serves the router over HTTP/1.1, with time limits on slow clients: for the headers, for the whole request, and for
//! reading the response.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::StatusCode;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use super::peer::PeerAddress;
use super::write_timeout::WriteTimeout;
use crate::accept::{AcceptOutcome, Acceptor, ConnectionPermit, PeerStream};
use crate::limits::HTTP_CONNECTIONS;
use crate::shutdown::Shutdown;
use crate::telemetry::metrics::{ConnectionMetrics, CutReason, GaugeGuard, Metrics};

/// Bytes of a connection's headers.
const HEADER_BUFFER: usize = 16 * 1024;

/// Time for open requests once the process ends.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(1);

/// Time for a connection that must make way for another.
const MAKE_WAY_LIMIT: Duration = Duration::from_millis(100);

/// Time for the peer to close after the last response, and the bytes that the peer may send meanwhile.
const LINGER_LIMIT: Duration = Duration::from_millis(500);
const MAX_LINGER_BYTES: usize = 1024 * 1024;

#[derive(Clone, Copy, Debug)]
pub(crate) struct HttpLimits {
    /// Open connections; one address gets at most half of the places that the rest have left. A connection beyond the
    /// bound takes the place of one that waits for a request, and is closed at once if none does.
    pub(crate) connections: usize,
    /// Time for the headers of a request, including the wait for the next request on an open connection.
    pub(crate) headers: Duration,
    /// Time from the headers to the response, including the body.
    pub(crate) request: Duration,
    /// Time for the client to read a whole response, from the first write that the client does not take at once.
    pub(crate) answer: Duration,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            connections: HTTP_CONNECTIONS,
            headers: Duration::from_secs(10),
            request: Duration::from_secs(30),
            answer: Duration::from_secs(30),
        }
    }
}

/// Accepts and serves until `shutdown` has finished: probes must see that the process drains. Open requests get one
/// second after the end.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: HttpLimits,
    shutdown: Shutdown,
    metrics: Arc<Metrics>,
) {
    let router = router.layer(from_fn_with_state(limits.request, within));
    let end = shutdown.finished();
    let mut acceptor = Acceptor::new(listener, limits.connections);
    let tasks = TaskTracker::new();
    while let Some(accepted) = end.run_until_cancelled(acceptor.next()).await {
        let AcceptOutcome::Connection(stream, place) = accepted else {
            metrics.peers.http_refused.inc();
            continue;
        };
        let open = GaugeGuard::new(&metrics.peers.http);
        let stream = WriteTimeout::new(stream, limits.answer, metrics.peers.cut(CutReason::Unread));
        let (router, end, peers) = (router.clone(), end.clone(), metrics.peers.clone());
        tasks.spawn(async move {
            let _held = open;
            connection(stream, router, place.into(), limits, end, &peers).await;
        });
    }
    tasks.close();
    // Connections still open end with the process.
    let _ = timeout(SHUTDOWN_LIMIT, tasks.wait()).await;
}

async fn connection(
    stream: WriteTimeout<PeerStream>,
    router: Router,
    place: Arc<ConnectionPermit>,
    limits: HttpLimits,
    end: CancellationToken,
    peers: &ConnectionMetrics,
) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.headers).max_buf_size(HEADER_BUFFER);
    let (peer, working) = (PeerAddress(place.address()), place.clone());
    let service = service_fn(move |mut request: Request<Incoming>| {
        working.works();
        request.extensions_mut().insert(peer);
        let (answer, place) = (router.clone().oneshot(request), working.clone());
        Box::pin(async move { Ok::<_, Infallible>(answer.await?.map(|body| IdleAfterBody { body, place })) })
    });
    let mut connection = builder.serve_connection(TokioIo::new(stream), service);
    place.waits();
    // hyper would close both directions at the end. Unread requests would then reset the connection and destroy the
    // last response.
    let served = tokio::select! {
        served = poll_fn(|cx| connection.poll_without_shutdown(cx)) => served,
        () = end.cancelled() => {
            Pin::new(&mut connection).graceful_shutdown();
            poll_fn(|cx| connection.poll_without_shutdown(cx)).await
        }
        () = place.end().cancelled() => {
            peers.cut(CutReason::Displaced).inc();
            Pin::new(&mut connection).graceful_shutdown();
            // Finish a request that arrives at this very moment, or whose response is being written.
            let _ = timeout(MAKE_WAY_LIMIT, poll_fn(|cx| connection.poll_without_shutdown(cx))).await;
            return;
        }
    };
    // Errors come from the peer: it broke the protocol, was too slow, or left.
    match served {
        Err(error) if error.is_parse_too_large() => peers.cut(CutReason::LargeHead).inc(),
        Err(error) if error.is_parse() => peers.cut(CutReason::Malformed).inc(),
        _ => 0,
    };
    place.waits();
    let stream = connection.into_parts().io.into_inner();
    let _ = place.end().run_until_cancelled(timeout(LINGER_LIMIT, close(stream))).await;
}

/// Shuts down writing, then reads until the peer has closed too: with unread data the system would reset the
/// connection, and the peer would lose a response that it has not read yet.
async fn close(mut stream: WriteTimeout<PeerStream>) -> io::Result<()> {
    stream.shutdown().await?;
    let mut rest = vec![0; 8 * 1024];
    let mut most = MAX_LINGER_BYTES;
    while most > 0 {
        match stream.read(&mut rest).await? {
            0 => break,
            read => most = most.saturating_sub(read),
        }
    }
    Ok(())
}

/// A response body. When dropped, it marks the connection as waiting for the next request.
struct IdleAfterBody {
    body: Body,
    place: Arc<ConnectionPermit>,
}

impl Drop for IdleAfterBody {
    fn drop(&mut self) {
        self.place.waits();
    }
}

impl http_body::Body for IdleAfterBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }
    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

async fn within(State(limit): State<Duration>, request: Request, next: Next) -> Response {
    match timeout(limit, next.run(request)).await {
        Ok(answer) => answer,
        Err(_) => StatusCode::REQUEST_TIMEOUT.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::{get, post};
    use tokio::task::JoinHandle;

    use tokio::net::TcpStream;

    use super::*;
    use crate::shutdown::DrainOutcome;

    async fn start(limits: HttpLimits) -> (std::net::SocketAddr, Shutdown, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new()
            .route("/ok", get(async || "fine"))
            .route("/body", post(async |_: Bytes| "read"))
            .route("/early", post(async || (StatusCode::PAYLOAD_TOO_LARGE, [("connection", "close")], "too large")))
            .route("/large", get(async || vec![b'x'; 16 * 1024 * 1024]));
        let shutdown = Shutdown::new();
        let served = tokio::spawn(serve(listener, router, limits, shutdown.clone(), Arc::new(Metrics::new([]))));
        (address, shutdown, served)
    }

    /// What comes back until the connection is closed.
    async fn talk(address: std::net::SocketAddr, text: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // A reset in place of a close is as good.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }

    fn quick() -> HttpLimits {
        let short = Duration::from_millis(50);
        HttpLimits { connections: 1, headers: short, request: short, answer: short }
    }

    #[tokio::test]
    async fn slow_clients_are_cut_off() {
        let (address, ..) = start(quick()).await;
        let answer = talk(address, "GET /ok HTTP/1.1\r\nhost: x\r\n").await;
        assert!(!answer.contains("200 OK"), "{answer}");
        let (address, ..) = start(quick()).await;
        let answer = talk(address, "POST /body HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nabc").await;
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    }

    #[tokio::test]
    async fn an_answer_that_is_not_read_frees_its_place() {
        let (address, ..) = start(quick()).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        stream.read_exact(&mut [0; 15]).await.unwrap();
        // The only place; whoever comes meanwhile is refused.
        while talk(address, "GET /ok HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // Open and unread until then.
        drop(stream);
    }

    #[tokio::test]
    async fn idle_connections_end_at_shutdown() {
        let (address, shutdown, served) = start(HttpLimits::default()).await;
        let mut first = TcpStream::connect(address).await.unwrap();
        first.write_all(b"GET /ok HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut head = [0; 15];
        first.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 200 OK");
        // It answers while the rest drains, and ends after it.
        shutdown.draining().cancel();
        shutdown.stopping().cancel();
        first.write_all(b"GET /ok HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut more = [0; 256];
        assert!(first.read(&mut more).await.unwrap() > 0);
        assert_eq!(shutdown.run(async {}, Duration::from_secs(5)).await, DrainOutcome::Clean);
        served.await.unwrap();
    }

    #[tokio::test]
    async fn one_connection_too_many_is_closed_while_all_work() {
        let (address, ..) = start(HttpLimits { connections: 1, ..HttpLimits::default() }).await;
        let mut first = TcpStream::connect(address).await.unwrap();
        first.write_all(b"POST /body HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\na").await.unwrap();
        // The head has been read once the only place is that of a connection that works.
        while !talk(address, "GET /ok HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.is_empty() {
            first = TcpStream::connect(address).await.unwrap();
            first.write_all(b"POST /body HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\na").await.unwrap();
        }
        first.write_all(b"b").await.unwrap();
        let mut head = [0; 15];
        first.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 200 OK");
    }

    #[tokio::test]
    async fn connections_without_a_whole_head_keep_nobody_out() {
        let (address, ..) = start(HttpLimits { connections: 4, ..HttpLimits::default() }).await;
        let mut silent = Vec::new();
        for part in ["", "GET /ok HTTP/1.1\r\n"].repeat(10) {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(part.as_bytes()).await.unwrap();
            silent.push(stream);
            let answer = talk(address, "GET /ok HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        }
    }

    /// An answer that is given before the request was read whole reaches a peer that goes on sending.
    #[tokio::test]
    async fn an_early_answer_is_not_lost() {
        let (address, ..) = start(HttpLimits::default()).await;
        let body = vec![b'x'; 512 * 1024];
        for _ in 0..20 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let head = b"POST /early HTTP/1.1\r\nhost: x\r\ncontent-length: 524288\r\n\r\n";
            stream.write_all(head).await.unwrap();
            stream.write_all(&body).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
        }
    }
}
