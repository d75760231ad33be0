//! The state for the status page, read at most once a second for all viewers together.
//!
//! A lock of the last reading, held while the next is made, is enough for that: viewers that waited find the new reading
//! there. `SingleFlight` would need the same lock beside it, for the reading that it does not keep.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{StatusPage, view};
use crate::ports::ledger::Ledger;
use crate::ports::upstream::WalmartApi;
use crate::service::feed::{EventIds, FeedStore};

/// Time for which a reading is served, from its end.
pub(super) const FRESH: Duration = Duration::from_secs(1);

/// The last reading, shared by all viewers.
pub(super) struct SharedView<U, L, F> {
    page: Arc<StatusPage<U, L, F>>,
    last: Arc<Mutex<LastView>>,
}

#[derive(Default)]
struct LastView {
    json: Option<(Instant, Bytes)>,
    /// The intents last shown; only newer intents are read.
    intents: VecDeque<EventIds>,
}

impl<U: WalmartApi, L: Ledger, F: FeedStore> SharedView<U, L, F> {
    pub(super) fn new(page: StatusPage<U, L, F>) -> Self {
        Self { page: Arc::new(page), last: Arc::default() }
    }

    /// Returns the state as JSON, at most a second old. Concurrent viewers wait for the same reading. Returns `None` if
    /// the reading panicked.
    pub(super) async fn json(&self) -> Option<Bytes> {
        let mut last = self.last.clone().lock_owned().await;
        if let Some((made, json)) = &last.json
            && made.elapsed() < FRESH
        {
            return Some(json.clone());
        }
        let page = self.page.clone();
        // A task of its own: a viewer that leaves at once would cancel the reading, and the next viewer would read the
        // store again.
        let look = tokio::spawn(async move {
            let board = page.status.board(&mut last.intents).await;
            let json = Bytes::from(view::json(&page, board));
            last.json = Some((Instant::now(), json.clone()));
            json
        });
        look.await.ok()
    }
}
