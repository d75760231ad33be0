//! Accounts that are renamed, removed, exchanged, and given to other sellers.

use super::super::migrations;
use super::super::open::APPLICATION;
use super::super::tests::Place;
use crate::domain::account::{AccountId, SellerId};
use crate::domain::feed::{FeedName, with_account};
use crate::domain::ledger::{Entry, EntryState, NewEntry, OperationId};
use crate::ports::event_log::{AppendOutcome, EventLog};
use crate::ports::ledger::{BeginConflict, BeginOutcome, EntryQuery, Ledger, SaveResult};
use crate::ports::subscriptions::SubscriptionStore;
use crate::store::sqlite::SqliteLedger;
use crate::store::{AccountConflict, StoreSettings};
use crate::testing::store::{create, intent, made, new_subscription, settings, subscription_config, time};

fn id(name: &str) -> AccountId {
    AccountId::new(name).unwrap()
}

fn open(place: &Place, accounts: &[(&str, &str)]) -> SqliteLedger {
    let accounts = accounts.iter().map(|(account, seller)| (id(account), SellerId::new(seller))).collect();
    SqliteLedger::open(&place.path(), StoreSettings { accounts, ..settings() }).unwrap()
}

fn order(account: &str, number: &str) -> NewEntry {
    NewEntry { account: id(account), ..create(number, None) }
}

async fn begin(ledger: &SqliteLedger, account: &str, number: &str) -> BeginOutcome {
    ledger.begin(vec![order(account, number)], false).await.unwrap()
}

/// The accounts and order numbers of the entries of one account, or of all.
async fn listed(ledger: &SqliteLedger, account: Option<&str>) -> Vec<(String, String)> {
    let accounts = account.map(|account| vec![id(account)]);
    let all = EntryQuery { accounts, states: Vec::new(), created_before: None, after: OperationId(0), limit: 99 };
    let shown = |entry: Entry| (entry.account.to_string(), entry.order_number.to_string());
    ledger.list(&all).await.unwrap().into_iter().map(shown).collect()
}

fn told(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(one, other)| ((*one).to_owned(), (*other).to_owned())).collect()
}

#[tokio::test]
async fn a_renamed_account_keeps_its_orders() {
    let place = Place::new();
    let ledger = open(&place, &[("acme", "1"), ("other", "2")]);
    let entry = made(begin(&ledger, "acme", "A").await).remove(0);
    let end = Entry { state: EntryState::Succeeded, body: Default::default(), ..entry.clone() };
    assert!(matches!(ledger.save(vec![end], Vec::new()).await.unwrap(), SaveResult::Done(_)));
    made(begin(&ledger, "acme", "B").await);
    ledger.close().await;
    let ledger = open(&place, &[("other", "2"), ("beta", "1")]);
    for number in ["A", "B"] {
        let again = begin(&ledger, "beta", number).await;
        assert!(matches!(again, BeginOutcome::Existing { by: BeginConflict::OrderNumber, .. }), "{again:?}");
    }
    assert_eq!(ledger.get(entry.id).await.unwrap().unwrap().account, id("beta"));
    assert_eq!(listed(&ledger, Some("beta")).await, told(&[("beta", "A"), ("beta", "B")]));
    assert_eq!(listed(&ledger, Some("acme")).await, []);
    assert_eq!(ledger.counts().await.unwrap().len(), 2);
    made(begin(&ledger, "other", "A").await);
    ledger.close().await;
}

#[tokio::test]
async fn an_id_that_is_given_to_another_seller_gives_it_nothing() {
    let place = Place::new();
    let ledger = open(&place, &[("acme", "1")]);
    made(begin(&ledger, "acme", "A").await);
    ledger.close().await;
    let ledger = open(&place, &[("acme", "2")]);
    assert_eq!(listed(&ledger, Some("acme")).await, []);
    made(begin(&ledger, "acme", "A").await);
    assert_eq!(listed(&ledger, None).await, told(&[("partner:1", "A"), ("acme", "A")]));
    ledger.close().await;
    // Both come to their own when the first is back, under whatever id.
    let ledger = open(&place, &[("first", "1"), ("acme", "2")]);
    assert_eq!(listed(&ledger, None).await, told(&[("first", "A"), ("acme", "A")]));
    for account in ["first", "acme"] {
        assert!(matches!(begin(&ledger, account, "A").await, BeginOutcome::Existing { .. }), "{account}");
    }
    ledger.close().await;
    // One that is only left out keeps the name that it had.
    let ledger = open(&place, &[("acme", "2")]);
    assert_eq!(listed(&ledger, None).await, told(&[("first", "A"), ("acme", "A")]));
    ledger.close().await;
}

#[tokio::test]
async fn ids_may_be_exchanged() {
    let place = Place::new();
    let ledger = open(&place, &[("a", "1"), ("b", "2")]);
    made(begin(&ledger, "a", "of 1").await);
    made(begin(&ledger, "b", "of 2").await);
    ledger.close().await;
    let ledger = open(&place, &[("a", "2"), ("b", "1")]);
    assert_eq!(listed(&ledger, None).await, told(&[("b", "of 1"), ("a", "of 2")]));
    ledger.close().await;
}

