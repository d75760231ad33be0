use std::collections::HashMap;

use super::*;
use crate::pb;
use crate::ports::subscriptions::SubscriptionStore as _;
use crate::testing::feed::*;
use crate::testing::feed_store::FaultyFeed;

/// The accounts of [`feed`] with these numbers, which the client `limited` may see from now on.
fn may_see(feed: &TestFeed, accounts: &[usize]) -> CallContext {
    let names = ["acme", "other"].map(|id| AccountId::new(id).unwrap());
    let scope = AccountScope::only(accounts.iter().map(|index| &names[*index]));
    feed.clients.replace(HashMap::from([("limited".to_owned(), scope)]));
    limited(accounts)
}

async fn open(feed: &TestFeed, name: &str, call: &CallContext) -> super::super::ConsumerStream<FaultyFeed> {
    let mut stream = feed.feed.subscribe(&asking(name, "one"), call).await.unwrap();
    stream.next().await.unwrap().unwrap();
    stream
}

fn of_accounts(name: &str, accounts: &[&str]) -> pb::Subscription {
    let accounts = accounts.iter().map(|name| (*name).to_owned()).collect();
    pb::Subscription { filter: Some(pb::Filter { accounts, ..Default::default() }), ..plain(name) }
}

fn updating(subscription: pb::Subscription) -> pb::UpdateSubscriptionRequest {
    pb::UpdateSubscriptionRequest { subscription: Some(subscription), update_mask: None }
}

async fn parked(feed: &TestFeed, name: &str, call: &CallContext) -> Vec<u64> {
    let request = pb::ListParkedCancelIntentsRequest { subscription: name.into(), ..Default::default() };
    let page = feed.feed.parked(&request, call).await.unwrap();
    page.parked.into_iter().map(|one| one.event.unwrap().seq).collect()
}

fn is_not_allowed<T>(result: Result<T, ServiceError>) -> bool {
    matches!(result.err(), Some(ServiceError::Account(AccountError::NotAllowed)))
}

/// Parks the delivery.
async fn park(feed: &TestFeed, name: &str, delivery: &pb::Delivery) {
    let outcome = feed.settle(name, &delivery.lease, pb::verdict::Verdict::Park(pb::Park::default())).await;
    assert_eq!(outcome, pb::SettleOutcome::Applied);
}

#[tokio::test(start_paused = true)]
async fn one_without_accounts_sees_those_that_its_client_gains_and_not_those_that_it_loses() {
    let feed = feed();
    let acme = may_see(&feed, &[0]);
    feed.feed.create(Some(&plain("oms")), &acme).await.unwrap();
    feed.post("acme", "A").await;
    feed.post("other", "B").await;
    let mut stream = open(&feed, "oms", &acme).await;
    assert_eq!(seqs(&[delivery(&mut stream).await]), [1]);
    idle(&mut stream).await;

    let both = may_see(&feed, &[0, 1]);
    assert!(matches!(end(&mut stream).await.error, FeedError::Updated { .. }), "streams come back by themselves");
    feed.post("other", "C").await;
    let mut stream = open(&feed, "oms", &both).await;
    let gained = delivery(&mut stream).await;
    assert_eq!(seqs(std::slice::from_ref(&gained)), [3], "from now on: what was passed stays passed");
    let shown = feed.feed.show("oms", &both).await.unwrap();
    assert_eq!((shown.accounts, shown.outstanding), (vec!["acme".to_owned(), "other".to_owned()], 2));
    park(&feed, "oms", &gained).await;
    feed.post("other", "D").await;
    let on_loan = delivery(&mut stream).await;

    let acme = may_see(&feed, &[0]);
    end(&mut stream).await;
    feed.post("other", "E").await;
    feed.post("acme", "F").await;
    let mut stream = open(&feed, "oms", &acme).await;
    assert_eq!(seqs(&[delivery(&mut stream).await]), [6]);
    idle(&mut stream).await;
    assert!(parked(&feed, "oms", &acme).await.is_empty());
    let shown = feed.feed.show("oms", &acme).await.unwrap();
    assert_eq!((shown.parked, shown.outstanding, shown.accounts), (0, 2, vec!["acme".to_owned()]));
    let late = feed.settle("oms", &on_loan.lease, ack()).await;
    assert_eq!(late, pb::SettleOutcome::UnknownLease, "its lease is void");
    assert_eq!(feed.feed.0.parts.metrics.voided.get(), 2);
    // What is replayed is of now, too.
    let seek = pb::SeekSubscriptionRequest { name: "oms".into(), position: earliest() };
    feed.feed.seek(&seek, &acme).await.unwrap();
    end(&mut stream).await;
    let mut stream = open(&feed, "oms", &acme).await;
    assert_eq!(seqs(&deliveries(&mut stream, 2).await), [1, 6]);
    idle(&mut stream).await;
}

