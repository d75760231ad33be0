//! The machine by example. What holds on every way stands in [`properties`] and [`small_world`], against [`model`] and
//! [`witness`].

use super::*;

mod floor;
mod lending;
mod model;
mod moving;
mod properties;
mod settling;
mod small_world;
mod witness;
mod world;

/// The clocks differ by far, so that none is taken for the other.
const START: Moment = Moment { wall: Timestamp(1_000_000), steady: SteadyTime(70_000) };

/// So many seconds after the start.
fn at(seconds: u64) -> Moment {
    START.plus(Duration::from_secs(seconds))
}

fn subscription(mode: OrderingMode) -> Subscription {
    with(SubscriptionConfig { mode, ..SubscriptionConfig::default() })
}

fn with(config: SubscriptionConfig) -> Subscription {
    Subscription::new(7, 1, "oms".into(), config, 0, START.wall)
}

/// Much room.
fn room(consumer: &str) -> ConsumerWindow {
    ConsumerWindow { consumer: consumer.into(), events: 100, bytes: 1_000_000, empty: true }
}

/// Room for so many.
fn small(consumer: &str, events: usize) -> ConsumerWindow {
    ConsumerWindow { events, ..room(consumer) }
}

/// Events from position 1 on, of these keys, 10 bytes each.
fn fresh(keys: &[&str]) -> FreshEvents {
    fresh_after(0, keys)
}

/// The same from the position after `after` on.
fn fresh_after(after: u64, keys: &[&str]) -> FreshEvents {
    let event = |(i, key): (usize, &&str)| {
        let seq = after + 1 + i as u64;
        FreshEvent { seq, key: Arc::from(*key), size: 10, received: Timestamp(seq) }
    };
    let events: Vec<FreshEvent> = keys.iter().enumerate().map(event).collect();
    FreshEvents { after, upto: after + keys.len() as u64, events }
}

fn nothing() -> FreshEvents {
    FreshEvents::default()
}

/// What was lent, by position of the event, with the consumer.
fn lent<'a>(loans: &[LeaseGrant], rooms: &'a [ConsumerWindow]) -> Vec<(u64, &'a str)> {
    loans.iter().map(|loan| (loan.lease.seq, &*rooms[loan.room].consumer)).collect()
}

/// Lends to one consumer with much room.
fn lend(subscription: &mut Subscription, now: Moment, fresh: &FreshEvents) -> Vec<u64> {
    subscription.lend(now, &[room("a")], fresh).iter().map(|loan| loan.lease.seq).collect()
}

fn lease(seq: u64, attempt: u32) -> Lease {
    Lease { generation: 1, seq, attempt }
}

fn settle(subscription: &mut Subscription, now: Moment, lease: Lease, verdict: SettleVerdict) -> SettleOutcome {
    let outcomes = subscription.settle(now, &[(lease, verdict)], &mut || 0.5);
    assert_eq!(outcomes.len(), 1);
    outcomes[0]
}

fn ack(subscription: &mut Subscription, seq: u64, attempt: u32) -> SettleOutcome {
    settle(subscription, START, lease(seq, attempt), SettleVerdict::Ack)
}

fn retry(seconds: u64) -> SettleVerdict {
    SettleVerdict::Retry { delay: Some(Duration::from_secs(seconds)), reason: String::new() }
}

fn park(reason: &str) -> SettleVerdict {
    SettleVerdict::Park { reason: reason.into() }
}

/// Every word that ends or lengthens a loan.
fn every_verdict() -> [SettleVerdict; 5] {
    [SettleVerdict::Ack, retry(0), park("no such order"), SettleVerdict::Extend { by: None }, SettleVerdict::Release]
}

fn state(subscription: &Subscription, seq: u64) -> RowState {
    subscription.rows.get(seq).unwrap().state.clone()
}

fn pending(cause: DeliveryCause) -> RowState {
    RowState::Pending { cause }
}
