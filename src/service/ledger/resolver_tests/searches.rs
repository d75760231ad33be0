//! What searches by date settle, how many calls they may take, and when look-ups by number go on without one.

use super::super::super::desk::LookupDesk;
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
        resolver.look_up(DeskId::of_orders(ACME), current);
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
    Resolver::new(mutations.clone(), DAY, TaskTracker::new()).look_up(DeskId::of_orders(ACME), entries.clone());
    tokio::time::sleep(MINUTE).await;
    assert_eq!(are_pages(&walmart), [&[true], [false; 16].as_slice(), &[true]].concat());
    assert_eq!(states(&mutations, &entries).await, vec![EntryState::Succeeded; 100]);
}

#[tokio::test(start_paused = true)]
async fn one_search_settles_many() {
    // It shows two, and lists everything: the third is absent.
    let walmart = Walmart::default().answering(Status, [shown(&["SO1", "SO2"], 2)]);
    let mutations = mutations(&walmart, 20);
    let entries = unknown(&mutations, &["SO1", "SO2", "SO3"]).await;
    let _guard = resolving(&mutations);
    tokio::time::sleep(LATENCY * 3 / 2 + LATENCY / 10).await;
    assert_eq!(states(&mutations, &entries).await, [EntryState::Succeeded, EntryState::Succeeded, EntryState::Unknown]);
    assert_eq!(now(&mutations, &entries[2]).await.unknown.unwrap().absences, 1);
    let sent = walmart.sent();
    // On the day before the earliest of them; its second look-up is just due.
    assert!(sent[0].contains("from_order_date: \"2027-01-14\"") && sent[0].contains("limit: 50"), "{}", sent[0]);
    assert!(sent[1..].iter().all(|sent| sent.contains("order_number: \"SO3\"")));
}

#[tokio::test(start_paused = true)]
async fn a_search_that_does_not_list_everything_is_no_absence() {
    for search in [
        shown(&["SO1"], 2),
        found("SO1"),
        shown(&[], 1),
        Err(error(Status, ErrorKind::Unavailable, crate::domain::effect::Effect::None)),
    ] {
        let walmart =
            Walmart::default().answering(Status, [search, found("SO1"), found("SO2"), found("SO3"), found("SO3")]);
        let mutations = mutations(&walmart, 20);
        let entries = unknown(&mutations, &["SO1", "SO2", "SO3"]).await;
        let resolver = Resolver::new(mutations.clone(), DAY, TaskTracker::new());
        let mut held = resolver.hold(&[]);
        let mut current = Vec::new();
        for entry in &entries {
            current.push(now(&mutations, entry).await);
        }
        resolver.search(DeskId::of_orders(ACME), current, &mut held).await;
        for entry in &entries[1..] {
            assert_eq!(now(&mutations, entry).await.unknown.unwrap().lookups, 0);
        }
    }
}

/// Entries that one more look-up by number settles.
async fn ripe(mutations: &Work, numbers: &[&str]) -> Vec<Entry> {
    let mut ripe = unknown(mutations, numbers).await;
    tokio::time::sleep(SETTLE + LATENCY).await;
    for entry in &mut ripe {
        let current = now(mutations, entry).await;
        *entry = Entry { unknown: current.unknown.map(|unknown| UnknownSince { absences: 2, ..unknown }), ..current };
    }
    ripe
}

#[tokio::test(start_paused = true)]
async fn a_search_that_showed_nothing_is_not_made_again_before_each_look_up() {
    let said = [shown(&[], 0), no_permit(3), no_permit(3), shown(&[], 0), no_permit(3)];
    let walmart = Walmart::default().answering(Status, said);
    let mutations = mutations(&walmart, 20);
    let entries = ripe(&mutations, &["SO1", "SO2", "SO3"]).await;
    let resolver = Resolver::new(mutations.clone(), DAY, TaskTracker::new());
    for wait in [3, 60, 3] {
        resolver.look_up(DeskId::of_orders(ACME), entries.clone());
        tokio::time::sleep(Duration::from_secs(wait)).await;
    }
    let by_date: Vec<bool> = walmart.sent().iter().map(|sent| !sent.contains("order_number: \"SO")).collect();
    assert_eq!(by_date, [true, false, false, true, false]);
}

