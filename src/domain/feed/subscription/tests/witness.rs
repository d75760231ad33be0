//! What consumers and operators see of a subscription must hold together: invariants I10 to I12 of the design, told
//! from loans, outcomes and floors alone.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

#[derive(Clone, Debug, Default)]
pub(super) struct Witness {
    mode: OrderingMode,
    /// Of the generation: where it began, and its floor.
    start: u64,
    floor: u64,
    /// Loans given, by event.
    attempts: BTreeMap<u64, u32>,
    /// Loans that last.
    out: BTreeMap<u64, (Arc<str>, SteadyTime)>,
    acked: BTreeSet<u64>,
    /// Given out again after it was parked.
    redriven: BTreeSet<u64>,
    /// No longer in the log, or void.
    gone: BTreeSet<u64>,
}

impl Witness {
    pub(super) fn new(mode: OrderingMode, start: u64) -> Self {
        Self { mode, start, floor: start, ..Self::default() }
    }

    /// Loans are given. `log` has every matching event, `parked` is what is aside after.
    pub(super) fn loans(
        &mut self,
        now: Moment,
        loans: &[LeaseGrant],
        rooms: &[ConsumerWindow],
        log: &[FreshEvent],
        parked: impl Fn(u64) -> bool,
    ) {
        self.out.retain(|_, (_, until)| *until > now.steady);
        let mut given: BTreeMap<usize, (usize, u64)> = BTreeMap::new();
        for loan in loans {
            let seq = loan.lease.seq;
            let event = log.iter().find(|event| event.seq == seq).expect("an event of the log");
            let told = format!("{loan:?}");
            assert!(seq > self.start, "before the beginning: {told}");
            assert!(!self.acked.contains(&seq), "acknowledged: {told}");
            assert!(!self.out.contains_key(&seq), "two loans of one event: {told}");
            let attempt = self.attempts.entry(seq).or_default();
            *attempt += 1;
            assert_eq!(loan.lease.attempt, *attempt, "fence: {told}");
            assert_eq!(loan.cause == DeliveryCause::First, *attempt == 1, "cause: {told}");
            let first = *attempt == 1;
            self.keeps_order(event, first, log, &parked, &told);
            let consumer = rooms[loan.room].consumer.clone();
            if self.mode == OrderingMode::Exclusive {
                assert!(self.out.values().all(|(who, _)| *who == consumer), "two have some: {told}");
            }
            self.out.insert(seq, (consumer, loan.until.steady));
            let (events, bytes) = given.entry(loan.room).or_default();
            let room = &rooms[loan.room];
            let fits = *bytes + u64::from(loan.size) <= room.bytes || (room.empty && *events == 0);
            (*events, *bytes) = (*events + 1, *bytes + u64::from(loan.size));
            assert!(fits && *events <= room.events, "no room: {told}");
        }
    }

    /// Nothing earlier that it has to wait for is left.
    fn keeps_order(
        &self,
        event: &FreshEvent,
        first: bool,
        log: &[FreshEvent],
        parked: &impl Fn(u64) -> bool,
        told: &str,
    ) {
        let same_line = |other: &&FreshEvent| match self.mode {
            OrderingMode::Unordered => false,
            OrderingMode::KeyOrdered => !event.key.is_empty() && other.key == event.key,
            OrderingMode::Exclusive => true,
        };
        for other in log.iter().filter(|other| other.seq > self.start).filter(same_line) {
            let out = self.out.contains_key(&other.seq);
            if self.mode == OrderingMode::KeyOrdered {
                assert!(!out, "two loans of one key: {told}");
            }
            if other.seq < event.seq {
                let over = self.acked.contains(&other.seq) || self.gone.contains(&other.seq) || parked(other.seq);
                assert!(over || out, "before {}: {told}", other.seq);
            }
            if other.seq > event.seq && first {
                assert!(!self.attempts.contains_key(&other.seq), "first after {}: {told}", other.seq);
            }
        }
    }

    /// A lease of this generation was settled.
    pub(super) fn settled(&mut self, now: Moment, lease: Lease, verdict: &SettleVerdict, outcome: SettleOutcome) {
        let told = format!("{lease:?} {verdict:?} {outcome:?}");
        let last = self.attempts.get(&lease.seq).copied() == Some(lease.attempt);
        match outcome {
            SettleOutcome::Applied(until) => {
                assert!(last && !self.acked.contains(&lease.seq), "not the last: {told}");
                if *verdict != SettleVerdict::Ack {
                    assert!(self.out.get(&lease.seq).is_some_and(|(_, until)| *until > now.steady), "ended: {told}");
                }
                assert_eq!(until.is_some(), matches!(verdict, SettleVerdict::Extend { .. }), "{told}");
                match until {
                    Some(until) => self.out.get_mut(&lease.seq).unwrap().1 = until.steady,
                    None => drop(self.out.remove(&lease.seq)),
                }
                if *verdict == SettleVerdict::Ack {
                    self.acked.insert(lease.seq);
                }
            }
            SettleOutcome::AlreadyApplied if *verdict == SettleVerdict::Ack => {
                let forgotten = lease.seq + REMEMBERED <= self.floor;
                assert!(forgotten || (last && self.acked.contains(&lease.seq)), "never: {told}");
            }
            SettleOutcome::UnknownLease => {
                let given = self.attempts.get(&lease.seq).is_some_and(|last| (1..=*last).contains(&lease.attempt));
                let trimmed = self.gone.contains(&lease.seq);
                assert!(!given || trimmed, "was given: {told}");
            }
            _ => {}
        }
    }

    /// A consumer's loans ended.
    pub(super) fn ended(&mut self, consumer: &str) {
        self.out.retain(|_, (who, _)| **who != *consumer);
    }

    /// A loan that lasted was lengthened.
    pub(super) fn lengthened(&mut self, seq: u64, until: SteadyTime) {
        let out = self.out.get_mut(&seq).expect("on loan");
        assert!(until > out.1, "shortened");
        out.1 = until;
    }

    pub(super) fn redriven(&mut self, seqs: impl IntoIterator<Item = u64>) {
        self.redriven.extend(seqs);
    }

    pub(super) fn gone(&mut self, seqs: impl IntoIterator<Item = u64>) {
        for seq in seqs {
            self.out.remove(&seq);
            self.gone.insert(seq);
        }
    }

    /// Every matching event is accounted for, and the floor is right.
    pub(super) fn audit(&mut self, subscription: &Subscription, log: &[FreshEvent]) {
        let head = subscription.head();
        assert!(head.floor >= self.floor, "the floor fell from {} to {}", self.floor, head.floor);
        assert!(head.scanned >= head.floor, "the floor ran ahead: {head:?}");
        self.floor = head.floor;
        for event in log.iter().filter(|event| event.seq > self.start && event.seq <= head.scanned) {
            let state = subscription.rows.get(event.seq).map(|row| row.state.clone());
            let unsettled = state.as_ref().is_some_and(RowState::is_unsettled);
            let parked = matches!(state, Some(RowState::Parked { .. }));
            let told = format!("{event:?} is {state:?} in {head:?}");
            let acked = self.acked.contains(&event.seq);
            let gone = self.gone.contains(&event.seq);
            assert_eq!([acked, gone, unsettled, parked].map(u8::from).iter().sum::<u8>(), 1, "{told}");
            assert_eq!(
                matches!(state, Some(RowState::Leased { .. })),
                self.out.contains_key(&event.seq) && !acked,
                "{told}"
            );
            if event.seq <= head.floor {
                assert!(!unsettled || self.redriven.contains(&event.seq), "below the floor: {told}");
            }
        }
    }
}
