//! Inspects the frames of a peer for an abuse which h2 permits: floods of frames without a call.
//!
//! h2 answers every PING and SETTINGS and discards every PRIORITY, as fast as the frames arrive: a few connections that
//! send nothing else keep a core busy. An honest client needs some such frames for a call, and some more for a part of
//! a response. A connection therefore has a frame budget, which grows with time and with the bytes sent to the peer;
//! without budget nothing more is read, and the connection is closed with GOAWAY. RST_STREAM counts against the budget too. h2 itself bounds CONTINUATION,
//! small and empty DATA, headers, and streams reset before they are served.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::Instant;

/// Frames without a call that a connection may send in one burst.
const BURST: u64 = 1_000;
/// Frames without a call that a connection may send per second.
const PER_SECOND: u64 = 1_000;
/// Bytes sent to the peer that earn one more frame. The answer to a PING has 17 bytes: PINGs do not pay for themselves.
const BYTES_PER_FRAME: u64 = 32;

/// Bytes of the connection preface, before the first frame.
const PREFACE: u32 = 24;
/// Bytes of a frame header (RFC 9113, section 4.1).
const HEAD: usize = 9;

const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const CONTINUATION: u8 = 0x9;
const END_STREAM: u8 = 0x1;

/// A connection whose incoming frames are inspected from the first byte. Nothing is read any more once the peer has
/// sent too many frames.
#[derive(Debug)]
pub(super) struct FrameGuard<I> {
    io: I,
    frames: FrameReader,
    budget: FrameBudget,
    flood: FrameFlood,
    is_flooded: bool,
}

/// Tells that a peer has sent too many frames. Clones share the event.
#[derive(Clone, Debug, Default)]
pub(super) struct FrameFlood(Arc<Notify>);

impl FrameFlood {
    /// Completes when the peer has sent too many frames. Only one task may wait.
    pub(super) async fn came(&self) {
        self.0.notified().await;
    }
}

impl<I> FrameGuard<I> {
    /// Guards a connection whose preface has not been read yet.
    pub(super) fn new(io: I, flood: FrameFlood) -> Self {
        Self { io, frames: FrameReader::default(), budget: FrameBudget::new(Instant::now()), flood, is_flooded: false }
    }

    fn sent(&mut self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = written {
            self.budget.sent += *bytes as u64;
        }
    }
}

/// The frames that a peer may still send. Refilled only when used up, which leaves a subtraction per frame.
#[derive(Debug)]
struct FrameBudget {
    left: u64,
    /// Bytes sent to the peer since the last refill.
    sent: u64,
    filled: Instant,
}

impl FrameBudget {
    fn new(now: Instant) -> Self {
        Self { left: BURST, sent: 0, filled: now }
    }

    /// Takes one frame from the budget. Returns false when the budget is empty.
    fn take(&mut self, now: impl FnOnce() -> Instant) -> bool {
        if self.left == 0 {
            let now = now();
            let by_time = now.saturating_duration_since(self.filled).as_millis() as u64 * PER_SECOND / 1000;
            self.left = (by_time + self.sent / BYTES_PER_FRAME).min(BURST);
            if self.left == 0 {
                return false;
            }
            (self.sent, self.filled) = (0, now);
        }
        self.left -= 1;
        true
    }
}

/// The position of a peer's bytes in the sequence of frames.
#[derive(Debug)]
struct FrameReader {
    /// Bytes left of the payload, which is skipped.
    payload: u32,
    /// The frame header that has arrived in part.
    part: [u8; HEAD],
    has: usize,
}

impl Default for FrameReader {
    fn default() -> Self {
        Self { payload: PREFACE, part: [0; HEAD], has: 0 }
    }
}

impl FrameReader {
    /// Parses the next bytes. Calls `extra` for every frame without a call, and returns false when `extra` does.
    fn read(&mut self, mut bytes: &[u8], mut extra: impl FnMut() -> bool) -> bool {
        while !bytes.is_empty() {
            if self.payload > 0 {
                let skipped = bytes.len().min(self.payload as usize);
                bytes = &bytes[skipped..];
                self.payload -= skipped as u32;
                continue;
            }
            let now = bytes.len().min(HEAD - self.has);
            self.part[self.has..self.has + now].copy_from_slice(&bytes[..now]);
            bytes = &bytes[now..];
            self.has += now;
            if self.has < HEAD {
                continue;
            }
            self.has = 0;
            let [a, b, c, kind, flags, ..] = self.part;
            self.payload = u32::from_be_bytes([0, a, b, c]);
            let is_of_a_call = match kind {
                HEADERS | CONTINUATION => true,
                DATA => self.payload > 0 || flags & END_STREAM != 0,
                _ => false,
            };
            if !is_of_a_call && !extra() {
                return false;
            }
        }
        true
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for FrameGuard<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.is_flooded {
            // Woken by nothing: the connection is being closed.
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut this.io).poll_read(cx, buf);
        if matches!(read, Poll::Ready(Ok(()))) {
            let budget = &mut this.budget;
            if !this.frames.read(&buf.filled()[before..], || budget.take(Instant::now)) {
                buf.set_filled(before);
                this.is_flooded = true;
                this.flood.0.notify_one();
                return Poll::Pending;
            }
        }
        read
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for FrameGuard<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.sent(&written);
        written
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bytes);
        self.sent(&written);
        written
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
    use std::time::Duration;

    use super::*;

    const SETTINGS: u8 = 0x4;
    const PING: u8 = 0x6;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u32).to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    /// How many frames that are no calls were seen, whatever the pieces in which they came.
    fn seen(bytes: &[u8], piece: usize) -> usize {
        let (mut frames, mut seen) = (FrameReader::default(), 0);
        for piece in bytes.chunks(piece) {
            frames.read(piece, || {
                seen += 1;
                true
            });
        }
        assert_eq!((frames.payload, frames.has), (0, 0), "all of it was read");
        seen
    }

    #[test]
    fn what_belongs_to_calls_is_told_from_the_rest_in_any_pieces() {
        let said = [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            frame(SETTINGS, 0, &[1; 18]),
            frame(HEADERS, 4, &[7; 300]),
            frame(DATA, 0, &[PING; 70_000]),
            frame(DATA, END_STREAM, &[]),
            frame(CONTINUATION, 0, &[]),
            frame(PING, 0, &[0; 8]),
            frame(DATA, 0, &[]),
            frame(0x77, 0, &[1]),
            // A length that is no multiple of a setting's: h2 refuses it.
            frame(SETTINGS, 0, &[0; 8]),
        ];
        for piece in [1, 2, 5, 9, 10, 1000, usize::MAX] {
            assert_eq!(seen(&said.concat(), piece), 5, "{piece}");
        }
    }

    #[test]
    fn the_budget_grows_with_time_and_with_what_is_sent() {
        let start = Instant::now();
        let mut budget = FrameBudget::new(start);
        let take = |budget: &mut FrameBudget, after: Duration| {
            (0..).take_while(|_| budget.take(|| start + after)).count() as u64
        };
        assert_eq!(take(&mut budget, Duration::ZERO), BURST);
        assert_eq!(take(&mut budget, Duration::from_secs(1)), PER_SECOND);
        budget.sent = 50 * BYTES_PER_FRAME;
        assert_eq!(take(&mut budget, Duration::from_secs(1)), 50);
        assert_eq!(take(&mut budget, Duration::from_secs(3600)), BURST);
    }
}
