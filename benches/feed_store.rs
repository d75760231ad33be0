//! What the feed costs in the store: deliveries stored, events read again, events lent and acknowledged a second, and how
//! long a start takes with all of them; beside the disk's own sync time.
//!
//! `cargo bench --bench feed_store -- --help`; without options it takes about two minutes and 5 GB in the temporary folder.

#[path = "measure/mod.rs"]
mod measure;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use order_gateway::domain::account::AccountId;
use order_gateway::domain::feed::notification::{DeliveryContent, WebhookDelivery};
use order_gateway::domain::feed::subscription::{
    ConsumerWindow, FreshEvent, FreshEvents, SettleVerdict, Subscription, SubscriptionConfig,
};
use order_gateway::domain::feed::{AccountScope, FeedName};
use order_gateway::domain::moment::Moment;
use order_gateway::domain::timestamp::Timestamp;
use order_gateway::ports::clock::Clock;
use order_gateway::ports::event_log::{AppendOutcome, EventLog};
use order_gateway::ports::subscriptions::{NewSubscription, SubscriptionStore};
use order_gateway::store::sqlite::SqliteLedger;
use order_gateway::store::{Store, StoreSettings};
use order_gateway::telemetry::metrics::Metrics;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use self::measure::{commits, sync_time};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[derive(Parser)]
struct Options {
    /// Events in the log in the end.
    #[arg(long, default_value_t = 1_000_000)]
    events: u64,
    /// Those who store deliveries at once.
    #[arg(long, default_value_t = 64)]
    senders: usize,
    /// Bytes of an event.
    #[arg(long, default_value_t = 1024)]
    message: usize,
    /// Bytes of its body.
    #[arg(long, default_value_t = 1024)]
    body: usize,
    /// Rounds of each measurement; the median counts.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds for each round of storing and of lending.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Where the database is made.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let folder = match &options.folder {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(&options, folder.path()))
}

async fn measure(options: &Options, folder: &Path) -> Result<()> {
    let path = folder.join("db");
    let metrics = Arc::new(Metrics::new([]));
    let store = open(&path, &metrics)?;
    let span = Duration::from_secs_f64(options.seconds);
    let next = Arc::new(AtomicU64::new(0));

    let mut syncs = Vec::new();
    let mut stored = Vec::new();
    for _ in 0..options.rounds {
        syncs.push(sync_time(folder)?.as_secs_f64() * 1e3);
        stored.push(append(options, &store, &metrics, &next, options.senders, move |_, passed| passed < span).await?);
    }
    println!("the disk's own sync: {:.3} ms", median(&mut syncs));
    let [rate, p50, p99, share] = [0, 1, 2, 3].map(|at| median(&mut Vec::from_iter(stored.iter().map(|one| one[at]))));
    println!(
        "stored by {} senders: {rate:.0}/s, p50 {p50:.2} ms, p99 {p99:.2} ms, {share:.4} syncs each",
        options.senders
    );
    let events = options.events;
    append(options, &store, &metrics, &next, 1024, move |number, _| number < events).await?;
    let head = *store.head(FeedName::CancelIntents).borrow();
    store.close().await;
    println!("{head} events: {:.0} bytes each in the file", path.metadata()?.len() as f64 / head as f64);

    let mut starts = Vec::new();
    for _ in 0..options.rounds {
        let started = Instant::now();
        let store = open(&path, &metrics)?;
        let bounds = store.bounds(FeedName::CancelIntents).await?;
        starts.push(started.elapsed().as_secs_f64() * 1e3);
        if bounds.head != head {
            return Err("not all is there".into());
        }
        store.close().await;
    }
    println!("start with {head} events: {:.0} ms", median(&mut starts));

    let store = open(&path, &metrics)?;
    for raw in [false, true] {
        let mut rates = Vec::new();
        for _ in 0..options.rounds {
            rates.push(replay(&store, head, raw).await?);
        }
        let with = if raw { "with" } else { "without" };
        println!("read from the first to the last, {with} bodies: {:.0}/s", median(&mut rates));
    }
    for subscriptions in [1, 8] {
        for batch in [1, 100] {
            let mut rates = Vec::new();
            for round in 0..options.rounds {
                rates.push(lend(&store, subscriptions, batch, round, span).await?);
            }
            let rate = median(&mut rates);
            println!("lent and acknowledged by {subscriptions} subscriptions, {batch} at once: {rate:.0}/s");
        }
    }
    store.close().await;
    Ok(())
}

fn open(path: &Path, metrics: &Metrics) -> Result<Store> {
    let settings = StoreSettings {
        clock: Clock::system(),
        metrics: metrics.store.clone(),
        accounts: Vec::new(),
        on_fatal: Arc::new(|why| {
            eprintln!("{why}");
            std::process::exit(1);
        }),
    };
    Ok(Store::Sqlite(SqliteLedger::open(path, settings)?))
}

