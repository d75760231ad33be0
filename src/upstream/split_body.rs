//! A request body sent in two pieces, so that a crash test can end the process between them. Only with the feature
//! `crash-points`.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::crash_point::{CrashPoint, reach};

/// A body in two halves. The declared length is unchanged.
pub(super) struct SplitBody {
    left: Bytes,
    sent: SplitStage,
}

enum SplitStage {
    Nothing,
    FirstHalf,
    /// The connection had time to flush the first half.
    FirstHalfForSure,
}

impl SplitBody {
    pub(super) fn new(body: Bytes) -> Self {
        Self { left: body, sent: SplitStage::Nothing }
    }
}

impl Body for SplitBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.sent {
            SplitStage::Nothing => {
                self.sent = SplitStage::FirstHalf;
                let half = self.left.len() / 2;
                Poll::Ready(Some(Ok(Frame::data(self.left.split_to(half)))))
            }
            SplitStage::FirstHalf => {
                self.sent = SplitStage::FirstHalfForSure;
                // hyper flushes buffered data when the body is pending.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            SplitStage::FirstHalfForSure if self.left.is_empty() => Poll::Ready(None),
            SplitStage::FirstHalfForSure => {
                reach(CrashPoint::L4);
                Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.left)))))
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn all_of_it_leaves_in_two_pieces() {
        let mut body = SplitBody::new(Bytes::from_static(b"first second"));
        assert_eq!(body.size_hint().exact(), Some(12));
        let mut pieces = Vec::new();
        while let Some(frame) = body.frame().await {
            pieces.push(frame.unwrap().into_data().unwrap());
        }
        assert_eq!(pieces, ["first ", "second"]);
    }
}
