//! Listening sockets and their connections: TCP, or Unix for callers on the same machine.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// A socket that accepts connections.
#[derive(Debug)]
pub enum ListenSocket {
    /// An address and a port.
    Tcp(TcpListener),
    /// A file, which is removed at the end.
    Unix(UnixListener, SocketFile),
}

/// The file of a Unix socket. Dropping removes the file, unless another process has taken its place.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode, by which a file of another process is told apart.
    id: Option<(u64, u64)>,
}

/// An accepted connection.
#[derive(Debug)]
pub enum PeerStream {
    /// A connection over the network.
    Tcp(TcpStream),
    /// From the same machine.
    Unix(UnixStream),
}

impl From<TcpListener> for ListenSocket {
    fn from(listener: TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

impl ListenSocket {
    /// Listens on a file. A socket file that nobody listens on, left by a process that was killed, is replaced.
    ///
    /// # Errors
    /// The file is in use, or is no socket, or cannot be made.
    pub fn unix(path: &Path) -> io::Result<Self> {
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_left_over(path) => {
                fs::remove_file(path)?;
                UnixListener::bind(path)?
            }
            bound => bound?,
        };
        let id = fs::symlink_metadata(path).ok().map(|file| (file.dev(), file.ino()));
        Ok(Self::Unix(listener, SocketFile { path: path.to_owned(), id }))
    }

    /// The address; `None` for a Unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix(..) => None,
        }
    }

    /// Accepts a connection. Returns its address for the limits of an address: all connections of the same machine over
    /// a Unix socket count as one.
    pub(super) async fn accept(&self) -> io::Result<(PeerStream, IpAddr)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // Turn off Nagle's algorithm, so that small frames are sent at once. Fails only on a dead connection.
                let _ = stream.set_nodelay(true);
                Ok((PeerStream::Tcp(stream), peer.ip()))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                Ok((PeerStream::Unix(stream), Ipv4Addr::LOCALHOST.into()))
            }
        }
    }
}

/// Whether the file is a socket that nobody listens on.
fn is_left_over(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    is_socket && std::os::unix::net::UnixStream::connect(path).is_err_and(refused)
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let now = fs::symlink_metadata(&self.path).ok().map(|file| (file.dev(), file.ino()));
        if now.is_some() && now == self.id {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl PeerStream {
    /// The address of the peer; `None` over a Unix socket.
    pub fn peer(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(stream) => stream.peer_addr().ok().map(|peer| peer.ip()),
            Self::Unix(_) => None,
        }
    }

    /// Waits for the peer's first byte. Returns `false` when the peer leaves without a word.
    pub async fn speaks(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.peek(&mut [0]).await.is_ok_and(|bytes| bytes > 0),
            // Nobody probes a socket file.
            Self::Unix(stream) => stream.readable().await.is_ok(),
        }
    }
}

/// Calls a method of the stream, whichever it is.
macro_rules! either {
    ($stream:expr, $io:ident => $call:expr) => {
        match $stream.get_mut() {
            PeerStream::Tcp($io) => $call,
            PeerStream::Unix($io) => $call,
        }
    };
}

impl AsyncRead for PeerStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        either!(self, io => Pin::new(io).poll_read(cx, buf))
    }
}

impl AsyncWrite for PeerStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, io => Pin::new(io).poll_write(cx, bytes))
    }
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, io => Pin::new(io).poll_write_vectored(cx, bytes))
    }
    fn is_write_vectored(&self) -> bool {
        true
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, io => Pin::new(io).poll_flush(cx))
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, io => Pin::new(io).poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_that_was_left_is_replaced_and_one_in_use_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.sock");
        let left = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert_eq!(ListenSocket::unix(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(left);
        let socket = ListenSocket::unix(&path).unwrap();
        let peer = UnixStream::connect(&path).await.unwrap();
        let (stream, address) = socket.accept().await.unwrap();
        assert!(address.is_loopback() && stream.peer().is_none() && socket.address().is_none());
        drop((peer, socket));
        assert!(!path.exists(), "removed at the end");
        // No socket: somebody's file.
        fs::write(&path, "x").unwrap();
        assert!(ListenSocket::unix(&path).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"x");
        fs::remove_file(&path).unwrap();
        let old = ListenSocket::unix(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let _new = ListenSocket::unix(&path).unwrap();
        drop(old);
        assert!(path.exists(), "it is another's");
    }
}
