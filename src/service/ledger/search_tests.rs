//! How many calls searches by date may take, and when look-ups by number go on without one.

use super::*;

/// Creations in doubt that are due, by their numbers.
async fn due(mutations: &Work, numbers: &[String]) -> Vec<Entry> {
    let mut due = Vec::new();
    for entry in unknown(mutations, &numbers.iter().map(String::as_str).collect::<Vec<_>>()).await {
        due.push(now(mutations, &entry).await);
    }
    due
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("SO{number}")).collect()
}

/// Of each call, whether it was a page of a search.
fn are_pages(walmart: &Walmart) -> Vec<bool> {
    walmart.sent().iter().map(|sent| !sent.contains("order_number: \"SO")).collect()
}

#[tokio::test(start_paused = true)]
async fn a_search_takes_no_more_pages_than_it_looks_for_entries_and_is_not_repeated_in_vain() {
    // Many other orders are newer than the four.
    let others = || (0..4).map(|_| shown(&["OTHER"], 500));
    let said = others().chain((0..8).map(|_| absent())).chain(others());
    let walmart = Walmart::default().answering(Status, said);
    let mutations = mutations(&walmart, 20);
    let entries = due(&mutations, &numbers(4)).await;
    let resolver = Resolver::new(mutations.clone(), DAY, TaskTracker::new());
    for wait in [10, 60, 10] {
        let mut current = Vec::new();
        for entry in &entries {
            current.push(now(&mutations, entry).await);
        }
        resolver.look_up(AccountIndex(0), current);
        tokio::time::sleep(Duration::from_secs(wait)).await;
    }
    let (search, by_number) = ([true; 4].as_slice(), [false; 4].as_slice());
    assert_eq!(are_pages(&walmart)[..16], [search, by_number, by_number, search].concat());
}

#[tokio::test(start_paused = true)]
async fn what_a_batch_of_look_ups_leaves_is_searched_for_again() {
    // The first search breaks off; the second shows all.
    let numbers = numbers(100);
    let broken = Err(error(Status, ErrorKind::Unavailable, crate::domain::effect::Effect::None));
    let all = shown(&numbers.iter().map(String::as_str).collect::<Vec<_>>(), 100);
    let by_number = numbers.iter().take(16).map(|number| found(number));
    let walmart = Walmart::default().answering(Status, [broken].into_iter().chain(by_number).chain([all]));
    let mutations = mutations(&walmart, 20);
    let entries = due(&mutations, &numbers).await;
    Resolver::new(mutations.clone(), DAY, TaskTracker::new()).look_up(AccountIndex(0), entries.clone());
    tokio::time::sleep(MINUTE).await;
    assert_eq!(are_pages(&walmart), [&[true], [false; 16].as_slice(), &[true]].concat());
    assert_eq!(states(&mutations, &entries).await, vec![State::Succeeded; 100]);
}
