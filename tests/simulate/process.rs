//! One process: the use cases over the outbound stack, put together as `app` does it, on the clocks of the simulation.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;
use order_gateway::domain::account::{AccountId, SellerId};
use order_gateway::domain::ledger::machine::LedgerRules;
use order_gateway::domain::moment::{BootId, SteadyTime};
use order_gateway::pb::HeaderAttributes;
use order_gateway::ports::call::{CallContext, CallPurpose, CallRecord, Caller};
use order_gateway::ports::clock::{Clock, WallSteps};
use order_gateway::ports::random::Random;
use order_gateway::service::{
    AccountDirectory, CancelOrder, ClockWatch, CreateOrder, GetOrderStatus, MutationSettings, Mutations, Operations,
    Resolver, ReturnOrders, SellerOrders,
};
use order_gateway::shutdown::OnceEvent;
use order_gateway::telemetry::metrics::Metrics;
use order_gateway::telemetry::trace::{TraceContext, Tracer};
use order_gateway::upstream::accounts::{ClientCredentials, UpstreamAccount, UpstreamAccounts};
use order_gateway::upstream::client::RestUpstream;
use order_gateway::upstream::layers::circuit::AccountCircuits;
use order_gateway::upstream::layers::rate_limit::AccountBuckets;
use order_gateway::upstream::token::TokenCache;
use order_gateway::upstream::transport::Endpoint;
use order_gateway::upstream::{StackResources, StackSettings};
use secrecy::SecretString;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::network::Network;
use crate::plan::{ACCOUNTS, EPOCH, Life, Settings};
use crate::store::SimulatedLedger;
use crate::world::World;

/// Final entries are kept for so long; simulations are shorter.
const RETENTION: Duration = Duration::from_secs(30 * 24 * 3_600);
const MAX_IN_FLIGHT: usize = 1_024;

type Upstream = RestUpstream<Network>;

/// What callers reach of a process.
#[derive(Clone)]
pub(crate) struct Process {
    pub(crate) create: CreateOrder<Upstream, SimulatedLedger>,
    pub(crate) cancel: CancelOrder<Upstream, SimulatedLedger>,
    pub(crate) status: GetOrderStatus<Upstream>,
    pub(crate) seller_orders: SellerOrders<Upstream, SimulatedLedger>,
    pub(crate) returns: ReturnOrders<Upstream, SimulatedLedger>,
    pub(crate) operations: Operations<Upstream, SimulatedLedger>,
    pub(crate) wall: WallSteps,
}

impl Process {
    /// Starts one, in the runtime of the caller.
    pub(crate) async fn start(world: &World, ledger: &SimulatedLedger, life: &Life) -> Result<Self, String> {
        let settings = &world.plan().settings;
        let (clock, wall) = clocks(world, life);
        let random = Random::from_seed(world.random().next_u64());
        let metrics = Arc::new(Metrics::new([]));
        let clock_watch = ClockWatch::new(clock, RETENTION, metrics.clock.clone());
        let upstream = upstream(world, settings, clock, &random, &metrics)?;
        let ids = ACCOUNTS.iter().map(|id| AccountId::new(*id)).collect::<Result<Vec<_>, _>>();
        let ids = ids.map_err(|error| error.to_string())?;
        let directory = AccountDirectory::new(ids.into_iter().map(|id| (SellerId::new(id.as_str()), id)));
        let rules = LedgerRules {
            settle_window: settings.settle_window,
            lookup_delays: settings.lookup_delays.clone(),
            not_after: settings.not_after,
        };
        let of_mutations = MutationSettings {
            rules,
            status_limit: settings.status_limit,
            look_first_until: None,
            tracer: Tracer::off(),
            closing: OnceEvent::default(),
        };
        let mutations =
            Mutations::new(upstream.clone(), ledger.clone(), directory.clone(), of_mutations, clock, random, metrics);
        // The process before has ended.
        ledger.kept.restart();
        // Ends with the runtime.
        let (tasks, stopping) = (TaskTracker::new(), CancellationToken::new());
        tasks.spawn(clock_watch.clone().run(ledger.clone(), stopping.clone()));
        mutations.take_over(&tasks, stopping.clone()).await;
        let resolver = Resolver::new(mutations.clone(), RETENTION, tasks.clone()).with_clock_watch(clock_watch);
        tasks.spawn(resolver.run(stopping));
        Ok(Self {
            create: CreateOrder::new(mutations.clone(), tasks.clone()),
            cancel: CancelOrder::new(mutations.clone(), tasks.clone()),
            status: GetOrderStatus::new(directory, upstream.clone()),
            seller_orders: SellerOrders::new(upstream.clone(), mutations.clone(), tasks.clone()),
            returns: ReturnOrders::new(upstream, mutations.clone(), tasks),
            operations: Operations::new(mutations),
            wall,
        })
    }
}

/// A call of somebody who may do everything.
pub(crate) fn context(deadline: Duration) -> CallContext {
    CallContext {
        deadline: Instant::now() + deadline,
        trace: TraceContext { trace_id: 1, span_id: 1, sampled: false, state: None },
        facts: CallRecord::of(Caller::anonymous()),
        purpose: CallPurpose::Caller,
    }
}

/// The machine's clocks, as the process finds them.
fn clocks(world: &World, life: &Life) -> (Clock, WallSteps) {
    let ahead = world.plan().wall_ahead(life.start);
    let right: SystemTime = UNIX_EPOCH + Duration::from_millis(EPOCH) + life.start;
    let steady = (life.start - life.booted).as_millis() as u64;
    let boot = BootId([life.boot + 1; 16]);
    let span = Duration::from_millis(ahead.unsigned_abs());
    let wall = if ahead < 0 { right - span } else { right + span };
    // A machine has been up for a while when the first process starts.
    Clock::stepping(wall, boot, SteadyTime(3_600_000 + steady))
}

fn upstream(
    world: &World,
    settings: &Settings,
    clock: Clock,
    random: &Random,
    metrics: &Arc<Metrics>,
) -> Result<Upstream, String> {
    let account = |id: &str| {
        let client_secret = SecretString::from("secret").into();
        let credentials = ClientCredentials { client_id: id.into(), client_secret, refresh: None };
        Ok(UpstreamAccount {
            id: AccountId::new(id).map_err(|error| error.to_string())?,
            header: HeaderAttributes { mart_id: Some("202".into()), bu_id: Some("0".into()), ..Default::default() },
            mart_id: HeaderValue::from_static("202"),
            bu_id: HeaderValue::from_static("0"),
            channel_type: None,
            credentials: Arc::new(move || credentials.clone()),
        })
    };
    let accounts = UpstreamAccounts::new(ACCOUNTS.iter().map(|id| account(id)).collect::<Result<_, String>>()?);
    let base = http::Uri::from_static("https://walmart.example");
    let name = HeaderValue::from_static("Walmart Marketplace");
    let endpoint = Endpoint::new(&base, name, false, accounts.clone(), Tracer::off())?;
    let network = Network::new(world.clone());
    let shared = StackResources {
        buckets: AccountBuckets::new(|operation| settings.limit(operation)),
        circuits: AccountCircuits::new(&accounts, metrics),
        tokens: TokenCache::new(
            network.clone(),
            endpoint.clone(),
            clock,
            random.clone(),
            metrics.clone(),
            settings.attempt_timeout,
        ),
        endpoint,
        metrics: metrics.clone(),
    };
    let stack =
        StackSettings { max_in_flight: MAX_IN_FLIGHT, max_attempts: 3, attempt_timeout: settings.attempt_timeout };
    Ok(RestUpstream::new(network, stack, shared, clock, random.clone()))
}