/// Stores deliveries while `go` says so of the next one's number and the time that has passed. Deliveries a second, the
/// median and the 99th percentile of their times in milliseconds, syncs for each.
async fn append(
    options: &Options,
    store: &Store,
    metrics: &Metrics,
    next: &Arc<AtomicU64>,
    senders: usize,
    go: impl Fn(u64, Duration) -> bool + Copy + Send + 'static,
) -> Result<[f64; 4]> {
    let (message, body) = (vec![b'm'; options.message], vec![b'b'; options.body]);
    let before = commits(metrics);
    let started = Instant::now();
    let senders: Vec<_> = (0..senders)
        .map(|_| {
            let (store, next, message, body) = (store.clone(), next.clone(), message.clone(), body.clone());
            tokio::spawn(async move {
                let mut times = Vec::new();
                while go(next.load(Ordering::Relaxed), started.elapsed()) {
                    let arrival = arrival(next.fetch_add(1, Ordering::Relaxed), &message, &body)?;
                    let called = Instant::now();
                    let AppendOutcome::Stored { seq: Some(_) } = store.append(arrival).await? else {
                        return Err("not new".into());
                    };
                    times.push(called.elapsed());
                }
                Ok::<_, Box<dyn Error + Send + Sync>>(times)
            })
        })
        .collect();
    let mut times = Vec::new();
    for sender in senders {
        times.append(&mut sender.await??);
    }
    let took = started.elapsed().as_secs_f64();
    times.sort();
    let at = |part: usize| times.get(times.len() * part / 100).map_or(0.0, |time| time.as_secs_f64() * 1e3);
    let stored = times.len() as f64;
    Ok([stored / took, at(50), at(99), (commits(metrics) - before) / stored])
}

/// With a scattered id, as Walmart's are.
fn arrival(number: u64, message: &[u8], body: &[u8]) -> Result<WebhookDelivery> {
    let raw = Bytes::from([body, &number.to_be_bytes()].concat());
    Ok(WebhookDelivery {
        account: AccountId::new("acme")?,
        received: Timestamp(1_900_000_000_000 + number / 10),
        body_hash: Sha256::digest(&raw).into(),
        raw,
        content: DeliveryContent::Event {
            feed: FeedName::CancelIntents,
            event_type: "INTENT_TO_CANCEL".into(),
            sub_event_type: String::new(),
            event_id: format!("{:032x}", u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)),
            message: Bytes::copy_from_slice(message),
        },
    })
}

/// Events a second.
async fn replay(store: &Store, head: u64, raw: bool) -> Result<f64> {
    let started = Instant::now();
    let mut last = 0;
    while last < head {
        let events = store.read(FeedName::CancelIntents, last, 1024, 1 << 20, raw).await?;
        last = events.last().ok_or("nothing is left")?.seq;
    }
    Ok(head as f64 / started.elapsed().as_secs_f64())
}

/// Events a second, through all subscriptions.
async fn lend(store: &Store, subscriptions: usize, batch: u64, round: usize, span: Duration) -> Result<f64> {
    let started = Instant::now();
    let consumers: Vec<_> = (0..subscriptions)
        .map(|number| {
            let (store, name) = (store.clone(), format!("{subscriptions} {batch} {round} {number}"));
            tokio::spawn(async move {
                let scope = AccountScope::All;
                let config = SubscriptionConfig::default();
                let now = Timestamp(1);
                store
                    .make(NewSubscription { name: name.clone(), config, scope, most_of_client: 1, at: 0, now })
                    .await?;
                let mut settled = 0;
                while started.elapsed() < span {
                    let loans = store.change(&name, move |one| lend_next(one, batch)).await?.ok_or("it is gone")?;
                    settled += loans.len() as u64;
                    let settle = move |one: &mut Subscription| one.settle(Moment::default(), &loans, &mut || 0.0).len();
                    store.change(&name, settle).await?;
                }
                Ok::<_, Box<dyn Error + Send + Sync>>(settled)
            })
        })
        .collect();
    let mut settled = 0;
    for consumer in consumers {
        settled += consumer.await??;
    }
    Ok(settled as f64 / started.elapsed().as_secs_f64())
}

fn lend_next(one: &mut Subscription, batch: u64) -> Vec<(order_gateway::domain::feed::Lease, SettleVerdict)> {
    let after = one.head().scanned;
    let fresh = |seq: u64| FreshEvent { seq, key: seq.to_string().into(), size: 1024, received: Timestamp(1) };
    let events = (after + 1..=after + batch).map(fresh).collect();
    let room = ConsumerWindow { consumer: "consumer".into(), events: 1000, bytes: 8 << 20, empty: true };
    let loans = one.lend(Moment::default(), &[room], &FreshEvents { after, upto: after + batch, events });
    loans.into_iter().map(|loan| (loan.lease, SettleVerdict::Ack)).collect()
}

fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}
