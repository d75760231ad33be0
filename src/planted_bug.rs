//! Deliberate bugs, which the simulation has to find: a check that finds none of them proves nothing.
//!
//! Each is one line where the bug would be, behind [`is_planted`]. Without the feature `crash-points`, as the program is
//! shipped, that is the constant `false`.

/// A mistake that was made once, or that somebody may make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlantedBug {
    /// An order object without any number counts as the order that was asked for.
    EmptyObjectIsPresence,
    /// A look-up that failed counts as one that found nothing.
    FailedLookUpIsAbsence,
    /// A search by date that does not show an order settles that there is none.
    SearchSettlesAbsence,
    /// Whether the settle window has passed is told by the wall clock alone.
    WindowByWallClock,
    /// Callers may use up the status calls that are for look-ups.
    ShareNotReserved,
    /// The circuit counts attempts that a caller had no time for.
    ImpatienceOpensCircuit,
    /// A refusal of what was sent again is final.
    RefusalAfterDoubtIsFinal,
    /// An operation that is too old expires while its outcome is not known.
    ExpiredWithoutProof,
}

impl PlantedBug {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::EmptyObjectIsPresence,
        Self::FailedLookUpIsAbsence,
        Self::SearchSettlesAbsence,
        Self::WindowByWallClock,
        Self::ShareNotReserved,
        Self::ImpatienceOpensCircuit,
        Self::RefusalAfterDoubtIsFinal,
        Self::ExpiredWithoutProof,
    ];

    /// Its name for `scripts/simulate --bug`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EmptyObjectIsPresence => "empty-object-is-presence",
            Self::FailedLookUpIsAbsence => "failed-look-up-is-absence",
            Self::SearchSettlesAbsence => "search-settles-absence",
            Self::WindowByWallClock => "window-by-wall-clock",
            Self::ShareNotReserved => "share-not-reserved",
            Self::ImpatienceOpensCircuit => "impatience-opens-circuit",
            Self::RefusalAfterDoubtIsFinal => "refusal-after-doubt-is-final",
            Self::ExpiredWithoutProof => "expired-without-proof",
        }
    }
}

/// Whether this bug is to show on the present thread.
#[cfg(not(feature = "crash-points"))]
#[inline(always)]
pub const fn is_planted(_: PlantedBug) -> bool {
    false
}

#[cfg(feature = "crash-points")]
thread_local! {
    static PLANTED: std::cell::Cell<Option<PlantedBug>> = const { std::cell::Cell::new(None) };
}

/// Whether this bug is to show on the present thread.
#[cfg(feature = "crash-points")]
pub fn is_planted(bug: PlantedBug) -> bool {
    PLANTED.get() == Some(bug)
}

/// Lets a bug show on the present thread, in the place of the one before. Tells whether this build can.
pub fn plant(bug: Option<PlantedBug>) -> bool {
    #[cfg(feature = "crash-points")]
    PLANTED.set(bug);
    cfg!(feature = "crash-points") || bug.is_none()
}
