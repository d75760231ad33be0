//! The JSON of the status page. Times are milliseconds since 1970. A part is `null` when the store could not be read.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use serde::Serialize;

use super::StatusPage;
use crate::config::GrpcListen;
use crate::domain::account::AccountId;
use crate::domain::feed::FeedName;
use crate::domain::ledger::{Entry, EntryState};
use crate::domain::operation::Operation;
use crate::domain::timestamp::Timestamp;
use crate::pb;
use crate::ports::clock::Clock;
use crate::ports::overview::{self, CircuitView, OperationView, TokenView};
use crate::service::feed::{EventIds, FeedState, SubscriptionState};
use crate::service::{AccountState, BoardRows, StatusBoard};
use crate::telemetry::last_hour::MinuteOfCalls;
use crate::telemetry::metrics::{AccountWebhooks, DeliveryOutcome};
use crate::telemetry::recent::RecentFailure;
use crate::telemetry::trace::code_name;

/// Accounts on the page.
const ACCOUNTS: usize = 100;
/// Longest text chosen by a stranger, in characters.
const TEXT: usize = 120;

#[derive(Serialize)]
struct PageView<'a> {
    time: u64,
    version: &'static str,
    start_time: u64,
    stage: &'static str,
    checks: Vec<CheckRow>,
    grpc: GrpcRow,
    accounts: FirstRows<AccountRow>,
    operations: Option<FirstRows<MutationRow>>,
    feed: Option<FeedRow>,
    order_updates: Option<FeedRow>,
    intents: Option<Vec<IntentRow>>,
    subscriptions: Option<SubscriptionRows>,
    errors: Vec<FailureRow<'a>>,
    hour: HourRow,
}

/// The last hour, a value for each minute, oldest first. The current minute is the last value.
#[derive(Serialize)]
struct HourRow {
    calls: Vec<u64>,
    failures: BTreeMap<Cow<'static, str>, Vec<u64>>,
    /// Milliseconds that half of the unary calls took at most.
    p50: Vec<Option<f64>>,
    /// Milliseconds that 99 % of the unary calls took at most.
    p99: Vec<Option<f64>>,
    /// Level of the emptiest account's bucket, from 0 to 1, by operation.
    levels: BTreeMap<&'static str, Vec<Option<f64>>>,
}

/// The first rows of a list, and the number of rows left out.
#[derive(Serialize)]
struct FirstRows<T> {
    rows: Vec<T>,
    more: u64,
}

#[derive(Serialize)]
struct CheckRow {
    name: &'static str,
    failing: Option<String>,
}

#[derive(Serialize)]
struct GrpcRow {
    /// `None` when the listener has all addresses of the machine; a Unix socket's address is whole, without a port.
    host: Option<String>,
    port: Option<u16>,
    tls: bool,
    clients: bool,
}

#[derive(Serialize)]
struct AccountRow {
    account: String,
    token: TokenRow,
    operations: Vec<OperationRow>,
    ledger: Option<Vec<StateCountRow>>,
    webhooks: Option<BTreeMap<&'static str, u64>>,
}

#[derive(Serialize)]
struct TokenRow {
    state: &'static str,
    /// The end of the token; for a failed token, the time of the next attempt.
    time: Option<u64>,
    /// The cause of the last failed attempt.
    failure: Option<TokenFailureRow>,
}

#[derive(Serialize)]
struct TokenFailureRow {
    kind: &'static str,
    http_status: Option<u16>,
}

#[derive(Serialize)]
struct OperationRow {
    operation: &'static str,
    limit_per_minute: u32,
    tokens: f64,
    next_token_time: Option<u64>,
    circuit: &'static str,
    probe_time: Option<u64>,
}

#[derive(Serialize)]
struct StateCountRow {
    state: &'static str,
    count: u64,
    oldest: Option<u64>,
}

#[derive(Serialize)]
struct MutationRow {
    name: String,
    account: String,
    kind: &'static str,
    order_number: String,
    batch: u32,
    batches: u32,
    state: &'static str,
    created: u64,
    attempts: u32,
    last_error: String,
    next_lookup: Option<u64>,
}

#[derive(Serialize)]
struct FeedRow {
    log_id: String,
    first: u64,
    head: u64,
    kept: u64,
    open_streams: u64,
}

#[derive(Serialize)]
struct IntentRow {
    seq: u64,
    event_id: String,
    account: String,
    purchase_order_id: String,
    event_type: String,
    received: u64,
}

#[derive(Serialize)]
struct SubscriptionRows {
    rows: Vec<SubscriptionRow>,
    more: bool,
}

#[derive(Serialize)]
struct SubscriptionRow {
    name: String,
    feed: &'static str,
    state: &'static str,
    backlog: u64,
    oldest: Option<u64>,
    outstanding: u64,
    parked: u64,
    consumers: u64,
}

