//! The layer that sets the deadline of each call, and answers DEADLINE_EXCEEDED when a handler has not answered by then.
//!
//! The deadline in the call's context is the caller's less a margin for the way back, so that the answer reaches the client
//! before the client's own timer ends the call. No other layer and no use case subtracts a margin again.
//!
//! A use case answers at that deadline itself, because a mutation that has begun must say OUTCOME_PENDING. This layer answers
//! only [`BACKSTOP`] later. Streams have no margin, and `streams.rs` ends them.
//!
//! The layer also forbids retries that cannot begin before the caller's deadline. Client libraries (grpcio, grpc-js,
//! grpc-java) otherwise wait for the retry until the deadline, and report DEADLINE_EXCEEDED without the details of our
//! answer: an OUTCOME_PENDING would never reach its caller.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Request, Response};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::body::Body;
use tower::{Layer, Service};

use crate::grpc::problem::PUSHBACK;
use crate::grpc::{methods, status};
use crate::ports::call::{CallContext, CallRecord};

/// Deadline of a unary call without `grpc-timeout`.
pub(crate) const DEFAULT: Duration = Duration::from_secs(10);

/// Longest deadline of a unary call.
pub(crate) const MAX: Duration = Duration::from_secs(60);

/// Margin between our deadline and the caller's: this, and three hundredths of the caller's time. The network's part
/// does not grow with the deadline, but clocks and timers err by a fraction of the measured time.
const MARGIN: Duration = Duration::from_millis(100);
const MARGIN_PERCENT: u32 = 3;

/// Time after the deadline at which this layer answers in place of the handler, but no more than half of the margin.
pub(crate) const BACKSTOP: Duration = Duration::from_millis(50);
/// The least such time. Use cases wait until 10 ms after the deadline.
const LEAST_BACKSTOP: Duration = Duration::from_millis(15);

/// Puts the deadline into the call's context, and enforces the deadline on unary calls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeadlineLayer;

impl<S> Layer<S> for DeadlineLayer {
    type Service = Deadline<S>;

    fn layer(&self, inner: S) -> Deadline<S> {
        Deadline { inner }
    }
}

/// The service of [`DeadlineLayer`].
#[derive(Clone, Debug)]
pub(crate) struct Deadline<S> {
    inner: S,
}

impl<S, B> Service<Request<B>> for Deadline<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = DeadlineFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let now = Instant::now();
        let asked = timeout(request.headers());
        let streaming = methods::is_streaming(request.uri().path());
        let mut cut = None;
        let mut retries_end = None;
        let deadline = if streaming {
            asked.and_then(|asked| now.checked_add(asked))
        } else {
            // Without a deadline of its own the client waits for its retry, and each attempt has the default time again.
            retries_end = asked.and_then(|asked| now.checked_add(asked));
            let time = asked.unwrap_or(DEFAULT).min(MAX);
            let margin = margin(time);
            let deadline = now + (time - margin);
            cut = Some(deadline + BACKSTOP.min(margin / 2).max(LEAST_BACKSTOP));
            Some(deadline)
        };
        let mut facts = None;
        if let Some(context) = super::context(&mut request) {
            context.deadline = deadline.unwrap_or_else(|| CallContext::no_deadline(now));
            facts = Some(context.facts.clone());
        }
        let backstop = cut.map(sleep_until);
        DeadlineFuture { inner: self.inner.call(request), backstop, retries_end, facts }
    }
}

pin_project! {
    /// The future of [`Deadline`].
    pub(crate) struct DeadlineFuture<F> {
        #[pin]
        inner: F,
        // `None` for streams.
        #[pin]
        backstop: Option<Sleep>,
        // The caller's own deadline, without our margin and limits.
        retries_end: Option<Instant>,
        facts: Option<Arc<CallRecord>>,
    }
}

impl<F, E> Future for DeadlineFuture<F>
where
    F: Future<Output = Result<Response<Body>, E>>,
{
    type Output = Result<Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(mut answer) = this.inner.poll(cx) {
            if let (Ok(response), Some(end)) = (&mut answer, *this.retries_end) {
                forbid_late_retry(response.headers_mut(), end);
            }
            return Poll::Ready(answer);
        }
        let Some(backstop) = this.backstop.as_pin_mut() else { return Poll::Pending };
        ready!(backstop.poll(cx));
        let correlation_id = this.facts.as_ref().and_then(|facts| facts.correlation_id());
        Poll::Ready(Ok(status::deadline_exceeded(correlation_id).into_http()))
    }
}

/// Forbids a retry that cannot begin before `end`.
fn forbid_late_retry(headers: &mut HeaderMap, end: Instant) {
    let Some(pushback) = headers.get_mut(PUSHBACK) else { return };
    let wait = pushback.to_str().ok().and_then(|text| text.parse().ok()).map(Duration::from_millis);
    if wait.is_some_and(|wait| Instant::now().checked_add(wait).is_none_or(|next| next >= end)) {
        *pushback = HeaderValue::from_static("-1");
    }
}

/// Returns the margin, at most half of the caller's time: a call which the store answers within milliseconds must not
/// fail because the caller gave it less time than the margin.
fn margin(time: Duration) -> Duration {
    (MARGIN + time * MARGIN_PERCENT / 100).min(time / 2)
}

