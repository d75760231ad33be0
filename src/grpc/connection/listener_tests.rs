//! Over real sockets on loopback, with real time: raw HTTP/2 in place of tonic's client, which answers an expired
//! deadline by itself.

use std::sync::atomic::{AtomicUsize, Ordering};

use h2::client::{self, SendRequest};
use http::HeaderMap;
use prost::Message as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::*;
use crate::config::AccessLog;
use crate::grpc::health::ServiceHealth;
use crate::grpc::layers::authn::AllowedClients;
use crate::grpc::server::{InboundConfig, stack};
use crate::grpc::services::ServiceRouter;
use crate::limits::MESSAGE_BYTES;
use crate::pb;
use crate::pb::fulfillment_service_server::{FulfillmentService, FulfillmentServiceServer};
use crate::shutdown::DrainOutcome;
use crate::telemetry::metrics::TextFormat;
use crate::telemetry::trace::Tracer;

const CREATE: &str = "/ordergateway.v1.FulfillmentService/CreateOrder";
const STATUS: &str = "/ordergateway.v1.FulfillmentService/GetOrderStatus";
const PROMISE: &str = "/ordergateway.v1.FulfillmentService/FetchDeliveryPromise";
const CHECK: &str = "/grpc.health.v1.Health/Check";
const WATCH: &str = "/grpc.health.v1.Health/Watch";
const GRACE: Duration = Duration::from_secs(5);

/// CreateOrder answers at once, GetOrderStatus when the gate opens, FetchDeliveryPromise panics.
struct Handler {
    gate: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
}

#[tonic::async_trait]
impl FulfillmentService for Handler {
    async fn create_order(
        &self,
        _: tonic::Request<pb::CreateOrderRequest>,
    ) -> Result<tonic::Response<pb::CreateOrderResponse>, Status> {
        Ok(tonic::Response::new(pb::CreateOrderResponse::default()))
    }

    async fn get_order_status(
        &self,
        _: tonic::Request<pb::GetOrderStatusRequest>,
    ) -> Result<tonic::Response<pb::GetOrderStatusResponse>, Status> {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        self.gate.acquire().await.unwrap().forget();
        Ok(tonic::Response::new(pb::GetOrderStatusResponse::default()))
    }

    async fn fetch_delivery_promise(
        &self,
        _: tonic::Request<pb::FetchDeliveryPromiseRequest>,
    ) -> Result<tonic::Response<pb::FetchDeliveryPromiseResponse>, Status> {
        panic!("a customer's name")
    }

    async fn cancel_order(
        &self,
        _: tonic::Request<pb::CancelOrderRequest>,
    ) -> Result<tonic::Response<pb::CancelOrderResponse>, Status> {
        Err(Status::out_of_range("not the library's"))
    }
}

struct Server {
    address: std::net::SocketAddr,
    shutdown: Shutdown,
    metrics: Arc<Metrics>,
    health: ServiceHealth,
    gate: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
}

impl Server {
    async fn start() -> Self {
        Self::with(ConnectionSettings { max_age: Duration::from_secs(1800), ..connections(100) }).await
    }

    async fn with(connections: ConnectionSettings) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = Shutdown::new();
        let metrics = Arc::new(Metrics::new(crate::grpc::methods::paths()));
        let (gate, waiting) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
        let health = ServiceHealth::new(&["ordergateway.v1.FulfillmentService"]);
        health.serving();
        let handler = Handler { gate: gate.clone(), waiting: waiting.clone() };
        let handler = FulfillmentServiceServer::new(handler)
            .max_decoding_message_size(MESSAGE_BYTES)
            .accept_compressed(tonic::codec::CompressionEncoding::Gzip);
        let services = ServiceRouter::builder().with(handler).with(health.service()).build();
        let inbound = InboundConfig {
            tracer: Tracer::off(),
            metrics: metrics.clone(),
            access_log: AccessLog::Off,
            clients: AllowedClients::new(Vec::new()),
            stopping: shutdown.stopping().clone(),
            closing: shutdown.closing().clone(),
        };
        tokio::spawn(serve(listener.into(), stack(inbound, services), connections, shutdown.clone(), metrics.clone()));
        Self { address, shutdown, metrics, health, gate, waiting }
    }

    async fn client(&self) -> Client {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (send, connection) =
            client::Builder::new().initial_max_send_streams(1).handshake::<_, Bytes>(stream).await.unwrap();
        Client { send, closed: tokio::spawn(async move { connection.await.is_ok() }) }
    }

    async fn waiting(&self, calls: usize) {
        while self.waiting.load(Ordering::Acquire) < calls {
            tokio::task::yield_now().await;
        }
    }

    async fn drain(&self, grace: Duration) -> DrainOutcome {
        self.shutdown.run(async { self.health.not_serving() }, grace).await
    }
}

