//! Tests of the store on a server of their own.

use std::time::Duration;

use tokio::time::timeout;
use url::Url;

use super::*;
use crate::config::Secret;
use crate::ports::ledger::Ledger as _;
use crate::testing::postgres::{Cluster, PASSWORD, new_schema};
use crate::testing::store::{create, made, settings};

/// The settings of a store in this schema of the shared server.
pub(in crate::store) fn in_schema(schema: &str) -> PostgresSettings {
    at(Cluster::shared(), schema)
}

fn at(cluster: &Cluster, schema: &str) -> PostgresSettings {
    let settings = PostgresSettings::new(Url::parse(&cluster.url()).unwrap());
    PostgresSettings { password: Some(Secret::inline(PASSWORD)), schema: schema.to_owned(), ..settings }
}

/// A store that has begun its life.
pub(in crate::store) async fn open(schema: &str) -> PostgresStore {
    let store = PostgresStore::open(in_schema(schema), settings()).unwrap();
    timeout(Duration::from_secs(60), store.life().begun()).await.unwrap().unwrap();
    store
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_see_one_ledger() {
    let schema = new_schema();
    let (one, other) = (open(&schema).await, open(&schema).await);
    let entry = made(one.begin(vec![create("A", None)], false).await.unwrap()).remove(0);
    assert_eq!(other.get(entry.id).await.unwrap(), Some(entry));
    one.close().await;
    other.close().await;
}
