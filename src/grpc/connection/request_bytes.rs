//! Bounds the bytes of unfinished requests, all callers together: a message has up to 1 MiB, and a caller that holds
//! back the last byte keeps the rest in memory until the deadline.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tonic::codegen::StdError;

use crate::grpc::status;
use crate::quota::{Quota, QuotaPermit};

/// Advice to a caller whose request did not fit.
const RETRY_AFTER: Duration = Duration::from_millis(500);

pin_project! {
    /// A request body whose bytes count against the listener's room until the body is dropped, which happens once the
    /// message was decoded.
    pub(crate) struct RequestBytesLimit<B> {
        #[pin]
        body: B,
        room: Option<Quota>,
        held: Option<QuotaPermit>,
    }
}

impl<B> RequestBytesLimit<B> {
    /// Counts the bytes of `body` against `room`. The body ends with OVERLOADED when the room is full.
    pub(super) fn new(body: B, room: Quota) -> Self {
        Self { body, room: Some(room), held: None }
    }

    /// Does not count the bytes: for streams of messages, of which only the current message is in memory.
    pub(super) fn unlimited(body: B) -> Self {
        Self { body, room: None, held: None }
    }
}

impl<B> Body for RequestBytesLimit<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<StdError>,
{
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let this = self.project();
        let frame = ready!(this.body.poll_frame(cx)).map(|frame| frame.map_err(Into::into));
        if let (Some(Ok(frame)), Some(room)) = (&frame, this.room)
            && let Some(data) = frame.data_ref()
        {
            let fits = match this.held {
                Some(held) => held.try_extend(data.len()),
                None => {
                    *this.held = room.try_acquire(data.len());
                    this.held.is_some()
                }
            };
            if !fits {
                return Poll::Ready(Some(Err(status::overloaded(RETRY_AFTER).into())));
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Full};
    use tonic::Status;

    use super::*;
    use crate::limits::UNFINISHED_REQUEST_BYTES;

    #[tokio::test]
    async fn room_is_taken_by_what_has_come_and_free_again_afterwards() {
        let room = Quota::new(UNFINISHED_REQUEST_BYTES);
        let full = || Full::new(Bytes::from(vec![0; UNFINISHED_REQUEST_BYTES / 2]));
        let mut bodies = [(); 3].map(|()| RequestBytesLimit::new(full(), room.clone()));
        assert!(bodies[0].frame().await.unwrap().is_ok() && bodies[1].frame().await.unwrap().is_ok());
        let refused = bodies[2].frame().await.unwrap().unwrap_err();
        assert_eq!(refused.downcast_ref::<Status>().unwrap().code(), tonic::Code::ResourceExhausted);
        assert!(RequestBytesLimit::unlimited(full()).frame().await.unwrap().is_ok());
        drop(bodies);
        assert!(RequestBytesLimit::new(full(), room).frame().await.unwrap().is_ok());
    }
}
