//! The call that a thread is working for. Log lines and spans made meanwhile belong to the trace of this call.
//!
//! A future in scope ([`WorkOf`]) sets the ids of its call for each poll. That costs a few nanoseconds, where a `tracing`
//! span costs a microsecond.

use std::cell::Cell;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

thread_local! {
    static CURRENT: Cell<Option<SpanIds>> = const { Cell::new(None) };
}

/// The ids of a span, and whether the span is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanIds {
    /// Id of the trace.
    pub trace_id: u128,
    /// Id of the span.
    pub span_id: u64,
    /// Whether the trace is recorded.
    pub sampled: bool,
}

impl SpanIds {
    /// The span of the call that this thread is working for.
    pub(crate) fn current() -> Option<Self> {
        CURRENT.get()
    }

    /// Makes this thread work for the call of these ids until the guard is dropped.
    pub(crate) fn enter(self) -> CurrentGuard {
        CurrentGuard { before: CURRENT.replace(Some(self)), this_thread: PhantomData }
    }

    /// Makes `work` a part of the call of these ids.
    pub(crate) fn scope<F: Future>(self, work: F) -> WorkOf<F> {
        WorkOf { work, ids: self }
    }
}

/// Ends the work for a call when dropped.
pub(crate) struct CurrentGuard {
    before: Option<SpanIds>,
    /// The guard must be dropped on the thread that made it.
    this_thread: PhantomData<*const ()>,
}

impl Drop for CurrentGuard {
    fn drop(&mut self) {
        CURRENT.set(self.before);
    }
}

pin_project! {
    /// Work for the call of the ids, on whatever thread polls it.
    pub(crate) struct WorkOf<F> {
        #[pin]
        work: F,
        ids: SpanIds,
    }
}

impl<F: Future> Future for WorkOf<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _working = this.ids.enter();
        this.work.poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(span_id: u64) -> SpanIds {
        SpanIds { trace_id: 1, span_id, sampled: false }
    }

    #[tokio::test]
    async fn a_thread_works_for_the_innermost_call_and_for_none_afterwards() {
        let seen = || SpanIds::current().map(|ids| ids.span_id);
        let work = ids(1).scope(async {
            assert_eq!(seen(), Some(1));
            tokio::task::yield_now().await;
            assert_eq!(ids(2).scope(async { seen() }).await, Some(2));
            seen()
        });
        let mut work = std::pin::pin!(work);
        assert!(futures_util::poll!(work.as_mut()).is_pending());
        assert_eq!(seen(), None);
        assert_eq!(work.await, Some(1));
        assert_eq!(seen(), None);
    }
}
