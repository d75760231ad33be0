//! The life of this process in the database: its row, its heartbeats, and what ends it.
//!
//! A life that runs out is not over: only another replica ends it (`replicas.rs`), or the process itself at its stop. A
//! process whose life was ended begins a new one, under which it writes from then on.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::types::Type;

use super::connect::{Connection, Connector, SessionUse};
use super::patience::answered;
use super::start::{self, StartError};
use super::trouble::{PgError, Remedy};
use super::tx;
use crate::ports::clock::Clock;
use crate::store::health::StoreHealth;
use crate::telemetry::metrics::StoreMetrics;

/// What the own clock and that of the server may differ by in a lease.
const MARGIN: Duration = Duration::from_secs(1);

/// Longest wait for the answer to a heartbeat.
const ANSWER: Duration = Duration::from_secs(10);

const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Longest wait of a lane for the next life.
const NEXT_LIFE: Duration = Duration::from_secs(2);

/// The life of this process. Cheap to clone; all clones share it.
#[derive(Clone)]
pub(in crate::store) struct Life(Arc<LifeParts>);

struct LifeParts {
    state: watch::Sender<LifeState>,
    trust: Mutex<Trust>,
    /// Number of commits that were acknowledged and lost.
    lost: watch::Sender<u64>,
    metrics: StoreMetrics,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum LifeState {
    /// Not begun, and why.
    Absent(String),
    Present(i64),
    /// Ended by the process itself.
    Resigned,
}

/// How long this process may believe in its life.
#[derive(Clone, Copy, Debug)]
struct Trust {
    until: Instant,
    /// Since when each heartbeat has succeeded; `None` while the database is away.
    reachable_since: Option<Instant>,
}

impl Life {
    pub(super) fn new(metrics: StoreMetrics) -> Self {
        let state = watch::Sender::new(LifeState::Absent("the database was not reached yet".into()));
        let trust = Mutex::new(Trust { until: Instant::now(), reachable_since: None });
        Self(Arc::new(LifeParts { state, trust, lost: watch::Sender::new(0), metrics }))
    }

    /// The id of the present life; `None` before the first begins, between two, and after the stop.
    pub(in crate::store) fn present(&self) -> Option<i64> {
        match &*self.0.state.borrow() {
            LifeState::Present(life) => Some(*life),
            _ => None,
        }
    }

    /// Why there is no life.
    pub(super) fn absence(&self) -> PgError {
        match &*self.0.state.borrow() {
            LifeState::Absent(why) => PgError::Unreachable(why.clone()),
            LifeState::Present(_) => PgError::Ended,
            LifeState::Resigned => PgError::Unreachable("the store is closed".into()),
        }
    }

    /// Notes that the database shows this life as ended.
    pub(super) fn ended(&self, life: i64) {
        self.0.state.send_if_modified(|state| {
            let is_this = *state == LifeState::Present(life);
            if is_this {
                tracing::warn!(
                    life,
                    "another replica has taken over the work of this process; it goes on in a new life"
                );
                *state = LifeState::Absent("another replica has taken over; a new life begins".into());
            }
            is_this
        });
    }

    /// Waits, not for ever, for a life after this one.
    pub(super) async fn next_after(&self, life: i64) {
        let mut state = self.0.state.subscribe();
        let next = state.wait_for(|state| matches!(state, LifeState::Present(next) if *next != life));
        // Without one the caller asks again, and hears why there is none.
        let _ = timeout(NEXT_LIFE, next).await;
    }

    /// Waits for the first life, or for the stop.
    pub(in crate::store) async fn begun(&self) -> Option<i64> {
        let mut state = self.0.state.subscribe();
        // The sender lives as long as this.
        let _ = state.wait_for(|state| !matches!(state, LifeState::Absent(_))).await;
        self.present()
    }

    /// The lives as they come, for what has to be said of a new one.
    pub(in crate::store) fn trusted_until(&self) -> Instant {
        self.trust().until
    }

    /// Since when the database is reachable without a break.
    pub(super) fn reachable_since(&self) -> Option<Instant> {
        self.trust().reachable_since
    }

    /// Notes commits that were acknowledged and are not in the database any more.
    pub(super) fn commits_lost(&self, lane: i16, commits: i64) {
        tracing::error!(
            lane,
            commits,
            "a failover lost commits that were acknowledged: orders may be missing in the ledger, and events in the feeds"
        );
        let commits = u64::try_from(commits).unwrap_or_default();
        self.0.metrics.commits_lost.inc_by(commits);
        self.0.lost.send_modify(|lost| *lost += commits);
    }

    /// The number of commits lost since the start, as it changes.
    pub(in crate::store) fn lost(&self) -> watch::Receiver<u64> {
        self.0.lost.subscribe()
    }

    /// Ends the life by the process itself: no further one begins.
    pub(super) fn resigned(&self) {
        self.0.state.send_replace(LifeState::Resigned);
    }

