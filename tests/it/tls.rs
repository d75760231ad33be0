//! Callers by TLS: who is known by a certificate, what hurts nobody, and certificates that change while calls run.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::support::app::{Setup, TestApp};
use crate::support::authority::{Authority, FUTURE, NOW, PAST, Pair};
use crate::support::bodies;
use crate::support::feed::{finish, post, watch};
use crate::support::frames::{CREATE, Frames};
use crate::support::tls::TlsFolder;
use crate::support::webhooks;

const OMS: &str = "spiffe://acme/oms";
const SHOP: &str = "spiffe://acme/shop";

const CLIENTS: &str = r#"
[[clients]]
name = "oms"
san = "spiffe://acme/oms"
accounts = ["demo"]

[[clients]]
name = "shop"
san = "spiffe://acme/shop"
accounts = ["demo"]
services = ["GatewayService"]

[[clients]]
name = "old-fashioned"
token = "token-of-the-old-fashioned-0123456789"
accounts = ["demo"]
"#;

async fn start(folder: &TlsFolder) -> TestApp {
    let settings = format!("{CLIENTS}\n{}", folder.settings(true));
    Setup::new().settings(webhooks::SETTINGS).settings(&settings).start().await
}

async fn refused(app: &TestApp, reason: &str) -> f64 {
    app.metric(&format!("order_gateway_callers_refused_total{{reason=\"{reason}\"}}")).await
}

#[tokio::test]
async fn a_certificate_says_who_calls() {
    let authority = Authority::new();
    let folder = TlsFolder::new(&authority);
    let app = start(&folder).await;
    let by = |pair: Pair| app.tls_client(authority.connector(Some(&pair)));
    let oms = by(authority.client(OMS, NOW)).await.unwrap();
    oms.create(&bodies::create()).await.unwrap();

    let shop = by(authority.client(SHOP, NOW)).await.unwrap();
    shop.gateway("").await.unwrap();
    shop.create(&bodies::create()).await.unwrap_err().is(Code::PermissionDenied, "SERVICE_NOT_ALLOWED");
    let stranger = by(authority.client("spiffe://acme/other", NOW)).await.unwrap();
    stranger.gateway("").await.unwrap_err().is(Code::Unauthenticated, "CALLER_UNAUTHENTICATED");
    let nameless = by(authority.nameless()).await.unwrap();
    nameless.gateway("").await.unwrap_err().is(Code::Unauthenticated, "CALLER_UNAUTHENTICATED");
    HealthClient::new(nameless.service()).check(HealthCheckRequest::default()).await.unwrap();
    // A token that is sent decides, whatever the certificate says.
    let wrong = oms.clone().with("authorization", "Bearer guessed");
    wrong.gateway("").await.unwrap_err().is(Code::Unauthenticated, "CALLER_UNAUTHENTICATED");
    let token = nameless.clone().with("authorization", "Bearer token-of-the-old-fashioned-0123456789");
    token.gateway("").await.unwrap();
    for (reason, times) in
        [("unknown_certificate", 1.0), ("no_credentials", 1.0), ("unknown_token", 1.0), ("service_not_allowed", 1.0)]
    {
        assert_eq!(refused(&app, reason).await, times, "{reason}");
    }
    app.finish().await;
}

#[tokio::test]
async fn certificates_that_prove_nothing_get_no_connection() {
    let authority = Authority::new();
    let folder = TlsFolder::new(&authority);
    let app = start(&folder).await;
    let oms = app.tls_client(authority.connector(Some(&authority.client(OMS, NOW)))).await.unwrap();
    let mut failures = 0.0;
    for (what, client) in [
        ("none", None),
        ("of another authority", Some(Authority::new().client(OMS, NOW))),
        ("expired", Some(authority.client(OMS, PAST))),
        ("of the future", Some(authority.client(OMS, FUTURE))),
    ] {
        if let Ok(client) = app.tls_client(authority.connector(client.as_ref())).await {
            let status = client.look_up("SO123").await.unwrap_err();
            assert!(status.details().is_empty(), "{what}: {status:?}");
        }
        failures += 1.0;
        assert_eq!(app.metric("order_gateway_tls_failures_total").await, failures, "{what}");
        oms.gateway("").await.unwrap();
    }
    assert!(app.requests("status").await.is_empty());
    app.finish().await;
}

