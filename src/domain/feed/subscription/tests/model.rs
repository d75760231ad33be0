//! The same promises, kept by the simplest code that can: all events in a list, walked each time.

use super::*;

/// An event that was looked at.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) event: FreshEvent,
    pub(super) attempt: u32,
    failures: u32,
    redriven: bool,
    /// The word that ended its last loan.
    word: &'static str,
    pub(super) phase: Phase,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Phase {
    Idle(DeliveryCause),
    /// Why, whose, until when; and since when.
    Out(DeliveryCause, Arc<str>, Moment, SteadyTime),
    Later(Moment),
    Done,
    Aside(Timestamp, String),
    /// Trimmed away.
    Gone,
}

impl Seen {
    pub(super) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Idle(_) | Phase::Out(..) | Phase::Later(_))
    }

    fn is_out(&self) -> bool {
        matches!(self.phase, Phase::Out(..))
    }
}

#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) config: SubscriptionConfig,
    pub(super) version: u64,
    pub(super) generation: u64,
    pub(super) floor: u64,
    pub(super) scanned: u64,
    pub(super) updated: Timestamp,
    pub(super) seen: Vec<Seen>,
}

impl Model {
    pub(super) fn new(config: SubscriptionConfig, start: u64) -> Self {
        Self { config, version: 1, generation: 1, floor: start, scanned: start, updated: START.wall, seen: Vec::new() }
    }

    fn is_spent(&self, failures: u32) -> bool {
        self.config.max_attempts > 0 && failures >= self.config.max_attempts
    }

    /// The floor by its definition.
    fn raise_floor(&mut self) {
        let holding = self.seen.iter().filter(|s| s.is_open() && !s.redriven).map(|s| s.event.seq - 1).min();
        self.floor = holding.unwrap_or(self.scanned);
    }

    fn expire(&mut self, now: Moment) {
        for i in 0..self.seen.len() {
            match self.seen[i].phase.clone() {
                Phase::Out(_, _, until, _) if until.steady <= now.steady => {
                    self.seen[i].failures += 1;
                    let spent = self.is_spent(self.seen[i].failures);
                    self.seen[i].phase = if spent {
                        Phase::Aside(now.wall, "its attempts were used up".into())
                    } else {
                        Phase::Idle(DeliveryCause::LeaseExpired)
                    };
                }
                Phase::Later(until) if until.steady <= now.steady => {
                    self.seen[i].phase = Phase::Idle(DeliveryCause::Retry)
                }
                _ => {}
            }
        }
    }

    /// Whether this one waits for another, by the words of the design.
    fn must_wait(&self, i: usize) -> bool {
        let ours = &self.seen[i].event;
        self.seen.iter().enumerate().filter(|(j, other)| *j != i && other.is_open()).any(|(_, other)| {
            let earlier = other.event.seq < ours.seq;
            match self.config.mode {
                OrderingMode::Unordered => false,
                OrderingMode::KeyOrdered => {
                    !ours.key.is_empty() && other.event.key == ours.key && (earlier || other.is_out())
                }
                OrderingMode::Exclusive => earlier && !other.is_out(),
            }
        })
    }

    fn best_room(&self, rooms: &[ConsumerWindow], size: u32) -> Option<usize> {
        let elsewhere =
            |consumer: &str| self.seen.iter().any(|s| matches!(&s.phase, Phase::Out(_, who, ..) if **who != *consumer));
        let mut best: Option<usize> = None;
        for (i, room) in rooms.iter().enumerate() {
            let fits = room.events > 0 && (room.empty || u64::from(size) <= room.bytes);
            let barred = self.config.mode == OrderingMode::Exclusive && elsewhere(&room.consumer);
            if fits && !barred && best.is_none_or(|b| rooms[b].events < room.events) {
                best = Some(i);
            }
        }
        best
    }

    /// Lends the event at `i`; `None` when it fits nowhere.
    fn give(&mut self, i: usize, now: Moment, rooms: &mut [ConsumerWindow]) -> Option<LeaseGrant> {
        let size = self.seen[i].event.size;
        let best = self.best_room(rooms, size)?;
        let room = &mut rooms[best];
        room.events -= 1;
        room.bytes = room.bytes.saturating_sub(u64::from(size));
        room.empty = false;
        let until = now.plus(self.config.lease_duration);
        let generation = self.generation;
        let seen = &mut self.seen[i];
        let Phase::Idle(cause) = seen.phase else { panic!("lent what is not idle: {seen:?}") };
        seen.attempt += 1;
        seen.word = "";
        seen.phase = Phase::Out(cause, room.consumer.clone(), until, now.steady);
        let lease = Lease { generation, seq: seen.event.seq, attempt: seen.attempt };
        Some(LeaseGrant { room: best, lease, until, cause, size })
    }

    pub(super) fn lend(&mut self, now: Moment, rooms: &[ConsumerWindow], fresh: &FreshEvents) -> Vec<LeaseGrant> {
        let mut rooms = rooms.to_vec();
        let mut loans = Vec::new();
        self.expire(now);
        if !self.config.paused {
            let stuck = self.lend_seen(now, &mut rooms, &mut loans);
            if fresh.after <= self.scanned && self.scanned < fresh.upto {
                self.lend_fresh(now, &mut rooms, fresh, &mut loans, stuck);
            }
        }
        self.raise_floor();
        loans
    }

