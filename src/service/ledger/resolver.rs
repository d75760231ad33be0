//! What goes on without a caller: outcomes that are not known are looked up, what may be sent again is, old entries go.
//!
//! One loop looks at the agenda; what is due is worked on in tasks, each account's look-ups in one. An entry in hand is off
//! the agenda, so no two work on it.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::looking::{day, of_number, ordered, sight};
use super::sending::in_short;
use super::{InHand, Mutations, Outgoing, Written, answer};
use crate::crash_point::{CrashPoint, reach};
use crate::domain::account::AccountIndex;
use crate::domain::ledger::machine::Event;
use crate::domain::ledger::sighting::{self, Sighting};
use crate::domain::ledger::{Alert, AlertKind, Entry, OperationId, State};
use crate::domain::timestamp::Timestamp;
use crate::pb::{GetOrderStatusRequest, OrderStatus};
use crate::ports::ledger::{Audit, Count, Ledger};
use crate::ports::upstream::{ErrorKind, Upstream, UpstreamError};
use crate::service::absent;

/// Entries looked at in one round.
const ROUND: usize = 256;
/// Pieces of work at once.
const AT_ONCE: usize = 16;
/// From so many look-ups on, one search for all of them comes first.
const WORTH_A_SEARCH: usize = 3;
/// Walmart's largest page.
const PAGE: i32 = 50;
/// Wait for Walmart's clock and ours to agree on the day.
pub(super) const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// When a look-up is tried again that could not be made at all.
const POSTPONED: Duration = Duration::from_secs(1);
/// How often it is looked whether audits are due.
const AUDITS_EVERY: Duration = Duration::from_secs(15);
/// How often old entries are dropped, and how many in one write.
const TRIM_EVERY: Duration = Duration::from_secs(60 * 60);
const TRIM_AT_ONCE: usize = 500;
/// How often the gauges are set.
const COUNT_EVERY: Duration = Duration::from_secs(10);

/// The loop.
pub struct Resolver<U, L> {
    pub(super) mutations: Mutations<U, L>,
    retention: Duration,
    tasks: TaskTracker,
    at_once: Arc<Semaphore>,
}

impl<U, L> Clone for Resolver<U, L> {
    fn clone(&self) -> Self {
        let Self { mutations, retention, tasks, at_once } = self;
        Self { mutations: mutations.clone(), retention: *retention, tasks: tasks.clone(), at_once: at_once.clone() }
    }
}

/// What a status call told.
pub(super) enum Told {
    /// These orders.
    Orders(Vec<OrderStatus>),
    /// Nothing, because it could not be made; the same call later may.
    Later(Duration),
    /// Nothing.
    Nothing(String),
}

