//! Deliberate bugs for testing the simulation: a simulation which does not find these bugs proves nothing.
//!
//! Each bug is a line in the affected code, behind [`is_planted`]. Without the feature `crash-points`, as in
//! releases, the function is the constant `false`.

/// A mistake made in the past, or likely in the future.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlantedBug {
    /// An order object without a number counts as the requested order.
    EmptyObjectIsPresence,
    /// A failed look-up counts as a look-up without a result.
    FailedLookUpIsAbsence,
    /// A search by date without the order proves absence.
    SearchSettlesAbsence,
    /// The settle window is measured by the wall clock alone.
    WindowByWallClock,
    /// Callers can use up the status calls reserved for look-ups.
    ShareNotReserved,
    /// The circuit counts attempts cut off by the caller's deadline.
    ImpatienceOpensCircuit,
    /// A refusal of a repeated request is final.
    RefusalAfterDoubtIsFinal,
    /// An old operation expires while the outcome is unknown.
    ExpiredWithoutProof,
}

impl PlantedBug {
    /// All planted bugs.
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

    /// The bug's name for `scripts/simulate --bug`.
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

/// Whether the bug is active on the current thread.
#[cfg(not(feature = "crash-points"))]
#[inline(always)]
pub const fn is_planted(_: PlantedBug) -> bool {
    false
}

#[cfg(feature = "crash-points")]
thread_local! {
    static PLANTED: std::cell::Cell<Option<PlantedBug>> = const { std::cell::Cell::new(None) };
}

/// Whether the bug is active on the current thread.
#[cfg(feature = "crash-points")]
pub fn is_planted(bug: PlantedBug) -> bool {
    PLANTED.get() == Some(bug)
}

/// Activates a bug on the current thread, replacing the last. Returns whether this build supports the request.
pub fn plant(bug: Option<PlantedBug>) -> bool {
    #[cfg(feature = "crash-points")]
    PLANTED.set(bug);
    cfg!(feature = "crash-points") || bug.is_none()
}
