//! The numbers of kinds, states and effects in the databases. They must never change.

use crate::domain::effect::Effect;
use crate::domain::ledger::{AlertKind, EntryState, MutationKind};

/// All values in the order of their numbers.
pub(super) trait CodedEnum: Copy + PartialEq + 'static {
    const ALL: &'static [Self];

    /// The stored number.
    fn number(self) -> i16 {
        // Every value is in its list, which a test checks.
        Self::ALL.iter().position(|value| *value == self).unwrap_or(Self::ALL.len()) as i16
    }

    /// The value with this number.
    fn of_number(number: i16) -> Option<Self> {
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }
}

impl CodedEnum for MutationKind {
    const ALL: &'static [Self] = Self::ALL;
}

impl CodedEnum for Effect {
    const ALL: &'static [Self] = &[Self::None, Self::Applied, Self::Unknown];
}

impl CodedEnum for EntryState {
    // Final states are the numbers from 4 on, and 1 and 4 are the frequent states; the schema relies on both.
    const ALL: &'static [Self] = &[
        Self::Recorded,
        Self::Sending,
        Self::Unknown,
        Self::NeedsOperator,
        Self::Succeeded,
        Self::Rejected,
        Self::NotSent,
        Self::Expired,
    ];
}

impl CodedEnum for AlertKind {
    const ALL: &'static [Self] = &[Self::LateEffect, Self::Duplicate];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_the_states_tell_open_from_final() {
        assert_eq!(<EntryState as CodedEnum>::ALL.len(), EntryState::ALL.len());
        for (number, state) in <EntryState as CodedEnum>::ALL.iter().enumerate() {
            assert_eq!(state.is_open(), number < 4, "{state:?}");
        }
    }
}
