//! What GetStatus makes of each state.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::*;
use crate::domain::account::{AccountId, AccountIndex};
use crate::domain::ledger::EntryState;
use crate::ports::call::CallContext;
use crate::ports::overview::UpstreamOverview;
use crate::service::{AccountDirectory, BackfillState, Mutations, SettingsState, WebhookChecks};
use crate::testing::feed::{START, TestFeed, anyone, feed, limited};
use crate::testing::feed_store::FaultyFeed;
use crate::testing::ledger::{Faulty, batch, creation, put};
use crate::testing::walmart::{Walmart, call, mutations, over};

/// Account n is in the n-th state.
struct States;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

impl UpstreamOverview for States {
    fn token(&self, account: AccountIndex) -> TokenView {
        [TokenView::None, TokenView::Valid(at(1)), TokenView::Expired(at(2)), TokenView::Failed(at(3))][account.0]
    }

    fn token_failure(&self, account: AccountIndex) -> Option<TokenFailure> {
        (account.0 == 3).then(|| TokenFailure {
            time: at(6),
            kind: TokenFailureKind::EdgeRefused,
            http_status: Some(403),
            said: "Access Denied".into(),
            correlation_id: uuid::Uuid::from_u128(7),
        })
    }

    fn operation(&self, account: AccountIndex, _: Operation) -> OperationView {
        let circuit = [CircuitView::Closed, CircuitView::Open(at(4)), CircuitView::HalfOpen, CircuitView::Closed];
        let next_token = (account.0 == 1).then(|| at(5));
        OperationView { limit_per_minute: 20, tokens: 1.999, next_token, circuit: circuit[account.0] }
    }
}

fn gateway<L: Ledger>(
    directory: AccountDirectory,
    mutations: Mutations<Walmart, L>,
) -> GatewayRpcs<Walmart, L, FaultyFeed> {
    over_feed(&feed(), directory, mutations)
}

fn over_feed<L: Ledger>(
    feed: &TestFeed,
    directory: AccountDirectory,
    mutations: Mutations<Walmart, L>,
) -> GatewayRpcs<Walmart, L, FaultyFeed> {
    let (feed, clock_watch) = (feed.feed.clone(), feed.clock_watch.clone());
    let (overview, operations) = (Arc::new(States), Operations::new(mutations));
    let (start_time, settings) = (at(0), SettingsState::new(at(0)));
    let backfill = BackfillState::default();
    let status = GatewayStatus {
        directory,
        overview,
        operations: operations.clone(),
        feed,
        webhooks: WebhookChecks::default(),
        backfill,
        clock_watch,
        settings,
        start_time,
    };
    GatewayRpcs { status, operations }
}

fn request<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(call(Duration::from_secs(60)));
    request
}

async fn status(account: &str) -> Result<pb::GetStatusResponse, Status> {
    let ids = ["a", "b", "c", "d"].map(|id| AccountId::new(id).unwrap());
    let gateway = gateway(AccountDirectory::of_ids(ids), mutations(&Walmart::default(), 20));
    let mut request = Request::new(pb::GetStatusRequest { account: account.into(), ..Default::default() });
    request.extensions_mut().insert(call(Duration::ZERO));
    gateway.get_status(request).await.map(Response::into_inner)
}

