//! Reads streams: what is kept of each frame, and how a stream ended.

use order_gateway::pb::subscribe_cancel_intents_response::Frame as SubscribeFrame;
use order_gateway::pb::watch_cancel_intents_response::Frame as WatchFrame;
use order_gateway::pb::{self, SubscribeCancelIntentsResponse, WatchCancelIntentsResponse};
use tonic::Status;
use tonic_types::StatusExt as _;

use super::history::{Content, End, Frame, Heartbeat, Lease, Opened, Stream, micros, now, position, span};

/// A frame of a stream that was taken in.
pub(crate) enum Taken {
    /// Nothing to act on.
    Nothing,
    /// Everything up to this position was told.
    Upto(u64),
    /// An event of a watch.
    Event(Box<pb::Event>),
    /// A loan.
    Loan(Lease),
}

/// Takes in a frame of a watch.
pub(crate) fn watch<R>(stream: &mut Stream<R>, frame: WatchCancelIntentsResponse, keeps: bool) -> Taken {
    match frame.frame {
        Some(WatchFrame::Opened(opened)) => open(stream, opened),
        Some(WatchFrame::Event(event)) => {
            let kept = keeps.then(|| event.clone());
            let seq = event.seq;
            take(stream, |log_id| match position(log_id, &event.cursor) {
                Some(at) if at == seq => Frame::Event(Content::of(event)),
                _ => Frame::Wrong(format!("event {seq} came with the cursor {}", event.cursor)),
            });
            kept.map_or(Taken::Upto(seq), |event| Taken::Event(Box::new(event)))
        }
        Some(WatchFrame::Heartbeat(heartbeat)) => beat(stream, heartbeat),
        None => take(stream, |_| Frame::Wrong("a frame without content".to_owned())),
    }
}

/// Takes in a frame of a subscription's stream.
pub(crate) fn subscribe<R>(stream: &mut Stream<R>, frame: SubscribeCancelIntentsResponse) -> Taken {
    match frame.frame {
        Some(SubscribeFrame::Opened(opened)) => open(stream, opened),
        Some(SubscribeFrame::Delivery(delivery)) => {
            let (cause, expires) = (delivery.cause(), micros(delivery.lease_expires_at));
            let (lease, event) = (Lease::read(&delivery.lease), delivery.event.unwrap_or_default());
            let fits = lease.filter(|lease| lease.seq == event.seq && lease.attempt == delivery.attempt);
            let Some(lease) = fits else {
                let what = format!("{} came with event {} and attempt {}", delivery.lease, event.seq, delivery.attempt);
                return take(stream, |_| Frame::Wrong(what));
            };
            take(stream, |_| Frame::Delivery { content: Content::of(event), lease, expires, cause });
            Taken::Loan(lease)
        }
        Some(SubscribeFrame::Heartbeat(heartbeat)) => beat(stream, heartbeat),
        None => take(stream, |_| Frame::Wrong("a frame without content".to_owned())),
    }
}

/// How the gateway ended a stream.
pub(crate) fn end(status: &Status) -> End {
    match reason(status) {
        reason if reason.is_empty() => End::Broken,
        reason => End::Refused(reason),
    }
}

/// The gateway's own reason; empty when an error is none of its own.
pub(crate) fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

/// Whether it makes no sense to repeat the call.
pub(crate) fn is_final(status: &Status) -> bool {
    let again = ["", "STORE_UNAVAILABLE", "SHUTTING_DOWN", "OVERLOADED", "DEADLINE_EXCEEDED"];
    !again.contains(&reason(status).as_str())
}

fn open<R>(stream: &mut Stream<R>, opened: pb::Opened) -> Taken {
    let Some(position) = position(&opened.log_id, &opened.position) else {
        return take(stream, |_| Frame::Wrong(format!("the stream began at {}", opened.position)));
    };
    if stream.opened.is_some() || !stream.frames.is_empty() {
        return take(stream, |_| Frame::Wrong("a second beginning".to_owned()));
    }
    stream.opened = Some(Opened {
        at: now(),
        position,
        head: opened.head,
        first: opened.first_available,
        heartbeat: span(opened.heartbeat_interval),
        lease: span(opened.lease_duration),
        generation: opened.generation,
        held: opened.held_leases.iter().filter_map(|lease| Lease::read(lease)).collect(),
        log_id: opened.log_id,
    });
    Taken::Upto(position)
}

fn beat<R>(stream: &mut Stream<R>, heartbeat: pb::Heartbeat) -> Taken {
    let mut cursor = None;
    take(stream, |log_id| {
        cursor = position(log_id, &heartbeat.cursor);
        match cursor {
            Some(cursor) => Frame::Heartbeat(Heartbeat {
                cursor,
                head: heartbeat.head,
                backlog: heartbeat.backlog,
                state: heartbeat.state(),
            }),
            None => Frame::Wrong(format!("a heartbeat with the cursor {}", heartbeat.cursor)),
        }
    });
    cursor.map_or(Taken::Nothing, Taken::Upto)
}

fn take<R>(stream: &mut Stream<R>, frame: impl FnOnce(&str) -> Frame) -> Taken {
    let frame = match &stream.opened {
        Some(opened) => frame(&opened.log_id),
        None => Frame::Wrong("the first frame was not the beginning".to_owned()),
    };
    stream.frames.push((now(), frame));
    Taken::Nothing
}
