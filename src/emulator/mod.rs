//! A stateful Walmart for tests and for the first five minutes: token, delivery promise, create, cancel, status.
//!
//! The emulator is on the server side of the wire and shares no code with the client: it reads and writes plain
//! JSON. As a [`tower::Service`] it replaces the network in tests, which read the true state through [`records`];
//! [`serve`] puts it on a port. The same seed, clock and calls give the same answers. `docs/EMULATOR.md` describes the
//! initial state, magic values, faults and the control API. Any module may use the emulator, which itself uses only
//! `domain`.

mod answer;
mod calls;
mod cancel;
mod clock;
mod control;
mod create;
mod deliveries;
mod disturbance;
mod faults;
mod form;
mod gate;
mod history;
mod ids;
mod intent_event;
pub(crate) mod intents;
mod journal;
mod lies;
mod limits;
pub(crate) mod magic;
pub mod posting;
mod promise;
pub mod records;
mod requests;
mod returns;
mod routes;
mod seller;
mod serve;
mod simulations;
mod status;
mod target;
mod token;
mod webhooks;
mod wire;
mod world;
mod xml;

#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use tokio_util::sync::CancellationToken;

pub use self::calls::CallEffect;
pub use self::clock::EmulatorClock;
pub use self::faults::FaultRules;
pub use self::serve::{serve, serve_tls};

use self::clock::AdjustedClock;
use self::deliveries::DeliveryRound;
use self::faults::Injector;
use self::intents::{IntentPoster, IntentRefusal, IntentRequest};
use self::journal::Journal;
use self::lies::AnswerLoss;
use self::limits::TokenBuckets;
use self::posting::WebhookTarget;
use self::returns::{MarketBook, McsReturnBook};
use self::routes::TimedReply;
use self::seller::SellerBook;
use self::token::IssuedTokens;
use self::webhooks::{EmulatedEvent, SubscriptionBook};
use self::world::{Line, Order, ShippedParcel, World};
use jiff::Timestamp;

/// Longest request body; a longer body gets 413. Walmart's own bound is not published.
const MAX_BODY: usize = 1 << 20;
/// Units of the delivered order of a magic number.
const DELIVERED_UNITS: u64 = 100;

/// Treatment of a create with an order number that the account has used. Walmart documents neither.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DuplicatePolicy {
    /// Creates a second order. The default, because it is the costlier surprise.
    #[default]
    Accept,
    /// Answers 409 and creates nothing.
    Refuse,
}

/// The only client that gets tokens.
#[derive(Clone)]
pub struct Credentials {
    /// Client id of the token call.
    pub client_id: String,
    /// Client secret of the token call.
    pub client_secret: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

/// Options of an emulator.
#[derive(Clone, Debug)]
pub struct EmulatorOptions {
    /// Seed of all values that look random.
    pub seed: u64,
    /// Fault rules for calls and connections.
    pub faults: FaultRules,
    /// Treatment of used order numbers.
    pub duplicates: DuplicatePolicy,
    /// Factor on the published rate limits; a bucket holds at least one call.
    pub limit_scale: f64,
    /// Clock of orders, tokens and limits.
    pub clock: EmulatorClock,
    /// The client that gets tokens; `None` accepts any non-empty client id and secret. Every client id is an account
    /// with its own orders and limits; stock is shared.
    pub credentials: Option<Credentials>,
    /// Target of intents to cancel; the control API can change it.
    pub webhook: Option<WebhookTarget>,
}

impl Default for EmulatorOptions {
    /// Seed 0, no faults, duplicates accepted, published limits, the machine's clock, any credentials, no webhook.
    fn default() -> Self {
        Self {
            seed: 0,
            faults: FaultRules::default(),
            duplicates: DuplicatePolicy::default(),
            limit_scale: 1.0,
            clock: EmulatorClock::wall(),
            credentials: None,
            webhook: None,
        }
    }
}

/// A connection that ended without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DroppedCall {
    /// The call may have been executed; only `GET requests` and [`records`] know.
    #[error("the connection was dropped")]
    Interrupted,
    /// The call was not executed, and the protocol says so: GOAWAY with a last stream below the call's.
    #[error("the connection was shut down before the call was worked on")]
    NotSent,
}

/// An emulated Walmart. Clones share their state.
#[derive(Clone)]
pub struct Emulator(Arc<EmulatorShared>);

impl fmt::Debug for Emulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Emulator")
    }
}

pub(crate) struct EmulatorShared {
    options: EmulatorOptions,
    state: Mutex<EmulatorState>,
}

struct EmulatorState {
    clock: AdjustedClock,
    tokens: IssuedTokens,
    limits: TokenBuckets,
    faults: Injector,
    magic: magic::UsedMagic,
    world: World,
    seller: SellerBook,
    market_returns: MarketBook,
    mcs_returns: McsReturnBook,
    intents: IntentPoster,
    subscriptions: SubscriptionBook,
    journal: Journal,
}

impl Emulator {
    /// Creates an emulator in the initial state of `docs/EMULATOR.md`.
    pub fn new(options: EmulatorOptions) -> Self {
        let state = Mutex::new(EmulatorState::new(&options));
        Self(Arc::new(EmulatorShared { options, state }))
    }

    /// Executes a call. The reply has the answer and its time.
    fn begin(&self, request: Request<Bytes>) -> TimedReply {
        routes::answer(&self.0, request)
    }