#[derive(Serialize)]
struct FailureRow<'a> {
    last: u64,
    first: u64,
    count: u64,
    method: &'static str,
    code: &'static str,
    reason: Option<&'a str>,
    account: Option<&'a str>,
    correlation_id: Option<String>,
}

/// Encodes the state as JSON.
pub(super) fn json<U, L, F>(page: &StatusPage<U, L, F>, board: StatusBoard) -> Vec<u8> {
    let StatusPage { status, probes, metrics, webhooks, grpc: endpoint, clock } = page;
    let failures = metrics.recent.all();
    let unresolved = [EntryState::NeedsOperator, EntryState::Unknown];
    let counted = |account: &AccountState| unresolved.map(|state| account.count(state)).iter().sum::<u64>();
    let total = board.accounts.iter().map(counted).sum::<u64>();
    let view = PageView {
        time: millis(clock.now()),
        version: env!("CARGO_PKG_VERSION"),
        start_time: millis(status.start_time),
        stage: probes.stage().name(),
        checks: probes.checks().map(|(name, failing)| CheckRow { name, failing }).collect(),
        grpc: GrpcRow {
            host: match &endpoint.listen {
                GrpcListen::Tcp(address) if address.ip().is_unspecified() => None,
                GrpcListen::Tcp(address) => Some(address.ip().to_string()),
                unix @ GrpcListen::Unix(_) => Some(unix.to_string()),
            },
            port: endpoint.listen.address().map(|address| address.port()),
            tls: endpoint.tls,
            clients: endpoint.clients,
        },
        operations: board.unresolved.as_deref().map(|entries| mutations(entries, total)),
        feed: board.feed.as_ref().map(|state| feed(state, FeedName::CancelIntents)),
        order_updates: board.feed.as_ref().map(|state| feed(state, FeedName::OrderUpdates)),
        subscriptions: board.feed.as_ref().map(|feed| SubscriptionRows {
            rows: feed.subscriptions.iter().map(subscription).collect(),
            more: feed.more,
        }),
        intents: board.intents.map(|events| events.into_iter().rev().map(intent).collect()),
        errors: failures.iter().map(|failure| error(failure, clock)).collect(),
        accounts: accounts(board.accounts, &webhooks.0.load()),
        hour: hour(&metrics.last_hour.minutes()),
    };
    // Serialization cannot fail: the view has texts, numbers and string keys. The page reports an empty answer as a
    // failure.
    serde_json::to_vec(&view).unwrap_or_default()
}

/// The first accounts. If some are left out, accounts in trouble come first.
fn accounts(mut states: Vec<AccountState>, webhooks: &[(AccountId, AccountWebhooks)]) -> FirstRows<AccountRow> {
    let more = states.len().saturating_sub(ACCOUNTS);
    if more > 0 {
        states.sort_by_key(|state| !is_in_trouble(state));
        states.truncate(ACCOUNTS);
    }
    let of = |state: AccountState| {
        let counts = webhooks.iter().find(|(id, _)| *id == state.id).map(|(_, counts)| counts);
        account(state, counts)
    };
    FirstRows { rows: states.into_iter().map(of).collect(), more: more as u64 }
}

fn is_in_trouble(state: &AccountState) -> bool {
    matches!(state.token, TokenView::Failed(_))
        || state.operations.iter().any(|(_, view)| view.circuit != CircuitView::Closed)
        || state.count(EntryState::NeedsOperator) > 0
}

fn account(state: AccountState, webhooks: Option<&AccountWebhooks>) -> AccountRow {
    let counted = |counts: &AccountWebhooks| {
        let some = DeliveryOutcome::ALL.map(|outcome| (outcome.name(), counts.counted(outcome)));
        some.into_iter().filter(|(_, count)| *count > 0).collect()
    };
    let count = |count: &crate::ports::ledger::EntryCount| StateCountRow {
        state: count.state.name(),
        count: count.entries,
        oldest: count.oldest.map(|time| time.0),
    };
    AccountRow {
        account: state.id.to_string(),
        token: token(state.token, state.token_failure.as_ref()),
        operations: state.operations.into_iter().map(|(operation, view)| bucket(operation, view)).collect(),
        ledger: state.ledger.map(|counts| counts.iter().map(count).collect()),
        webhooks: webhooks.map(counted),
    }
}

fn token(view: TokenView, failure: Option<&overview::TokenFailure>) -> TokenRow {
    let (state, time) = match view {
        TokenView::None => ("none", None),
        TokenView::Valid(until) => ("valid", Some(until)),
        TokenView::Expired(since) => ("expired", Some(since)),
        TokenView::Failed(retry) => ("failed", Some(retry)),
    };
    let failure =
        failure.map(|failure| TokenFailureRow { kind: failure.kind.name(), http_status: failure.http_status });
    TokenRow { state, time: time.map(millis), failure }
}

