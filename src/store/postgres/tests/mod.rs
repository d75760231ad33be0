//! Tests of the store on a server of their own.

mod cut;
mod faults;
mod starting;

use std::time::Duration;

use tokio::time::timeout;
use url::Url;

use super::*;
use crate::config::{PostgresTls, Secret};
use crate::testing::postgres::{Cluster, PASSWORD, url};
use crate::testing::store::settings;

/// The settings of a store in this schema of the shared server.
pub(in crate::store) fn in_schema(schema: &str) -> PostgresSettings {
    at(Cluster::shared().port(), schema)
}

/// The settings of a store in this schema of the server at this port.
fn at(port: u16, schema: &str) -> PostgresSettings {
    PostgresSettings {
        url: Url::parse(&url(port)).unwrap(),
        password: Some(Secret::inline(PASSWORD)),
        tls: PostgresTls::Off,
        connections: 8,
        lease: Duration::from_secs(15),
        attempt_timeout: Duration::from_secs(10),
        pooler: false,
        migrate: true,
        schema: schema.to_owned(),
    }
}

/// A store that has begun its life.
pub(in crate::store) async fn open(schema: &str) -> PostgresStore {
    open_with(in_schema(schema)).await
}

async fn open_with(settings_of_postgres: PostgresSettings) -> PostgresStore {
    let store = PostgresStore::open(settings_of_postgres, settings()).unwrap();
    timeout(Duration::from_secs(60), store.life().begun()).await.unwrap().unwrap();
    store
}
