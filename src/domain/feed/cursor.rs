//! Positions in a log as text.

use std::fmt;
use std::str::FromStr;

/// The id of a log, drawn when the log is created. Positions of a log with a different id mean different events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LogId(pub u128);

impl LogId {
    /// The part of the id in cursors.
    const fn short(self) -> u32 {
        (self.0 >> 96) as u32
    }

    /// The cursor after the event at this position.
    pub const fn cursor(self, seq: u64) -> Cursor {
        Cursor { log: self.short(), seq }
    }

    /// Whether the cursor may belong to this log.
    pub(crate) const fn owns(self, cursor: Cursor) -> bool {
        self.short() == cursor.log
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A position in a log: after the event at `seq`; 0 is the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cursor {
    log: u32,
    /// Position of the event before the cursor.
    pub seq: u64,
}

impl Cursor {
    /// The part of the log's id in the cursor, in hex.
    pub fn log(self) -> String {
        format!("{:08x}", self.log)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}.{}", self.log, self.seq)
    }
}

/// The error for a text that is no cursor of this gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no cursor")]
pub struct BadCursor;

impl FromStr for Cursor {
    type Err = BadCursor;

    /// Accepts only the exact text that `Display` writes for [`Cursor`], which makes equal positions equal texts.
    fn from_str(text: &str) -> Result<Self, BadCursor> {
        let (log, seq) = text.split_once('.').ok_or(BadCursor)?;
        let log = u32::from_str_radix(log, 16).map_err(|_| BadCursor)?;
        let cursor = Self { log, seq: seq.parse().map_err(|_| BadCursor)? };
        if cursor.to_string() == text { Ok(cursor) } else { Err(BadCursor) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: LogId = LogId(0x00c0_ffee_0000_0000_0000_0000_0000_0001);

    #[test]
    fn comes_back_from_its_text() {
        for seq in [0, 1, 142, u64::MAX] {
            let cursor = LOG.cursor(seq);
            assert_eq!(cursor.to_string(), format!("00c0ffee.{seq}"));
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
            assert!(LOG.owns(cursor));
        }
        assert_eq!(LOG.to_string(), "00c0ffee000000000000000000000001");
        assert!(!LogId(1).owns(LOG.cursor(1)));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            ".",
            "00c0ffee",
            "00c0ffee.",
            ".1",
            "c0ffee.1",
            "00C0FFEE.1",
            "00c0ffee.01",
            "00c0ffee.+1",
            "00c0ffee.-1",
            "00c0ffee.1 ",
            "00c0ffee.1.2",
            "000c0ffee.1",
            "00c0ffee.18446744073709551616",
            "+0c0ffee.1",
            "0é.1",
        ] {
            assert_eq!(text.parse::<Cursor>(), Err(BadCursor), "{text}");
        }
    }
}
