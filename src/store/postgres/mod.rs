//! The ledger and the feeds on Postgres, for any number of processes.
//!
//! Every decision is a row, changed under a lock or by comparison. A process writes in *lanes* ([`lane`]): connections
//! under an epoch, so that a transaction whose answer is lost is known to be committed or not. Its *life* ([`life`]) is a
//! row that it renews; when it does not, another process ends the life, and what it had in hand goes on elsewhere
//! ([`replicas`]). `migrations/` defines the schema.

mod accounts;
mod connect;
mod lane;
mod ledger;
mod life;
mod migrations;
mod patience;
mod replicas;
mod requests;
mod settings;
mod small;
mod start;
mod tls;
mod trouble;
mod tx;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::AbortHandle;

use self::accounts::Accounts;
use self::connect::{Connector, SessionUse};
use self::lane::{ChangeLane, LEDGER_LANE, Lane, LaneSurroundings, closed};
use self::ledger::LedgerWrites;
use self::life::{Life, LifeKeeper};
use self::replicas::Observed;
use self::requests::Requests;
pub use self::settings::PostgresSettings;
use self::start::StartError;
use self::trouble::PgError;
use super::health::{StoreFailure, StoreHealth};
use super::{AccountConflict, StoreSettings};
use crate::domain::account::{AccountId, SellerId};
use crate::ports::store_error::StoreError;

/// Connections besides those for reads: four lanes, draws, notifications, and the life.
const BESIDES_READS: usize = 7;

/// The ledger and the feeds in a database. Cheap to clone; all clones share one life.
#[derive(Clone)]
pub struct PostgresStore(Arc<PostgresParts>);

struct PostgresParts {
    ledger: Lane<LedgerWrites>,
    changes: ChangeLane,
    reads: Requests,
    draws: Requests,
    accounts: Accounts,
    surroundings: LaneSurroundings,
    observed: Observed,
    /// Number of written groups at the last proof that the store works.
    proved: AtomicU64,
    keeper: AbortHandle,
}

impl PostgresStore {
    /// Opens the store at once and connects behind it, for as long as it takes. Must be called in a runtime.
    ///
    /// # Errors
    /// One line for the operator: the settings cannot be used.
    pub fn open(settings: PostgresSettings, store: StoreSettings) -> Result<Self, String> {
        let connector = Connector::new(settings)?;
        let StoreSettings { clock, metrics, accounts, on_fatal } = store;
        let health = StoreHealth::new(metrics.clone());
        let life = Life::new(metrics.clone());
        let connections = connector.settings().connections.saturating_sub(BESIDES_READS).max(1);
        let reads = Requests::new(connector.clone(), SessionUse::Reads, connections);
        let draws = Requests::new(connector.clone(), SessionUse::Draws, 1);
        let accounts = Accounts::new(accounts);
        let keeper = LifeKeeper {
            life: life.clone(),
            connector: connector.clone(),
            health: health.clone(),
            clock,
            name: process_name(),
            on_fatal,
        };
        let keeper = tokio::spawn(keeper.keep()).abort_handle();
        let surroundings = LaneSurroundings { connector, life, reads: reads.clone(), health, metrics, clock };
        let writes = LedgerWrites::new(accounts.clone(), reads.clone());
        let ledger = Lane::start(writes, LEDGER_LANE, surroundings.clone());
        let changes = ChangeLane::start(&surroundings);
        let (observed, proved) = (Observed::default(), AtomicU64::new(0));
        let parts = PostgresParts { ledger, changes, reads, draws, accounts, surroundings, observed, proved, keeper };
        Ok(Self(Arc::new(parts)))
    }

    /// Brings the schema up to date and ends.
    ///
    /// # Errors
    /// One line for the operator.
    pub async fn migrate(settings: PostgresSettings) -> Result<(), String> {
        let connector = Connector::new(PostgresSettings { migrate: true, ..settings })?;
        let done = async {
            let connection = connector.connect(SessionUse::Life).await?;
            start::prepare(&connection, connector.settings()).await
        };
        done.await.map_err(|error| match error {
            StartError::Refused(line) => line,
            StartError::Failing(error) => error.to_string(),
        })
    }

    /// The present failure of the store: from a failed write until the next commit.
    pub fn failing(&self) -> Option<StoreFailure> {
        self.0.surroundings.health.failing()
    }

    /// Adds the accounts that this process does not know, or none of them if there are conflicts, which are returned.
    pub async fn add_accounts(&self, accounts: Vec<(AccountId, SellerId)>) -> Result<Vec<AccountConflict>, StoreError> {
        Ok(self.0.accounts.add(accounts))
    }

    /// Checks whether the store works, by a transaction without rows; skipped when the store works and something was
    /// written since the last check. [`Self::failing`] has the result.
    pub(crate) async fn prove(&self) {
        let health = &self.0.surroundings.health;
        let written = health.written();
        if self.0.proved.swap(written, Ordering::Relaxed) == written || health.failing().is_some() {
            // The step is a write, and its commit is synced.
            let _ = self.0.changes.transaction(|_| async { Ok(()) }).await;
            self.0.proved.store(health.written(), Ordering::Relaxed);
        }
    }

    /// Closes the store: the life ends, and with it what this process holds.
    pub async fn close(&self) {
        // Without the database another replica ends the life when it has run out.
        let _ = self.resign_life().await;
        self.0.keeper.abort();
        self.0.reads.close();
        self.0.draws.close();
    }

    /// Plain reads, each a statement of its own.
    pub(in crate::store) fn reads(&self) -> &Requests {
        &self.0.reads
    }

    /// Statements of which losing the last second costs nothing.
    pub(in crate::store) fn draws(&self) -> &Requests {
        &self.0.draws
    }

    /// Transactions for everything that has no lane of its own.
    pub(in crate::store) fn changes(&self) -> &ChangeLane {
        &self.0.changes
    }

    /// The life of this process.
    pub(in crate::store) fn life(&self) -> &Life {
        &self.0.surroundings.life
    }

    /// The accounts by their numbers in the database.
    pub(in crate::store) fn accounts(&self) -> &Accounts {
        &self.0.accounts
    }

    /// Turns the failure of a read into that of the port, and notes it.
    pub(in crate::store) fn told<T>(&self, result: Result<T, PgError>) -> Result<T, StoreError> {
        result.map_err(|error| {
            let told = error.to_store_error();
            self.0.surroundings.health.fails(&told, self.0.surroundings.clock.now().into());
            told
        })
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").field("failing", &self.failing()).finish_non_exhaustive()
    }
}

/// The name of this process for people: of the machine, which is the pod's name in a cluster.
fn process_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
pub(super) mod tests;
