//! What is known of every mutation, and what must hold of it at all times: the ledger's side from the store, Walmart's side
//! from the emulator, and the requests between them. Uses no code of the gateway to judge.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use order_gateway::domain::ledger::{Entry, EntryState, LookupRecord, MutationKind, OperationId};
use order_gateway::domain::operation::Operation;
use order_gateway::emulator::CallEffect;
use order_gateway::emulator::records::CallRecord;
use order_gateway::upstream::transport::HttpError;

use crate::changes::{is_money, probe_of};
use crate::draw::{millis, seconds};
use crate::network::Sent;
use crate::plan::{ACCOUNTS, Plan};

/// What is measured on two sides of a timer may be off by as much.
const TICK: Duration = millis(2);
/// Whom Walmart answers so soon after its last failure may have begun before the circuit opened, and closes nothing.
const CIRCUIT_MEMORY: Duration = seconds(75);

/// Everything that is known.
pub(crate) struct Book {
    settle_window: Duration,
    attempt_timeout: Duration,
    records: BTreeMap<String, Record>,
    /// Correlation ids of each account and order number.
    by_number: HashMap<(usize, String), Vec<String>>,
    /// When Walmart failed, by account and operation (`None` is a token call), until it answers a request that left later.
    failures: HashMap<(usize, Option<Operation>), VecDeque<Duration>>,
    /// When the last of them was answered.
    answered: HashMap<(usize, Option<Operation>), Duration>,
    /// When an account was last told to slow down, by account.
    slowed: [Option<Duration>; ACCOUNTS.len()],
    /// Requests under way: when they left, and whose they are.
    flying: HashMap<u64, (Duration, Option<usize>, Option<Operation>)>,
    started: Duration,
    boot: u8,
    reads: Reads,
    /// Reads that showed a seller order or a return, less the refunds that were sent since.
    shown: HashMap<(usize, String), usize>,
}

/// Status calls, by what they were for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reads {
    /// Look-ups by number, of a mutation in doubt.
    pub(crate) look_ups: usize,
    /// Pages of searches by date.
    pub(crate) pages: usize,
    /// All others by number: audits, and calls of callers.
    pub(crate) others: usize,
}

/// One mutation.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) id: OperationId,
    pub(crate) kind: MutationKind,
    pub(crate) account: usize,
    pub(crate) number: String,
    pub(crate) state: EntryState,
    pub(crate) last_error: String,
    /// An operator decided about it.
    pub(crate) by_operator: bool,
    /// It was carried out later than the settle window covers.
    pub(crate) is_late: bool,
    /// It was carried out that late while the next attempt was under way.
    pub(crate) is_overtaken: bool,
    /// How often Walmart carried it out.
    pub(crate) effects: usize,
    pub(crate) doubt: Option<Doubt>,
    /// When the last doubt ended.
    pub(crate) settled: Duration,
    /// What its request asks for; empty before that was sent.
    content: String,
    /// Requests so far, also those before an operator's decision.
    requests: usize,
    evidence: Option<LookupRecord>,
    attempts: Vec<Attempt>,
}

/// A doubt that is looked into.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doubt {
    pub(crate) since: Duration,
    /// When Walmart was last asked about it, and answered.
    pub(crate) asked: Duration,
}

#[derive(Debug)]
struct Attempt {
    sent: u64,
    ended: Option<(Duration, Ended)>,
}

/// How a request ended for the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Walmart says that it took it on.
    Accepted,
    /// Walmart says no, and can be believed.
    Refused(u16),
    /// It never left.
    NotSent,
    /// An answer to a read that does not show what was asked for: it says nothing of Walmart's health.
    Unclear,
    /// Nobody can say.
    Doubtful(u16),
    /// The gateway did not wait for the end.
    Abandoned,
}

impl Record {
    /// The call of Walmart's that shows its outcome.
    pub(crate) fn probe(&self) -> Operation {
        probe_of(self.kind.operation())
    }

