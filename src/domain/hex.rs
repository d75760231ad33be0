//! Conversion between bytes and hexadecimal text.

/// Writes bytes as lower-case hex.
pub(crate) fn lower(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = |byte: &u8| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]].map(char::from);
    bytes.iter().flat_map(digits).collect()
}

/// Reads hex digits of either case into exactly `N` bytes. Returns `None` for any other text.
pub fn read<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    if text.len() != 2 * N {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_from_its_text() {
        let bytes = [0x00, 0x1f, 0xa0, 0xff];
        assert_eq!(lower(&bytes), "001fa0ff");
        assert_eq!(read(b"001fa0ff"), Some(bytes));
        assert_eq!(read(b"001FA0Ff"), Some(bytes));
        for text in ["", "001fa0f", "001fa0ff0", "001fa0fg", "+01fa0ff", "00 fa0ff", "00é0ff"] {
            assert_eq!(read::<4>(text.as_bytes()), None, "{text}");
        }
    }
}
