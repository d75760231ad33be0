//! Streams of messages which are already encoded.
//!
//! An event has the same bytes in every watch; tonic's codec would encode and copy the event for every stream. The
//! handler of a watch puts [`EncodedFrames`] into the extensions of its response, beside an empty stream that satisfies
//! the generated trait, and [`unpack`] turns the frames into the response body.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use http::Response;
use http_body::Frame;
use prost::Message;
use tonic::Status;
use tonic::body::Body;

use super::layers::catch_panic::trailers;

/// Messages, length prefix included, one or more per item; an error ends the stream with its status.
type EncodedStream = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

/// A response body on its way through the response's extensions. Clones share the stream; the first `take` gets it.
#[derive(Clone)]
pub(super) struct EncodedFrames(Arc<Mutex<Option<EncodedStream>>>);

impl EncodedFrames {
    pub(super) fn new(stream: impl Stream<Item = Result<Bytes, Status>> + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Some(Box::pin(stream)))))
    }

    pub(super) fn take(&self) -> Option<EncodedStream> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Replaces the body of a response that carries [`EncodedFrames`].
pub(super) fn unpack(mut response: Response<Body>) -> Response<Body> {
    match response.extensions_mut().remove::<EncodedFrames>().and_then(|frames| frames.take()) {
        Some(stream) => response.map(|_| Body::new(EncodedBody(Some(stream)))),
        None => response,
    }
}

/// Appends a message with its prefix: the flag for "not compressed", and the length.
pub(super) fn encode(out: &mut Vec<u8>, message: &impl Message) {
    prefix(out, message.encoded_len());
    // Encoding fails only for a buffer that cannot grow; a `Vec` does.
    let _ = message.encode(out);
}

/// Appends the prefix of a message of `length` bytes.
pub(super) fn prefix(out: &mut Vec<u8>, length: usize) {
    out.push(0);
    // Messages beyond 4 GiB are refused long before.
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
}

struct EncodedBody(Option<EncodedStream>);

impl http_body::Body for EncodedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(stream) = &mut self.0 else { return Poll::Ready(None) };
        let end = match std::task::ready!(stream.as_mut().poll_next(cx)) {
            Some(Ok(bytes)) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
            Some(Err(status)) => status,
            None => Status::ok(""),
        };
        self.0 = None;
        Poll::Ready(Some(Ok(Frame::trailers(trailers(&end)))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }
}
