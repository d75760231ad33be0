//! Restarts under load: callers who try again after UNAVAILABLE, and after nothing else, must not lose or double anything.
//!
//! Once with one gateway, which is away between two lives, as with a store that has one owner; once with two behind a
//! balancer, each with a store of its own, of which one is always there.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use order_gateway::pb;
use order_gateway::pb::cancel_intent_service_client::CancelIntentServiceClient;
use order_gateway::pb::fulfillment_service_client::FulfillmentServiceClient;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::Options;
use crate::balancer::{self, Backend};
use crate::gateway::{Emulator, GRACE, Gateway, HonestChannel, Result, channel, text};
use crate::honest::{create, post, sample};
use crate::run::Report;

/// Who create orders, and who post intents.
const CALLERS: usize = 12;
const POSTERS: usize = 4;
/// Each answer of Walmart's takes so long that calls are in flight whenever a gateway goes.
const SLOW: &str = "[[fault]]\noperation = \"create\"\ndelay = \"150ms\"\n";
/// Between a start and the next stop.
const LIFE: Duration = Duration::from_millis(700);
/// When nobody gives advice: there is no connection.
const NO_ADVICE: Duration = Duration::from_millis(100);
/// For the last events to come.
const LAST: Duration = Duration::from_secs(15);

/// Plays both forms.
pub(crate) async fn run(options: &Options, restarts: usize, folder: &Path) -> Result<Report> {
    let mut report = Report::default();
    for replicas in [1, 2] {
        let folder = folder.join(format!("{replicas}"));
        std::fs::create_dir(&folder).map_err(text)?;
        play(options, replicas, restarts, &folder, &mut report).await?;
    }
    Ok(report)
}

/// What callers were told.
struct Told {
    end: CancellationToken,
    next: AtomicU64,
    client: reqwest::Client,
    order: pb::Order,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    created: Vec<String>,
    posted: Vec<String>,
    /// By replica, each time that it came.
    watched: HashMap<usize, Vec<String>>,
    failures: BTreeMap<String, usize>,
    wrong: Vec<String>,
    longest: Duration,
}

impl Told {
    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a failure, and tells how long to wait. What is no reason to try again is wrong.
    fn failed(&self, who: &str, status: &Status) -> Duration {
        let mut seen = self.seen();
        let reason = status.get_details_error_info().map(|info| info.reason);
        let name = reason.clone().unwrap_or_else(|| "no connection".to_owned());
        *seen.failures.entry(format!("{who} {:?} {name}", status.code())).or_default() += 1;
        if status.code() != Code::Unavailable {
            seen.wrong.push(format!("{who} was told {:?}: {}", status.code(), status.message()));
        }
        let advice = status.get_details_retry_info().and_then(|info| info.retry_delay);
        if reason.is_some() && advice.is_none() {
            seen.wrong.push(format!("{who} was told {name} without advice when to try again"));
        }
        advice.unwrap_or(NO_ADVICE)
    }

    async fn create(self: Arc<Self>, channel: HonestChannel) {
        while !self.end.is_cancelled() {
            let number = format!("ROLLING-{}", self.next.fetch_add(1, Ordering::Relaxed));
            let began = Instant::now();
            loop {
                let call = FulfillmentServiceClient::new(channel.clone());
                match { call }.create_order(create(&self.order, &number)).await {
                    Ok(_) => break,
                    Err(status) => sleep(self.failed("CreateOrder", &status)).await,
                }
            }
            let mut seen = self.seen();
            seen.created.push(number);
            seen.longest = seen.longest.max(began.elapsed());
        }
    }

