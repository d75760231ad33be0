//! What goes on without a caller, and how often Walmart is asked for it.

use prost::Message as _;
use serde_json::json;

use super::super::look_up::LookupResult;
use super::*;
use crate::domain::ledger::evidence::{AbsenceProof, Evidence};
use crate::domain::ledger::machine::{EntryEvent, LookedUpBy};
use crate::domain::ledger::{MutationKind, UnknownSince};
use crate::domain::moment::{Moment, SteadyTime};
use crate::domain::mutations::settlement_of;
use crate::domain::operation::Operation::{Create, Status};
use crate::pb::{CreateOrderRequest, OrderStatus};
use crate::ports::upstream::{ErrorKind, UpstreamError};
use crate::store::memory::MemoryLedger;
use crate::telemetry::metrics::TextFormat;
use crate::testing::ledger::{Faulty, batch, creation, put};
use crate::testing::restart::Restart;
use crate::testing::walmart::{
    ACME, Answer, LATENCY, SETTLE, Said, Walmart, error, found, lost, mutations, over, refused, resolving, take_over,
};

mod audits;
mod searches;

type Work<L = MemoryLedger> = Mutations<Walmart, L>;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Creations whose outcome is unknown from now on.
async fn unknown<L: Restart>(mutations: &Work<L>, numbers: &[&str]) -> Vec<Entry> {
    let mut made = Vec::new();
    for number in numbers {
        made.extend(put(mutations.ledger(), vec![creation("acme", number, mutations.now())]).await);
    }
    take_over(mutations).await;
    made
}

async fn now<L: Ledger>(mutations: &Work<L>, entry: &Entry) -> Entry {
    mutations.ledger().get(entry.id).await.unwrap().unwrap()
}

async fn states<L: Ledger>(mutations: &Work<L>, entries: &[Entry]) -> Vec<EntryState> {
    let mut states = Vec::new();
    for entry in entries {
        states.push(now(mutations, entry).await.state);
    }
    states
}

fn absent() -> Answer {
    refused(Status, ErrorKind::NotFound, "OS_NOT_FOUND_ERROR", "")
}

/// A search that shows these, of so many that there are.
fn shown(numbers: &[&str], total: i32) -> Answer {
    let order = |number: &&str| OrderStatus { seller_order_id: (*number).into(), ..Default::default() };
    Ok(Said { orders: numbers.iter().map(order).collect(), total: Some(total), ..Default::default() })
}

fn later(wait: u64) -> Answer {
    let retry_after = Some(Duration::from_secs(wait));
    Err(UpstreamError { retry_after, ..error(Status, ErrorKind::RateLimited, crate::domain::effect::Effect::None) })
}

fn millis(times: Vec<Duration>) -> Vec<u128> {
    times.into_iter().map(|time| time.as_millis()).collect()
}

/// The value of a metric's line.
fn metric<L: Ledger>(mutations: &Work<L>, name: &str) -> f64 {
    let text = mutations.0.metrics.encode(TextFormat::Plain).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("order_gateway_{name} ")));
    line.unwrap_or_else(|| panic!("{name} in {text}")).parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn look_ups_keep_to_the_schedule_and_the_third_absence_that_counts_settles() {
    let walmart = Walmart::default();
    let mutations = mutations(&walmart, 20);
    let entry = unknown(&mutations, &["SO1"]).await.remove(0);
    let _guard = resolving(&mutations);
    tokio::time::sleep(SETTLE + LATENCY * 3).await;
    // From the first of them on, which came half a second after the loss.
    assert_eq!(millis(walmart.times(Status)), [0, 1_000, 4_500, 14_500, 29_500, 59_500, 119_500]);
    assert_eq!(millis(walmart.times(Create)), [120_500]);
    let done = now(&mutations, &entry).await;
    assert_eq!((done.state, done.attempts), (EntryState::Succeeded, 2));
    assert_eq!((metric(&mutations, "look_ups_total"), metric(&mutations, "resends_total")), (7.0, 1.0));
}

