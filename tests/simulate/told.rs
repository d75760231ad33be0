//! What callers were told, and what must hold of it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use order_gateway::domain::effect::Effect;
use order_gateway::domain::ledger::EntryState;
use order_gateway::domain::operation::Operation;
use order_gateway::pb::{CreateOrderResponse, GetOrderStatusResponse};
use order_gateway::ports::upstream::ErrorKind;
use order_gateway::service::{BatchOutcome, CancellationReply, LineCancellationReply, MutationError, ServiceError};
use uuid::Uuid;

use crate::book::Book;
use crate::changes::{is_money, probe_of};
use crate::plan::{ACCOUNTS, Call, Plan, What};

/// What a caller was told.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// Yes. Of a cancellation: of at least one batch.
    Accepted { batches: Vec<Batch> },
    /// No, and why; effect NONE.
    Refused(Refusal),
    /// Nobody knows yet.
    Pending,
    /// The orders that were read.
    Read(usize),
    /// Nothing: the process ended, or the caller left.
    Nothing,
    /// What must not be told.
    Bug(String),
}

/// What was told of one request to Walmart.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    /// `None` where it was not told.
    pub(crate) correlation_id: Option<Uuid>,
    pub(crate) outcome: Outcome,
    /// What a repeat must be told too.
    pub(crate) lasting: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Accepted,
    Refused,
    Unknown,
}

#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) reason: Reason,
    pub(crate) correlation_id: Option<Uuid>,
    pub(crate) text: String,
}

/// Why not, as far as it matters what comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Walmart refused it.
    ByWalmart,
    /// It was given up.
    Expired,
    /// The order number or id is used for other content.
    Used,
    /// It was not sent, because the circuit is open.
    CircuitOpen,
    /// It was not sent; later it may.
    NotNow,
}

impl Answer {
    pub(crate) fn of_creation(result: Result<CreateOrderResponse, ServiceError>) -> Self {
        match result {
            Ok(response) => {
                let acceptance = response.payload.map(|payload| payload.request_id).unwrap_or_default();
                let correlation_id = Uuid::parse_str(&response.correlation_id).ok();
                let lasting = format!("accepted {} {acceptance}", response.correlation_id);
                Self::Accepted { batches: vec![Batch { correlation_id, outcome: Outcome::Accepted, lasting }] }
            }
            Err(error) => Self::of_error(error),
        }
    }

    pub(crate) fn of_cancellation(result: Result<CancellationReply, MutationError>) -> Self {
        match result {
            Ok(cancelled) => Self::of_batches(cancelled.batches),
            Err(MutationError { error, .. }) => Self::of_error(error),
        }
    }

    pub(crate) fn of_line_cancellation(result: Result<LineCancellationReply, MutationError>) -> Self {
        match result {
            Ok(cancelled) => Self::of_batches(cancelled.batches),
            Err(MutationError { error, .. }) => Self::of_error(error),
        }
    }

    /// The answer to a change of one request, of which the correlation id is told.
    pub(crate) fn of_change(result: Result<String, MutationError>) -> Self {
        match result {
            Ok(id) => {
                let correlation_id = Uuid::parse_str(&id).ok();
                let lasting = format!("accepted {id}");
                Self::Accepted { batches: vec![Batch { correlation_id, outcome: Outcome::Accepted, lasting }] }
            }
            Err(MutationError { error, .. }) => Self::of_error(error),
        }
    }

    fn of_batches(batches: Vec<BatchOutcome>) -> Self {
        let batch = |batch: BatchOutcome| match batch.result {
            Ok(reply) => Batch {
                correlation_id: Some(reply.correlation_id),
                outcome: Outcome::Accepted,
                lasting: format!("accepted {} {}", reply.correlation_id, reply.answer.acceptance.request_id),
            },
            Err(error) => match Self::of_error(error) {
                Self::Refused(refusal) => {
                    Batch { correlation_id: refusal.correlation_id, outcome: Outcome::Refused, lasting: refusal.text }
                }
                _ => Batch { correlation_id: None, outcome: Outcome::Unknown, lasting: "unknown".into() },
            },
        };
        Self::Accepted { batches: batches.into_iter().map(batch).collect() }
    }

