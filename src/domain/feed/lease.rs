//! The text that names a lease.

use std::fmt;
use std::str::FromStr;

/// One lease of one event: `g<generation>.s<seq>.a<attempt>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lease {
    /// Generation of the subscription.
    pub generation: u64,
    /// Position of the event.
    pub seq: u64,
    /// Number of this delivery of the event, counted from 1.
    pub attempt: u32,
}

impl fmt::Display for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "g{}.s{}.a{}", self.generation, self.seq, self.attempt)
    }
}

/// The error for a text that is no lease of this gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no lease")]
pub struct BadLease;

impl FromStr for Lease {
    type Err = BadLease;

    /// Accepts only the exact text that `Display` writes for [`Lease`].
    fn from_str(text: &str) -> Result<Self, BadLease> {
        let mut parts = text.split('.');
        let mut number = |letter: char| parts.next().and_then(|part| part.strip_prefix(letter)).ok_or(BadLease);
        let (generation, seq, attempt) = (number('g')?, number('s')?, number('a')?);
        let lease = Self {
            generation: generation.parse().map_err(|_| BadLease)?,
            seq: seq.parse().map_err(|_| BadLease)?,
            attempt: attempt.parse().map_err(|_| BadLease)?,
        };
        if lease.to_string() == text { Ok(lease) } else { Err(BadLease) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_from_its_text() {
        let lease = Lease { generation: 1, seq: 142, attempt: 3 };
        assert_eq!(lease.to_string(), "g1.s142.a3");
        assert_eq!("g1.s142.a3".parse(), Ok(lease));
        for text in
            ["", "g1", "g1.s2", "g1.s2.a3.x4", "s1.g2.a3", "g1.s2.a03", "g1.s2.a+3", "G1.s2.a3", "g1.s2.a4294967296"]
        {
            assert_eq!(text.parse::<Lease>(), Err(BadLease), "{text}");
        }
    }
}
