//! A whole gateway in the test's own process: the real composition root on free ports, with the emulator in the place of
//! the network.
//!
//! Time is real and moves on by [`TestApp::advance`] without waiting: the gateway, the emulator and their clocks follow
//! tokio's. Every test ends with [`TestApp::finish`], which fails when the gateway leaves anything behind.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Request, Response};
use order_gateway::app::{BoundListeners, Externals, Gateway};
use order_gateway::config::{Config, SettingsFiles};
use order_gateway::emulator::{self, DroppedCall, Emulator, EmulatorOptions, FaultRules};
use order_gateway::pb;
use order_gateway::ports::clock::Clock;
use order_gateway::ports::random::Random;
use order_gateway::shutdown::DrainOutcome;
use order_gateway::telemetry::trace::Tracer;
use order_gateway::upstream::transport::{HttpError, HttpService, OutgoingRequest};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::TlsConnector;
use tower::{Service, ServiceExt as _};

use super::client::{Client, Connection};

/// Where every test's time begins.
const START: &str = "2026-11-21T12:00:00Z";

/// One account called `demo`, nobody else, Walmart's published limits, no search for missed intents.
const SETTINGS: &str = r#"
[walmart]
base_url = "http://emulator"
webhook_check_interval = "0s"

# Its calls and events would be among those that tests count.
[feed.backfill]
enabled = false

[[accounts]]
id = "demo"
partner_id = "10000000001"
client_id = "demo"
client_secret = "demo-secret"
"#;

/// How a gateway is to be, before it starts.
pub struct Setup {
    settings: toml::Table,
    options: EmulatorOptions,
    /// Shorter times than the settings allow.
    ledger_times: Option<(Duration, Vec<Duration>)>,
    /// Whether the settings stand in a file that the gateway reads again.
    in_file: bool,
}

impl Setup {
    /// [`SETTINGS`] and an emulator as it is by default.
    pub fn new() -> Self {
        let clock = emulator::EmulatorClock::tokio(START.parse().unwrap());
        Self {
            settings: SETTINGS.parse().unwrap(),
            options: EmulatorOptions { clock, ..EmulatorOptions::default() },
            ledger_times: None,
            in_file: false,
        }
    }

    /// Adds settings, TOML text; what stands there already is replaced.
    pub fn settings(mut self, text: &str) -> Self {
        merge(&mut self.settings, text.parse().unwrap());
        self
    }

    /// A settle window and look-up delays in milliseconds that production would refuse.
    pub fn ledger_times(mut self, settle_window: u64, lookup_delays: &[u64]) -> Self {
        let delays = lookup_delays.iter().copied().map(Duration::from_millis).collect();
        self.ledger_times = Some((Duration::from_millis(settle_window), delays));
        self
    }

    /// Puts the settings into a file, for [`TestApp::reload`].
    pub fn in_file(mut self) -> Self {
        self.in_file = true;
        self
    }

    /// What the emulator does wrong, TOML text.
    pub fn faults(mut self, text: &str) -> Self {
        self.options.faults = FaultRules::parse(text).unwrap();
        self
    }

    /// Changes the emulator.
    pub fn emulator(mut self, change: impl FnOnce(&mut EmulatorOptions)) -> Self {
        change(&mut self.options);
        self
    }

    /// Starts the gateway in front of the emulator.
    pub async fn start(self) -> TestApp {
        let upstream = Walmart { emulator: Emulator::new(self.options.clone()), tokens: Arc::default() };
        self.start_with(upstream.clone(), Some(upstream)).await
    }

    /// Starts the gateway in front of something else that speaks HTTP.
    pub async fn start_in_front_of(self, http: impl HttpService) -> TestApp {
        self.start_with(http, None).await
    }

