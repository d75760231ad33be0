//! Room that is bounded and never waited for: of places, or of bytes. Who finds none is told so at once.
//!
//! A semaphore would do, but it keeps a queue of those who wait, under a lock that every call would take twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What may be taken at a time. Cheap to clone, all clones are one room.
#[derive(Clone, Debug)]
pub struct Room(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    size: usize,
    taken: AtomicUsize,
}

/// What was taken; free again when dropped.
#[derive(Debug)]
pub struct Taken {
    room: Arc<Parts>,
    amount: usize,
}

impl Room {
    /// All of it free.
    pub fn new(size: usize) -> Self {
        Self(Arc::new(Parts { size, taken: AtomicUsize::new(0) }))
    }

    /// Takes so much, if there is so much left.
    pub fn take(&self, amount: usize) -> Option<Taken> {
        self.0.add(amount).then(|| Taken { room: self.0.clone(), amount })
    }

    /// What is left.
    #[cfg(test)]
    pub(crate) fn left(&self) -> usize {
        self.0.size - self.0.taken.load(Ordering::Relaxed)
    }
}

impl Parts {
    fn add(&self, amount: usize) -> bool {
        let sum = |taken: usize| taken.checked_add(amount).filter(|sum| *sum <= self.size);
        // It guards no memory, it only counts.
        self.taken.try_update(Ordering::Relaxed, Ordering::Relaxed, sum).is_ok()
    }
}

impl Taken {
    /// Takes so much more; says whether there was so much left.
    #[must_use]
    pub fn more(&mut self, amount: usize) -> bool {
        let there_was = self.room.add(amount);
        if there_was {
            self.amount += amount;
        }
        there_was
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.room.taken.fetch_sub(self.amount, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_gone_until_it_is_dropped() {
        let room = Room::new(10);
        let mut taken = room.take(4).unwrap();
        assert_eq!(room.clone().left(), 6);
        assert!(room.take(7).is_none() && room.take(usize::MAX).is_none());
        assert!(!taken.more(7) && taken.more(6));
        assert_eq!(room.left(), 0);
        assert!(room.take(1).is_none() && room.take(0).is_some());
        drop(taken);
        assert_eq!(room.left(), 10);
    }

    #[test]
    fn no_two_take_the_last_place() {
        let room = Room::new(3);
        let taken: Vec<_> = std::thread::scope(|scope| {
            let takers = (0..8).map(|_| scope.spawn(|| (0..1000).find_map(|_| room.take(1)))).collect::<Vec<_>>();
            takers.into_iter().filter_map(|taker| taker.join().unwrap()).collect()
        });
        assert_eq!((taken.len(), room.left()), (3, 0));
    }
}
