//! Bounds the bytes of responses that wait for slow readers, all callers together. Small responses always pass; a large
//! response beyond the bound becomes OVERLOADED.
//!
//! The feed's streams are exempt: watches share their encoded events, and a subscription bounds its leased events.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tonic::Status;
use tower::{Layer, Service};

use super::catch_panic::trailers;
use crate::grpc::{methods, status};
use crate::limits::UNREAD_RESPONSE_BYTES;
use crate::quota::{Quota, QuotaPermit};

/// Largest message that is not counted: an order with dozens of lines is smaller.
const SMALL: usize = 16 * 1024;
/// Advice to a caller whose response did not fit. A peer that reads nothing is disconnected after ten seconds
/// (`grpc/connection/open_calls.rs`).
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Counts the bytes of large responses. Clones share the room.
#[derive(Clone, Debug)]
pub(crate) struct ResponseBytesLayer(Quota);

/// Starts with the whole room free.
impl Default for ResponseBytesLayer {
    fn default() -> Self {
        Self(Quota::new(UNREAD_RESPONSE_BYTES))
    }
}

impl<S> Layer<S> for ResponseBytesLayer {
    type Service = ResponseBytes<S>;

    fn layer(&self, inner: S) -> ResponseBytes<S> {
        ResponseBytes { inner, room: self.0.clone() }
    }
}

/// The service of [`ResponseBytesLayer`].
#[derive(Clone, Debug)]
pub(crate) struct ResponseBytes<S> {
    inner: S,
    room: Quota,
}

impl<S, B, R> Service<Request<B>> for ResponseBytes<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body<Data = Bytes, Error = Status> + Unpin,
{
    type Response = Response<ResponseBytesLimit<R>>;
    type Error = S::Error;
    type Future = ResponseBytesFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let path = request.uri().path();
        let streaming = methods::is_streaming(path);
        let room = (!streaming || !methods::is_of_the_feed(path)).then(|| self.room.clone());
        ResponseBytesFuture { inner: self.inner.call(request), room, streaming }
    }
}

pin_project! {
    /// The future of [`ResponseBytes`].
    pub(crate) struct ResponseBytesFuture<F> {
        #[pin]
        inner: F,
        room: Option<Quota>,
        streaming: bool,
    }
}

impl<F, R, E> Future for ResponseBytesFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: Body<Data = Bytes, Error = Status> + Unpin,
{
    type Output = Result<Response<ResponseBytesLimit<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.inner.poll(cx))?;
        let room = this.room.take().filter(|_| !response.body().is_end_stream());
        let unary = !*this.streaming && room.is_some();
        Poll::Ready(Ok(response.map(|body| {
            let mut limited = ResponseBytesLimit { body: Some(body), first: None, room, held: None };
            // Encode the message now: until the first poll a message takes more memory than its bytes, and its size is
            // unknown.
            if unary && let Poll::Ready(first) = limited.next(cx) {
                limited.first = Some(first);
            }
            limited
        })))
    }
}

type NextFrame = Option<Result<Frame<Bytes>, Status>>;

/// A response body whose large parts hold their room until the next part is polled.
#[derive(Debug)]
pub(crate) struct ResponseBytesLimit<R> {
    /// `None` after the refusal.
    body: Option<R>,
    /// The first part, polled ahead of the reader.
    first: Option<NextFrame>,
    /// `None` for an exempt stream.
    room: Option<Quota>,
    held: Option<QuotaPermit>,
}

impl<R: Body<Data = Bytes, Error = Status> + Unpin> ResponseBytesLimit<R> {
    fn next(&mut self, cx: &mut Context<'_>) -> Poll<NextFrame> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        let Some(room) = &self.room else { return Poll::Ready(frame) };
        self.held = None;
        let Some(Ok(piece)) = &frame else { return Poll::Ready(frame) };
        let large = piece.data_ref().map(Bytes::len).filter(|bytes| *bytes > SMALL);
        let Some(bytes) = large else { return Poll::Ready(frame) };
        self.held = room.try_acquire(bytes);
        if self.held.is_some() {
            return Poll::Ready(frame);
        }
        self.body = None;
        Poll::Ready(Some(Ok(Frame::trailers(trailers(&status::too_much_unread(RETRY_AFTER))))))
    }
}

