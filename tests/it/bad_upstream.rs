//! A Walmart that answers anything: each call ends in a code of the table, within its deadline.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::FutureExt as _;
use order_gateway::upstream::http_client::HttpClient;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tonic::Code;

use crate::support::app::Setup;
use crate::support::bodies;

/// What it does with every call but that for a token.
#[derive(Clone, Copy, Debug)]
enum Behaviour {
    ClosesAtOnce,
    SaysNothing,
    Garbage,
    NoStatus,
    Says(&'static str),
    HalfABody,
    ByteByByte,
    Endless,
    ClaimsHugeLength,
    ClaimsMoreThanItSends,
    Redirects(u16, SocketAddr),
}

const TOKEN: &str = r#"{"access_token":"t","token_type":"Bearer","expires_in":900}"#;

async fn start(behaviour: Behaviour) -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepting = tokio::spawn(async move {
        let mut open = tokio::task::JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            open.spawn(serve(stream, behaviour));
        }
    });
    (address, accepting)
}

async fn serve(mut stream: TcpStream, behaviour: Behaviour) -> Option<()> {
    loop {
        let head = read(&mut stream).await?;
        if head.starts_with("POST /v3/token ") {
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{TOKEN}", TOKEN.len());
            stream.write_all(answer.as_bytes()).await.ok()?;
        } else {
            misbehave(&mut stream, behaviour).await?;
            return None;
        }
    }
}

/// A request's head, once the whole request is there.
async fn read(stream: &mut TcpStream) -> Option<String> {
    let mut seen = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&seen).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return Some(head.to_owned());
            }
        }
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
        seen.extend_from_slice(&buffer[..read]);
    }
}

async fn misbehave(stream: &mut TcpStream, behaviour: Behaviour) -> Option<()> {
    let accepted = r#"{"status":"ACCEPTED","payload":{"requestId":"1"}}"#;
    let answer = match behaviour {
        Behaviour::ClosesAtOnce => String::new(),
        Behaviour::SaysNothing => return std::future::pending().await,
        Behaviour::Garbage => "\u{1}\u{2}\u{3} what? \u{7f}\r\n\r\n".repeat(10),
        Behaviour::NoStatus => "HTTP/1.1 999999 What\r\n\r\n".into(),
        Behaviour::Says(body) => format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()),
        Behaviour::Redirects(status, to) => {
            format!("HTTP/1.1 {status} Elsewhere\r\nlocation: http://{to}/v3/orders\r\ncontent-length: 0\r\n\r\n")
        }
        Behaviour::HalfABody => format!("HTTP/1.1 200 OK\r\ncontent-length: 49\r\n\r\n{}", &accepted[..20]),
        Behaviour::ClaimsHugeLength => "HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n{".into(),
        Behaviour::ClaimsMoreThanItSends => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{").await.ok()?;
            return std::future::pending().await;
        }
        Behaviour::ByteByByte => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 49\r\n\r\n").await.ok()?;
            for byte in accepted.bytes() {
                stream.write_all(&[byte]).await.ok()?;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            return None;
        }
        Behaviour::Endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 104857600\r\n\r\n").await.ok()?;
            let block = vec![b' '; 64 * 1024];
            for _ in 0..1600 {
                stream.write_all(&block).await.ok()?;
            }
            return None;
        }
    };
    stream.write_all(answer.as_bytes()).await.ok()
}

#[tokio::test]
async fn whatever_walmart_sends_ends_in_a_code_within_the_deadline() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let checks = [
        Behaviour::ClosesAtOnce,
        Behaviour::SaysNothing,
        Behaviour::Garbage,
        Behaviour::NoStatus,
        Behaviour::Says(""),
        Behaviour::Says("null"),
        Behaviour::Says("[]"),
        Behaviour::Says("<html>"),
        Behaviour::Says(r#"{"status":7,"payload":"x"}"#),
        Behaviour::HalfABody,
        Behaviour::ByteByByte,
        Behaviour::Endless,
        Behaviour::ClaimsHugeLength,
        Behaviour::ClaimsMoreThanItSends,
    ]
    .map(check);
    futures_util::future::join_all(checks).await;
}

async fn check(behaviour: Behaviour) {
    let (address, walmart) = start(behaviour).await;
    let app = Setup::new()
        .settings(&format!("walmart.base_url = \"http://{address}\""))
        .start_in_front_of(HttpClient::new().unwrap())
        .await;
    let client = app.client().await.with("grpc-timeout", "2S");
    let began = Instant::now();
    let (create, status) = (bodies::create(), json!({"orderNumber": "SO123"}));
    let (create, status) = tokio::join!(client.create(&create), client.status(&status));
    let took = began.elapsed();
    assert!(took < Duration::from_millis(2500), "{behaviour:?} took {took:?}");
    let create = create.unwrap_err();
    create.is(Code::Unavailable, "OUTCOME_PENDING");
    let status = status.unwrap_err();
    let slow = matches!(behaviour, Behaviour::SaysNothing | Behaviour::ByteByByte | Behaviour::ClaimsMoreThanItSends);
    if slow {
        status.is(Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
    } else {
        status.is(Code::Unavailable, "UPSTREAM_UNAVAILABLE");
    }
    walmart.abort();
    app.stop_unchecked().await;
}

/// A customer's order is for Walmart and nobody else, whoever says so.
#[tokio::test]
async fn nobody_is_followed_elsewhere() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for status in [301, 302, 303, 307, 308] {
        let (address, walmart) = start(Behaviour::Redirects(status, elsewhere.local_addr().unwrap())).await;
        let app = Setup::new()
            .settings(&format!("walmart.base_url = \"http://{address}\""))
            .start_in_front_of(HttpClient::new().unwrap())
            .await;
        let client = app.client().await;
        let (create, search) = (bodies::create(), json!({"orderNumber": "SO123"}));
        for problem in [client.create(&create).await.unwrap_err(), client.status(&search).await.unwrap_err()] {
            problem.is(Code::InvalidArgument, "UPSTREAM_REJECTED");
            assert_eq!(problem.walmart().http_status, i32::from(status));
        }
        assert!(elsewhere.accept().now_or_never().is_none(), "{status} was followed");
        walmart.abort();
        app.stop_unchecked().await;
    }
}

#[tokio::test]
async fn nobody_there_is_told_as_not_sent() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let app = Setup::new()
        .settings(&format!("walmart.base_url = \"http://{gone}\""))
        .start_in_front_of(HttpClient::new().unwrap())
        .await;
    let problem = app.client().await.create(&bodies::create()).await.unwrap_err();
    problem.is(Code::Unavailable, "UPSTREAM_UNAVAILABLE");
    assert_eq!(problem.walmart().effect(), order_gateway::pb::Effect::None);
    app.stop_unchecked().await;
}
