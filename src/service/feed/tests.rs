//! The two feeds beside each other: what each shows, and what neither does with the other's subscriptions.

use super::*;
use crate::testing::feed::*;

/// The id of the log of order updates, as the store in memory makes it.
const UPDATES: crate::domain::feed::LogId = crate::domain::feed::LogId(!LOG.0);

fn updates_of(name: &str) -> pb::Subscription {
    pb::Subscription { feed: pb::Feed::OrderUpdates.into(), ..plain(name) }
}

fn subscribing(subscription: &str) -> pb::SubscribeOrderUpdatesRequest {
    pb::SubscribeOrderUpdatesRequest {
        subscription: subscription.into(),
        consumer_id: "one".into(),
        ..Default::default()
    }
}

fn feed_error<T>(result: Result<T, ServiceError>) -> FeedError {
    match result.err() {
        Some(ServiceError::Feed(error)) => error,
        other => panic!("{other:?}"),
    }
}

/// The next update on loan.
async fn update_delivery(
    stream: &mut ConsumerStream<crate::testing::feed_store::FaultyFeed>,
) -> pb::OrderUpdateDelivery {
    loop {
        match tokio::time::timeout(LONG, stream.next()).await.expect("silence") {
            Some(Ok(ConsumerFrame::Delivery(delivered))) => return delivered.into(),
            Some(Ok(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_feed_lists_and_finds_its_own_events() {
    let feed = feed();
    feed.post_many(2).await;
    for order in ["PO-1", "PO-2", "PO-3"] {
        feed.post_update("acme", order).await;
    }
    let listed = feed.feed.list(&pb::ListOrderUpdatesRequest::default(), &anyone()).await.unwrap();
    let seen: Vec<_> = listed.events.iter().map(|it| (it.seq, it.ordering_key.as_str(), it.cursor.clone())).collect();
    let expected =
        [(1, "PO-1"), (2, "PO-2"), (3, "PO-3")].map(|(seq, key)| (seq, key, UPDATES.cursor(seq).to_string()));
    assert_eq!(seen, expected);
    let intents = feed.feed.list(&pb::ListCancelIntentsRequest::default(), &anyone()).await.unwrap();
    assert_eq!(intents.events.len(), 2);
    // The filter's fields hold where an update has them.
    let filter = |filter| pb::ListOrderUpdatesRequest { filter: Some(filter), ..Default::default() };
    let by_order = filter(pb::Filter { purchase_order_ids: vec!["PO-2".into()], ..Default::default() });
    assert_eq!(feed.feed.list(&by_order, &anyone()).await.unwrap().events[..], listed.events[1..2]);
    let by_sku = filter(pb::Filter { skus: vec!["MUG".into()], ..Default::default() });
    assert_eq!(feed.feed.list(&by_sku, &anyone()).await.unwrap().events, []);

    let get = async |key| {
        let request = pb::GetOrderUpdateRequest { key: Some(key), account: "acme".into(), ..Default::default() };
        feed.feed.get(&request, &anyone()).await
    };
    use pb::get_order_update_request::Key;
    for key in [Key::Seq(3), Key::Cursor(UPDATES.cursor(3).to_string()), Key::EventId("u-3".into())] {
        assert_eq!(get(key).await.unwrap(), listed.events[2]);
    }
    // An intent's id, and a cursor of the intents' log, name nothing here.
    assert_eq!(feed_error(get(Key::EventId("e-1".into())).await), FeedError::EventNotFound);
    let changed = FeedError::LogChanged { ours: UPDATES.to_string(), theirs: "c0ffee00".into(), first: 1, head: 3 };
    assert_eq!(feed_error(get(Key::Cursor(LOG.cursor(1).to_string())).await), changed);
}

#[tokio::test(start_paused = true)]
async fn a_watch_of_one_feed_hears_nothing_of_the_other() {
    let feed = feed();
    let request = pb::WatchOrderUpdatesRequest { start: earliest(), ..Default::default() };
    let mut watch = feed.feed.watch(&request, &anyone()).await.unwrap();
    let Some(Ok(WatchFrame::Opened(opened))) = watch.next().await else { panic!("not opened") };
    assert_eq!((opened.log_id, opened.head), (UPDATES.to_string(), 0));
    let mut intents = feed.watch(earliest()).await;
    feed.post_update("acme", "PO-1").await;
    assert!(matches!(watch.next().await, Some(Ok(WatchFrame::Events(_)))));
    assert_eq!(beat(&mut watch).await.cursor, UPDATES.cursor(1).to_string());
    assert_eq!(beat(&mut intents).await.cursor, LOG.cursor(0).to_string());
    feed.post_many(1).await;
    assert_eq!(take(&mut intents, 1).await, [1]);
    assert_eq!(beat(&mut watch).await.head, 1);
    let state = feed.feed.overview(9, &anyone()).await.unwrap();
    assert_eq!(state.open_streams, ByFeed::new(|_| 1));
}

#[tokio::test(start_paused = true)]
async fn updates_are_lent_settled_parked_and_redriven() {
    let feed = feed();
    feed.post_many(5).await;
    for _ in 0..2 {
        feed.post_update("acme", "PO-1").await;
    }
    let asked = pb::SubscribeOrderUpdatesRequest { create_if_missing: Some(Default::default()), ..subscribing("erp") };
    let mut stream = feed.feed.subscribe(&asked, &anyone()).await.unwrap();
    let first = update_delivery(&mut stream).await;
    assert_eq!((first.lease.as_str(), first.update.as_ref().unwrap().event_id.as_str()), ("g1.s1.a1", "u-1"));
    let shown = feed.shown("erp").await;
    assert_eq!((shown.feed(), shown.backlog, shown.floor), (pb::Feed::OrderUpdates, 2, UPDATES.cursor(0).to_string()));
    let settle = async |lease: &str, said| {
        let verdicts = vec![pb::Verdict { lease: lease.into(), verdict: Some(said) }];
        let request = pb::SettleOrderUpdatesRequest { subscription: "erp".into(), verdicts };
        feed.feed.settle(&request, &anyone()).await.unwrap()
    };
    let park = pb::verdict::Verdict::Park(pb::Park { reason: "why".into() });
    assert_eq!(settle(&first.lease, park).await.floor, UPDATES.cursor(1).to_string());
    // The second has waited behind the first, whose key it has.
    let second = update_delivery(&mut stream).await;
    assert_eq!(second.lease, "g1.s2.a1");
    let settled = settle(&second.lease, ack()).await;
    assert_eq!((settled.results[0].outcome(), settled.backlog), (pb::SettleOutcome::Applied, 0));

    let list = pb::ListParkedCancelIntentsRequest { subscription: "erp".into(), ..Default::default() };
    let parked = feed.feed.parked(&list, &anyone()).await.unwrap();
    assert_eq!((parked.parked.len(), parked.next_page_token.as_str()), (0, ""));
    let [one] = &parked.updates[..] else { panic!("{parked:?}") };
    assert_eq!((one.update.as_ref().unwrap().event_id.as_str(), one.reason.as_str()), ("u-1", "why"));
    let all = pb::RedriveCancelIntentsRequest { subscription: "erp".into(), all: true, ..Default::default() };
    assert_eq!(feed.feed.redrive(&all, &anyone()).await.unwrap(), 1);
    let again = update_delivery(&mut stream).await;
    assert_eq!((again.cause(), again.attempt), (pb::DeliveryCause::Redriven, 2));
    assert_eq!(again.update, first.update);

    // A seek is to a place of its own log.
    let seek = |at| pb::SeekSubscriptionRequest { name: "erp".into(), position: Some(pb::Position { at: Some(at) }) };
    use pb::position::At;
    let theirs = feed.feed.seek(&seek(At::AfterCursor(LOG.cursor(1).to_string())), &anyone()).await;
    assert!(matches!(feed_error(theirs), FeedError::LogChanged { head: 2, .. }));
    let moved = feed.feed.seek(&seek(At::Latest(true)), &anyone()).await.unwrap().subscription.unwrap();
    assert_eq!((moved.floor, moved.backlog), (UPDATES.cursor(2).to_string(), 0));
}

#[tokio::test(start_paused = true)]
async fn a_subscription_is_refused_by_the_rpcs_of_the_other_feed() {
    let feed = feed();
    feed.create(plain("oms")).await;
    assert_eq!(feed.create(updates_of("erp")).await.feed(), pb::Feed::OrderUpdates);
    assert_eq!(feed.shown("oms").await.feed(), pb::Feed::CancelIntents);
    let wrong = |name: &str, feed| FeedError::WrongFeed { name: name.into(), feed };

    let of_intents = wrong("oms", FeedName::CancelIntents);
    assert_eq!(feed_error(feed.feed.subscribe(&subscribing("oms"), &anyone()).await.map(drop)), of_intents);
    let create = pb::SubscribeOrderUpdatesRequest { create_if_missing: Some(Default::default()), ..subscribing("oms") };
    assert_eq!(feed_error(feed.feed.subscribe(&create, &anyone()).await.map(drop)), of_intents);
    let verdicts = vec![pb::Verdict { lease: "g1.s1.a1".into(), verdict: Some(ack()) }];
    let settle = pb::SettleOrderUpdatesRequest { subscription: "oms".into(), verdicts: verdicts.clone() };
    assert_eq!(feed_error(feed.feed.settle(&settle, &anyone()).await), of_intents);

    let of_updates = wrong("erp", FeedName::OrderUpdates);
    assert_eq!(feed_error(feed.feed.subscribe(&asking("erp", "one"), &anyone()).await.map(drop)), of_updates);
    let settle = pb::SettleCancelIntentsRequest { subscription: "erp".into(), verdicts };
    assert_eq!(feed_error(feed.feed.settle(&settle, &anyone()).await), of_updates);

    // Who may not see it is not told which feed it reads.
    let other = feed.create(pb::Subscription {
        filter: Some(pb::Filter { accounts: vec!["other".into()], ..Default::default() }),
        ..plain("theirs")
    });
    other.await;
    let refused = feed.feed.subscribe(&subscribing("theirs"), &limited(&[0])).await.map(drop);
    assert!(matches!(refused, Err(ServiceError::Account(_))), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn the_feed_of_a_subscription_is_chosen_once() {
    let feed = feed();
    feed.create(updates_of("erp")).await;
    // Made for the intents by that name is another one.
    let other = feed.feed.create(Some(&plain("erp")), &anyone()).await;
    assert!(matches!(feed_error(other), FeedError::SubscriptionDiffers { .. }));
    let update = |subscription, paths: &[&str]| pb::UpdateSubscriptionRequest {
        subscription: Some(subscription),
        update_mask: Some(prost_types::FieldMask { paths: paths.iter().map(ToString::to_string).collect() }),
    };
    let changed = pb::Subscription { feed: pb::Feed::CancelIntents.into(), ..plain("erp") };
    let refused = feed.feed.update(&update(changed, &[]), &anyone()).await;
    assert_eq!(faults(refused).1, ["subscription.feed"]);
    let paused = pb::Subscription { paused: Some(true), ..plain("erp") };
    let updated = feed.feed.update(&update(paused, &["paused"]), &anyone()).await.unwrap().subscription.unwrap();
    assert_eq!((updated.feed(), updated.paused), (pb::Feed::OrderUpdates, Some(true)));
    let unknown = pb::Subscription { feed: 9, ..plain("x") };
    assert_eq!(faults(feed.feed.create(Some(&unknown), &anyone()).await).1, ["subscription.feed"]);
    let create = pb::SubscribeOrderUpdatesRequest {
        create_if_missing: Some(pb::Subscription { feed: pb::Feed::CancelIntents.into(), ..Default::default() }),
        ..subscribing("new")
    };
    let refused = feed.feed.subscribe(&create, &anyone()).await.map(drop);
    assert_eq!(faults(refused).1, ["create_if_missing.feed"]);
}
