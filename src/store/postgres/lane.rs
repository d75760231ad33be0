//! Lanes: connections for writes. After a lost connection, a lane finds out whether its last transaction was committed.
//!
//! Each lane has a row in the table `lanes`, with an epoch and the number `seq` of its last transaction. The first statement
//! of every transaction, the *step*, adds 1 to `seq`, and fails unless the row has the epoch and the number that the lane
//! expects. When a connection is lost or silent, the lane connects again and raises the epoch. The raise waits for a
//! transaction that still runs, and makes the step of a transaction fail that the server has not begun yet. The raise returns
//! `seq`, which tells whether the transaction in doubt was committed. Nothing has to be read back, because all results are
//! read before COMMIT is sent.
//!
//! Nobody gets an answer while a transaction is in doubt: after an error nothing was written.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::{Instant, sleep};
use tokio_postgres::types::Type;

use super::connect::{Connection, Connector, SessionUse};
use super::life::Life;
use super::patience::answered;
use super::requests::Requests;
use super::trouble::{PgError, Remedy};
use super::tx::{self, Tx};
use crate::ports::clock::Clock;
use crate::ports::store_error::{StoreError, StoreErrorKind};
use crate::store::health::StoreHealth;
use crate::telemetry::metrics::StoreMetrics;

/// Most writes of one transaction.
const MOST: usize = 1024;

/// Writes that may wait for a lane; further callers wait before they hand their writes over.
const QUEUE: usize = 4096;

/// Longest wait for the answer to the statements of a transaction, and to its COMMIT.
const ANSWER: Duration = Duration::from_secs(10);

/// Wait for a lock after which sessions that hold it in vain are looked for.
const BLOCKED: Duration = Duration::from_secs(2);

/// Times that a transaction is tried when others are in its way, or its connection is lost.
const TRIES: u32 = 5;

/// First wait between two attempts to connect.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Writes of one kind, which a lane carries out in groups, each group in one transaction.
pub(in crate::store) trait GroupWrite: Send + Sync + 'static {
    /// What one caller wants.
    type Job: Send + Sync + 'static;
    /// What the caller is told after the commit.
    type Answer: Send + 'static;

    /// Runs the statements of `jobs` inside the open transaction, and returns one answer for each job. May run more than
    /// once.
    fn write(&self, tx: &Tx, jobs: &[Self::Job]) -> impl Future<Output = Result<Vec<Self::Answer>, PgError>> + Send;
}

/// What all lanes of a store share.
#[derive(Clone)]
pub(super) struct LaneSurroundings {
    pub(super) connector: Connector,
    pub(super) life: Life,
    pub(super) reads: Requests,
    pub(super) health: StoreHealth,
    pub(super) metrics: StoreMetrics,
    pub(super) clock: Clock,
}

/// The lanes of a life, by their numbers in the database.
pub(super) const LEDGER_LANE: i16 = 0;
pub(super) const FEED_LANE: i16 = 1;
pub(super) const CHANGE_LANES: [i16; 2] = [2, 3];

/// A lane for writes of one kind. Cheap to clone; the lane ends after the last clone and the queued work.
pub(in crate::store) struct Lane<G: GroupWrite> {
    queue: mpsc::Sender<Waiting<G>>,
}

impl<G: GroupWrite> Clone for Lane<G> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone() }
    }
}

struct Waiting<G: GroupWrite> {
    job: G::Job,
    answer: oneshot::Sender<Result<G::Answer, StoreError>>,
}

impl<G: GroupWrite> Lane<G> {
    pub(super) fn start(group: G, lane: i16, surroundings: LaneSurroundings) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        tokio::spawn(serve_groups(group, LaneWriter::new(lane, surroundings), waiting));
        Self { queue }
    }

    /// Hands a job over and waits for its answer. The job is carried out even when the future is dropped.
    pub(in crate::store) async fn run(&self, job: G::Job) -> Result<G::Answer, StoreError> {
        let (answer, told) = oneshot::channel();
        self.queue.send(Waiting { job, answer }).await.map_err(|_| closed())?;
        told.await.unwrap_or_else(|_| Err(closed()))
    }
}

