//! Single flight: identical work is done once, and a caller that leaves does not end the work for the rest.
//!
//! The waiting callers drive the work. Only when the last waiter leaves early does the work get a task of its own; a
//! call whose caller stays, which is nearly every call, costs no task.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use foldhash::fast::RandomState;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, CatchUnwind, Shared, WeakShared};
use pin_project_lite::pin_project;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;

use super::ServiceError;
use crate::planted_bug::{PlantedBug, is_planted};

type SharedWork<T> = Shared<BoxFuture<'static, Result<T, ServiceError>>>;

/// Work in flight, by key. Cheap to clone.
#[derive(Clone)]
pub(super) struct SingleFlight<T, G = ()>(Arc<SharedFlights<T, G>>);

struct SharedFlights<T, G> {
    flights: Mutex<FlightMap<T, G>>,
    tasks: TaskTracker,
}

type FlightMap<T, G> = HashMap<Arc<[u8]>, OpenFlight<T, G>, RandomState>;

struct OpenFlight<T, G> {
    /// Weak, because the work holds this map: a strong reference would keep the work alive after all waiters and the
    /// runtime are gone.
    work: WeakShared<BoxFuture<'static, Result<T, ServiceError>>>,
    deadline: Instant,
    tag: G,
}

/// A caller's share of one flight.
pub(super) struct Waiter<T: Clone + Send + Sync + 'static, G = ()> {
    work: SharedWork<T>,
    /// Whether a different caller began the work.
    pub(super) joined: bool,
    /// Deadline of the caller that began the work.
    deadline: Instant,
    /// Value given by the caller that began the work; no part of the key.
    pub(super) tag: G,
    tasks: TaskTracker,
}

impl<T: Clone + Send + Sync + 'static, G> Waiter<T, G> {
    /// Waits for the end of the work. Returns `None` at `deadline`.
    pub(super) async fn wait(&self, deadline: Instant) -> Option<Result<T, ServiceError>> {
        timeout_at(deadline, self.work.clone()).await.ok()
    }

    /// Whether the work failed only because its first caller had less time than a caller with `deadline`.
    pub(super) fn was_too_short_for<A>(&self, deadline: Instant, result: &Result<A, ServiceError>) -> bool {
        let failed = result.as_ref().is_err_and(ServiceError::more_time_may_help);
        failed && self.joined && self.deadline < deadline && Instant::now() < deadline
    }
}

impl<T: Clone + Send + Sync + 'static, G> Drop for Waiter<T, G> {
    fn drop(&mut self) {
        if self.work.peek().is_some() {
            return;
        }
        // Without a runtime the process is ending, and the work ends with it.
        if Handle::try_current().is_ok() && !is_planted(PlantedBug::OperationCancelledWithRpc) {
            self.tasks.spawn(self.work.clone());
        }
    }
}

impl<T: Clone + Send + Sync + 'static, G: Clone + Send + 'static> SingleFlight<T, G> {
    /// An empty map. Work without a remaining waiter continues among `tasks`.
    pub(super) fn new(tasks: TaskTracker) -> Self {
        Self(Arc::new(SharedFlights { flights: Mutex::default(), tasks }))
    }

