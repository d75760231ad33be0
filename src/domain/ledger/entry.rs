//! The stored record of one mutation.

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

/// The number of an entry, rising in the order of creation. Written `operations/42`.
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
        // A sign or a leading zero would give one operation several names.
        let id = Self(number.parse().map_err(|_| InvalidName)?);
        if id.to_string() == name { Ok(id) } else { Err(InvalidName) }
    }
}

/// The error for a text that cannot name an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be of the form operations/42")]
pub struct InvalidName;

/// The state of a mutation. The first four states are open, the last four are final; a final entry never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntryState {
    /// Waiting to be sent.
    Recorded,
    /// An attempt is in flight; bytes may have left.
    Sending,
    /// The mutation may have been carried out, and look-ups are planned.
    Unknown,
    /// The mutation may have been carried out, and look-ups gave no proof; an operator may decide.
    NeedsOperator,
    /// Walmart carried out the mutation.
    Succeeded,
    /// Walmart refused the mutation.
    Rejected,
    /// The mutation was certainly never carried out, and the caller was told at once.
    NotSent,
    /// The mutation was given up without effect.
    Expired,
}

impl EntryState {
    /// All states, open states first.
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

    /// Whether the entry may still change.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Recorded | Self::Sending | Self::Unknown | Self::NeedsOperator)
    }

    /// Whether an entry in this state blocks its order number for a further creation.
    pub(crate) const fn holds_order_number(self) -> bool {
        self.is_open() || matches!(self, Self::Succeeded)
    }

    /// The name in metrics and logs.
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

/// Beginning of a request id that the gateway makes from the content of a call.
pub const CONTENT_ID: &str = "content-";

/// The facts known when an entry is made.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEntry {
    /// Account that owns the order.
    pub account: AccountId,
    /// Kind of the mutation.
    pub kind: MutationKind,
    /// Number of the order.
    pub order_number: Arc<str>,
    /// The caller's id of the request, or the id generated for a cancellation. `None` for a creation without an id,
    /// which is identified by its order number.
    pub request_id: Option<Arc<str>>,
    /// Position among the upstream requests of one cancellation, from 0.
    pub batch: u32,
    /// Number of upstream requests of the call; 1 for a creation.
    pub batches: u32,
    /// Fingerprint of the payload of the whole call.
    pub fingerprint: Fingerprint,
    /// `Sending` for the request that is sent next, `Recorded` for requests behind it.
    pub state: EntryState,
    /// Time of the call.
    pub created: Timestamp,
    /// Last moment at which an attempt may start.
    pub not_after: Moment,
    /// The boot in which the steady times are measured.
    pub boot: Option<BootId>,
    /// The `WM_QOS.CORRELATION_ID` of every attempt.
    pub correlation_id: Uuid,
    /// The encoded upstream request; personal data.
    pub body: Bytes,
    /// The encoded state of the order before a cancellation; empty when unknown.
    pub snapshot: Vec<u8>,
}

/// One mutation in the ledger.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Number of the entry.
    pub id: OperationId,
    /// Counts the changes of the entry, for compare-and-set: a save with an older fence is refused.
    pub fence: u64,
    /// Account that owns the order.
    pub account: AccountId,
    /// Kind of the mutation.
    pub kind: MutationKind,
    /// Number of the order.
    pub order_number: Arc<str>,
    /// The caller's or generated id of the request; see [`NewEntry::request_id`].
    pub request_id: Option<Arc<str>>,
    /// Position among the upstream requests of the call, from 0.
    pub batch: u32,
    /// Number of upstream requests of the call.
    pub batches: u32,
    /// Fingerprint of the payload of the whole call.
    pub fingerprint: Fingerprint,
    /// State of the mutation.
    pub state: EntryState,
    /// Known effect of the mutation.
    pub effect: Effect,
    /// Number of hand-overs to the upstream stack. Retries within the stack are not counted.
    pub attempts: u32,
    /// Time of the call.
    pub created: Timestamp,
    /// Time of the last change.
    pub updated: Timestamp,
    /// Last moment at which an attempt may start.
    pub not_after: Moment,
    /// Next moment at which the resolver has to work on the entry. `None` when no work is due: an attempt is in flight,
    /// an operator has to decide, or the entry is final.
    pub next: Option<Moment>,
    /// The boot in which the steady times of this entry are measured. `None` for a final entry, which keeps times of
    /// day only, and for an entry written by a version without steady time.
    pub boot: Option<BootId>,
    /// The `WM_QOS.CORRELATION_ID` of every attempt.
    pub correlation_id: Uuid,
    /// Progress in settling the last attempt with an unknown outcome. Set from the first lost answer on, and kept after
    /// settlement, because the effect of an earlier attempt may show late.
    pub unknown: Option<UnknownSince>,
    /// The encoded upstream request; empty once the state is final.
    pub body: Bytes,
    /// As in [`NewEntry`]; empty once the state is final.
    pub snapshot: Vec<u8>,
    /// The encoded answer for the caller; empty while the state is open.
    pub answer: Bytes,
    /// Why the mutation is not done, for operators: an error reason with its details. No personal data.
    pub last_error: String,
    /// The operator's reason for a decision; empty when no operator decided.
    pub resolution: String,
    /// Result of the last look-up. No personal data.
    pub evidence: Option<LookupRecord>,
    /// Whether the outcome is owed to a caller: the caller was told that the outcome is pending, and no caller has
    /// received the outcome since the operation ended. The next call with the same content gets the outcome, once.
    pub is_owed: bool,
}

