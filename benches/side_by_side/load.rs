//! Callers in a closed loop: each sends its next call when it has the answer to the last.
//!
//! Drives HTTP/2 itself with bytes encoded beforehand, on one thread, so that a call costs it far less than the server.
//! A call counts when its answer has a message and `grpc-status` 0; every other outcome is an error with a name.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use http::{HeaderMap, Request, Uri};
use serde::{Deserialize, Serialize};
use tokio::task::{JoinSet, LocalSet};

use crate::measure::fill::Numbers;
use crate::samples::{Call, Frame};
use crate::{Result, machine};

/// How long a server may take to answer its first call, and a caller to get its last answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Longer calls are recorded as this long.
const LONGEST_NS: u64 = 60_000_000_000;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// The server.
    #[arg(long, default_value = "127.0.0.1:50061")]
    target: SocketAddr,
    /// What to call.
    #[arg(long, value_enum, default_value = "create")]
    call: Call,
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Callers on each connection.
    #[arg(long, default_value_t = 16)]
    streams: usize,
    /// Seconds before measuring.
    #[arg(long, default_value_t = 1.0)]
    warm_up: f64,
    /// Seconds of measuring.
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// Number of the first call; no two runs against one server may share numbers.
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// How the calls are numbered.
    #[arg(long, value_enum, default_value = "rising")]
    numbers: Numbers,
    /// The server's process, to measure its CPU time and memory.
    #[arg(long)]
    pid: u32,
}

/// What was measured; printed as one line of JSON.
#[derive(Serialize, Deserialize)]
pub(crate) struct Report {
    /// Calls that succeeded.
    pub calls: u64,
    /// How long they were counted.
    pub seconds: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    /// CPU time of the server meanwhile.
    pub server_cpu_seconds: f64,
    /// The server's most resident memory since it was started.
    pub peak_rss_mib: f64,
    /// CPU time of the load itself, warm-up included.
    pub load_cpu_seconds: f64,
    /// Failures by name, warm-up included.
    pub errors: BTreeMap<String, u64>,
}

struct Run {
    uri: Uri,
    frame: Frame,
    next: Cell<u64>,
    numbers: Numbers,
    measuring: Cell<bool>,
    over: Cell<bool>,
    calls: Cell<u64>,
    latency_ns: RefCell<Histogram<u64>>,
    errors: RefCell<BTreeMap<String, u64>>,
}

type Sender = h2::client::SendRequest<Bytes>;

pub(crate) fn run(options: &Options) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = LocalSet::new().block_on(&runtime, measure(options))?;
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

async fn measure(options: &Options) -> Result<Report> {
    let run = Rc::new(Run {
        uri: format!("http://{}{}", options.target, options.call.path()).parse()?,
        frame: options.call.frame()?,
        next: Cell::new(options.first),
        numbers: options.numbers,
        measuring: Cell::new(false),
        over: Cell::new(false),
        calls: Cell::new(0),
        latency_ns: RefCell::new(Histogram::new_with_bounds(1, LONGEST_NS, 3)?),
        errors: RefCell::default(),
    });
    let mut senders = vec![first_answer(&run, options.target).await?];
    while senders.len() < options.connections {
        senders.push(connect(options.target).await?);
    }
    let mut callers = JoinSet::new();
    for sender in &senders {
        for _ in 0..options.streams {
            callers.spawn_local(repeat(run.clone(), sender.clone()));
        }
    }

    tokio::time::sleep(Duration::from_secs_f64(options.warm_up)).await;
    let cpu = machine::cpu_seconds(options.pid)?;
    let begin = Instant::now();
    run.measuring.set(true);
    tokio::time::sleep(Duration::from_secs_f64(options.seconds)).await;
    run.measuring.set(false);
    let seconds = begin.elapsed().as_secs_f64();
    let server_cpu_seconds = machine::cpu_seconds(options.pid)? - cpu;

    run.over.set(true);
    let end = tokio::time::timeout(PATIENCE, async { while callers.join_next().await.is_some() {} });
    if end.await.is_err() {
        run.errors.borrow_mut().insert("no answer".into(), callers.len() as u64);
    }
    let latency = run.latency_ns.borrow();
    Ok(Report {
        calls: run.calls.get(),
        seconds,
        p50_us: latency.value_at_quantile(0.50) as f64 / 1000.0,
        p99_us: latency.value_at_quantile(0.99) as f64 / 1000.0,
        server_cpu_seconds,
        peak_rss_mib: machine::peak_rss_mib(options.pid)?,
        load_cpu_seconds: machine::cpu_seconds(process::id())?,
        errors: run.errors.take(),
    })
}