    pub(crate) fn of_status(result: Result<GetOrderStatusResponse, ServiceError>) -> Self {
        match result {
            Ok(response) => Self::Read(response.payload.len()),
            Err(ServiceError::OrderNotFound { .. }) => Self::Read(0),
            Err(error) => Self::of_error(error),
        }
    }

    fn of_error(error: ServiceError) -> Self {
        let text = format!("{error:?}");
        let refusal = |reason, correlation_id: Option<Uuid>, text| {
            let correlation_id = correlation_id.filter(|id| !id.is_nil());
            Self::Refused(Refusal { reason, correlation_id, text })
        };
        match error {
            ServiceError::OutcomePending { .. } => Self::Pending,
            ServiceError::Upstream(error) if error.effect == Effect::None => {
                let reason = match error.kind {
                    ErrorKind::Rejected | ErrorKind::WrongState | ErrorKind::NotFound | ErrorKind::Duplicate => {
                        Reason::ByWalmart
                    }
                    ErrorKind::CircuitOpen => Reason::CircuitOpen,
                    _ => Reason::NotNow,
                };
                let words = error.errors.iter().map(|error| error.description.as_str()).collect::<Vec<_>>().join("; ");
                let text = format!("{:?} {} {words} {}", error.kind, error.http_status, error.correlation_id);
                refusal(reason, Some(error.correlation_id), text)
            }
            ServiceError::Expired { .. } => refusal(Reason::Expired, None, "expired".into()),
            ServiceError::RequestIdReused | ServiceError::OrderNumberUsed | ServiceError::ReturnIdUsed => {
                refusal(Reason::Used, None, text)
            }
            ServiceError::Store => refusal(Reason::NotNow, None, "the store failed".into()),
            _ => Self::Bug(text),
        }
    }

    /// Whether there is nothing more to be asked.
    pub(crate) fn is_final(&self) -> bool {
        match self {
            Self::Accepted { batches } => batches.iter().all(|batch| batch.outcome != Outcome::Unknown),
            Self::Refused(refusal) => !matches!(refusal.reason, Reason::NotNow | Reason::CircuitOpen),
            Self::Read(_) | Self::Bug(_) => true,
            Self::Pending | Self::Nothing => false,
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted { batches } => {
                f.write_str("ok:")?;
                batches.iter().try_for_each(|batch| write!(f, " [{}]", batch.lasting))
            }
            Self::Refused(refusal) => write!(f, "{:?}: {}", refusal.reason, refusal.text),
            Self::Pending => f.write_str("pending"),
            Self::Read(orders) => write!(f, "{orders} orders"),
            Self::Nothing => f.write_str("nothing"),
            Self::Bug(text) => write!(f, "BUG {text}"),
        }
    }
}

/// The first final answer to something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settled {
    pub(crate) at: Duration,
    pub(crate) is_yes: bool,
}

/// The answers that must not change, of each story.
#[derive(Default)]
pub(crate) struct Told {
    lasting: BTreeMap<(usize, What), String>,
    /// What has a final answer, and since when.
    settled: BTreeMap<(usize, What), Settled>,
}

impl Told {
    /// Whether this needs no more asking.
    pub(crate) fn is_settled(&self, key: (usize, What)) -> bool {
        self.settled.contains_key(&key)
    }

    /// The first final answers.
    pub(crate) fn final_answers(&self) -> impl Iterator<Item = Settled> {
        self.settled.values().copied()
    }

    /// Whether every repeat must be told the same.
    pub(crate) fn is_lasting(&self, call: &Call) -> bool {
        self.lasting.contains_key(&(call.story, call.what))
    }