async fn serve_groups<G: GroupWrite>(group: G, mut writer: LaneWriter, mut queue: mpsc::Receiver<Waiting<G>>) {
    let mut waiting = Vec::new();
    while queue.recv_many(&mut waiting, MOST).await > 0 {
        let (jobs, answers): (Vec<_>, Vec<_>) = waiting.drain(..).map(|one| (one.job, one.answer)).unzip();
        match writer.carry_out(|tx| write_group(&group, tx, &jobs)).await {
            Ok(told) => {
                writer.surroundings.metrics.writes.inc_by(jobs.len() as u64);
                for (answer, told) in answers.into_iter().zip(told) {
                    // The caller may have left; the write happened nevertheless.
                    let _ = answer.send(Ok(told));
                }
            }
            Err(error) if jobs.len() > 1 && (error.is_of_one() || error.remedy() == Remedy::Again) => {
                for (job, answer) in jobs.iter().zip(answers) {
                    let job = std::slice::from_ref(job);
                    let told = writer.carry_out(|tx| write_group(&group, tx, job)).await;
                    let told = told.map(|mut told| told.pop()).and_then(|told| told.ok_or(PgError::Unread));
                    let _ = answer.send(told.map_err(|error| writer.fails(&error)));
                }
            }
            Err(error) => {
                let error = writer.fails(&error);
                for answer in answers {
                    let _ = answer.send(Err(error.clone()));
                }
            }
        }
    }
}

async fn write_group<G: GroupWrite>(group: &G, tx: Tx, jobs: &[G::Job]) -> Result<Vec<G::Answer>, PgError> {
    let answers = group.write(&tx, jobs).await?;
    if answers.len() == jobs.len() { Ok(answers) } else { Err(PgError::Unread) }
}

/// Lanes for everything else: one transaction for one change. Cheap to clone.
#[derive(Clone)]
pub(in crate::store) struct ChangeLane {
    queue: mpsc::Sender<Change>,
}

/// A change with the channel for its answer.
type Change = Box<dyn for<'a> FnOnce(&'a mut LaneWriter) -> ChangeFuture<'a> + Send>;
type ChangeFuture<'a> = std::pin::Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