#[tokio::test]
async fn a_file_of_an_earlier_version_takes_the_sellers_of_the_settings() {
    let place = Place::new();
    let mut earlier = place.other();
    migrations::run_to(&mut earlier, APPLICATION, 0, 3).unwrap();
    earlier
        .execute_batch(
            "INSERT INTO accounts VALUES (1, 'acme'), (2, 'gone');
             INSERT INTO entries (id, fence, account, kind, state, effect, attempts, batch, batches, created, updated, not_after,
             number_key, freed, correlation_id, fingerprint, order_number, answer, last_error, resolution)
             SELECT column1, 1, column1, 0, 4, 1, 1, 0, 1, 1000 * column1, 2000, 3000, CAST('A' AS BLOB), 0, randomblob(16),
             randomblob(33), 'A', x'', '', '' FROM (VALUES (1), (2));
             UPDATE numbers SET value = 3 WHERE name = 'next_entry';
             INSERT INTO counts VALUES (1, 4, 1), (2, 4, 1);
             UPDATE numbers SET value = 3 WHERE name = 'counted'",
        )
        .unwrap();
    drop(earlier);
    let ledger = open(&place, &[("acme", "1"), ("new", "3")]);
    assert!(matches!(begin(&ledger, "acme", "A").await, BeginOutcome::Existing { .. }));
    assert_eq!(listed(&ledger, None).await, told(&[("acme", "A"), ("gone", "A")]));
    let before = EntryQuery {
        accounts: None,
        states: Vec::new(),
        created_before: Some(crate::domain::timestamp::Timestamp(1_500)),
        after: OperationId(0),
        limit: 9,
    };
    assert_eq!(ledger.list(&before).await.unwrap().len(), 1);
    ledger.close().await;
    // From now on the id is a name: it may go to another seller, and the first may have another one.
    let ledger = open(&place, &[("acme", "3"), ("beta", "1"), ("gone", "4")]);
    assert_eq!(listed(&ledger, None).await, told(&[("beta", "A"), ("gone", "A")]));
    made(begin(&ledger, "acme", "A").await);
    ledger.close().await;
}

#[tokio::test]
async fn a_renamed_account_keeps_its_intents_and_subscriptions() {
    let place = Place::new();
    let delivery = |account: &str, event: &str| {
        let one = intent(event, time(1));
        crate::domain::feed::notification::WebhookDelivery { account: id(account), ..one }
    };
    let ledger = open(&place, &[("acme", "1"), ("other", "2")]);
    for (account, event) in [("acme", "one"), ("other", "two"), ("acme", "three")] {
        ledger.append(delivery(account, event)).await.unwrap();
    }
    let mut config = subscription_config(true);
    config.filter.accounts = vec!["other".into(), "acme".into()];
    ledger.make(new_subscription("oms", config, 0, time(1))).await.unwrap();
    ledger.close().await;

    let ledger = open(&place, &[("beta", "1"), ("other", "2")]);
    ledger.append(delivery("beta", "four")).await.unwrap();
    assert_eq!(ledger.append(delivery("beta", "one")).await.unwrap(), AppendOutcome::Duplicate);
    let stored = |event: &str, account: Option<&str>| -> bytes::Bytes {
        let message = format!("message {event}");
        match account {
            Some(account) => with_account(message.as_bytes(), &id(account)),
            None => message.into(),
        }
    };
    let now = [stored("one", Some("beta")), stored("two", None), stored("three", Some("beta")), stored("four", None)];
    let messages =
        |events: Vec<crate::ports::event_log::StoredEvent>| Vec::from_iter(events.into_iter().map(|e| e.message));
    assert_eq!(messages(EventLog::read(&ledger, FeedName::CancelIntents, 0, 9, usize::MAX, false).await.unwrap()), now);
    assert_eq!(messages(ledger.pick(FeedName::CancelIntents, vec![3, 4], true).await.unwrap()), now[2..]);
    let found = ledger.find(FeedName::CancelIntents, &id("beta"), "one", false).await.unwrap().unwrap();
    assert_eq!((found.seq, &found.message), (1, &now[0]));
    assert_eq!(ledger.find(FeedName::CancelIntents, &id("acme"), "one", false).await.unwrap(), None);
    let filter = ledger.change("oms", |it| it.head().config.filter.accounts.clone()).await.unwrap().unwrap();
    assert_eq!(filter, ["other", "beta"]);
    ledger.close().await;

    // The id goes to another seller: what was stored is not shown as its.
    let ledger = open(&place, &[("beta", "3"), ("other", "2")]);
    let first = ledger.pick(FeedName::CancelIntents, vec![1], false).await.unwrap().remove(0).message;
    assert_eq!(first, with_account(b"message one", &AccountId::without_account(Some("1"), "beta")));
    assert_eq!(ledger.append(delivery("beta", "one")).await.unwrap(), AppendOutcome::Stored { seq: Some(5) });
    ledger.close().await;
}

#[tokio::test]
async fn accounts_are_added_while_the_store_is_open_all_or_none() {
    let place = Place::new();
    let ledger = open(&place, &[("acme", "1"), ("old", "2")]);
    made(begin(&ledger, "acme", "A").await);
    let add = async |accounts: &[(&str, &str)]| {
        let accounts = accounts.iter().map(|(account, seller)| (id(account), SellerId::new(seller))).collect();
        ledger.add_accounts(accounts).await.unwrap()
    };
    assert_eq!(add(&[("acme", "1"), ("beta", "3")]).await, []);
    made(begin(&ledger, "beta", "A").await);
    assert_eq!(add(&[("beta", "3")]).await, [], "again");
    let conflicts = [
        AccountConflict::Renamed { account: id("new"), from: "old".into() },
        AccountConflict::Taken { account: id("acme") },
    ];
    assert_eq!(add(&[("gamma", "4"), ("new", "2"), ("acme", "9")]).await, conflicts);
    // Nothing of it was taken.
    assert_eq!(add(&[("delta", "4")]).await, []);
    ledger.close().await;
    let ledger = open(&place, &[("acme", "1"), ("second", "3"), ("delta", "4")]);
    assert_eq!(listed(&ledger, None).await, told(&[("acme", "A"), ("second", "A")]), "it is the seller's");
    ledger.close().await;
}
