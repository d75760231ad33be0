//! The emulator on a port: HTTP/1 with kept-alive connections, each bounded in time and size, each apart from the others.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::answer::Answer;
use super::routes::MAX_BODY;
use super::{Dropped, Emulator};

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

/// Answers on the listener until `shutdown`, then lets requests in flight finish for at most 5 seconds.
///
/// # Errors
/// Only a listener that does not know its address, before anything is accepted. A connection that fails ends alone.
pub async fn serve(emulator: Emulator, listener: TcpListener, shutdown: CancellationToken) -> io::Result<()> {
    listener.local_addr()?;
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    while let Some(accepted) = shutdown.run_until_cancelled(accept(&listener, &places)).await {
        match accepted {
            Ok((stream, place)) => {
                let served = connection(emulator.clone(), stream, shutdown.clone());
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

async fn connection(emulator: Emulator, stream: TcpStream, shutdown: CancellationToken) {
    // Answers are small and wanted at once. A socket that refuses the option works without it.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| respond(emulator.clone(), request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    // An error is a client that went away or talked nonsense, or a drop that was asked for: its connection ends.
    let ended = tokio::select! {
        _ = connection.as_mut() => true,
        () = shutdown.cancelled() => false,
    };
    if !ended {
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }
}

async fn respond(emulator: Emulator, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Dropped> {
    let (parts, body) = request.into_parts();
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Ok(unread(413, "Request body is too large"));
    }
    let body = match timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if is_too_long(error.as_ref()) => return Ok(unread(413, "Request body is too large")),
        Ok(Err(_)) => return Err(Dropped),
        Err(_) => return Ok(unread(408, "Request body did not arrive")),
    };
    let response = emulator.oneshot(Request::from_parts(parts, body)).await?;
    Ok(response.map(Full::new))
}

fn is_too_long(error: &(dyn Error + Send + Sync + 'static)) -> bool {
    error.is::<LengthLimitError>()
}

/// An answer to a request that was not read to its end; the connection cannot be used further.
fn unread(status: u16, text: &str) -> Response<Full<Bytes>> {
    Answer::text(status, text).with("connection", "close").into_http(false).map(Full::new)
}
