//! Inspects the frames of a peer for two abuses which h2 permits: floods of frames without a call, and windows so small
//! that responses pile up in the gateway.
//!
//! h2 answers every PING and SETTINGS and discards every PRIORITY, as fast as the frames arrive: a few connections that
//! send nothing else keep a core busy. An honest client needs some such frames for a call, and some more for a part of
//! a response. A connection therefore has a frame budget, which grows with time and with the bytes sent to the peer;
//! without budget the connection is closed. RST_STREAM counts against the budget too. h2 itself bounds CONTINUATION,
//! small and empty DATA, headers, and streams reset before they are served.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use prometheus_client::metrics::counter::Counter;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::telemetry::metrics::{ConnectionMetrics, CutReason};

/// Frames without a call that a connection may send in one burst.
const BURST: u64 = 1_000;
/// Frames without a call that a connection may send per second.
const PER_SECOND: u64 = 1_000;
/// Bytes sent to the peer that earn one more frame. The answer to a PING has 17 bytes: PINGs do not pay for themselves.
const BYTES_PER_FRAME: u64 = 32;
/// Smallest initial window of a stream, in bytes. Parts of a response beyond the window wait in the gateway for as long
/// as the peer likes; clients announce 64 KiB and more.
const MIN_WINDOW: u32 = 4 * 1024;

/// Bytes of the connection preface, before the first frame.
const PREFACE: u32 = 24;
/// Bytes of a frame header, and of one setting (RFC 9113, sections 4.1 and 6.5.1).
const HEAD: usize = 9;
const SETTING: usize = 6;

const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const SETTINGS: u8 = 0x4;
const CONTINUATION: u8 = 0x9;
const END_STREAM: u8 = 0x1;
const INITIAL_WINDOW_SIZE: u16 = 0x4;

/// A connection whose incoming frames are inspected from the first byte. Reads fail once the peer breaks a bound.
#[derive(Debug)]
pub(super) struct FrameGuard<I> {
    io: I,
    frames: FrameReader,
    budget: FrameBudget,
    cut: CutCounters,
}

#[derive(Debug)]
struct CutCounters {
    flood: Counter,
    window: Counter,
}

/// The bound that a peer broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FrameFault {
    Flood,
    Window,
}

impl<I> FrameGuard<I> {
    /// Guards a connection whose preface has not been read yet.
    pub(super) fn new(io: I, metrics: &ConnectionMetrics) -> Self {
        let cut = CutCounters { flood: metrics.cut(CutReason::Flood), window: metrics.cut(CutReason::Window) };
        Self { io, frames: FrameReader::default(), budget: FrameBudget::new(Instant::now()), cut }
    }

    fn fail(&self, fault: FrameFault) -> io::Error {
        let (counter, why) = match fault {
            FrameFault::Flood => (&self.cut.flood, "too many frames that are no calls"),
            FrameFault::Window => (&self.cut.window, "a window too small for any answer"),
        };
        counter.inc();
        io::Error::new(io::ErrorKind::InvalidData, why)
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
    /// Bytes left of the payload. Only the payload of SETTINGS is read, any other is skipped.
    payload: u32,
    settings: bool,
    /// The frame header or the setting that has arrived in part.
    part: [u8; HEAD],
    has: usize,
}

impl Default for FrameReader {
    fn default() -> Self {
        Self { payload: PREFACE, settings: false, part: [0; HEAD], has: 0 }
    }
}

impl FrameReader {
    /// Parses the next bytes. Calls `extra` for every frame without a call, and fails when `extra` returns false or
    /// when a setting announces too small a window.
    fn read(&mut self, mut bytes: &[u8], mut extra: impl FnMut() -> bool) -> Result<(), FrameFault> {
        while !bytes.is_empty() {
            if self.payload > 0 && !(self.settings && self.payload as usize + self.has >= SETTING) {
                let skipped = bytes.len().min(self.payload as usize);
                bytes = &bytes[skipped..];
                self.payload -= skipped as u32;
                continue;
            }
            let wanted = if self.payload > 0 { SETTING } else { HEAD };
            let now = bytes.len().min(wanted - self.has);
            self.part[self.has..self.has + now].copy_from_slice(&bytes[..now]);
            bytes = &bytes[now..];
            self.has += now;
            if wanted == SETTING {
                self.payload -= now as u32;
            }
            if self.has < wanted {
                continue;
            }
            self.has = 0;
            if wanted == SETTING {
                let [a, b, c, d, e, f, ..] = self.part;
                if u16::from_be_bytes([a, b]) == INITIAL_WINDOW_SIZE && u32::from_be_bytes([c, d, e, f]) < MIN_WINDOW {
                    return Err(FrameFault::Window);
                }
                continue;
            }
            let [a, b, c, kind, flags, ..] = self.part;
            self.payload = u32::from_be_bytes([0, a, b, c]);
            self.settings = kind == SETTINGS;
            let is_of_a_call = match kind {
                HEADERS | CONTINUATION => true,
                DATA => self.payload > 0 || flags & END_STREAM != 0,
                _ => false,
            };
            if !is_of_a_call && !extra() {
                return Err(FrameFault::Flood);
            }
        }
        Ok(())
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for FrameGuard<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        let read = Pin::new(&mut this.io).poll_read(cx, buf);
        if matches!(read, Poll::Ready(Ok(()))) {
            let budget = &mut this.budget;
            if let Err(fault) = this.frames.read(&buf.filled()[before..], || budget.take(Instant::now)) {
                return Poll::Ready(Err(this.fail(fault)));
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

    const PING: u8 = 0x6;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u32).to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    fn setting(id: u16, value: u32) -> Vec<u8> {
        [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()
    }

    /// How many frames that are no calls were seen, whatever the pieces in which they came.
    fn seen(bytes: &[u8], piece: usize) -> Result<usize, FrameFault> {
        let (mut frames, mut seen) = (FrameReader::default(), 0);
        for piece in bytes.chunks(piece) {
            frames.read(piece, || {
                seen += 1;
                true
            })?;
        }
        assert_eq!((frames.payload, frames.has), (0, 0), "all of it was read");
        Ok(seen)
    }

    #[test]
    fn what_belongs_to_calls_is_told_from_the_rest_in_any_pieces() {
        let settings = [setting(INITIAL_WINDOW_SIZE, 65_535), setting(3, 0), setting(6, 1)].concat();
        let said = [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            frame(SETTINGS, 0, &settings),
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
            assert_eq!(seen(&said.concat(), piece), Ok(5), "{piece}");
        }
    }

    #[test]
    fn a_window_without_room_for_an_answer_is_refused() {
        for (window, allowed) in [(0, false), (1, false), (4095, false), (4096, true), (65_535, true)] {
            let settings = [setting(1, 0), setting(INITIAL_WINDOW_SIZE, window)].concat();
            let said = [vec![0; PREFACE as usize], frame(SETTINGS, 0, &settings)].concat();
            for piece in [1, 7, usize::MAX] {
                assert_eq!(seen(&said, piece).is_ok(), allowed, "{window}");
            }
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
