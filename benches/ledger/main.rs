//! What the ledger costs: entries begun and saved a second, syncs a call, on an empty database and on a filled one, beside
//! the disk's own sync time. Every figure is the median of interleaved rounds.
//!
//! `cargo bench --bench ledger -- --help`; without options it takes about five minutes and 10 GB in the temporary folder.

#[path = "../measure/mod.rs"]
mod measure;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Parser;
use order_gateway::domain::account::AccountId;
use order_gateway::domain::ledger::{Entry, EntryState, Fingerprint, MutationKind, NewEntry, OperationId};
use order_gateway::domain::moment::Moment;
use order_gateway::domain::timestamp::Timestamp;
use order_gateway::ports::clock::Clock;
use order_gateway::ports::ledger::{BeginOutcome, EntryQuery, Ledger, SaveResult};
use order_gateway::store::sqlite::SqliteLedger;
use order_gateway::store::{Store, StoreSettings};
use order_gateway::telemetry::metrics::Metrics;
use tokio::time::Instant;
use uuid::Uuid;

use self::measure::fill::{Numbers, fill};
use self::measure::{commits, sync_time};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[derive(Parser)]
struct Options {
    /// Entries in the filled database; 0 leaves it out.
    #[arg(long, default_value_t = 10_000_000)]
    fill: i64,
    /// Rounds; each measures every case once.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds for each case of a round.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Callers at once.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 256])]
    callers: Vec<usize>,
    /// Where the databases are made.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

struct Case {
    store: &'static str,
    ledger: Store,
    metrics: Arc<Metrics>,
    numbers: Numbers,
    callers: usize,
    next: Arc<AtomicU64>,
    figures: Vec<Figures>,
}

#[derive(Clone, Copy)]
struct Figures {
    calls: f64,
    p50: Duration,
    p99: Duration,
    syncs: f64,
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
    let mut stores = Vec::new();
    let open = |name: &'static str, path: &Path| -> Result<_> {
        let metrics = Arc::new(Metrics::new([]));
        let settings = StoreSettings {
            clock: Clock::system(),
            metrics: metrics.store.clone(),
            accounts: Vec::new(),
            on_fatal: Arc::new(|why| {
                eprintln!("{why}");
                std::process::exit(1);
            }),
        };
        Ok((name, Store::Sqlite(SqliteLedger::open(path, settings)?), metrics))
    };
    stores.push(open("empty", &folder.join("empty.db"))?);
    if options.fill > 0 {
        let path = folder.join("filled.db");
        open("filled", &path)?.1.close().await;
        let started = Instant::now();
        fill(&path, "acme", options.fill)?;
        let bytes = path.metadata()?.len();
        println!("filled with {} entries in {:.0?}, {} MiB", options.fill, started.elapsed(), bytes >> 20);
        stores.push(open("filled", &path)?);
    }
    let mut cases = Vec::new();
    for callers in &options.callers {
        for numbers in [Numbers::Rising, Numbers::Scattered] {
            for (store, ledger, metrics) in &stores {
                let (store, ledger, metrics) = (*store, ledger.clone(), metrics.clone());
                let next = Arc::new(AtomicU64::new(1_000_000_000 * (1 + cases.len() as u64)));
                cases.push(Case { store, ledger, metrics, numbers, callers: *callers, next, figures: Vec::new() });
            }
        }
    }
    let mut syncs = Vec::new();
    for round in 1..=options.rounds {
        eprintln!("round {round} of {}", options.rounds);
        syncs.push(sync_time(folder)?);
        for case in &mut cases {
            let figures = run(case, Duration::from_secs_f64(options.seconds)).await?;
            case.figures.push(figures);
        }
    }
    report(&cases, &mut syncs);
    if let Some((_, filled, _)) = stores.iter().find(|(name, ..)| *name == "filled") {
        lists(filled).await?;
    }
    for (_, ledger, _) in &stores {
        ledger.close().await;
    }
    Ok(())
}

fn report(cases: &[Case], syncs: &mut [Duration]) {
    syncs.sort();
    println!("the disk's own sync: {:.3?}", syncs[syncs.len() / 2]);
    println!("| callers | numbers | database | calls/s | rows/s | p50 | p99 | syncs a call | slower than empty |");
    println!("|---|---|---|---|---|---|---|---|---|");
    for case in cases {
        let middle = |of: &dyn Fn(&Figures) -> f64| {
            let mut all: Vec<f64> = case.figures.iter().map(of).collect();
            all.sort_by(f64::total_cmp);
            all[all.len() / 2]
        };
        let calls = middle(&|figures| figures.calls);
        let same =
            |other: &&Case| other.store == "empty" && other.callers == case.callers && other.numbers == case.numbers;
        // Round by round, so that a slow machine slows both.
        let slower = cases.iter().find(same).filter(|_| case.store == "filled").map(|empty| {
            let mut all: Vec<f64> =
                case.figures.iter().zip(&empty.figures).map(|(a, b)| 100.0 * (1.0 - a.calls / b.calls)).collect();
            all.sort_by(f64::total_cmp);
            format!("{:.0} %", all[all.len() / 2])
        });
        println!(
            "| {} | {} | {} | {calls:.0} | {:.0} | {:.2?} | {:.2?} | {:.3} | {} |",
            case.callers,
            case.numbers.name(),
            case.store,
            2.0 * calls,
            Duration::from_secs_f64(middle(&|figures| figures.p50.as_secs_f64())),
            Duration::from_secs_f64(middle(&|figures| figures.p99.as_secs_f64())),
            middle(&|figures| figures.syncs),
            slower.unwrap_or_default(),
        );
    }
}

