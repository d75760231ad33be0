//! Deliberate bugs for testing the tests: a simulation or a crash test which does not find them proves nothing.
//!
//! Each bug is a condition in the affected code, [`is_planted`]. Without the feature `crash-points`, as in releases, the
//! function is the constant `false`. The simulation plants a bug on its own thread with [`plant`]; the crash tests start
//! the gateway with `ORDER_GATEWAY_BUG=NAME`.

macro_rules! bugs {
    ($($(#[$doc:meta])* $bug:ident: $name:literal,)*) => {
        /// A mistake made in the past, or likely in the future.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum PlantedBug {
            $($(#[$doc])* $bug,)*
        }

        impl PlantedBug {
            /// All planted bugs.
            pub const ALL: &'static [Self] = &[$(Self::$bug,)*];

            /// The bug's name for `scripts/simulate --bug` and `scripts/crash-test --bug`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$bug => $name,)*
                }
            }
        }
    };
}

bugs! {
    /// An order object without a number counts as the requested order.
    EmptyObjectIsPresence: "empty-object-is-presence",
    /// A failed look-up counts as a look-up without a result.
    FailedLookUpIsAbsence: "failed-look-up-is-absence",
    /// A search by date without the order proves absence.
    SearchSettlesAbsence: "search-settles-absence",
    /// The settle window is measured by the wall clock alone.
    WindowByWallClock: "window-by-wall-clock",
    /// Callers can use up the status calls reserved for look-ups.
    ShareNotReserved: "share-not-reserved",
    /// The circuit counts attempts cut off by the caller's deadline.
    ImpatienceOpensCircuit: "impatience-opens-circuit",
    /// A refusal of a repeated request is final.
    RefusalAfterDoubtIsFinal: "refusal-after-doubt-is-final",
    /// A refund is sent again after look-ups that do not show it.
    RefundResentAfterAbsence: "refund-resent-after-absence",
    /// An order or a return is changed without the read that shows its state before the change.
    SnapshotSkipped: "snapshot-skipped",
    /// The key of a shipment leaves the tracking number out: the second parcel of a line counts as a repeat of the first.
    TrackingNumberNotInKey: "tracking-number-not-in-key",
    /// A cursor of Walmart's is parsed and written anew.
    CursorReencoded: "cursor-re-encoded",
    /// A body for Walmart has a field of the gateway's own.
    OwnFieldInBody: "own-field-in-body",
    /// A refusal of a repeated change of a seller order or a return is final, because Walmart guards it by its state.
    ChangeRefusalIsFinal: "change-refusal-is-final",
    /// A look-up counts a change for the mutation in doubt although another call may have made it.
    OtherCallsIgnored: "other-calls-ignored",
    /// An old operation expires while the outcome is unknown.
    ExpiredWithoutProof: "expired-without-proof",

    /// A 500 counts as proof that nothing was carried out.
    Http500IsRefusal: "500-taken-as-refusal",
    /// The caller is answered while the outcome is still being written.
    AnsweredBeforeDurable: "answered-before-it-is-durable",
    /// An intent that was found in an order is stored with the order, which has the customer's name and address.
    BackfilledOrderStored: "backfilled-order-stored",
    /// A heartbeat has the end of the log as its cursor, whether or not the events up to there were handed over.
    BookmarkAhead: "bookmark-ahead-of-events",
    /// Known event ids are looked up in a transaction before the one that stores the event: two deliveries at the same
    /// time are both new.
    DuplicateCheckedBeforeInsert: "duplicates-looked-for-before-the-insert",
    /// Any request under a used order number or id gets the answer of the first.
    FingerprintIgnored: "fingerprint-ignored",
    /// Leases are kept in memory only, while the position of the subscription runs ahead of them.
    FloorFromMemory: "floor-from-memory",
    /// The acknowledgement of a parked and redriven event moves the floor past earlier unsettled events.
    RedrivenMovesFloor: "floor-moved-by-a-redriven-event",
    /// A verdict counts for any lease of the event, also a lost one.
    LeaseAttemptUnchecked: "lease-attempt-unchecked",
    /// A creation is sent before it is durable that it is being sent.
    NoSendingRow: "no-sending-row",
    /// An operation ends when the last caller who waits for it leaves.
    OperationCancelledWithRpc: "operation-cancelled-with-its-rpc",
    /// Any number of creations may have the same order number.
    OrderNumberNotUnique: "order-number-uniqueness-off",
    /// Trimming also drops events that a subscription has not settled, and no consumer is told.
    RetentionPastFloor: "retention-past-a-floor",
    /// An event that waits for its next attempt does not hold up later events of its key.
    RetryUnblocksKey: "retry-unblocks-the-key",
    /// An entry being sent at the end of the process is taken over as never sent.
    SendingRecoveredAsRecorded: "sending-recovered-as-recorded",
    /// Absences settle a doubt before Walmart has had its time.
    SettleWindowCutShort: "settle-window-cut-short",
    /// Nothing is synced. Only a power cut shows it.
    SynchronousOff: "synchronous-off",
    /// A leased event does not hold up new events of its key.
    TwoLeasesPerKey: "two-leases-per-key",
    /// The first look-up without the order counts as proof of absence, and the order is sent again.
    UnknownResentAtOnce: "unknown-resent-at-once",
    /// Walmart is told that a delivery is stored while it waits to be stored.
    WebhookAnsweredBeforeCommit: "webhook-answered-before-commit",
}

impl PlantedBug {
    /// The bugs that the simulation finds. The crash tests find the rest (`tests/crash/bugs.txt`).
    pub const SIMULATED: &'static [Self] = Self::ALL.split_at(15).0;
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

/// Whether the bug is active on the current thread, or in the process.
#[cfg(feature = "crash-points")]
pub fn is_planted(bug: PlantedBug) -> bool {
    use std::sync::LazyLock;

    static IN_PROCESS: LazyLock<Option<PlantedBug>> = LazyLock::new(|| {
        let name = std::env::var("ORDER_GATEWAY_BUG").ok()?;
        let known = PlantedBug::ALL.iter().find(|bug| bug.name() == name);
        if known.is_none() {
            // Without its bug the process would pass for a gateway with it.
            eprintln!("ORDER_GATEWAY_BUG: there is no bug {name}");
            std::process::exit(2);
        }
        known.copied()
    });
    PLANTED.get() == Some(bug) || *IN_PROCESS == Some(bug)
}

/// Activates a bug on the current thread, replacing the last. Returns whether this build supports the request.
pub fn plant(bug: Option<PlantedBug>) -> bool {
    #[cfg(feature = "crash-points")]
    PLANTED.set(bug);
    cfg!(feature = "crash-points") || bug.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bug_that_the_simulation_does_not_find_has_a_schedule_of_the_crash_tests() {
        let schedules = include_str!("../tests/crash/bugs.txt").lines();
        let scheduled: Vec<&str> = schedules.filter_map(|line| line.split_once(" --").map(|(name, _)| name)).collect();
        let bugs = PlantedBug::ALL.iter().filter(|bug| !PlantedBug::SIMULATED.contains(bug));
        assert_eq!(scheduled, bugs.map(|bug| bug.name()).collect::<Vec<_>>());
        assert_eq!(PlantedBug::SIMULATED.last(), Some(&PlantedBug::ExpiredWithoutProof));
    }
}