    /// Whether something was left because it fits nowhere.
    fn lend_seen(&mut self, now: Moment, rooms: &mut [ConsumerWindow], loans: &mut Vec<LeaseGrant>) -> bool {
        loop {
            let idle = |i: &usize| matches!(self.seen[*i].phase, Phase::Idle(_)) && !self.must_wait(*i);
            let Some(i) = (0..self.seen.len()).find(idle) else { return false };
            if self.is_spent(self.seen[i].failures) {
                self.seen[i].phase = Phase::Aside(now.wall, "its attempts were used up".into());
                continue;
            }
            match self.give(i, now, rooms) {
                Some(loan) => loans.push(loan),
                None => return true,
            }
        }
    }

    fn lend_fresh(
        &mut self,
        now: Moment,
        rooms: &mut [ConsumerWindow],
        fresh: &FreshEvents,
        loans: &mut Vec<LeaseGrant>,
        stuck: bool,
    ) {
        for event in &fresh.events {
            if event.seq <= self.scanned {
                continue;
            }
            let exclusive = self.config.mode == OrderingMode::Exclusive;
            let queue = exclusive && self.seen.iter().any(|s| s.is_open() && !s.is_out());
            if stuck || queue || rooms.iter().all(|room| room.events == 0) {
                self.scanned = event.seq - 1;
                return;
            }
            let phase = Phase::Idle(DeliveryCause::First);
            let event = event.clone();
            let seq = event.seq;
            self.seen.push(Seen { event, attempt: 0, failures: 0, redriven: false, word: "", phase });
            let i = self.seen.len() - 1;
            if self.must_wait(i) {
                continue;
            }
            match self.give(i, now, rooms) {
                Some(loan) => loans.push(loan),
                None => {
                    self.seen.pop();
                    self.scanned = seq - 1;
                    return;
                }
            }
        }
        self.scanned = fresh.upto;
    }

    pub(super) fn settle(
        &mut self,
        now: Moment,
        verdicts: &[(Lease, SettleVerdict)],
        fraction: f64,
    ) -> Vec<SettleOutcome> {
        let outcomes =
            verdicts.iter().map(|(lease, verdict)| self.settle_one(now, *lease, verdict, fraction)).collect();
        self.raise_floor();
        outcomes
    }

    fn settle_one(&mut self, now: Moment, lease: Lease, verdict: &SettleVerdict, fraction: f64) -> SettleOutcome {
        let word = match verdict {
            SettleVerdict::Ack => "ack",
            SettleVerdict::Retry { .. } => "retry",
            SettleVerdict::Park { .. } => "park",
            SettleVerdict::Extend { .. } => "extend",
            SettleVerdict::Release => "release",
        };
        if lease.generation == 0 || lease.generation > self.generation {
            return SettleOutcome::UnknownLease;
        }
        if lease.generation != self.generation {
            return SettleOutcome::StaleGeneration;
        }
        let known = self.seen.iter().position(|s| s.event.seq == lease.seq && s.phase != Phase::Gone);
        let forgotten = lease.seq + REMEMBERED <= self.floor;
        let known = known.filter(|i| self.seen[*i].phase != Phase::Done || !forgotten);
        let Some(i) = known else {
            return match forgotten && lease.seq > 0 && lease.attempt > 0 {
                false => SettleOutcome::UnknownLease,
                true if word == "ack" => SettleOutcome::AlreadyApplied,
                true => SettleOutcome::LeaseLost,
            };
        };
        let seen = &self.seen[i];
        if lease.attempt == 0 || lease.attempt > seen.attempt {
            return SettleOutcome::UnknownLease;
        }
        if lease.attempt != seen.attempt {
            return SettleOutcome::LeaseLost;
        }
        let mut until_now = None;
        let in_time = match &seen.phase {
            Phase::Out(_, _, until, _) => {
                until_now = Some(*until);
                until.steady > now.steady
            }
            _ => false,
        };
        if seen.phase == Phase::Done {
            return if word == "ack" { SettleOutcome::AlreadyApplied } else { SettleOutcome::LeaseLost };
        }
        if word != "ack" && !in_time {
            return if seen.word == word { SettleOutcome::AlreadyApplied } else { SettleOutcome::LeaseLost };
        }
        let spent = self.is_spent(seen.failures + 1);
        let pause = self.config.backoff_min.as_millis() as f64 * 2f64.powi(seen.failures as i32);
        let pause = pause.min(self.config.backoff_max.as_millis() as f64) * fraction;
        let by = self.config.lease_duration;
        let seen = &mut self.seen[i];
        match verdict {
            SettleVerdict::Ack => seen.phase = Phase::Done,
            SettleVerdict::Retry { delay, reason } => {
                seen.failures += 1;
                let pause = delay.unwrap_or(Duration::from_millis(pause as u64));
                seen.phase = match (spent, reason.is_empty()) {
                    (false, _) => Phase::Later(now.plus(pause)),
                    (true, true) => Phase::Aside(now.wall, "its attempts were used up".into()),
                    (true, false) => Phase::Aside(now.wall, reason.clone()),
                };
            }
            SettleVerdict::Park { reason } => seen.phase = Phase::Aside(now.wall, reason.clone()),
            SettleVerdict::Release => seen.phase = Phase::Idle(DeliveryCause::LeaseExpired),
            SettleVerdict::Extend { by: wanted } => {
                let (wanted, had) = (now.plus(wanted.unwrap_or(by)), until_now.unwrap());
                let until = if wanted.steady > had.steady { wanted } else { had };
                if let Phase::Out(_, _, old, _) = &mut seen.phase {
                    *old = until;
                }
                return SettleOutcome::Applied(Some(until));
            }
        }
        seen.word = if word == "ack" { "" } else { word };
        SettleOutcome::Applied(None)
    }

