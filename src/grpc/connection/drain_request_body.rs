//! A request body that is drained after an early response.
//!
//! A refusal answers a call before all of the request has arrived. h2 would reset the stream, and count frames that
//! arrive afterwards as errors of the connection: after 1,024 errors h2 closes the connection with all calls on it.
//! [`DrainRequestBody`] therefore reads the rest of the request and discards the bytes, within bounds.

use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::runtime::Handle;
use tokio::time::timeout;

/// Bytes drained at most: a client's window, which is all that may be sent before the client has seen the response.
const MAX_DRAINED: usize = 256 * 1024;
/// Time in which the rest of a request must arrive.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// A request body which drains itself when a handler or a layer drops it before its end.
pub(crate) struct DrainRequestBody<B: Body<Data = Bytes> + Unpin + Send + 'static>(Option<B>);

impl<B: Body<Data = Bytes> + Unpin + Send + 'static> DrainRequestBody<B> {
    pub(crate) fn new(body: B) -> Self {
        Self(Some(body))
    }
}

impl<B: Body<Data = Bytes> + Unpin + Send + 'static> Body for DrainRequestBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        self.0.as_mut().map_or(Poll::Ready(None), |body| Pin::new(body).poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(B::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(SizeHint::default, B::size_hint)
    }
}

impl<B: Body<Data = Bytes> + Unpin + Send + 'static> Drop for DrainRequestBody<B> {
    fn drop(&mut self) {
        let Some(mut body) = self.0.take().filter(|body| !body.is_end_stream()) else { return };
        let mut left = MAX_DRAINED;
        // The rest has mostly arrived already: one poll drains it, and no task is needed.
        if skip(&mut body, &mut Context::from_waker(Waker::noop()), &mut left).is_ready() {
            return;
        }
        // Outside a runtime no connection exists either.
        if let Ok(runtime) = Handle::try_current() {
            let rest = std::future::poll_fn(move |cx| skip(&mut body, cx, &mut left));
            runtime.spawn(async { timeout(DRAIN_TIMEOUT, rest).await });
        }
    }
}

/// Reads until the body ends or fails, or until more than `left` bytes have come.
fn skip<B: Body<Data = Bytes> + Unpin>(body: &mut B, cx: &mut Context<'_>, left: &mut usize) -> Poll<()> {
    while let Some(Ok(frame)) = ready!(Pin::new(&mut *body).poll_frame(cx)) {
        let length = frame.data_ref().map_or(0, Bytes::len);
        match left.checked_sub(length) {
            Some(rest) => *left = rest,
            None => break,
        }
    }
    Poll::Ready(())
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body_util::StreamBody;
    use tokio::sync::mpsc;

    use super::*;

    type Piece = Result<Frame<Bytes>, std::io::Error>;

    fn body() -> (mpsc::Sender<Piece>, DrainRequestBody<impl Body<Data = Bytes, Error = std::io::Error> + Unpin + Send>)
    {
        let (send, receive) = mpsc::channel::<Piece>(1);
        let pieces = stream::unfold(receive, |mut receive| async { Some((receive.recv().await?, receive)) });
        (send, DrainRequestBody::new(StreamBody::new(Box::pin(pieces))))
    }

    fn piece(bytes: usize) -> Piece {
        Ok(Frame::data(vec![0; bytes].into()))
    }

    #[tokio::test]
    async fn what_is_left_is_read_within_bounds() {
        let (send, body) = body();
        drop(body);
        for _ in 0..MAX_DRAINED / 1024 {
            send.send(piece(1024)).await.unwrap();
        }
        send.send(piece(1)).await.unwrap();
        send.closed().await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_no_more_is_not_waited_for_for_ever() {
        let (send, body) = body();
        let began = tokio::time::Instant::now();
        drop(body);
        send.closed().await;
        assert_eq!(began.elapsed().as_secs(), DRAIN_TIMEOUT.as_secs());
    }
}
