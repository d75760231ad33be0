//! Messages of a stream that are already encoded.
//!
//! A watch's events are the same bytes for every stream; tonic's codec would encode and copy them for each. A handler of such
//! a stream answers with [`EncodedFrames`] in the extensions of its response, beside an empty stream that satisfies the generated
//! trait, and [`unpack`] makes them the body.

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

/// Messages, each with its prefix of five bytes, one or more at a time; an error ends the stream with its status.
type EncodedStream = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

/// A body to be. All clones are one; the first that takes it has it.
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

/// Gives an answer that has [`EncodedFrames`] its body.
pub(super) fn unpack(mut response: Response<Body>) -> Response<Body> {
    match response.extensions_mut().remove::<EncodedFrames>().and_then(|frames| frames.take()) {
        Some(stream) => response.map(|_| Body::new(EncodedBody(Some(stream)))),
        None => response,
    }
}

/// Appends a message with its prefix: not packed, and its length.
pub(super) fn encode(out: &mut Vec<u8>, message: &impl Message) {
    prefix(out, message.encoded_len());
    // Only a buffer that cannot grow fails.
    let _ = message.encode(out);
}

/// Appends the prefix of a message that is `length` bytes long.
pub(super) fn prefix(out: &mut Vec<u8>, length: usize) {
    out.push(0);
    // Longer ones are refused long before.
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
