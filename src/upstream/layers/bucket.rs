//! The token bucket of an operation and account, synchronized with Walmart's own bucket. Pure; time is passed in.
//!
//! The bucket starts full and refills evenly. A call takes a token, or queues up if none is left. Answers correct the
//! level, and thereby the time of all waiting calls.
//!
//! The ledger's calls to settle unknown outcomes have a queue beside the callers' queue. Each queue is first in,
//! first out, and while both queues wait, each side gets at least half of the tokens:
//!
//! * A ledger call goes before all callers while the ledger has **turns** left. Turns are half of the limit and
//!   refill at half of the rate, so endless look-ups leave callers the other half.
//! * Tokens unused by a side go to the other side: without unknown outcomes callers have the whole limit.
//!
//! A third queue has the reads for which nobody waits: each goes only while no other call is waiting.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// The wait after a throttled answer without a usable header.
const UNKNOWN_WAIT: Duration = Duration::from_secs(60);
/// The longest replenishment time accepted from a successful answer: an empty bucket is full after a minute.
const LONGEST_REFILL: Duration = Duration::from_secs(60);
/// The part of the limit reserved for ledger calls.
const LEDGER_PART: f64 = 0.5;
/// Two times no further apart than this count as equal.
const TICK: Duration = Duration::from_nanos(1);
/// Enough halvings to get from a minute below a tick.
const STEPS: usize = 64;
/// The error tolerated in sums of fractions, far below the resolution of timers.
const ROUNDING: f64 = 1e-6;

/// A token bucket with a queue for each side.
#[derive(Debug)]
pub(crate) struct TokenBucket {
    capacity: f64,
    /// Whether Walmart's count may raise the level.
    raised: bool,
    per_second: f64,
    /// Tokens at `updated`. Negative if more calls are in flight than Walmart counts.
    level: f64,
    updated: Instant,
    /// The end of a time without tokens, as announced by Walmart.
    empty_until: Option<Instant>,
    /// Tokens of calls in flight, which Walmart's count may not include yet.
    outstanding: u32,
    /// Turns of the ledger at `turns_at`, at most half of the capacity.
    turns: f64,
    turns_at: Instant,
    /// Waiting calls in order of arrival, a queue for each side.
    queues: [VecDeque<QueueTicket>; 3],
    next_ticket: u64,
}

/// The side on whose behalf a call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum QueueSide {
    /// A caller, or optional work of the ledger.
    Caller,
    /// The ledger, to settle an unknown outcome.
    Ledger,
    /// Nobody in particular: a read that can wait.
    Background,
}

/// A place in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct QueueTicket {
    side: QueueSide,
    number: u64,
}

/// The result of a successful [`TokenBucket::take`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TakeOutcome {
    /// A token was free.
    Token,
    /// A place in the queue. Poll with [`TokenBucket::turn`], give up with [`TokenBucket::leave`].
    Place(QueueTicket),
}

