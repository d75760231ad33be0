//! The only reader of a log, which serves the events to any number of streams.
//!
//! One task follows the end of the log and encodes a block shared by all streams at the end. Streams behind the end
//! share blocks from a cache; the first stream starts the read, and the rest waits for the same read.

use std::sync::Arc;

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{OnceCell, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::block::{BLOCK, Encode, LogBlock};
use crate::domain::feed::LogId;
use crate::limits::FEED_CACHE_BYTES;
use crate::ports::event_log::{EventLog, FeedLog};
use crate::ports::store_error::{StoreError, StoreErrorKind};
use crate::service::feed_error::FeedError;
use crate::single_flight::SingleFlight;

/// Bytes read at once. Large events make short blocks.
const READ: usize = 1024 * 1024;

/// The reader of one log. Cheap to clone; all clones share one cache.
#[derive(Clone)]
pub(super) struct LogReader<L>(Arc<ReaderShared<L>>);

struct ReaderShared<L> {
    log: FeedLog<L>,
    /// Id of the log, read once.
    id: OnceCell<LogId>,
    encode: Encode,
    tip: watch::Sender<LogTip>,
    cache: moka::sync::Cache<BlockKey, Arc<LogBlock>>,
    loading: SingleFlight<LoadedBlock>,
}

/// The end of the log.
#[derive(Clone, Default)]
pub(super) struct LogTip {
    /// Position of the last event.
    pub(super) head: u64,
    /// The last events, if a stream was open when they arrived.
    block: Option<Arc<LogBlock>>,
}

impl LogTip {
    /// The last block, if it has the event after `position`.
    pub(super) fn block(&self, position: u64, raw: bool) -> Option<Arc<LogBlock>> {
        let block = self.block.as_ref().filter(|_| !raw)?;
        (block.first() <= position + 1 && position < block.last()).then(|| block.clone())
    }
}

/// Identifies a block by the position before its first event, which is a block boundary or the end of a block shortened
/// by large events. `upto` distinguishes the growing last block.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct BlockKey {
    after: u64,
    upto: u64,
    raw: bool,
}

impl BlockKey {
    fn bytes(self) -> [u8; 17] {
        let mut bytes = [self.raw.into(); 17];
        bytes[..8].copy_from_slice(&self.after.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.upto.to_be_bytes());
        bytes
    }
}

/// A block; `None` where the log has no events any more.
type LoadedBlock = Result<Option<Arc<LogBlock>>, StoreError>;

impl<L: EventLog> LogReader<L> {
    pub(super) fn new(log: FeedLog<L>, encode: Encode) -> Self {
        let cache = moka::sync::Cache::builder()
            .weigher(|_, block: &Arc<LogBlock>| u32::try_from(block.size()).unwrap_or(u32::MAX))
            .max_capacity(FEED_CACHE_BYTES)
            .build();
        let tip = LogTip { head: *log.head().borrow(), block: None };
        let (tip, loading) = (watch::Sender::new(tip), SingleFlight::new(TaskTracker::new(), Err(panicked())));
        Self(Arc::new(ReaderShared { log, id: OnceCell::new(), encode, tip, cache, loading }))
    }

    /// The log read by this reader.
    pub(super) fn source(&self) -> &FeedLog<L> {
        &self.0.log
    }

    /// A channel with the end of the log.
    pub(super) fn tip(&self) -> watch::Receiver<LogTip> {
        self.0.tip.subscribe()
    }

    /// Position of the last event.
    pub(super) fn head(&self) -> u64 {
        self.0.tip.borrow().head
    }

    /// The id of the log.
    pub(super) async fn log_id(&self) -> Result<LogId, StoreError> {
        let read = async || self.0.log.bounds().await.map(|bounds| bounds.log);
        self.0.id.get_or_try_init(read).await.copied()
    }

    /// Follows the end of the log until `stopping`.
    pub(super) async fn follow(self, stopping: CancellationToken, shown: Gauge) {
        let mut heads = self.0.log.head();
        loop {
            let head = *heads.borrow_and_update();
            shown.set(i64::try_from(head).unwrap_or(i64::MAX));
            // Without listeners no block is encoded; a later stream reads for itself.
            let block = if self.0.tip.receiver_count() > 0 { self.last_block(head).await } else { None };
            self.0.tip.send_replace(LogTip { head, block });
            tokio::select! {
                changed = heads.changed() => if changed.is_err() { return },
                () = stopping.cancelled() => return,
            }
        }
    }

    /// Encodes the block ending at the head. Returns `None` when the store fails; the streams then read for themselves.
    async fn last_block(&self, head: u64) -> Option<Arc<LogBlock>> {
        let ReaderShared { log, encode, tip, .. } = &*self.0;
        let start = head.checked_sub(1)? / BLOCK * BLOCK;
        let before = tip.borrow().block.clone().filter(|block| block.last() > start && block.first() > start);
        let after = before.as_ref().map_or(start, |block| block.last());
        let most = usize::try_from(head.saturating_sub(after)).ok()?;
        if most == 0 {
            return before;
        }
        let id = self.log_id().await.ok()?;
        let events = log.read(after, most, READ, false).await.ok()?;
        match before {
            Some(before) if events.first()?.seq == before.last() + 1 => {
                Some(Arc::new(before.extended(id, events, *encode)))
            }
            Some(_) => None,
            None => (!events.is_empty()).then(|| Arc::new(LogBlock::new(log.feed(), id, events, *encode))),
        }
    }

    /// Reads the block with the event after `position`, which is before the end of `tip`.
    pub(super) async fn block(&self, position: u64, tip: &LogTip, raw: bool) -> Result<Arc<LogBlock>, FeedError> {
        if let Some(block) = tip.block(position, raw) {
            return Ok(block);
        }
        let start = position / BLOCK * BLOCK;
        let mut key = BlockKey { after: start, upto: tip.head.min(start + BLOCK), raw };
        loop {
            let found = match self.0.cache.get(&key) {
                Some(block) => Some(block),
                None => self.load(key).await.map_err(|_| FeedError::Store)?,
            };
            match found {
                Some(block) if block.first() <= position + 1 && position < block.last() => return Ok(block),
                Some(block) if block.last() <= position => key.after = block.last(),
                // The events at this position were trimmed; the stored events begin later.
                _ => return Err(self.expired(position).await),
            }
        }
    }

    async fn expired(&self, position: u64) -> FeedError {
        match self.0.log.bounds().await {
            Ok(bounds) => FeedError::EventsExpired { first: bounds.first, lost_from: position + 1 },
            Err(_) => FeedError::Store,
        }
    }

    /// Reads a block, once for all streams that want it.
    async fn load(&self, key: BlockKey) -> LoadedBlock {
        let reader = self.clone();
        self.0.loading.join(&key.bytes(), (), || async move { reader.read(key).await }).wait().await
    }

    async fn read(&self, key: BlockKey) -> LoadedBlock {
        let ReaderShared { log: store, encode, cache, .. } = &*self.0;
        if let Some(block) = cache.get(&key) {
            // A read that ended meanwhile has filled the cache.
            return Ok(Some(block));
        }
        let log = self.log_id().await?;
        let most = usize::try_from(key.upto - key.after).unwrap_or(usize::MAX);
        let events = store.read(key.after, most, READ, key.raw).await?;
        if events.is_empty() {
            return Ok(None);
        }
        let block = Arc::new(LogBlock::new(store.feed(), log, events, *encode));
        cache.insert(key, block.clone());
        Ok(Some(block))
    }
}

fn panicked() -> StoreError {
    StoreError { kind: StoreErrorKind::Failed, text: "reading the log panicked".into() }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
