//! What is kept of an entry in a form of its own: the steady times of an open one, and what its last look-up told.
//!
//! The columns of the table `entries` hold times of day. The times by which windows are measured are those of a clock that
//! nobody sets; they mean nothing in another boot, and nothing once the entry is final, so they stand beside the body, whose
//! row goes with the entry's end.

use prost::Message;

use crate::domain::ledger::{Entry, EvidenceKind, LaterRefusal, LookupRecord, UnknownSince};
use crate::domain::moment::{BootId, Moment, SteadyTime};
use crate::domain::timestamp::Timestamp;

/// Steady times in milliseconds, and what else only an open entry has. Field numbers are in every database: they never change.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Marks {
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
    /// Time of day.
    #[prost(uint64, tag = "8")]
    learned_wall: u64,
    #[prost(uint32, tag = "9")]
    refusal: u32,
}

#[derive(Clone, PartialEq, Message)]
struct KeptEvidence {
    #[prost(uint64, tag = "1")]
    time: u64,
    #[prost(string, tag = "2")]
    asked: String,
    #[prost(uint32, tag = "3")]
    worth: u32,
    #[prost(string, tag = "4")]
    detail: String,
}

/// By their numbers in what is kept; never renumbered.
const REFUSALS: [LaterRefusal; 3] = [LaterRefusal::None, LaterRefusal::Plain, LaterRefusal::SaysPresent];
const KINDS: [EvidenceKind; 4] =
    [EvidenceKind::Present, EvidenceKind::Absent, EvidenceKind::Contradicted, EvidenceKind::Nothing];

impl Marks {
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

    /// Nothing is known of an entry that is final, was written by an earlier version, or whose marks cannot be read: its
    /// windows begin again when it is taken over.
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
        // What an earlier version wrote does not say when something was learned.
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
    KeptEvidence { time: time.0, asked: asked.clone(), worth, detail: detail.clone() }.encode_to_vec()
}

/// What cannot be read is as good as none: it is for people.
pub(super) fn read_evidence(kept: Option<&[u8]>) -> Option<LookupRecord> {
    let KeptEvidence { time, asked, worth, detail } = KeptEvidence::decode(kept?).ok()?;
    let worth = *KINDS.get(worth as usize)?;
    Some(LookupRecord { time: Timestamp(time), asked, worth, detail })
}

fn number<T: PartialEq>(all: &[T], value: T) -> u32 {
    all.iter().position(|known| *known == value).unwrap_or_default() as u32
}