fn connections(max: usize) -> ConnectionSettings {
    ConnectionSettings { max, max_age: GRACE, jitter: Arc::new(|| 0.5), tls: None }
}

struct Client {
    send: SendRequest<Bytes>,
    closed: tokio::task::JoinHandle<bool>,
}

fn frame(flag: u8, message: &[u8]) -> Bytes {
    let mut frame = vec![flag];
    frame.extend_from_slice(&(message.len() as u32).to_be_bytes());
    frame.extend_from_slice(message);
    frame.into()
}

impl Client {
    async fn open(&self, path: &str, headers: &[(&str, &str)], body: Bytes) -> h2::client::ResponseFuture {
        let uri = format!("http://localhost{path}");
        let mut request = Request::post(uri).header("content-type", "application/grpc").header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut send = self.send.clone().ready().await.unwrap();
        let (answer, mut stream) = send.send_request(request.body(()).unwrap(), false).unwrap();
        // The server may answer before it has read all.
        let _ = stream.send_data(body, true);
        answer
    }

    async fn call(&self, path: &str, headers: &[(&str, &str)], body: Bytes) -> Status {
        status(self.open(path, headers, body).await).await
    }

    async fn code(&self, path: &str) -> Code {
        self.call(path, &[], frame(0, &[])).await.code()
    }
}

async fn status(answer: h2::client::ResponseFuture) -> Status {
    let answer = tokio::time::timeout(GRACE, answer).await.expect("an answer in time").unwrap();
    if let Some(status) = Status::from_header_map(answer.headers()) {
        return status;
    }
    let mut body = answer.into_body();
    while let Some(piece) = body.data().await {
        let length = piece.unwrap().len();
        body.flow_control().release_capacity(length).unwrap();
    }
    let trailers: HeaderMap = body.trailers().await.unwrap().expect("trailers");
    Status::from_header_map(&trailers).unwrap()
}

#[tokio::test]
async fn calls_pass_and_faults_have_grpcs_codes() {
    let server = Server::start().await;
    let client = server.client().await;
    assert_eq!(client.code(CREATE).await, Code::Ok);
    assert_eq!(client.code(CHECK).await, Code::Ok);
    assert_eq!(client.code("/ordergateway.v1.FulfillmentService/NoSuch").await, Code::Unimplemented);
    assert_eq!(client.code("/no.such.Service/Method").await, Code::Unimplemented);
    assert_eq!(client.call(CREATE, &[], frame(0, &[0xff; 8])).await.code(), Code::Internal);
    let own = client.code("/ordergateway.v1.FulfillmentService/CancelOrder").await;
    assert_eq!(own, Code::OutOfRange);

    let large = frame(0, &vec![0; MESSAGE_BYTES + 1]);
    assert_eq!(client.call(CREATE, &[], large).await.code(), Code::ResourceExhausted);
    let text = server.metrics.encode(TextFormat::Plain).unwrap();
    assert!(text.contains("rpc_response_status_code=\"RESOURCE_EXHAUSTED\"} 1"), "{text}");
}