async fn told_absent(resolver: &Resolver<Walmart, MemoryLedger>, entry: Entry, at: Moment) {
    let (evidence, by) = (Evidence::Absent(AbsenceProof::EmptyList), LookedUpBy::Number);
    let settlement = settlement_of(MutationKind::Create);
    resolver.act_on(entry, settlement, LookupResult { evidence, by, asked: "order by number", at }).await;
}

#[tokio::test(start_paused = true)]
async fn an_absence_is_as_old_as_the_question() {
    // The answer to the last look-up takes it past the window; what it tells may be older.
    let walmart = Walmart::default();
    let mutations = mutations(&walmart, 20);
    let entry = unknown(&mutations, &["SO1"]).await.remove(0);
    let resolver = Resolver::new(mutations.clone(), DAY, TaskTracker::new());
    for wait in [40_000, 40_000, 39_500] {
        tokio::time::sleep(Duration::from_millis(wait)).await;
        let current = now(&mutations, &entry).await;
        let asked = mutations.moment();
        tokio::time::sleep(LATENCY).await;
        told_absent(&resolver, current, asked).await;
        tokio::time::advance(Duration::ZERO).await;
    }
    // 121.5 s have passed since the loss, and the last was asked at 121.5 s less the time of an answer.
    assert_eq!(now(&mutations, &entry).await.state, EntryState::Recorded);
    let early = unknown(&mutations, &["SO2"]).await.remove(0);
    for wait in [40_000, 40_000, 37_500] {
        tokio::time::sleep(Duration::from_millis(wait)).await;
        let current = now(&mutations, &early).await;
        let asked = mutations.moment();
        tokio::time::sleep(LATENCY).await;
        told_absent(&resolver, current, asked).await;
    }
    // Asked at 119.5 s, answered at 120.5 s.
    assert_eq!(now(&mutations, &early).await.state, EntryState::Unknown);
}

/// The account's own bucket has no permit for so long.
fn no_permit(wait: u64) -> Answer {
    later(wait).map_err(|error| UpstreamError { http_status: 0, ..error })
}

#[tokio::test(start_paused = true)]
async fn to_wait_in_line_while_others_are_served_is_no_case_for_a_person() {
    // One in doubt is answered each minute, the other finds no permit; until nobody is served any more.
    let answers = (0..4).flat_map(|_| [absent(), no_permit(60)]).chain((0..99).map(|_| no_permit(60)));
    let walmart = Walmart::default().answering(Status, answers);
    let mutations = mutations(&walmart, 20);
    let entries = unknown(&mutations, &["SO1", "SO2"]).await;
    let resolver = Resolver::new(mutations.clone(), DAY, TaskTracker::new());
    let mut states_seen = Vec::new();
    for minute in 0..8 {
        for entry in &entries {
            let current = now(&mutations, entry).await;
            resolver.look_up(DeskId::of_orders(ACME), vec![current]);
            tokio::time::sleep(LATENCY * 2).await;
        }
        states_seen.push((minute, states(&mutations, &entries).await[1]));
        tokio::time::sleep(MINUTE - LATENCY * 4).await;
    }
    let needed = states_seen.iter().find(|(_, state)| *state == EntryState::NeedsOperator).map(|(minute, _)| *minute);
    // The last answer came in minute 3; two minutes later the account has heard nothing for as long as it may.
    assert_eq!(needed, Some(5), "{states_seen:?}");
}

#[tokio::test(start_paused = true)]
async fn a_limit_postpones_and_is_no_answer() {
    let walmart = Walmart::default().answering(Status, [later(30), later(200), later(200), found("SO1")]);
    let mutations = mutations(&walmart, 20);
    let entry = unknown(&mutations, &["SO1"]).await.remove(0);
    let _guard = resolving(&mutations);
    tokio::time::sleep(LATENCY * 119).await;
    let open = now(&mutations, &entry).await;
    assert_eq!((open.state, open.unknown.unwrap().lookups), (EntryState::Unknown, 0));
    // When the last of the look-ups is over, not being able to ask is a case for a person; it is asked on.
    tokio::time::sleep(LATENCY * 3).await;
    let open = now(&mutations, &entry).await;
    assert_eq!(open.state, EntryState::NeedsOperator);
    assert!(open.next.unwrap().steady > mutations.moment().steady);
    tokio::time::sleep(LATENCY * 202).await;
    assert_eq!(now(&mutations, &entry).await.state, EntryState::Succeeded);
    assert_eq!(millis(walmart.times(Status)), [0, 31_000, 119_500, 320_500]);
}

