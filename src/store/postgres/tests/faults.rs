//! Broken connections, lost answers, and lives that others end.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};
use tokio_postgres::NoTls;

use super::cut::{Cut, Proxy};
use super::*;
use crate::domain::ledger::{Entry, EntryState, OperationId};
use crate::ports::ledger::{Ledger as _, SaveResult};
use crate::testing::postgres::new_schema;
use crate::testing::store::{create, made, time};

async fn begin(store: &PostgresStore, number: &str) -> Entry {
    made(store.begin(vec![create(number, None)], false).await.unwrap()).remove(0)
}

/// As the server's superuser, in the schema of the test.
fn sql(schema: &str, statements: &str) -> String {
    Cluster::shared().sql(&format!("SET search_path TO {schema}; {statements}")).unwrap()
}

/// A store behind a proxy.
async fn behind_a_proxy(schema: &str) -> (PostgresStore, Proxy) {
    let proxy = Proxy::start(Cluster::shared().port()).await;
    (open_with(at(proxy.port, schema)).await, proxy)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_without_its_answer_is_done_once() {
    let schema = new_schema();
    let (store, proxy) = behind_a_proxy(&schema).await;
    let first = begin(&store, "A").await;
    for (number, cut) in [("B", Cut::After), ("C", Cut::Before)] {
        proxy.cut(cut).await;
        let entry = begin(&store, number).await;
        assert!(proxy.has_cut());
        assert_eq!(store.creation_of(&entry.account, number).await.unwrap(), Some(entry));
    }
    // A change that is made twice would find its own fence moved on.
    proxy.cut(Cut::After).await;
    let end = Entry { state: EntryState::Unknown, updated: time(1), ..first };
    assert!(matches!(store.save(vec![end], Vec::new()).await.unwrap(), SaveResult::Done(_)));
    assert!(proxy.has_cut());
    assert_eq!(sql(&schema, "SELECT count(*), (SELECT max(epoch) FROM lanes) FROM entries"), "3|4");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_the_server_gets_later_does_nothing() {
    let schema = new_schema();
    let (store, proxy) = behind_a_proxy(&schema).await;
    begin(&store, "A").await;
    let (go, held) = oneshot::channel();
    proxy.cut(Cut::Held(held)).await;
    let entry = begin(&store, "B").await;
    assert!(proxy.has_cut());
    go.send(()).unwrap();
    sleep(Duration::from_millis(200)).await;
    assert_eq!(sql(&schema, "SELECT id FROM entries ORDER BY id DESC LIMIT 1"), entry.id.0.to_string());
    assert_eq!(sql(&schema, "SELECT count(*) FROM entries"), "2");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_the_server_ended_is_replaced() {
    let schema = new_schema();
    let store = open(&schema).await;
    begin(&store, "A").await;
    let all = "SELECT count(pg_terminate_backend(pid)) > 0 FROM pg_stat_activity WHERE application_name LIKE 'og/%/' \
               || current_schema()";
    assert_eq!(sql(&schema, all), "t");
    begin(&store, "B").await;
    assert!(store.creation_of(&create("A", None).account, "A").await.unwrap().is_some());
    assert_eq!(store.failing(), None);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_whose_life_was_ended_goes_on_in_a_new_one() {
    let schema = new_schema();
    let store = open(&schema).await;
    let life = store.life().present().unwrap();
    let entry = begin(&store, "A").await;
    sql(&schema, "UPDATE lanes SET epoch = epoch + 1, ended = true; UPDATE replicas SET ended = true");
    let next = begin(&store, "B").await;
    assert_ne!(store.life().present().unwrap(), life);
    assert_eq!(store.in_hand(OperationId(0), 9).await.unwrap(), [next]);
    assert_eq!(store.orphans(OperationId(0), 9).await.unwrap(), [entry]);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_that_a_failover_lost_are_seen() {
    let schema = new_schema();
    let store = open(&schema).await;
    let mut lost = store.life().lost();
    for number in ["A", "B", "C"] {
        begin(&store, number).await;
    }
    assert_eq!(*lost.borrow_and_update(), 0);
    sql(
        &schema,
        "UPDATE lanes SET seq = seq - 2 WHERE seq = 3; SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE application_name LIKE 'og/%/' || current_schema()",
    );
    begin(&store, "D").await;
    assert_eq!(*lost.borrow_and_update(), 2);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_stopped_in_mid_transaction_holds_nobody_up() {
    let schema = new_schema();
    let (store, other) = (open(&schema).await, open(&schema).await);
    let entry = begin(&store, "A").await;
    let cluster = Cluster::shared();
    let config = format!(
        "host=127.0.0.1 port={} user=postgres password={PASSWORD} dbname=postgres application_name=og/999/0/{schema}",
        cluster.port()
    );
    let (stopped, connection) = tokio_postgres::connect(&config, NoTls).await.unwrap();
    tokio::spawn(connection);
    let hold = format!("BEGIN; SELECT id FROM {schema}.entries WHERE id = {} FOR UPDATE", entry.id.0);
    stopped.batch_execute(&hold).await.unwrap();
    let began = Instant::now();
    let end = Entry { state: EntryState::Unknown, updated: time(1), ..entry };
    let saved = other.save(vec![end], Vec::new()).await.unwrap();
    assert!(matches!(saved, SaveResult::Done(_)), "{saved:?}");
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
    assert!(stopped.is_closed() || stopped.simple_query("SELECT 1").await.is_err());
    store.close().await;
    other.close().await;
}
