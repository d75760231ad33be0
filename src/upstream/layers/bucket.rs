//! The token bucket of one operation of one account, kept in step with Walmart's own. Pure; time is passed in.
//!
//! It starts full and refills evenly. A call takes a token, or a place in a queue when there is none yet; answers correct
//! the level, and with it the time of every call that waits.
//!
//! Calls of the ledger that settle doubts have a queue of their own beside the callers' one. In each queue the first to come
//! is the first served, and each side is sure of half of the tokens while both wait:
//!
//! * A ledger call goes before all callers as long as it has a **turn** left. It has half of the limit as turns, which refill
//!   with half of the rate: endless look-ups leave callers the other half.
//! * Tokens that one side does not use are the other's: without doubts callers have the whole limit.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// The wait after a refusal for want of tokens that does not say how long.
const UNKNOWN_WAIT: Duration = Duration::from_secs(60);
/// The longest wait that is believed of an answer that was no refusal: in a minute the bucket fills from nothing.
const LONGEST_REFILL: Duration = Duration::from_secs(60);
/// The part of the limit in which the ledger's calls go before callers.
const LEDGER_PART: f64 = 0.5;
/// Two moments that are no further apart are one.
const TICK: Duration = Duration::from_nanos(1);
/// More than enough halves of a minute to come down to a tick.
const STEPS: usize = 64;
/// What sums of fractions may be off. Far below what a timer can tell.
const ROUNDING: f64 = 1e-6;

/// A bucket.
#[derive(Debug)]
pub struct TokenBucket {
    capacity: f64,
    /// Whether Walmart's count may raise the level.
    raised: bool,
    per_second: f64,
    /// Tokens at `updated`. Below zero when more are on their way than Walmart counts.
    level: f64,
    updated: Instant,
    /// Walmart said that it has no tokens before this moment.
    empty_until: Option<Instant>,
    /// Taken and not yet answered: Walmart's count may not have these off yet.
    outstanding: u32,
    /// Turns of the ledger's at `turns_at`: at most half of the capacity.
    turns: f64,
    turns_at: Instant,
    /// Calls that wait, first come first, one queue for each side.
    queues: [VecDeque<QueueTicket>; 2],
    next_ticket: u64,
}

/// Whose call it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum QueueSide {
    /// A caller's, or the ledger's where it can be left out.
    Caller,
    /// The ledger's, to settle a doubt.
    Ledger,
}

/// A place in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueueTicket {
    side: QueueSide,
    number: u64,
}

/// What was had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakeOutcome {
    /// A token.
    Token,
    /// A place in the queue, to be asked about with [`TokenBucket::turn`] or given up with [`TokenBucket::leave`].
    Place(QueueTicket),
}

impl TokenBucket {
    /// A full one of `per_minute` tokens (at least one), which refill in a minute.
    pub fn new(per_minute: u32, now: Instant) -> Self {
        let capacity = f64::from(per_minute.max(1));
        Self {
            capacity,
            raised: true,
            per_second: capacity / 60.0,
            level: capacity,
            updated: now,
            empty_until: None,
            outstanding: 0,
            turns: (capacity * LEDGER_PART).max(1.0),
            turns_at: now,
            queues: Default::default(),
            next_ticket: 0,
        }
    }

    /// Knows Walmart's published limit. An operator who stays below it wants fewer calls than Walmart counts.
    pub fn beside_published(self, per_minute: u32) -> Self {
        Self { raised: self.capacity >= f64::from(per_minute), ..self }
    }

    /// Tokens that refill in a minute.
    pub fn per_minute(&self) -> u32 {
        self.capacity as u32
    }

    /// When a caller can have a token, if one is asked for now.
    pub fn next_token(&self, now: Instant) -> Instant {
        self.token_behind(QueueSide::Caller, self.queue(QueueSide::Caller).len(), now)
    }

    /// Takes a token, or a place in the queue if one can be had by `latest`; else tells how long one would have to wait.
    /// Every token ends in [`answered`](Self::answered) or [`unused`](Self::unused).
    pub fn take(&mut self, side: QueueSide, now: Instant, latest: Instant) -> Result<TakeOutcome, Duration> {
        // Whoever asks may have looked at the clock just before the last answer came.
        let now = if self.is_empty(now) { now } else { now.max(self.updated) };
        let at = self.token_behind(side, self.queue(side).len(), now);
        if at <= now {
            self.draw(side, now);
            return Ok(TakeOutcome::Token);
        }
        if at > latest {
            return Err(at - now);
        }
        let ticket = QueueTicket { side, number: self.next_ticket };
        self.next_ticket += 1;
        self.queues[side as usize].push_back(ticket);
        Ok(TakeOutcome::Place(ticket))
    }

    /// Takes the token of a waiter whose time has come; else tells when it comes, as things stand.
    pub fn turn(&mut self, ticket: QueueTicket, now: Instant) -> Option<Instant> {
        let ahead = self.queue(ticket.side).partition_point(|other| *other < ticket);
        let at = self.token_behind(ticket.side, ahead, now);
        if at > now {
            return Some(at);
        }
        self.leave(ticket);
        self.draw(ticket.side, now);
        None
    }

    /// A waiter gives up its place.
    pub fn leave(&mut self, ticket: QueueTicket) {
        let queue = &mut self.queues[ticket.side as usize];
        if let Ok(place) = queue.binary_search(&ticket) {
            queue.remove(place);
        }
    }

    /// Whether any call waits.
    pub fn has_queue(&self) -> bool {
        self.queues.iter().any(|queue| !queue.is_empty())
    }