    async fn start_with(self, http: impl HttpService, walmart: Option<Walmart>) -> TestApp {
        let tasks_before = tasks();
        let folder = tempfile::tempdir().unwrap();
        let mut settings = self.settings;
        if !settings.contains_key("store") {
            let url = format!("sqlite://{}", folder.path().join("store.db").display());
            merge(&mut settings, toml::toml! { store.url = url });
        }
        let faults = |faults: Vec<order_gateway::config::ConfigFault>| panic!("{faults:#?}");
        let mut config = Config::load(&settings.to_string(), []).unwrap_or_else(faults);
        if let Some((settle_window, lookup_delays)) = self.ledger_times {
            (config.ledger.settle_window, config.ledger.lookup_delays) = (settle_window, lookup_delays);
        }
        let reload = Arc::new(Notify::new());
        let file = folder.path().join("settings.toml");
        let files = self.in_file.then(|| {
            std::fs::write(&file, settings.to_string()).unwrap();
            SettingsFiles::new(vec![file], Vec::new())
        });
        let (grpc, probes) = (loopback().await, loopback().await);
        let addresses = (grpc.local_addr().unwrap(), probes.local_addr().unwrap());
        let admin = if config.admin.listen.is_some() { Some(loopback().await) } else { None };
        let operators = admin.as_ref().map_or(addresses.1, |admin| admin.local_addr().unwrap());
        let start: SystemTime = START.parse::<jiff::Timestamp>().unwrap().into();
        let externals = Externals {
            http,
            clock: Clock::following(start),
            random: Random::from_seed(7),
            tracer: Tracer::off(),
            otlp: None,
            log: None,
            settings: files,
            reload: reload.clone(),
        };
        let gateway = Gateway::start(&config, BoundListeners { grpc: grpc.into(), http: probes, admin }, externals)
            .await
            .unwrap();
        let gateway = Some(gateway);
        let callers = Mutex::default();
        let (grpc, http) = addresses;
        TestApp {
            gateway,
            grpc,
            http,
            operators,
            walmart,
            callers,
            tasks_before,
            folder: Some(folder),
            settings,
            reload,
        }
    }
}

fn merge(into: &mut toml::Table, more: toml::Table) {
    for (key, value) in more {
        match (into.get_mut(&key), value) {
            (Some(toml::Value::Table(old)), toml::Value::Table(new)) => merge(old, new),
            (_, value) => drop(into.insert(key, value)),
        }
    }
}

async fn loopback() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

/// A gateway that serves. End it with [`TestApp::finish`].
pub struct TestApp {
    gateway: Option<Gateway>,
    /// Where gRPC listens.
    pub grpc: SocketAddr,
    /// Where webhooks and probes listen.
    pub http: SocketAddr,
    /// Where metrics and the page for people do: at an address of its own with `admin.listen`.
    pub operators: SocketAddr,
    walmart: Option<Walmart>,
    callers: Mutex<Vec<Connection>>,
    tasks_before: usize,
    /// Has the store, where the settings name none.
    folder: Option<tempfile::TempDir>,
    /// The settings of the start.
    settings: toml::Table,
    /// Has the settings read again.
    reload: Arc<Notify>,
}

impl TestApp {
    /// As [`Setup::new`] has it.
    pub async fn start() -> Self {
        Setup::new().start().await
    }

    /// A caller without credentials, on a connection of its own.
    pub async fn client(&self) -> Client {
        let client = Client::connect(self.grpc).await;
        self.callers.lock().unwrap().push(client.connection());
        client
    }

    /// A caller with a token.
    pub async fn client_with(&self, token: &str) -> Client {
        self.client().await.with("authorization", &format!("Bearer {token}"))
    }

    /// A caller by TLS, on a connection of its own.
    pub async fn tls_client(&self, connector: TlsConnector) -> Result<Client, tonic::transport::Error> {
        let client = Client::connect_tls(self.grpc, connector).await?;
        self.callers.lock().unwrap().push(client.connection());
        Ok(client)
    }

