//! An entry of the ledger, and the rules by which it changes. The ledger keeps one for each upstream request of a mutation, so
//! that the mutation is carried out once, whatever fails.
//!
//! [`entry`] has the fields, [`kind`] which mutation it is of, [`machine`] the states and the events that change them,
//! [`fingerprint`] tells whether two requests have the same content, and [`evidence`] what Walmart's answer to a look-up
//! proves about an entry. Nothing here does I/O or reads a clock. Stores keep entries and decide nothing; the use cases do
//! what the machine says.

pub mod entry;
pub mod evidence;
pub mod fingerprint;
pub mod kind;
pub mod machine;

pub use entry::{
    AlertKind, AuditAlert, Entry, EntryState, EvidenceKind, LaterRefusal, LookupRecord, NewEntry, OperationId,
    UnknownSince,
};
pub use fingerprint::Fingerprint;
pub use kind::MutationKind;
