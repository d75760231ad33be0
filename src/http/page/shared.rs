//! One look at the gateway a second, whoever asks and how often.

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

/// How long a look is good for, from its end.
pub(super) const FRESH: Duration = Duration::from_secs(1);

/// The last look, shared by all viewers.
pub(super) struct SharedView<U, L, F> {
    page: Arc<StatusPage<U, L, F>>,
    last: Arc<Mutex<LastView>>,
}

#[derive(Default)]
struct LastView {
    json: Option<(Instant, Bytes)>,
    /// Shown last; only what has come since is read.
    intents: VecDeque<EventIds>,
}

impl<U: WalmartApi, L: Ledger, F: FeedStore> SharedView<U, L, F> {
    pub(super) fn new(page: StatusPage<U, L, F>) -> Self {
        Self { page: Arc::new(page), last: Arc::default() }
    }

    /// The state as JSON, a second old at most. Whoever comes while it is made waits for the same.
    /// `None` if making it panicked.
    pub(super) async fn json(&self) -> Option<Bytes> {
        let mut last = self.last.clone().lock_owned().await;
        if let Some((made, json)) = &last.json
            && made.elapsed() < FRESH
        {
            return Some(json.clone());
        }
        let page = self.page.clone();
        // In a task of its own: viewers who come and leave at once must not make the store read more often.
        let look = tokio::spawn(async move {
            let board = page.status.board(&mut last.intents).await;
            let json = Bytes::from(view::json(&page, board));
            last.json = Some((Instant::now(), json.clone()));
            json
        });
        look.await.ok()
    }
}
