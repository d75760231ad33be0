//! The feed's streams as gRPC sends them.

use ::bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::unfold;
use prost::encoding::{WireType, bytes, encode_key, encode_varint, encoded_len_varint, key_len, string, uint64};
use tonic::Status;

use crate::domain::feed::LogId;
use crate::grpc::frames::{self, Frames};
use crate::grpc::status;
use crate::pb;
use crate::pb::watch_cancel_intents_response::Frame;
use crate::ports::call::CallContext;
use crate::ports::event_log::StoredEvent;
use crate::service::feed::{Deliveries, FeedStore, Watch, WatchFrame};

/// Numbers of fields, as in the protos: what is stored of an event is put together with what is not, without being read.
mod field {
    /// `WatchCancelIntentsResponse.event`
    pub(super) const EVENT: u32 = 2;
    /// `Event.seq`
    pub(super) const SEQ: u32 = 1;
    /// `Event.cursor`
    pub(super) const CURSOR: u32 = 2;
    /// `Event.raw_body`
    pub(super) const RAW_BODY: u32 = 10;
}

/// Appends an event as a watch sends it: a whole `WatchCancelIntentsResponse` with its prefix.
pub fn encode_event(out: &mut Vec<u8>, log: LogId, event: &StoredEvent) {
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

/// A watch's answer.
pub(super) fn watch<F: FeedStore>(watch: Watch<F>, call: CallContext) -> Frames {
    // In a box, because it is moved with every frame.
    Frames::new(unfold(Box::new((watch, call)), async |mut state| {
        let (watch, call) = &mut *state;
        let frame = match watch.next().await? {
            Ok(WatchFrame::Events(frames)) => Ok(frames),
            Ok(WatchFrame::Opened(opened)) => Ok(encoded(Frame::Opened(opened))),
            Ok(WatchFrame::Heartbeat(beat)) => Ok(encoded(Frame::Heartbeat(beat))),
            Err(ended) => Err(status::stream_end(ended, call)),
        };
        Some((frame, state))
    }))
}

fn encoded(frame: Frame) -> Bytes {
    let mut out = Vec::new();
    frames::encode(&mut out, &pb::WatchCancelIntentsResponse { frame: Some(frame) });
    out.into()
}

/// The stream of a consumer.
pub(super) fn deliveries<F: FeedStore>(
    deliveries: Deliveries<F>,
    call: CallContext,
) -> impl Stream<Item = Result<pb::SubscribeCancelIntentsResponse, Status>> + Send {
    unfold((deliveries, call), async |(mut deliveries, call)| {
        let frame = match deliveries.next().await? {
            Ok(frame) => Ok(pb::SubscribeCancelIntentsResponse { frame: Some(frame) }),
            Err(ended) => Err(status::stream_end(ended, &call)),
        };
        Some((frame, (deliveries, call)))
    })
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    #[test]
    fn an_event_is_put_together_as_prost_would() {
        let log = LogId(0xc0ff_ee00 << 96);
        let stored = pb::Event { event_id: "e".into(), account: "acme".into(), ..Default::default() };
        for (seq, raw) in [(1, &b""[..]), (300, b"{}"), (u64::MAX, &[7; 70_000])] {
            let event = StoredEvent {
                seq,
                received: crate::domain::timestamp::Timestamp(0),
                message: stored.encode_to_vec().into(),
                raw: Bytes::copy_from_slice(raw),
            };
            let mut out = Vec::new();
            encode_event(&mut out, log, &event);
            let length = u32::from_be_bytes(out[1..5].try_into().unwrap()) as usize;
            assert_eq!((out[0], length), (0, out.len() - 5));
            let read = pb::WatchCancelIntentsResponse::decode(&out[5..]).unwrap();
            let cursor = log.cursor(seq).to_string();
            let whole = pb::Event { seq, cursor, raw_body: raw.to_vec(), ..stored.clone() };
            assert_eq!(read.frame, Some(Frame::Event(whole)));
        }
    }
}
