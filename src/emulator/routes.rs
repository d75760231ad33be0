//! The course of a request: gateway checks, token, bucket, disturbance, operation, journal.
//!
//! The request is decided and executed at once, under a lock, when it arrives; a delay holds back only the answer. A
//! caller that gives up waiting changes nothing about the execution.

use std::sync::PoisonError;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::answer::WalmartAnswer;
use super::calls::{CallEffect, CallResult, EmulatedCall};
use super::disturbance::CallDisturbance;
use super::lies::{AnswerLoss, LagKind, LieContext};
use super::limits::BucketLevel;
use super::requests::{ReceivedRequest, RequestOutcome, harmless};
use super::target::Target;
use super::{
    DuplicatePolicy, EmulatorShared, EmulatorState, MAX_BODY, cancel, control, create, form, gate, promise, returns,
    seller, simulations, status, webhooks,
};
use crate::domain::operation::Operation;

/// The answer for the caller, and its delay.
pub(crate) struct TimedReply {
    pub(crate) delay: Duration,
    pub(crate) result: Result<Response<Bytes>, AnswerLoss>,
}

impl TimedReply {
    /// Waits for the delay, then returns the answer or its loss.
    pub(crate) async fn when_due(self) -> Result<Response<Bytes>, AnswerLoss> {
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        self.result
    }
}

/// Answers a request to the API or the control API.
pub(crate) fn answer(shared: &EmulatorShared, request: Request<Bytes>) -> TimedReply {
    let (parts, body) = request.into_parts();
    let mut state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
    let unmoved = state.clock.now_unmoved();
    state.world.keep_fresh(unmoved);
    let now = state.clock.now();
    state.seller.keep_fresh(unmoved);
    state.seller.lapse(now);
    if let Some(path) = parts.uri.path().strip_prefix(control::PREFIX) {
        let answer = control::answer(shared, &mut state, &parts, path, &body);
        return TimedReply { delay: Duration::ZERO, result: Ok(answer.into_http(false)) };
    }
    if let Some(path) = parts.uri.path().strip_prefix(simulations::PREFIX) {
        let answer = simulations::answer(shared, &mut state, &parts, path, &body);
        return TimedReply { delay: Duration::ZERO, result: Ok(answer.into_http(false)) };
    }
    let target = Target::of(&parts.method, parts.uri.path());
    let sent = read(target, &body);
    let received = receive(target, &parts, &body, sent.as_ref(), state.clock.now());
    let played = match target {
        _ if body.len() > MAX_BODY => PlayedCall::refused(WalmartAnswer::text(413, "Request body is too large")),
        None => {
            let path = parts.uri.path();
            if let Some(real) = seller::real_call(&parts.method, path) {
                let answer = WalmartAnswer::gateway(404, "URI_NOT_FOUND", "", "URI not found", real);
                return TimedReply { delay: Duration::ZERO, result: Ok(answer.into_http(false)) };
            }
            PlayedCall::refused(WalmartAnswer::gateway(
                404,
                "URI_NOT_FOUND",
                "",
                "URI not found",
                &format!("No static resource {path}."),
            ))
        }
        Some(target) => match gate::check(target, &parts.method, &parts.headers) {
            Ok(()) => play(shared, &mut state, target, &parts, &received, sent.as_ref()),
            Err(answer) => PlayedCall::refused(answer),
        },
    };
    let played = match target {
        Some(Target::Call(operation)) => played.with_level(&state, operation, received.time),
        _ => played,
    };
    let status = played.answer.as_ref().ok().map(|answer| answer.status);
    let outcome =
        RequestOutcome { account: played.account, effect: played.effect, disturbance: played.disturbance, status };
    state.journal.record(received, outcome);
    let xml = gate::accepts(&parts.headers) == gate::AnswerFormat::Xml;
    TimedReply { delay: played.delay, result: played.answer.map(|answer| answer.into_http(xml)) }
}

/// Parses the body as JSON, for calls that have a body.
fn read(target: Option<Target>, body: &[u8]) -> Option<Value> {
    match target {
        None => None,
        Some(Target::Token | Target::Call(Operation::Acknowledge | Operation::WebhookDelete)) => Some(Value::Null),
        Some(target) if target.method() == http::Method::GET => Some(Value::Null),
        Some(_) if body.len() <= MAX_BODY => serde_json::from_slice(body).ok(),
        Some(_) => None,
    }
}