#[tokio::test]
async fn every_state_is_told() {
    let all = status("").await.unwrap();
    assert_eq!(Vec::from_iter(all.accounts.iter().map(|a| a.account.as_str())), ["a", "b", "c", "d"]);
    let tokens: Vec<_> = all.accounts.iter().map(|account| account.token.clone().unwrap()).collect();
    let seconds = |time: Option<prost_types::Timestamp>| time.map(|time| time.seconds);
    assert_eq!(
        Vec::from_iter(tokens.iter().map(|t| (t.state(), seconds(t.expire_time), seconds(t.retry_time)))),
        [
            (pb::TokenState::None, None, None),
            (pb::TokenState::Valid, Some(1), None),
            (pb::TokenState::Expired, Some(2), None),
            (pb::TokenState::Failed, None, Some(3)),
        ]
    );
    assert_eq!(tokens[..3].iter().find(|token| token.last_failure.is_some()), None);
    let failure = tokens[3].last_failure.clone().unwrap();
    assert_eq!((failure.kind(), failure.http_status), (pb::TokenFailureKind::EdgeRefused, 403));
    assert_eq!((failure.said.as_str(), seconds(failure.time)), ("Access Denied", Some(6)));
    assert!(failure.correlation_id.ends_with("-000000000007"));
    for account in &all.accounts {
        let names = Vec::from_iter(account.operations.iter().map(|o| o.operation.as_str()));
        assert_eq!(names, Operation::ALL.map(Operation::name));
    }
    let circuits = all.accounts.iter().map(|a| &a.operations[0]);
    assert_eq!(
        Vec::from_iter(circuits.map(|o| (o.circuit(), seconds(o.probe_time), seconds(o.next_token_time)))),
        [
            (pb::CircuitState::Closed, None, None),
            (pb::CircuitState::Open, Some(4), Some(5)),
            (pb::CircuitState::HalfOpen, None, None),
            (pb::CircuitState::Closed, None, None),
        ]
    );
    // Never more than there are.
    assert_eq!(all.accounts[0].operations[0].tokens, 1.99);
}

#[tokio::test]
async fn one_account_can_be_named() {
    let one = status("b").await.unwrap();
    assert_eq!((one.accounts.len(), one.accounts[0].account.as_str()), (1, "b"));
    assert_eq!(status("x").await.unwrap_err().code(), tonic::Code::NotFound);
}

#[tokio::test(start_paused = true)]
async fn the_clock_is_told_and_confirmed_by_who_sees_every_account() {
    let feed = feed();
    let gateway = over_feed(&feed, two(), mutations(&Walmart::default(), 20));
    let ask = async |confirm_clock, call: CallContext| {
        let mut request = Request::new(pb::GetStatusRequest { confirm_clock, ..Default::default() });
        request.extensions_mut().insert(call);
        gateway.get_status(request).await.map(|answer| answer.into_inner().clock.unwrap())
    };
    let seconds = |time: Option<prost_types::Timestamp>| time.map(|time| time.seconds);
    let start = (START / 1000).cast_signed();
    let clock = ask(false, anyone()).await.unwrap();
    assert_eq!((seconds(clock.time), clock.steps), (Some(start), 0));
    assert_eq!((clock.last_step_time, clock.last_step, clock.trimming_paused_for), (None, None, None));

    feed.steps.back(Duration::from_millis(90_500));
    let clock = ask(false, limited(&[0, 1])).await.unwrap();
    assert_eq!(
        (seconds(clock.time), clock.steps, seconds(clock.last_step_time)),
        (Some(start - 91), 1, Some(start - 91))
    );
    assert_eq!(clock.last_step, Some(prost_types::Duration { seconds: -90, nanos: -500_000_000 }));
    assert_eq!(clock.trimming_paused_for, Some(prost_types::Duration { seconds: 30 * 86_400, nanos: 0 }));

    let refused = ask(true, limited(&[0, 1])).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::PermissionDenied);
    assert!(feed.clock_watch.trim_time().is_none());
    assert_eq!(ask(true, anyone()).await.unwrap().trimming_paused_for, None);
    assert!(feed.clock_watch.trim_time().is_some());
}

fn two() -> AccountDirectory {
    AccountDirectory::of_ids(["acme", "other"].map(|id| AccountId::new(id).unwrap()))
}

