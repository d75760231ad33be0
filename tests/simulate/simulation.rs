//! One simulation from its seed to its end: processes one after the other over one store, callers, operators, then calm, in
//! which everything has to settle.

use std::time::Duration;

use order_gateway::domain::account::AccountId;
use order_gateway::domain::ledger::machine::OperatorVerdict;
use order_gateway::domain::ledger::{Entry, EntryState, MutationKind, OperationId};
use order_gateway::domain::operation::Operation;
use order_gateway::ports::ledger::{EntryQuery, Ledger as _};
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use crate::callers::{all_pages, perform};
use crate::doubts;
use crate::draw::{Draw, millis, seconds};
use crate::faults::FaultKind;
use crate::figures::Figures;
use crate::plan::{ACCOUNTS, Call, Life, Plan, What};
use crate::process::{Process, context};
use crate::store::SimulatedLedger;
use crate::told::{Answer, Reason};
use crate::world::{World, longest_end};

/// How often doubts and operators are looked after.
const ROUND: Duration = seconds(5);
/// What came of one simulation.
pub(crate) struct Outcome {
    pub(crate) hash: u64,
    pub(crate) trace: String,
    pub(crate) violation: Option<String>,
    pub(crate) calls: u64,
    pub(crate) faults: usize,
    pub(crate) simulated: Duration,
    pub(crate) figures: Figures,
}

/// Plays the simulation of this plan.
pub(crate) fn play(plan: Plan, keep_trace: bool) -> Outcome {
    let faults = plan.faults.len() + plan.lives.len() - 1 + plan.steps.len();
    let world = World::new(plan, keep_trace);
    world.trace(format_args!("plan: {:?}", world.plan().settings));
    let ledger = SimulatedLedger::new(world.clone());
    for life in &world.plan().lives {
        if let Err(why) = live(&world, &ledger, life) {
            world.violated(format_args!("the harness failed: {why}"));
        }
        if world.is_violated() {
            break;
        }
    }
    let (simulated, figures) = (world.now(), Figures::of(&world));
    let mut state = world.state();
    Outcome {
        hash: state.trace.hash(),
        trace: state.trace.take(),
        violation: state.violation.take(),
        calls: state.calls,
        faults,
        simulated,
        figures,
    }
}

/// One process. Its runtime ends with it, and all its tasks at once, as by kill -9.
fn live(world: &World, ledger: &SimulatedLedger, life: &Life) -> Result<(), String> {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let lived = runtime.block_on(async {
        world.time().run_from(life.start);
        world.trace(format_args!("process: starts, on boot {}", life.boot));
        world.state().book.process_started(life.start, life.boot);
        let lived = Driver::live(world, ledger, life).await;
        world.trace(format_args!("process: ends"));
        world.time().stand();
        lived
    });
    drop(runtime);
    let left_over = std::mem::take(&mut world.state().left_over);
    left_over.into_values().for_each(|abandoned| abandoned.end(world));
    let flying = world.state().book.flying();
    if flying > 0 {
        world.violated(format_args!("{flying} requests outlive their process"));
    }
    broken_off(world);
    lived
}

/// Callers whose process has ended hear nothing; some ask again.
fn broken_off(world: &World) {
    let waiting = std::mem::take(&mut world.state().waiting);
    for (number, call) in waiting {
        hear(world, number, call, &Answer::Nothing);
    }
}

struct Driver<'a> {
    world: &'a World,
    ledger: &'a SimulatedLedger,
    life: &'a Life,
    process: Process,
    calls: JoinSet<()>,
}

impl<'a> Driver<'a> {
    async fn live(world: &'a World, ledger: &'a SimulatedLedger, life: &'a Life) -> Result<(), String> {
        let process = Process::start(world, ledger, life).await?;
        let mut driver = Driver { world, ledger, life, process, calls: JoinSet::new() };
        driver.drive().await;
        if life.end.is_none() && !world.is_violated() {
            driver.settle().await;
        }
        // What is dropped with the runtime must find time standing.
        driver.calls.detach_all();
        Ok(())
    }

    /// Lets things happen until the process is killed, or the last caller has come.
    async fn drive(&mut self) {
        let (world, plan) = (self.world, self.world.plan());
        let until = self.life.end.unwrap_or(plan.end);
        world.set_faults();
        let mut faults = world.next_change_of_faults();
        let mut steps = plan.steps.iter().skip_while(|step| step.time <= self.life.start).peekable();
        let mut round = world.now() + ROUND;
        while !world.is_violated() {
            let now = world.now();
            if now >= until {
                return;
            }
            if faults.is_some_and(|time| time <= now) {
                world.set_faults();
                faults = world.next_change_of_faults();
            }
            while let Some(step) = steps.next_if(|step| step.time <= now) {
                self.step_wall(step.ahead);
            }
            if now >= round {
                round = now + ROUND;
                self.round(0.02).await;
            }
            self.begin_due();
            let next = world.state().schedule.first_key_value().map(|((time, _), _)| *time);
            let step = steps.peek().map(|step| step.time);
            let times = [Some(until), Some(round), faults, next, step];
            let next = times.into_iter().flatten().min().unwrap_or(until);
            self.wait_until(next).await;
        }
    }