    /// Ends all loans of a consumer.
    pub(super) fn end_loans(&mut self, consumer: &str, reclaim: bool) {
        for seen in &mut self.seen {
            if matches!(&seen.phase, Phase::Out(_, who, ..) if **who == *consumer) {
                seen.word = if reclaim { "" } else { "release" };
                seen.phase = Phase::Idle(if reclaim { DeliveryCause::Reclaimed } else { DeliveryCause::LeaseExpired });
            }
        }
    }

    pub(super) fn redrive(&mut self, seqs: Option<&[u64]>) -> u64 {
        let mut count = 0;
        for seen in &mut self.seen {
            let asked = seqs.is_none_or(|seqs| seqs.contains(&seen.event.seq));
            if asked && matches!(seen.phase, Phase::Aside(..)) {
                (seen.phase, seen.redriven, seen.failures) = (Phase::Idle(DeliveryCause::Redriven), true, 0);
                count += 1;
            }
        }
        count
    }

    pub(super) fn seek(&mut self, to: u64, now: Timestamp) {
        self.seen.clear();
        self.generation += 1;
        (self.floor, self.scanned, self.updated) = (to, to, now);
    }

    pub(super) fn trim(&mut self, first: u64) -> usize {
        let mut count = 0;
        for seen in self.seen.iter_mut().filter(|s| s.event.seq < first) {
            let redriven = seen.redriven && seen.is_open() && !seen.is_out();
            if redriven || matches!(seen.phase, Phase::Aside(..)) {
                seen.phase = Phase::Gone;
                count += 1;
            }
        }
        count
    }

    /// Those that were lengthened, and until when.
    pub(super) fn keep(&mut self, consumer: &str, now: Moment, most: Duration) -> Vec<(u64, Moment)> {
        let lease = self.config.lease_duration.as_millis() as u64;
        let mut kept = Vec::new();
        for seen in &mut self.seen {
            let Phase::Out(_, who, until, since) = &mut seen.phase else { continue };
            let last = since.0 + most.as_millis() as u64;
            let wanted = (now.steady.0 + lease).min(last);
            let runs = until.steady.0 > now.steady.0 && (until.steady.0 - now.steady.0) * 4 <= lease * 3;
            if **who == *consumer && runs && wanted > until.steady.0 {
                *until = now.plus(Duration::from_millis(wanted - now.steady.0));
                kept.push((seen.event.seq, *until));
            }
        }
        kept
    }

    pub(super) fn void(&mut self, seqs: &[u64]) -> VoidedRows {
        let mut voided = VoidedRows::default();
        for seen in self.seen.iter_mut().filter(|s| seqs.contains(&s.event.seq)) {
            match seen.phase {
                Phase::Out(..) => voided.leased += 1,
                Phase::Aside(..) => voided.parked += 1,
                Phase::Idle(_) | Phase::Later(_) => voided.pending += 1,
                Phase::Done | Phase::Gone => panic!("{seen:?}"),
            }
            seen.phase = Phase::Gone;
        }
        self.raise_floor();
        voided
    }

    /// The rows that a store should have.
    pub(super) fn rows(&self) -> Vec<EventRow> {
        let kept = self.seen.iter().filter(|s| match s.phase {
            Phase::Gone => false,
            Phase::Done => s.event.seq + REMEMBERED > self.floor,
            _ => true,
        });
        kept.map(|s| EventRow {
            seq: s.event.seq,
            key: s.event.key.clone(),
            size: s.event.size,
            received: s.event.received,
            attempt: s.attempt,
            failures: s.failures,
            redriven: s.redriven,
            said: match s.word {
                "retry" => Some(LastVerdict::Retry),
                "park" => Some(LastVerdict::Park),
                "release" => Some(LastVerdict::Release),
                _ => None,
            },
            state: match s.phase.clone() {
                Phase::Idle(cause) => RowState::Pending { cause },
                Phase::Out(cause, consumer, until, since) => RowState::Leased { cause, since, until, consumer },
                Phase::Later(until) => RowState::Waiting { until },
                Phase::Done | Phase::Gone => RowState::Acked,
                Phase::Aside(since, reason) => RowState::Parked { since, reason },
            },
        })
        .collect()
    }
}
