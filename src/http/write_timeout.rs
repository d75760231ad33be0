//! A connection whose peer has a limited time to read a response: a peer that reads nothing, or a byte now and then,
//! must not keep its place.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// Time without a byte taken after which a peer counts as gone.
const NO_PROGRESS: Duration = Duration::from_secs(10);

/// Fails writes once the peer has been too slow: when it has taken nothing for [`NO_PROGRESS`], or not all within the
/// limit. The time starts when the peer takes less than offered, and ends with the flush, which hyper requests when
/// everything is written.
pub(super) struct WriteTimeout<I> {
    io: I,
    limit: Duration,
    /// The end of the limit, and the timer, which may be set earlier.
    deadline: Option<(Instant, Pin<Box<Sleep>>)>,
    cut: Counter,
}

impl<I> WriteTimeout<I> {
    /// Connections closed for slowness are counted in `cut`.
    pub(super) fn new(io: I, limit: Duration, cut: Counter) -> Self {
        Self { io, limit, deadline: None, cut }
    }

    /// Fails when the time is over.
    fn check(&mut self, cx: &mut Context<'_>, written: &Poll<io::Result<usize>>) -> io::Result<()> {
        let now = Instant::now();
        match (&mut self.deadline, written) {
            (None, Poll::Pending) => {
                let end = now + self.limit;
                self.deadline = Some((end, Box::pin(sleep_until(end.min(now + NO_PROGRESS)))));
            }
            (Some((end, timer)), Poll::Ready(Ok(_))) => timer.as_mut().reset((*end).min(now + NO_PROGRESS)),
            _ => {}
        }
        match self.deadline.as_mut().map(|(_, timer)| timer.as_mut().poll(cx)) {
            Some(Poll::Ready(())) => {
                self.deadline = None;
                self.cut.inc();
                Err(io::Error::new(io::ErrorKind::TimedOut, "the response was not read in time"))
            }
            _ => Ok(()),
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for WriteTimeout<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for WriteTimeout<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.check(cx, &written)?;
        written
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bytes);
        self.check(cx, &written)?;
        written
    }
    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.deadline = None;
        Pin::new(&mut self.io).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::advance;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_a_byte_now_and_then_is_cut_off_as_well() {
        let (mut peer, io) = tokio::io::duplex(16);
        let cut = Counter::default();
        let mut patient = WriteTimeout::new(io, PATIENCE, cut.clone());
        let began = Instant::now();
        let reads = tokio::spawn(async move {
            let mut taken = 0;
            while peer.read(&mut [0]).await.is_ok_and(|read| read > 0) {
                taken += 1;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            taken
        });
        let failed = patient.write_all(&[0; 1000]).await.unwrap_err();
        assert_eq!((failed.kind(), began.elapsed(), cut.get()), (io::ErrorKind::TimedOut, PATIENCE, 1));
        drop(patient);
        assert!(reads.await.unwrap() < 100);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_is_cut_off_sooner() {
        let (mut peer, io) = tokio::io::duplex(16);
        let cut = Counter::default();
        let mut patient = WriteTimeout::new(io, PATIENCE, cut.clone());
        let began = Instant::now();
        let reads = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(5)).await;
            peer.read_exact(&mut [0; 16]).await.unwrap();
            peer
        });
        let failed = patient.write_all(&[0; 1000]).await.unwrap_err();
        let expected = (io::ErrorKind::TimedOut, Duration::from_secs(5) + NO_PROGRESS, 1);
        assert_eq!((failed.kind(), began.elapsed(), cut.get()), expected);
        drop(reads.await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_between_answers_do_not_count() {
        let (mut peer, io) = tokio::io::duplex(16);
        let mut patient = WriteTimeout::new(io, PATIENCE, Counter::default());
        let reads = tokio::spawn(async move {
            let mut all = Vec::new();
            peer.read_to_end(&mut all).await.unwrap();
            all.len()
        });
        for _ in 0..3 {
            patient.write_all(&[0; 100]).await.unwrap();
            patient.flush().await.unwrap();
            advance(2 * PATIENCE).await;
        }
        drop(patient);
        assert_eq!(reads.await.unwrap(), 300);
    }
}
