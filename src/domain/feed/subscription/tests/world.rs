//! A subscription with its log, side by side with the model, watched by the witness, and stored by its changes only.

use std::collections::BTreeMap;

use proptest::sample::Index;

use super::model::{Model, Phase};
use super::witness::Witness;
use super::*;

/// What may happen. Positions are drawn from what there is at that time.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Events come, each after so many that do not match.
    Come(Vec<(usize, u32, u64)>),
    /// Consumers have room; so many events were read, from so far before the last one looked at, and the reader saw the
    /// end.
    Lend {
        rooms: Vec<ConsumerWindow>,
        read: usize,
        before: i64,
        to_the_end: bool,
    },
    /// Words about loans that were given, or nearly.
    Settle(Vec<(Index, Off, SettleVerdict)>, f64),
    Pass(u64),
    /// The wall clock is set, by so many milliseconds.
    Set(i64),
    /// A stream keeps the leases of its consumer, up to so many milliseconds.
    Keep(usize, u64),
    Release(usize),
    Reclaim(usize),
    Redrive(Option<Vec<Index>>),
    Seek(Index),
    Update {
        attempts: u32,
        paused: bool,
    },
    Trim(Index),
    /// The events at these positions are of accounts that it means no more.
    Void(Vec<Index>),
    /// What changed is stored; the machine may be loaded anew.
    Store {
        reload: bool,
    },
}

/// How a lease differs from one that was given.
#[derive(Clone, Copy, Debug)]
pub(super) enum Off {
    Not,
    Generation(i64),
    Seq(i64),
    Attempt(i64),
}

pub(super) const KEYS: [&str; 4] = ["A", "B", "C", ""];
pub(super) const CONSUMERS: [&str; 3] = ["a", "b", "c"];

#[derive(Clone)]
pub(super) struct World {
    now: Moment,
    machine: Subscription,
    pub(super) model: Model,
    witness: Witness,
    /// All that match, and the last position.
    log: Vec<FreshEvent>,
    head: u64,
    given: Vec<Lease>,
    stored_head: Option<SubscriptionHead>,
    stored: BTreeMap<u64, EventRow>,
}

impl World {
    pub(super) fn new(config: SubscriptionConfig, start: u64) -> Self {
        Self {
            now: START,
            machine: Subscription::new(7, 1, "oms".into(), config.clone(), start, START.wall),
            witness: Witness::new(config.mode, start),
            model: Model::new(config, start),
            log: Vec::new(),
            head: 0,
            given: Vec::new(),
            stored_head: None,
            stored: BTreeMap::new(),
        }
    }

    pub(super) fn step(&mut self, step: &Step) {
        match step {
            Step::Come(events) => self.come(events),
            Step::Lend { rooms, read, before, to_the_end } => self.lend(rooms, *read, *before, *to_the_end),
            Step::Settle(words, fraction) if !self.given.is_empty() => {
                let verdicts: Vec<_> = words.iter().map(|(i, off, v)| (self.lease(i, *off), v.clone())).collect();
                self.settle(&verdicts, *fraction);
            }
            Step::Settle(..) => {}
            Step::Pass(millis) => self.now = self.now.plus(Duration::from_millis(*millis)),
            Step::Set(by) => self.now.wall = Timestamp(self.now.wall.0.saturating_add_signed(*by)),
            Step::Keep(i, most) => self.keep(CONSUMERS[*i], Duration::from_millis(*most)),
            Step::Release(i) => {
                self.machine.release(CONSUMERS[*i]);
                self.model.end_loans(CONSUMERS[*i], false);
                self.witness.ended(CONSUMERS[*i]);
            }
            Step::Reclaim(i) => {
                self.machine.reclaim(CONSUMERS[*i]);
                self.model.end_loans(CONSUMERS[*i], true);
                self.witness.ended(CONSUMERS[*i]);
            }
            Step::Redrive(picks) => self.redrive(picks.as_deref()),
            Step::Seek(to) => self.seek(to.index(self.head as usize + 1) as u64),
            Step::Update { attempts, paused } => self.update(*attempts, *paused),
            Step::Trim(first) => self.trim(first.index(self.head as usize + 2) as u64),
            Step::Void(picks) => self.void(picks),
            Step::Store { reload } => self.store(*reload),
        }
        self.check();
    }

    /// One word about one lease.
    pub(super) fn say(&mut self, lease: Lease, verdict: SettleVerdict) -> SettleOutcome {
        let outcomes = self.settle(&[(lease, verdict)], 0.5);
        self.check();
        outcomes[0]
    }

    /// All that what follows depends on, once everything is stored.
    pub(super) fn situation(&self) -> String {
        format!("{:?} {:?} {:?}", self.now, self.model, self.witness)
    }

    fn check(&mut self) {
        self.compare();
        self.witness.audit(&self.machine, &self.log);
    }

