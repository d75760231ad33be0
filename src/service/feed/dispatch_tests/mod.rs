//! What consumers get; through their streams.

mod endings;
mod kept;
mod leases;
mod sharing;
mod up_to_date;

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::super::consumer::{ConsumerFrame, ConsumerStream};
use super::*;
use crate::domain::feed::FeedName;
use crate::domain::timestamp::Timestamp;
use crate::pb;
use crate::pb::verdict::Verdict as Said;
use crate::ports::subscriptions::SubscriptionStore as _;
use crate::testing::feed::*;

const LEASE: Duration = Duration::from_secs(30);

fn with_mode(mode: pb::SubscriptionMode) -> pb::Subscription {
    pb::Subscription { mode: mode.into(), ..plain("oms") }
}

fn retry(delay: Duration) -> Said {
    Said::Retry(pb::Retry { delay: span(delay), reason: String::new() })
}

fn park() -> Said {
    Said::Park(pb::Park { reason: "later".into() })
}

fn seq(delivery: &pb::Delivery) -> u64 {
    delivery.event.as_ref().unwrap().seq
}

/// Nothing comes for this long, however many heartbeats.
async fn nothing(stream: &mut ConsumerStream<impl FeedStore>, time: Duration) {
    let until = Instant::now() + time;
    while let Ok(frame) = tokio::time::timeout_at(until, stream.next()).await {
        assert!(matches!(frame, Some(Ok(ConsumerFrame::Heartbeat(_)))), "{frame:?}");
    }
}

async fn update(feed: &TestFeed, subscription: pb::Subscription) -> pb::Subscription {
    let request = pb::UpdateSubscriptionRequest { subscription: Some(subscription), update_mask: None };
    feed.feed.update(&request, &anyone()).await.unwrap().subscription.unwrap()
}