impl ChangeLane {
    pub(super) fn start(surroundings: &LaneSurroundings) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let waiting = Arc::new(Mutex::new(waiting));
        for lane in CHANGE_LANES {
            tokio::spawn(serve_changes(LaneWriter::new(lane, surroundings.clone()), waiting.clone()));
        }
        Self { queue }
    }

    /// Carries out `change` in a transaction of its own. It may run more than once; what the last run returned is the
    /// answer. The change happens even when the future is dropped.
    pub(in crate::store) async fn transaction<T, F, Fut>(&self, change: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Fn(Tx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, PgError>> + Send + 'static,
    {
        let (answer, told) = oneshot::channel();
        let change: Change = Box::new(move |writer| {
            Box::pin(async move {
                let result = writer.carry_out(&change).await;
                let _ = answer.send(result.map_err(|error| writer.fails(&error)));
            })
        });
        self.queue.send(change).await.map_err(|_| closed())?;
        told.await.unwrap_or_else(|_| Err(closed()))
    }
}

async fn serve_changes(mut writer: LaneWriter, queue: Arc<Mutex<mpsc::Receiver<Change>>>) {
    loop {
        let next = queue.lock().await.recv().await;
        let Some(change) = next else { return };
        change(&mut writer).await;
    }
}

/// The connection of a lane, and what is known of its row.
pub(super) struct LaneWriter {
    lane: i16,
    surroundings: LaneSurroundings,
    open: Option<OpenLane>,
    /// The life and the number of the last transaction whose commit the server acknowledged.
    acknowledged: Option<(i64, i64)>,
    /// Until when no further connection is tried for new work, and why.
    refused: Option<(Instant, String)>,
    pause: Duration,
}

struct OpenLane {
    connection: Arc<Connection>,
    life: i64,
    epoch: i64,
    seq: i64,
}

/// The result of one attempt at a transaction.
enum Attempt<T> {
    Committed(T),
    /// Nothing was written.
    Failed(PgError),
    /// COMMIT was sent and not answered.
    InDoubt(T),
}

/// A transaction whose COMMIT was not answered.
#[derive(Clone, Copy)]
struct InDoubt {
    life: i64,
    seq: i64,
}

impl LaneWriter {
    fn new(lane: i16, surroundings: LaneSurroundings) -> Self {
        Self { lane, surroundings, open: None, acknowledged: None, refused: None, pause: FIRST_PAUSE }
    }

    /// Carries out `work` in a transaction, again where that can help. An error means that nothing was written.
    pub(super) async fn carry_out<T, Fut>(&mut self, work: impl Fn(Tx) -> Fut) -> Result<T, PgError>
    where
        Fut: Future<Output = Result<T, PgError>>,
    {
        let mut tries = 0;
        loop {
            self.reach().await?;
            let began = Instant::now();
            let error = match self.attempt(&work).await {
                Attempt::Committed(told) => {
                    self.committed(began);
                    return Ok(told);
                }
                Attempt::InDoubt(told) => {
                    if self.settle_doubt().await {
                        self.committed(began);
                        return Ok(told);
                    }
                    continue;
                }
                Attempt::Failed(error) => error,
            };
            tries += 1;
            match error.remedy() {
                Remedy::None => return Err(error),
                Remedy::Again if tries < TRIES => sleep(Duration::from_millis(5 << tries)).await,
                Remedy::Connect | Remedy::Fenced if tries < TRIES => self.open = None,
                Remedy::Again => return Err(error),
                Remedy::Connect | Remedy::Fenced => {
                    self.open = None;
                    return Err(error);
                }
            }
        }
    }

    /// One attempt: BEGIN and the step go out together with the first statements; COMMIT goes when all results are read.
    async fn attempt<T, Fut>(&mut self, work: &impl Fn(Tx) -> Fut) -> Attempt<T>
    where
        Fut: Future<Output = Result<T, PgError>>,
    {
        let Some(OpenLane { connection, life, epoch, seq }) = &self.open else {
            return Attempt::Failed(PgError::Unreachable("the lane is not connected".into()));
        };
        let (connection, life, want) = (connection.clone(), *life, seq + 1);
        let lane = self.lane;
        let begin = format!("BEGIN; {}SELECT lane_step({life}, {lane}::smallint, {epoch}, {want})", connection.prelude);
        let tx = Tx::new(connection.clone(), life);
        let statements = async {
            let begin = async { Ok::<(), PgError>(connection.client.batch_execute(&begin).await?) };
            // Polled in this order, so BEGIN is sent first.
            let (begun, told) = join(begin, work(tx.clone())).await;
            begun?;
            let told = told?;
            if tx.is_whole() { Ok(told) } else { Err(PgError::Unread) }
        };
        let told = match self.watched(connection.pid, answered(ANSWER, statements)).await {
            Ok(told) => told,
            Err(error) => {
                self.roll_back(&connection, &error).await;
                return Attempt::Failed(error);
            }
        };
        let commit = async { Ok(connection.client.batch_execute("COMMIT").await?) };
        let committed = answered(ANSWER, commit).await;
        let warned = connection.take_warning();
        match committed {
            // A warning says that no standby has answered: the raise of the epoch waits for one.
            Ok(()) if !warned => {
                if let Some(open) = &mut self.open {
                    open.seq = want;
                }
                self.acknowledged = Some((life, want));
                Attempt::Committed(told)
            }
            Err(error) if !warned && matches!(error.remedy(), Remedy::None | Remedy::Again) => Attempt::Failed(error),
            Ok(()) | Err(_) => Attempt::InDoubt(told),
        }
    }

    /// Waits for `answer`, and ends sessions that hold a lock in vain for which this one waits.
    async fn watched<T>(&self, pid: i32, answer: impl Future<Output = Result<T, PgError>>) -> Result<T, PgError> {
        let mut answer = std::pin::pin!(answer);
        loop {
            tokio::select! {
                biased;
                answer = answer.as_mut() => return answer,
                () = sleep(BLOCKED) => {
                    // The answer is not kept waiting for it.
                    let reads = self.surroundings.reads.clone();
                    tokio::spawn(async move { reads.end_blockers(pid).await });
                }
            }
        }
    }

    async fn roll_back(&mut self, connection: &Connection, error: &PgError) {
        if matches!(error.remedy(), Remedy::Connect | Remedy::Fenced) {
            self.open = None;
            return;
        }
        let rollback = async { Ok(connection.client.batch_execute("ROLLBACK").await?) };
        if answered(ANSWER, rollback).await.is_err() {
            self.open = None;
        }
    }

    /// Finds out whether the transaction in doubt was committed, however long that takes.
    async fn settle_doubt(&mut self) -> bool {
        let Some(OpenLane { life, seq, .. }) = self.open.take() else { return false };
        let doubt = InDoubt { life, seq: seq + 1 };
        tracing::warn!(lane = self.lane, "a commit was not answered; finding out whether it was done");
        let mut pause = FIRST_PAUSE;
        loop {
            match self.raise(doubt.life).await {
                Ok(Some(seq)) => {
                    self.note_lost(doubt.life, seq);
                    if seq == doubt.seq {
                        self.acknowledged = Some((doubt.life, seq));
                    }
                    return seq == doubt.seq;
                }
                // The row of the life itself is gone: with it all that was not on the standby.
                Ok(None) => {
                    self.note_lost(doubt.life, 0);
                    return false;
                }
                Err(error) => {
                    self.fails(&error);
                    sleep(pause).await;
                    pause = (pause * 2).min(self.surroundings.connector.longest_pause());
                }
            }
        }
    }

    /// Makes sure that the lane is connected under the present life. New work does not wait for a server that is away.
    async fn reach(&mut self) -> Result<(), PgError> {
        loop {
            let life = self.surroundings.life.present().ok_or_else(|| self.surroundings.life.absence())?;
            if self.open.as_ref().is_some_and(|open| open.life == life && !open.connection.client.is_closed()) {
                return Ok(());
            }
            self.open = None;
            if let Some((until, why)) = &self.refused
                && Instant::now() < *until
            {
                return Err(PgError::Unreachable(why.clone()));
            }
            match self.raise(life).await {
                Ok(found) => {
                    self.note_lost(life, found.unwrap_or(0));
                    self.refused = None;
                    self.pause = FIRST_PAUSE;
                    if self.open.is_none() {
                        // The life was ended; the next one begins as soon as the database permits.
                        self.surroundings.life.next_after(life).await;
                    }
                }
                Err(error) => {
                    self.refused = Some((Instant::now() + self.pause, error.to_string()));
                    self.pause = (self.pause * 2).min(self.surroundings.connector.longest_pause());
                    return Err(error);
                }
            }
        }
    }

    /// Connects under this life, shuts out earlier connections of the lane, and opens the lane unless the life has ended.
    /// Returns the number of the last transaction that was committed; `None` when the database does not know the life.
    async fn raise(&mut self, life: i64) -> Result<Option<i64>, PgError> {
        let LaneSurroundings { connector, life: lives, .. } = &self.surroundings;
        let lane = self.lane;
        let session = SessionUse::Lane { life, lane };
        let connection = connector.connect(session).await?;
        let name = connector.session_name(session);
        let raised = answered(ANSWER, async {
            tx::query(&connection, END_EARLIER, &[(&name, Type::TEXT)]).await?;
            let params = [(&life as _, Type::INT8), (&lane as _, Type::INT2)];
            let raised = tx::query(&connection, RAISE, &params).await?;
            match raised.first() {
                Some(row) => Ok((row.try_get::<_, Option<i64>>(0)?, row.try_get::<_, i64>(1)?)),
                None => {
                    let ended = tx::query(&connection, LAST, &params).await?;
                    match ended.first() {
                        Some(row) => Ok((None, row.try_get(0)?)),
                        None => Ok((None, -1)),
                    }
                }
            }
        })
        .await?;
        if connection.take_warning() {
            return Err(PgError::Unreachable("a commit is without the answer of a standby".into()));
        }
        match raised {
            (Some(epoch), seq) => {
                self.open = Some(OpenLane { connection: Arc::new(connection), life, epoch, seq });
                Ok(Some(seq))
            }
            (None, seq) => {
                lives.ended(life);
                Ok((seq >= 0).then_some(seq))
            }
        }
    }

    /// Notes commits that were acknowledged and are not there any more.
    fn note_lost(&mut self, life: i64, seq: i64) {
        if let Some((acknowledged_life, acknowledged)) = self.acknowledged
            && acknowledged_life == life
            && seq < acknowledged
        {
            self.surroundings.life.commits_lost(self.lane, acknowledged - seq);
            self.acknowledged = Some((life, seq));
        }
    }

    fn committed(&self, began: Instant) {
        let LaneSurroundings { health, metrics, clock, .. } = &self.surroundings;
        metrics.commits.observe(began.elapsed().as_secs_f64());
        health.works(clock.now().into());
    }

    /// Notes a failure of the store, unless only the write is at fault.
    fn fails(&self, error: &PgError) -> StoreError {
        let LaneSurroundings { health, clock, .. } = &self.surroundings;
        let told = error.to_store_error();
        if !error.is_of_one() {
            health.fails(&told, clock.now().into());
        }
        told
    }
}

/// Ends earlier sessions of this lane that wait for their client in mid-transaction: they hold locks as long as their socket
/// lives. A session that waits for a standby is left alone: to end it would show a commit that no standby has.
const END_EARLIER: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
     WHERE application_name = $1 AND datname = current_database() AND pid <> pg_backend_pid() \
     AND wait_event = 'ClientRead' AND state <> 'idle'";

/// Raises the epoch: waits for a transaction of the lane that still runs.
const RAISE: &str = "UPDATE lanes SET epoch = epoch + 1 WHERE replica = $1 AND lane = $2 AND NOT ended \
     RETURNING epoch, seq";

/// The last number of an ended life.
const LAST: &str = "SELECT seq FROM lanes WHERE replica = $1 AND lane = $2";

pub(super) fn closed() -> StoreError {
    StoreError { kind: StoreErrorKind::Failed, text: "the store is closed".into() }
}
