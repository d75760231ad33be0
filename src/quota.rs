//! A quota of places or bytes. Acquiring never waits: if the quota is used up, the caller is refused at once.
//!
//! A semaphore would keep a queue of waiters under a lock, which every call would take twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A limited amount. Cheap to clone; all clones share the quota.
#[derive(Clone, Debug)]
pub struct Quota(Arc<QuotaCounter>);

#[derive(Debug)]
struct QuotaCounter {
    size: usize,
    taken: AtomicUsize,
}

/// An acquired amount, released when dropped.
#[derive(Debug)]
pub struct QuotaPermit {
    quota: Arc<QuotaCounter>,
    amount: usize,
}

impl Quota {
    /// Creates a quota of `size`, all free.
    pub fn new(size: usize) -> Self {
        Self(Arc::new(QuotaCounter { size, taken: AtomicUsize::new(0) }))
    }

    /// Acquires `amount`, or returns `None` if less is left.
    pub fn try_acquire(&self, amount: usize) -> Option<QuotaPermit> {
        self.0.add(amount).then(|| QuotaPermit { quota: self.0.clone(), amount })
    }

    #[cfg(test)]
    pub(crate) fn remaining(&self) -> usize {
        self.0.size - self.0.taken.load(Ordering::Relaxed)
    }
}

impl QuotaCounter {
    fn add(&self, amount: usize) -> bool {
        let sum = |taken: usize| taken.checked_add(amount).filter(|sum| *sum <= self.size);
        // Relaxed is enough: the counter guards no memory.
        self.taken.try_update(Ordering::Relaxed, Ordering::Relaxed, sum).is_ok()
    }
}

impl QuotaPermit {
    /// Acquires `amount` more for this permit. Returns false if less is left.
    #[must_use]
    pub fn try_extend(&mut self, amount: usize) -> bool {
        let there_was = self.quota.add(amount);
        if there_was {
            self.amount += amount;
        }
        there_was
    }
}

impl Drop for QuotaPermit {
    fn drop(&mut self) {
        self.quota.taken.fetch_sub(self.amount, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_gone_until_it_is_dropped() {
        let quota = Quota::new(10);
        let mut taken = quota.try_acquire(4).unwrap();
        assert_eq!(quota.clone().remaining(), 6);
        assert!(quota.try_acquire(7).is_none() && quota.try_acquire(usize::MAX).is_none());
        assert!(!taken.try_extend(7) && taken.try_extend(6));
        assert_eq!(quota.remaining(), 0);
        assert!(quota.try_acquire(1).is_none() && quota.try_acquire(0).is_some());
        drop(taken);
        assert_eq!(quota.remaining(), 10);
    }

    #[test]
    fn no_two_take_the_last_place() {
        let quota = Quota::new(3);
        let taken: Vec<_> = std::thread::scope(|scope| {
            let takers =
                (0..8).map(|_| scope.spawn(|| (0..1000).find_map(|_| quota.try_acquire(1)))).collect::<Vec<_>>();
            takers.into_iter().filter_map(|taker| taker.join().unwrap()).collect()
        });
        assert_eq!((taken.len(), quota.remaining()), (3, 0));
    }
}
