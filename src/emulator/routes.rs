//! The course of one request: gateway checks, token, bucket, disturbance, operation, journal.
//!
//! Everything is decided and executed at once, under one lock, when the request arrives; a delay only holds the answer
//! back. A caller that gives up waiting therefore changes nothing about what was executed.

use std::sync::PoisonError;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::answer::Answer;
use super::calls::{Context, Done, Effect};
use super::faults::Disturbance;
use super::lies::{Break, Question};
use super::limits::Level;
use super::requests::{Outcome, Received, harmless};
use super::target::Target;
use super::{Shared, State, cancel, control, create, form, gate, promise, status};
use crate::domain::operation::Operation;

/// Longest request body; a longer one is 413. Walmart's own bound is not published.
pub(crate) const MAX_BODY: usize = 1 << 20;

/// What the caller gets, and when.
pub(crate) struct Reply {
    pub(crate) delay: Duration,
    pub(crate) result: Result<Response<Bytes>, Break>,
}

impl Reply {
    /// The answer, or its loss, once the delay is over.
    pub(crate) async fn when_due(self) -> Result<Response<Bytes>, Break> {
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        self.result
    }
}

/// Answers any request.
pub(crate) fn answer(shared: &Shared, request: Request<Bytes>) -> Reply {
    let (parts, body) = request.into_parts();
    let mut state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
    let unmoved = state.clock.now_unmoved();
    state.world.keep_fresh(unmoved);
    if let Some(path) = parts.uri.path().strip_prefix(control::PREFIX) {
        let answer = control::answer(shared, &mut state, &parts, path, &body);
        return Reply { delay: Duration::ZERO, result: Ok(answer.into_http(false)) };
    }
    let target = Target::of_path(parts.uri.path());
    let sent = read(target, &body);
    let received = receive(target, &parts, &body, sent.as_ref(), state.clock.now());
    let played = match target {
        _ if body.len() > MAX_BODY => Played::refused(Answer::text(413, "Request body is too large")),
        None => {
            let path = parts.uri.path();
            Played::refused(Answer::gateway(
                404,
                "URI_NOT_FOUND",
                "",
                "URI not found",
                &format!("No static resource {path}."),
            ))
        }
        Some(target) => match gate::check(target, &parts.method, &parts.headers) {
            Ok(()) => play(shared, &mut state, target, &parts, &received, sent.as_ref()),
            Err(answer) => Played::refused(answer),
        },
    };
    let played = match target {
        Some(Target::Call(operation)) => played.with_level(&state, operation, received.time),
        _ => played,
    };
    let status = played.answer.as_ref().ok().map(|answer| answer.status);
    let outcome = Outcome { account: played.account, effect: played.effect, disturbance: played.disturbance, status };
    state.journal.record(received, outcome);
    let xml = gate::accepts(&parts.headers) == gate::Accepts::Xml;
    Reply { delay: played.delay, result: played.answer.map(|answer| answer.into_http(xml)) }
}

/// The body as JSON, where the call has one and it is.
fn read(target: Option<Target>, body: &[u8]) -> Option<Value> {
    match target {
        Some(Target::Call(Operation::Promise | Operation::Create | Operation::Cancel)) if body.len() <= MAX_BODY => {
            serde_json::from_slice(body).ok()
        }
        Some(Target::Call(Operation::Status) | Target::Token) => Some(Value::Null),
        _ => None,
    }
}

fn receive(target: Option<Target>, parts: &Parts, body: &Bytes, sent: Option<&Value>, time: Timestamp) -> Received {
    let order_number = match target {
        Some(Target::Call(Operation::Status)) => status::order_number(parts.uri.query().unwrap_or_default()),
        _ => sent.map(|body| form::order_number(&body["payload"]).to_owned()).unwrap_or_default(),
    };
    Received {
        time,
        operation: target.map_or("unknown", Target::name),
        method: parts.method.to_string(),
        path: parts.uri.to_string(),
        order_number,
        correlation_id: gate::text(&parts.headers, "wm_qos.correlation_id").unwrap_or_default().to_owned(),
        headers: harmless(&parts.headers),
        // A copy: the original may be a small piece of a connection's whole read buffer, which it would keep alive.
        body: if body.len() > MAX_BODY { Bytes::new() } else { Bytes::copy_from_slice(body) },
    }
}

/// How a request went.
struct Played {
    answer: Result<Answer, Break>,
    delay: Duration,
    account: Option<String>,
    effect: Effect,
    disturbance: Option<String>,
}

impl Played {
    fn refused(answer: Answer) -> Self {
        Self::done(Done::refused(answer))
    }

