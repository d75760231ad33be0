//! The clock that hyper uses to keep a connection alive.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use hyper_util::rt::TokioTimer;

/// Returns the time of the connection's last poll. hyper asks for the time six times per call, to note when the peer
/// was last heard and to compare with keep-alive intervals of half a minute.
#[derive(Clone, Debug)]
pub(super) struct PollClock(Arc<LastPoll>);

#[derive(Debug)]
struct LastPoll {
    start: Instant,
    /// Nanoseconds from `start` to the last poll.
    polled: AtomicU64,
}

impl PollClock {
    pub(super) fn new() -> Self {
        Self(Arc::new(LastPoll { start: TokioTimer::new().now(), polled: AtomicU64::new(0) }))
    }

    /// Runs the connection to its end. Errors are ignored: the peer broke the protocol or left, and the open calls were
    /// counted as CANCELLED.
    pub(super) async fn drive<F: Future>(&self, mut connection: Pin<&mut F>) {
        poll_fn(|cx| {
            self.set();
            connection.as_mut().poll(cx).map(drop)
        })
        .await;
    }

    fn set(&self) {
        let since = TokioTimer::new().now().saturating_duration_since(self.0.start);
        self.0.polled.store(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl Timer for PollClock {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        TokioTimer::new().sleep(duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        TokioTimer::new().sleep_until(deadline)
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, new_deadline: Instant) {
        TokioTimer::new().reset(sleep, new_deadline);
    }

    fn now(&self) -> Instant {
        self.0.start + Duration::from_nanos(self.0.polled.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::pin;

    use bytes::Bytes;
    use http::{Request, Response};
    use http_body_util::Empty;
    use hyper::body::Incoming;
    use hyper::server::conn::http2;
    use hyper::service::service_fn;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tokio::time::timeout;

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(20);
    const PATIENCE: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_answers_no_ping_is_let_go() {
        for answers_for in [Duration::from_secs(1), Duration::from_secs(240)] {
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            let served = tokio::spawn(async {
                let clock = PollClock::new();
                let mut builder = http2::Builder::new(TokioExecutor::new());
                builder.timer(clock.clone()).keep_alive_interval(INTERVAL).keep_alive_timeout(PATIENCE);
                let never = service_fn(|_: Request<Incoming>| {
                    std::future::pending::<Result<Response<Empty<Bytes>>, Infallible>>()
                });
                clock.drive(pin!(builder.serve_connection(TokioIo::new(ours), never))).await;
            });
            let (mut send, mut peer) = h2::client::handshake(theirs).await.unwrap();
            let request = Request::post("http://localhost/").body(()).unwrap();
            let (_answer, _body) = send.send_request(request, false).unwrap();
            // It answers for as long as it is polled.
            assert!(timeout(answers_for, &mut peer).await.is_err(), "still open");
            assert!(!served.is_finished());
            let silent = tokio::time::Instant::now();
            served.await.unwrap();
            let waited = silent.elapsed();
            assert!((PATIENCE..=INTERVAL + PATIENCE).contains(&waited), "{waited:?}");
        }
    }
}
