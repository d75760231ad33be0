//! What the ledger keeps of one mutation.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::{Fingerprint, MutationKind};
use crate::domain::account::AccountId;
use crate::domain::effect::Effect;
use crate::domain::moment::{BootId, Moment};
use crate::domain::timestamp::Timestamp;

/// Number of an entry; rises in the order in which entries are made. Written `operations/42`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OperationId(pub u64);

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "operations/{}", self.0)
    }
}

impl FromStr for OperationId {
    type Err = InvalidName;

    fn from_str(name: &str) -> Result<Self, InvalidName> {
        let number = name.strip_prefix("operations/").ok_or(InvalidName)?;
        // One name for each: no sign, no leading zero.
        let id = Self(number.parse().map_err(|_| InvalidName)?);
        if id.to_string() == name { Ok(id) } else { Err(InvalidName) }
    }
}

/// A name that no operation can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be of the form operations/42")]
pub struct InvalidName;

/// How far a mutation has come. The first four are open, the others are final: a final entry never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntryState {
    /// To be sent.
    Recorded,
    /// Bytes may be on their way.
    Sending,
    /// It may have been carried out; Walmart is asked.
    Unknown,
    /// It may have been carried out, and Walmart could not be asked; a person may decide.
    NeedsOperator,
    /// Carried out.
    Succeeded,
    /// Refused by Walmart.
    Rejected,
    /// It certainly never was carried out, and the caller was told so at once.
    NotSent,
    /// Given up without effect.
    Expired,
}

impl EntryState {
    /// All of them.
    pub const ALL: [EntryState; 8] = [
        EntryState::Recorded,
        EntryState::Sending,
        EntryState::Unknown,
        EntryState::NeedsOperator,
        EntryState::Succeeded,
        EntryState::Rejected,
        EntryState::NotSent,
        EntryState::Expired,
    ];

    /// Whether it may still change.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Recorded | Self::Sending | Self::Unknown | Self::NeedsOperator)
    }

    /// Whether an entry in this state keeps other creations from using its order number.
    pub const fn holds_order_number(self) -> bool {
        self.is_open() || matches!(self, Self::Succeeded)
    }

    /// Name in metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Recorded => "recorded",
            Self::Sending => "sending",
            Self::Unknown => "unknown",
            Self::NeedsOperator => "needs_operator",
            Self::Succeeded => "succeeded",
            Self::Rejected => "rejected",
            Self::NotSent => "not_sent",
            Self::Expired => "expired",
        }
    }
}

/// What is known when an entry is made.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEntry {
    /// Whose order.
    pub account: AccountId,
    /// What is done.
    pub kind: MutationKind,
    /// To which order.
    pub order_number: Arc<str>,
    /// The caller's id of the request, or the one that was made for a cancellation; `None` for a creation without one,
    /// which is known by its order number.
    pub request_id: Option<Arc<str>>,
    /// Position among the upstream requests of one cancellation, from 0.
    pub batch: u32,
    /// How many upstream requests the call takes; 1 for a creation.
    pub batches: u32,
    /// Of the payload of the whole call.
    pub fingerprint: Fingerprint,
    /// `Sending` for what is sent next, `Recorded` for what waits its turn.
    pub state: EntryState,
    /// When the call came.
    pub created: Timestamp,
    /// Nothing is sent after this.
    pub not_after: Moment,
    /// The machine's boot in which steady time is told.
    pub boot: Option<BootId>,
    /// Sent as `WM_QOS.CORRELATION_ID`, on every attempt.
    pub correlation_id: Uuid,
    /// The request to send, encoded; personal.
    pub body: Bytes,
    /// What the order looked like before a cancellation, encoded; empty when that is not known.
    pub snapshot: Vec<u8>,
}

/// One mutation.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its number.
    pub id: OperationId,
    /// Counts the changes of this entry. Whoever writes says which one was read; a write after another's is refused.
    pub fence: u64,
    /// Whose order.
    pub account: AccountId,
    /// What is done.
    pub kind: MutationKind,
    /// To which order.
    pub order_number: Arc<str>,
    /// As in [`NewEntry`].
    pub request_id: Option<Arc<str>>,
    /// As in [`NewEntry`].
    pub batch: u32,
    /// As in [`NewEntry`].
    pub batches: u32,
    /// As in [`NewEntry`].
    pub fingerprint: Fingerprint,
    /// How far it has come.
    pub state: EntryState,
    /// Whether it was carried out, as far as is known.
    pub effect: Effect,
    /// How often it was handed to the upstream stack; tries within the stack are not counted.
    pub attempts: u32,
    /// When the call came.
    pub created: Timestamp,
    /// When it last changed.
    pub updated: Timestamp,
    /// Nothing is sent after this.
    pub not_after: Moment,
    /// When the entry is to be looked at next. `None` when nothing is due: it is being sent, waits for a person, or is final.
    pub next: Option<Moment>,
    /// The machine's boot in which the steady times of this entry are told. `None` for a final entry, of which only times of
    /// day are kept, and for one that a version without steady time wrote.
    pub boot: Option<BootId>,
    /// As in [`NewEntry`].
    pub correlation_id: Uuid,
    /// The doubt about the last attempt. `Some` from the first lost answer on, also after it was settled: from then on an
    /// earlier attempt may show late.
    pub unknown: Option<UnknownSince>,
    /// The request to send, encoded; empty once the state is final.
    pub body: Bytes,
    /// As in [`NewEntry`]; empty once the state is final.
    pub snapshot: Vec<u8>,
    /// What the caller is answered, encoded; empty while the state is open.
    pub answer: Bytes,
    /// Why it is not done: an error reason and what stands beside it, for operators. Nothing personal.
    pub last_error: String,
    /// Why an operator decided as they did; empty when none did.
    pub resolution: String,
    /// What the last look-up told. Nothing personal.
    pub evidence: Option<LookupRecord>,
    /// Whether the outcome is owed to a caller: the operation ended after its caller was told that the outcome is pending, and
    /// nobody has heard it since. The next call of the same content is answered with it, once.
    pub is_owed: bool,
}

