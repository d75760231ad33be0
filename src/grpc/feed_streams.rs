//! The gRPC streams of both feeds.

use ::bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::unfold;
use prost::Message;
use prost::encoding::{WireType, bytes, encode_key, encode_varint, encoded_len_varint, key_len, string, uint64};
use tonic::Status;

use crate::domain::feed::LogId;
use crate::grpc::frames::{self, EncodedFrames};
use crate::grpc::status;
use crate::pb;
use crate::ports::call::CallContext;
use crate::ports::event_log::StoredEvent;
use crate::service::feed::{ConsumerFrame, ConsumerStream, FeedStore, WatchFrame, WatchStream};

/// Field numbers that `Event` and `OrderUpdate` share. A frame is the stored bytes of an event with its position, cursor and body
/// written around them under these numbers, so that no event is decoded to be sent.
mod field {
    /// Field `event` of `WatchCancelIntentsResponse`, `update` of `WatchOrderUpdatesResponse`.
    pub(super) const EVENT: u32 = 2;
    /// Field `seq` of `Event` and `OrderUpdate`.
    pub(super) const SEQ: u32 = 1;
    /// Field `cursor` of `Event` and `OrderUpdate`.
    pub(super) const CURSOR: u32 = 2;
    /// Field `raw_body` of `Event` and `OrderUpdate`.
    pub(super) const RAW_BODY: u32 = 10;
}

/// Appends an event in the form of a watch's frame: a whole `WatchCancelIntentsResponse` or `WatchOrderUpdatesResponse`
/// with its length prefix.
pub(crate) fn encode_event(out: &mut Vec<u8>, log: LogId, event: &StoredEvent) {
    let cursor = log.cursor(event.seq).to_string();
    let raw = if event.raw.is_empty() { 0 } else { bytes::encoded_len(field::RAW_BODY, &event.raw) };
    let inner = uint64::encoded_len(field::SEQ, &event.seq)
        + string::encoded_len(field::CURSOR, &cursor)
        + event.message.len()
        + raw;
    frames::prefix(out, key_len(field::EVENT) + encoded_len_varint(inner as u64) + inner);
    encode_key(field::EVENT, WireType::LengthDelimited, out);
    encode_varint(inner as u64, out);
    uint64::encode(field::SEQ, &event.seq, out);
    string::encode(field::CURSOR, &cursor, out);
    out.extend_from_slice(&event.message);
    if raw > 0 {
        bytes::encode(field::RAW_BODY, &event.raw, out);
    }
}

/// A frame of a watch.
pub(super) trait WatchResponse: Message + 'static {
    /// Builds the first frame.
    fn opened(opened: pb::Opened) -> Self;
    /// Builds the frame sent when no event is due.
    fn heartbeat(beat: pb::Heartbeat) -> Self;
}

/// A frame of a subscription's stream.
pub(super) trait SubscribeResponse: Send + 'static {
    /// Converts a frame to the message of its service.
    fn of(frame: ConsumerFrame) -> Self;
}

/// Implements the frame traits for the messages of one service.
macro_rules! streamed {
    ($watched:ident in $watch:ident, $subscribed:ident in $subscribe:ident) => {
        impl WatchResponse for pb::$watched {
            fn opened(opened: pb::Opened) -> Self {
                Self { frame: Some(pb::$watch::Frame::Opened(opened)) }
            }

            fn heartbeat(beat: pb::Heartbeat) -> Self {
                Self { frame: Some(pb::$watch::Frame::Heartbeat(beat)) }
            }
        }

        impl SubscribeResponse for pb::$subscribed {
            fn of(frame: ConsumerFrame) -> Self {
                use pb::$subscribe::Frame;
                Self {
                    frame: Some(match frame {
                        ConsumerFrame::Opened(opened) => Frame::Opened(opened),
                        ConsumerFrame::Delivery(delivered) => Frame::Delivery(delivered.into()),
                        ConsumerFrame::Heartbeat(beat) => Frame::Heartbeat(beat),
                    }),
                }
            }
        }
    };
}

streamed!(
    WatchCancelIntentsResponse in watch_cancel_intents_response,
    SubscribeCancelIntentsResponse in subscribe_cancel_intents_response
);
streamed!(
    WatchOrderUpdatesResponse in watch_order_updates_response,
    SubscribeOrderUpdatesResponse in subscribe_order_updates_response
);

/// The response of a watch, with frames of type `R`.
pub(super) fn watch<R: WatchResponse, F: FeedStore>(watch: WatchStream<F>, call: CallContext) -> EncodedFrames {
    // Boxed, because the stream's state is moved with every frame.
    EncodedFrames::new(unfold(Box::new((watch, call)), async |mut state| {
        let (watch, call) = &mut *state;
        let frame = match watch.next().await? {
            Ok(WatchFrame::Events(frames)) => Ok(frames),
            Ok(WatchFrame::Opened(opened)) => Ok(encoded(&R::opened(opened))),
            Ok(WatchFrame::Heartbeat(beat)) => Ok(encoded(&R::heartbeat(beat))),
            Err(ended) => Err(status::stream_end(ended, call)),
        };
        Some((frame, state))
    }))
}

fn encoded(frame: &impl Message) -> Bytes {
    let mut out = Vec::new();
    frames::encode(&mut out, frame);
    out.into()
}

/// The stream of a subscription.
pub(super) fn deliveries<R: SubscribeResponse, F: FeedStore>(
    deliveries: ConsumerStream<F>,
    call: CallContext,
) -> impl Stream<Item = Result<R, Status>> + Send {
    unfold((deliveries, call), async |(mut deliveries, call)| {
        let frame = match deliveries.next().await? {
            Ok(frame) => Ok(R::of(frame)),
            Err(ended) => Err(status::stream_end(ended, &call)),
        };
        Some((frame, (deliveries, call)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::{watch_cancel_intents_response, watch_order_updates_response};

    #[test]
    fn an_event_is_put_together_as_prost_would() {
        let log = LogId(0xc0ff_ee00 << 96);
        let intent = pb::Event { event_id: "e".into(), account: "acme".into(), ..Default::default() };
        let update = pb::OrderUpdate { event_id: "u".into(), account: "acme".into(), ..Default::default() };
        for (seq, raw) in [(1, &b""[..]), (300, b"{}"), (u64::MAX, &[7; 70_000])] {
            let sent = |message: Vec<u8>| {
                let received = crate::domain::timestamp::Timestamp(0);
                let event = StoredEvent { seq, received, message: message.into(), raw: Bytes::copy_from_slice(raw) };
                let mut out = Vec::new();
                encode_event(&mut out, log, &event);
                let length = u32::from_be_bytes(out[1..5].try_into().unwrap()) as usize;
                assert_eq!((out[0], length), (0, out.len() - 5));
                out.split_off(5)
            };
            let cursor = log.cursor(seq).to_string();
            let read = pb::WatchCancelIntentsResponse::decode(&sent(intent.encode_to_vec())[..]).unwrap();
            let whole = pb::Event { seq, cursor: cursor.clone(), raw_body: raw.to_vec(), ..intent.clone() };
            assert_eq!(read.frame, Some(watch_cancel_intents_response::Frame::Event(whole)));
            let read = pb::WatchOrderUpdatesResponse::decode(&sent(update.encode_to_vec())[..]).unwrap();
            let whole = pb::OrderUpdate { seq, cursor, raw_body: raw.to_vec(), ..update.clone() };
            assert_eq!(read.frame, Some(watch_order_updates_response::Frame::Update(whole)));
        }
    }
}