fn receive(
    target: Option<Target>,
    parts: &Parts,
    body: &Bytes,
    sent: Option<&Value>,
    time: Timestamp,
) -> ReceivedRequest {
    let order_number = match target {
        Some(Target::Call(Operation::Status)) => status::order_number(parts.uri.query().unwrap_or_default()),
        Some(target) if target.is_of_sellers_order() => seller::purchase_order(parts.uri.path()),
        Some(target) if target.is_of_returns() => {
            returns::return_id(parts.uri.path(), parts.uri.query().unwrap_or_default(), sent)
        }
        Some(target) if target.is_of_webhooks() => {
            webhooks::subject(parts.uri.path(), parts.uri.query().unwrap_or_default(), sent)
        }
        _ => sent.map(|body| form::order_number(&body["payload"]).to_owned()).unwrap_or_default(),
    };
    ReceivedRequest {
        time,
        operation: target.map_or("unknown", Target::name),
        method: parts.method.to_string(),
        path: parts.uri.to_string(),
        order_number,
        correlation_id: gate::text(&parts.headers, "wm_qos.correlation_id").unwrap_or_default().to_owned(),
        headers: harmless(&parts.headers),
        // Copied: the original may be a small part of a connection's read buffer, and would keep the whole buffer
        // alive.
        body: if body.len() > MAX_BODY { Bytes::new() } else { Bytes::copy_from_slice(body) },
    }
}

/// The course of a played request.
struct PlayedCall {
    answer: Result<WalmartAnswer, AnswerLoss>,
    delay: Duration,
    account: Option<String>,
    effect: CallEffect,
    disturbance: Option<String>,
}

impl PlayedCall {
    fn refused(answer: WalmartAnswer) -> Self {
        Self::done(CallResult::refused(answer))
    }

    fn done(done: CallResult) -> Self {
        Self { answer: Ok(done.answer), delay: Duration::ZERO, account: None, effect: done.effect, disturbance: None }
    }

    /// Adds the headers of the bucket's level. A 429 made by a disturbance reports an empty bucket, a second from the
    /// next call.
    fn with_level(mut self, state: &EmulatorState, operation: Operation, now: Timestamp) -> Self {
        let mut level = state.limits.peek(self.account.as_deref().unwrap_or_default(), operation, now);
        self.answer = self.answer.map(|answer| {
            if answer.status == 429 && level.left > 0 {
                level = BucketLevel { left: 0, next: now.saturating_add(SignedDuration::from_secs(1)).unwrap_or(now) };
            }
            answer
                .with("date", http_date(now))
                .with("x-current-token-count", level.left)
                .with("x-next-replenishment-time", level.next.as_millisecond())
        });
        self
    }
}

