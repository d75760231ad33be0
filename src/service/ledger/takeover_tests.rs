//! What a start makes of what the process before left open.

use std::time::Duration;

use super::*;
use crate::domain::ledger::{Entry, EntryState, MutationKind, NewEntry};
use crate::domain::moment::Moment;
use crate::domain::operation::Operation::{Cancel, Create, Status};
use crate::store::memory::MemoryLedger;
use crate::testing::ledger::{batch, creation, put};
use crate::testing::walmart::{SETTLE, Walmart, found, mutations, over, resolving, take_over};

async fn state<U: WalmartApi, L: Ledger>(mutations: &Mutations<U, L>, entry: &Entry) -> Entry {
    mutations.ledger().get(entry.id).await.unwrap().unwrap()
}

#[tokio::test(start_paused = true)]
async fn each_open_state_goes_on_by_its_rule() {
    let mutations = mutations(&Walmart::default(), 20);
    let (ledger, now) = (mutations.ledger().clone(), mutations.now());
    let mut made = Vec::new();
    for number in ["unknown", "operator", "sending", "final"] {
        made.extend(put(&ledger, vec![creation("acme", number, now)]).await);
    }
    let lost = |entry: &Entry| mutations.after(entry.clone(), EntryEvent::Lost { error: "lost".into() }).unwrap();
    let moment = mutations.moment();
    let soon = moment.plus(Duration::from_secs(30));
    let long_ago = Moment { wall: moment.wall.minus(SETTLE), steady: moment.steady.minus(SETTLE) };
    let unknown = Entry { next: Some(soon), ..lost(&made[0]) };
    let operator = Entry { state: EntryState::NeedsOperator, next: Some(long_ago), ..lost(&made[1]) };
    let closed = mutations.after(made[3].clone(), EntryEvent::Accepted { answer: Vec::new() }).unwrap();
    ledger.save(vec![unknown, operator, closed], Vec::new()).await.unwrap();
    let recorded = put(&ledger, vec![batch("c", 0, 1, EntryState::Recorded, now)]).await.remove(0);

    assert_eq!(take_over(&mutations).await, 4);
    // A plan that was made stays; what was due is due now.
    let after = state(&mutations, &made[0]).await;
    assert_eq!((after.state, after.next), (EntryState::Unknown, Some(soon)));
    let after = state(&mutations, &made[1]).await;
    assert_eq!((after.state, after.next), (EntryState::NeedsOperator, Some(moment)));
    // What was being sent may have been carried out.
    let after = state(&mutations, &made[2]).await;
    assert_eq!((after.state, after.next), (EntryState::Unknown, Some(moment.plus(Duration::from_millis(500)))));
    let after = state(&mutations, &made[3]).await;
    assert_eq!((after.state, after.fence), (EntryState::Succeeded, 1));
    let after = state(&mutations, &recorded).await;
    assert_eq!((after.state, after.next), (EntryState::Recorded, Some(moment)));
    let due_queue = &mutations.0.due_queue;
    for wait in [0, 0, 500, 30_000].map(Duration::from_millis) {
        assert_eq!(due_queue.time_left(moment), Some(wait));
        assert_eq!(due_queue.take_due(moment.plus(wait), 1).len(), 1);
    }
    assert_eq!(due_queue.time_left(moment), None);
}

#[tokio::test(start_paused = true)]
async fn more_than_one_chunk_is_taken_over() {
    let mutations = mutations(&Walmart::default(), 20);
    let (ledger, now) = (mutations.ledger().clone(), mutations.now());
    let one = creation("acme", "SO1", now);
    for number in 0..CHUNK * 2 + 1 {
        put(&ledger, vec![NewEntry { order_number: number.to_string().into(), ..one.clone() }]).await;
    }
    assert_eq!(take_over(&mutations).await, CHUNK * 2 + 1);
    let due = mutations.0.due_queue.take_due(mutations.moment().plus(SETTLE), usize::MAX);
    assert_eq!(due.len(), CHUNK * 2 + 1);
}

#[tokio::test(start_paused = true)]
async fn accounts_that_are_not_configured_are_left_alone() {
    let walmart = Walmart::default();
    let mutations = mutations(&walmart, 20);
    let now = mutations.now();
    let gone = put(mutations.ledger(), vec![creation("gone", "SO1", now)]).await.remove(0);
    put(mutations.ledger(), vec![creation("other", "SO1", now)]).await;
    assert_eq!(take_over(&mutations).await, 1);
    let _guard = resolving(&mutations);
    tokio::time::sleep(SETTLE).await;
    assert_eq!(state(&mutations, &gone).await, gone);
    assert!(walmart.sent().iter().all(|sent| sent.starts_with("AccountIndex(1)")));
    assert!(walmart.asked().starts_with(&[Status]));
}

#[tokio::test(start_paused = true)]
async fn batches_go_on_where_they_were_and_in_order() {
    let (walmart, ledger) = (Walmart::default(), MemoryLedger::new());
    let before = over(&walmart, ledger.clone(), 20);
    let now = before.now();
    let states = |i| if i == 1 { EntryState::Sending } else { EntryState::Recorded };
    let made = put(&ledger, (0..5).map(|i| batch("c", i, 5, states(i), now)).collect()).await;
    // The first was done, the second was on its way.
    let sent = before.after(made[0].clone(), EntryEvent::Send).unwrap();
    let Ok(crate::ports::ledger::SaveResult::Done(sent)) = ledger.save(vec![sent], Vec::new()).await else { panic!() };
    let accepted = before.after(sent[0].clone(), EntryEvent::Accepted { answer: Vec::new() }).unwrap();
    ledger.save(vec![accepted], Vec::new()).await.unwrap();

    let mutations = over(&walmart, ledger.clone(), 20);
    take_over(&mutations).await;
    let _guard = resolving(&mutations);
    tokio::time::sleep(Duration::from_secs(20)).await;
    let lines = walmart.sent().into_iter().filter(|sent| sent.contains("CancelItem"));
    let lines: Vec<_> = lines.filter_map(|sent| sent.split("\"line-").nth(1)?.chars().next()).collect();
    assert_eq!(lines, ['2', '3', '4']);
    let all = ledger.of_request(&made[0].account, MutationKind::Cancel, "c").await.unwrap();
    let states = all.iter().map(|entry| entry.state == EntryState::Succeeded);
    // Of the second nothing is known without a snapshot but what Walmart shows; it shows no order.
    assert_eq!(Vec::from_iter(states), [true, false, true, true, true]);
}

#[tokio::test(start_paused = true)]
async fn a_creation_that_was_on_its_way_is_looked_up_and_not_sent() {
    let walmart = Walmart::default().answering(Status, [found("SO1")]);
    let mutations = mutations(&walmart, 20);
    let entry = put(mutations.ledger(), vec![creation("acme", "SO1", mutations.now())]).await.remove(0);
    take_over(&mutations).await;
    let _guard = resolving(&mutations);
    tokio::time::sleep(SETTLE * 2).await;
    assert_eq!(state(&mutations, &entry).await.state, EntryState::Succeeded);
    assert_eq!(walmart.asked(), [Status]);
    assert!(!walmart.asked().contains(&Create) && !walmart.asked().contains(&Cancel));
}
