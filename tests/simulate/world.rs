//! What outlives the processes of one simulation: time, Walmart, requests on their way, callers, and what is known of each.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::Request;
use order_gateway::domain::operation::Operation;
use order_gateway::emulator::{self, CallEffect, Emulator};
use order_gateway::ports::random::Random;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tower::Service as _;

use crate::book::Book;
use crate::changes::{Object, SKU, UNITS};
use crate::claims::Claims;
use crate::clocks::Time;
use crate::draw::{Draw as _, seconds};
use crate::faults::{Fate, FaultKind, StoreFate};
use crate::network::{Abandoned, Sent};
use crate::plan::{ACCOUNTS, Call, Plan, What};
use crate::told::{Answer, Told};
use crate::trace::Trace;

/// The world. Cheap to clone.
#[derive(Clone)]
pub(crate) struct World(Arc<Parts>);

struct Parts {
    plan: Plan,
    time: Time,
    random: Random,
    emulator: Emulator,
    state: Mutex<State>,
    changed: Notify,
}

/// Everything that changes.
pub(crate) struct State {
    pub(crate) trace: Trace,
    pub(crate) book: Book,
    /// Calls to come, by time and number.
    pub(crate) schedule: BTreeMap<(Duration, u64), Call>,
    /// Calls of callers who wait, by number.
    pub(crate) waiting: BTreeMap<u64, Call>,
    /// Requests that arrive late, after the gateway has given them up.
    late: BTreeMap<(Duration, u64), (Request<Bytes>, Sent)>,
    /// Requests that were under way when their process ended, by number.
    pub(crate) left_over: BTreeMap<u64, Abandoned>,
    pub(crate) numbered: u64,
    /// Account of each access token.
    pub(crate) tokens: HashMap<String, usize>,
    /// Faults and callers are over.
    pub(crate) calm: bool,
    executed: usize,
    /// Calls that were made.
    pub(crate) calls: u64,
    /// What was asked for at least once.
    pub(crate) begun: BTreeSet<(usize, What)>,
    pub(crate) told: Told,
    pub(crate) claims: Claims,
    /// The customer's order of each return, by the return's number.
    pub(crate) customer_orders: BTreeMap<String, String>,
    /// Lists that were read to their end.
    pub(crate) lists: u64,
    /// The first of what must not be.
    pub(crate) violation: Option<String>,
}

impl State {
    /// Whether somebody still wants to know this, and nobody asks for it now.
    pub(crate) fn is_wanted(&self, call: &Call) -> bool {
        let key = (call.story, call.what);
        let same = |other: &Call| (other.story, other.what) == key;
        self.begun.contains(&key)
            && !self.told.is_settled(key)
            && !self.waiting.values().chain(self.schedule.values()).any(same)
    }

    /// A caller was told something. Gives what is wrong with it.
    pub(crate) fn hear(&mut self, now: Duration, plan: &Plan, call: &Call, answer: &Answer) -> Vec<String> {
        self.told.hear(now, &mut self.book, plan, call, answer)
    }
}

impl World {
    pub(crate) fn new(plan: Plan, keep_trace: bool) -> Self {
        let (time, random) = (Time::new(), Random::from_seed(plan.seed));
        let emulator = Emulator::new(emulator::EmulatorOptions {
            seed: plan.seed,
            duplicates: plan.settings.duplicates,
            limit_scale: plan.settings.limit_scale,
            clock: time.of_walmart(),
            ..Default::default()
        });
        let schedule = plan.calls.iter().zip(0..).map(|((time, call), n)| ((*time, n), call.clone())).collect();
        let state = State {
            trace: Trace::new(keep_trace),
            book: Book::new(&plan),
            schedule,
            waiting: BTreeMap::new(),
            late: BTreeMap::new(),
            left_over: BTreeMap::new(),
            numbered: plan.calls.len() as u64,
            tokens: HashMap::new(),
            calm: false,
            executed: 0,
            calls: 0,
            begun: BTreeSet::new(),
            told: Told::default(),
            claims: Claims::default(),
            customer_orders: BTreeMap::new(),
            lists: 0,
            violation: None,
        };
        let world =
            Self(Arc::new(Parts { plan, time, random, emulator, state: Mutex::new(state), changed: Notify::new() }));
        world.make_objects();
        world
    }