    fn step_wall(&self, ahead: i64) {
        self.world.trace(format_args!("machine: the wall clock steps by {ahead} ms"));
        let span = Duration::from_millis(ahead.unsigned_abs());
        if ahead < 0 { self.process.wall.back(span) } else { self.process.wall.ahead(span) }
    }

    async fn wait_until(&mut self, time: Duration) {
        let instant = self.world.time().instant(time);
        tokio::select! {
            biased;
            Some(_) = self.calls.join_next(), if !self.calls.is_empty() => {}
            () = self.world.changed() => {}
            () = sleep_until(instant) => {}
        }
    }

    fn begin_due(&mut self) {
        let now = self.world.now();
        loop {
            let mut state = self.world.state();
            let Some(first) = state.schedule.first_entry().filter(|first| first.key().0 <= now) else { return };
            let ((_, number), call) = first.remove_entry();
            state.waiting.insert(number, call.clone());
            if !matches!(call.what, What::Status | What::Pages) {
                state.begun.insert((call.story, call.what));
            }
            state.calls += 1;
            drop(state);
            let (world, process) = (self.world.clone(), self.process.clone());
            self.calls.spawn(async move {
                let answer = perform(&world, &process, number, &call).await;
                let known = world.state().waiting.remove(&number).is_some();
                if known {
                    hear(&world, number, call, &answer);
                }
            });
        }
    }

    /// Doubts must be looked into; an operator looks now and then.
    async fn round(&mut self, looks: f64) {
        self.world.catch_up();
        let now = self.world.now();
        if let Some(overdue) = doubts::overdue(self.world, now) {
            self.world.violated(overdue);
        }
        if self.world.plan().has_operator && self.world.random().chance(looks) {
            self.operate().await;
        }
    }

    /// An operator decides what waits for one, by what Walmart shows.
    async fn operate(&self) {
        for entry in self.entries(vec![EntryState::NeedsOperator]).await {
            let id = entry.correlation_id.to_string();
            // What may still arrive is not decided.
            if self.world.is_on_its_way(&id) {
                continue;
            }
            let done = self.is_done(&entry, &id);
            // In calm nobody has one sent again forever that Walmart refuses each time.
            let in_vain = self.world.state().calm && !entry.resolution.is_empty();
            let verdict = match done {
                true => OperatorVerdict::Succeeded,
                false if self.world.random().chance(0.5) && !in_vain => OperatorVerdict::Resend,
                false => OperatorVerdict::Rejected,
            };
            self.world.trace(format_args!("operator: {} is {verdict:?}", entry.id));
            self.world.state().book.decided(&id);
            let name = entry.id.to_string();
            let call = context(seconds(10));
            let resolved = self.process.operations.resolve(&name, Some(verdict), "as Walmart shows", &call).await;
            if let Err(error) = resolved {
                self.world.trace(format_args!("operator: {} stays: {error:?}", entry.id));
            }
        }
    }

    fn is_done(&self, entry: &Entry, id: &str) -> bool {
        let state = self.world.state();
        let Some(record) = state.book.record(id) else { return false };
        match entry.kind {
            // The lines are cancelled, whoever did it.
            MutationKind::Cancel => state
                .book
                .numbered(record.account, &record.number)
                .any(|other| other.kind == MutationKind::Cancel && other.effects > 0),
            _ => record.effects > 0,
        }
    }

    /// Entries in the store, which does not fail here.
    async fn entries(&self, states: Vec<EntryState>) -> Vec<Entry> {
        let accounts = ACCOUNTS.iter().filter_map(|id| AccountId::new(*id).ok()).collect();
        let query = EntryQuery {
            accounts: Some(accounts),
            states,
            created_before: None,
            after: OperationId(0),
            limit: usize::MAX,
        };
        self.ledger.kept.list(&query).await.unwrap_or_default()
    }

