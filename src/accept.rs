//! Accepts TCP connections for both listeners: bounded in number, and through errors.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// First and longest wait after an accept failed, for want of file descriptors above all.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// A listener that allows `max` open connections.
#[derive(Debug)]
pub struct Acceptor {
    listener: TcpListener,
    places: Arc<Semaphore>,
    back_off: Duration,
}

/// What came in.
#[derive(Debug)]
pub enum Accepted {
    /// A connection; it is open until the permit is dropped.
    Connection(TcpStream, OwnedSemaphorePermit),
    /// One connection too many; it is closed already.
    Refused,
}

impl Acceptor {
    /// Accepts from `listener`.
    pub fn new(listener: TcpListener, max: usize) -> Self {
        let places = Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS)));
        Self { listener, places, back_off: BACK_OFF.0 }
    }

    /// The next connection. Errors are logged and waited out: a server that stops accepting helps nobody. Nothing is
    /// lost when this future is dropped.
    pub async fn next(&mut self) -> Accepted {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    self.back_off = BACK_OFF.0;
                    let Ok(place) = self.places.clone().try_acquire_owned() else { return Accepted::Refused };
                    // Small frames must not wait for each other. Fails only on a dead connection.
                    let _ = stream.set_nodelay(true);
                    return Accepted::Connection(stream, place);
                }
                Err(error) if is_the_peers(&error) => {}
                Err(error) => {
                    tracing::error!(%error, "cannot accept connections: {error}");
                    tokio::time::sleep(self.back_off).await;
                    self.back_off = (self.back_off * 2).min(BACK_OFF.1);
                }
            }
        }
    }
}

/// The connection broke before it was accepted.
fn is_the_peers(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
