//! Server streams read as cheaply as HTTP/2 can be: messages are counted, not decoded.

use std::net::SocketAddr;
use std::rc::Rc;

use bytes::Bytes;
use h2::RecvStream;
use http::{HeaderMap, Request};
use prost::Message;
use tokio::sync::Notify;

use crate::Result;

/// Streams on one connection; the gateway allows 256.
const STREAMS: usize = 200;
/// Bytes that may be on the way to a stream, and to a connection.
const WINDOWS: (u32, u32) = (4 << 20, 64 << 20);
/// Field 2 of a frame of a watch: an event. The other frames have others.
const EVENT: u8 = 0x12;
const PREFIX: usize = 5;

/// A connection. Its clones are the same.
#[derive(Clone)]
pub(crate) struct Connection {
    sender: h2::client::SendRequest<Bytes>,
    frozen: Rc<Notify>,
}

/// As many connections as streams need.
pub(crate) async fn connections(target: SocketAddr, streams: usize) -> Result<Vec<Connection>> {
    let mut connections = Vec::new();
    while connections.len() * STREAMS < streams {
        connections.push(Connection::open(target).await?);
    }
    Ok(connections)
}

/// The connection that the `n`-th stream goes over.
pub(crate) fn of(connections: &[Connection], n: usize) -> Connection {
    connections[n / STREAMS].clone()
}

impl Connection {
    pub(crate) async fn open(target: SocketAddr) -> Result<Self> {
        let socket = tokio::net::TcpStream::connect(target).await?;
        socket.set_nodelay(true)?;
        let (sender, connection) = h2::client::Builder::new()
            .initial_window_size(WINDOWS.0)
            .initial_connection_window_size(WINDOWS.1)
            .handshake(socket)
            .await?;
        let frozen = Rc::new(Notify::new());
        let freeze = frozen.clone();
        tokio::task::spawn_local(async move {
            tokio::pin!(connection);
            tokio::select! {
                // Its end shows in the streams on it.
                _ = &mut connection => {}
                () = freeze.notified() => std::future::pending().await,
            }
        });
        Ok(Self { sender: sender.ready().await?, frozen })
    }

    /// Stays open, but its socket is never read again.
    pub(crate) fn freeze(&self) {
        self.frozen.notify_one();
    }

    async fn send(&self, method: &str, message: &impl Message) -> Result<RecvStream> {
        let mut frame = vec![0];
        frame.extend(u32::try_from(message.encoded_len())?.to_be_bytes());
        message.encode(&mut frame)?;
        self.send_frame(&format!("/ordergateway.v1.CancelIntentService/{method}"), frame.into()).await
    }

    async fn send_frame(&self, path: &str, frame: Bytes) -> Result<RecvStream> {
        let request = Request::post(format!("http://gateway{path}"))
            .version(http::Version::HTTP_2)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())?;
        let mut sender = self.sender.clone().ready().await?;
        let (answer, mut body) = sender.send_request(request, false)?;
        body.send_data(frame, true)?;
        let (head, body) = answer.await?.into_parts();
        if head.status != http::StatusCode::OK || head.headers.contains_key("grpc-status") {
            return Err(format!("{path}: {} {}", head.status, status(&head.headers)).into());
        }
        Ok(body)
    }

    /// Opens a stream. Returns when the gateway has begun its answer.
    pub(crate) async fn stream(&self, method: &str, message: &impl Message) -> Result<Stream> {
        Ok(Stream::of(self.send(method, message).await?))
    }

    /// One call, one answer.
    pub(crate) async fn call<A: Message + Default>(&self, method: &str, message: &impl Message) -> Result<A> {
        self.stream(method, message).await?.only().await
    }

    /// One call of any service, with a frame that is there already.
    pub(crate) async fn call_with<A: Message + Default>(&self, path: &str, frame: Bytes) -> Result<A> {
        Stream::of(self.send_frame(path, frame).await?).only().await
    }
}

/// A stream of the gateway's.
pub(crate) struct Stream {
    body: RecvStream,
    counter: Counter,
    buffer: Vec<u8>,
}

/// What came at once.
#[derive(Clone, Copy)]
pub(crate) struct Piece {
    /// Events that ended in it.
    pub events: u64,
}

impl Stream {
    fn of(body: RecvStream) -> Self {
        Self { body, counter: Counter::default(), buffer: Vec::new() }
    }

    /// The message of an answer that has one.
    async fn only<A: Message + Default>(mut self) -> Result<A> {
        let answer = self.message().await?.ok_or("an answer without a message")?;
        while self.message::<A>().await?.is_some() {}
        Ok(answer)
    }

    /// The next piece, counted. `None` at an end with OK.
    pub(crate) async fn piece(&mut self) -> Result<Option<Piece>> {
        let Some(bytes) = self.bytes().await? else { return Ok(None) };
        Ok(Some(Piece { events: self.counter.events(&bytes) }))
    }

    /// The next message, decoded. Not to be mixed with pieces.
    pub(crate) async fn message<M: Message + Default>(&mut self) -> Result<Option<M>> {
        loop {
            if let Some(prefix) = self.buffer.first_chunk::<PREFIX>() {
                let end = PREFIX + u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
                if let Some(whole) = self.buffer.get(PREFIX..end) {
                    let message = M::decode(whole)?;
                    self.buffer.drain(..end);
                    return Ok(Some(message));
                }
            }
            match self.bytes().await? {
                Some(bytes) => self.buffer.extend_from_slice(&bytes),
                None => return Ok(None),
            }
        }
    }

    async fn bytes(&mut self) -> Result<Option<Bytes>> {
        if let Some(bytes) = self.body.data().await {
            let bytes = bytes?;
            self.body.flow_control().release_capacity(bytes.len())?;
            return Ok(Some(bytes));
        }
        let trailers = self.body.trailers().await?.unwrap_or_default();
        match status(&trailers).as_str() {
            "0 " => Ok(None),
            other => Err(format!("a stream ended with {other}").into()),
        }
    }
}

fn status(headers: &HeaderMap) -> String {
    let text = |name| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    format!("{} {}", text("grpc-status"), text("grpc-message"))
}

/// Counts events in the bytes of a stream.
#[derive(Default)]
struct Counter {
    /// Bytes of the message still to come, its first excepted.
    missing: usize,
    /// The prefix and the first byte of the next message, as far as they came.
    start: [u8; PREFIX + 1],
    have: usize,
}

impl Counter {
    fn events(&mut self, mut bytes: &[u8]) -> u64 {
        let mut events = 0;
        while !bytes.is_empty() {
            if self.missing == 0 {
                let take = bytes.len().min(self.start.len() - self.have);
                self.start[self.have..self.have + take].copy_from_slice(&bytes[..take]);
                self.have += take;
                bytes = &bytes[take..];
                if self.have < self.start.len() {
                    break;
                }
                // No frame of a watch is empty.
                let [_, a, b, c, d, _] = self.start;
                self.missing = (u32::from_be_bytes([a, b, c, d]) as usize).saturating_sub(1);
            }
            let take = self.missing.min(bytes.len());
            self.missing -= take;
            bytes = &bytes[take..];
            if self.missing == 0 {
                events += u64::from(self.start[PREFIX] == EVENT);
                self.have = 0;
            }
        }
        events
    }
}
