//! Going down in order: not ready, stop accepting, drain with a limit, say so to those who are left, abort.
//!
//! One value for the whole process, made in `app` and handed out as clones. Parts that run until the end are counted in
//! [`Shutdown::tasks`]; they watch [`Shutdown::stopping`] to finish what they have and [`Shutdown::aborted`] to let go.

use std::future::Future;
use std::time::Duration;

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
    closing: CancellationToken,
    aborted: CancellationToken,
    finished: CancellationToken,
    tasks: TaskTracker,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
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
    pub fn closing(&self) -> &CancellationToken {
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
    pub async fn run(&self, not_ready: impl Future<Output = ()>, grace: Duration) -> Drained {
        self.draining.cancel();
        not_ready.await;
        self.stopping.cancel();
        self.tasks.close();
        let drained = match timeout(grace, self.tasks.wait()).await {
            Ok(()) => Drained::Clean,
            Err(_) => {
                let left = self.tasks.len();
                self.closing.cancel();
                if timeout(CLOSE_LIMIT, self.tasks.wait()).await.is_err() {
                    self.aborted.cancel();
                    // Those that do not even let go end with the process.
                    let _ = timeout(ABORT_LIMIT, self.tasks.wait()).await;
                }
                Drained::Aborted(left)
            }
        };
        self.finished.cancel();
        drained
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::time::{Instant, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn stages_come_in_order() {
        let shutdown = Shutdown::new();
        let events = Arc::new(Mutex::new(Vec::new()));
        for (name, token) in [
            ("draining", shutdown.draining().clone()),
            ("stopping", shutdown.stopping().clone()),
            ("closing", shutdown.closing().clone()),
            ("aborted", shutdown.aborted().clone()),
        ] {
            let events = events.clone();
            shutdown.tasks().spawn(async move {
                token.cancelled().await;
                events.lock().unwrap().push(name);
            });
        }
        let told = events.clone();
        let not_ready = async move {
            sleep(Duration::from_millis(1)).await;
            told.lock().unwrap().push("told");
        };
        let started = Instant::now();
        let drained = shutdown.run(not_ready, Duration::from_secs(5)).await;
        assert_eq!(drained, Drained::Aborted(2), "those that waited for the last two stages");
        assert_eq!(*events.lock().unwrap(), ["draining", "told", "stopping", "closing", "aborted"]);
        assert_eq!(started.elapsed(), Duration::from_millis(5501));
    }

    #[tokio::test(start_paused = true)]
    async fn what_finishes_is_not_waited_for_and_what_hangs_does_not_hold_up() {
        let shutdown = Shutdown::new();
        let started = Instant::now();
        shutdown.tasks().spawn(sleep(Duration::from_secs(2)));
        assert_eq!(shutdown.run(async {}, Duration::from_secs(5)).await, Drained::Clean);
        assert_eq!(started.elapsed(), Duration::from_secs(2));
        assert!(shutdown.finished().is_cancelled() && !shutdown.aborted().is_cancelled());

        let shutdown = Shutdown::new();
        let started = Instant::now();
        shutdown.tasks().spawn(std::future::pending::<()>());
        assert_eq!(shutdown.run(async {}, Duration::from_secs(5)).await, Drained::Aborted(1));
        assert_eq!(started.elapsed(), Duration::from_secs(6));
    }
}