/// What lists of the filled ledger cost: of a second account with one entry, of the filled one by state and age, and what
/// abandoned ones cost a look-up. The slowest of twenty each.
async fn lists(ledger: &Store) -> Result<()> {
    let second = AccountId::new("second").map_err(|_| "no account")?;
    let BeginOutcome::New(entries) =
        ledger.begin(vec![new_entry(second.clone(), "of the second".into())], false).await?
    else {
        return Err("not new".into());
    };
    let all =
        EntryQuery { accounts: None, states: Vec::new(), created_before: None, after: OperationId(0), limit: 101 };
    let of_second = EntryQuery { accounts: Some(vec![second]), ..all.clone() };
    let old = EntryQuery { created_before: Some(Timestamp(1_800_000_000_002)), ..all.clone() };
    let rejected = EntryQuery { states: vec![EntryState::Rejected], ..all.clone() };
    println!("| list | slowest of 20 |");
    println!("|---|---|");
    for (name, query) in [("all", &all), ("second account", &of_second), ("oldest", &old), ("rejected", &rejected)] {
        let mut slowest = Duration::ZERO;
        for _ in 0..20 {
            let asked = Instant::now();
            ledger.list(query).await?;
            slowest = slowest.max(asked.elapsed());
        }
        println!("| {name} | {slowest:.2?} |");
    }
    let mut slowest = Duration::ZERO;
    for _ in 0..20 {
        for _ in 0..40 {
            let ledger = ledger.clone();
            let old = EntryQuery { limit: 1_000_000, ..all.clone() };
            // Its caller leaves after a moment.
            tokio::spawn(
                async move { tokio::time::timeout(Duration::from_millis(1), ledger.list(&old)).await.map(drop) },
            );
        }
        let asked = Instant::now();
        ledger.get(entries[0].id).await?;
        slowest = slowest.max(asked.elapsed());
    }
    println!("| one entry, beside 40 abandoned lists | {slowest:.2?} |");
    Ok(())
}

/// A call is a begin and a save: two rows written.
async fn run(case: &Case, span: Duration) -> Result<Figures> {
    let before = commits(&case.metrics);
    let started = Instant::now();
    let callers: Vec<_> = (0..case.callers)
        .map(|_| {
            let (ledger, next, numbers) = (case.ledger.clone(), case.next.clone(), case.numbers);
            tokio::spawn(async move {
                let mut times = Vec::new();
                while started.elapsed() < span {
                    let called = Instant::now();
                    let number = numbers.nth(next.fetch_add(1, Ordering::Relaxed));
                    call(&ledger, format!("{number:012}")).await?;
                    times.push(called.elapsed());
                }
                Ok::<_, Box<dyn Error + Send + Sync>>(times)
            })
        })
        .collect();
    let mut times = Vec::new();
    for caller in callers {
        times.append(&mut caller.await??);
    }
    let took = started.elapsed();
    times.sort();
    let calls = times.len() as f64;
    Ok(Figures {
        calls: calls / took.as_secs_f64(),
        p50: times[times.len() / 2],
        p99: times[times.len() * 99 / 100],
        syncs: (commits(&case.metrics) - before) / calls,
    })
}

fn new_entry(account: AccountId, order_number: String) -> NewEntry {
    NewEntry {
        account,
        kind: MutationKind::Create,
        request_id: None,
        order_number: order_number.into(),
        batch: 0,
        batches: 1,
        fingerprint: Fingerprint([1; Fingerprint::LENGTH]),
        state: EntryState::Sending,
        created: Timestamp(1_900_000_000_000),
        not_after: Moment { wall: Timestamp(1_900_000_900_000), ..Moment::default() },
        boot: None,
        correlation_id: Uuid::from_u128(1),
        body: vec![b'b'; 1024].into(),
        snapshot: Vec::new(),
    }
}

async fn call(ledger: &Store, order_number: String) -> Result<()> {
    let new = new_entry(AccountId::new("acme").map_err(|_| "no account")?, order_number);
    let BeginOutcome::New(entries) = ledger.begin(vec![new], false).await? else { return Err("not new".into()) };
    let end = |entry| Entry {
        state: EntryState::Succeeded,
        body: Default::default(),
        answer: vec![b'a'; 200].into(),
        ..entry
    };
    match ledger.save(entries.into_iter().map(end).collect(), Vec::new()).await? {
        SaveResult::Done(_) => Ok(()),
        SaveResult::Stale => Err("stale".into()),
    }
}
