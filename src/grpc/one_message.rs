//! Holds unary calls to one message. tonic reads the first message of a unary call and passes over the rest, and calls a
//! missing one an internal error.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame, SizeHint};
use tonic::Status;
use tonic::codegen::StdError;

use super::methods;

/// Bytes before a message: a flag and the length.
const PREFIX: usize = 5;

/// A request body that fails with UNIMPLEMENTED unless it has exactly one message. Bodies of streaming calls pass.
#[derive(Debug)]
pub(crate) struct OneMessage<B> {
    inner: B,
    seen: Seen,
}

/// The part of the body that was read so far.
#[derive(Debug)]
enum Seen {
    /// Nothing more is checked.
    Any,
    /// A part of the prefix.
    Prefix { bytes: [u8; PREFIX], len: usize },
    /// The prefix, and all but so many bytes of the message.
    Message(u64),
}

impl<B> OneMessage<B> {
    /// Wraps the body of a request.
    pub(crate) fn of(request: Request<B>) -> Request<Self> {
        let is_unary = !methods::is_streaming(request.uri().path());
        let seen = if is_unary { Seen::Prefix { bytes: [0; PREFIX], len: 0 } } else { Seen::Any };
        request.map(|inner| Self { inner, seen })
    }
}

impl Seen {
    /// Looks at a part of the body. Returns false when a second message begins.
    fn follow(&mut self, mut part: &[u8]) -> bool {
        while !part.is_empty() {
            match self {
                Self::Any => return true,
                Self::Prefix { bytes, len } => {
                    let taken = (PREFIX - *len).min(part.len());
                    bytes[*len..*len + taken].copy_from_slice(&part[..taken]);
                    (*len, part) = (*len + taken, &part[taken..]);
                    if *len == PREFIX {
                        let [_, a, b, c, d] = *bytes;
                        *self = Self::Message(u32::from_be_bytes([a, b, c, d]).into());
                    }
                }
                Self::Message(left) => {
                    let length = part.len() as u64;
                    if length > *left {
                        return false;
                    }
                    *left -= length;
                    return true;
                }
            }
        }
        true
    }

    /// Whether the body ended before the first byte of a message.
    fn is_nothing(&self) -> bool {
        matches!(self, Self::Prefix { len: 0, .. })
    }
}

impl<B> Body for OneMessage<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<StdError>,
{
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let this = &mut *self;
        let frame = ready!(Pin::new(&mut this.inner).poll_frame(cx));
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                let fits = frame.data_ref().is_none_or(|data| this.seen.follow(data));
                let ended_empty = frame.is_trailers() && this.seen.is_nothing();
                Some(match (fits, ended_empty) {
                    (false, _) => Err(Status::unimplemented("more than one message in a unary call").into()),
                    (true, true) => Err(missing()),
                    (true, false) => Ok(frame),
                })
            }
            Some(Err(error)) => Some(Err(error.into())),
            None if this.seen.is_nothing() => {
                // The fault is reported once.
                this.seen = Seen::Any;
                Some(Err(missing()))
            }
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream() && !self.seen.is_nothing()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn missing() -> StdError {
    Status::unimplemented("no message in a unary call").into()
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, StreamBody};
    use tonic::Code;

    use super::*;

    fn message(length: usize) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend(u32::try_from(length).unwrap().to_be_bytes());
        bytes.resize(PREFIX + length, 7);
        bytes
    }

    /// What becomes of a body that comes in parts of this size.
    async fn read(path: &str, body: &[u8], part: usize) -> Result<Vec<u8>, Code> {
        let parts: Vec<_> =
            body.chunks(part).map(|part| Ok::<_, Status>(Frame::data(Bytes::copy_from_slice(part)))).collect();
        let request = Request::post(path).body(StreamBody::new(futures_util::stream::iter(parts))).unwrap();
        let body = OneMessage::of(request).into_body().collect().await;
        body.map(|body| body.to_bytes().to_vec()).map_err(|error| error.downcast::<Status>().unwrap().code())
    }

    #[tokio::test]
    async fn a_unary_call_has_one_message_however_it_comes() {
        const UNARY: &str = "/ordergateway.v1.FulfillmentService/CreateOrder";
        for part in [1, 2, 5, 6, 7, 1000] {
            for length in [0, 1, 300] {
                let one = message(length);
                assert_eq!(read(UNARY, &one, part).await, Ok(one.clone()));
                let two = [one.clone(), message(0)].concat();
                assert_eq!(read(UNARY, &two, part).await, Err(Code::Unimplemented));
                assert_eq!(read("/grpc.health.v1.Health/Watch", &two, part).await, Ok(two.clone()), "a stream");
            }
            assert_eq!(read(UNARY, &[], part).await, Err(Code::Unimplemented));
            // Cut within a message: that is for the decoder to say.
            assert_eq!(read(UNARY, &message(9)[..8], part).await, Ok(message(9)[..8].to_vec()));
        }
    }
}
