//! Single flight: identical work is done once, and a caller that leaves does not end the work for the rest.
//!
//! The waiting callers drive the work. Only when a waiter leaves early does the work get a task, at most one; a call whose
//! caller stays, which is nearly every call, costs no task.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use crate::planted_bug::{PlantedBug, is_planted};

/// Work in flight, by key. Cheap to clone.
#[derive(Clone)]
pub(crate) struct SingleFlight<T, G = ()>(Arc<SharedFlights<T, G>>);

struct SharedFlights<T, G> {
    flights: Mutex<FlightMap<T, G>>,
    tasks: TaskTracker,
    after_panic: T,
}

type FlightMap<T, G> = HashMap<Arc<[u8]>, OpenFlight<T, G>, RandomState>;

struct OpenFlight<T, G> {
    /// Weak, because the work holds this map: a strong reference would keep the work alive after all waiters and the
    /// runtime are gone.
    work: WeakShared<BoxFuture<'static, T>>,
    has_task: Arc<AtomicBool>,
    tag: G,
}

/// A caller's share of one flight.
pub(crate) struct Waiter<T: Clone + Send + Sync + 'static, G = ()> {
    work: Shared<BoxFuture<'static, T>>,
    has_task: Arc<AtomicBool>,
    /// Whether a different caller began the work.
    pub(crate) joined: bool,
    /// Value given by the caller that began the work; no part of the key.
    pub(crate) tag: G,
    tasks: TaskTracker,
}

impl<T: Clone + Send + Sync + 'static, G> Waiter<T, G> {
    /// Waits for the result of the work.
    pub(crate) async fn wait(&self) -> T {
        self.work.clone().await
    }
}

impl<T: Clone + Send + Sync + 'static, G> Drop for Waiter<T, G> {
    fn drop(&mut self) {
        if self.work.peek().is_some() {
            return;
        }
        // Without a runtime the process is ending, and the work ends with it.
        if Handle::try_current().is_ok()
            && !is_planted(PlantedBug::OperationCancelledWithRpc)
            && !self.has_task.swap(true, Ordering::Relaxed)
        {
            self.tasks.spawn(self.work.clone());
        }
    }
}

impl<T: Clone + Send + Sync + 'static, G: Clone + Send + 'static> SingleFlight<T, G> {
    /// An empty map. Work without a remaining waiter continues among `tasks`; work that panics has the result
    /// `after_panic`.
    pub(crate) fn new(tasks: TaskTracker, after_panic: T) -> Self {
        Self(Arc::new(SharedFlights { flights: Mutex::default(), tasks, after_panic }))
    }