#[tokio::test(start_paused = true)]
async fn both_forms_of_an_order_are_found() {
    let production = OrderStatus { seller_order_id: "SO1".into(), ..Default::default() };
    let sandbox = OrderStatus { order_number: "SO1".into(), ..Default::default() };
    for order in [production, sandbox] {
        let said = Said { orders: vec![order], ..Default::default() };
        let walmart = Walmart::default().answering(Status, [Ok(said)]);
        let mutations = mutations(&walmart, 20);
        let entries = unknown(&mutations, &["SO1"]).await;
        let _guard = resolving(&mutations);
        tokio::time::sleep(LATENCY * 2).await;
        assert_eq!(states(&mutations, &entries).await, [EntryState::Succeeded]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_person_is_asked_when_walmart_cannot_be_and_not_any_more_when_it_can() {
    let walmart = Walmart::default().answering(Status, (0..7).map(|_| lost(Status)));
    let mutations = mutations(&walmart, 20);
    let entries = unknown(&mutations, &["SO1"]).await;
    let _guard = resolving(&mutations);
    tokio::time::sleep(SETTLE).await;
    assert_eq!(states(&mutations, &entries).await, [EntryState::Unknown]);
    tokio::time::sleep(LATENCY * 2).await;
    assert_eq!(states(&mutations, &entries).await, [EntryState::NeedsOperator]);
    assert!(now(&mutations, &entries[0]).await.last_error.contains("Unavailable"));
    // Every five minutes from then on; the eighth is answered.
    tokio::time::sleep(MINUTE * 5).await;
    assert_eq!((states(&mutations, &entries).await, walmart.asked().len()), (vec![EntryState::NeedsOperator], 7));
    tokio::time::sleep(MINUTE * 5 + LATENCY * 2).await;
    assert_eq!(states(&mutations, &entries).await, [EntryState::Unknown]);
    assert!(!walmart.asked().contains(&Create));
}

#[tokio::test(start_paused = true)]
async fn what_waited_too_long_is_given_up() {
    let walmart = Walmart::default();
    let mutations = mutations(&walmart, 20);
    let now_ = mutations.now();
    let not_after = Moment { wall: now_, steady: SteadyTime(now_.0) };
    let late = |i| crate::domain::ledger::NewEntry { not_after, ..batch("c", i, 2, EntryState::Recorded, now_) };
    let entries = put(mutations.ledger(), vec![late(0), late(1)]).await;
    tokio::time::sleep(LATENCY).await;
    take_over(&mutations).await;
    let _guard = resolving(&mutations);
    tokio::time::sleep(LATENCY).await;
    assert_eq!(states(&mutations, &entries).await, [EntryState::Expired, EntryState::Expired]);
    assert!(walmart.asked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn old_final_entries_go_and_open_ones_stay() {
    let mutations = mutations(&Walmart::default(), 20);
    let made = put(mutations.ledger(), vec![creation("acme", "SO1", mutations.now())]).await.remove(0);
    let open = put(mutations.ledger(), vec![creation("acme", "SO2", mutations.now())]).await.remove(0);
    let done = mutations.after(made.clone(), EntryEvent::Accepted { answer: vec![] }).unwrap();
    mutations.write(&done).await.unwrap();
    let _guard = resolving(&mutations);
    tokio::time::sleep(DAY * 2).await;
    assert!(mutations.ledger().get(made.id).await.unwrap().is_some());
    tokio::time::advance(DAY * 88).await;
    tokio::time::sleep(MINUTE * 62).await;
    assert_eq!(mutations.ledger().get(made.id).await, Ok(None));
    assert!(mutations.ledger().get(open.id).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn nothing_drops_off_the_agenda_while_the_store_fails() {
    let (walmart, ledger) = (Walmart::default().answering(Status, [found("SO1")]), Faulty::default());
    let mutations = over(&walmart, ledger.clone(), 20);
    let entries = unknown(&mutations, &["SO1"]).await;
    let _guard = resolving(&mutations);
    ledger.fail(false, true);
    tokio::time::sleep(LATENCY * 10).await;
    assert!(walmart.asked().is_empty());
    // It can be read again, and its outcome not be written.
    ledger.fail(true, false);
    tokio::time::sleep(LATENCY * 10).await;
    assert_eq!(states(&mutations, &entries).await, [EntryState::Unknown]);
    ledger.fail(false, false);
    tokio::time::sleep(LATENCY * 10).await;
    assert_eq!(states(&mutations, &entries).await, [EntryState::Succeeded]);
    assert_eq!(walmart.asked(), [Status]);
}

#[tokio::test(start_paused = true)]
async fn a_bug_in_the_resolver_loses_no_entry() {
    for (at, expected) in [(1, vec![Status, Status]), (8, [vec![Status; 7], vec![Create, Status]].concat())] {
        let mut looks: Vec<_> = (0..7).map(|_| absent()).collect();
        looks.truncate(at - 1);
        looks.push(found("SO1"));
        let walmart = Walmart::default().answering(Status, looks);
        walmart.panic_at(at);
        let mutations = mutations(&walmart, 20);
        let entries = unknown(&mutations, &["SO1"]).await;
        let _guard = resolving(&mutations);
        tokio::time::sleep(SETTLE * 2).await;
        assert_eq!(states(&mutations, &entries).await, [EntryState::Succeeded], "{at}");
        assert_eq!(walmart.asked(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn what_somebody_else_began_to_send_is_not_sent_again() {
    let walmart = Walmart::default();
    let mutations = mutations(&walmart, 20);
    let time = mutations.now();
    let entry = put(mutations.ledger(), vec![batch("c", 0, 1, EntryState::Recorded, time)]).await.remove(0);
    let theirs = mutations.after(entry.clone(), EntryEvent::Send).unwrap();
    mutations.ledger().save(vec![theirs], Vec::new()).await.unwrap();
    let resolver = Resolver::new(mutations.clone(), DAY, TaskTracker::new());
    assert_eq!(resolver.send_one(entry).await, Some(()));
    assert!(walmart.asked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_gauges_follow_the_open_entries() {
    let mutations = mutations(&Walmart::default(), 20);
    unknown(&mutations, &["SO1", "SO2"]).await;
    let _guard = resolving(&mutations);
    tokio::time::sleep(LATENCY * 21 / 2).await;
    assert_eq!(metric(&mutations, "operations_open{state=\"unknown\"}"), 2.0);
    assert_eq!(metric(&mutations, "ledger_oldest_open_age_seconds"), 10.0);
    tokio::time::sleep(SETTLE + LATENCY * 20).await;
    assert_eq!(metric(&mutations, "operations_open{state=\"unknown\"}"), 0.0);
    assert_eq!(metric(&mutations, "operations_closed_total{state=\"succeeded\"}"), 2.0);
    assert_eq!(metric(&mutations, "ledger_oldest_open_age_seconds"), 0.0);
}

#[tokio::test(start_paused = true)]
async fn waits_leave_nothing_behind() {
    let walmart = Walmart::default().answering(Status, [found("SO1")]);
    let mutations = mutations(&walmart, 20);
    let entry = unknown(&mutations, &["SO1"]).await.remove(0);
    let _guard = resolving(&mutations);
    let current = now(&mutations, &entry).await;
    let deadline = Instant::now() + MINUTE;
    let (one, two) =
        tokio::join!(mutations.settled(current.clone(), deadline), mutations.settled(current.clone(), deadline));
    assert_eq!((one.state, two.state), (EntryState::Succeeded, EntryState::Succeeded));
    // One that became final before the wait.
    assert_eq!(mutations.settled(current, deadline).await.state, EntryState::Succeeded);
    assert!(mutations.0.waiters.is_empty());
}