fn bucket(operation: Operation, view: OperationView) -> OperationRow {
    let (circuit, probe) = match view.circuit {
        CircuitView::Closed => ("closed", None),
        CircuitView::Open(until) => ("open", Some(until)),
        CircuitView::HalfOpen => ("half_open", None),
    };
    OperationRow {
        operation: operation.name(),
        limit_per_minute: view.limit_per_minute,
        tokens: (view.tokens * 10.0).floor() / 10.0,
        next_token_time: view.next_token.map(millis),
        circuit,
        probe_time: probe.map(millis),
    }
}

/// `total` is the number of operations with unknown outcome, counted at almost the same time. Of the long-open
/// operations only `entries` were read: the number left out is a lower bound.
fn mutations(entries: &[Entry], total: u64) -> FirstRows<MutationRow> {
    let shown = &entries[..entries.len().min(BoardRows::OPERATIONS)];
    let counted = shown.iter().filter(|entry| matches!(entry.state, EntryState::NeedsOperator | EntryState::Unknown));
    let more = total.saturating_sub(counted.count() as u64).max((entries.len() - shown.len()) as u64);
    FirstRows { rows: shown.iter().map(mutation).collect(), more }
}

fn mutation(entry: &Entry) -> MutationRow {
    MutationRow {
        name: entry.id.to_string(),
        account: entry.account.to_string(),
        kind: entry.kind.operation().name(),
        order_number: cut(&entry.order_number),
        batch: entry.batch,
        batches: entry.batches,
        state: entry.state.name(),
        created: entry.created.0,
        attempts: entry.attempts,
        last_error: cut(&entry.last_error),
        next_lookup: entry.next.map(|next| next.wall.0),
    }
}

fn feed(state: &FeedState, name: FeedName) -> FeedRow {
    let bounds = state.bounds.of(name);
    let (first, head) = (bounds.first, bounds.head);
    FeedRow {
        log_id: bounds.log.to_string(),
        first,
        head,
        kept: (head + 1).saturating_sub(first),
        open_streams: *state.open_streams.of(name),
    }
}

fn intent(event: EventIds) -> IntentRow {
    let name = if event.sub_event_type.is_empty() {
        event.event_type
    } else {
        format!("{} / {}", event.event_type, event.sub_event_type)
    };
    IntentRow {
        seq: event.seq,
        event_id: cut(&event.event_id),
        account: event.account,
        purchase_order_id: cut(&event.purchase_order_id),
        event_type: cut(&name),
        received: event.received.0,
    }
}

fn subscription(state: &SubscriptionState) -> SubscriptionRow {
    SubscriptionRow {
        name: state.shown.name.clone(),
        feed: state.feed.name(),
        state: match state.shown.state() {
            pb::SubscriptionState::Unspecified => "unspecified",
            pb::SubscriptionState::Active => "active",
            pb::SubscriptionState::Paused => "paused",
            pb::SubscriptionState::LostEvents => "lost_events",
        },
        backlog: state.shown.backlog,
        oldest: state.oldest.map(|time| time.0),
        outstanding: state.shown.outstanding,
        parked: state.shown.parked,
        consumers: state.consumers,
    }
}

fn error<'a>(failure: &'a RecentFailure, clock: &Clock) -> FailureRow<'a> {
    FailureRow {
        last: millis(clock.at(failure.last)),
        first: millis(clock.at(failure.first)),
        count: failure.count,
        method: failure.method,
        code: code_name(failure.code),
        reason: failure.reason.as_deref(),
        account: failure.account.as_deref(),
        correlation_id: failure.correlation_id.map(|id| id.to_string()),
    }
}

fn hour(minutes: &[MinuteOfCalls]) -> HourRow {
    let percentile = |share| {
        let millis = |minute: &MinuteOfCalls| minute.percentile(share).map(|took| took.as_secs_f64() * 1e3);
        minutes.iter().map(millis).collect()
    };
    let reasons: BTreeSet<_> = minutes.iter().flat_map(|minute| minute.failures.keys()).collect();
    let failed = |reason| minutes.iter().map(|minute| minute.failures.get(reason).copied().unwrap_or(0)).collect();
    let level = |name| minutes.iter().map(|minute| minute.levels.get(name).copied()).collect();
    HourRow {
        calls: minutes.iter().map(|minute| minute.calls).collect(),
        failures: reasons.into_iter().map(|reason| (reason.clone(), failed(reason))).collect(),
        p50: percentile(0.5),
        p99: percentile(0.99),
        levels: Operation::ALL.map(|operation| (operation.name(), level(operation.name()))).into(),
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(TEXT) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

fn millis(time: SystemTime) -> u64 {
    Timestamp::from(time).0
}