/// Connects and calls until a call succeeds, so that a server that cannot work ends the run with its own words.
async fn first_answer(run: &Run, target: SocketAddr) -> Result<Sender> {
    let end = Instant::now() + PATIENCE;
    loop {
        let failure = match connect(target).await {
            Ok(sender) => match call(run, &sender).await {
                Ok(()) => return Ok(sender),
                Err(failure) => failure,
            },
            Err(error) => error.to_string(),
        };
        if Instant::now() > end {
            return Err(format!("no call succeeded within {PATIENCE:?}; the last: {failure}").into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn connect(target: SocketAddr) -> Result<Sender> {
    let socket = tokio::net::TcpStream::connect(target).await?;
    socket.set_nodelay(true)?;
    let (sender, connection) = h2::client::Builder::new()
        .initial_window_size(1 << 20)
        .initial_connection_window_size(1 << 24)
        .handshake(socket)
        .await?;
    // Its end shows in the calls on it.
    tokio::task::spawn_local(async { drop(connection.await) });
    Ok(sender.ready().await?)
}

async fn repeat(run: Rc<Run>, sender: Sender) {
    while !run.over.get() {
        let begin = Instant::now();
        let outcome = call(&run, &sender).await;
        let took = begin.elapsed();
        match outcome {
            Ok(()) if run.measuring.get() => {
                run.calls.set(run.calls.get() + 1);
                run.latency_ns.borrow_mut().saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
            }
            Ok(()) => {}
            Err(failure) => {
                *run.errors.borrow_mut().entry(failure).or_default() += 1;
                // A server that refuses at once is not to be called without end.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

/// One call. The error is the name of what went wrong, the same for all calls that fail alike.
async fn call(run: &Run, sender: &Sender) -> std::result::Result<(), String> {
    let n = run.next.get();
    run.next.set(n + 1);
    let request = Request::post(run.uri.clone())
        .version(http::Version::HTTP_2)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .map_err(|e| e.to_string())?;
    let mut sender = sender.clone().ready().await.map_err(|e| e.to_string())?;
    let (answer, mut body) = sender.send_request(request, false).map_err(|e| e.to_string())?;
    body.send_data(run.frame.numbered(run.numbers.nth(n)), true).map_err(|e| e.to_string())?;

    let (head, mut body) = answer.await.map_err(|e| e.to_string())?.into_parts();
    if head.status != http::StatusCode::OK {
        return Err(format!("HTTP {}", head.status.as_u16()));
    }
    let mut received = 0;
    while let Some(piece) = body.data().await {
        let piece = piece.map_err(|e| e.to_string())?;
        received += piece.len();
        body.flow_control().release_capacity(piece.len()).map_err(|e| e.to_string())?;
    }
    let trailers = body.trailers().await.map_err(|e| e.to_string())?;
    // An answer without a message has its status among the headers.
    check(trailers.as_ref().unwrap_or(&head.headers))?;
    // A frame is five bytes and its message.
    if received > 5 { Ok(()) } else { Err("no message".into()) }
}

fn check(headers: &HeaderMap) -> std::result::Result<(), String> {
    let text = |name| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    match text("grpc-status") {
        "0" => Ok(()),
        "" => Err("no grpc-status".into()),
        code => Err(format!("grpc-status {code} {}", text("grpc-message"))),
    }
}