impl Entry {
    /// Converts a final entry to its stored form: no window is measured from its times any more, and fields used only
    /// by open entries are cleared.
    pub(crate) fn without_steady_times(self) -> Self {
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

    /// Whether the entry leaves its request id free for a new call. An id of the caller's is freed only by a call that was
    /// never sent; an id made from the content also by a refusal, because the caller gave none. A final entry of a kind
    /// about which Walmart's state decides (`Mutation::READ_DECIDES`) always frees its id.
    pub(crate) fn frees_request_id(&self) -> bool {
        let is_made = self.request_id.as_deref().is_some_and(|id| id.starts_with(CONTENT_ID));
        match self.state {
            EntryState::NotSent => true,
            EntryState::Rejected | EntryState::Expired => is_made || self.kind.is_decided_by_read(),
            EntryState::Succeeded => self.kind.is_decided_by_read(),
            _ => false,
        }
    }

    /// Whether Walmart has said in a refusal that the order number is taken.
    pub(crate) fn says_present(&self) -> bool {
        self.unknown.is_some_and(|unknown| unknown.refusal == LaterRefusal::SaysPresent)
    }
}

/// Progress in settling an attempt with an unknown outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UnknownSince {
    /// Moment at which the outcome became unknown. Look-ups are planned from this moment.
    pub since: Moment,
    /// Latest moment at which a byte of the attempt can have left.
    pub last_byte: Moment,
    /// Number of look-ups so far, with any result.
    pub lookups: u32,
    /// Number of absences that count: each one far enough after the previous one.
    pub absences: u32,
    /// Moment of the last absence that counted.
    pub last_absence: Option<Moment>,
    /// Moment of the last look-up with a result; the start of the unknown outcome before any.
    pub learned: Moment,
    /// Refusal by Walmart since an attempt that may have had an effect.
    pub refusal: LaterRefusal,
}

impl UnknownSince {
    /// Starts at `now`, without any look-up.
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

/// A refusal after an attempt that may have had an effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LaterRefusal {
    /// No refusal since then.
    #[default]
    None,
    /// Walmart refused the attempt. The refusal becomes final once look-ups show that no earlier attempt had an effect.
    Plain,
    /// Walmart refused the attempt because the order number is taken, a hint of presence. The operation is never sent
    /// again and never ends without effect, unless an operator decides.
    SaysPresent,
}

/// A look-up and the value of its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookupRecord {
    /// Time of the look-up.
    pub time: Timestamp,
    /// The question in words, such as "order by number".
    pub asked: String,
    /// The value of the answer.
    pub worth: EvidenceKind,
    /// The proof, or the reason why the answer proves nothing. No personal data.
    pub detail: String,
}

/// The four values of an answer to a look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EvidenceKind {
    /// The mutation was carried out.
    Present,
    /// The mutation was not carried out so far.
    Absent,
    /// A different order has the number.
    Contradicted,
    /// The answer proves nothing.
    Nothing,
}

/// An event that must not happen, found by an audit after the entry was final.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditAlert {
    /// Entry that the audit was about.
    pub operation: OperationId,
    /// Kind of the finding.
    pub kind: AlertKind,
    /// Time of the finding.
    pub time: Timestamp,
}

/// The kinds of findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AlertKind {
    /// Walmart carried out an operation after the ledger had given the operation up, later than `ledger.settle_window`.
    LateEffect,
    /// Walmart has the order more than once.
    Duplicate,
}

impl AlertKind {
    /// The name in metrics and logs.
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