#[tokio::test]
async fn a_message_that_unpacks_beyond_the_limit_is_refused() {
    use std::io::Write as _;
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(&vec![0; 64 * MESSAGE_BYTES]).unwrap();
    let bomb = packed.finish().unwrap();
    assert!(bomb.len() < MESSAGE_BYTES);
    let client = Server::start().await.client().await;
    let refused = client.call(CREATE, &[("grpc-encoding", "gzip")], frame(1, &bomb)).await;
    assert_eq!(refused.code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn a_panic_costs_its_own_call_only() {
    let server = Server::start().await;
    let client = server.client().await;
    let refused = client.call(PROMISE, &[], frame(0, &[])).await;
    assert_eq!(refused.code(), Code::Internal);
    assert_eq!(refused.get_details_error_info().unwrap().reason, "INTERNAL");
    assert_eq!(server.metrics.panics.get(), 1);
    assert_eq!(client.code(CREATE).await, Code::Ok);
}

#[tokio::test]
async fn an_unreadable_deadline_is_ignored_and_a_short_one_holds() {
    let server = Server::start().await;
    let client = server.client().await;
    for unreadable in ["soon", "-1S", "99999999999S"] {
        assert_eq!(client.call(CREATE, &[("grpc-timeout", unreadable)], frame(0, &[])).await.code(), Code::Ok);
    }
    let started = Instant::now();
    let late = client.call(STATUS, &[("grpc-timeout", "100m")], frame(0, &[])).await;
    assert_eq!(late.code(), Code::DeadlineExceeded);
    assert_eq!(late.get_details_error_info().unwrap().reason, "DEADLINE_EXCEEDED");
    assert!((75..1000).contains(&started.elapsed().as_millis()));
    // A body that never comes is the same.
    let request = Request::post(format!("http://localhost{CREATE}"))
        .header("content-type", "application/grpc")
        .header("grpc-timeout", "50m")
        .body(())
        .unwrap();
    let (answer, _stream) = client.send.clone().ready().await.unwrap().send_request(request, false).unwrap();
    assert_eq!(status(answer).await.code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn a_flood_of_streams_costs_others_nothing() {
    let server = Server::start().await;
    let flood = server.client().await;
    assert_eq!(flood.code(CREATE).await, Code::Ok);
    let mut held = Vec::new();
    for _ in 0..STREAMS_PER_CONNECTION {
        held.push(flood.open(STATUS, &[], frame(0, &[])).await);
    }
    server.waiting(STREAMS_PER_CONNECTION as usize).await;
    // One more of this connection has to wait, those of others have not.
    held.push(flood.open(STATUS, &[], frame(0, &[])).await);
    assert_eq!(server.client().await.code(CREATE).await, Code::Ok);

    assert_eq!(server.waiting.load(Ordering::Acquire), STREAMS_PER_CONNECTION as usize);

    // Opened and reset at once, again and again: the connection is closed.
    let rapid = server.client().await;
    assert_eq!(rapid.code(CREATE).await, Code::Ok);
    for _ in 0..20_000 {
        let Ok(mut send) = rapid.send.clone().ready().await else { break };
        let request = Request::post(format!("http://localhost{STATUS}")).body(()).unwrap();
        let Ok((_, mut stream)) = send.send_request(request, false) else { break };
        stream.send_reset(h2::Reason::CANCEL);
    }
    assert_eq!(server.client().await.code(CREATE).await, Code::Ok);
    assert!(!rapid.closed.await.unwrap(), "closed for its resets");
    // One after the other: this client counts many small frames that it has not read as a flood, too.
    for call in held {
        server.gate.add_permits(1);
        assert_eq!(status(call).await.code(), Code::Ok);
    }
}

#[tokio::test]
async fn large_headers_are_refused() {
    let server = Server::start().await;
    let client = server.client().await;
    assert_eq!(client.code(CREATE).await, Code::Ok);
    let large = "x".repeat(20 * 1024);
    let answer = client.open(CREATE, &[("x-large", large.as_str())], frame(0, &[])).await.await;
    assert!(answer.is_err() || answer.is_ok_and(|a| a.status() == 431));
    assert_eq!(server.client().await.code(CREATE).await, Code::Ok);
}

#[tokio::test]
async fn the_drain_finishes_calls_ends_streams_and_accepts_nothing_new() {
    let server = Server::start().await;
    let client = server.client().await;
    let call = client.open(STATUS, &[], frame(0, &[])).await;
    server.waiting(1).await;
    let watch = client.open(WATCH, &[], frame(0, &[])).await.await.unwrap();
    let mut watch = watch.into_body();
    let serving = watch.data().await.unwrap().unwrap();
    assert_eq!(health(&serving), 1);

    let address = server.address;
    let gate = server.gate.clone();
    let drain = async {
        let drained = server.drain(GRACE).await;
        assert!(TcpStream::connect(address).await.is_err());
        drained
    };
    let rest = async {
        let mut last = None;
        while let Some(piece) = watch.data().await {
            last = Some(health(&piece.unwrap()));
        }
        assert!(last.is_none_or(|state| state == 2));
        let end = Status::from_header_map(&watch.trailers().await.unwrap().unwrap()).unwrap();
        assert_eq!(
            (end.code(), end.get_details_error_info().unwrap().reason.as_str()),
            (Code::Unavailable, "SHUTTING_DOWN")
        );
        gate.add_permits(1);
        assert_eq!(status(call).await.code(), Code::Ok);
    };
    let (drained, ()) = tokio::join!(drain, rest);
    assert_eq!(drained, DrainOutcome::Clean);
    assert!(client.closed.await.unwrap(), "said goodbye");
}

fn health(frame: &Bytes) -> i32 {
    tonic_health::pb::HealthCheckResponse::decode(&frame[5..]).unwrap().status
}

#[tokio::test]
async fn what_does_not_finish_in_time_is_aborted() {
    let server = Server::start().await;
    let client = server.client().await;
    let call = client.open(STATUS, &[], frame(0, &[])).await;
    server.waiting(1).await;
    let started = Instant::now();
    assert_eq!(server.drain(Duration::from_millis(100)).await, DrainOutcome::Aborted(1));
    assert!(started.elapsed() < Duration::from_secs(2));
    let told = status(call).await;
    assert_eq!(
        (told.code(), told.get_details_error_info().unwrap().reason.as_str()),
        (Code::Unavailable, "SHUTTING_DOWN")
    );
    assert_eq!(server.metrics.calls_in_flight.get(), 0);
}

/// A load balancer's idle connection, a port scanner, a machine that went away: none of them holds up the end.
#[tokio::test]
async fn silent_peers_do_not_hold_up_the_drain() {
    for said in [&b""[..], b"P", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"] {
        let server = Server::start().await;
        let mut peer = TcpStream::connect(server.address).await.unwrap();
        peer.write_all(said).await.unwrap();
        // Answered: the connection before and the words above have arrived.
        server.client().await.code(CREATE).await;
        let started = Instant::now();
        assert_eq!(server.drain(GRACE).await, DrainOutcome::Clean);
        assert!(started.elapsed() < GRACE / 2, "{said:?}: {:?}", started.elapsed());
    }
}

#[tokio::test]
async fn an_old_connection_says_goodbye_and_its_calls_finish() {
    let max_age = Duration::from_millis(100);
    let server = Server::with(ConnectionSettings { max_age, jitter: Arc::new(|| 0.0), ..connections(100) }).await;
    let client = server.client().await;
    let call = client.open(STATUS, &[], frame(0, &[])).await;
    server.waiting(1).await;
    // Told to go, the connection takes no more calls.
    while client.send.clone().ready().await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.gate.add_permits(1);
    assert_eq!(status(call).await.code(), Code::Ok);
    assert!(client.closed.await.unwrap());
    assert_eq!(server.client().await.code(CREATE).await, Code::Ok);
}

#[test]
fn the_age_is_spread_by_ten_percent() {
    let age = |jitter: f64| {
        let max_age = Duration::from_secs(1000);
        ConnectionSettings { max_age, jitter: Arc::new(move || jitter), ..connections(1) }.age().as_secs_f64().round()
    };
    assert_eq!((age(0.0), age(0.5), age(1.0)), (900.0, 1000.0, 1100.0));
}

#[tokio::test]
async fn one_connection_too_many_is_closed() {
    use tokio::io::AsyncReadExt as _;
    let server = Server::with(connections(1)).await;
    let first = server.client().await;
    assert_eq!(first.code(CREATE).await, Code::Ok);
    let mut second = TcpStream::connect(server.address).await.unwrap();
    assert!(matches!(second.read(&mut [0; 1]).await, Ok(0) | Err(_)));
    assert_eq!(server.metrics.connections_refused.get(), 1);
}

/// Says this after the first words, as fast as it can, and returns what comes until the connection ends.
async fn insist(address: std::net::SocketAddr, said: &[u8]) -> Vec<u8> {
    use tokio::io::AsyncReadExt as _;
    let (mut read, mut write) = TcpStream::connect(address).await.unwrap().into_split();
    write.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let ended = async {
        let mut heard = Vec::new();
        while read.read_buf(&mut heard).await.is_ok_and(|bytes| bytes > 0) {}
        heard
    };
    let insists = async { while write.write_all(said).await.is_ok() {} };
    tokio::time::timeout(GRACE, async { tokio::join!(ended, insists) }).await.expect("it is cut off").0
}

#[tokio::test]
async fn floods_of_frames_are_cut_off() {
    let server = Server::start().await;
    let cut = |reason| server.metrics.peers.cut(reason).get();
    let ping = [&[0, 0, 8, 6, 0, 0, 0, 0, 0][..], &[7; 8]].concat().repeat(100);
    let priority = [&[0, 0, 5, 2, 0, 0, 0, 0, 1][..], &[0, 0, 0, 3, 9]].concat().repeat(100);
    for (n, flood) in [ping, priority, [0, 0, 0, 4, 0, 0, 0, 0, 0].repeat(100)].iter().enumerate() {
        let said = insist(server.address, flood).await;
        assert_eq!(cut(CutReason::Flood), n as u64 + 1);
        // A GOAWAY frame (type 7, of at least 8 bytes, on stream 0).
        assert!(said.windows(9).any(|head| head[3] == 7 && head[2] >= 8 && head[4..] == [0; 5]), "no goodbye");
    }
    assert_eq!(server.client().await.code(CREATE).await, Code::Ok);
}

/// A client whose window of every stream can be changed.
async fn with_window(server: &Server, window: u32) -> (SendRequest<Bytes>, tokio::sync::mpsc::Sender<u32>) {
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (send, mut connection) =
        client::Builder::new().initial_window_size(window).handshake::<_, Bytes>(stream).await.unwrap();
    let (change, mut changes) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = &mut connection => return,
                Some(window) = changes.recv() => connection.set_initial_window_size(window).unwrap(),
            }
        }
    });
    (send, change)
}

