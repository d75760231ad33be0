//! What is said of a server or a schema that cannot be used.

use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;
use tokio::time::sleep;

use super::*;
use crate::ports::ledger::Ledger as _;
use crate::store::StoreSettings;
use crate::testing::postgres::new_schema;
use crate::testing::store::{create, made};

/// The line with which a process ends that must not use this store.
async fn refused(settings_of_postgres: PostgresSettings) -> String {
    let (send, line) = oneshot::channel();
    let send = Mutex::new(Some(send));
    let on_fatal = Arc::new(move |line: &str| {
        if let Some(send) = send.lock().unwrap().take() {
            send.send(line.to_owned()).unwrap();
        }
    });
    let store = PostgresStore::open(settings_of_postgres, StoreSettings { on_fatal, ..settings() }).unwrap();
    let line = timeout(Duration::from_secs(30), line).await.unwrap().unwrap();
    drop(store);
    line
}

/// What a store that cannot work now says.
async fn failing(store: &PostgresStore) -> String {
    let failing = async {
        loop {
            if let Some(failing) = store.failing() {
                return failing.error.text;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(30), failing).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_forgets_is_refused() {
    for setting in ["fsync", "full_page_writes"] {
        let cluster = Cluster::start_with(&[&format!("{setting} = off")]).unwrap();
        let line = refused(at(cluster.port(), "order_gateway")).await;
        assert_eq!(
            line,
            format!(
                "store.url: the server runs with {setting} = off, by which a crash loses acknowledged orders: set {setting} = on"
            )
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_of_a_later_version_is_refused_unless_it_can_be_read() {
    let schema = new_schema();
    open(&schema).await.close().await;
    let update = |what: &str| Cluster::shared().sql(&format!("UPDATE {schema}.schema_version SET {what}")).unwrap();
    update("version = 1000");
    open(&schema).await.close().await;
    update("oldest_reader = 1000");
    let line = refused(in_schema(&schema)).await;
    assert!(line.contains("was written by a newer version (schema version 1000, readable from 1000 on"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_said_and_the_file_is_read_again() {
    let schema = new_schema();
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "wrong\n").unwrap();
    let mut settings_of_postgres = in_schema(&schema);
    settings_of_postgres.password = Some(Secret::from_file("store.password_file".into(), file.clone()).unwrap());
    let store = PostgresStore::open(settings_of_postgres, settings()).unwrap();
    let line = failing(&store).await;
    assert!(line.starts_with("the password of \"postgres\" is wrong: correct store.password"), "{line}");
    assert!(store.begin(vec![create("A", None)], false).await.is_err());
    std::fs::write(&file, format!("{PASSWORD}\n")).unwrap();
    timeout(Duration::from_secs(60), store.life().begun()).await.unwrap().unwrap();
    made(store.begin(vec![create("A", None)], false).await.unwrap());
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_database_and_a_server_that_is_away_are_said() {
    let schema = new_schema();
    let mut other = in_schema(&schema);
    other.url.set_path("/nothing");
    let store = PostgresStore::open(other, settings()).unwrap();
    assert_eq!(failing(&store).await, "there is no database \"nothing\": create it, or correct store.url");
    store.close().await;
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let store = PostgresStore::open(at(port, &schema), settings()).unwrap();
    let line = failing(&store).await;
    assert!(line.starts_with("no connection to the server: "), "{line}");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_without_rights_is_told_what_it_needs() {
    let schema = new_schema();
    let role = format!("role_{schema}");
    let cluster = Cluster::shared();
    cluster.sql(&format!("CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")).unwrap();
    let mut other = in_schema(&schema);
    other.url.set_username(&role).unwrap();
    let store = PostgresStore::open(other.clone(), settings()).unwrap();
    let line = failing(&store).await;
    assert!(line.starts_with(&format!("the role may not create schema \"{schema}\"")), "{line}");
    // Somebody else migrates and grants, and the store begins to work.
    PostgresStore::migrate(in_schema(&schema)).await.unwrap();
    cluster.sql(&format!("GRANT USAGE ON SCHEMA {schema} TO {role}")).unwrap();
    let all = format!("ON ALL TABLES IN SCHEMA {schema} TO {role}");
    cluster.sql(&format!("GRANT SELECT, INSERT, UPDATE, DELETE {all}")).unwrap();
    cluster.sql(&format!("GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {role}")).unwrap();
    timeout(Duration::from_secs(60), store.life().begun()).await.unwrap().unwrap();
    made(store.begin(vec![create("A", None)], false).await.unwrap());
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_processes_migrate_at_the_same_time() {
    let schema = new_schema();
    let stores = futures_util::future::join_all((0..4).map(|_| open(&schema))).await;
    for store in stores {
        store.close().await;
    }
}
