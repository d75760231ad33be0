//! Reads the HTTP/2 preface before hyper takes over a connection.
//!
//! Before the preface no deadline of hyper's runs, though the connection holds a place. The caller reads the preface
//! under a timeout, and [`PrefaceRead`] replays the bytes to hyper.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

/// The first bytes of every HTTP/2 connection (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection whose preface was read, and is replayed to the next reader.
#[derive(Debug)]
pub(super) struct PrefaceRead<I> {
    io: I,
    /// Bytes of the preface replayed already.
    replayed: usize,
}

impl<I: AsyncRead + Unpin> PrefaceRead<I> {
    /// Waits for the preface.
    ///
    /// # Errors The connection ends, fails, or begins with anything but the preface.
    pub(super) async fn new(mut io: I) -> io::Result<Self> {
        let mut received = [0; PREFACE.len()];
        io.read_exact(&mut received).await?;
        if &received != PREFACE {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "no HTTP/2"));
        }
        Ok(Self { io, replayed: 0 })
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for PrefaceRead<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let left = &PREFACE[self.replayed..];
        if left.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let now = left.len().min(buf.remaining());
        buf.put_slice(&left[..now]);
        self.replayed += now;
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for PrefaceRead<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bytes)
    }
    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[tokio::test]
    async fn all_bytes_arrive_once_and_in_order() {
        let (mut peer, io) = tokio::io::duplex(1024);
        peer.write_all(PREFACE).await.unwrap();
        peer.write_all(b"and more").await.unwrap();
        drop(peer);
        let mut opened = PrefaceRead::new(io).await.unwrap();
        let mut first = [0; 5];
        opened.read_exact(&mut first).await.unwrap();
        let mut rest = Vec::new();
        opened.read_to_end(&mut rest).await.unwrap();
        assert_eq!([&first[..], &rest].concat(), [&PREFACE[..], b"and more"].concat());
    }

    #[tokio::test]
    async fn other_words_and_the_end_are_errors() {
        for received in [&b"GET / HTTP/1.1\r\nhost: example\r\n\r\n"[..], b"PRI", b""] {
            let (mut peer, io) = tokio::io::duplex(1024);
            peer.write_all(received).await.unwrap();
            drop(peer);
            assert!(PrefaceRead::new(io).await.is_err());
        }
    }
}