#[tokio::test]
async fn an_answer_waits_for_room_and_a_stream_that_gets_none_ends_alone() {
    let server = Server::start().await;
    for window in [0, 1, 100] {
        let (send, change) = with_window(&server, window).await;
        let closed = tokio::spawn(std::future::pending());
        let client = Client { send, closed };
        if window == 0 {
            let stuck = client.open(CREATE, &[], frame(0, &[])).await.await.unwrap();
            for _ in 0..4 {
                tokio::time::pause();
                tokio::time::advance(CHECK_INTERVAL).await;
                tokio::time::resume();
                tokio::task::yield_now().await;
            }
            let ended = stuck.into_body().data().await.unwrap().unwrap_err();
            assert_eq!(ended.reason(), Some(h2::Reason::CANCEL));
            assert_eq!(server.metrics.peers.cut(CutReason::Unread).get(), 1);
        }
        // The connection stays, and the next answer waits until there is room.
        let answer = client.open(CREATE, &[], frame(0, &[])).await.await.unwrap();
        assert_eq!(answer.status(), 200, "its head needs no room");
        change.send(65_535).await.unwrap();
        let mut body = answer.into_body();
        while let Some(part) = body.data().await {
            let _ = body.flow_control().release_capacity(part.unwrap().len());
        }
        let trailers = body.trailers().await.unwrap().unwrap();
        assert_eq!(Status::from_header_map(&trailers).unwrap().code(), Code::Ok, "{window}");
    }
}

