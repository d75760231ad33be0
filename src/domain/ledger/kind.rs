//! The kinds of mutations in the ledger.

use crate::domain::operation::{Operation, operations};

macro_rules! kind {
    (
        reads $reads:tt
        mutations { $($(#[$doc:meta])* $mutation:ident: [$type:ident] $facts:tt)* }
    ) => {
        /// The kind of mutation of an entry: a mutation row in the table of [`Operation`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum MutationKind {
            $($(#[$doc])* $mutation,)*
        }

        impl MutationKind {
            /// All kinds, in the order of [`MutationKind::code`].
            pub const ALL: &'static [Self] = &[$(Self::$mutation,)*];

            /// The call of Walmart's that carries out the mutation.
            pub const fn operation(self) -> Operation {
                match self {
                    $(Self::$mutation => Operation::$mutation,)*
                }
            }
        }
    };
}
operations!(kind);

impl MutationKind {
    /// The number in stores. A number is never reused for a different kind.
    pub const fn code(self) -> u8 {
        self as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_numbers_never_change() {
        let known = [
            (MutationKind::Create, 0, Operation::Create),
            (MutationKind::Cancel, 1, Operation::Cancel),
            (MutationKind::CancelLines, 2, Operation::CancelLines),
            (MutationKind::Ship, 3, Operation::Ship),
            (MutationKind::Refund, 4, Operation::Refund),
            (MutationKind::ReturnRefund, 5, Operation::ReturnRefund),
            (MutationKind::McsReturnCreate, 6, Operation::McsReturnCreate),
            (MutationKind::McsReturnCancel, 7, Operation::McsReturnCancel),
            (MutationKind::WebhookCreate, 8, Operation::WebhookCreate),
        ];
        assert_eq!(known.len(), MutationKind::ALL.len());
        assert_eq!(known.map(|(kind, ..)| (kind, kind.code(), kind.operation())), known);
        assert!(MutationKind::ALL.iter().enumerate().all(|(at, kind)| usize::from(kind.code()) == at));
    }
}
