//! The servers of [`super::postgres`] start, work and leave nothing behind.

use std::net::{Ipv4Addr, TcpListener};

use super::postgres::{Cluster, new_schema};

#[test]
fn a_cluster_takes_statements_and_syncs() {
    let cluster = Cluster::shared();
    assert_eq!(cluster.sql("SHOW fsync; SELECT 1, 'two'").unwrap(), "on\n1|two");
    let error = cluster.sql("SELECT 1 / 0").unwrap_err().to_string();
    assert!(error.contains("division by zero"), "{error}");
    assert_eq!(cluster.url(), format!("postgres://postgres@127.0.0.1:{}/postgres", cluster.port()));
}

#[test]
fn a_cluster_that_is_dropped_leaves_nothing() {
    let cluster = Cluster::start_with(&["work_mem = 5MB"]).unwrap();
    assert_eq!(cluster.sql("SHOW work_mem").unwrap(), "5MB");
    let (folder, port) = (cluster.files.folder.clone(), cluster.port());
    drop(cluster);
    assert!(!folder.exists());
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
}

#[test]
fn no_schema_comes_twice() {
    assert_ne!(new_schema(), new_schema());
}