    fn trust(&self) -> Trust {
        // Every change assigns the whole value.
        *self.0.trust.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_trust(&self, trust: Trust) {
        *self.0.trust.lock().unwrap_or_else(PoisonError::into_inner) = trust;
    }

    fn is_over(&self) -> bool {
        *self.0.state.borrow() == LifeState::Resigned
    }
}

/// Begins lives and keeps them by heartbeats, until the process ends its own.
pub(super) struct LifeKeeper {
    pub(super) life: Life,
    pub(super) connector: Connector,
    pub(super) health: StoreHealth,
    pub(super) clock: Clock,
    /// Name of the process for people.
    pub(super) name: String,
    pub(super) on_fatal: Arc<dyn Fn(&str) + Send + Sync>,
}

impl LifeKeeper {
    /// Runs until the life is resigned.
    pub(super) async fn keep(self) {
        let mut pause = FIRST_PAUSE;
        while !self.life.is_over() {
            match self.keep_connected(&mut pause).await {
                Ok(()) => return,
                Err(StartError::Refused(line)) => {
                    (self.on_fatal)(&format!("store.url: {line}"));
                    return;
                }
                Err(StartError::Failing(error)) => self.fails(&error),
            }
            let mut state = self.life.0.state.subscribe();
            tokio::select! {
                () = sleep(pause) => {}
                _ = state.wait_for(|state| *state == LifeState::Resigned) => return,
            }
            pause = (pause * 2).min(self.connector.longest_pause());
        }
    }

    /// Keeps lives over one connection.
    async fn keep_connected(&self, pause: &mut Duration) -> Result<(), StartError> {
        let connection = self.connector.connect(SessionUse::Life).await?;
        start::prepare(&connection, self.connector.settings()).await?;
        loop {
            let life = match self.life.present() {
                Some(life) if self.renew(&connection, life).await? => life,
                Some(life) => {
                    self.life.ended(life);
                    continue;
                }
                None if self.life.is_over() => return Ok(()),
                None => self.begin(&connection).await?,
            };
            *pause = FIRST_PAUSE;
            let mut state = self.life.0.state.subscribe();
            tokio::select! {
                () = sleep(self.connector.settings().lease / 3) => {}
                _ = state.wait_for(|state| *state != LifeState::Present(life)) => {}
            }
        }
    }

    async fn begin(&self, connection: &Connection) -> Result<i64, PgError> {
        let asked = Instant::now();
        let params = [
            (&self.name as _, Type::TEXT),
            (&env!("CARGO_PKG_VERSION") as _, Type::TEXT),
            (&self.lease() as _, Type::FLOAT8),
        ];
        let rows = answered(ANSWER, tx::query(connection, BEGIN, &params)).await?;
        let row = rows.first().ok_or_else(|| PgError::Damaged("no life was made".into()))?;
        let life: i64 = row.try_get(0)?;
        self.renewed(connection, asked, row.try_get(1)?)?;
        self.life.0.state.send_if_modified(|state| {
            let goes_on = matches!(state, LifeState::Absent(_));
            if goes_on {
                *state = LifeState::Present(life);
            }
            goes_on
        });
        tracing::info!(life, "the database knows this process as a new life");
        Ok(life)
    }

    /// Returns whether the life goes on.
    async fn renew(&self, connection: &Connection, life: i64) -> Result<bool, PgError> {
        let asked = Instant::now();
        let params = [(&life as _, Type::INT8), (&self.lease() as _, Type::FLOAT8)];
        let rows = answered(ANSWER, tx::query(connection, RENEW, &params)).await?;
        let Some(row) = rows.first() else { return Ok(false) };
        self.renewed(connection, asked, row.try_get(0)?)?;
        Ok(true)
    }

    fn renewed(&self, connection: &Connection, asked: Instant, time: i64) -> Result<(), PgError> {
        if connection.take_warning() {
            return Err(PgError::Unreachable("a heartbeat is without the answer of a standby".into()));
        }
        let time = u64::try_from(time).map_err(|_| PgError::Damaged("the time of the server".into()))?;
        self.clock.follow_store(time, asked, Instant::now());
        // From before the question: the server may have carried it out at any time since.
        let until = asked + self.connector.settings().lease.saturating_sub(MARGIN);
        let reachable_since = self.life.reachable_since().or(Some(asked));
        self.life.set_trust(Trust { until, reachable_since });
        Ok(())
    }

    fn lease(&self) -> f64 {
        self.connector.settings().lease.as_secs_f64()
    }

    fn fails(&self, error: &PgError) {
        let told = error.to_store_error();
        self.life.set_trust(Trust { reachable_since: None, ..self.life.trust() });
        self.life.0.state.send_if_modified(|state| {
            let absent = matches!(state, LifeState::Absent(_));
            if absent {
                *state = LifeState::Absent(told.text.clone());
            }
            absent
        });
        if error.remedy() != Remedy::Again {
            self.health.fails(&told, self.clock.now().into());
        }
    }
}

/// A new life with its lanes.
const BEGIN: &str = "WITH life AS (INSERT INTO replicas (name, version, until) \
     VALUES ($1, $2, clock_timestamp() + $3 * interval '1 second') RETURNING id), \
     made AS (INSERT INTO lanes (replica, lane) SELECT id, lane FROM life, generate_series(0, 3) AS lane) \
     SELECT id, (extract(epoch FROM clock_timestamp()) * 1000)::bigint FROM life";

const RENEW: &str = "UPDATE replicas SET until = clock_timestamp() + $2 * interval '1 second' \
     WHERE id = $1 AND NOT ended RETURNING (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
