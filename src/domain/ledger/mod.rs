//! The entries of the ledger, and the rules by which entries change. The ledger has an entry for every upstream request
//! of a mutation, to make sure that a mutation is carried out exactly once after any failure.
//!
//! [`entry`] has the fields, [`kind`] the kinds of mutations, [`machine`] the states and the events, [`late_word`] the
//! answers that come after a takeover, [`fingerprint`] the comparison of request contents, and [`evidence`] the judgement
//! of Walmart's answers to look-ups. Nothing in this module does I/O or reads a clock. Stores keep entries and decide
//! nothing; the use cases carry out the decisions of the machine.

pub mod entry;
pub mod evidence;
pub mod fingerprint;
pub mod kind;
pub mod late_word;
pub mod machine;

pub use entry::{
    AlertKind, AuditAlert, CONTENT_ID, Entry, EntryState, EvidenceKind, LaterRefusal, LookupRecord, NewEntry,
    OperationId, UnknownSince,
};
pub use fingerprint::Fingerprint;
pub use kind::MutationKind;