    /// Makes what exists at Walmart from the beginning.
    fn make_objects(&self) {
        let units = UNITS;
        for (position, story) in self.plan().stories.iter().enumerate() {
            match story.object {
                // A delivered order exists when a return of it is first opened.
                Object::None | Object::Delivered => {}
                Object::SellerOrder { lines, status } => {
                    let number = &story.number;
                    self.simulate(
                        "orders",
                        &json!({"purchaseOrderId": number, "lines": lines, "units": units, "sku": SKU, "status": status}),
                    );
                }
                Object::Return => {
                    let order = format!("18{position:0>11}");
                    self.simulate("orders", &json!({"purchaseOrderId": order, "units": units, "status": "Shipped"}));
                    let opened = self.simulate("returns", &json!({"purchaseOrderId": order, "qty": units}));
                    if opened["returnOrderId"] != story.number.as_str() {
                        self.violated(format_args!("the harness failed: the return {} is {opened}", story.number));
                    }
                    let customer_order = opened["customerOrderId"].as_str().unwrap_or_default().to_owned();
                    self.state().customer_orders.insert(story.number.clone(), customer_order);
                }
            }
        }
    }

    /// Has the emulator simulate what a customer does.
    fn simulate(&self, what: &str, body: &Value) -> Value {
        let request = Request::post(format!("https://walmart.example/v1/simulations/{what}"));
        let answer = request.body(Bytes::from(body.to_string())).ok().and_then(|request| {
            // It is answered at once.
            self.0.emulator.clone().call(request).now_or_never()?.ok()
        });
        let answer = answer.filter(|answer| answer.status().is_success());
        let read = answer.and_then(|answer| serde_json::from_slice(answer.body()).ok());
        if read.is_none() {
            self.violated(format_args!("the harness failed: {what} {body} cannot be made"));
        }
        read.unwrap_or_default()
    }

    /// Walmart's number of the return with this id of the seller's.
    pub(crate) fn mcs_return_id(&self, account: usize, seller_id: &str) -> Option<String> {
        self.0.emulator.mcs_return_id(ACCOUNTS[account], seller_id)
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.0.plan
    }

    pub(crate) fn time(&self) -> &Time {
        &self.0.time
    }

    pub(crate) fn now(&self) -> Duration {
        self.0.time.now()
    }

    pub(crate) fn random(&self) -> &Random {
        &self.0.random
    }

