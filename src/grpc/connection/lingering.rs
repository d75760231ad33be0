//! A connection that closes so that what was written arrives: it shuts down its writing half, then reads on for a moment.
//! A socket closed with unread bytes, such as the WINDOW_UPDATE that a proxy sends after the last byte of an answer, is
//! reset, and the peer loses what it has not read yet.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

/// Longest wait for the peer to close its half.
const LINGER: Duration = Duration::from_secs(1);
/// Most bytes that are read meanwhile.
const MAX_BYTES: usize = 256 * 1024;

/// A connection that lingers, in a task of its own, when it is dropped.
#[derive(Debug)]
pub(super) struct Lingering<I: AsyncRead + AsyncWrite + Unpin + Send + 'static> {
    io: Option<I>,
    /// Whether the peer has closed its half, or the connection has failed.
    is_over: bool,
    tasks: TaskTracker,
}

impl<I: AsyncRead + AsyncWrite + Unpin + Send + 'static> Lingering<I> {
    /// Wraps a connection, which lingers in one of `tasks`.
    pub(super) fn new(io: I, tasks: TaskTracker) -> Self {
        Self { io: Some(io), is_over: false, tasks }
    }

    fn io(&mut self) -> io::Result<Pin<&mut I>> {
        self.io.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn wrote<T>(&mut self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.is_over |= matches!(written, Poll::Ready(Err(_)));
        written
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin + Send + 'static> Drop for Lingering<I> {
    fn drop(&mut self) {
        let Some(io) = self.io.take().filter(|_| !self.is_over) else { return };
        // Without a runtime the process is ending.
        if Handle::try_current().is_ok() {
            self.tasks.spawn(async { timeout(LINGER, linger(io)).await });
        }
    }
}

async fn linger(mut io: impl AsyncRead + AsyncWrite + Unpin) {
    if io.shutdown().await.is_err() {
        return;
    }
    let (mut buffer, mut left) = ([0; 4096], MAX_BYTES);
    while let Ok(read @ 1..) = io.read(&mut buffer).await {
        match left.checked_sub(read) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin + Send + 'static> AsyncRead for Lingering<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = self.io()?.poll_read(cx, buf);
        let is_end = match &read {
            Poll::Ready(Ok(())) => buf.filled().len() == before,
            Poll::Ready(Err(_)) => true,
            Poll::Pending => false,
        };
        self.is_over |= is_end;
        read
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin + Send + 'static> AsyncWrite for Lingering<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = self.io()?.poll_write(cx, bytes);
        self.wrote(written)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = self.io()?.poll_write_vectored(cx, bytes);
        self.wrote(written)
    }
    fn is_write_vectored(&self) -> bool {
        self.io.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = self.io()?.poll_flush(cx);
        self.wrote(flushed)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = self.io()?.poll_shutdown(cx);
        self.wrote(shut)
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::Instant;

    use super::*;

    async fn pair() -> (Lingering<TcpStream>, TcpStream, TaskTracker) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (io, _) = listener.accept().await.unwrap();
        let tasks = TaskTracker::new();
        (Lingering::new(io, tasks.clone()), peer, tasks)
    }

    #[tokio::test]
    async fn what_was_written_arrives_though_the_peer_has_said_more() {
        let (mut io, mut peer, tasks) = pair().await;
        io.write_all(b"the answer").await.unwrap();
        // Arrives before the end, and is never read.
        peer.write_all(b"a window update").await.unwrap();
        drop(io);
        tokio::time::sleep(Duration::from_millis(50)).await;
        peer.write_all(b"another").await.unwrap();
        let mut read = Vec::new();
        peer.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"the answer");
        drop(peer);
        tasks.close();
        tasks.wait().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_stays_is_not_waited_for_for_long() {
        let (ours, peer) = tokio::io::duplex(16);
        let tasks = TaskTracker::new();
        drop(Lingering::new(ours, tasks.clone()));
        let began = Instant::now();
        tasks.close();
        tasks.wait().await;
        assert_eq!(began.elapsed(), LINGER);
        drop(peer);
    }

    #[tokio::test]
    async fn a_peer_that_is_gone_is_not_waited_for() {
        let (mut io, peer, tasks) = pair().await;
        drop(peer);
        assert_eq!(io.read(&mut [0]).await.unwrap(), 0);
        drop(io);
        assert!(tasks.is_empty());
    }
}