#[tokio::test]
async fn streams_leave_room_for_unary_calls_and_one_too_many_is_told() {
    let server = Server::start().await;
    let client = server.client().await;
    let mut watches = Vec::new();
    // Reflection and health watches are bounded alike; of watches there are fewer.
    for _ in 0..8 {
        let watch = client.open(WATCH, &[], frame(0, &[])).await.await.unwrap();
        assert_eq!(watch.headers().get("grpc-status"), None);
        watches.push(watch);
    }
    let refused = client.call(WATCH, &[], frame(0, &[])).await;
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::ResourceExhausted, "this connection has its maximum of health watches")
    );
    assert_eq!(client.code(CREATE).await, Code::Ok);
}

#[tokio::test]
async fn what_is_not_grpc_is_not_carried_out() {
    let server = Server::start().await;
    let client = server.client().await;
    let ask = async |method: http::Method, content_type: Option<&str>| {
        let mut request = Request::builder().method(method).uri(format!("http://localhost{CREATE}"));
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        let mut send = client.send.clone().ready().await.unwrap();
        let (answer, mut stream) = send.send_request(request.body(()).unwrap(), false).unwrap();
        let _ = stream.send_data(frame(0, &[]), true);
        answer.await.unwrap().status().as_u16()
    };
    let grpc = Some("application/grpc");
    for (method, content_type, status) in [
        (http::Method::GET, grpc, 405),
        (http::Method::PUT, grpc, 405),
        (http::Method::OPTIONS, None, 405),
        (http::Method::POST, None, 415),
        (http::Method::POST, Some("application/json"), 415),
        (http::Method::POST, Some("application/grpc-web+proto"), 415),
        (http::Method::POST, Some("application/grpc+proto"), 200),
        (http::Method::POST, Some("application/grpc;x=y"), 200),
    ] {
        assert_eq!(ask(method.clone(), content_type).await, status, "{method} {content_type:?}");
    }
    let two = [frame(0, &[]), frame(0, &[])].concat();
    let twice = client.call(CREATE, &[], two.into()).await;
    assert_eq!((twice.code(), twice.message()), (Code::Unimplemented, "more than one message in a unary call"));
    let none = client.call(CREATE, &[], Bytes::new()).await;
    assert_eq!((none.code(), none.message()), (Code::Unimplemented, "no message in a unary call"));
    let unknown = client.call("/ordergateway.v1.FulfillmentService/NoSuch", &[], frame(0, &[])).await;
    assert_eq!(unknown.message(), "unknown method NoSuch of ordergateway.v1.FulfillmentService");
    assert_eq!(
        client.call("/no.such.Service/Method", &[], frame(0, &[])).await.message(),
        "unknown service no.such.Service"
    );
}
