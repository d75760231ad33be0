//! The emulator on a port: HTTP/1 with keep-alive and HTTP/2, with TLS or without. Connections are independent;
//! requests are bounded in size and time.

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

use super::MAX_BODY;
use super::answer::WalmartAnswer;
use super::lies::AnswerLoss;
use super::routes::TimedReply;
use super::wire::{Wire, WireIo};
use super::{DroppedCall, Emulator};

/// The ALPN name of HTTP/2.
const HTTP2: &[u8] = b"h2";

/// Open connections; further connections wait to be accepted.
const MAX_CONNECTIONS: usize = 4096;
/// Time for a whole request head, also on an idle kept-alive connection. The connection is closed afterwards.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// Time for a body after its head; a slower body gets 408.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for open requests at shutdown.
const DRAIN: Duration = Duration::from_secs(5);
/// Pause after a failed accept, for example without free file handles.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves the listener until `shutdown`, then gives open requests 5 seconds to finish. Clients that begin with the
/// HTTP/2 preface get HTTP/2.
///
/// # Errors The listener does not know its address, before anything is accepted. A failed connection ends alone.
pub async fn serve(emulator: Emulator, listener: TcpListener, shutdown: CancellationToken) -> io::Result<()> {
    accept_all(emulator, listener, None, shutdown).await
}

/// The same with TLS; HTTP/2 if both the client and `tls` offer it.
///
/// # Errors As [`serve`].
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
    // Connections still open after the drain end with the set.
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
        // Open, and never read: the client has to notice by itself.
        shutdown.cancelled().await;
        return;
    }
    // Answers are small and wanted at once. A socket that refuses the option works without it.
    let _ = stream.set_nodelay(true);
    // A client that leaves or sends garbage during protocol detection ends its connection.
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

/// Whether the client speaks HTTP/2 without TLS, by its first bytes.
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
        // `P` may begin POST as well. The socket stays readable, which leaves only a timer to wait for.
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
    // Errors come from a client that left or sent garbage, or from a requested drop: the connection ends.
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

/// Answers a call. `stream` is the call's stream on HTTP/2.
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
        // HTTP/1 cannot say that a request was not executed.
        Err(AnswerLoss::TurnedAway) => Err(DroppedCall::NotSent),
        Err(AnswerLoss::Closed) => Err(DroppedCall::Interrupted),
        Err(AnswerLoss::Silent) => silence(&shutdown).await,
    }
}

/// Executes the call, unless its connection is silent. Also returns whether the call was turned away.
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

/// Gives no answer while the emulator runs.
async fn silence(shutdown: &CancellationToken) -> Result<Response<Full<Bytes>>, DroppedCall> {
    shutdown.cancelled().await;
    Err(DroppedCall::Interrupted)
}

fn is_too_long(error: &(dyn Error + Send + Sync + 'static)) -> bool {
    error.is::<LengthLimitError>()
}

/// Answers a request that was not read to its end; the connection closes.
fn unread(status: u16, text: &str) -> Response<Full<Bytes>> {
    WalmartAnswer::text(status, text).with("connection", "close").into_http(false).map(Full::new)
}