    fn done(done: Done) -> Self {
        Self { answer: Ok(done.answer), delay: Duration::ZERO, account: None, effect: done.effect, disturbance: None }
    }

    /// Tells what is left in the bucket. A 429 that a disturbance made speaks of an empty one, a second from a call.
    fn with_level(mut self, state: &State, operation: Operation, now: Timestamp) -> Self {
        let mut level = state.limits.peek(self.account.as_deref().unwrap_or_default(), operation, now);
        self.answer = self.answer.map(|answer| {
            if answer.status == 429 && level.left > 0 {
                level = Level { left: 0, next: now.saturating_add(SignedDuration::from_secs(1)).unwrap_or(now) };
            }
            answer
                .with("date", http_date(now))
                .with("x-current-token-count", level.left)
                .with("x-next-replenishment-time", level.next.as_millisecond())
        });
        self
    }
}

/// The time of day as the `Date` header has it.
fn http_date(time: Timestamp) -> String {
    time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// A request that passed the gateway's first checks.
fn play(
    shared: &Shared,
    state: &mut State,
    target: Target,
    parts: &Parts,
    received: &Received,
    sent: Option<&Value>,
) -> Played {
    let mut account = None;
    if let Target::Call(operation) = target {
        match gate::caller(&state.tokens, &parts.headers, received.time) {
            Err(answer) => return Played::refused(answer),
            Ok(client) => {
                let refused = state.limits.take(&client, operation, received.time).is_err();
                account = Some(client);
                if refused {
                    return Played { account, ..Played::refused(Answer::of_status(429)) };
                }
            }
        }
    }
    let Some(body) = sent else {
        let answer =
            Answer::gateway(400, "MALFORMED_REQUEST_CONTENT", "data", "Request content is malformed", "not JSON");
        return Played { account, ..Played::refused(answer) };
    };
    let caller = account.as_deref().unwrap_or_default();
    let disturbance = disturb(state, target, &received.order_number, caller, body);
    let execute = |state: &mut State| execute(shared, state, target, parts, received, caller, body);
    let Some((name, disturbance)) = disturbance else {
        let done = execute(state);
        return Played { account, ..Played::done(done) };
    };
    let done = disturbance.executes.then(|| execute(state));
    let effect = done.as_ref().map_or(Effect::None, |done| done.effect);
    let question = Question { order_number: &received.order_number, now: received.time };
    let answer = disturbance.answer(&question, done.map(|done| done.answer));
    Played { answer, delay: disturbance.delay, account, effect, disturbance: Some(name) }
}

/// What disturbs the call: a rule of the faults, else a magic value.
fn disturb(
    state: &mut State,
    target: Target,
    number: &str,
    account: &str,
    body: &Value,
) -> Option<(String, Disturbance)> {
    let is_duplicate = || state.world.is_used(account, number);
    if let Some((position, disturbance)) = state.faults.draw(target, number, is_duplicate) {
        let lie = disturbance.lie.map_or(String::new(), |lie| format!(" {}", lie.name));
        return Some((format!("fault[{position}]{lie}"), disturbance));
    }
    let Target::Call(operation) = target else { return None };
    let values: Vec<&str> = match operation {
        Operation::Promise => promise::skus(body),
        _ => vec![number],
    };
    state.magic.find(operation, &values).map(|(name, disturbance)| (name.to_owned(), disturbance))
}

fn execute(
    shared: &Shared,
    state: &mut State,
    target: Target,
    parts: &Parts,
    received: &Received,
    account: &str,
    body: &Value,
) -> Done {
    let options = &shared.options;
    let context = Context {
        account,
        correlation_id: &received.correlation_id,
        now: received.time,
        seed: options.seed,
        sandbox: gate::dynamic_sandbox(&parts.headers),
    };
    match target {
        Target::Token => {
            let (answer, issued) =
                state.tokens.request(&parts.headers, &received.body, &options.credentials, options.seed, received.time);
            Done { answer, effect: if issued { Effect::Issued } else { Effect::None } }
        }
        Target::Call(Operation::Promise) => promise::promise(&state.world, &context, body),
        Target::Call(Operation::Create) => create::create(&mut state.world, &context, body, options.duplicates),
        Target::Call(Operation::Cancel) => cancel::cancel(&mut state.world, &context, body),
        Target::Call(Operation::Status) => {
            let lag = |lagging, number: &str| state.faults.lag(lagging, number);
            status::status(&state.world, &context, parts.uri.query().unwrap_or_default(), lag)
        }
    }
}