    /// Somebody was told something at `now`.
    pub(crate) fn hear(
        &mut self,
        now: Duration,
        book: &mut Book,
        plan: &Plan,
        call: &Call,
        answer: &Answer,
    ) -> Vec<String> {
        let story = &plan.stories[call.story];
        let name = format!("{}/{} {:?}", ACCOUNTS[story.account], story.number, call.what);
        let mut wrong = Vec::new();
        match answer {
            Answer::Bug(text) => wrong.push(format!("{name} was answered {text}")),
            Answer::Accepted { batches } => {
                for batch in batches {
                    wrong.extend(batch.is_wrong(book).map(|what| format!("I2: {name}: {what}")));
                }
                wrong.extend(self.differs(plan, call, answer, &name));
            }
            Answer::Refused(refusal) => {
                let batch = Batch {
                    correlation_id: refusal.correlation_id,
                    outcome: Outcome::Refused,
                    lasting: refusal.text.clone(),
                };
                wrong.extend(batch.is_wrong(book).map(|what| format!("I2: {name}: {what}")));
                let is_one_content = match call.what {
                    What::Change(position) => !story.changes[position].clashes,
                    _ => story.contents.len() < 2,
                };
                if refusal.reason == Reason::Used && is_one_content {
                    wrong.push(format!("I3: {name} was told {}, and there is one content", refusal.text));
                }
                if refusal.reason == Reason::CircuitOpen {
                    let operation = match call.what {
                        What::Create(_) => Operation::Create,
                        What::Cancel => Operation::Cancel,
                        What::Status => Operation::Status,
                        What::Change(position) => story.changes[position].kind.operation(),
                        What::Pages => Operation::Orders,
                    };
                    let since = now.saturating_sub(call.deadline);
                    let was_open = |operation| book.circuit_was_open(since, story.account, operation);
                    // A refund is not sent either when the order cannot be read.
                    let of_reads = is_money(operation).then(|| was_open(probe_of(operation)));
                    wrong.extend(was_open(operation).filter(|_| of_reads.is_none_or(|wrong| wrong.is_some())));
                }
                wrong.extend(self.differs(plan, call, answer, &name));
            }
            Answer::Pending | Answer::Read(_) | Answer::Nothing => {}
        }
        if answer.is_final() {
            let settled = Settled { at: now, is_yes: matches!(answer, Answer::Accepted { .. }) };
            self.settled.entry((call.story, call.what)).or_insert(settled);
        }
        wrong
    }

    /// I3: what was told once is told again.
    fn differs(&mut self, plan: &Plan, call: &Call, answer: &Answer, name: &str) -> Option<String> {
        let story = &plan.stories[call.story];
        // Without an id a cancellation that is over is a new one when it is asked for again, and so is a creation that was
        // refused.
        let has_id = match call.what {
            What::Create(_) => story.request_id.is_some(),
            What::Cancel => story.cancel_id.is_some(),
            What::Change(position) => story.changes[position].request_id.is_some(),
            What::Status | What::Pages => return None,
        };
        let is_new_without_id = match call.what {
            What::Change(position) => story.changes[position].kind.joins(),
            what => what == What::Cancel,
        };
        let lasts = match answer {
            Answer::Accepted { batches } => {
                let known = batches.iter().all(|batch| batch.outcome != Outcome::Unknown);
                known && (has_id || !is_new_without_id)
            }
            Answer::Refused(refusal) => has_id && matches!(refusal.reason, Reason::ByWalmart | Reason::Expired),
            Answer::Pending | Answer::Read(_) | Answer::Nothing | Answer::Bug(_) => false,
        };
        if !lasts {
            return None;
        }
        let told = answer.to_string();
        let first = self.lasting.entry((call.story, call.what)).or_insert_with(|| told.clone());
        (*first != told).then(|| format!("I3: {name} was told {first} first, and {told} later"))
    }
}

impl Batch {
    fn is_wrong(&self, book: &Book) -> Option<String> {
        let id = self.correlation_id?.to_string();
        let record = book.record(&id)?;
        match self.outcome {
            Outcome::Accepted if record.state != EntryState::Succeeded => {
                Some(format!("told {}, and the ledger says {:?}", self.lasting, record.state))
            }
            Outcome::Refused if record.effects > 0 && !record.by_operator && !record.is_late => {
                Some(format!("told {}, and Walmart carried it out", self.lasting))
            }
            _ => None,
        }
    }
}
