//! Mutations whose answer was lost, kept in memory for a day.
//!
//! The list keeps a repeated call from being sent blindly. It does not outlive the process; the ledger will take its place.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

/// After this time nothing about the mutation can be found out any more.
const FORGET_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// The list. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Unsettled {
    settle_window: Duration,
    lost: Arc<Mutex<HashMap<Vec<u8>, Lost>>>,
}

#[derive(Debug)]
struct Lost {
    since: Instant,
    /// A hash: the content itself is personal and would be kept for a day.
    content: [u8; 32],
}

/// What the list knows of a mutation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing: it may be sent.
    Clear,
    /// Walmart may still carry it out.
    TooEarly,
    /// Had Walmart carried it out, that would show by now.
    Settled,
}

impl Unsettled {
    /// Walmart applies what it got within `settle_window`.
    pub(super) fn new(settle_window: Duration) -> Self {
        Self { settle_window, lost: Arc::default() }
    }

    pub(super) fn standing(&self, key: &[u8]) -> Standing {
        match self.lock().get(key) {
            None => Standing::Clear,
            Some(lost) if lost.since.elapsed() < self.settle_window => Standing::TooEarly,
            Some(_) => Standing::Settled,
        }
    }

    /// Whether what was lost had this content.
    pub(super) fn had_content(&self, key: &[u8], content: &[u8]) -> bool {
        self.lock().get(key).is_some_and(|lost| lost.content == hash(content))
    }

    pub(super) fn add(&self, key: Vec<u8>, content: &[u8]) {
        let mut all = self.lock();
        all.retain(|_, lost| lost.since.elapsed() < FORGET_AFTER);
        all.insert(key, Lost { since: Instant::now(), content: hash(content) });
    }

    pub(super) fn remove(&self, key: &[u8]) {
        self.lock().remove(key);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Vec<u8>, Lost>> {
        // Changed by whole entries only.
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hash(content: &[u8]) -> [u8; 32] {
    Sha256::digest(content).into()
}
