//! Draws from a seed. Everything that looks random in a simulation comes from here.

use std::time::Duration;

use order_gateway::ports::random::Random;

/// What the simulation draws besides plain numbers.
pub(crate) trait Draw {
    /// Whether something happens that has this probability.
    fn chance(&self, probability: f64) -> bool;
    /// A whole number from `least` to `most`.
    fn whole(&self, least: u64, most: u64) -> u64;
    /// A span from `least` to `most`, in whole milliseconds.
    fn span(&self, least: Duration, most: Duration) -> Duration;
    /// One of these.
    fn one_of<'a, T>(&self, all: &'a [T]) -> &'a T;
}

impl Draw for Random {
    fn chance(&self, probability: f64) -> bool {
        self.fraction() < probability
    }

    fn whole(&self, least: u64, most: u64) -> u64 {
        least + self.next_u64() % (most.saturating_sub(least) + 1)
    }

    fn span(&self, least: Duration, most: Duration) -> Duration {
        Duration::from_millis(self.whole(least.as_millis() as u64, most.as_millis() as u64))
    }

    fn one_of<'a, T>(&self, all: &'a [T]) -> &'a T {
        &all[self.whole(0, all.len() as u64 - 1) as usize]
    }
}

/// Whole seconds.
pub(crate) const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Whole milliseconds.
pub(crate) const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}