impl<U: Upstream, L: Ledger> Resolver<U, L> {
    /// Works on `mutations`, in `tasks`. Final entries go after `retention`.
    pub fn new(mutations: Mutations<U, L>, retention: Duration, tasks: TaskTracker) -> Self {
        Self { mutations, retention, tasks, at_once: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Works until `stopping`. What is in hand then is finished among the tasks.
    pub async fn run(self, stopping: CancellationToken) {
        let start = Instant::now();
        let (mut audits, mut trim, mut count) = (start + AUDITS_EVERY, start + AUDITS_EVERY, start);
        let mut auditing: Option<JoinHandle<()>> = None;
        loop {
            let due = self.mutations.0.agenda.next().map(|time| time.since(self.mutations.now()));
            let due = due.map_or(count, |wait| Instant::now() + wait);
            tokio::select! {
                () = stopping.cancelled() => return,
                () = self.mutations.0.agenda.changed() => {}
                () = sleep_until(due.min(audits).min(trim).min(count)) => {}
            }
            // A panic's hook has logged it; what was in hand is picked up.
            let _ = AssertUnwindSafe(self.round()).catch_unwind().await;
            let now = Instant::now();
            if now >= audits {
                audits = now + AUDITS_EVERY;
                // Slow ones are not made twice.
                if auditing.as_ref().is_none_or(JoinHandle::is_finished) {
                    let this = self.clone();
                    auditing = Some(self.tasks.spawn(async move { this.audit().await }));
                }
            }
            if now >= trim {
                trim = now + TRIM_EVERY;
                let this = self.clone();
                let stopping = stopping.clone();
                self.tasks.spawn(async move { this.trim(stopping).await });
            }
            if now >= count {
                count = now + COUNT_EVERY;
                self.count().await;
            }
        }
    }

    /// Takes in hand what is due.
    async fn round(&self) {
        let mut look_ups: BTreeMap<AccountIndex, Vec<Entry>> = BTreeMap::new();
        let mut sends: BTreeMap<(Arc<str>, OperationId), Vec<Entry>> = BTreeMap::new();
        let due = self.mutations.0.agenda.take_due(self.mutations.now(), ROUND);
        let mut in_hand = InHand::new(&self.mutations, due.iter().copied());
        for id in due {
            let entry = match self.mutations.ledger().get(id).await {
                Ok(Some(entry)) => entry,
                Ok(None) => continue,
                Err(_) => {
                    self.put_back(id, POSTPONED);
                    in_hand.lay_down(id);
                    continue;
                }
            };
            let Some(account) = self.mutations.directory().position(&entry.account) else { continue };
            match entry.state {
                State::Unknown | State::NeedsOperator => look_ups.entry(account).or_default().push(entry),
                State::Recorded => {
                    let request = entry.request_id.clone().unwrap_or_default();
                    // Batches of one request go one after the other.
                    let group = if entry.batches > 1 { OperationId(0) } else { entry.id };
                    sends.entry((request, group)).or_default().push(entry);
                }
                // Somebody has it in hand, or it is done.
                State::Sending | State::Succeeded | State::Rejected | State::NotSent | State::Expired => {}
            }
        }
        for (account, entries) in look_ups {
            let (this, held) = (self.clone(), self.hold(&entries));
            self.tasks.spawn(async move { this.look_up(account, entries, held).await });
        }
        for entries in sends.into_values() {
            let (this, held) = (self.clone(), self.hold(&entries));
            self.tasks.spawn(async move { this.send(entries, held).await });
        }
        in_hand.lay_down_all();
    }

    fn hold(&self, entries: &[Entry]) -> InHand<U, L> {
        InHand::new(&self.mutations, entries.iter().map(|entry| entry.id))
    }

    fn put_back(&self, id: OperationId, wait: Duration) {
        self.mutations.0.agenda.put(id, self.mutations.now().plus(wait));
    }

    // Sending again.

    async fn send(&self, mut entries: Vec<Entry>, mut held: InHand<U, L>) {
        let Ok(_permit) = self.at_once.acquire().await else { return };
        entries.sort_by_key(|entry| entry.batch);
        for entry in entries {
            let id = entry.id;
            if !self.is_its_turn(&entry).await {
                self.put_back(id, POSTPONED);
                held.lay_down(id);
            } else if self.send_one(entry).await.is_some() {
                held.lay_down(id);
            }
            // What is not laid down failed by a bug that was logged where it showed.
        }
    }

    /// Batches are sent in order: one whose predecessor is still to be sent waits.
    async fn is_its_turn(&self, entry: &Entry) -> bool {
        let Some(request_id) = entry.request_id.as_deref().filter(|_| entry.batch > 0) else { return true };
        match self.mutations.ledger().of_request(&entry.account, entry.kind, request_id).await {
            Ok(all) => !all
                .iter()
                .any(|other| other.batch < entry.batch && matches!(other.state, State::Recorded | State::Sending)),
            Err(_) => false,
        }
    }

    async fn send_one(&self, entry: Entry) -> Option<()> {
        let mutations = &self.mutations;
        let account = mutations.directory().position(&entry.account)?;
        if mutations.now() > entry.not_after {
            let expired = mutations.after(entry, Event::TimeUp).ok()?;
            mutations.write(&expired).await.ok()?;
            return Some(());
        }
        let Some(outgoing) = Outgoing::of(&entry) else {
            tracing::error!(operation = %entry.id, "what was to be sent cannot be read");
            return None;
        };
        reach(CrashPoint::L2);
        let entry = mutations.after(entry, Event::Send).ok()?;
        let Written { entry, ours } = mutations.write(&entry).await.ok()?;
        // An operator may have been faster, or the call that began it: then it is in their hands.
        if !ours {
            return Some(());
        }
        mutations.0.metrics.ledger.resends.inc();
        let call = mutations.own_call("ledger resend", Some(&entry));
        let attempt = mutations.attempt(&entry, account, &outgoing, &call.context, None).await;
        drop(call);
        let entry = mutations.after(entry, attempt.event).ok()?;
        mutations.write(&entry).await.ok()?;
        reach(CrashPoint::L7);
        Some(())
    }

    // Looking up.

    async fn look_up(&self, account: AccountIndex, mut entries: Vec<Entry>, mut held: InHand<U, L>) {
        let Ok(_permit) = self.at_once.acquire().await else { return };
        entries.sort_by_key(|entry| (entry.next, entry.id));
        if entries.len() >= WORTH_A_SEARCH {
            entries = self.search(account, entries, &mut held).await;
        }
        let share = &self.mutations.0.shares[account.0];
        let mut entries = entries.into_iter();
        let mut left = None;
        for entry in entries.by_ref() {
            if let Err(wait) = share.take() {
                left = Some((entry, wait));
                break;
            }
            let (id, asked) = (entry.id, self.mutations.now());
            let told = self.ask(account, &entry).await;
            self.act_on(entry, told, asked).await;
            held.lay_down(id);
        }
        let Some((entry, wait)) = left else { return };
        let rest: Vec<_> = std::iter::once(entry).chain(entries).collect();
        // The share is used up. All that are left come back together, so that a search may serve them and the longest due
        // is first; there must be a call left for that one.
        let wait = if rest.len() < WORTH_A_SEARCH { wait } else { share.time_until(2) };
        for entry in rest {
            self.put_back(entry.id, wait);
            held.lay_down(entry.id);
        }
    }

    /// One search for many: settles those that it shows, and those that it does not show when it shows all there are.
    async fn search(&self, account: AccountIndex, entries: Vec<Entry>, held: &mut InHand<U, L>) -> Vec<Entry> {
        if !self.mutations.0.shares[account.0].take_but_one() {
            return entries;
        }
        let first = entries.iter().map(|entry| ordered(entry).unwrap_or(entry.created)).min().unwrap_or_default();
        let request =
            GetOrderStatusRequest { from_order_date: day(first.minus(A_DAY)), limit: PAGE, ..Default::default() };
        let (call, asked) = (self.mutations.own_call("ledger search", None), self.mutations.now());
        self.mutations.0.metrics.ledger.look_ups.inc();
        let Ok(reply) = self.mutations.upstream().order_status(account, &request, &call.context).await else {
            return entries;
        };
        drop(call);
        let orders = reply.answer.payload;
        let total = reply.answer.header.and_then(|header| header.header_attributes).and_then(|a| a.total_count);
        let all = total.is_some_and(|total| usize::try_from(total).is_ok_and(|total| total <= orders.len()));
        let mut left = Vec::new();
        for entry in entries {
            let named: Vec<_> = orders.iter().filter(|o| sighting::is_named(o, &entry.order_number)).cloned().collect();
            if named.is_empty() && !(all && ordered(&entry).is_some()) {
                left.push(entry);
            } else {
                let id = entry.id;
                self.act_on(entry, Told::Orders(named), asked).await;
                held.lay_down(id);
            }
        }
        left
    }

    /// What Walmart tells of an entry's order.
    pub(super) async fn ask(&self, account: AccountIndex, entry: &Entry) -> Told {
        self.mutations.0.metrics.ledger.look_ups.inc();
        let (call, request) = (self.mutations.own_call("ledger look-up", Some(entry)), of_number(&entry.order_number));
        match self.mutations.upstream().order_status(account, &request, &call.context).await {
            Ok(reply) => Told::Orders(reply.answer.payload),
            Err(error) if absent::is_told_by(&error) => Told::Orders(Vec::new()),
            Err(UpstreamError { kind: ErrorKind::RateLimited | ErrorKind::Overloaded, retry_after, .. }) => {
                Told::Later(retry_after.unwrap_or(POSTPONED).max(POSTPONED))
            }
            Err(error) => Told::Nothing(in_short(&error)),
        }
    }

    /// `asked`: what Walmart tells may be as old as that.
    async fn act_on(&self, entry: Entry, told: Told, asked: Timestamp) {
        let id = entry.id;
        let (event, copies) = match told {
            Told::Later(wait) => return self.put_back(id, wait),
            Told::Nothing(error) => (Event::NoAnswer { error }, 0),
            Told::Orders(orders) => match sight(&entry, &orders) {
                Sighting::Found { copies } => (Event::Found { answer: answer::seen(entry.correlation_id) }, copies),
                Sighting::Absent => (Event::Absent, 0),
                Sighting::Unclear => (Event::NoAnswer { error: "the order's state leaves it open".into() }, 0),
            },
        };
        reach(CrashPoint::L8);
        let time = if event == Event::Absent { asked } else { self.mutations.now() };
        let changed = match self.mutations.after_at(entry, event, time) {
            Ok(entry) => self.mutations.write(&entry).await,
            Err(error) => Err(error),
        };
        if changed.is_err() {
            self.put_back(id, POSTPONED);
        }
        if copies > 1 {
            let time = self.mutations.now();
            let alert = Alert { operation: id, kind: AlertKind::Duplicate, time };
            self.raise(Audit { operation: id, time }, Some(alert)).await;
        }
    }

    async fn trim(&self, stopping: CancellationToken) {
        let before: Timestamp = self.mutations.now().minus(self.retention);
        loop {
            let trimmed = self.mutations.ledger().trim(before, TRIM_AT_ONCE).await;
            if trimmed != Ok(TRIM_AT_ONCE) || stopping.is_cancelled() {
                return;
            }
        }
    }

    async fn count(&self) {
        // While the store fails they stay as they were.
        if let Ok(counts) = self.mutations.ledger().counts().await {
            self.tell(&counts);
        }
    }
}

impl<U, L> Resolver<U, L> {
    fn tell(&self, counts: &[Count]) {
        let metrics = &self.mutations.0.metrics.ledger;
        for state in State::ALL.into_iter().filter(|state| state.is_open()) {
            let of_state = counts.iter().filter(|count| count.state == state);
            metrics.set_open(state, of_state.map(|count| count.entries).sum());
        }
        let oldest = counts.iter().filter_map(|count| count.oldest).min();
        let now = Timestamp::from(self.mutations.0.clock.now());
        let age = oldest.map_or(0, |oldest| now.since(oldest).as_secs());
        metrics.oldest_open.set(i64::try_from(age).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
#[path = "resolver_tests.rs"]
mod tests;