    /// Lays new settings over those of the start, in the file, and has them read as SIGHUP does. Returns what GetStatus
    /// says of them to an operator.
    pub async fn reload(&self, text: &str, operator: &Client) -> pb::SettingsStatus {
        let before = operator.gateway("").await.unwrap().settings.unwrap();
        let mut settings = self.settings.clone();
        merge(&mut settings, text.parse().unwrap());
        std::fs::write(self.folder.as_ref().unwrap().path().join("settings.toml"), settings.to_string()).unwrap();
        self.reload.notify_one();
        loop {
            let now = operator.gateway("").await.unwrap().settings.unwrap();
            if now != before {
                return now;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Moves everybody's time on at once. No call may be in flight that is meant to survive it.
    pub async fn advance(&self, by: Duration) {
        tokio::time::pause();
        tokio::time::advance(by).await;
        tokio::time::resume();
    }

    /// Asks the emulator's control API. Panics unless it agrees.
    pub async fn control(&self, method: &str, path: &str, body: &str) -> Value {
        self.ask_emulator(method, format!("/_emulator/v1/{path}"), body).await
    }

    /// Posts a simulation to the emulator. Panics unless it agrees.
    pub async fn simulate(&self, path: &str, body: &Value) -> Value {
        self.ask_emulator("POST", format!("/v1/simulations/{path}"), &body.to_string()).await
    }

    async fn ask_emulator(&self, method: &str, uri: String, body: &str) -> Value {
        let emulator = self.walmart.as_ref().unwrap().emulator.clone();
        let request = Request::builder().method(method).uri(uri).body(Bytes::copy_from_slice(body.as_bytes())).unwrap();
        let (parts, body) = emulator.oneshot(request).await.unwrap().into_parts();
        assert_eq!(parts.status, 200, "{body:?}");
        serde_json::from_slice(&body).unwrap()
    }

    /// What the emulator does wrong from now on, TOML text.
    pub async fn set_faults(&self, text: &str) {
        self.control("PUT", "faults", text).await;
    }

    /// Every request of this operation that reached the emulator (`token`, `promise`, `create`, `cancel`, `status`).
    pub async fn requests(&self, operation: &str) -> Vec<Value> {
        let journal = self.control("GET", &format!("requests?operation={operation}"), "").await;
        journal["requests"].as_array().unwrap().clone()
    }

    /// How many orders the emulator has with this number.
    pub async fn orders(&self, number: &str) -> usize {
        let all = self.control("GET", "orders", "").await;
        all["orders"].as_array().unwrap().iter().filter(|order| order["order_number"] == number).count()
    }

    /// Every access token that was sent upstream.
    pub fn tokens_sent(&self) -> BTreeSet<String> {
        self.walmart.as_ref().unwrap().tokens.lock().unwrap().clone()
    }

    /// The bytes of every file of the store.
    pub fn store_files(&self) -> Vec<Vec<u8>> {
        let folder = std::fs::read_dir(self.folder.as_ref().unwrap().path()).unwrap();
        folder.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
    }

    /// Status and body of a GET.
    pub async fn get(&self, path: &str) -> (u16, String) {
        get(self.http, path).await
    }

    /// The value of a series in `/metrics`, by its whole name with labels; 0 when it is not there.
    pub async fn metric(&self, series: &str) -> f64 {
        let (_, text) = get(self.operators, "/metrics").await;
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    /// Begins to stop; what is in flight may finish.
    pub fn stop(&mut self) -> tokio::task::JoinHandle<DrainOutcome> {
        let gateway = self.gateway.take().unwrap();
        tokio::spawn(gateway.stop())
    }

    /// Stops without looking for what is left over: for tests with tasks of their own.
    pub async fn stop_unchecked(mut self) {
        assert_eq!(self.stop().await.unwrap(), DrainOutcome::Clean);
    }

    /// Stops, and fails unless everything ended by itself and no task is left behind.
    pub async fn finish(mut self) {
        assert_eq!(self.metric("order_gateway_calls_in_flight").await, 0.0, "a call is still in flight");
        let drained = self.gateway.take().unwrap().stop().await;
        assert_eq!(drained, DrainOutcome::Clean);
        self.callers.lock().unwrap().iter().for_each(|connection| drop(connection.lock().unwrap().take()));
        let ended = async {
            while tasks() > self.tasks_before {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let left = tokio::time::timeout(Duration::from_secs(5), ended).await;
        assert!(left.is_ok(), "{} tasks were left over", tasks() - self.tasks_before);
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        if self.gateway.is_some() {
            // Its store is still open, and ends the process when its file goes.
            drop(self.folder.take().map(tempfile::TempDir::keep));
        }
        if self.gateway.is_some() && !std::thread::panicking() {
            panic!("the test did not end with TestApp::finish");
        }
    }
}

/// Status and body of a GET over HTTP/1.1.
pub async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// The emulator as a way to speak HTTP.
#[derive(Clone)]
struct Walmart {
    emulator: Emulator,
    tokens: Arc<Mutex<BTreeSet<String>>>,
}

impl Service<OutgoingRequest> for Walmart {
    type Response = Response<Bytes>;
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), HttpError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, OutgoingRequest { request, .. }: OutgoingRequest) -> Self::Future {
        if let Some(token) = request.headers().get("wm_sec.access_token") {
            self.tokens.lock().unwrap().insert(token.to_str().unwrap().to_owned());
        }
        let answer = self.emulator.clone().oneshot(request);
        Box::pin(async {
            answer.await.map_err(|dropped| match dropped {
                DroppedCall::Interrupted => HttpError::Interrupted,
                DroppedCall::NotSent => HttpError::NotSent,
            })
        })
    }
}

#[tokio::test]
#[should_panic(expected = "did not end with TestApp::finish")]
async fn a_test_that_does_not_finish_fails() {
    drop(TestApp::start().await);
}

#[tokio::test]
#[should_panic(expected = "tasks were left over")]
async fn work_that_is_left_over_is_found() {
    let app = TestApp::start().await;
    tokio::spawn(std::future::pending::<()>());
    app.finish().await;
}
