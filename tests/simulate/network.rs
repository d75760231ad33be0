//! The way to Walmart without sockets: takes the place of the HTTP client, with the emulator behind it. Requests and answers
//! travel, get lost and come late as the faults of the time have it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use order_gateway::domain::operation::Operation;
use order_gateway::emulator::DroppedCall;
use order_gateway::upstream::transport::{HttpError, OutgoingRequest};
use serde_json::Value;
use tokio::time::sleep;

use crate::book::Ended;
use crate::claims::{self, Claim};
use crate::draw::{Draw, millis, seconds};
use crate::faults::Fate;
use crate::plan::ACCOUNTS;
use crate::world::World;

/// Longest time until a connection is refused, or breaks.
const BREAKS: Duration = seconds(4);
/// A silent connection says nothing for longer than anybody waits.
const SILENCE: Duration = seconds(3_600);

/// The network. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Network(World);

/// A request as it left the gateway.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) number: u64,
    /// `None` for what no token of an account came with.
    pub(crate) account: Option<usize>,
    /// `None` for a token call.
    pub(crate) operation: Option<Operation>,
    /// In the query of a read or in the path; those of other mutations are known by their correlation ids.
    pub(crate) order_number: String,
    pub(crate) correlation_id: String,
    /// What it asks for, if it changes a seller order or a return.
    pub(crate) claims: Vec<Claim>,
    /// Walmart refuses it once it was done.
    pub(crate) guarded: bool,
    /// Nobody wants it more than once.
    pub(crate) wanted_once: bool,
    /// A field of the gateway's own in its body.
    pub(crate) odd_field: Option<String>,
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operation = self.operation.map_or("token", Operation::name);
        let account = self.account.map_or("?", |account| ACCOUNTS[account]);
        let id = self.correlation_id.get(..8).unwrap_or_default();
        write!(f, "{operation} #{} {account}/{} {id}", self.number, self.order_number)
    }
}

impl Network {
    pub(crate) fn new(world: World) -> Self {
        Self(world)
    }

    fn sent(&self, request: &Request<Bytes>) -> Sent {
        let world = &self.0;
        let operation = operation_of(request);
        let token = header(request.headers(), "wm_sec.access_token");
        let order_number = number_of(request);
        let changes = operation.filter(|operation| operation.is_mutation());
        let body: Value = changes.and_then(|_| serde_json::from_slice(request.body()).ok()).unwrap_or_default();
        let claims = changes.map(|operation| claims::read(operation, &order_number, &body)).unwrap_or_default();
        let mut state = world.state();
        state.numbered += 1;
        let account = match operation {
            None => account_of_client(request.headers()),
            Some(_) => state.tokens.get(token).copied(),
        };
        Sent {
            number: state.numbered,
            account,
            operation,
            order_number,
            correlation_id: header(request.headers(), "wm_qos.correlation_id").to_owned(),
            guarded: account.is_some_and(|account| state.claims.are_guarded(account, &claims)),
            wanted_once: account.is_some_and(|account| state.claims.are_wanted_once(account, &claims)),
            claims,
            odd_field: changes.and_then(|operation| claims::odd_field(operation, &body)),
        }
    }
}

/// The call of a request. `None`: a token call.
fn operation_of(request: &Request<Bytes>) -> Option<Operation> {
    let reads = request.method() == http::Method::GET;
    let path = request.uri().path();
    let last = path.rsplit('/').next().unwrap_or_default();
    let returns = "/v3/fulfillment/return-orders";
    Some(match last {
        "token" => return None,
        "orders" => Operation::Orders,
        "returns" => Operation::Returns,
        _ if path == returns && reads => Operation::McsReturns,
        _ if path == returns => Operation::McsReturnCreate,
        _ if path.starts_with(returns) => Operation::McsReturnCancel,
        "refund" if path.starts_with("/v3/returns/") => Operation::ReturnRefund,
        "refund" => Operation::Refund,
        "shipping" => Operation::Ship,
        "acknowledge" => Operation::Acknowledge,
        "cancel" if path.starts_with("/v3/orders/") => Operation::CancelLines,
        _ if path.starts_with("/v3/orders/") => Operation::Order,
        "status" => Operation::Status,
        "cancel" => Operation::Cancel,
        "fetchOrderPromiseOptions" => Operation::Promise,
        _ => Operation::Create,
    })
}

/// The number of the order or return in the path of a request, or in its query.
fn number_of(request: &Request<Bytes>) -> String {
    let path = request.uri().path();
    let objects = ["/v3/orders/", "/v3/returns/", "/v3/fulfillment/return-orders/"];
    let in_path = objects.iter().find_map(|objects| path.strip_prefix(objects)?.split('/').next());
    if let Some(number) = in_path {
        return number.to_owned();
    }
    let query = url::form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes());
    let names = ["orderNumber", "returnOrderId", "sellerOrderId"];
    let found = query.into_iter().find(|(key, _)| names.contains(&key.as_ref()));
    found.map(|(_, value)| value.into_owned()).unwrap_or_default()
}

impl tower::Service<OutgoingRequest> for Network {
    type Response = Response<Bytes>;
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), HttpError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, OutgoingRequest { request, .. }: OutgoingRequest) -> Self::Future {
        let (world, sent) = (self.0.clone(), self.sent(&request));
        let fate = world.fate(&sent);
        world.trace(format_args!("network: {sent} {fate:?}"));
        let now = world.now();
        let mut wrong = world.state().book.sent(now, &sent);
        if let Some(field) = &sent.odd_field {
            wrong =
                wrong.or_else(|| Some(format!("I8: {sent} has the field {field}, which Walmart's call does not have")));
        }
        wrong.into_iter().for_each(|wrong| world.violated(wrong));
        let mut way = Way { world, sent, request: Some(request), ended: None };
        Box::pin(async move {
            let answer = way.go(fate).await;
            way.ended = Some(Ended::of(&way.sent, &answer));
            if way.sent.operation.is_none() {
                keep_token(&way.world, &way.sent, &answer);
            }
            answer
        })
    }
}

