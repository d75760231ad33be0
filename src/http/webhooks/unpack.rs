//! Decompresses bodies sent with gzip.

use std::io::Read as _;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;

use crate::service::feed::UnreadableBody;

/// The first bytes of gzip (RFC 1952); no JSON begins with them. The header `content-encoding` is ignored, because a
/// proxy may leave it on a body that the proxy has decompressed.
const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Returns the body, decompressed if it is gzip. Decompression stops one byte beyond `limit`: a body of 256 KiB can
/// hold 256 MiB.
///
/// # Errors The gzip stream is damaged, or larger than `limit`.
pub(super) fn unpack(body: Bytes, limit: usize) -> Result<Bytes, UnreadableBody> {
    if !body.starts_with(&MAGIC) {
        return Ok(body);
    }
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let mut unpacked = Vec::new();
    let read = MultiGzDecoder::new(&body[..]).take(most).read_to_end(&mut unpacked);
    read.map_err(|_| UnreadableBody::new("packed by gzip, and damaged"))?;
    if unpacked.len() > limit {
        return Err(UnreadableBody::new(format!("packed by gzip, and more than {} KiB when unpacked", limit / 1024)));
    }
    Ok(unpacked.into())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    const LIMIT: usize = 64 * 1024;

    fn packed(body: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    }

    fn reason(body: Vec<u8>) -> String {
        unpack(body.into(), LIMIT).unwrap_err().reason().to_owned()
    }

    #[test]
    fn what_is_not_packed_stays() {
        for body in [&b""[..], b"{}", b"\x1f", b"\x1f\x8a", b"\x8b\x1f"] {
            assert_eq!(unpack(Bytes::from_static(body), LIMIT).unwrap(), body);
        }
    }

    #[test]
    fn up_to_the_limit_it_is_unpacked_and_in_parts_too() {
        for size in [0, 1, LIMIT] {
            assert_eq!(unpack(packed(&vec![b' '; size]).into(), LIMIT).unwrap(), vec![b' '; size]);
        }
        let parts = [packed(b"{\"a\":"), packed(b"1}")].concat();
        assert_eq!(unpack(parts.into(), LIMIT).unwrap(), "{\"a\":1}");
    }

    #[test]
    fn what_is_larger_is_unreadable_and_no_memory_is_taken_for_it() {
        let larger = "packed by gzip, and more than 64 KiB when unpacked";
        assert_eq!(reason(packed(&[b' '; LIMIT + 1])), larger);
        let bomb = packed(&vec![0; 64 * 1024 * 1024]);
        assert!(bomb.len() < 70 * 1024, "{}", bomb.len());
        assert_eq!(reason(bomb), larger);
        // A thousand small ones in a row are one as well.
        assert_eq!(reason(packed(&[b' '; 1024]).repeat(1000)), larger);
    }

    #[test]
    fn what_is_damaged_is_unreadable() {
        let whole = packed(b"{\"a\":1}");
        for cut in 2..whole.len() {
            assert_eq!(reason(whole[..cut].to_vec()), "packed by gzip, and damaged", "{cut}");
        }
        let mut torn = whole.clone();
        *torn.last_mut().unwrap() ^= 1;
        assert_eq!(reason(torn), "packed by gzip, and damaged");
        assert_eq!(reason([whole.as_slice(), b"more"].concat()), "packed by gzip, and damaged");
    }
}
