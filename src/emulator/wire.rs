//! Connections with faults in the protocol: an HTTP/2 GOAWAY below an open stream, and a connection that accepts bytes
//! and sends none.
//!
//! hyper offers neither: its GOAWAY names the last stream received. [`WireIo`] therefore sits between hyper and the
//! socket. It follows the written frames, inserts a GOAWAY between two of them, and discards writes once the connection
//! is half dead. Only calls that were not executed are turned away: a GOAWAY below an executed call would make a
//! correct caller create a second order.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use futures_util::task::AtomicWaker;
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const FRAME_HEAD: usize = 9;

/// State shared by the calls of a connection.
#[derive(Debug, Default)]
pub(super) struct Wire {
    calls: AtomicU32,
    state: Mutex<WireState>,
    /// The task that reads and writes the connection.
    connection: AtomicWaker,
}

#[derive(Debug, Default)]
struct WireState {
    silent: bool,
    /// The last stream in the GOAWAY; calls above are neither executed nor answered.
    last: Option<u32>,
    /// The highest stream whose call was executed.
    executed: u32,
    /// A GOAWAY to be written.
    goaway: Option<u32>,
}

impl Wire {
    /// The stream of the next call: clients number streams 1, 3, 5 and so on, and calls arrive in this order.
    pub(super) fn next_stream(&self) -> u32 {
        2 * self.calls.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Admits a call, unless the connection is silent for its stream. The guard blocks the connection's other calls, or
    /// one above a stream about to be turned away could be executed.
    pub(super) fn admit(&self, stream: u32) -> Option<AdmittedCall<'_>> {
        let state = self.state();
        let open = !state.silent && state.last.is_none_or(|last| stream <= last);
        open.then_some(AdmittedCall { state, stream })
    }

    /// Requests the GOAWAY for a call that was turned away.
    pub(super) fn send_goaway(&self) {
        let mut state = self.state();
        state.goaway = state.last;
        drop(state);
        self.connection.wake();
    }

    fn state(&self) -> MutexGuard<'_, WireState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that may be executed.
pub(super) struct AdmittedCall<'a> {
    state: MutexGuard<'a, WireState>,
    stream: u32,
}

impl AdmittedCall<'_> {
    /// Notes that the call was executed or answered.
    pub(super) fn executed(mut self) {
        self.state.executed = self.state.executed.max(self.stream);
    }

    /// Turns this call and all later calls away. Returns false if a later call was executed already: the GOAWAY would
    /// be a lie.
    pub(super) fn turn_away(mut self) -> bool {
        let can = self.state.executed < self.stream;
        if can {
            self.state.last = Some(self.stream.saturating_sub(2));
        }
        can
    }

    /// Stops all output on the connection.
    pub(super) fn silence(mut self) {
        self.state.silent = true;
    }
}

pin_project! {
    /// A connection that follows the decisions in its [`Wire`].
    pub(super) struct WireIo<S> {
        #[pin]
        inner: S,
        wire: Arc<Wire>,
        frames: FrameCursor,
        // The unwritten rest of a GOAWAY.
        injected: Vec<u8>,
    }
}

impl<S> WireIo<S> {
    pub(super) fn new(inner: S, wire: Arc<Wire>) -> Self {
        Self { inner, wire, frames: FrameCursor::default(), injected: Vec::new() }
    }
}

impl<S: AsyncWrite> WireIo<S> {
    /// Writes a requested GOAWAY, between two frames.
    fn inject(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut this = self.project();
        if this.frames.is_between_frames()
            && let Some(last) = this.wire.state().goaway.take()
        {
            this.injected.extend(goaway(last));
        }
        while !this.injected.is_empty() {
            let written = ready!(this.inner.as_mut().poll_write(cx, this.injected))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            this.injected.drain(..written);
            if this.injected.is_empty() {
                ready!(this.inner.as_mut().poll_flush(cx))?;
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// A GOAWAY without an error; streams up to `last` are still answered.
fn goaway(last: u32) -> [u8; FRAME_HEAD + 8] {
    let mut frame = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    frame[FRAME_HEAD..FRAME_HEAD + 4].copy_from_slice(&last.to_be_bytes());
    frame
}

impl<S: AsyncRead + AsyncWrite> AsyncRead for WireIo<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // The connection's task polls reads whenever it is woken: a requested GOAWAY is written from this poll.
        self.wire.connection.register(cx.waker());
        if let Poll::Ready(Err(error)) = self.as_mut().inject(cx) {
            return Poll::Ready(Err(error));
        }
        self.project().inner.poll_read(cx, buf)
    }
}

impl<S: AsyncWrite> AsyncWrite for WireIo<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.wire.state().silent {
            return Poll::Ready(Ok(buf.len()));
        }
        ready!(self.as_mut().inject(cx))?;
        let this = self.project();
        let written = ready!(this.inner.poll_write(cx, buf))?;
        this.frames.advance(&buf[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().inject(cx))?;
        self.project().inner.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.wire.state().silent {
            return Poll::Ready(Ok(()));
        }
        self.project().inner.poll_shutdown(cx)
    }
}

/// The position of the written bytes within a frame. Without meaning on HTTP/1, and unused.
#[derive(Debug, Default)]
struct FrameCursor {
    /// The frame header received so far; when complete, it holds the payload's length.
    head: [u8; FRAME_HEAD],
    in_head: usize,
    payload_left: usize,
}

impl FrameCursor {
    fn is_between_frames(&self) -> bool {
        self.in_head == 0 && self.payload_left == 0
    }

    fn advance(&mut self, mut written: &[u8]) {
        while !written.is_empty() {
            if self.payload_left > 0 {
                let taken = self.payload_left.min(written.len());
                self.payload_left -= taken;
                written = &written[taken..];
                continue;
            }
            let taken = (FRAME_HEAD - self.in_head).min(written.len());
            self.head[self.in_head..self.in_head + taken].copy_from_slice(&written[..taken]);
            self.in_head += taken;
            written = &written[taken..];
            if self.in_head == FRAME_HEAD {
                self.in_head = 0;
                self.payload_left = u32::from_be_bytes([0, self.head[0], self.head[1], self.head[2]]) as usize;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_told_apart_however_they_are_cut() {
        let frames = [goaway(5), goaway(7)].concat();
        for cut in 0..=frames.len() {
            let mut cursor = FrameCursor::default();
            cursor.advance(&frames[..cut]);
            assert_eq!(cursor.is_between_frames(), cut % 17 == 0, "{cut}");
            cursor.advance(&frames[cut..]);
            assert!(cursor.is_between_frames(), "{cut}");
        }
    }

    #[test]
    fn nothing_above_a_goaway_is_executed_and_nothing_executed_is_below_none() {
        let wire = Wire::default();
        let streams: Vec<u32> = (0..4).map(|_| wire.next_stream()).collect();
        assert_eq!(streams, [1, 3, 5, 7]);
        wire.admit(1).unwrap().executed();
        wire.admit(5).unwrap().executed();
        assert!(!wire.admit(3).unwrap().turn_away(), "5 was executed");
        assert!(wire.admit(7).unwrap().turn_away());
        assert!(wire.admit(7).is_none() && wire.admit(9).is_none());
        assert!(wire.admit(3).is_some());
        wire.admit(3).unwrap().silence();
        assert!(wire.admit(3).is_none());
    }
}
