//! The processes on one ledger in memory, as a model of the store that replicas share.
//!
//! [`MemoryLedger::restart`] begins the next process of a ledger with one process at a time. [`MemoryLedger::replica`] adds
//! a process beside the others. No lease runs here: a test says when a life has run out.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::discriminant;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use super::MemoryLedger;
use super::is_in_hand;
use crate::domain::ledger::Entry;
use crate::ports::replicas::{Duty, Replicas};
use crate::ports::store_error::StoreError;

/// The number of a life of a process; a process that finds its life ended begins another.
type LifeNumber = u64;

/// Lives, and what they have in hand.
#[derive(Default)]
pub(super) struct Lives {
    last: LifeNumber,
    /// The life of the only process.
    only: LifeNumber,
    /// The first entry of the only process; `None` before it.
    first_own: Option<u64>,
    alive: BTreeSet<LifeNumber>,
    run_out: BTreeSet<LifeNumber>,
    /// The lives with these entries in hand; one that is neither alive nor run out has ended.
    owners: BTreeMap<u64, LifeNumber>,
    duties: BTreeMap<Duty, LifeNumber>,
}

/// One of several processes.
pub(super) struct MemoryReplica {
    life: AtomicU64,
    trusted_until: Mutex<Option<Instant>>,
}

impl Lives {
    fn begin(&mut self) -> LifeNumber {
        self.last += 1;
        self.alive.insert(self.last);
        self.last
    }

    fn end(&mut self, life: LifeNumber) {
        self.alive.remove(&life);
        self.run_out.remove(&life);
        self.duties.retain(|_, holder| *holder != life);
    }

    fn has_ended(&self, life: LifeNumber) -> bool {
        !self.alive.contains(&life) && !self.run_out.contains(&life)
    }

    /// The life of this process, or of the only one. A process whose life was ended begins another.
    pub(super) fn of(&mut self, replica: Option<&MemoryReplica>) -> LifeNumber {
        let Some(replica) = replica else { return self.only };
        let life = replica.life.load(Ordering::Relaxed);
        if !self.has_ended(life) {
            return life;
        }
        let next = self.begin();
        replica.life.store(next, Ordering::Relaxed);
        next
    }

    /// Notes an entry made by `life`.
    pub(super) fn made(&mut self, entry: &Entry, life: LifeNumber) {
        self.first_own.get_or_insert(entry.id.0);
        self.written(entry, life);
    }

    /// Notes in whose hand an entry is after a write of `life`.
    pub(super) fn written(&mut self, entry: &Entry, life: LifeNumber) {
        if is_in_hand(entry.state, entry.next) {
            self.owners.insert(entry.id.0, life);
        } else {
            self.owners.remove(&entry.id.0);
        }
    }

    /// Forgets an entry that is gone.
    pub(super) fn gone(&mut self, id: u64) {
        self.owners.remove(&id);
    }

    /// Whether an open entry was left by a process that has ended.
    pub(super) fn is_orphan(&self, id: u64, is_shared: bool) -> bool {
        if !is_shared {
            return self.first_own.is_none_or(|first| id < first);
        }
        self.owners.get(&id).is_some_and(|owner| self.has_ended(*owner))
    }

    /// Whether `life` has the entry in hand.
    pub(super) fn is_in_hand_of(&self, id: u64, life: LifeNumber) -> bool {
        self.owners.get(&id) == Some(&life)
    }

    /// See [`Replicas::claim`].
    fn claim(&mut self, duties: Vec<Duty>, life: LifeNumber) -> Vec<Duty> {
        let mut kinds: Vec<Vec<Duty>> = Vec::new();
        for duty in duties {
            match kinds.iter_mut().find(|kind| discriminant(&kind[0]) == discriminant(&duty)) {
                Some(kind) => kind.push(duty),
                None => kinds.push(vec![duty]),
            }
        }
        for duties in kinds {
            let share = duties.len().div_ceil(self.alive.len().max(1));
            let mut held: Vec<_> = duties.iter().filter(|duty| self.duties.get(duty) == Some(&life)).collect();
            // One too many stays, or two processes would hand it to each other for ever.
            if held.len() > share + 1 {
                for duty in held.drain(share..) {
                    self.duties.remove(duty);
                }
            }
            let mut held = held.len();
            for duty in &duties {
                let is_free = self.duties.get(duty).is_none_or(|holder| !self.alive.contains(holder));
                if held < share && is_free {
                    self.duties.insert(duty.clone(), life);
                    held += 1;
                }
            }
        }
        self.duties.iter().filter(|(_, holder)| **holder == life).map(|(duty, _)| duty.clone()).collect()
    }
}

impl MemoryLedger {
    /// Begins the next process of a ledger with one process at a time: all open entries were left by an earlier one.
    pub fn restart(&self) {
        let lives = &mut self.lock().lives;
        lives.only = lives.begin();
        lives.first_own = None;
    }

    /// A further process on this ledger, beside the others.
    #[must_use]
    pub fn replica(&self) -> Self {
        let life = AtomicU64::new(self.lock().lives.begin());
        let replica = MemoryReplica { life, trusted_until: Mutex::default() };
        self.as_replica(replica)
    }

    /// Lets the lease of this process run out, as when it was killed or stopped: others may end its life.
    pub fn run_out(&self) {
        let lives = &mut self.lock().lives;
        let life = lives.of(self.replica.as_deref());
        lives.alive.remove(&life);
        lives.run_out.insert(life);
    }

    /// Sets what [`Replicas::trusted_until`] tells.
    pub fn trust_until(&self, until: Option<Instant>) {
        if let Some(replica) = &self.replica {
            *replica.trusted_until.lock().unwrap_or_else(PoisonError::into_inner) = until;
        }
    }
}

impl Replicas for MemoryLedger {
    fn is_shared(&self) -> bool {
        self.replica.is_some()
    }

    fn trusted_until(&self) -> Option<Instant> {
        let replica = self.replica.as_ref()?;
        *replica.trusted_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn claim(&self, duties: Vec<Duty>) -> Result<Vec<Duty>, StoreError> {
        if !self.is_shared() {
            return Ok(duties);
        }
        let lives = &mut self.lock().lives;
        let life = lives.of(self.replica.as_deref());
        Ok(lives.claim(duties, life))
    }

    async fn end_dead(&self) -> Result<usize, StoreError> {
        if !self.is_shared() {
            return Ok(0);
        }
        let lives = &mut self.lock().lives;
        let own = lives.of(self.replica.as_deref());
        let dead: Vec<_> = lives.run_out.iter().copied().filter(|life| *life != own).collect();
        dead.iter().for_each(|life| lives.end(*life));
        Ok(dead.len())
    }

    async fn resign(&self) -> Result<(), StoreError> {
        if let Some(replica) = &self.replica {
            self.lock().lives.end(replica.life.load(Ordering::Relaxed));
        }
        Ok(())
    }
}
