//! The emulator on a port: HTTP/1 with kept-alive connections and HTTP/2, with TLS or without, each connection apart from the
//! others, each request bounded in size and the time of its coming.

use std::error::Error;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_util::sync::CancellationToken;

use super::answer::WalmartAnswer;
use super::lies::AnswerLoss;
use super::routes::{MAX_BODY, TimedReply};
use super::wire::{Wire, WireIo};
use super::{DroppedCall, Emulator};

/// HTTP/2 in ALPN.
const HTTP2: &[u8] = b"h2";

/// Connections at a time; further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 4096;
/// A connection that sends no whole request head in this time is closed, an idle kept-alive one too.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// A body must be there in this time after its head, else 408.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// What is being answered at shutdown may take this long.
const DRAIN: Duration = Duration::from_secs(5);
/// Rest after the machine refused a connection (no file handles left, for example).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Answers on the listener until `shutdown`, then lets requests in flight finish for at most 5 seconds. HTTP/2 is spoken
/// with clients that begin with its preface.
///
/// # Errors
/// Only a listener that does not know its address, before anything is accepted. A connection that fails ends alone.
pub async fn serve(emulator: Emulator, listener: TcpListener, shutdown: CancellationToken) -> io::Result<()> {
    accept_all(emulator, listener, None, shutdown).await
}

/// The same by TLS; HTTP/2 where the client offers it and `tls` does.
///
/// # Errors
/// As [`serve`].
pub async fn serve_tls(
    emulator: Emulator,
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    shutdown: CancellationToken,
) -> io::Result<()> {
    accept_all(emulator, listener, Some(tls.into()), shutdown).await
}

async fn accept_all(
    emulator: Emulator,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    shutdown: CancellationToken,
) -> io::Result<()> {
    listener.local_addr()?;
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    while let Some(accepted) = shutdown.run_until_cancelled(accept(&listener, &places)).await {
        match accepted {
            Ok((stream, place)) => {
                let served = connection(emulator.clone(), stream, tls.clone(), shutdown.clone());
                connections.spawn(async move {
                    served.await;
                    drop(place);
                });
            }
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
        while connections.try_join_next().is_some() {}
    }
    // What is left after the drain is ended with the set.
    let _ = timeout(DRAIN, async { while connections.join_next().await.is_some() {} }).await;
    Ok(())
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, place))
}

async fn connection(emulator: Emulator, stream: TcpStream, tls: Option<TlsAcceptor>, shutdown: CancellationToken) {
    if emulator.hangs_connection() {
        // Open, and never read. Who waits for it has to see by itself that nothing comes.
        shutdown.cancelled().await;
        return;
    }
    // Answers are small and wanted at once. A socket that refuses the option works without it.
    let _ = stream.set_nodelay(true);
    // A client that goes away or talks nonsense while the protocol is found out ends its connection.
    match tls {
        Some(tls) => {
            if let Ok(Ok(stream)) = timeout(HEAD_TIMEOUT, tls.accept(stream)).await {
                let http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP2);
                speak(emulator, stream, http2, shutdown).await;
            }
        }
        None => {
            if let Ok(Ok(http2)) = timeout(HEAD_TIMEOUT, begins_http2(&stream)).await {
                speak(emulator, stream, http2, shutdown).await;
            }
        }
    }
}

/// Whether the client speaks HTTP/2 without TLS: its first bytes say so.
async fn begins_http2(stream: &TcpStream) -> io::Result<bool> {
    const PREFACE: &[u8; 3] = b"PRI";
    let mut start = [0; PREFACE.len()];
    loop {
        let read = stream.peek(&mut start).await?;
        if start[..read] != PREFACE[..read] || read == 0 {
            return Ok(false);
        }
        if read == PREFACE.len() {
            return Ok(true);
        }
        // `P` may begin POST as well; the socket is readable all the while, so there is nothing else to wait for.
        sleep(Duration::from_millis(1)).await;
    }
}

async fn speak<S>(emulator: Emulator, stream: S, http2: bool, shutdown: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let wire = Arc::new(Wire::default());
    let stream = TokioIo::new(WireIo::new(stream, Arc::clone(&wire)));
    let stop = shutdown.clone();
    let service = service_fn(move |request| {
        let stream = http2.then(|| wire.next_stream());
        respond(emulator.clone(), Arc::clone(&wire), stream, request, stop.clone())
    });
    // An error is a client that went away or talked nonsense, or a drop that was asked for: its connection ends.
    if http2 {
        let mut server = http2::Builder::new(TokioExecutor::new());
        let mut connection = pin!(server.timer(TokioTimer::new()).serve_connection(stream, service));
        if shutdown.run_until_cancelled(connection.as_mut()).await.is_none() {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    } else {
        let mut server = http1::Builder::new();
        let server = server.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
        let mut connection = pin!(server.serve_connection(stream, service));
        if shutdown.run_until_cancelled(connection.as_mut()).await.is_none() {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

/// `stream` is the call's on HTTP/2.
async fn respond(
    emulator: Emulator,
    wire: Arc<Wire>,
    stream: Option<u32>,
    request: Request<Incoming>,
    shutdown: CancellationToken,
) -> Result<Response<Full<Bytes>>, DroppedCall> {
    let (parts, body) = request.into_parts();
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Ok(unread(413, "Request body is too large"));
    }
    let body = match timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if is_too_long(error.as_ref()) => return Ok(unread(413, "Request body is too large")),
        Ok(Err(_)) => return Err(DroppedCall::Interrupted),
        Err(_) => return Ok(unread(408, "Request body did not arrive")),
    };
    let request = Request::from_parts(parts, body);
    let Some((reply, turned_away)) = play(&emulator, &wire, stream.unwrap_or_default(), request) else {
        return silence(&shutdown).await;
    };
    match reply.when_due().await {
        Ok(response) => Ok(response.map(Full::new)),
        Err(AnswerLoss::TurnedAway) if turned_away && stream.is_some() => {
            wire.send_goaway();
            silence(&shutdown).await
        }
        // HTTP/1 cannot say that a request was not worked on.
        Err(AnswerLoss::TurnedAway) => Err(DroppedCall::NotSent),
        Err(AnswerLoss::Closed) => Err(DroppedCall::Interrupted),
        Err(AnswerLoss::Silent) => silence(&shutdown).await,
    }
}

/// Executes the call, unless its connection is silent; tells whether it was turned away.
fn play(emulator: &Emulator, wire: &Wire, stream: u32, request: Request<Bytes>) -> Option<(TimedReply, bool)> {
    let admitted = wire.admit(stream)?;
    let reply = emulator.begin(request);
    let turned_away = match &reply.result {
        Err(AnswerLoss::TurnedAway) => admitted.turn_away(),
        Err(AnswerLoss::Silent) => {
            admitted.silence();
            false
        }
        _ => {
            admitted.executed();
            false
        }
    };
    Some((reply, turned_away))
}

/// No answer for as long as the emulator runs.
async fn silence(shutdown: &CancellationToken) -> Result<Response<Full<Bytes>>, DroppedCall> {
    shutdown.cancelled().await;
    Err(DroppedCall::Interrupted)
}

fn is_too_long(error: &(dyn Error + Send + Sync + 'static)) -> bool {
    error.is::<LengthLimitError>()
}

/// An answer to a request that was not read to its end; the connection cannot be used further.
fn unread(status: u16, text: &str) -> Response<Full<Bytes>> {
    WalmartAnswer::text(status, text).with("connection", "close").into_http(false).map(Full::new)
}