impl Entry {
    /// The entry as it is kept once it is final: nothing is measured from its times any more, and what only an open entry
    /// needs is gone.
    pub fn without_steady_times(self) -> Self {
        let of_day = |moment: Moment| Moment { wall: moment.wall, ..Moment::default() };
        let unknown = self.unknown.map(|unknown| UnknownSince {
            since: of_day(unknown.since),
            last_byte: of_day(unknown.last_byte),
            last_absence: unknown.last_absence.map(of_day),
            learned: of_day(unknown.since),
            refusal: LaterRefusal::None,
            ..unknown
        });
        Self { boot: None, not_after: of_day(self.not_after), next: self.next.map(of_day), unknown, ..self }
    }

    /// Whether Walmart has said, in a refusal, that the order number is taken.
    pub fn says_present(&self) -> bool {
        self.unknown.is_some_and(|unknown| unknown.refusal == LaterRefusal::SaysPresent)
    }
}

/// What is known of an attempt whose answer was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UnknownSince {
    /// When the outcome became unknown. Look-ups are counted from here.
    pub since: Moment,
    /// After this moment no byte of the attempt left.
    pub last_byte: Moment,
    /// Look-ups made so far, whatever they gave.
    pub lookups: u32,
    /// Absences that count: each far enough from the one before.
    pub absences: u32,
    /// The last absence that counted.
    pub last_absence: Option<Moment>,
    /// When a look-up last told something; when the doubt began, if none did.
    pub learned: Moment,
    /// What Walmart refused since an attempt may have had an effect.
    pub refusal: LaterRefusal,
}

impl UnknownSince {
    /// A doubt that begins now: no look-up was made yet.
    pub fn since(now: Moment) -> Self {
        Self {
            since: now,
            last_byte: now,
            lookups: 0,
            absences: 0,
            last_absence: None,
            learned: now,
            refusal: LaterRefusal::None,
        }
    }
}

/// A refusal that came after an attempt which may have had an effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LaterRefusal {
    /// None came.
    #[default]
    None,
    /// Walmart refused the attempt. Final once look-ups show that no earlier one had an effect.
    Plain,
    /// Walmart refused the attempt because the order number is taken: a hint of presence. The operation is never sent again
    /// and never ends without effect, unless a person says so.
    SaysPresent,
}

/// What a look-up asked, and what its answer is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookupRecord {
    /// When.
    pub time: Timestamp,
    /// What was asked, such as "order by number".
    pub asked: String,
    /// The value of the answer.
    pub worth: EvidenceKind,
    /// The proof, or why the answer proves nothing. Nothing personal.
    pub detail: String,
}

/// The four values that a look-up's answer can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EvidenceKind {
    /// The mutation was carried out.
    Present,
    /// The mutation was not carried out so far.
    Absent,
    /// Something else stands under the number.
    Contradicted,
    /// No evidence.
    Nothing,
}

/// Something that must not happen, seen by an audit after the fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditAlert {
    /// About this entry.
    pub operation: OperationId,
    /// What.
    pub kind: AlertKind,
    /// When it was seen.
    pub time: Timestamp,
}

/// What an audit can find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AlertKind {
    /// Walmart carried out later than `ledger.settle_window` what had been given up.
    LateEffect,
    /// Walmart has the order more than once.
    Duplicate,
}

impl AlertKind {
    /// Name in metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LateEffect => "late_effect",
            Self::Duplicate => "duplicate",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn an_operation_has_one_name() {
        for (id, name) in [(0, "operations/0"), (42, "operations/42"), (u64::MAX, "operations/18446744073709551615")] {
            assert_eq!(OperationId(id).to_string(), name);
            assert_eq!(name.parse(), Ok(OperationId(id)));
        }
        for name in [
            "",
            "42",
            "operations",
            "operations/",
            "operations/042",
            "operations/+42",
            "operations/-1",
            "operations/4 2",
            " operations/42",
            "operations/42/",
            "operations/0x2a",
            "Operations/42",
            "operation/42",
            "operations/operations/42",
            "operations/18446744073709551616",
        ] {
            assert_eq!(name.parse::<OperationId>(), Err(InvalidName), "{name}");
        }
    }

    #[test]
    fn states_are_open_or_final_and_hold_the_order_number_or_free_it() {
        let table = [
            (EntryState::Recorded, "recorded", true, true),
            (EntryState::Sending, "sending", true, true),
            (EntryState::Unknown, "unknown", true, true),
            (EntryState::NeedsOperator, "needs_operator", true, true),
            (EntryState::Succeeded, "succeeded", false, true),
            (EntryState::Rejected, "rejected", false, false),
            (EntryState::NotSent, "not_sent", false, false),
            (EntryState::Expired, "expired", false, false),
        ];
        assert_eq!(table.map(|row| row.0), EntryState::ALL);
        for (state, name, open, holds) in table {
            assert_eq!((state.name(), state.is_open(), state.holds_order_number()), (name, open, holds));
        }
        assert_eq!(EntryState::ALL.iter().collect::<HashSet<_>>().len(), EntryState::ALL.len());
    }

    #[test]
    fn alerts_have_names() {
        assert_eq!([AlertKind::LateEffect, AlertKind::Duplicate].map(AlertKind::name), ["late_effect", "duplicate"]);
    }
}
