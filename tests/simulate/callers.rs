//! Calls of callers: each makes its request of a process, for as long as the caller waits.

use std::collections::BTreeSet;
use std::time::Duration;

use order_gateway::ports::call::CallContext;
use tokio::time::{sleep, timeout};

use crate::bodies;
use crate::change_bodies::{self, Request};
use crate::changes::{ChangeKind, Object};
use crate::draw::{millis, seconds};
use crate::plan::{ACCOUNTS, Call, What};
use crate::process::{Process, context};
use crate::told::Answer;
use crate::world::World;

/// Answers leave so long before the caller's deadline, and this part of the time besides; at most half of it.
const MARGIN: Duration = millis(100);
const MARGIN_PART: f64 = 0.03;
/// A wait lets what it waits for speak first, at two levels; and timers have a resolution.
const SPEAKS_FIRST: Duration = millis(55);
/// Pages of a list: more than any simulation has.
const MOST_PAGES: usize = 60;
/// How often a list is read in calm, until it comes.
const TRIES: usize = 20;

/// Makes a call, and tells what it was answered.
pub(crate) async fn perform(world: &World, process: &Process, number: u64, call: &Call) -> Answer {
    let story = &world.plan().stories[call.story];
    let began = world.now();
    world.trace(format_args!("caller {number}: {}/{} {call}", ACCOUNTS[story.account], story.number));
    let margin = (MARGIN + call.deadline.mul_f64(MARGIN_PART)).min(call.deadline / 2);
    let time = call.deadline - margin;
    let context = context(time);
    let work = async {
        match call.what {
            What::Create(content) => {
                let request = bodies::create(story, &story.contents[content]);
                Answer::of_creation(process.create.answer(request.into(), &context).await)
            }
            What::Cancel => Answer::of_cancellation(process.cancel.answer(bodies::cancel(story), &context).await),
            What::Status => Answer::of_status(process.status.answer(bodies::status(story), &context).await),
            What::Change(position) => change(world, process, call.story, position, &context).await,
            What::Pages => pages(world, process, story.account, &context).await,
        }
    };
    let answer = match call.leaves {
        Some(leaves) => timeout(leaves, work).await.unwrap_or(Answer::Nothing),
        None => work.await,
    };
    let took = world.now() - began;
    world.trace(format_args!("caller {number}: {answer}"));
    // A reader of lists makes a call for each page.
    if call.what != What::Pages && took > time + SPEAKS_FIRST {
        world.violated(format_args!("caller {number} had {:?} and waited {took:?}", call.deadline));
    }
    answer
}

async fn change(world: &World, process: &Process, story: usize, position: usize, context: &CallContext) -> Answer {
    let asker = (story, position);
    let story = &world.plan().stories[story];
    let change = &story.changes[position];
    let number = match &change.kind {
        ChangeKind::CancelReturn { seller_id } => match world.mcs_return_id(story.account, seller_id) {
            Some(number) => number,
            // Nobody can take back what was not opened. In calm that is the end of it.
            None if world.state().calm => return Answer::Read(0),
            None => return Answer::Nothing,
        },
        _ => story.number.clone(),
    };
    let customer_order = {
        let mut state = world.state();
        state.claims.ask(story.account, &number, asker, change, story.guarded);
        state.customer_orders.get(&number).cloned().unwrap_or_default()
    };
    let (orders, returns) = (&process.seller_orders, &process.returns);
    match change_bodies::change(story, position, &number, &customer_order) {
        Request::CancelLines(request) => Answer::of_line_cancellation(orders.cancel(request, context).await),
        Request::Ship(request) => Answer::of_change(orders.ship(request, context).await.map(|ok| ok.correlation_id)),
        Request::Refund(request) => {
            Answer::of_change(orders.refund(request, context).await.map(|ok| ok.correlation_id))
        }
        Request::RefundReturn(request) => {
            Answer::of_change(returns.refund(request, context).await.map(|ok| ok.correlation_id))
        }
        Request::OpenReturn(request) => {
            Answer::of_change(returns.create(request, context).await.map(|ok| ok.correlation_id))
        }
        Request::CancelReturn(request) => {
            Answer::of_change(returns.cancel(request, context).await.map(|ok| ok.correlation_id))
        }
    }
}