/// The time in the form of the `Date` header.
fn http_date(time: Timestamp) -> String {
    time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// Plays a request that passed the gateway's first checks.
fn play(
    shared: &EmulatorShared,
    state: &mut EmulatorState,
    target: Target,
    parts: &Parts,
    received: &ReceivedRequest,
    sent: Option<&Value>,
) -> PlayedCall {
    let mut account = None;
    if let Target::Call(operation) = target {
        match gate::caller(&state.tokens, &parts.headers, received.time) {
            Err(answer) => return PlayedCall::refused(answer),
            Ok(client) => {
                let refused = state.limits.take(&client, operation, received.time).is_err();
                account = Some(client);
                if refused {
                    return PlayedCall { account, ..PlayedCall::refused(WalmartAnswer::of_status(429)) };
                }
            }
        }
    }
    let Some(body) = sent else {
        let answer = WalmartAnswer::gateway(
            400,
            "MALFORMED_REQUEST_CONTENT",
            "data",
            "Request content is malformed",
            "not JSON",
        );
        return PlayedCall { account, ..PlayedCall::refused(answer) };
    };
    let caller = account.as_deref().unwrap_or_default();
    if target.is_of_sellers_order() {
        state.seller.conjure(caller, &received.order_number, received.time);
    }
    if matches!(target, Target::Call(Operation::Returns | Operation::ReturnRefund)) {
        state.market_returns.conjure(&received.order_number, received.time);
    }
    if target == Target::Call(Operation::McsReturnCreate) {
        let number = body["payload"]["sellerOrderId"].as_str().unwrap_or_default();
        state.conjure_delivered(number, received.time);
    }
    let disturbance = disturb(state, target, &received.order_number, caller, body);
    let execute = |state: &mut EmulatorState| {
        let done = execute(shared, state, target, parts, received, caller, body);
        if let Target::Call(operation) = target {
            let (number, answer) = (&received.order_number, done.answer.value());
            let event = webhooks::of_call(operation, done.effect, caller, number, answer, &state.world);
            state.post_events(shared.options.seed, event.as_slice());
        }
        done
    };
    let Some((name, disturbance)) = disturbance else {
        let done = execute(state);
        return PlayedCall { account, ..PlayedCall::done(done) };
    };
    let done = disturbance.executes.then(|| execute(state));
    let effect = done.as_ref().map_or(CallEffect::None, |done| done.effect);
    let question = LieContext { order_number: &received.order_number, now: received.time };
    let answer = disturbance.answer(&question, done.map(|done| done.answer));
    PlayedCall { answer, delay: disturbance.delay, account, effect, disturbance: Some(name) }
}

/// Returns the disturbance of a call: from a fault rule, else from a magic value.
fn disturb(
    state: &mut EmulatorState,
    target: Target,
    number: &str,
    account: &str,
    body: &Value,
) -> Option<(String, CallDisturbance)> {
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
    shared: &EmulatorShared,
    state: &mut EmulatorState,
    target: Target,
    parts: &Parts,
    received: &ReceivedRequest,
    account: &str,
    body: &Value,
) -> CallResult {
    let options = &shared.options;
    let context = EmulatedCall {
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
            CallResult { answer, effect: if issued { CallEffect::Issued } else { CallEffect::None } }
        }
        Target::Call(Operation::Promise) => promise::promise(&state.world, &context, body),
        Target::Call(Operation::Create) => create::create(&mut state.world, &context, body, options.duplicates),
        Target::Call(Operation::Cancel) => cancel::cancel(&mut state.world, &context, body),
        Target::Call(Operation::Status) => {
            let lag = |lagging, number: &str| state.faults.lag(lagging, number);
            status::status(&state.world, &context, parts.uri.query().unwrap_or_default(), lag)
        }
        Target::Call(operation) => {
            let number = &received.order_number;
            let lag = state.faults.lag(LagKind::Changes, number);
            let query = parts.uri.query().unwrap_or_default();
            match operation {
                Operation::Orders => seller::list(&state.seller, &context, query, lag),
                Operation::Returns => returns::list(&state.market_returns, &context, query, lag),
                Operation::ReturnRefund => returns::refund(&mut state.market_returns, &context, number, body),
                Operation::McsReturns => returns::list_mcs(&state.mcs_returns, &context, query, lag),
                Operation::McsReturnCreate => {
                    let accepts = options.duplicates == DuplicatePolicy::Accept;
                    returns::create(&mut state.mcs_returns, &state.world, &context, body, accepts)
                }
                Operation::McsReturnCancel => returns::cancel(&mut state.mcs_returns, &context, number, body),
                Operation::EventTypes => webhooks::event_types(context.now),
                Operation::Webhooks => webhooks::list(&state.subscriptions, &context, query, lag),
                Operation::WebhookCreate => webhooks::create(&mut state.subscriptions, &context, body),
                Operation::WebhookUpdate => webhooks::update(&mut state.subscriptions, &context, number, body),
                Operation::WebhookDelete => webhooks::delete(&mut state.subscriptions, &context, number),
                Operation::WebhookTest => {
                    let (done, sample) = webhooks::test(&context, body);
                    state.intents.round(sample.into_iter().collect(), context.now).post_in_background();
                    done
                }
                Operation::Acknowledge => seller::acknowledge(&mut state.seller, &context, number),
                Operation::CancelLines => seller::cancel(&mut state.seller, &context, number, body),
                Operation::Ship | Operation::Tracking => seller::ship(&mut state.seller, &context, number, body),
                Operation::Refund => seller::refund(&mut state.seller, &context, number, body),
                _ => seller::get(&state.seller, &context, number, lag),
            }
        }
    }
}
