//! The trace of a simulation: one line for each thing that happened, with the simulated time. Two runs of one seed must give
//! the same bytes; the hash tells.

use std::fmt::{self, Write as _};
use std::hash::{BuildHasher as _, Hasher as _};
use std::time::Duration;

use foldhash::quality::FixedState;

/// Lines so far, as a hash, and as text where that is wanted.
pub(crate) struct Trace {
    hash: u64,
    line: String,
    kept: Option<String>,
}

impl Trace {
    pub(crate) fn new(keep: bool) -> Self {
        Self { hash: 0, line: String::new(), kept: keep.then(String::new) }
    }

    /// Adds a line.
    pub(crate) fn add(&mut self, time: Duration, what: fmt::Arguments<'_>) {
        self.line.clear();
        // Writing to a string cannot fail.
        let _ = writeln!(self.line, "{:>10}.{:03} {what}", time.as_secs(), time.subsec_millis());
        let mut hasher = FixedState::with_seed(self.hash).build_hasher();
        hasher.write(self.line.as_bytes());
        self.hash = hasher.finish();
        if let Some(kept) = &mut self.kept {
            kept.push_str(&self.line);
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// All lines, where they were kept.
    pub(crate) fn take(&mut self) -> String {
        self.kept.take().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_tells_any_two_traces_apart() {
        let hash = |lines: &[(u64, &str)]| {
            let mut trace = Trace::new(false);
            lines.iter().for_each(|(ms, what)| trace.add(Duration::from_millis(*ms), format_args!("{what}")));
            trace.hash()
        };
        assert_eq!(hash(&[(1, "a"), (2, "b")]), hash(&[(1, "a"), (2, "b")]));
        for other in [&[(1, "b"), (2, "a")][..], &[(1, "a"), (3, "b")], &[(1, "a")], &[(1, "a"), (2, "b"), (2, "b")]] {
            assert_ne!(hash(&[(1, "a"), (2, "b")]), hash(other));
        }
    }

    #[test]
    fn lines_are_kept_on_demand() {
        let mut trace = Trace::new(true);
        trace.add(Duration::from_millis(61_005), format_args!("sent {}", 7));
        assert_eq!(trace.take(), "        61.005 sent 7\n");
    }
}