/// A request on its way. The gateway gives it up by dropping this.
struct Way {
    world: World,
    sent: Sent,
    /// Until Walmart has it.
    request: Option<Request<Bytes>>,
    /// Whether the gateway was told how it ended.
    ended: Option<Ended>,
}

impl Way {
    async fn go(&mut self, fate: Fate) -> Result<Response<Bytes>, HttpError> {
        let random = &self.world.random().clone();
        let travel = self.world.plan().settings.travel;
        match fate {
            Fate::Refused => {
                sleep(random.span(millis(0), BREAKS)).await;
                self.request = None;
                return Err(HttpError::NotSent);
            }
            Fate::BrokenBefore => {
                sleep(random.span(millis(0), BREAKS)).await;
                self.request = None;
                return Err(HttpError::Interrupted);
            }
            Fate::LateBroken => {
                sleep(random.span(millis(0), BREAKS)).await;
                if let Some(request) = self.request.take() {
                    come_late(&self.world, request, &self.sent);
                }
                return Err(HttpError::Interrupted);
            }
            Fate::SilentBefore | Fate::LateSilent => {
                if fate == Fate::SilentBefore {
                    self.request = None;
                }
                sleep(SILENCE).await;
                return Err(HttpError::Interrupted);
            }
            Fate::Answered | Fate::BrokenAfter | Fate::SilentAfter | Fate::Slow | Fate::BadBody => {}
        }
        sleep(random.span(millis(0), travel)).await;
        let Some(request) = self.request.take() else { return Err(HttpError::Interrupted) };
        let answer = self.world.execute(request, &self.sent);
        if fate == Fate::Slow {
            sleep(random.span(millis(500), seconds(14))).await;
        }
        if fate == Fate::SilentAfter {
            sleep(SILENCE).await;
        }
        let answer = answer.await.map_err(|dropped| match dropped {
            DroppedCall::NotSent => HttpError::NotSent,
            DroppedCall::Interrupted => HttpError::Interrupted,
        });
        sleep(random.span(millis(0), travel)).await;
        match fate {
            Fate::BrokenAfter => Err(HttpError::Interrupted),
            Fate::BadBody => answer.and_then(|answer| Err(HttpError::BadBody(answer.status().as_u16()))),
            _ => answer,
        }
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        let Some(ended) = self.ended.take() else {
            let abandoned = Abandoned { sent: self.sent.clone(), request: self.request.take() };
            // A runtime drops its tasks in an order that differs between two runs.
            if self.world.time().stands() {
                self.world.state().left_over.insert(self.sent.number, abandoned);
            } else {
                abandoned.end(&self.world);
            }
            return;
        };
        end(&self.world, &self.sent, ended);
    }
}

/// A request that the gateway has given up.
pub(crate) struct Abandoned {
    sent: Sent,
    /// Where Walmart has not seen it.
    request: Option<Request<Bytes>>,
}

impl Abandoned {
    /// Ends it. What was on its way may still arrive.
    pub(crate) fn end(self, world: &World) {
        if world.random().chance(0.7)
            && let Some(request) = self.request
        {
            come_late(world, request, &self.sent);
        }
        end(world, &self.sent, Ended::Abandoned);
    }
}

/// A request is over for the gateway.
fn end(world: &World, sent: &Sent, ended: Ended) {
    world.trace(format_args!("network: {sent} ended: {ended:?}"));
    let now = world.now();
    world.state().book.ended(now, sent, ended);
}

/// Walmart has not seen the request yet, and nobody waits for its answer any more.
fn come_late(world: &World, request: Request<Bytes>, sent: &Sent) {
    let (settings, now) = (&world.plan().settings, world.now());
    let first = world.state().book.is_first_attempt(sent);
    // What Walmart would carry out again must come in time.
    let may_be_late = first && (sent.claims.is_empty() || sent.guarded);
    let (least, most) = if settings.beyond && may_be_late && world.random().chance(0.5) {
        (settings.settle_window, settings.settle_window * 2)
    } else {
        (Duration::ZERO, settings.lateness)
    };
    let time = now + world.random().span(least, most);
    world.execute_later(time, request, sent.clone());
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Client ids are the names of the accounts.
fn account_of_client(headers: &HeaderMap) -> Option<usize> {
    use base64::Engine as _;
    let encoded = header(headers, "authorization").strip_prefix("Basic ")?;
    let decoded = base64::engine::general_purpose::STANDARD.decode(encoded).ok()?;
    let client = decoded.split(|byte| *byte == b':').next()?;
    ACCOUNTS.iter().position(|account| account.as_bytes() == client)
}

/// Tokens tell whose the calls are that they come with.
fn keep_token(world: &World, sent: &Sent, answer: &Result<Response<Bytes>, HttpError>) {
    #[derive(serde::Deserialize)]
    struct Issued {
        access_token: String,
    }
    if let (Some(account), Ok(answer)) = (sent.account, answer)
        && let Ok(Issued { access_token }) = serde_json::from_slice(answer.body())
    {
        world.state().tokens.insert(access_token, account);
    }
}
