//! The tasks in which hyper answers the streams of a connection. A task whose peer does not take its answer can be ended
//! alone, which resets the stream; the connection and its other calls go on.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::rt::Executor;
use pin_project_lite::pin_project;

use super::open_calls::OpenCalls;
use super::stream_state::StreamState;

/// Runs the streams of a connection.
#[derive(Clone, Debug)]
pub(super) struct StreamExecutor(pub(super) OpenCalls);

impl<F> Executor<F> for StreamExecutor
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        tokio::spawn(StreamTask { stream: Some(stream), state: Arc::default(), calls: self.0.clone() });
    }
}

pin_project! {
    struct StreamTask<F> {
        #[pin]
        stream: Option<F>,
        state: Arc<StreamState>,
        calls: OpenCalls,
    }
}

impl<F: Future<Output = ()>> Future for StreamTask<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let Some(stream) = this.stream.as_mut().as_pin_mut() else { return Poll::Ready(()) };
        if this.state.enter(|| stream.poll(cx)).is_pending() {
            if !this.state.is_waiting() {
                return Poll::Pending;
            }
            if !this.state.is_ended(cx.waker()) {
                if this.state.enlist() {
                    this.calls.list(this.state);
                }
                return Poll::Pending;
            }
        }
        // h2 resets a stream that is dropped before its end.
        this.stream.set(None);
        Poll::Ready(())
    }
}