#[tokio::test(start_paused = true)]
async fn the_ledger_is_counted_by_state_and_its_failure_hides_nothing_else() {
    let ledger = Faulty::default();
    let gateway = gateway(two(), over(&Walmart::default(), ledger.clone(), 20));
    let now = crate::domain::timestamp::Timestamp(1_700_000_000_000);
    put(&ledger, vec![creation("acme", "SO1", now)]).await;
    put(
        &ledger,
        (0..2)
            .map(|i| batch("c", i, 2, if i == 0 { EntryState::Sending } else { EntryState::Recorded }, now))
            .collect(),
    )
    .await;
    let answer = gateway.get_status(request(Default::default())).await.unwrap().into_inner();
    let counts = answer.accounts[0].ledger.iter().map(|count| (count.state(), count.count));
    assert_eq!(Vec::from_iter(counts), [(pb::OperationState::Recorded, 1), (pb::OperationState::Sending, 2)]);
    assert_eq!(answer.accounts[0].ledger[0].oldest_create_time.unwrap().seconds, 1_700_000_000);
    assert!(answer.accounts[1].ledger.is_empty());
    ledger.fail(true, true);
    let answer = gateway.get_status(request(Default::default())).await.unwrap().into_inner();
    assert!(
        answer
            .accounts
            .iter()
            .all(|account| account.ledger.is_empty() && account.operations.len() == Operation::ALL.len())
    );
}

#[tokio::test(start_paused = true)]
async fn operations_are_shown_listed_and_resolved() {
    let ledger = Faulty::default();
    let mutations = over(&Walmart::default(), ledger.clone(), 20);
    let now = crate::domain::timestamp::Timestamp(1_800_000_000_000);
    let entry = put(&ledger, vec![creation("acme", "SO1", now)]).await.remove(0);
    crate::testing::walmart::take_over(&mutations).await;
    let gateway = gateway(two(), mutations);
    let name = entry.id.to_string();
    let get = pb::GetOperationRequest { name: name.clone() };
    let shown = gateway.get_operation(request(get.clone())).await.unwrap().into_inner().operation.unwrap();
    assert_eq!((shown.name.as_str(), shown.account.as_str(), shown.order_number.as_str()), (&*name, "acme", "SO1"));
    assert_eq!((shown.state(), shown.effect()), (pb::OperationState::Unknown, pb::Effect::Unknown));
    assert_eq!((shown.kind(), shown.attempts, shown.batch_count), (pb::OperationKind::Create, 1, 1));
    let (made, next) = (shown.create_time.unwrap(), shown.next_lookup_time.unwrap());
    assert_eq!((next.seconds - made.seconds, next.nanos), (0, 500_000_000));
    let list = pb::ListOperationsRequest { states: vec![pb::OperationState::Unknown.into()], ..Default::default() };
    let listed = gateway.list_operations(request(list)).await.unwrap().into_inner();
    assert_eq!((listed.operations, listed.next_page_token), (vec![shown], String::new()));
    let list = pb::ListOperationsRequest {
        states: vec![0, 99],
        min_age: Some(prost_types::Duration { seconds: -1, nanos: 0 }),
        ..Default::default()
    };
    let refused = gateway.list_operations(request(list)).await.unwrap_err();
    let faults = tonic_types::StatusExt::get_details_bad_request(&refused).unwrap().field_violations;
    assert_eq!(Vec::from_iter(faults.iter().map(|v| v.field.as_str())), ["states[0]", "states[1]", "min_age"]);
    let resolve = |outcome: i32| pb::ResolveOperationRequest { name: name.clone(), outcome, reason: "seen".into() };
    for unset in [0, 99] {
        let refused = gateway.resolve_operation(request(resolve(unset))).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    }
    let rejected = resolve(pb::ResolveOutcome::Rejected.into());
    let done = gateway.resolve_operation(request(rejected.clone())).await.unwrap().into_inner().operation.unwrap();
    assert_eq!((done.state(), done.resolution.as_str()), (pb::OperationState::Rejected, "seen"));
    let closed = gateway.resolve_operation(request(rejected)).await.unwrap_err();
    assert_eq!(closed.code(), tonic::Code::FailedPrecondition);
    let missing = pb::GetOperationRequest { name: "operations/99".into() };
    assert_eq!(gateway.get_operation(request(missing)).await.unwrap_err().code(), tonic::Code::NotFound);
}
