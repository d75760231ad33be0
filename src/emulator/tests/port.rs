//! The emulator on a real port, spoken to in plain bytes.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::emulator::serve;

struct Served {
    address: SocketAddr,
    seller: Seller,
    shutdown: CancellationToken,
    server: JoinHandle<std::io::Result<()>>,
}

async fn served() -> Served {
    let seller = Seller::new(options()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let server = tokio::spawn(serve(seller.emulator.clone(), listener, shutdown.clone()));
    Served { address, seller, shutdown, server }
}

fn post(seller: &Seller, body: &str, close: bool) -> String {
    let connection = if close { "connection: close\r\n" } else { "" };
    format!(
        "POST {CREATE} HTTP/1.1\r\nhost: x\r\naccept: application/json\r\ncontent-type: application/json\r\n\
         wm_sec.access_token: {}\r\nwm_qos.correlation_id: 1\r\nwm_svc.name: x\r\n{connection}content-length: {}\r\n\r\n{body}",
        seller.token,
        body.len()
    )
}

async fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // A reset ends the answer like an end does.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn answers_on_a_kept_alive_connection_and_stops_when_told() {
    let served = served().await;
    let one = post(&served.seller, &create_body("SO1", "SKU-1", 1).to_string(), false);
    let two = post(&served.seller, &create_body("SO2", "SKU-1", 1).to_string(), true);
    let answer = exchange(served.address, (one + &two).as_bytes()).await;
    assert_eq!(answer.matches("HTTP/1.1 202 Accepted").count(), 2, "{answer}");
    assert!(answer.contains("x-current-token-count: 598"), "{answer}");
    // An idle connection does not hold up the end.
    let _idle = TcpStream::connect(served.address).await.unwrap();
    served.shutdown.cancel();
    served.server.await.unwrap().unwrap();
    assert!(TcpStream::connect(served.address).await.is_err());
}

#[tokio::test]
async fn a_drop_closes_the_connection_without_an_answer() {
    let served = served().await;
    let body = create_body("MAGIC-DROP-AFTER-1", "SKU-1", 1).to_string();
    let request = post(&served.seller, &body, false);
    assert_eq!(exchange(served.address, request.as_bytes()).await, "");
    assert_eq!(served.seller.control("GET", "orders/MAGIC-DROP-AFTER-1", "").await.body["total"], 1);
}

#[tokio::test]
async fn garbage_and_slow_clients_cost_nobody_else_anything() {
    let served = served().await;
    let mut slow = TcpStream::connect(served.address).await.unwrap();
    slow.write_all(b"POST /v3/token HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nhalf").await.unwrap();
    let answer = exchange(served.address, b"\x16\x03\x01 this is not HTTP\r\n\r\n").await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    let huge = "x".repeat((1 << 20) + 1);
    let answer = exchange(served.address, post(&served.seller, &huge, false).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413") || answer.is_empty(), "{answer}");
    let declared = format!("POST {CREATE} HTTP/1.1\r\nhost: x\r\ncontent-length: 9999999\r\n\r\n");
    let answer = exchange(served.address, declared.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    let good = post(&served.seller, &create_body("SO1", "SKU-1", 1).to_string(), true);
    assert!(exchange(served.address, good.as_bytes()).await.starts_with("HTTP/1.1 202"));
}
