//! Serves the router over HTTP/1.1. Slow clients are cut off: they get a limit for the headers, one for the whole request, and
//! one for reading the answer.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use super::patient::Patient;
use super::peer::PeerAddress;
use crate::accept::{Accepted, Acceptor};
use crate::shutdown::Shutdown;
use crate::telemetry::metrics::{Cut, Held, Metrics};

/// Bytes that one connection's headers may take.
const HEADER_BUFFER: usize = 16 * 1024;

/// For open requests once the process ends.
const END_LIMIT: Duration = Duration::from_secs(1);

/// Bounds on clients.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Open connections at a time; one address gets at most half of those that others left. More are closed at once.
    pub connections: usize,
    /// For the headers of a request, the wait for one on an open connection included.
    pub headers: Duration,
    /// From the headers to the answer, the body included.
    pub request: Duration,
    /// For the client to take an answer whole, once it does not take it as fast as it comes.
    pub answer: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        // More than webhooks may take (`webhooks`), so that probes find room beside them.
        Self {
            connections: 2048,
            headers: Duration::from_secs(10),
            request: Duration::from_secs(30),
            answer: Duration::from_secs(30),
        }
    }
}

/// Accepts and serves until `shutdown` has finished: probes must be able to see that the process drains. Open requests
/// then have a second.
pub async fn serve(listener: TcpListener, router: Router, limits: Limits, shutdown: Shutdown, metrics: Arc<Metrics>) {
    let router = router.layer(from_fn_with_state(limits.request, within));
    let end = shutdown.finished();
    let mut acceptor = Acceptor::new(listener, limits.connections);
    let tasks = TaskTracker::new();
    while let Some(accepted) = end.run_until_cancelled(acceptor.next()).await {
        let Accepted::Connection(stream, place) = accepted else {
            metrics.peers.http_refused.inc();
            continue;
        };
        let open = Held::new(&metrics.peers.http);
        let stream = Patient::new(stream, limits.answer, metrics.peers.cut(Cut::Unread));
        let (router, end) = (router.clone(), end.clone());
        tasks.spawn(async move {
            let peer = PeerAddress(place.address());
            let _held = (place, open);
            connection(stream, router, peer, limits, end).await;
        });
    }
    tasks.close();
    // What is still open ends with the process.
    let _ = timeout(END_LIMIT, tasks.wait()).await;
}

async fn connection(
    stream: Patient<TcpStream>,
    router: Router,
    peer: PeerAddress,
    limits: Limits,
    end: CancellationToken,
) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.headers).max_buf_size(HEADER_BUFFER);
    let from_peer = router.map_request(move |mut request: http::Request<Incoming>| {
        request.extensions_mut().insert(peer);
        request
    });
    let service = TowerToHyperService::new(from_peer);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    // An error here is the peer's: it broke the protocol, was too slow, or left.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = end.cancelled() => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

async fn within(State(limit): State<Duration>, request: Request, next: Next) -> Response {
    match timeout(limit, next.run(request)).await {
        Ok(answer) => answer,
        Err(_) => StatusCode::REQUEST_TIMEOUT.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Bytes;
    use axum::routing::{get, post};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use tokio::task::JoinHandle;

    use super::*;
    use crate::shutdown::Drained;

    async fn start(limits: Limits) -> (std::net::SocketAddr, Shutdown, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new()
            .route("/ok", get(async || "fine"))
            .route("/body", post(async |_: Bytes| "read"))
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

    fn quick() -> Limits {
        let short = Duration::from_millis(50);
        Limits { connections: 1, headers: short, request: short, answer: short }
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
        // The only place; whoever comes meanwhile is refused.
        while talk(address, "GET /ok HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(answer.len() < 16 * 1024 * 1024, "cut off");
    }

    #[tokio::test]
    async fn one_connection_too_many_is_closed_and_idle_ones_end_at_shutdown() {
        let limits = Limits { connections: 1, ..Limits::default() };
        let (address, shutdown, served) = start(limits).await;
        let mut first = TcpStream::connect(address).await.unwrap();
        first.write_all(b"GET /ok HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut head = [0; 15];
        first.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 200 OK");
        assert_eq!(talk(address, "GET /ok HTTP/1.1\r\nhost: x\r\n\r\n").await, "");

        // It answers while the rest drains, and ends after it.
        shutdown.draining().cancel();
        shutdown.stopping().cancel();
        first.write_all(b"GET /ok HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut more = [0; 256];
        assert!(first.read(&mut more).await.unwrap() > 0);
        assert_eq!(shutdown.run(async {}, Duration::from_secs(5)).await, Drained::Clean);
        served.await.unwrap();
    }
}
