//! The parts of an entry in an encoded form: the steady times of an open entry, and the result of its last look-up.
//!
//! The columns of the table `entries` hold times of day. Windows are measured in steady times, which have no meaning in
//! a later boot or for a final entry; they are therefore stored beside the body, whose row is dropped with the end of
//! the entry.

use prost::Message;

use crate::domain::ledger::{Entry, EvidenceKind, LaterRefusal, LookupRecord, UnknownSince};
use crate::domain::moment::{BootId, Moment, SteadyTime};
use crate::domain::timestamp::Timestamp;

/// Steady times in milliseconds, and further values of an open entry. Field numbers are in every database and must
/// never change.
#[derive(Clone, PartialEq, Message)]
pub(super) struct EntryMarks {
    #[prost(bytes = "vec", tag = "1")]
    boot: Vec<u8>,
    #[prost(uint64, tag = "2")]
    not_after: u64,
    #[prost(uint64, tag = "3")]
    next: u64,
    #[prost(uint64, tag = "4")]
    since: u64,
    #[prost(uint64, tag = "5")]
    last_byte: u64,
    #[prost(uint64, tag = "6")]
    last_absence: u64,
    #[prost(uint64, tag = "7")]
    learned: u64,
    /// Time of day of the last result of a look-up.
    #[prost(uint64, tag = "8")]
    learned_wall: u64,
    #[prost(uint32, tag = "9")]
    refusal: u32,
}

#[derive(Clone, PartialEq, Message)]
struct StoredEvidence {
    #[prost(uint64, tag = "1")]
    time: u64,
    #[prost(string, tag = "2")]
    asked: String,
    #[prost(uint32, tag = "3")]
    worth: u32,
    #[prost(string, tag = "4")]
    detail: String,
}

/// Values by their stored numbers; never renumbered.
const REFUSALS: [LaterRefusal; 3] = [LaterRefusal::None, LaterRefusal::Plain, LaterRefusal::SaysPresent];
const KINDS: [EvidenceKind; 4] =
    [EvidenceKind::Present, EvidenceKind::Absent, EvidenceKind::Contradicted, EvidenceKind::Nothing];

impl EntryMarks {
    pub(super) fn of(entry: &Entry) -> Self {
        let Entry { boot, not_after, next, unknown, .. } = entry;
        let boot = boot.map(|boot| boot.0.to_vec()).unwrap_or_default();
        let next = next.unwrap_or_default().steady.0;
        let mut marks = Self { boot, not_after: not_after.steady.0, next, ..Self::default() };
        if let Some(unknown) = unknown {
            marks.since = unknown.since.steady.0;
            marks.last_byte = unknown.last_byte.steady.0;
            marks.last_absence = unknown.last_absence.unwrap_or_default().steady.0;
            marks.learned = unknown.learned.steady.0;
            marks.learned_wall = unknown.learned.wall.0;
            marks.refusal = number(&REFUSALS, unknown.refusal);
        }
        marks
    }

    pub(super) fn write(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    /// Reads stored marks. A final entry, an entry of an earlier version, and an entry with unreadable marks have none:
    /// their windows start again at the takeover.
    pub(super) fn read(kept: Option<&[u8]>) -> Self {
        kept.and_then(|kept| Self::decode(kept).ok()).unwrap_or_default()
    }

    pub(super) fn boot(&self) -> Option<BootId> {
        self.boot.as_slice().try_into().ok().map(BootId)
    }

    pub(super) fn not_after(&self, wall: Timestamp) -> Moment {
        Moment { wall, steady: SteadyTime(self.not_after) }
    }

    pub(super) fn next(&self, wall: Timestamp) -> Moment {
        Moment { wall, steady: SteadyTime(self.next) }
    }

    /// Without the counts of look-ups, which have columns.
    pub(super) fn unknown(
        &self,
        since: Timestamp,
        last_byte: Timestamp,
        last_absence: Option<Timestamp>,
    ) -> UnknownSince {
        let moment = |wall, steady| Moment { wall, steady: SteadyTime(steady) };
        // Earlier versions did not store the time of the last result.
        let learned_wall = if self.learned_wall == 0 { since } else { Timestamp(self.learned_wall) };
        UnknownSince {
            since: moment(since, self.since),
            last_byte: moment(last_byte, self.last_byte),
            lookups: 0,
            absences: 0,
            last_absence: last_absence.map(|wall| moment(wall, self.last_absence)),
            learned: moment(learned_wall, self.learned),
            refusal: REFUSALS.get(self.refusal as usize).copied().unwrap_or_default(),
        }
    }
}

pub(super) fn write_evidence(record: &LookupRecord) -> Vec<u8> {
    let LookupRecord { time, asked, worth, detail } = record;
    let worth = number(&KINDS, *worth);
    StoredEvidence { time: time.0, asked: asked.clone(), worth, detail: detail.clone() }.encode_to_vec()
}

/// Unreadable evidence counts as missing, because evidence is only shown to people.
pub(super) fn read_evidence(kept: Option<&[u8]>) -> Option<LookupRecord> {
    let StoredEvidence { time, asked, worth, detail } = StoredEvidence::decode(kept?).ok()?;
    let worth = *KINDS.get(worth as usize)?;
    Some(LookupRecord { time: Timestamp(time), asked, worth, detail })
}

fn number<T: PartialEq>(all: &[T], value: T) -> u32 {
    all.iter().position(|known| *known == value).unwrap_or_default() as u32
}