impl<R: Body<Data = Bytes, Error = Status> + Unpin> Body for ResponseBytesLimit<R> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<NextFrame> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(first);
        }
        self.next(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Full};
    use tonic::Code;
    use tonic_types::StatusExt as _;
    use tower::ServiceExt as _;

    use super::*;
    use crate::testing::layers::*;

    const PAGE: usize = 2 * 1024 * 1024;

    fn answer(bytes: usize) -> Response<tonic::body::Body> {
        let body = Full::new(Bytes::from(vec![0; bytes])).map_err(|never| match never {});
        Response::new(tonic::body::Body::new(body))
    }

    /// Answers of a method, each of so many bytes.
    async fn answers(
        layer: &ResponseBytesLayer,
        path: &'static str,
        bytes: usize,
        count: usize,
    ) -> Vec<Response<ResponseBytesLimit<tonic::body::Body>>> {
        let (mut service, mut handle) = above_mock(layer.clone());
        let mut all = Vec::new();
        for _ in 0..count {
            let call = service.ready().await.unwrap().call(request(path, &[]));
            let (answered, ()) = tokio::join!(call, async {
                handle.next_request().await.unwrap().1.send_response(answer(bytes));
            });
            all.push(answered.unwrap());
        }
        all
    }

    #[tokio::test]
    async fn probes() {
        for path in [UNARY, WATCH] {
            let (service, handle) = above_mock(ResponseBytesLayer::default());
            survives_probes(service, handle, path).await;
        }
    }

    #[tokio::test]
    async fn large_answers_that_are_not_read_leave_no_room_for_more_but_for_small_ones() {
        let layer = ResponseBytesLayer::default();
        let mut unread = answers(&layer, UNARY, PAGE, UNREAD_RESPONSE_BYTES / PAGE).await;
        let refused = status(answers(&layer, UNARY, PAGE, 1).await.remove(0)).await;
        assert_eq!(refused.code(), Code::ResourceExhausted);
        assert_eq!(refused.get_details_retry_info().unwrap().retry_delay, Some(RETRY_AFTER));
        let small = answers(&layer, UNARY, SMALL, 1).await.remove(0);
        assert_eq!(small.into_body().collect().await.unwrap().to_bytes().len(), SMALL);
        // One was read to its end, another was left.
        assert_eq!(unread.remove(0).into_body().collect().await.unwrap().to_bytes().len(), PAGE);
        drop(unread.remove(0));
        let again = answers(&layer, UNARY, PAGE, 2).await;
        for answer in again {
            assert_eq!(answer.into_body().collect().await.unwrap().to_bytes().len(), PAGE);
        }
    }

    #[tokio::test]
    async fn streams_are_weighed_piece_by_piece_and_those_of_the_feed_are_not() {
        let layer = ResponseBytesLayer::default();
        let mut all = answers(&layer, WATCH, PAGE, 1).await;
        assert_eq!(layer.0.remaining(), UNREAD_RESPONSE_BYTES, "nobody has asked for it");
        assert!(all[0].body_mut().frame().await.unwrap().unwrap().is_data());
        assert_eq!(layer.0.remaining(), UNREAD_RESPONSE_BYTES - PAGE);
        drop(all);
        let feed = "/ordergateway.v1.CancelIntentService/WatchCancelIntents";
        let mut all = answers(&layer, feed, PAGE, 1).await;
        assert!(all[0].body_mut().frame().await.unwrap().unwrap().is_data());
        assert_eq!(layer.0.remaining(), UNREAD_RESPONSE_BYTES);
    }
}
