//! Lists and redrives the parked events of a subscription.

use super::block::{message, weight};
use super::events::{AT_ONCE, PAGE_BYTES};
use super::{Feed, FeedStore, invalid, timestamp};
use crate::domain::feed::subscription::{EventRow, RowState, Subscription};
use crate::domain::feed::{FeedMessage, FeedName};
use crate::domain::rules::FieldPath;
use crate::pb;
use crate::ports::call::CallContext;
use crate::service::{ServiceError, paging};

/// Most events redriven by one call.
const MOST_REDRIVEN: usize = 1000;

impl<F: FeedStore> Feed<F> {
    /// Reads a page of parked events.
    pub async fn parked(
        &self,
        request: &pb::ListParkedCancelIntentsRequest,
        call: &CallContext,
    ) -> Result<pb::ListParkedCancelIntentsResponse, ServiceError> {
        let (size, after) = paging::numbered(request.page_size, &request.page_token)?;
        let list = move |it: &mut Subscription| (it.head().config.feed, it.parked_after(after, size + 1));
        let (feed, rows) = self.allowed(&request.subscription, call, list).await?;
        let mut page = pb::ListParkedCancelIntentsResponse::default();
        let shown = match feed {
            FeedName::CancelIntents => {
                let events = self.with_events(&rows[..rows.len().min(size)], request.include_raw).await?;
                page.parked = events.into_iter().map(|(row, event)| put_aside(row, event)).collect();
                page.parked.len()
            }
            FeedName::OrderUpdates => {
                let updates = self.with_events(&rows[..rows.len().min(size)], request.include_raw).await?;
                page.updates = updates.into_iter().map(|(row, update)| update_put_aside(row, update)).collect();
                page.updates.len()
            }
        };
        if shown < rows.len() {
            page.next_page_token = rows[..shown].last().map(|row| row.seq.to_string()).unwrap_or_default();
        }
        Ok(page)
    }

    /// Reads the events of the rows, as many as fit on a page, and at least one.
    async fn with_events<M: FeedMessage>(
        &self,
        rows: &[EventRow],
        raw: bool,
    ) -> Result<Vec<(EventRow, M)>, ServiceError> {
        let log = self.log(M::FEED);
        let id = self.reader(M::FEED).log_id().await?;
        let (mut found, mut bytes) = (Vec::new(), 0);
        for some in rows.chunks(AT_ONCE) {
            let seqs = some.iter().map(|row| row.seq).collect();
            let mut events = log.pick(seqs, raw).await?.into_iter().peekable();
            for row in some {
                let stored = events.next_if(|stored| stored.seq == row.seq);
                let event: M = match stored {
                    Some(stored) => message(id, &stored),
                    None => M::default().placed(row.seq, id.cursor(row.seq).to_string(), Vec::new()),
                };
                let size_of_it = weight(&event);
                if bytes > 0 && bytes + size_of_it > PAGE_BYTES {
                    return Ok(found);
                }
                bytes += size_of_it;
                found.push((row.clone(), event));
            }
        }
        Ok(found)
    }

    /// Redrives parked events of a subscription.
    pub async fn redrive(
        &self,
        request: &pb::RedriveCancelIntentsRequest,
        call: &CallContext,
    ) -> Result<u64, ServiceError> {
        let at = FieldPath::Top("seqs");
        if request.all != request.seqs.is_empty() {
            return Err(invalid(&at, "needs positions, or all: one of the two"));
        }
        if request.seqs.len() > MOST_REDRIVEN {
            return Err(super::out_of_bounds(&at, "must be at most 1000"));
        }
        let seqs = (!request.all).then(|| request.seqs.clone());
        let redriven = self.allowed(&request.subscription, call, move |it| it.redrive(seqs.as_deref())).await?;
        self.0.dispatchers.look(&request.subscription);
        let caller = &call.caller().name;
        tracing::info!(subscription = request.subscription, caller, redriven, "parked events are given out again");
        Ok(redriven)
    }
}

fn put_aside(row: EventRow, event: pb::Event) -> pb::ParkedCancelIntent {
    let (park_time, reason) = since(row.state);
    pb::ParkedCancelIntent { event: Some(event), attempt: row.attempt, park_time, reason }
}

fn update_put_aside(row: EventRow, update: pb::OrderUpdate) -> pb::ParkedOrderUpdate {
    let (park_time, reason) = since(row.state);
    pb::ParkedOrderUpdate { update: Some(update), attempt: row.attempt, park_time, reason }
}

/// Time and reason of the parking.
fn since(state: RowState) -> (Option<prost_types::Timestamp>, String) {
    match state {
        RowState::Parked { since, reason } => (timestamp(since), reason),
        _ => (None, String::new()),
    }
}

#[cfg(test)]
#[path = "parked_tests.rs"]
mod tests;
