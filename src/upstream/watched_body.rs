//! A request body which notifies a tracker when first polled. HTTP clients poll the body when the request may begin
//! to leave.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::call::SendTracker;

pin_project! {
    /// Wraps `inner` without changing bytes or length.
    pub(super) struct WatchedBody<B> {
        #[pin]
        inner: B,
        tracker: SendTracker,
    }
}

impl<B> WatchedBody<B> {
    pub(super) fn new(inner: B, tracker: SendTracker) -> Self {
        Self { inner, tracker }
    }
}

impl<B: Body<Data = Bytes>> Body for WatchedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        this.tracker.left();
        this.inner.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
