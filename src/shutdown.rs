//! Going down in order: not ready, stop accepting, drain with a limit, say so to those who are left, abort.
//!
//! One value for the whole process, made in `app` and handed out as clones. Parts that run until the end are counted in
//! [`Shutdown::tasks`]; they watch [`Shutdown::stopping`] to finish what they have and [`Shutdown::aborted`] to let go.

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

/// How long calls have to hear that the grace is over, and then tasks to notice that they are aborted.
const CLOSE_LIMIT: Duration = Duration::from_millis(500);
const ABORT_LIMIT: Duration = Duration::from_millis(500);

/// The stages, in order. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    draining: CancellationToken,
    stopping: CancellationToken,
    closing: OnceEvent,
    aborted: CancellationToken,
    finished: CancellationToken,
    tasks: TaskTracker,
}

/// Comes once. Every unary call waits for one: that is a third of what waiting for a [`CancellationToken`] costs, which can
/// have children and keeps count of all that refer to it.
#[derive(Clone, Debug, Default)]
pub struct OnceEvent {
    is_set: Arc<AtomicBool>,
    notify: Arc<Notify>,
}

pin_project! {
    /// Waits for a [`OnceEvent`] from when it was made.
    #[derive(Debug)]
    pub struct OnceEventWait {
        is_set: bool,
        #[pin]
        notified: OwnedNotified,
    }
}

impl OnceEvent {
    /// It is now.
    pub fn set(&self) {
        self.is_set.store(true, Ordering::Release);
        self.notify.notify_waiters();
    }

    /// Waits for it; at once over if it has come.
    pub fn wait(&self) -> OnceEventWait {
        // In this order: what comes between the two is told to the first.
        let notified = self.notify.clone().notified_owned();
        OnceEventWait { is_set: self.is_set.load(Ordering::Acquire), notified }
    }
}

impl Future for OnceEventWait {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if *this.is_set { Poll::Ready(()) } else { this.notified.poll(cx) }
    }
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrainOutcome {
    /// Everything finished in time.
    Clean,
    /// This many tasks had to be aborted.
    Aborted(usize),
}

impl Shutdown {
    /// Nothing has begun.
    pub fn new() -> Self {
        Self::default()
    }

    /// Stage 1: the process reports that it is not ready.
    pub fn draining(&self) -> &CancellationToken {
        &self.draining
    }

    /// Stage 2: nothing new is accepted, connections say goodbye, streams end.
    pub fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    /// Stage 3: the grace is over, and calls that are still open are told so.
    pub fn closing(&self) -> &OnceEvent {
        &self.closing
    }

    /// Stage 4: what is left lets go at once.
    pub fn aborted(&self) -> &CancellationToken {
        &self.aborted
    }

    /// The drain is over, one way or the other: those who told about it (the probes) may end.
    pub fn finished(&self) -> &CancellationToken {
        &self.finished
    }

    /// Tasks that the drain waits for.
    pub fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Goes through all stages. `not_ready` tells those who watch that no more calls should come; it is done before
    /// anything stops. Takes at most `grace` and a second.
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
                    // Those that do not even let go end with the process.
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