    /// Ends when the schedule has changed since the last time that this ended.
    pub(crate) async fn changed(&self) {
        self.0.changed.notified().await;
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line to the trace.
    pub(crate) fn trace(&self, what: fmt::Arguments<'_>) {
        let now = self.now();
        self.state().trace.add(now, what);
    }

    /// Something is as it must not be. The first counts.
    pub(crate) fn violated(&self, what: impl fmt::Display) {
        let now = self.now();
        let mut state = self.state();
        state.trace.add(now, format_args!("VIOLATED: {what}"));
        state.violation.get_or_insert_with(|| format!("{what} (at {:.3} s)", now.as_secs_f64()));
    }

    pub(crate) fn is_violated(&self) -> bool {
        self.state().violation.is_some()
    }

    /// A call comes at `time`.
    pub(crate) fn schedule(&self, time: Duration, call: Call) {
        let mut state = self.state();
        state.numbered += 1;
        let number = state.numbered;
        state.schedule.insert((time, number), call);
        drop(state);
        self.0.changed.notify_one();
    }

    /// What becomes of a request to Walmart.
    pub(crate) fn fate(&self, sent: &Sent) -> Fate {
        let now = self.now();
        let strikes = |fault: &&crate::faults::Fault| {
            fault.from <= now
                && now < fault.until
                && matches!(&fault.kind, FaultKind::Network { account, aim, probability, .. }
                    if account.is_none_or(|account| sent.account == Some(account))
                        && aim.is_at(sent.operation)
                        && self.0.random.fraction() < *probability)
        };
        match self.0.plan.faults.iter().find(strikes).map(|fault| &fault.kind) {
            Some(FaultKind::Network { fate, .. }) => *fate,
            _ => Fate::Answered,
        }
    }

    /// What becomes of a call to the store.
    pub(crate) fn store_fate(&self) -> StoreFate {
        let now = self.now();
        let active = self.0.plan.faults.iter().filter(|fault| fault.from <= now && now < fault.until);
        for fault in active {
            if let FaultKind::Store { probability, fate } = fault.kind
                && self.0.random.fraction() < probability
            {
                return fate;
            }
        }
        StoreFate::Works
    }

    /// Lets the emulator's faults be those of this time.
    pub(crate) fn set_faults(&self) {
        let now = self.now();
        let active = self.0.plan.faults.iter().filter(|fault| fault.from <= now && now < fault.until);
        let rules = active.filter_map(|fault| match &fault.kind {
            FaultKind::Walmart(rule) => Some(rule.as_str()),
            FaultKind::Network { .. } | FaultKind::Store { .. } => None,
        });
        let rules = rules.chain(self.0.plan.settings.refusal.as_deref());
        let text = rules.collect::<Vec<_>>().join("\n");
        match emulator::FaultRules::parse(&text) {
            Ok(faults) => {
                self.trace(format_args!("walmart: {} rules of faults", faults.len()));
                self.0.emulator.set_faults(faults);
            }
            Err(why) => self.violated(format_args!("the harness made faults that cannot be read: {why}")),
        }
    }

    /// When faults come or go next.
    pub(crate) fn next_change_of_faults(&self) -> Option<Duration> {
        let now = self.now();
        let edges = self.0.plan.faults.iter().flat_map(|fault| [fault.from, fault.until]);
        edges.filter(|time| *time > now).min()
    }

    /// Walmart carries this out now. Whatever should have arrived before has.
    pub(crate) fn execute(&self, request: Request<Bytes>, sent: &Sent) -> Answering {
        self.catch_up();
        self.deliver_overtaken(sent);
        let answer = self.0.emulator.clone().call(request);
        self.note(sent);
        answer
    }

    /// Where first attempts may come later than the settle window promises, some come just before the next attempt: a proxy
    /// sends what it held when its connection is used again. The next attempt is then refused, although the first was carried out.
    fn deliver_overtaken(&self, sent: &Sent) {
        if !self.plan().settings.beyond || !(sent.operation == Some(Operation::Create) || sent.guarded) {
            return;
        }
        let mut state = self.state();
        let held = state.late.iter().find(|(_, (_, late))| late.correlation_id == sent.correlation_id);
        let Some(key) = held.map(|(key, _)| *key).filter(|_| self.random().chance(0.7)) else { return };
        let Some((request, late)) = state.late.remove(&key) else { return };
        drop(state);
        self.trace(format_args!("network: {late} arrives just before the next attempt"));
        drop(self.0.emulator.clone().call(request));
        self.note(&late);
    }

    /// Walmart will carry this out, unless it is too late for it to matter.
    pub(crate) fn execute_later(&self, time: Duration, request: Request<Bytes>, sent: Sent) {
        self.trace(format_args!("network: {sent} arrives late, at {:.3}", time.as_secs_f64()));
        let mut state = self.state();
        state.numbered += 1;
        let number = state.numbered;
        state.late.insert((time, number), (request, sent));
    }

    /// Lets Walmart carry out what has arrived by now.
    pub(crate) fn catch_up(&self) {
        let now = self.now();
        loop {
            let mut state = self.state();
            let Some(first) = state.late.first_entry().filter(|first| first.key().0 <= now) else { return };
            let ((time, _), (request, sent)) = first.remove_entry();
            drop(state);
            self.0.time.at(time, || {
                drop(self.0.emulator.clone().call(request));
                self.note(&sent);
            });
        }
    }

    /// Whether a request with this correlation id may still arrive.
    pub(crate) fn is_on_its_way(&self, correlation_id: &str) -> bool {
        self.state().late.values().any(|(_, sent)| sent.correlation_id == correlation_id)
    }

    /// The last request to arrive late.
    pub(crate) fn last_late(&self) -> Option<Duration> {
        self.state().late.last_key_value().map(|((time, _), _)| *time)
    }

    /// How many orders of each number Walmart really has, by account and number.
    pub(crate) fn orders(&self) -> BTreeMap<(String, String), usize> {
        self.0.emulator.order_counts()
    }

    /// Writes down what Walmart did.
    fn note(&self, sent: &Sent) {
        let mut state = self.state();
        let calls = self.0.emulator.calls_from(state.executed);
        state.executed += calls.len();
        drop(state);
        for call in calls {
            self.trace(format_args!("walmart: {sent} {:?}, {:?}", call.effect, call.status));
            let mut state = self.state();
            let mut wrong = state.book.executed(self.now(), sent, &call);
            if let Some(account) = sent.account.filter(|_| is_change(call.effect)) {
                wrong = wrong.or(state.claims.carried_out(account, &sent.claims));
            }
            drop(state);
            wrong.into_iter().for_each(|wrong| self.violated(wrong));
        }
    }
}

/// Whether a seller order or a return was changed.
const fn is_change(effect: CallEffect) -> bool {
    matches!(
        effect,
        CallEffect::LinesCancelled
            | CallEffect::Shipped
            | CallEffect::Refunded
            | CallEffect::ReturnRefunded
            | CallEffect::ReturnOpened
            | CallEffect::ReturnCancelled
    )
}

/// What the emulator does with a request, and when.
pub(crate) type Answering = <Emulator as tower::Service<Request<Bytes>>>::Future;

/// How long the end of the simulation may take: by then all that is unsettled must have been settled, or wait for a person.
pub(crate) fn longest_end(plan: &Plan) -> Duration {
    let settings = &plan.settings;
    let last_delay = settings.lookup_delays.last().copied().unwrap_or_default();
    3 * settings.settle_window.max(last_delay) + 2 * settings.not_after + seconds(30 * 60)
}