#[tokio::test(start_paused = true)]
async fn a_long_search_is_made_again_more_seldom() {
    let desk = LookupDesk::new(20);
    assert!(!desk.was_searched_lately());
    let began = Instant::now();
    tokio::time::sleep(MINUTE).await;
    desk.searched(began, false);
    tokio::time::sleep(MINUTE * 5 - LATENCY).await;
    assert!(desk.was_searched_lately());
    tokio::time::sleep(LATENCY).await;
    assert!(!desk.was_searched_lately());
}

#[tokio::test(start_paused = true)]
async fn what_a_search_by_date_need_not_show_is_looked_up_by_number() {
    let walmart = Walmart::default().answering(Status, (0..9).map(|_| shown(&[], 0)));
    let mutations = mutations(&walmart, 20);
    let time = mutations.now();
    let placed = |number: &str, placed: &str| {
        let mut new = creation("acme", number, time);
        let mut request = CreateOrderRequest::decode(new.body.clone()).unwrap();
        request.payload.as_mut().unwrap().order_placed_time = Some(placed.into());
        new.body = request.encode_to_vec().into();
        new
    };
    put(mutations.ledger(), vec![placed("old", "2017-07-21T17:32:28Z")]).await;
    put(mutations.ledger(), vec![placed("odd", "yesterday")]).await;
    for number in ["new", "newer", "newest"] {
        put(mutations.ledger(), vec![placed(number, "2027-01-12T08:00:00Z")]).await;
    }
    put(mutations.ledger(), vec![batch("c", 0, 1, EntryState::Sending, time)]).await;
    take_over(&mutations).await;
    let _guard = resolving(&mutations);
    tokio::time::sleep(Duration::from_millis(900)).await;
    let first = walmart.sent().remove(0);
    assert!(first.contains("from_order_date: \"2027-01-11\""), "{first}");
    tokio::time::sleep(LATENCY * 4).await;
    let sent = walmart.sent();
    for number in ["old", "odd", "SO123"] {
        assert!(sent.iter().any(|sent| sent.contains(&format!("order_number: \"{number}\""))), "{number}");
    }
}

#[tokio::test(start_paused = true)]
async fn those_that_no_search_shows_are_no_reason_for_one() {
    let walmart = Walmart::default().answering(Status, (0..9).map(|_| shown(&[], 0)));
    let mutations = mutations(&walmart, 20);
    for id in ["a", "b", "c"] {
        put(mutations.ledger(), vec![batch(id, 0, 1, EntryState::Sending, mutations.now())]).await;
    }
    unknown(&mutations, &["SO1", "SO2"]).await;
    let _guard = resolving(&mutations);
    tokio::time::sleep(LATENCY * 9).await;
    let sent = walmart.sent();
    assert!(sent.len() > 5 && sent.iter().all(|sent| sent.contains("order_number: \"SO")), "{sent:?}");
}

#[tokio::test(start_paused = true)]
async fn one_that_waits_in_line_is_asked_before_its_permit_is_there() {
    // One that came back with the permit would come after whatever had become due just before, and waited for it.
    let walmart = Walmart::default().answering(Status, [absent(), no_permit(12), no_permit(3)]);
    let mutations = mutations(&walmart, 10);
    unknown(&mutations, &["SO1"]).await;
    let _guard = resolving(&mutations);
    tokio::time::sleep(LATENCY * 9).await;
    // Each answer takes a second; nine seconds before the permit, and not at once.
    assert_eq!(millis(walmart.times(Status)), [0, 1_000, 5_000, 7_000]);
}