#[tokio::test(start_paused = true)]
async fn narrowing_voids_what_is_parked_lent_and_waits() {
    let feed = feed();
    for (account, order) in [("other", "A"), ("acme", "B"), ("other", "C"), ("other", "D"), ("other", "A")] {
        feed.post(account, order).await;
    }
    feed.create(of_accounts("oms", &["acme", "other"])).await;
    let mut stream = feed.consumer("oms", "one").await;
    // The fifth waits behind the first.
    let lent = deliveries(&mut stream, 4).await;
    park(&feed, "oms", &lent[2]).await;
    assert_eq!(parked(&feed, "oms", &anyone()).await, [3]);
    let acme = limited(&[0]);
    assert!(is_not_allowed(feed.feed.show("oms", &acme).await), "it means more than the caller may see");
    let changed = feed.feed.update(&updating(of_accounts("oms", &["acme"])), &anyone()).await.unwrap();
    assert_eq!((changed.voided_parked, changed.voided_leases), (1, 2));
    assert_eq!(feed.feed.0.parts.metrics.voided.get(), 4, "with the one that waited");
    assert!(matches!(end(&mut stream).await.error, FeedError::Updated { .. }));
    assert_eq!(changed.subscription.unwrap(), feed.feed.show("oms", &acme).await.unwrap());
    assert!(parked(&feed, "oms", &acme).await.is_empty());
    let redrive = pb::RedriveCancelIntentsRequest { subscription: "oms".into(), seqs: vec![], all: true };
    assert_eq!(feed.feed.redrive(&redrive, &acme).await.unwrap(), 0);
    let shown = feed.feed.show("oms", &acme).await.unwrap();
    assert_eq!((shown.outstanding, shown.parked, shown.floor.as_str()), (1, 0, "c0ffee00.1"));
    let results = feed.settled("oms", lent.iter().map(|one| (one.lease.as_str(), ack()))).await;
    let outcomes: Vec<_> = results.results.iter().map(pb::SettleResult::outcome).collect();
    let (unknown, applied) = (pb::SettleOutcome::UnknownLease, pb::SettleOutcome::Applied);
    assert_eq!((outcomes, results.floor), (vec![unknown, applied, unknown, unknown], "c0ffee00.5".to_owned()));
    let mut stream = open(&feed, "oms", &acme).await;
    idle(&mut stream).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_lost_an_account_keeps_its_subscription() {
    let feed = feed();
    let both = may_see(&feed, &[0, 1]);
    feed.feed.create(Some(&of_accounts("oms", &["acme", "other"])), &both).await.unwrap();
    feed.feed.create(Some(&of_accounts("theirs", &["other"])), &both).await.unwrap();
    let acme = may_see(&feed, &[0]);
    let shown = feed.feed.show("oms", &acme).await.unwrap();
    assert_eq!(shown.accounts, ["acme"]);
    let listed = feed.feed.list_subscriptions(&pb::ListSubscriptionsRequest::default(), &acme).await.unwrap();
    assert_eq!(listed.subscriptions.len(), 2);
    assert_eq!(listed.subscriptions[1].accounts.len(), 0);
    // What was read may be written back.
    let asked = pb::Subscription { paused: Some(true), ..shown.clone() };
    assert_eq!(feed.feed.update(&updating(asked), &acme).await.unwrap().subscription.unwrap().paused, Some(true));
    let asked = of_accounts("theirs", &["acme"]);
    assert_eq!(feed.feed.update(&updating(asked), &acme).await.unwrap().subscription.unwrap().accounts, ["acme"]);
    assert!(is_not_allowed(feed.feed.update(&updating(of_accounts("theirs", &["other"])), &acme).await));
    let request = pb::DeleteSubscriptionRequest { name: "oms".into(), etag: String::new() };
    feed.feed.delete(&request, &acme).await.unwrap();
    assert!(feed.feed.show("oms", &acme).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn another_client_may_use_what_it_may_see_all_of() {
    let feed = feed();
    let both = may_see(&feed, &[0, 1]);
    feed.feed.create(Some(&of_accounts("oms", &["acme", "other"])), &both).await.unwrap();
    let client = |name: &str, accounts: &[usize]| {
        let seen = limited(accounts).caller().accounts.clone();
        let caller = crate::ports::call::Caller { name: name.into(), accounts: seen, services: None };
        CallContext { facts: crate::ports::call::CallRecord::of(Arc::new(caller)), ..anyone() }
    };
    let support = client("support", &[0]);
    assert!(is_not_allowed(feed.feed.show("oms", &support).await));
    may_see(&feed, &[0]);
    let shown = feed.feed.show("oms", &support).await.unwrap();
    assert_eq!(shown.filter.unwrap().accounts, ["acme"], "it is told no name of an account that it may not see");
    // It means nothing that its client may not see, whoever asks for it.
    let acme = may_see(&feed, &[0]);
    feed.feed.create(Some(&of_accounts("narrow", &["acme"])), &acme).await.unwrap();
    let wide = updating(of_accounts("narrow", &["acme", "other"]));
    let refused = faults(feed.feed.update(&wide, &client("both", &[0, 1])).await);
    assert_eq!(refused, ("Filter".into(), vec!["subscription.filter.accounts[1]".into()]));
    may_see(&feed, &[]);
    assert!(is_not_allowed(feed.feed.show("oms", &support).await), "it means nothing");
    assert!(feed.feed.show("oms", &anyone()).await.unwrap().accounts.is_empty());
}

#[tokio::test(start_paused = true)]
async fn one_whose_client_is_gone_goes_on_as_it_was() {
    let feed = feed();
    let acme = may_see(&feed, &[0]);
    feed.feed.create(Some(&plain("oms")), &acme).await.unwrap();
    feed.post("acme", "A").await;
    let mut stream = open(&feed, "oms", &acme).await;
    let lent = delivery(&mut stream).await;
    feed.clients.replace(HashMap::new());
    assert_eq!(feed.feed.show("oms", &anyone()).await.unwrap().accounts, ["acme"]);
    assert_eq!(feed.settle("oms", &lent.lease, ack()).await, pb::SettleOutcome::Applied);
    feed.post("other", "B").await;
    feed.post("acme", "C").await;
    assert_eq!(seqs(&[delivery(&mut stream).await]), [3]);
}

#[tokio::test(start_paused = true)]
async fn what_went_is_void_though_the_process_ended_before_it_said_so() {
    let feed = feed();
    feed.post("other", "A").await;
    feed.create(of_accounts("oms", &["acme", "other"])).await;
    let mut stream = feed.consumer("oms", "one").await;
    park(&feed, "oms", &delivery(&mut stream).await).await;
    // The filter is written, and nothing else.
    let narrow = |it: &mut Subscription| {
        let mut config = it.head().config.clone();
        config.filter.accounts.truncate(1);
        it.update(config, crate::domain::timestamp::Timestamp(START));
    };
    feed.store.change("oms", narrow).await.unwrap();
    let listed = feed.feed.list_subscriptions(&pb::ListSubscriptionsRequest::default(), &limited(&[0])).await.unwrap();
    assert_eq!(
        (listed.subscriptions[0].parked, listed.subscriptions[0].accounts.clone()),
        (0, vec!["acme".to_owned()])
    );
    assert_eq!(feed.feed.0.parts.metrics.voided.get(), 1);
}