/// Parses `grpc-timeout`: 1 to 8 digits and a unit. A malformed header counts as absent.
fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.as_bytes();
    let (unit, digits) = text.split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0, |value: u64, digit| value * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(value * 3600),
        b'M' => Duration::from_secs(value * 60),
        b'S' => Duration::from_secs(value),
        b'm' => Duration::from_millis(value),
        b'u' => Duration::from_micros(value),
        b'n' => Duration::from_nanos(value),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tokio::time;
    use tonic::Code;
    use tower::{ServiceExt as _, service_fn};

    use super::*;
    use crate::testing::layers::*;

    #[tokio::test]
    async fn probes() {
        let (service, handle) = above_mock(DeadlineLayer);
        survives_probes(service, handle, UNARY).await;
    }

    #[test]
    fn forms_of_the_header() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", text.parse().unwrap());
            timeout(&headers)
        };
        for (text, nanos) in [
            ("1H", 3_600_000_000_000),
            ("2M", 120_000_000_000),
            ("3S", 3_000_000_000),
            ("4m", 4_000_000),
            ("5u", 5_000),
            ("6n", 6),
            ("0S", 0),
            ("99999999n", 99_999_999),
        ] {
            assert_eq!(read(text), Some(Duration::from_nanos(nanos)), "{text}");
        }
        for text in ["", "S", "1", "1s", "1 S", "-1S", "+1S", "1.5S", "100000000S", "SS", "1h", "\t1S"] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(timeout(&HeaderMap::new()), None);
    }

    /// The deadline that the handler sees, from now on.
    async fn seen(path: &str, header: Option<&str>) -> Duration {
        let (mut service, mut handle) = above_mock(DeadlineLayer);
        let headers: Vec<_> = header.map(|value| ("grpc-timeout", value)).into_iter().collect();
        let _call = service.ready().await.unwrap().call(request(path, &headers));
        let (request, _respond) = handle.next_request().await.unwrap();
        request.extensions().get::<CallContext>().unwrap().deadline - Instant::now()
    }

    #[tokio::test(start_paused = true)]
    async fn default_cap_and_streams() {
        // The whole deadline, and what is left of it below.
        let ms = Duration::from_millis;
        for (header, left) in [
            (None, 9_600),
            (Some("nonsense"), 9_600),
            (Some("250m"), 142),
            (Some("1500m"), 1_355),
            (Some("5S"), 4_750),
            (Some("58S"), 56_160),
            (Some("1H"), 58_100),
            (Some("100m"), 50),
            (Some("0m"), 0),
        ] {
            let seen = seen(UNARY, header).await;
            assert!((ms(left)..ms(left + 1)).contains(&seen), "{header:?}: {seen:?}");
        }
        assert!(seen(WATCH, None).await > Duration::from_secs(1_000_000));
        assert_eq!(seen(WATCH, Some("1H")).await, Duration::from_secs(3600));
        assert!(seen(WATCH, Some("99999999H")).await > Duration::from_secs(1_000_000));
    }

    #[tokio::test(start_paused = true)]
    async fn the_handler_has_the_first_word_and_the_backstop_the_last() {
        let (mut service, mut handle) = above_mock(DeadlineLayer);
        let started = Instant::now();
        let call = service.ready().await.unwrap().call(request(UNARY, &[("grpc-timeout", "100m")]));
        let (_request, _respond) = handle.next_request().await.unwrap();
        assert_eq!(status(call.await.unwrap()).await.code(), Code::DeadlineExceeded);
        assert_eq!(started.elapsed(), Duration::from_millis(75));

        // The wait of a use case ends 10 ms after the deadline, however short the caller's time is.
        for (header, wait) in [("100m", 0), ("100m", 10), ("30m", 10), ("0m", 10)] {
            let call = tokio::spawn(service.ready().await.unwrap().call(request(UNARY, &[("grpc-timeout", header)])));
            let (request, respond) = handle.next_request().await.unwrap();
            let deadline = request.extensions().get::<CallContext>().unwrap().deadline;
            time::sleep_until(deadline + Duration::from_millis(wait)).await;
            respond.send_response(tonic::Status::unavailable("pending").into_http());
            assert_eq!(status(call.await.unwrap().unwrap()).await.code(), Code::Unavailable, "{header} {wait}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_retry_that_would_come_too_late_is_forbidden() {
        let answer = service_fn(async |_: Request<Body>| {
            time::sleep(Duration::from_secs(1)).await;
            let mut status = tonic::Status::unavailable("pending");
            status.metadata_mut().insert(PUSHBACK, "1500".parse().unwrap());
            Ok::<_, Infallible>(status.into_http())
        });
        for (header, pushback) in [
            (Some("3S"), "1500"),
            (Some("2501m"), "1500"),
            (Some("2500m"), "-1"),
            (Some("2S"), "-1"),
            (Some("1H"), "1500"),
            (None, "1500"),
        ] {
            let headers: Vec<_> = header.map(|value| ("grpc-timeout", value)).into_iter().collect();
            let response = DeadlineLayer.layer(answer).oneshot(request(UNARY, &headers)).await.unwrap();
            assert_eq!(response.headers()[PUSHBACK], pushback, "{header:?}");
        }
    }

    #[test]
    fn pushbacks_that_are_no_times_stay() {
        for text in ["-1", "", "soon", "99999999999999999999"] {
            let mut headers = HeaderMap::new();
            headers.insert(PUSHBACK, text.parse().unwrap());
            forbid_late_retry(&mut headers, Instant::now());
            assert_eq!(headers[PUSHBACK], text);
        }
        let mut headers = HeaderMap::new();
        forbid_late_retry(&mut headers, Instant::now());
        assert!(headers.is_empty());
    }
}
