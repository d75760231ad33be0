//! The connection pool in use, and the replacement of pools.
//!
//! A pool is replaced after two consecutive attempt timeouts, because the connection may lead to a dead peer while
//! TCP stays up. A pool is also replaced after five minutes, so that DNS changes and renewed root certificates take
//! effect. Calls in flight finish on their old pool.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use reqwest::Client;
use tokio::runtime::Handle;
use tokio::time::Instant;

/// Consecutive attempt timeouts after which a pool is replaced.
const TIMEOUTS_IN_A_ROW: u32 = 2;

/// Creates pools and holds the current pool. Cheap to clone.
#[derive(Clone)]
pub(super) struct PoolManager(Arc<PoolSlot>);

struct PoolSlot {
    current: ArcSwap<ConnectionPool>,
    make: Box<dyn Fn() -> Result<Client, reqwest::Error> + Send + Sync>,
    longest_life: Duration,
    /// Whether a replacement is being created.
    renewing: AtomicBool,
}

/// A connection pool, with age and timeouts.
pub(super) struct ConnectionPool {
    pub(super) client: Client,
    made: Instant,
    timeouts: AtomicU32,
}

impl ConnectionPool {
    fn new(client: Client) -> Self {
        Self { client, made: Instant::now(), timeouts: AtomicU32::new(0) }
    }

    /// Resets the timeouts after an answer on this pool.
    pub(super) fn answered(&self) {
        self.timeouts.store(0, Ordering::Relaxed);
    }
}

impl PoolManager {
    /// Creates the first pool with `make`, and later pools on demand. A pool serves new calls for at most
    /// `longest_life`.
    pub(super) fn new(
        make: impl Fn() -> Result<Client, reqwest::Error> + Send + Sync + 'static,
        longest_life: Duration,
    ) -> Result<Self, reqwest::Error> {
        let current = ArcSwap::from_pointee(ConnectionPool::new(make()?));
        Ok(Self(Arc::new(PoolSlot { current, make: Box::new(make), longest_life, renewing: AtomicBool::new(false) })))
    }

    /// Returns the pool for a new call. Starts a replacement if the pool is too old.
    pub(super) fn current(&self) -> Arc<ConnectionPool> {
        let pool = self.0.current.load_full();
        if pool.made.elapsed() >= self.0.longest_life {
            self.renew();
        }
        pool
    }

    /// Counts an attempt timeout on `pool`. Starts a replacement after too many.
    pub(super) fn timed_out(&self, pool: &Arc<ConnectionPool>) {
        let in_a_row = pool.timeouts.fetch_add(1, Ordering::Relaxed) + 1;
        // Timeouts on an earlier pool do not concern the current pool.
        if in_a_row >= TIMEOUTS_IN_A_ROW && Arc::ptr_eq(pool, &self.0.current.load()) {
            tracing::warn!(in_a_row, "attempts timed out: new calls use new connections to Walmart");
            self.renew();
        }
    }

    /// Replaces the current pool, at most once at a time. Reading the root certificates takes too long for a call, so
    /// the work runs on a blocking thread and calls use the old pool meanwhile.
    fn renew(&self) {
        if self.0.renewing.swap(true, Ordering::AcqRel) {
            return;
        }
        let parts = self.0.clone();
        let make = move || {
            match (parts.make)() {
                Ok(client) => parts.current.store(Arc::new(ConnectionPool::new(client))),
                // For example unreadable root certificates. The old pool stays in use, and a later call tries again.
                Err(error) => tracing::warn!("cannot create a connection pool: {error}"),
            }
            // Clear the flag after storing the pool: a call which may renew again sees the new pool and its age.
            parts.renewing.store(false, Ordering::Release);
        };
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(make)),
            Err(_) => make(),
        }
    }
}