    fn queue(&self, side: QueueSide) -> &VecDeque<QueueTicket> {
        &self.queues[side as usize]
    }

    /// The attempt was answered, or may have been. `tokens_left` is what Walmart counts; `refused_for` says that it
    /// refused calls for a time, and for how long if it told that; `replenished_in` when its count grows, a minute at most.
    pub fn answered(
        &mut self,
        now: Instant,
        tokens_left: Option<u32>,
        replenished_in: Option<Duration>,
        refused_for: Option<Option<Duration>>,
    ) {
        self.outstanding = self.outstanding.saturating_sub(1);
        self.refill(now);
        if let Some(wait) = refused_for {
            self.empty(now + wait.unwrap_or(UNKNOWN_WAIT));
        } else if let Some(left) = tokens_left {
            // The operator's limit stays the upper bound, whatever Walmart would allow.
            let counted = f64::from(left).min(self.capacity) - f64::from(self.outstanding);
            self.level = if self.raised { counted } else { counted.min(self.level) };
            self.updated = now;
            self.empty_until = None;
            if let (0, Some(wait)) = (left, replenished_in) {
                self.empty(now + wait.min(LONGEST_REFILL));
            }
        }
    }

    /// The attempt was not made.
    pub fn unused(&mut self, side: QueueSide, now: Instant) {
        self.outstanding = self.outstanding.saturating_sub(1);
        self.refill(now);
        self.level = (self.level + 1.0).min(self.capacity);
        if side == QueueSide::Ledger {
            self.turns = (self.turns + 1.0).min(self.most_turns());
        }
    }

    /// Tokens that could be used at once.
    pub fn available(&self, now: Instant) -> f64 {
        if self.is_empty(now) {
            return 0.0;
        }
        let waiting: usize = self.queues.iter().map(VecDeque::len).sum();
        (self.level_at(now) - waiting as f64).max(0.0)
    }

    /// Whether Walmart said that there is nothing to be had yet.
    fn is_empty(&self, now: Instant) -> bool {
        self.empty_until.is_some_and(|until| now < until)
    }

    /// Nothing before `until`; then the count grows by one, and evenly from there.
    fn empty(&mut self, until: Instant) {
        self.empty_until = Some(until);
        self.updated = until;
        self.level = 1.0 - f64::from(self.outstanding);
    }

    fn draw(&mut self, side: QueueSide, now: Instant) {
        self.refill(now);
        self.level -= 1.0;
        self.outstanding += 1;
        if side == QueueSide::Ledger {
            self.turns = (self.turns - 1.0).max(0.0);
        }
    }

    /// When there is a token for a call of this side that lets so many of its own side go before.
    fn token_behind(&self, side: QueueSide, ahead: usize, now: Instant) -> Instant {
        match side {
            QueueSide::Caller => self.callers_token(ahead, now),
            QueueSide::Ledger => self.ledgers_token(ahead, now),
        }
    }

    /// Before a caller go the calls of the ledger that wait and have turns by then.
    fn callers_token(&self, ahead: usize, now: Instant) -> Instant {
        let waiting = self.queue(QueueSide::Ledger).len() as f64;
        let mut at = self.updated.max(now);
        // Each step is at most half of the one before, because turns refill with half of the rate.
        for _ in 0..STEPS {
            let before = waiting.min((self.turns_by(at) + ROUNDING).floor());
            let next = self.filled(ahead as f64 + 1.0 + before, now);
            if next <= at + TICK {
                return next.max(at);
            }
            at = next;
        }
        at
    }

    /// Before a call of the ledger goes no caller if it has a turn, and else all that wait.
    fn ledgers_token(&self, ahead: usize, now: Instant) -> Instant {
        let place = ahead as f64 + 1.0;
        let behind_callers = self.filled(place + self.queue(QueueSide::Caller).len() as f64, now);
        if place > self.most_turns() + ROUNDING {
            return behind_callers;
        }
        let missing = place - self.turns_by(now);
        let has_turn =
            if missing < ROUNDING { now } else { now.max(self.turns_at) + self.time_for(missing / LEDGER_PART) };
        self.filled(place, now).max(has_turn).min(behind_callers)
    }

    /// When the level is this high.
    fn filled(&self, level: f64, now: Instant) -> Instant {
        let missing = level - self.level_at(now);
        let from = self.updated.max(now);
        if missing < ROUNDING { from } else { from + self.time_for(missing) }
    }

    fn time_for(&self, tokens: f64) -> Duration {
        Duration::from_secs_f64(tokens / self.per_second)
    }

    fn most_turns(&self) -> f64 {
        (self.capacity * LEDGER_PART).max(1.0)
    }

    fn turns_by(&self, at: Instant) -> f64 {
        let elapsed = at.saturating_duration_since(self.turns_at).as_secs_f64();
        (self.turns + elapsed * self.per_second * LEDGER_PART).min(self.most_turns())
    }

    fn level_at(&self, now: Instant) -> f64 {
        let elapsed = now.saturating_duration_since(self.updated).as_secs_f64();
        (self.level + elapsed * self.per_second).min(self.capacity)
    }

    fn refill(&mut self, now: Instant) {
        self.turns = self.turns_by(now);
        self.turns_at = self.turns_at.max(now);
        if self.is_empty(now) {
            return;
        }
        self.empty_until = None;
        self.level = self.level_at(now);
        self.updated = self.updated.max(now);
    }
}

#[cfg(test)]
mod tests;