    /// Whether its outcome was ever unknown.
    pub(crate) fn was_in_doubt(&self) -> bool {
        self.doubt.is_some() || self.settled > Duration::ZERO
    }

    /// Requests beyond the first.
    pub(crate) fn sent_again(&self) -> usize {
        self.requests.saturating_sub(1)
    }
}

impl Ended {
    pub(crate) fn of(sent: &Sent, answer: &Result<Response<Bytes>, HttpError>) -> Self {
        let answer = match answer {
            Ok(answer) => answer,
            Err(HttpError::NotSent) => return Self::NotSent,
            // The status line alone tells that an edge turned it away.
            Err(HttpError::BadBody(status @ (401 | 403 | 404 | 405 | 413 | 415 | 423 | 429 | 431))) => {
                return Self::Refused(*status);
            }
            Err(HttpError::Interrupted | HttpError::BadBody(_)) => return Self::Doubtful(0),
        };
        let body = String::from_utf8_lossy(answer.body());
        let has = |text: &str| body.contains(text);
        let changes = sent.operation.is_some_and(Operation::is_mutation);
        let shows_orders = || has(r#""OK""#) && !has(r#""errors""#) && has(&sent.order_number);
        let is_read = |operation| matches!(operation, Operation::Order | Operation::Returns | Operation::McsReturns);
        let shows_object = || has(&sent.order_number) && !has(r#""errors""#);
        match answer.status().as_u16() {
            status @ 200..300 if serde_json::from_slice::<serde_json::Value>(answer.body()).is_err() => {
                Self::Doubtful(status)
            }
            200..300 if sent.operation == Some(Operation::Status) && !shows_orders() => Self::Unclear,
            200..300 if sent.operation.is_some_and(is_read) && !shows_object() => Self::Unclear,
            200..300 if is_acceptance(sent.operation, has) => Self::Accepted,
            200..300 if has(r#""ACCEPTED""#) || !changes => Self::Accepted,
            status @ 200..300 if has(r#""FAIL""#) || has(r#""errors""#) => Self::Refused(status),
            status @ (200..300 | 408 | 499 | 500..) => Self::Doubtful(status),
            400 if has("INVALID_REQUEST.GMP_ORDER_API") => Self::Doubtful(400),
            400 if has("REQUEST_THRESHOLD_VIOLATED") => Self::Refused(429),
            status => Self::Refused(status),
        }
    }

    fn is_doubt(self) -> bool {
        matches!(self, Self::Doubtful(_) | Self::Abandoned)
    }
}

/// Whether a readable 2xx accepts a change of a seller order or a return. `has` tells what is in it.
fn is_acceptance(operation: Option<Operation>, has: impl Fn(&str) -> bool) -> bool {
    match operation {
        Some(Operation::CancelLines | Operation::Ship | Operation::Refund) => has(r#""purchaseOrderId""#),
        Some(Operation::ReturnRefund) => has(r#""returnOrderId""#),
        Some(Operation::McsReturnCreate | Operation::McsReturnCancel) => has(r#""OK""#),
        _ => false,
    }
}

impl Book {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            settle_window: plan.settings.settle_window,
            attempt_timeout: plan.settings.attempt_timeout,
            records: BTreeMap::new(),
            by_number: HashMap::new(),
            failures: HashMap::new(),
            answered: HashMap::new(),
            slowed: Default::default(),
            flying: HashMap::new(),
            started: Duration::ZERO,
            boot: 0,
            reads: Reads::default(),
            shown: HashMap::new(),
        }
    }

    /// A process starts, on this boot of the machine. On another boot the look-ups of every doubt are planned anew: nobody
    /// knows how long the machine was down.
    pub(crate) fn process_started(&mut self, now: Duration, boot: u8) {
        if boot != self.boot {
            self.records.values_mut().filter_map(|record| record.doubt.as_mut()).for_each(|doubt| doubt.since = now);
        }
        (self.started, self.boot) = (now, boot);
    }

    /// Requests that nobody has told the end of.
    pub(crate) fn flying(&self) -> usize {
        self.flying.len()
    }

    /// When the present process started.
    pub(crate) fn started(&self) -> Duration {
        self.started
    }

    pub(crate) fn records(&self) -> impl Iterator<Item = (&String, &Record)> {
        self.records.iter()
    }

    pub(crate) fn record(&self, correlation_id: &str) -> Option<&Record> {
        self.records.get(correlation_id)
    }

    /// The mutations of an order number.
    pub(crate) fn numbered(&self, account: usize, number: &str) -> impl Iterator<Item = &Record> {
        let ids = self.by_number.get(&(account, number.to_owned()));
        ids.into_iter().flatten().filter_map(|id| self.records.get(id))
    }

    /// When an account was last told to slow down.
    pub(crate) fn slowed(&self, account: usize) -> Option<Duration> {
        self.slowed[account]
    }

    /// The ledger holds this now.
    pub(crate) fn written(&mut self, now: Duration, entry: &Entry) -> Option<String> {
        let id = entry.correlation_id.to_string();
        let account = ACCOUNTS.iter().position(|account| *account == entry.account.as_str()).unwrap_or_default();
        let number = entry.order_number.to_string();
        let record = self.records.entry(id.clone()).or_insert_with(|| {
            self.by_number.entry((account, number.clone())).or_default().push(id);
            Record {
                id: entry.id,
                kind: entry.kind,
                account,
                number,
                state: entry.state,
                last_error: String::new(),
                by_operator: false,
                is_late: false,
                is_overtaken: false,
                effects: 0,
                doubt: None,
                settled: Duration::ZERO,
                content: String::new(),
                requests: 0,
                evidence: None,
                attempts: Vec::new(),
            }
        });
        record.by_operator |= !entry.resolution.is_empty();
        // Without a next look-up it waits for a person alone.
        let in_doubt = matches!(entry.state, EntryState::Unknown | EntryState::NeedsOperator) && entry.next.is_some();
        if record.evidence != entry.evidence {
            record.evidence.clone_from(&entry.evidence);
            record.doubt = record.doubt.map(|doubt| Doubt { asked: now, ..doubt });
        }
        if record.doubt.is_some() && !in_doubt {
            record.settled = now;
        }
        // It began when the attempt ended, or was found ended; the store may have taken seconds to write that.
        let ended = record.attempts.last().and_then(|attempt| attempt.ended).map(|(time, _)| time.max(self.started));
        let begun = Doubt { since: ended.unwrap_or(now), asked: now };
        record.doubt = in_doubt.then(|| record.doubt.unwrap_or(begun));
        record.state = entry.state;
        record.last_error.clone_from(&entry.last_error);
        self.told_wrongly(&entry.correlation_id.to_string())
    }

    /// What the ledger says of this mutation, and callers with it, is not so.
    fn told_wrongly(&self, id: &str) -> Option<String> {
        let record = self.records.get(id).filter(|record| !record.by_operator)?;
        let Record { id, account, number, state, effects, .. } = record;
        let name = format!("{id} ({}/{number})", ACCOUNTS[*account]);
        match state {
            EntryState::Succeeded => {
                let same = |other: &&Record| other.kind == record.kind;
                let shown = match record.kind {
                    // Lines that are cancelled as a whole, and a return that is taken back, are as they were wanted, whoever did it.
                    MutationKind::Cancel | MutationKind::McsReturnCancel => {
                        self.numbered(*account, number).filter(same).map(|other| other.effects).sum()
                    }
                    _ => *effects,
                };
                (shown == 0).then(|| format!("I2: {name} is SUCCEEDED, and Walmart did not carry it out"))
            }
            EntryState::Rejected if *effects > 0 && record.is_overtaken => {
                Some(format!("I2: {name} is {state:?}, and Walmart carried it out before it refused the next attempt"))
            }
            EntryState::Rejected | EntryState::NotSent | EntryState::Expired if *effects > 0 && !record.is_late => {
                Some(format!("I2: {name} is {state:?}, effect NONE, and Walmart carried it out"))
            }
            _ => None,
        }
    }

    /// An operator, who has looked at Walmart, decides about a mutation.
    pub(crate) fn decided(&mut self, id: &str) {
        if let Some(record) = self.records.get_mut(id) {
            record.attempts.clear();
        }
    }

    /// A request leaves the gateway.
    pub(crate) fn sent(&mut self, now: Duration, sent: &Sent) -> Option<String> {
        self.flying.insert(sent.number, (now, sent.account, sent.operation));
        let Some(operation) = sent.operation.filter(|operation| operation.is_mutation()) else {
            self.count_read(sent);
            return None;
        };
        let Some(record) = self.records.get(&sent.correlation_id) else {
            return Some(format!("I4: {sent} was sent, and the ledger has no row of it"));
        };
        if record.state != EntryState::Sending {
            return Some(format!("I4: {sent} was sent while the ledger says {:?}", record.state));
        }
        let content = sent.claims.iter().map(|claim| claim.what.as_str()).collect::<Vec<_>>().join("; ");
        let again = record.attempts.iter();
        // Another creation of the number would have the same effect, and so would another change with the same content.
        let is_same = |other: &&Record| {
            other.kind == record.kind
                && (operation == Operation::Create || (sent.wanted_once && other.content == content))
        };
        let others = self.numbered(record.account, &record.number).filter(is_same);
        let others = others.filter(|other| other.id != record.id).flat_map(|other| &other.attempts);
        if is_money(operation) {
            if let Some(doubt) = record.attempts.iter().find(|one| one.ended.is_some_and(|(_, ended)| ended.is_doubt()))
            {
                let number = doubt.sent;
                return Some(format!(
                    "I5: {sent} was sent again after the doubt about #{number}, and nobody decided it"
                ));
            }
            // A request that was decided about has its snapshot from before.
            if record.requests == 0 {
                let shown = self.shown.get(&(record.account, record.number.clone())).copied().unwrap_or_default();
                if shown == 0 {
                    return Some(format!("I9: {sent} was sent, and nobody has looked what was refunded before"));
                }
            }
        }
        for attempt in again.chain(others) {
            match attempt.ended {
                None => return Some(format!("I5: {sent} was sent while #{} is under way", attempt.sent)),
                Some((_, Ended::Accepted)) => {
                    return Some(format!("I5: {sent} was sent after #{} was accepted", attempt.sent));
                }
                Some((time, ended)) if ended.is_doubt() && now - time + TICK < self.settle_window => {
                    let pause = (now - time).as_secs_f64();
                    return Some(format!("I5: {sent} was sent {pause:.3} s after #{} ended {ended:?}", attempt.sent));
                }
                Some(_) => {}
            }
        }
        let attempt = Attempt { sent: sent.number, ended: None };
        if is_money(operation) && record.requests == 0 {
            self.shown.entry((record.account, record.number.clone())).and_modify(|shown| *shown -= 1);
        }
        if let Some(record) = self.records.get_mut(&sent.correlation_id) {
            record.attempts.push(attempt);
            record.requests += 1;
            record.content = content;
        }
        None
    }

    fn count_read(&mut self, sent: &Sent) {
        let (Some(Operation::Status), Some(account)) = (sent.operation, sent.account) else { return };
        let number = &sent.order_number;
        if number.is_empty() {
            self.reads.pages += 1;
        } else if self.numbered(account, number).any(|record| record.doubt.is_some()) {
            self.reads.look_ups += 1;
        } else {
            self.reads.others += 1;
        }
    }

    /// Status calls so far.
    pub(crate) fn reads(&self) -> Reads {
        self.reads
    }

    /// Whether nothing was sent for the mutation before this request.
    pub(crate) fn is_first_attempt(&self, sent: &Sent) -> bool {
        let record = self.records.get(&sent.correlation_id);
        record.is_some_and(|record| record.attempts.first().is_some_and(|first| first.sent == sent.number))
    }

    /// Walmart has carried out a request, or has not.
    pub(crate) fn executed(&mut self, now: Duration, sent: &Sent, call: &CallRecord) -> Option<String> {
        match call.effect {
            CallEffect::Created
            | CallEffect::Cancelled
            | CallEffect::LinesCancelled
            | CallEffect::Shipped
            | CallEffect::Refunded
            | CallEffect::ReturnRefunded
            | CallEffect::ReturnOpened
            | CallEffect::ReturnCancelled
            | CallEffect::Subscribed => {}
            CallEffect::CreatedAgain => {
                return Some(format!("I1: {sent} made a second order of {}", call.order_number));
            }
            CallEffect::None
            | CallEffect::Issued
            | CallEffect::Read
            | CallEffect::Acknowledged
            | CallEffect::Corrected
            | CallEffect::SubscriptionChanged
            | CallEffect::Unsubscribed
            | CallEffect::SamplePosted => return None,
        }
        let record = self.records.get_mut(&call.correlation_id)?;
        record.effects += 1;
        let ended =
            record.attempts.iter().find(|attempt| attempt.sent == sent.number).and_then(|attempt| attempt.ended);
        let late = ended.is_some_and(|(time, _)| now > time + self.settle_window);
        record.is_late |= late;
        // A refusal of the attempt that is under way says nothing of the earlier one.
        record.is_overtaken |= late && record.state == EntryState::Sending;
        if record.effects > 1 && record.kind != MutationKind::Create {
            return Some(format!("I1: {sent} was carried out {} times", record.effects));
        }
        self.told_wrongly(&call.correlation_id)
    }

    /// A request ended for the gateway.
    pub(crate) fn ended(&mut self, now: Duration, sent: &Sent, ended: Ended) {
        let began = self.flying.remove(&sent.number).map_or(now, |(began, ..)| began);
        if let Some(account) = sent.account {
            let waited = now - began + TICK >= self.attempt_timeout;
            let walmarts = match ended {
                Ended::Doubtful(_) | Ended::NotSent => true,
                Ended::Abandoned => waited,
                // A caller's read of an order that shows none counts as failed, a look-up does not.
                Ended::Unclear => sent.operation != Some(Operation::Status),
                Ended::Accepted | Ended::Refused(_) => false,
            };
            let failures = self.failures.entry((account, sent.operation)).or_default();
            if walmarts {
                failures.push_back(now);
            } else if !matches!(ended, Ended::Abandoned | Ended::Unclear | Ended::Refused(401 | 403 | 429)) {
                // Only what has passed Walmart's gateway tells that the operation works.
                let failed = !failures.is_empty();
                failures.retain(|time| *time > began || *time + CIRCUIT_MEMORY >= now);
                if failed && failures.is_empty() {
                    self.answered.insert((account, sent.operation), now);
                }
            }
            if ended == Ended::Refused(429) {
                self.slowed[account] = Some(now);
            }
            if ended == Ended::Accepted && matches!(sent.operation, Some(Operation::Order | Operation::Returns)) {
                *self.shown.entry((account, sent.order_number.clone())).or_default() += 1;
            }
        }
        if let Some(record) = self.records.get_mut(&sent.correlation_id)
            && let Some(attempt) = record.attempts.iter_mut().find(|attempt| attempt.sent == sent.number)
        {
            attempt.ended = Some((now, ended));
        }
    }

    /// A circuit was open at some time since then. Only Walmart's failures may open one.
    pub(crate) fn circuit_was_open(&self, since: Duration, account: usize, operation: Operation) -> Option<String> {
        // It stays open until a probe is answered; that may take any time, for the probe has to wait for a token.
        let may_be_open = [Some(operation), None].map(|what| (account, what)).iter().any(|what| {
            self.failures.get(what).is_some_and(|failures| !failures.is_empty())
                || self.answered.get(what).is_some_and(|answered| *answered >= since)
        });
        (!may_be_open).then(|| {
            let name = operation.name();
            format!("the circuit of {}'s {name} is open, and Walmart has not failed", ACCOUNTS[account])
        })
    }
}
