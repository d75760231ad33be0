//! Ids that look random, but depend only on the seed and on their purpose.

use sha2::{Digest, Sha256};

/// Hashes the seed and the parts. Separators keep different lists of parts distinct.
pub(crate) fn digest(seed: u64, parts: &[&str]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(seed.to_be_bytes());
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().into()
}

/// A UUID, in the form of version 4.
pub(crate) fn uuid(seed: u64, parts: &[&str]) -> String {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest(seed, parts)[..16]);
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}

/// A uniformly distributed number from 0 to below 1.
pub(crate) fn fraction(seed: u64, parts: &[&str]) -> f64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest(seed, parts)[..8]);
    (u64::from_be_bytes(bytes) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_in_same_out_and_parts_do_not_run_together() {
        assert_eq!(uuid(1, &["a", "b"]), uuid(1, &["a", "b"]));
        assert_ne!(uuid(1, &["a", "b"]), uuid(2, &["a", "b"]));
        assert_ne!(uuid(1, &["a", "b"]), uuid(1, &["ab", ""]));
        assert_eq!(uuid::Uuid::parse_str(&uuid(1, &["a"])).unwrap().get_version_num(), 4);
    }

    #[test]
    fn fractions_are_spread() {
        let below = (0..2000).filter(|n| fraction(7, &[&n.to_string()]) < 0.25).count();
        assert!((420..580).contains(&below), "{below}");
    }
}