    /// Whether a newly accepted connection hangs.
    fn hangs_connection(&self) -> bool {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner).faults.hangs_connection()
    }

    /// Posts an intent to cancel at every interval, about the open orders in turn; none while there is no webhook or no
    /// open order. Ends at once with `stop`.
    pub async fn post_intents(&self, every: Duration, stop: CancellationToken) {
        let posting = async {
            loop {
                tokio::time::sleep(every).await;
                let round = {
                    let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
                    state.make_intents(self.0.options.seed, &IntentRequest { count: 1, ..IntentRequest::default() })
                };
                if let Ok(round) = round {
                    round.post().await;
                }
            }
        };
        stop.run_until_cancelled(posting).await;
    }
}

impl tower::Service<Request<Bytes>> for Emulator {
    type Response = Response<Bytes>;
    type Error = DroppedCall;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Bytes>, DroppedCall>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DroppedCall>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let reply = self.begin(request);
        Box::pin(async move {
            match reply.when_due().await {
                Ok(response) => Ok(response),
                Err(AnswerLoss::Closed) => Err(DroppedCall::Interrupted),
                Err(AnswerLoss::TurnedAway) => Err(DroppedCall::NotSent),
                // A half-dead connection: only the caller's own timeout ends the call.
                Err(AnswerLoss::Silent) => std::future::pending().await,
            }
        })
    }
}

impl EmulatorState {
    /// Makes the delivered order of a magic number when a return of it is first named.
    fn conjure_delivered(&mut self, number: &str, now: Timestamp) {
        if number.starts_with("MAGIC-DELIVERED-") && self.world.numbered(number).next().is_none() {
            self.world.preload(delivered_order(number, DELIVERED_UNITS, now));
        }
    }

    fn make_intents(&mut self, seed: u64, wish: &IntentRequest) -> Result<DeliveryRound, IntentRefusal> {
        let now = self.clock.now();
        self.intents.make(&self.world, &self.subscriptions, seed, now, wish)
    }

    /// Posts what happened to the subscriptions of it.
    fn post_events(&mut self, seed: u64, events: &[EmulatedEvent]) {
        let now = self.clock.now();
        self.intents.happened(events, &self.subscriptions, seed, now).post_in_background();
    }

    fn new(options: &EmulatorOptions) -> Self {
        let clock = AdjustedClock::new(options.clock.clone());
        let now = clock.now();
        let mut world = World::default();
        for (sku, units) in magic::stock() {
            world.set_stock(sku, units);
        }
        world.preload(seed_order(&clock));
        world.preload(delivered_order("acme000123", 5, now));
        Self {
            clock,
            tokens: IssuedTokens::default(),
            limits: TokenBuckets::new(options.limit_scale),
            faults: Injector::new(options.faults.clone(), options.seed),
            magic: magic::UsedMagic::default(),
            world,
            seller: SellerBook::seeded(now),
            market_returns: MarketBook::seeded(now),
            mcs_returns: McsReturnBook::default(),
            intents: IntentPoster::new(options.webhook.clone()),
            subscriptions: SubscriptionBook::default(),
            journal: Journal::default(),
        }
    }
}

/// A delivered Multichannel order of one line, of which units can be returned.
fn delivered_order(number: &str, units: u64, now: Timestamp) -> Order {
    let hours_ago = |hours| now.saturating_sub(jiff::SignedDuration::from_hours(hours)).unwrap_or(now);
    let (ordered, shipped) = (hours_ago(240), hours_ago(120));
    Order {
        account: None,
        number: number.to_owned(),
        channel: "ORDER_CHANNEL_ID".to_owned(),
        accepted: ordered,
        placed: ordered.to_string(),
        buyer: "A B".to_owned(),
        email: "no-reply@emulator.invalid".to_owned(),
        request_id: String::new(),
        lines: vec![Line {
            id: "1".to_owned(),
            sku: "MUG-RED-12".to_owned(),
            description: "Red mug".to_owned(),
            method: "STANDARD".to_owned(),
            address: serde_json::json!({"line1": "100 Main St", "city": "San Francisco", "state": "CA",
                "country": "US", "zip": "94103"}),
            ordered: units,
            cancellations: Vec::new(),
            parcels: vec![ShippedParcel {
                quantity: units,
                shipped,
                carrier: "FedEx".to_owned(),
                tracking: "TRACK-ACME".to_owned(),
                shipment: "SHIP-ACME".to_owned(),
            }],
        }],
    }
}

/// The order that seed 000 cancels. Its age grows only through `clock/advance`, until the first change of the order.
fn seed_order(clock: &AdjustedClock) -> Order {
    let now = clock.now();
    Order {
        account: None,
        number: "sellername001ABC123".to_owned(),
        channel: "ORDER_CHANNEL_ID".to_owned(),
        accepted: now,
        placed: now.to_string(),
        buyer: "A B".to_owned(),
        email: "no-reply@emulator.invalid".to_owned(),
        request_id: String::new(),
        lines: vec![Line {
            id: "1232456".to_owned(),
            sku: "SKU-1".to_owned(),
            description: "Example product description".to_owned(),
            method: "STANDARD".to_owned(),
            address: serde_json::json!({"line1": "100 Main St", "city": "San Francisco", "state": "CA",
                "country": "US", "zip": "94103"}),
            ordered: 2,
            cancellations: Vec::new(),
            parcels: Vec::new(),
        }],
    }
}