    async fn post(self: Arc<Self>, http: SocketAddr) {
        while !self.end.is_cancelled() {
            let event = format!("rolling-{}", self.next.fetch_add(1, Ordering::Relaxed));
            loop {
                match post(&self.client, http, &event).await {
                    Ok((200, _)) => break,
                    Ok((503, _)) => *self.seen().failures.entry("webhook 503".to_owned()).or_default() += 1,
                    Ok((status, _)) => self.seen().wrong.push(format!("a webhook was answered {status}")),
                    Err(_) => *self.seen().failures.entry("webhook no connection".to_owned()).or_default() += 1,
                }
                sleep(NO_ADVICE).await;
            }
            self.seen().posted.push(event);
            // Walmart posts when something happens, not as fast as it can.
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Reads the log of a replica from its beginning, on across its restarts, without end.
    async fn watch(self: Arc<Self>, replica: usize, channel: HonestChannel) {
        let mut at = pb::position::At::Earliest(true);
        loop {
            let ended = self.watch_once(replica, channel.clone(), &mut at).await;
            let wait = self.failed("Watch", &ended);
            let told = ended.get_details_error_info();
            if told.is_some_and(|info| info.reason == "SHUTTING_DOWN" && !info.metadata.contains_key("lastCursor")) {
                self.seen().wrong.push("a watch ended without the place to go on from".to_owned());
            }
            sleep(wait).await;
        }
    }

    async fn watch_once(&self, replica: usize, channel: HonestChannel, at: &mut pb::position::At) -> Status {
        use pb::watch_cancel_intents_response::Frame;
        let request =
            pb::WatchCancelIntentsRequest { start: Some(pb::Position { at: Some(at.clone()) }), ..Default::default() };
        let ended = async {
            let mut frames = CancelIntentServiceClient::new(channel).watch_cancel_intents(request).await?.into_inner();
            while let Some(frame) = frames.message().await? {
                if let Some(Frame::Event(event)) = frame.frame {
                    *at = pb::position::At::AfterCursor(event.cursor.clone());
                    self.seen().watched.entry(replica).or_default().push(event.event_id.clone());
                }
            }
            Ok::<(), Status>(())
        };
        ended.await.err().unwrap_or_else(|| Status::ok("it ended"))
    }
}

async fn play(options: &Options, replicas: usize, restarts: usize, folder: &Path, report: &mut Report) -> Result<()> {
    let client = reqwest::Client::builder().no_proxy().build().map_err(text)?;
    let emulator = Emulator::start(&options.gateway, folder, &client).await?;
    emulator.set_faults(SLOW).await?;
    let (mut gateways, mut grpc, mut http) = (Vec::new(), Vec::new(), Vec::new());
    let mut background = JoinSet::new();
    let (mut starts, mut stops) = (Vec::new(), Vec::new());
    for n in 0..replicas {
        let mut gateway = Gateway::new(&options.gateway, folder, &format!("gateway-{n}"), &emulator, &client)?;
        starts.push(gateway.start().await?);
        let ready = Arc::new(AtomicBool::new(true));
        background.spawn(balancer::probe(client.clone(), gateway.http, ready.clone()));
        grpc.push(Backend { address: gateway.grpc, ready: ready.clone() });
        http.push(Backend { address: gateway.http, ready });
        gateways.push(gateway);
    }
    // A gateway that is alone is called directly: its callers see that it is away.
    let (grpc, http) = match gateways.as_slice() {
        [alone] => (alone.grpc, alone.http),
        _ => (balancer::start(grpc).await?, balancer::start(http).await?),
    };
    let told = Arc::new(Told {
        end: CancellationToken::new(),
        next: AtomicU64::new(1),
        client,
        order: sample(include_str!("../../examples/create.json"))?,
        seen: Mutex::default(),
    });
    let mut working = JoinSet::new();
    for _ in 0..CALLERS {
        working.spawn(told.clone().create(channel(grpc)?));
    }
    for _ in 0..POSTERS {
        working.spawn(told.clone().post(http));
    }
    for (n, gateway) in gateways.iter().enumerate() {
        background.spawn(told.clone().watch(n, channel(gateway.grpc)?));
    }
    for n in 0..restarts {
        sleep(LIFE).await;
        let gateway = &mut gateways[n % replicas];
        stops.push(gateway.stop().await?);
        starts.push(gateway.start().await?);
    }
    sleep(LIFE).await;
    told.end.cancel();
    while working.join_next().await.is_some() {}
    all_watched(&told).await;
    check(&told, &emulator, report).await?;
    if stops.iter().any(|took| *took > GRACE + Duration::from_secs(2)) {
        report.violations.push(format!("a stop took longer than its grace: {stops:?}"));
    }
    let seen = told.seen();
    report.violations.extend(seen.wrong.iter().map(|wrong| format!("{replicas} replicas: {wrong}")));
    report.lines.push(format!(
        "{replicas} replicas, {restarts} restarts: {} orders, {} intents, longest wait for an order {:.2?}",
        seen.created.len(),
        seen.posted.len(),
        seen.longest
    ));
    report.lines.push(format!("  stop {}; start until ready {}", spread(&mut stops), spread(&mut starts)));
    report.lines.extend(seen.failures.iter().map(|(failure, times)| format!("  {times} times {failure}")));
    for gateway in &gateways {
        let bad = gateway.log_lines().into_iter().filter(|line| line.contains("panicked") || line.contains("cut off"));
        report.violations.extend(bad.map(|line| format!("{replicas} replicas: {line}")));
    }
    Ok(())
}

/// Waits until every intent that was answered 200 was watched, for a while.
async fn all_watched(told: &Told) {
    let until = Instant::now() + LAST;
    while Instant::now() < until {
        let done = {
            let seen = told.seen();
            let watched: HashSet<&String> = seen.watched.values().flatten().collect();
            seen.posted.iter().all(|event| watched.contains(event))
        };
        if done {
            return;
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Every order exactly once, every intent at least once and in each log only once.
async fn check(told: &Told, emulator: &Emulator, report: &mut Report) -> Result<()> {
    let orders = emulator.get("orders").await?;
    let mut executed: HashMap<&str, usize> = HashMap::new();
    for order in orders["orders"].as_array().ok_or("the emulator tells no orders")? {
        *executed.entry(order["order_number"].as_str().unwrap_or_default()).or_default() += 1;
    }
    let seen = told.seen();
    if seen.created.is_empty() || seen.posted.is_empty() {
        report.violations.push("nothing was done".to_owned());
    }
    for (number, times) in executed.iter().filter(|(number, times)| number.starts_with("ROLLING") && **times > 1) {
        report.violations.push(format!("{number} was created {times} times"));
    }
    for number in seen.created.iter().filter(|number| !executed.contains_key(number.as_str())) {
        report.violations.push(format!("{number} is lost"));
    }
    let mut everywhere: HashSet<&str> = HashSet::new();
    for (replica, watched) in &seen.watched {
        let mut here: HashSet<&str> = HashSet::new();
        for event in watched.iter().filter(|event| !here.insert(event)) {
            report.violations.push(format!("{event} was watched twice at replica {replica}"));
        }
        everywhere.extend(here);
    }
    for event in seen.posted.iter().filter(|event| !everywhere.contains(event.as_str())) {
        report.violations.push(format!("{event} was answered 200 and is lost"));
    }
    Ok(())
}

/// The middle one and the longest.
fn spread(times: &mut [Duration]) -> String {
    times.sort();
    let middle = times.get(times.len() / 2).copied().unwrap_or_default();
    format!("median {middle:.0?}, longest {:.0?}", times.last().copied().unwrap_or_default())
}