    /// Calm: every caller asks until there is an answer, and everything must settle, or wait for a person who decides.
    async fn settle(&mut self) {
        let (world, plan) = (self.world, self.world.plan());
        world.state().calm = true;
        world.trace(format_args!("calm: no more faults"));
        world.set_faults();
        let last = world.now() + longest_end(plan);
        let mut rounds = 0;
        loop {
            self.ask_for_the_rest(rounds);
            rounds += 1;
            let until = world.now() + seconds(30);
            while world.now() < until && !world.is_violated() {
                self.begin_due();
                let next = world.state().schedule.first_key_value().map(|((time, _), _)| *time);
                self.wait_until(next.map_or(until, |next| next.min(until))).await;
            }
            if world.is_violated() {
                return;
            }
            let looks = if rounds > 20 { 1.0 } else { 0.0 };
            self.round(looks).await;
            let open = self
                .entries(vec![
                    EntryState::Recorded,
                    EntryState::Sending,
                    EntryState::Unknown,
                    EntryState::NeedsOperator,
                ])
                .await;
            if open.is_empty() && self.all_told() && world.last_late().is_none() {
                break;
            }
            if world.now() > last {
                let open = open.first().map(|entry| format!("{} is {}", entry.id, entry.state.name()));
                world.violated(format_args!("I6: not settled: {}", open.unwrap_or("a caller has no answer".into())));
                return;
            }
        }
        self.ask_again().await;
    }

    /// Whoever has no final answer asks once more.
    fn ask_for_the_rest(&self, round: u32) {
        let (world, plan) = (self.world, self.world.plan());
        for position in 0..plan.stories.len() {
            for what in whats(position, plan) {
                let call = Call { story: position, what, deadline: seconds(30), leaves: None, repeats: 0 };
                let wanted = world.state().is_wanted(&call);
                if wanted {
                    let spread = millis(50 * position as u64 + u64::from(round));
                    world.schedule(world.now() + spread, call);
                }
            }
        }
    }

    fn all_told(&self) -> bool {
        let state = self.world.state();
        state.waiting.is_empty()
            && state.schedule.is_empty()
            && state.begun.iter().all(|key| state.told.is_settled(*key))
    }

    /// All lasting answers, once more: each must be what it was.
    async fn ask_again(&mut self) {
        let (world, plan) = (self.world, self.world.plan());
        world.trace(format_args!("calm: all is settled, and asked for again"));
        for position in 0..plan.stories.len() {
            for what in whats(position, plan) {
                let call = Call { story: position, what, deadline: seconds(30), leaves: None, repeats: 0 };
                let is_lasting = world.state().told.is_lasting(&call);
                if is_lasting {
                    let answer = perform(world, &self.process, 0, &call).await;
                    let lasts = matches!(&answer, Answer::Accepted { .. })
                        || matches!(&answer, Answer::Refused(refusal) if refusal.reason != Reason::NotNow);
                    if !lasts {
                        world.violated(format_args!("I3: {call:?} had a lasting answer, and is now told {answer}"));
                    }
                    hear(world, 0, call, &answer);
                }
            }
        }
        if !world.is_violated() {
            all_pages(world, &self.process).await;
        }
    }
}

/// What is done about a story.
fn whats(story: usize, plan: &Plan) -> impl Iterator<Item = What> + use<> {
    let (contents, changes) = (plan.stories[story].contents.len(), plan.stories[story].changes.len());
    (0..contents).map(What::Create).chain([What::Cancel]).chain((0..changes).map(What::Change))
}

/// A caller knows more now, and may ask again.
fn hear(world: &World, number: u64, call: Call, answer: &Answer) {
    let now = world.now();
    let mut state = world.state();
    let wrong = state.hear(now, world.plan(), &call, answer);
    drop(state);
    wrong.into_iter().for_each(|wrong| world.violated(format_args!("{wrong} (caller {number})")));
    let calm = world.state().calm;
    if !calm && !answer.is_final() && call.repeats > 0 {
        let pause = match world.plan().pauses {
            Some([shortest, longest]) => world.random().span(shortest, longest),
            None => world.random().span(millis(10), *world.random().one_of(&[millis(200), seconds(5), seconds(60)])),
        };
        world.schedule(now + pause, Call { repeats: call.repeats - 1, ..call });
    }
}

/// Whether faults of these reads, of tokens or of the store are about.
pub(crate) fn impeded(plan: &Plan, reads: Operation, from: Duration, until: Duration) -> bool {
    let active = plan.faults.iter().filter(|fault| fault.from <= until && from < fault.until);
    let mut active = active.map(|fault| &fault.kind);
    let name = format!("\"{}\"", reads.name());
    active.any(|kind| match kind {
        FaultKind::Network { aim, .. } => aim.is_at(Some(reads)),
        FaultKind::Walmart(rule) => rule.contains(&name) || rule.contains("\"token\""),
        FaultKind::Store { .. } => true,
    })
}
