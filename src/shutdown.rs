//! Orderly shutdown: report not ready, stop accepting, drain within a limit, notify the remaining calls, abort.
//!
//! `app` creates a single [`Shutdown`] and hands out clones. Tasks which run until the end are tracked in
//! [`Shutdown::tasks`]. Such tasks finish their work on [`Shutdown::stopping`], and give up on [`Shutdown::aborted`].

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Time for calls to report the end of the grace, and then for tasks to notice the abort.
const CLOSE_LIMIT: Duration = Duration::from_millis(500);
const ABORT_LIMIT: Duration = Duration::from_millis(500);

/// The stages of a shutdown, in order. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    draining: CancellationToken,
    stopping: CancellationToken,
    closing: OnceEvent,
    aborted: CancellationToken,
    finished: CancellationToken,
    tasks: TaskTracker,
}

/// An event which happens once. Every unary call waits for such an event, at a third of the cost of a
/// [`CancellationToken`], which can have children and tracks all references.
#[derive(Clone, Debug, Default)]
pub struct OnceEvent {
    is_set: Arc<AtomicBool>,
    notify: Arc<Notify>,
}

pin_project! {
    /// Waits for a [`OnceEvent`], from the creation of the future on.
    #[derive(Debug)]
    pub struct OnceEventWait {
        is_set: bool,
        #[pin]
        notified: OwnedNotified,
    }
}

impl OnceEvent {
    /// Sets the event and wakes all waiters.
    pub fn set(&self) {
        self.is_set.store(true, Ordering::Release);
        self.notify.notify_waiters();
    }

    /// Returns a future which completes when the event is set, or at once if already set.
    pub fn wait(&self) -> OnceEventWait {
        // Register before reading the flag: an event set in between wakes the registered waiter, and would be missed
        // in the other order.
        let notified = self.notify.clone().notified_owned();
        OnceEventWait { is_set: self.is_set.load(Ordering::Acquire), notified }
    }

    /// Runs `work`, but no longer than until the event: then returns `None`.
    pub async fn run_until<F: Future>(&self, work: F) -> Option<F::Output> {
        tokio::select! {
            biased;
            done = work => Some(done),
            () = self.wait() => None,
        }
    }
}

impl Future for OnceEventWait {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if *this.is_set { Poll::Ready(()) } else { this.notified.poll(cx) }
    }
}

/// The outcome of a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrainOutcome {
    /// All tasks finished in time.
    Clean,
    /// The number of tasks still running at the end of the grace.
    Aborted(usize),
}

impl Shutdown {
    /// Creates a shutdown which has not started.
    pub fn new() -> Self {
        Self::default()
    }

    /// Stage 1: the process reports not ready.
    pub fn draining(&self) -> &CancellationToken {
        &self.draining
    }

    /// Stage 2: nothing new is accepted, connections send GOAWAY, streams end.
    pub fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    /// Stage 3: the grace is over, and the calls in flight end.
    pub fn closing(&self) -> &OnceEvent {
        &self.closing
    }

    /// Stage 4: the remaining tasks give up at once.
    pub fn aborted(&self) -> &CancellationToken {
        &self.aborted
    }

    /// The drain is over, with any outcome. The probes may end now.
    pub fn finished(&self) -> &CancellationToken {
        &self.finished
    }

    /// The tasks awaited by the drain.
    pub fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Runs all stages. `not_ready` reports the process as not ready to observers, before anything stops. Takes at
    /// most `grace` and a second.
    pub async fn run(&self, not_ready: impl Future<Output = ()>, grace: Duration) -> DrainOutcome {
        self.draining.cancel();
        not_ready.await;
        self.stopping.cancel();
        self.tasks.close();
        let drained = match timeout(grace, self.tasks.wait()).await {
            Ok(()) => DrainOutcome::Clean,
            Err(_) => {
                let left = self.tasks.len();
                self.closing.set();
                if timeout(CLOSE_LIMIT, self.tasks.wait()).await.is_err() {
                    self.aborted.cancel();
                    // Tasks which ignore the abort end with the process.
                    let _ = timeout(ABORT_LIMIT, self.tasks.wait()).await;
                }
                DrainOutcome::Aborted(left)
            }
        };
        self.finished.cancel();
        drained
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_util::FutureExt as _;
    use futures_util::future::BoxFuture;
    use tokio::time::{Instant, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn stages_come_in_order() {
        let shutdown = Shutdown::new();
        let events = Arc::new(Mutex::new(Vec::new()));
        let comes = |name, stage: BoxFuture<'static, ()>| {
            let events = events.clone();
            shutdown.tasks().spawn(stage.map(move |()| events.lock().unwrap().push(name)));
        };
        comes("draining", shutdown.draining().clone().cancelled_owned().boxed());
        comes("stopping", shutdown.stopping().clone().cancelled_owned().boxed());
        comes("closing", shutdown.closing().wait().boxed());
        comes("aborted", shutdown.aborted().clone().cancelled_owned().boxed());
        let told = events.clone();
        let not_ready = async move {
            sleep(Duration::from_millis(1)).await;
            told.lock().unwrap().push("told");
        };
        let started = Instant::now();
        let drained = shutdown.run(not_ready, Duration::from_secs(5)).await;
        assert_eq!(drained, DrainOutcome::Aborted(2), "those that waited for the last two stages");
        assert_eq!(*events.lock().unwrap(), ["draining", "told", "stopping", "closing", "aborted"]);
        assert_eq!(started.elapsed(), Duration::from_millis(5501));
    }

    #[test]
    fn a_moment_comes_for_those_who_waited_and_those_who_came_late() {
        let moment = OnceEvent::default();
        let (mut polled, unpolled) = (Box::pin(moment.wait()), moment.wait());
        assert_eq!((&mut polled).now_or_never(), None);
        moment.clone().set();
        assert_eq!(polled.now_or_never(), Some(()));
        assert_eq!(unpolled.now_or_never(), Some(()), "made before it came, asked only after");
        assert_eq!(moment.wait().now_or_never(), Some(()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_finishes_is_not_waited_for_and_what_hangs_does_not_hold_up() {
        let shutdown = Shutdown::new();
        let started = Instant::now();
        shutdown.tasks().spawn(sleep(Duration::from_secs(2)));
        assert_eq!(shutdown.run(async {}, Duration::from_secs(5)).await, DrainOutcome::Clean);
        assert_eq!(started.elapsed(), Duration::from_secs(2));
        assert!(shutdown.finished().is_cancelled() && !shutdown.aborted().is_cancelled());

        let shutdown = Shutdown::new();
        let started = Instant::now();
        shutdown.tasks().spawn(std::future::pending::<()>());
        assert_eq!(shutdown.run(async {}, Duration::from_secs(5)).await, DrainOutcome::Aborted(1));
        assert_eq!(started.elapsed(), Duration::from_secs(6));
    }
}