    fn come(&mut self, events: &[(usize, u32, u64)]) {
        for (key, size, skipped) in events {
            self.head += skipped + 1;
            let received = self.now.wall;
            self.log.push(FreshEvent { seq: self.head, key: KEYS[*key].into(), size: *size, received });
        }
    }

    fn lend(&mut self, rooms: &[ConsumerWindow], read: usize, before: i64, to_the_end: bool) {
        let after = self.machine.head().scanned.saturating_add_signed(-before);
        let new: Vec<FreshEvent> = self.log.iter().filter(|event| event.seq > after).cloned().collect();
        let events = new[..read.min(new.len())].to_vec();
        let last = events.last().map_or(after, |event| event.seq);
        let upto = if to_the_end && events.len() == new.len() { self.head.max(after) } else { last };
        let fresh = FreshEvents { after, upto, events };
        let scanned = self.machine.head().scanned;
        let loans = self.machine.lend(self.now, rooms, &fresh);
        assert_eq!(loans, self.model.lend(self.now, rooms, &fresh));
        if after > scanned {
            assert_eq!(self.machine.head().scanned, scanned, "looked past a gap");
        }
        let parked = |seq| self.machine.rows.get(seq).is_some_and(|row| matches!(row.state, RowState::Parked { .. }));
        self.witness.loans(self.now, &loans, rooms, &self.log, parked);
        self.given.extend(loans.iter().map(|loan| loan.lease));
    }

    fn lease(&self, pick: &Index, off: Off) -> Lease {
        let lease = *pick.get(&self.given);
        match off {
            Off::Not => lease,
            Off::Generation(by) => Lease { generation: lease.generation.saturating_add_signed(by), ..lease },
            Off::Seq(by) => Lease { seq: lease.seq.saturating_add_signed(by), ..lease },
            Off::Attempt(by) => Lease { attempt: lease.attempt.saturating_add_signed(by as i32), ..lease },
        }
    }

    fn settle(&mut self, verdicts: &[(Lease, SettleVerdict)], fraction: f64) -> Vec<SettleOutcome> {
        let mut probe = self.machine.clone();
        probe.take_changes();
        let outcomes = self.machine.settle(self.now, verdicts, &mut || fraction);
        assert_eq!(outcomes, self.model.settle(self.now, verdicts, fraction), "{verdicts:?}");
        assert_eq!(outcomes, probe.settle(self.now, verdicts, &mut || fraction));
        if !outcomes.iter().any(|outcome| matches!(outcome, SettleOutcome::Applied(_))) {
            assert!(probe.take_changes().is_empty(), "{outcomes:?} changed something");
        }
        let generation = self.model.generation;
        for ((lease, verdict), outcome) in verdicts.iter().zip(&outcomes) {
            if lease.generation == generation {
                self.witness.settled(self.now, *lease, verdict, *outcome);
            } else {
                let stale = lease.generation < generation && lease.generation > 0;
                let expected = if stale { SettleOutcome::StaleGeneration } else { SettleOutcome::UnknownLease };
                assert_eq!(*outcome, expected, "{lease:?}");
            }
        }
        outcomes
    }

    pub(super) fn seek(&mut self, to: u64) {
        self.machine.seek(to, self.now.wall);
        self.model.seek(to, self.now.wall);
        self.witness = Witness::new(self.model.config.mode, to);
    }

    fn redrive(&mut self, picks: Option<&[Index]>) {
        let seqs: Option<Vec<u64>> =
            picks.map(|picks| picks.iter().map(|pick| pick.index(self.head as usize + 1) as u64).collect());
        let parked: Vec<u64> = self.machine.parked_after(0, usize::MAX).iter().map(|row| row.seq).collect();
        let asked = |seq: &u64| seqs.as_ref().is_none_or(|seqs| seqs.contains(seq));
        self.witness.redriven(parked.into_iter().filter(asked));
        assert_eq!(self.machine.redrive(seqs.as_deref()), self.model.redrive(seqs.as_deref()));
    }

    fn update(&mut self, attempts: u32, paused: bool) {
        let config = SubscriptionConfig { max_attempts: attempts, paused, ..self.model.config.clone() };
        if config != self.model.config {
            (self.model.version, self.model.updated) = (self.model.version + 1, self.now.wall);
        }
        self.model.config = config.clone();
        self.machine.update(config, self.now.wall);
    }

    /// As the store does: what the machine still needs is not trimmed, but for what was waiting too long.
    fn trim(&mut self, first: u64) {
        let rows = |machine: &Subscription| machine.rows.between(..).map(|row| row.seq).collect::<BTreeSet<_>>();
        let before = rows(&self.machine);
        let trimmed = self.machine.trimmed(first);
        assert_eq!(trimmed, self.model.trim(first));
        let after = rows(&self.machine);
        let gone: Vec<u64> = before.difference(&after).copied().collect();
        assert_eq!(gone.len(), trimmed);
        self.witness.gone(gone);
    }

