//! The pool of connections in use, and when another takes its place.
//!
//! A pool is replaced after two attempts in a row that took all the time that an attempt may: its connection may lead to a
//! peer that is gone while TCP stays up. It is also replaced at an age of five minutes, so that a name that leads elsewhere
//! by then is followed, and renewed root certificates count. Calls in flight finish on the pool that they began on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use reqwest::Client;
use tokio::runtime::Handle;
use tokio::time::Instant;

/// Timed-out attempts in a row after which a pool is given up.
const TIMEOUTS_IN_A_ROW: u32 = 2;

/// Makes pools and has the one in use. Cheap to clone.
#[derive(Clone)]
pub(super) struct PoolManager(Arc<PoolSlot>);

struct PoolSlot {
    current: ArcSwap<ConnectionPool>,
    make: Box<dyn Fn() -> Result<Client, reqwest::Error> + Send + Sync>,
    longest_life: Duration,
    /// Whether the next one is being made.
    renewing: AtomicBool,
}

/// One pool.
pub(super) struct ConnectionPool {
    pub(super) client: Client,
    made: Instant,
    timeouts: AtomicU32,
}

impl ConnectionPool {
    fn new(client: Client) -> Self {
        Self { client, made: Instant::now(), timeouts: AtomicU32::new(0) }
    }

    /// An attempt on this pool was answered.
    pub(super) fn answered(&self) {
        self.timeouts.store(0, Ordering::Relaxed);
    }
}

impl PoolManager {
    /// Makes the first pool with `make`, and others when they are needed; each is used for `longest_life` at most.
    pub(super) fn new(
        make: impl Fn() -> Result<Client, reqwest::Error> + Send + Sync + 'static,
        longest_life: Duration,
    ) -> Result<Self, reqwest::Error> {
        let current = ArcSwap::from_pointee(ConnectionPool::new(make()?));
        Ok(Self(Arc::new(PoolSlot { current, make: Box::new(make), longest_life, renewing: AtomicBool::new(false) })))
    }

    /// The pool for a new call.
    pub(super) fn current(&self) -> Arc<ConnectionPool> {
        let pool = self.0.current.load_full();
        if pool.made.elapsed() >= self.0.longest_life {
            self.renew();
        }
        pool
    }

    /// An attempt on `pool` took all the time that an attempt may.
    pub(super) fn timed_out(&self, pool: &Arc<ConnectionPool>) {
        let in_a_row = pool.timeouts.fetch_add(1, Ordering::Relaxed) + 1;
        // Attempts that began on an earlier pool say nothing of this one.
        if in_a_row >= TIMEOUTS_IN_A_ROW && Arc::ptr_eq(pool, &self.0.current.load()) {
            tracing::warn!(in_a_row, "attempts timed out: the next ones use new connections to Walmart");
            self.renew();
        }
    }

    /// Puts a new pool in the place of the current one, once: reading the root certificates takes too long for a call, so
    /// calls go on with the old one until then.
    fn renew(&self) {
        if self.0.renewing.swap(true, Ordering::AcqRel) {
            return;
        }
        let parts = self.0.clone();
        let make = move || {
            match (parts.make)() {
                Ok(client) => parts.current.store(Arc::new(ConnectionPool::new(client))),
                // Such as root certificates that cannot be read just now. The old pool still works, and is tried on.
                Err(error) => tracing::warn!("no new connection pool: {error}"),
            }
            parts.renewing.store(false, Ordering::Release);
        };
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(make)),
            Err(_) => make(),
        }
    }
}