    /// Joins the work in flight for `key`, or begins new work with `work`.
    pub(crate) fn join<F>(&self, key: &[u8], tag: G, work: impl FnOnce() -> F) -> Waiter<T, G>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut flights = self.lock();
        if let Some(waiter) = self.waiter(&flights, key) {
            return waiter;
        }
        let work = AssertUnwindSafe(work()).catch_unwind();
        let key: Arc<[u8]> = key.into();
        let guard = FlightGuard { flights: self.clone(), key: key.clone() };
        let work = work.map(move |result| {
            let flights = &guard.flights;
            // The panic hook has logged the panic; the waiters must survive it.
            result.unwrap_or_else(|_| flights.0.after_panic.clone())
        });
        let work = work.boxed().shared();
        let has_task = Arc::<AtomicBool>::default();
        // Downgrading fails only for a future polled to its end; this future is new.
        if let Some(work) = work.downgrade() {
            flights.insert(key, OpenFlight { work, has_task: has_task.clone(), tag: tag.clone() });
        }
        Waiter { work, has_task, joined: false, tag, tasks: self.0.tasks.clone() }
    }

    /// Joins the work in flight for `key`, if there is any.
    pub(crate) fn join_existing(&self, key: &[u8]) -> Option<Waiter<T, G>> {
        self.waiter(&self.lock(), key)
    }

    fn waiter(&self, flights: &FlightMap<T, G>, key: &[u8]) -> Option<Waiter<T, G>> {
        let OpenFlight { work, has_task, tag } = flights.get(key)?;
        Some(Waiter {
            work: work.upgrade()?,
            has_task: has_task.clone(),
            joined: true,
            tag: tag.clone(),
            tasks: self.0.tasks.clone(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, FlightMap<T, G>> {
        // A panic cannot leave a half-written map: every change is one insert or remove.
        self.0.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes the flight from the map when the work ends in any way, including a panic.
struct FlightGuard<T: Clone + Send + Sync + 'static, G: Clone + Send + 'static> {
    flights: SingleFlight<T, G>,
    key: Arc<[u8]>,
}

impl<T: Clone + Send + Sync + 'static, G: Clone + Send + 'static> Drop for FlightGuard<T, G> {
    fn drop(&mut self) {
        self.flights.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn many_share_one_and_the_next_begins_anew() {
        let flights = SingleFlight::new(TaskTracker::new(), 0);
        let begun = Arc::new(AtomicU32::new(0));
        let (end, ended) = oneshot::channel::<u32>();
        let mut ended = Some(ended);
        let mut waiters = Vec::new();
        for _ in 0..3 {
            waiters.push(flights.join(b"key", (), || {
                begun.fetch_add(1, Ordering::SeqCst);
                let ended = ended.take().unwrap();
                async move { ended.await.unwrap() }
            }));
        }
        assert_eq!(Vec::from_iter(waiters.iter().map(|s| s.joined)), [false, true, true]);
        // The one who began it leaves.
        drop(waiters.remove(0));
        end.send(7).unwrap();
        for waiter in waiters {
            assert_eq!(waiter.wait().await, 7);
        }
        assert_eq!(begun.load(Ordering::SeqCst), 1);
        let again = flights.join(b"key", (), || async { 8 });
        assert!(!again.joined);
        assert_eq!(again.wait().await, 8);
    }

    #[tokio::test]
    async fn work_goes_on_in_a_task_when_its_only_waiter_leaves() {
        let tasks = TaskTracker::new();
        let flights = SingleFlight::new(tasks.clone(), 0);
        let (end, ended) = oneshot::channel::<u32>();
        assert!(flights.join_existing(b"key").is_none());
        drop(flights.join(b"key", (), || async move { ended.await.unwrap() }));
        assert_eq!(tasks.len(), 1);
        drop(flights.join_existing(b"key").unwrap());
        assert_eq!(tasks.len(), 1, "a task is enough");
        let waiter = flights.join_existing(b"key").unwrap();
        end.send(7).unwrap();
        assert_eq!((waiter.joined, waiter.wait().await), (true, 7));
        drop(waiter);
        tasks.close();
        tasks.wait().await;
        assert!(flights.lock().is_empty());
    }

    #[tokio::test]
    async fn other_keys_fly_alone() {
        let flights = SingleFlight::new(TaskTracker::new(), 0);
        let one = flights.join(b"one", (), || async { 1 });
        let two = flights.join(b"two", (), || async { 2 });
        assert_eq!((one.joined, two.joined), (false, false));
        assert_eq!((one.wait().await, two.wait().await), (1, 2));
    }

    #[test]
    fn work_goes_with_its_runtime() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let flights = SingleFlight::new(TaskTracker::new(), 0);
        let (holds, held) = (Arc::new(()), flights.clone());
        let alive = Arc::downgrade(&holds);
        runtime.spawn(async move {
            let work = || async move {
                let _holds = holds;
                std::future::pending().await
            };
            held.join(b"key", (), work).wait().await
        });
        runtime.block_on(tokio::task::yield_now());
        assert!(alive.upgrade().is_some());
        drop(runtime);
        assert!(alive.upgrade().is_none());
        assert!(flights.lock().is_empty());
    }

    #[tokio::test]
    async fn a_panic_has_a_result_for_all_and_frees_the_key() {
        let flights = SingleFlight::new(TaskTracker::new(), 0);
        let waiter = flights.join(b"key", (), || async { panic!("on purpose") });
        assert_eq!(waiter.wait().await, 0);
        assert!(!flights.join(b"key", (), || async { 1 }).joined);
    }
}