#[tokio::test]
async fn what_is_no_tls_hurts_nobody() {
    let authority = Authority::new();
    let folder = TlsFolder::new(&authority);
    let app = start(&folder).await;
    let oms = app.tls_client(authority.connector(Some(&authority.client(OMS, NOW)))).await.unwrap();
    let noise: Vec<u8> = (0..4096_u32).map(|n| (n * 7919 % 251) as u8).collect();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    // The beginning of a hello that announces more than ever comes.
    let hello = [&b"\x16\x03\x01\xff\xff\x01\x00\x3f\xff"[..], &[0; 512]].concat();
    for (at, said) in [&noise[..], preface, b"GET / HTTP/1.1\r\nhost: gateway\r\n\r\n", &hello].into_iter().enumerate()
    {
        let mut peer = TcpStream::connect(app.grpc).await.unwrap();
        peer.write_all(said).await.unwrap();
        peer.shutdown().await.unwrap();
        // It is told, or just ended.
        let mut answer = Vec::new();
        let _ = peer.read_to_end(&mut answer).await;
        assert!(answer.len() < 64, "{answer:?}");
        assert_eq!(app.metric("order_gateway_tls_failures_total").await, at as f64 + 1.0);
        oms.gateway("").await.unwrap();
    }
    app.finish().await;
}

#[tokio::test]
async fn probes_of_the_port_are_no_failures() {
    let authority = Authority::new();
    let folder = TlsFolder::new(&authority);
    let app = start(&folder).await;
    let open = async |open: f64| {
        while app.metric("order_gateway_connections").await != open {
            tokio::task::yield_now().await;
        }
    };
    // A close, and a reset as some balancers send it.
    for resets in [false, true] {
        let peer = TcpStream::connect(app.grpc).await.unwrap();
        if resets {
            peer.set_zero_linger().unwrap();
        }
        open(1.0).await;
        drop(peer);
        open(0.0).await;
    }
    let mut silent = TcpStream::connect(app.grpc).await.unwrap();
    open(1.0).await;
    app.advance(Duration::from_secs(11)).await;
    assert_eq!(silent.read(&mut [0]).await.unwrap(), 0);
    open(0.0).await;
    assert_eq!(app.metric("order_gateway_tls_failures_total").await, 0.0);
    // Half of a word is a failure.
    let mut peer = TcpStream::connect(app.grpc).await.unwrap();
    peer.write_all(b"\x16\x03").await.unwrap();
    open(1.0).await;
    drop(peer);
    open(0.0).await;
    assert_eq!(app.metric("order_gateway_tls_failures_total").await, 1.0);
    app.finish().await;
}

#[tokio::test]
async fn certificates_change_and_streams_and_connections_go_on() {
    let (old, new) = (Authority::new(), Authority::new());
    let folder = TlsFolder::new(&old);
    let app = start(&folder).await;
    let oms = app.tls_client(old.connector(Some(&old.client(OMS, NOW)))).await.unwrap();
    let mut stream = watch(&oms, &json!({"start": {"earliest": true}})).await.unwrap();
    stream.opened().await;

    // Half of it first: nothing changes.
    folder.write("tls.crt", &new.server(NOW).0);
    while app.metric("order_gateway_tls_reloads_refused_total").await == 0.0 {
        app.advance(Duration::from_secs(1)).await;
    }
    app.tls_client(old.connector(Some(&old.client(OMS, NOW)))).await.unwrap().gateway("").await.unwrap();

    folder.fill(&new);
    let by_new = || new.connector(Some(&new.client(OMS, NOW)));
    let renewed = loop {
        app.advance(Duration::from_secs(1)).await;
        if let Ok(client) = app.tls_client(by_new()).await {
            break client;
        }
    };
    renewed.gateway("").await.unwrap();
    assert!(app.tls_client(old.connector(Some(&old.client(OMS, NOW)))).await.is_err(), "it does not trust us");
    let untrusted = app.tls_client(new.connector(Some(&old.client(OMS, NOW)))).await;
    if let Ok(client) = untrusted {
        client.look_up("SO123").await.unwrap_err();
    }

    oms.gateway("").await.unwrap();
    post(&app, 1, 1).await;
    assert_eq!(stream.events(1).await[0].event_id, "e-1");
    assert_eq!(app.metric("order_gateway_tls_reloads_refused_total").await, 1.0);
    drop(stream);
    finish(app).await;
}

/// 64 times what a call's headers may have.
#[tokio::test]
async fn metadata_of_a_mebibyte_costs_its_sender_only() {
    let app = TestApp::start().await;
    let other = app.client().await;
    let large = "x".repeat(1024 * 1024);
    for _ in 0..3 {
        let connection = Frames::connect(app.grpc).await;
        let answer = connection.begin(CREATE, &[("x-large", &large)], bytes::Bytes::new()).await.await;
        assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status() == 431));
        other.create(&bodies::create()).await.unwrap();
    }
    // What is too much, but no attack, is answered, and the connection goes on.
    let connection = Frames::connect(app.grpc).await;
    let large = "x".repeat(20 * 1024);
    let answer = connection.begin(CREATE, &[("x-large", &large)], bytes::Bytes::new()).await.await;
    assert_eq!(answer.unwrap().status(), 431);
    assert_eq!(
        connection.call("/nothing.v1.Nothing/Nothing", &[], bytes::Bytes::new()).await.status.code(),
        Code::Unimplemented
    );
    drop(connection);
    app.finish().await;
}