    /// Joins the work in flight for `key`, or begins new work with `work`.
    pub(super) fn join<F>(&self, key: &[u8], tag: G, deadline: Instant, work: impl FnOnce() -> F) -> Waiter<T, G>
    where
        F: Future<Output = Result<T, ServiceError>> + Send + 'static,
    {
        let key: Arc<[u8]> = key.into();
        let mut flights = self.lock();
        let in_flight = flights.get(&key).and_then(|flight| Some((flight, flight.work.upgrade()?)));
        if let Some((OpenFlight { deadline, tag, .. }, work)) = in_flight {
            return Waiter { work, joined: true, deadline: *deadline, tag: tag.clone(), tasks: self.0.tasks.clone() };
        }
        let guard = FlightGuard { flights: self.clone(), key: key.clone() };
        let flying = FlightFuture { work: AssertUnwindSafe(work()).catch_unwind(), guard: Some(guard) };
        let work = flying.boxed().shared();
        // Downgrading fails only for a future polled to its end; this future is new.
        if let Some(work) = work.downgrade() {
            flights.insert(key, OpenFlight { work, deadline, tag: tag.clone() });
        }
        Waiter { work, joined: false, deadline, tag, tasks: self.0.tasks.clone() }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, FlightMap<T, G>> {
        // A panic cannot leave a half-written map: every change is one insert or remove.
        self.0.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pin_project! {
    /// The work in flight. A hand-written future, because an async block would store the large work twice.
    struct FlightFuture<F, L> {
        #[pin]
        work: CatchUnwind<AssertUnwindSafe<F>>,
        guard: Option<L>,
    }
}

impl<F, L, T> Future for FlightFuture<F, L>
where
    F: Future<Output = Result<T, ServiceError>>,
{
    type Output = Result<T, ServiceError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        // The panic hook has logged the panic; the waiters must survive it.
        let result = ready!(this.work.poll(cx)).unwrap_or(Err(ServiceError::Internal));
        this.guard.take();
        Poll::Ready(result)
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
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn many_share_one_and_the_next_begins_anew() {
        let flights = SingleFlight::<_, ()>::new(TaskTracker::new());
        let begun = Arc::new(AtomicU32::new(0));
        let (end, ended) = oneshot::channel::<u32>();
        let mut ended = Some(ended);
        let mut waiters = Vec::new();
        for _ in 0..3 {
            waiters.push(flights.join(b"key", (), Instant::now(), || {
                begun.fetch_add(1, Ordering::SeqCst);
                let ended = ended.take().unwrap();
                async move { Ok(ended.await.unwrap()) }
            }));
        }
        assert_eq!(Vec::from_iter(waiters.iter().map(|s| s.joined)), [false, true, true]);
        // The one who began it leaves.
        drop(waiters.remove(0));
        end.send(7).unwrap();
        for waiter in waiters {
            assert_eq!(waiter.work.clone().await.unwrap(), 7);
        }
        assert_eq!(begun.load(Ordering::SeqCst), 1);
        let again = flights.join(b"key", (), Instant::now(), || async { Ok(8) });
        assert!(!again.joined);
        assert_eq!(again.work.clone().await.unwrap(), 8);
    }

    #[tokio::test]
    async fn other_keys_fly_alone() {
        let flights = SingleFlight::<_, ()>::new(TaskTracker::new());
        let one = flights.join(b"one", (), Instant::now(), || async { Ok(1) });
        let two = flights.join(b"two", (), Instant::now(), || async { Ok(2) });
        assert_eq!((one.joined, two.joined), (false, false));
        assert_eq!((one.work.clone().await.unwrap(), two.work.clone().await.unwrap()), (1, 2));
    }

    #[test]
    fn work_goes_with_its_runtime() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let flights = SingleFlight::<u32, ()>::new(TaskTracker::new());
        let (holds, held) = (Arc::new(()), flights.clone());
        let alive = Arc::downgrade(&holds);
        runtime.spawn(async move {
            let work = || async move {
                let _holds = holds;
                std::future::pending().await
            };
            held.join(b"key", (), Instant::now(), work).work.clone().await
        });
        runtime.block_on(tokio::task::yield_now());
        assert!(alive.upgrade().is_some());
        drop(runtime);
        assert!(alive.upgrade().is_none());
        assert!(flights.lock().is_empty());
    }

    #[tokio::test]
    async fn a_panic_is_an_error_for_all_and_frees_the_key() {
        let flights = SingleFlight::<u32, ()>::new(TaskTracker::new());
        let waiter = flights.join(b"key", (), Instant::now(), || async { panic!("on purpose") });
        assert!(matches!(waiter.work.clone().await, Err(ServiceError::Internal)));
        assert!(!flights.join(b"key", (), Instant::now(), || async { Ok(1) }).joined);
    }
}
