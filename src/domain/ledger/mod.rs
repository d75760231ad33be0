//! The ledger's idea of a mutation: what is kept of a create or cancel so that it happens once, whatever fails.
//!
//! [`entry`] is what is kept, [`machine`] how it changes, [`fingerprint`] what makes two requests the same, [`evidence`]
//! what Walmart's answer to a look-up proves about it. All of it is pure; the store keeps entries without understanding
//! them, the use cases act on what the machine says.

pub mod entry;
pub mod evidence;
pub mod fingerprint;
pub mod kind;
pub mod machine;

pub use entry::{Alert, AlertKind, Doubt, Entry, EvidenceKind, LookupRecord, NewEntry, OperationId, Refusal, State};
pub use fingerprint::Fingerprint;
pub use kind::Kind;