impl TokenBucket {
    /// Creates a full bucket of `per_minute` tokens, at least 1, which refills within a minute.
    pub(crate) fn new(per_minute: u32, now: Instant) -> Self {
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

    /// Compares the capacity with Walmart's published limit. If the operator chose a lower limit, Walmart's count
    /// never raises the level.
    pub(crate) fn beside_published(self, per_minute: u32) -> Self {
        Self { raised: self.capacity >= f64::from(per_minute), ..self }
    }

    /// Tokens refilled per minute.
    pub(crate) fn per_minute(&self) -> u32 {
        self.capacity as u32
    }

    /// The time at which a new caller would get a token.
    pub(crate) fn next_token(&self, now: Instant) -> Instant {
        self.token_behind(QueueSide::Caller, self.queue(QueueSide::Caller).len(), now)
    }

    /// Takes a token or a place in the queue. Fails with the expected wait if no token is expected by `latest`. Every
    /// token must be given to [`answered`](Self::answered) or [`unused`](Self::unused).
    pub(crate) fn take(&mut self, side: QueueSide, now: Instant, latest: Instant) -> Result<TakeOutcome, Duration> {
        // `now` may have been read just before the last answer arrived.
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

    /// Takes the token of a waiter whose turn has come, or returns the expected time.
    pub(crate) fn turn(&mut self, ticket: QueueTicket, now: Instant) -> Option<Instant> {
        let ahead = self.queue(ticket.side).partition_point(|other| *other < ticket);
        let at = self.token_behind(ticket.side, ahead, now);
        if at > now {
            return Some(at);
        }
        self.leave(ticket);
        self.draw(ticket.side, now);
        None
    }

    /// Gives up a place in the queue.
    pub(crate) fn leave(&mut self, ticket: QueueTicket) {
        let queue = &mut self.queues[ticket.side as usize];
        if let Ok(place) = queue.binary_search(&ticket) {
            queue.remove(place);
        }
    }

    /// Whether any call waits.
    pub(crate) fn has_queue(&self) -> bool {
        self.queues.iter().any(|queue| !queue.is_empty())
    }

    fn queue(&self, side: QueueSide) -> &VecDeque<QueueTicket> {
        &self.queues[side as usize]
    }

    /// Records an answered attempt, or an attempt which may have been sent. `tokens_left` is Walmart's count.
    /// `refused_for` is set if Walmart refused calls for a time, and contains the time if known. `replenished_in` is
    /// the time until Walmart's count grows, at most a minute.
    pub(crate) fn answered(
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
            // The operator's limit is the upper bound, even if Walmart allows more.
            let counted = f64::from(left).min(self.capacity) - f64::from(self.outstanding);
            self.level = if self.raised { counted } else { counted.min(self.level) };
            self.updated = now;
            self.empty_until = None;
            if let (0, Some(wait)) = (left, replenished_in) {
                self.empty(now + wait.min(LONGEST_REFILL));
            }
        }
    }

    /// Returns the token of an attempt which was not sent.
    pub(crate) fn unused(&mut self, side: QueueSide, now: Instant) {
        self.outstanding = self.outstanding.saturating_sub(1);
        self.refill(now);
        self.level = (self.level + 1.0).min(self.capacity);
        if side == QueueSide::Ledger {
            self.turns = (self.turns + 1.0).min(self.most_turns());
        }
    }

    /// Tokens free for immediate use.
    pub(crate) fn available(&self, now: Instant) -> f64 {
        if self.is_empty(now) {
            return 0.0;
        }
        let waiting: usize = self.queues.iter().map(VecDeque::len).sum();
        (self.level_at(now) - waiting as f64).max(0.0)
    }

    /// Whether a time without tokens, announced by Walmart, is still running.
    fn is_empty(&self, now: Instant) -> bool {
        self.empty_until.is_some_and(|until| now < until)
    }

    /// Empties the bucket until `until`. At `until` the bucket has a single token, and refills evenly from then on.
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

    /// The time of a token for a call behind `ahead` calls of the same side.
    fn token_behind(&self, side: QueueSide, ahead: usize, now: Instant) -> Instant {
        match side {
            QueueSide::Caller => self.callers_token(ahead, now),
            QueueSide::Ledger => self.ledgers_token(ahead, now),
            QueueSide::Background => {
                let others = self.queue(QueueSide::Caller).len() + self.queue(QueueSide::Ledger).len();
                self.filled((ahead + others) as f64 + 1.0, now)
            }
        }
    }

    /// The time of a token for a caller. Waiting ledger calls with a turn by then go first.
    fn callers_token(&self, ahead: usize, now: Instant) -> Instant {
        let waiting = self.queue(QueueSide::Ledger).len() as f64;
        let mut at = self.updated.max(now);
        // Each step is at most half of the previous step, because turns refill at half of the rate.
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

    /// The time of a token for a ledger call. With a turn no caller goes first; without a turn all waiting callers
    /// do.
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

    /// The time at which the level is reached.
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
#[path = "bucket_tests.rs"]
mod tests;