    fn keep(&mut self, consumer: &str, most: Duration) {
        let due = self.machine.keep_time(consumer, most);
        let times = |machine: &Subscription| machine.rows.between(..).cloned().collect::<Vec<_>>();
        let before = times(&self.machine);
        self.machine.keep(consumer, self.now, most);
        if due.is_none() {
            assert_eq!(times(&self.machine), before, "nothing was to be kept");
        }
        for (seq, until) in self.model.keep(consumer, self.now, most) {
            self.witness.lengthened(seq, until.steady);
        }
    }

    fn void(&mut self, picks: &[Index]) {
        let picked: BTreeSet<u64> = picks.iter().map(|pick| pick.index(self.head as usize + 1) as u64).collect();
        let open: BTreeSet<u64> = self.machine.open_rows().into_iter().collect();
        let voided = self.machine.set_scope(AccountScope::All, picked.iter().copied());
        let gone = picked.intersection(&open).copied().collect::<Vec<_>>();
        assert_eq!(voided, self.model.void(&gone));
        self.witness.gone(gone);
    }

    /// Writes what changed, and nothing else.
    pub(super) fn store(&mut self, reload: bool) {
        let changes = self.machine.take_changes();
        assert!(self.machine.take_changes().is_empty());
        if let Some(head) = &changes.head {
            assert_ne!(Some(head), self.stored_head.as_ref(), "the head did not change");
            self.stored_head = Some(head.clone());
        }
        if changes.clear {
            assert!(!self.stored.is_empty(), "cleared what was empty");
            self.stored.clear();
        }
        assert!(changes.put.is_sorted_by_key(|row| row.seq) && changes.drop.is_sorted());
        for row in changes.put {
            assert_ne!(Some(&row), self.stored.get(&row.seq), "did not change");
            self.stored.insert(row.seq, row);
        }
        for seq in changes.drop {
            assert!(self.stored.remove(&seq).is_some(), "dropped what was not there");
        }
        assert_eq!(self.stored.values().cloned().collect::<Vec<_>>(), self.model.rows());
        let head = self.stored_head.clone().expect("a new one is stored at once");
        assert_eq!(&head, self.machine.head());
        if reload {
            self.machine = Subscription::load(head, self.stored.values().cloned().collect());
            assert!(self.machine.take_changes().is_empty());
        }
    }

    /// What the machine tells of itself, worked out from the model's list.
    fn compare(&self) {
        let (machine, model) = (&self.machine, &self.model);
        assert_eq!(machine.rows.between(..).cloned().collect::<Vec<_>>(), model.rows());
        let head = machine.head();
        let place = (head.generation, head.version, head.floor, head.scanned, head.updated);
        assert_eq!(place, (model.generation, model.version, model.floor, model.scanned, model.updated));
        let of = |phase: fn(&Phase) -> bool| model.seen.iter().filter(move |s| phase(&s.phase));
        assert_eq!(machine.outstanding(), of(|phase| matches!(phase, Phase::Out(..))).count() as u64);
        let parked: Vec<u64> = of(|phase| matches!(phase, Phase::Aside(..))).map(|s| s.event.seq).collect();
        assert_eq!(machine.parked(), parked.len() as u64);
        for (after, limit) in [(0, 2), (model.floor, usize::MAX)] {
            let told: Vec<u64> = machine.parked_after(after, limit).iter().map(|row| row.seq).collect();
            assert_eq!(told, parked.iter().copied().filter(|seq| *seq > after).take(limit).collect::<Vec<_>>());
        }
        let open: Vec<_> = model.seen.iter().filter(|s| s.is_open()).collect();
        assert_eq!(machine.unsettled(), open.len() as u64);
        assert_eq!(machine.oldest_unsettled(), open.first().map(|s| s.event.received));
        let times = model.seen.iter().filter_map(|s| match s.phase {
            Phase::Out(_, _, until, _) | Phase::Later(until) => Some(until.steady),
            _ => None,
        });
        assert_eq!(machine.next_time(), times.min());
        let needed = parked.iter().copied().chain(open.iter().map(|s| s.event.seq)).min();
        assert_eq!(machine.needs_after(), needed.map_or(model.floor, |seq| model.floor.min(seq - 1)));
        let ahead = model.rows().iter().filter(|row| row.seq > model.floor).count();
        assert_eq!(machine.ahead, ahead);
        for consumer in CONSUMERS {
            let theirs = |s: &&&super::model::Seen| matches!(&s.phase, Phase::Out(_, who, ..) if **who == *consumer);
            let theirs: Vec<_> = open.iter().filter(theirs).collect();
            let lease = |seq, attempt| Lease { generation: model.generation, seq, attempt };
            let leases = theirs.iter().map(|s| lease(s.event.seq, s.attempt)).collect();
            let bytes = theirs.iter().map(|s| u64::from(s.event.size)).sum();
            assert_eq!(machine.held(consumer), HeldLeases { leases, bytes });
        }
    }
}