/// Reads all seller orders and all returns.
async fn pages(world: &World, process: &Process, account: usize, context: &CallContext) -> Answer {
    let orders = orders(process, account, context).await;
    let returns = returns(process, account, context).await;
    for list in [&orders, &returns].into_iter().flatten() {
        if let Some(twice) = twice(list) {
            world.violated(format_args!("I10: {}: {twice} is twice in one list", ACCOUNTS[account]));
        }
        world.state().lists += 1;
    }
    Answer::Read(orders.into_iter().chain(returns).flatten().count())
}

/// Calm: nothing is in the way of a list, which has every object once.
pub(crate) async fn all_pages(world: &World, process: &Process) {
    for (account, name) in ACCOUNTS.iter().enumerate() {
        pages(world, process, account, &context(seconds(600))).await;
        for wants_returns in [false, true] {
            let list = list_in_calm(process, account, wants_returns).await;
            let listed: BTreeSet<String> = list.into_iter().collect();
            let missing = world.plan().stories.iter().find(|story| {
                let is_listed = match story.object {
                    Object::SellerOrder { .. } => !wants_returns,
                    Object::Return => wants_returns,
                    Object::None | Object::Delivered => false,
                };
                is_listed && !listed.contains(&story.number)
            });
            if let Some(story) = missing {
                world.violated(format_args!("I10: {name}: {} is in no list", story.number));
            }
        }
    }
}

/// What Walmart said of its limits before the calm may hold for minutes.
async fn list_in_calm(process: &Process, account: usize, wants_returns: bool) -> Vec<String> {
    for _ in 0..TRIES {
        let context = context(seconds(60));
        let list = if wants_returns {
            returns(process, account, &context).await
        } else {
            orders(process, account, &context).await
        };
        if let Some(list) = list {
            return list;
        }
        sleep(seconds(30)).await;
    }
    Vec::new()
}

/// The numbers of all seller orders. `None`: the list could not be read to its end.
async fn orders(process: &Process, account: usize, context: &CallContext) -> Option<Vec<String>> {
    let (mut numbers, mut cursor) = (Vec::new(), String::new());
    for _ in 0..MOST_PAGES {
        let page = process.seller_orders.list(change_bodies::orders(account, &cursor), context).await;
        let list = page.ok()?.list.unwrap_or_default();
        let orders = list.elements.unwrap_or_default().order;
        numbers.extend(orders.into_iter().map(|order| order.purchase_order_id));
        cursor = list.meta.unwrap_or_default().next_cursor;
        if cursor.is_empty() {
            return Some(numbers);
        }
    }
    Some(numbers)
}

/// The numbers of all returns of marketplace orders.
async fn returns(process: &Process, account: usize, context: &CallContext) -> Option<Vec<String>> {
    let (mut numbers, mut cursor) = (Vec::new(), String::new());
    for _ in 0..MOST_PAGES {
        let page = process.returns.list(change_bodies::returns(account, &cursor), context).await;
        let page = page.ok()?;
        numbers.extend(page.return_orders.into_iter().map(|order| order.return_order_id));
        cursor = page.meta.unwrap_or_default().next_cursor;
        if cursor.is_empty() {
            return Some(numbers);
        }
    }
    Some(numbers)
}

fn twice(list: &[String]) -> Option<&String> {
    let mut seen = BTreeSet::new();
    // A row without a number is a lie of Walmart's.
    list.iter().filter(|number| !number.is_empty()).find(|number| !seen.insert(*number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_twice_in_a_list_is_told() {
        let list = |numbers: [&str; 3]| numbers.map(str::to_owned);
        assert_eq!(twice(&list(["1", "2", ""])), None);
        assert_eq!(twice(&list(["1", "2", "1"])).map(String::as_str), Some("1"));
        assert_eq!(twice(&list(["", "2", ""])), None);
    }
}
