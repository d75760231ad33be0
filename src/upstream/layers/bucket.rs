//! The token bucket of one operation of one account, kept in step with Walmart's own. Pure; time is passed in.
//!
//! It starts full and refills evenly. Callers take a token, or a place in the queue when there is none yet; answers correct
//! the level, and with it the time of everyone who waits. First come, first served.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// The wait after a refusal for want of tokens that does not say how long.
const UNKNOWN_WAIT: Duration = Duration::from_secs(60);
/// The longest wait that is believed of an answer that was no refusal: in a minute the bucket fills from nothing.
const LONGEST_REFILL: Duration = Duration::from_secs(60);
/// What sums of fractions may be off. Far below what a timer can tell.
const ROUNDING: f64 = 1e-6;

/// A bucket.
#[derive(Debug)]
pub struct Bucket {
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
    /// Those who wait, first come first.
    queue: VecDeque<Ticket>,
    next_ticket: u64,
}

/// A place in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// What was had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// A token.
    Token,
    /// A place in the queue, to be asked about with [`Bucket::turn`] or given up with [`Bucket::leave`].
    Place(Ticket),
}

impl Bucket {
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
            queue: VecDeque::new(),
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

    /// When a token can be had, if one is asked for now.
    pub fn next_token(&self, now: Instant) -> Instant {
        self.token_behind(self.queue.len(), now)
    }

    /// Takes a token, or a place in the queue if one can be had by `latest`; else tells how long one would have to wait.
    /// Every token ends in [`answered`](Self::answered) or [`unused`](Self::unused).
    pub fn take(&mut self, now: Instant, latest: Instant) -> Result<Taken, Duration> {
        // Whoever asks may have looked at the clock just before the last answer came.
        let now = if self.is_empty(now) { now } else { now.max(self.updated) };
        let at = self.next_token(now);
        if at <= now {
            self.draw(now);
            return Ok(Taken::Token);
        }
        if at > latest {
            return Err(at - now);
        }
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.queue.push_back(ticket);
        Ok(Taken::Place(ticket))
    }

    /// Takes the token of a waiter whose time has come; else tells when it comes, as things stand.
    pub fn turn(&mut self, ticket: Ticket, now: Instant) -> Option<Instant> {
        let ahead = self.queue.partition_point(|other| *other < ticket);
        let at = self.token_behind(ahead, now);
        if at > now {
            return Some(at);
        }
        self.leave(ticket);
        self.draw(now);
        None
    }

    /// A waiter gives up its place.
    pub fn leave(&mut self, ticket: Ticket) {
        if let Ok(place) = self.queue.binary_search(&ticket) {
            self.queue.remove(place);
        }
    }

    /// Whether anybody waits.
    pub fn has_queue(&self) -> bool {
        !self.queue.is_empty()
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
    pub fn unused(&mut self, now: Instant) {
        self.outstanding = self.outstanding.saturating_sub(1);
        self.refill(now);
        self.level = (self.level + 1.0).min(self.capacity);
    }

    /// Tokens that could be used at once.
    pub fn available(&self, now: Instant) -> f64 {
        if self.is_empty(now) {
            return 0.0;
        }
        (self.level_at(now) - self.queue.len() as f64).max(0.0)
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

    fn draw(&mut self, now: Instant) {
        self.refill(now);
        self.level -= 1.0;
        self.outstanding += 1;
    }

    /// When there is a token for one who lets this many go before.
    fn token_behind(&self, ahead: usize, now: Instant) -> Instant {
        let missing = ahead as f64 + 1.0 - self.level_at(now);
        let from = self.updated.max(now);
        if missing < ROUNDING { from } else { from + Duration::from_secs_f64(missing / self.per_second) }
    }

    fn level_at(&self, now: Instant) -> f64 {
        let elapsed = now.saturating_duration_since(self.updated).as_secs_f64();
        (self.level + elapsed * self.per_second).min(self.capacity)
    }

    fn refill(&mut self, now: Instant) {
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
