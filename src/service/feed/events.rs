//! Lists events of the logs, and gets single events.

use super::block::{message, weight};
use super::request::{AnsweredWith, EventKey, GetRequest, ListRequest};
use super::{Feed, FeedStore, invalid, places};
use crate::domain::feed::{EventFilter, FeedMessage};
use crate::domain::rules::{FieldFaults, FieldPath};
use crate::pb;
use crate::ports::call::CallContext;
use crate::ports::event_log::{EventLog, FeedLog, LogBounds, StoredEvent};
use crate::service::feed_error::FeedError;
use crate::service::{ServiceError, paging};

/// Most events scanned for one page: a narrow filter makes short pages.
const LOOKED_AT: usize = 10_000;
/// Most bytes of a page, on the wire and in memory; clients accept 4 MiB by default. One event always fits.
pub(super) const PAGE_BYTES: usize = 2 * 1024 * 1024;
/// Events or deliveries read at once with their bodies, where no other limit applies.
pub(super) const AT_ONCE: usize = 16;

impl<F: FeedStore> Feed<F> {
    /// Reads a page of events.
    pub async fn list<'a, R: AnsweredWith>(
        &self,
        request: &'a R,
        call: &CallContext,
    ) -> Result<EventPage<R::Message>, ServiceError>
    where
        &'a R: Into<ListRequest<'a>>,
    {
        let request: ListRequest<'_> = request.into();
        let log = self.log(request.feed);
        let filter = self.scope(request.account, request.filter, call)?;
        let mut faults = FieldFaults::default();
        let size = paging::size(request.page_size, &mut faults);
        faults.into_result().map_err(ServiceError::Invalid)?;
        let bounds = log.bounds().await?;
        let start = match request.page_token {
            "" => {
                let earliest = pb::Position { at: Some(pb::position::At::Earliest(true)) };
                let start = request.start.unwrap_or(&earliest);
                places::resolve(log, bounds, Some(start), &FieldPath::Top("start")).await?
            }
            token => places::after(bounds, token, &FieldPath::Top("page_token"))?,
        };
        let mut page = PageBuilder { bounds, position: start, bytes: 0, events: Vec::new(), raw: request.include_raw };
        fill(log, &mut page, &filter, size).await?;
        let more = page.position < bounds.head;
        let next_page_token = if more { bounds.log.cursor(page.position).to_string() } else { String::new() };
        Ok(EventPage { events: page.events, next_page_token })
    }

    /// Reads the requested event.
    pub async fn get<'a, R: AnsweredWith>(&self, request: &'a R, call: &CallContext) -> Result<R::Message, ServiceError>
    where
        &'a R: Into<GetRequest<'a>>,
    {
        let request: GetRequest<'_> = request.into();
        let (log, raw) = (self.log(request.feed), request.include_raw);
        let bounds = log.bounds().await?;
        let found = match request.key {
            None => return Err(invalid(&FieldPath::Top("key"), "is required: seq, cursor or event_id")),
            Some(EventKey::EventId(id)) => {
                let directory = &self.0.parts.directory;
                let account = directory.id(directory.one(request.account, call)?);
                log.find(&account, id, raw).await?
            }
            Some(EventKey::Seq(seq)) => at(log, bounds, seq, raw).await?,
            Some(EventKey::Cursor(cursor)) => {
                let seq = places::position(bounds, cursor, &FieldPath::Top("cursor"))?;
                at(log, bounds, seq, raw).await?
            }
        };
        let event: R::Message = found.map(|stored| message(bounds.log, &stored)).ok_or(FeedError::EventNotFound)?;
        // An event invisible to the caller is reported as missing.
        let filter = self.scope(request.account, None, call)?;
        if !filter.matches(&event) {
            return Err(FeedError::EventNotFound.into());
        }
        Ok(event)
    }
}

/// A page of events.
#[derive(Clone, Debug, PartialEq)]
pub struct EventPage<M> {
    /// Events of the page, oldest first.
    pub events: Vec<M>,
    /// Token for the next page; empty at the end of the log.
    pub next_page_token: String,
}

/// A page while it is being filled.
struct PageBuilder<M> {
    bounds: LogBounds,
    /// Position up to which events were scanned.
    position: u64,
    bytes: usize,
    events: Vec<M>,
    raw: bool,
}

async fn fill<L: EventLog, M: FeedMessage>(
    log: &FeedLog<L>,
    page: &mut PageBuilder<M>,
    filter: &EventFilter,
    size: usize,
) -> Result<(), ServiceError> {
    let mut looked_at = 0;
    while page.position < page.bounds.head && looked_at < LOOKED_AT {
        let most = (size - page.events.len()).clamp(64, 1000);
        let read = log.read(page.position, most, PAGE_BYTES, page.raw).await?;
        match read.first() {
            Some(first) if first.seq == page.position + 1 => {}
            _ => {
                let first = log.bounds().await?.first;
                return Err(FeedError::EventsExpired { first, lost_from: page.position + 1 }.into());
            }
        }
        looked_at += read.len();
        for stored in read {
            let event: M = message(page.bounds.log, &stored);
            if filter.matches(&event) {
                let size_of_it = weight(&event);
                if page.events.len() == size || (page.bytes > 0 && page.bytes + size_of_it > PAGE_BYTES) {
                    return Ok(());
                }
                page.bytes += size_of_it;
                page.events.push(event);
            }
            page.position = stored.seq;
        }
    }
    Ok(())
}

async fn at<L: EventLog>(
    log: &FeedLog<L>,
    bounds: LogBounds,
    seq: u64,
    raw: bool,
) -> Result<Option<StoredEvent>, ServiceError> {
    if seq == 0 || seq > bounds.head {
        return Ok(None);
    }
    if seq < bounds.first {
        return Err(FeedError::EventsExpired { first: bounds.first, lost_from: seq }.into());
    }
    Ok(log.pick(vec![seq], raw).await?.pop())
}

#[cfg(test)]
#[path = "events_tests.rs"]
mod tests;
