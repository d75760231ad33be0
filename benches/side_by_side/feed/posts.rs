//! Webhooks as Walmart posts them: signed, over HTTP/1.1 connections that are kept open.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::hmac;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::ACCOUNT;
use crate::Result;
use crate::servers::{HMAC_HEADER, HMAC_SECRET};

/// Stands in the sample where the number of the event goes: a purchase order of its own each.
const NUMBER: &str = "@@@@@@@@@@@@";
/// Stands where the event id begins: Walmart's are UUIDs that begin with what changes fastest, so they are scattered.
const SCATTERED: &str = "%%%%%%%%";

/// Of which events are made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sample {
    Intent,
    /// What ORDER_UPDATES brings of every order.
    Update,
}

impl Sample {
    fn text(self) -> &'static str {
        match self {
            Self::Intent => include_str!("../../samples/intent.json"),
            Self::Update => include_str!("../../samples/update.json"),
        }
    }
}

/// The body of the `n`-th event.
pub(crate) fn body(sample: Sample, n: u64) -> String {
    let scattered = (n as u32).wrapping_mul(0x9e37_79b1);
    sample.text().replace(NUMBER, &format!("{n:012}")).replace(SCATTERED, &format!("{scattered:08x}"))
}

/// The request that posts the `n`-th event.
pub(crate) fn request(sample: Sample, n: u64) -> Vec<u8> {
    let body = body(sample, n);
    let key = hmac::Key::new(hmac::HMAC_SHA256, HMAC_SECRET.as_bytes());
    let proof = BASE64_STANDARD.encode(hmac::sign(&key, body.as_bytes()));
    format!(
        "POST /webhooks/walmart/{ACCOUNT} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n{HMAC_HEADER}: {proof}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A connection.
pub(crate) struct Poster {
    socket: TcpStream,
    answer: Vec<u8>,
}

impl Poster {
    pub(crate) async fn connect(http: SocketAddr) -> Result<Self> {
        let socket = TcpStream::connect(http).await?;
        socket.set_nodelay(true)?;
        Ok(Self { socket, answer: Vec::with_capacity(4096) })
    }

    /// Posts, and waits for the answer: 200, and stored for the first time.
    pub(crate) async fn post(&mut self, request: &[u8]) -> Result<()> {
        self.socket.write_all(request).await?;
        self.answer.clear();
        while !whole(&self.answer) {
            if self.socket.read_buf(&mut self.answer).await? == 0 {
                return Err("the connection ended in place of an answer".into());
            }
        }
        let text = String::from_utf8_lossy(&self.answer);
        if !text.starts_with("HTTP/1.1 200 ") || !text.contains("\"duplicate\":false") {
            return Err(format!("not stored: {text}").into());
        }
        Ok(())
    }
}

fn whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.and_then(|length| length.trim().parse().ok()).unwrap_or_default();
    answer.len() >= end + 4 + length
}
