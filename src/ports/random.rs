//! Randomness, passed in so that tests control it. For jitter and ids, not for secrets.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use uuid::Uuid;

/// A source of random numbers that many tasks may draw from at once without a lock (splitmix64 over a shared counter).
#[derive(Clone, Debug)]
pub struct Random(Arc<AtomicU64>);

impl Random {
    /// A source seeded by the operating system.
    pub fn from_system() -> Self {
        Self::from_seed(RandomState::new().hash_one("order-gateway"))
    }

    /// A source with the same numbers for the same seed.
    pub fn from_seed(seed: u64) -> Self {
        Self(Arc::new(AtomicU64::new(seed)))
    }

    /// The next number of the sequence.
    pub fn next_u64(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number of at least 0 and less than 1.
    pub fn fraction(&self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A span from zero to `limit`, evenly spread ("full jitter").
    pub fn up_to(&self, limit: Duration) -> Duration {
        limit.mul_f64(self.fraction())
    }

    /// A version 4 UUID.
    pub fn uuid(&self) -> Uuid {
        let bits = (u128::from(self.next_u64()) << 64) | u128::from(self.next_u64());
        uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let draw = |seed| Vec::from_iter((0..4).map(|_| Random::from_seed(seed).next_u64()));
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert_ne!(Random::from_seed(7).uuid(), Random::from_seed(8).uuid());
        assert_eq!(Random::from_seed(7).uuid().get_version_num(), 4);
    }

    #[test]
    fn fractions_and_spans_stay_in_range() {
        let random = Random::from_seed(1);
        let drawn = Vec::from_iter((0..10_000).map(|_| random.fraction()));
        assert!(drawn.iter().all(|f| (0.0..1.0).contains(f)));
        let mean = drawn.iter().sum::<f64>() / drawn.len() as f64;
        assert!((0.48..0.52).contains(&mean), "{mean}");
        assert!(random.up_to(Duration::from_secs(2)) < Duration::from_secs(2));
    }
}
