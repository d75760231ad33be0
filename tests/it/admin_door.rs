//! The operators' door: an address of its own, and nobody who was led there by a stranger's name.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::app::{Setup, TestApp, get};
use crate::support::webhooks::{SETTINGS, Sender, intent};

const OPERATORS: [&str; 4] = ["/", "/runbook", "/status.json", "/metrics"];
const PROBES: [&str; 2] = ["/livez", "/readyz"];

async fn status(address: SocketAddr, path: &str) -> u16 {
    get(address, path).await.0
}

/// The status of a request under this name.
async fn named(address: SocketAddr, path: &str, host: &str) -> u16 {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn with_an_address_of_its_own_the_other_has_webhooks_and_probes_alone() {
    let settings = format!("{SETTINGS}\n[admin]\nlisten = \"127.0.0.1:8081\"\nhosts = [\"ops.example.com\"]\n");
    let app = Setup::new().settings(&settings).start().await;
    assert_ne!(app.operators, app.http);
    for path in OPERATORS {
        assert_eq!((status(app.operators, path).await, status(app.http, path).await), (200, 404), "{path}");
        assert_eq!(named(app.operators, path, "ops.example.com").await, 200);
        assert_eq!(named(app.operators, path, "evil.example.com").await, 421);
    }
    for path in PROBES {
        assert_eq!((status(app.operators, path).await, status(app.http, path).await), (404, 200), "{path}");
    }
    let mut walmart = Sender::connect(app.http).await;
    let (stored, _) = walmart.deliver(intent("1", "PO-1").to_string().as_bytes()).await;
    assert_eq!(stored, 200);
    assert_eq!(status(app.operators, "/webhooks/walmart/demo").await, 404);
    assert_eq!(app.metric("order_gateway_webhooks_total{account=\"demo\",outcome=\"stored\"}").await, 1.0);
    app.finish().await;
}

#[tokio::test]
async fn at_the_address_of_webhooks_it_looks_at_names_too_and_probes_do_not() {
    let app = TestApp::start().await;
    assert_eq!(app.operators, app.http);
    let by_address = app.http.to_string();
    for path in OPERATORS {
        for (host, expected) in [("localhost", 200), (by_address.as_str(), 200), ("rebound.example", 421)] {
            assert_eq!(named(app.http, path, host).await, expected, "{path} {host}");
        }
    }
    for path in PROBES {
        assert_eq!(named(app.http, path, "rebound.example").await, 200, "{path}");
    }
    app.finish().await;
}
