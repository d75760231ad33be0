//! Takes changes of accounts, clients, secrets and certificates while the process runs, at a change of a file or at
//! SIGHUP.
//!
//! Accounts and clients are taken whole or not at all. Calls and streams that are under way go on with what they began
//! with: an account keeps its number, a client its limits.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{clients, upstream};
use crate::config::files::FileChanges;
use crate::config::{Config, SecretWatcher, SettingsFiles};
use crate::domain::account::{AccountId, SellerId};
use crate::grpc::layers::authn::AllowedClients;
use crate::grpc::tls::TlsFiles;
use crate::http::page::WebhookCounts;
use crate::http::webhooks::WebhookAccounts;
use crate::ports::clock::Clock;
use crate::service::{AccountDirectory, ClientAccounts, Mutations, SettingsState};
use crate::store::{AccountConflict, Store};
use crate::telemetry::metrics::Metrics;
use crate::upstream::client::RestUpstream;
use crate::upstream::transport::HttpService;

/// Interval of checks of the settings, and of secret, token and certificate files; a change takes effect at the second
/// check.
const FILES_EVERY: Duration = Duration::from_secs(2);

/// Everything that a change of the settings reaches.
pub(super) struct Reload<H: HttpService> {
    /// The settings in force.
    config: Config,
    parts: ReloadParts<H>,
    tls: Option<TlsFiles>,
    /// The files of the settings; `None` where accounts and clients are fixed.
    settings: Option<WatchedSettings>,
    secrets: SecretWatcher,
}

/// The users of accounts and clients.
pub(super) struct ReloadParts<H: HttpService> {
    pub(super) store: Store,
    pub(super) directory: AccountDirectory,
    pub(super) upstream: RestUpstream<H>,
    pub(super) mutations: Mutations<RestUpstream<H>, Store>,
    pub(super) clients: AllowedClients,
    pub(super) client_accounts: ClientAccounts,
    pub(super) webhooks: WebhookAccounts,
    pub(super) counts: WebhookCounts,
    pub(super) state: SettingsState,
    pub(super) clock: Clock,
    pub(super) metrics: Arc<Metrics>,
}

/// The files of the settings, with what is known of their content.
struct WatchedSettings {
    files: SettingsFiles,
    changes: FileChanges,
}

/// Files that were read, and the settings in them.
struct LoadedSettings {
    fingerprint: u64,
    config: Result<Config, Vec<String>>,
}

/// Names of accounts and clients by what became of them.
#[derive(Default)]
struct SettingsChanges {
    added: Vec<String>,
    changed: Vec<String>,
    removed: Vec<String>,
}

impl WatchedSettings {
    /// Reads the files; returns their settings when they changed, or when `asked`.
    fn check(&mut self, asked: bool) -> Option<LoadedSettings> {
        let reading = self.files.read();
        let fingerprint = reading.fingerprint();
        let settled = self.changes.settled(fingerprint);
        (settled || asked).then(|| LoadedSettings { fingerprint, config: self.files.load(&reading) })
    }
}

impl<H: HttpService> Reload<H> {
    /// Watches the files named by the settings, and the files of the settings themselves.
    pub(super) fn new(
        config: Config,
        parts: ReloadParts<H>,
        tls: Option<TlsFiles>,
        settings: Option<SettingsFiles>,
    ) -> Self {
        let secrets = SecretWatcher::new(&config);
        parts.metrics.watch_secrets(secrets.refused());
        let settings = settings.map(|files| WatchedSettings { files, changes: FileChanges::default() });
        Self { config, parts, tls, settings, secrets }
    }

    /// Whether there is nothing that can change.
    fn is_fixed(&self) -> bool {
        self.settings.is_none() && self.secrets.is_empty() && self.tls.is_none()
    }

    /// Works until `stop`. `asked` is notified at SIGHUP.
    pub(super) async fn run(mut self, asked: Arc<Notify>, stop: CancellationToken) {
        if self.is_fixed() {
            return;
        }
        let mut ticks = interval(FILES_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let asked = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = asked.notified() => true,
                _ = ticks.tick() => false,
            };
            // File systems can block (a network, a stuck mount), so read on a blocking thread.
            let checked = tokio::task::spawn_blocking(move || {
                let loaded = self.check(asked);
                (self, loaded)
            });
            let checked = tokio::select! {
                checked = checked => checked,
                () = stop.cancelled() => return,
            };
            let loaded = match checked {
                Ok((this, loaded)) => {
                    self = this;
                    loaded
                }
                Err(error) => {
                    tracing::error!("changed files are no longer picked up: {error}");
                    return;
                }
            };
            if let Some(loaded) = loaded {
                self.take(loaded, asked).await;
            }
        }
    }

    /// Reads secrets, certificates and settings. `asked`: what is read counts at once, without a second reading.
    fn check(&mut self, asked: bool) -> Option<LoadedSettings> {
        if asked {
            tracing::info!("SIGHUP: accounts, clients, secrets and certificates are read again");
        }
        for _ in 0..if asked { 2 } else { 1 } {
            self.secrets.check();
            if let Some(tls) = &mut self.tls {
                tls.check();
            }
        }
        self.settings.as_mut()?.check(asked)
    }

    /// Takes settings, or refuses them.
    async fn take(&mut self, loaded: LoadedSettings, asked: bool) {
        let LoadedSettings { fingerprint, config } = loaded;
        let applied = match config {
            Ok(config) => self.apply(config).await,
            Err(faults) => Err(faults),
        };
        let Some(settings) = &mut self.settings else { return };
        match applied {
            Ok(changed) => {
                settings.changes.taken(fingerprint);
                self.parts.state.taken(changed.then(|| self.parts.clock.now()));
                if asked && !changed {
                    tracing::info!("accounts and clients are as they were");
                }
            }
            Err(faults) => {
                if settings.changes.refused(fingerprint) || asked {
                    self.parts.metrics.settings_refused.inc();
                    for fault in &faults {
                        tracing::warn!("the changed settings are refused, the old ones stay in force: {fault}");
                    }
                    self.parts.state.refused(self.parts.clock.now(), faults);
                }
            }
        }
    }

    /// Puts accounts and clients in force. Returns whether any changed. With an error nothing has changed.
    async fn apply(&mut self, new: Config) -> Result<bool, Vec<String>> {
        let (accounts, callers) = changes(&self.config, &new);
        if self.config.fixed_part() != new.fixed_part() {
            tracing::warn!("settings other than accounts and clients have changed; they count from the next start on");
        }
        if accounts.is_empty() && callers.is_empty() {
            return Ok(false);
        }
        let ids = new.accounts.iter().map(|it| (SellerId::new(&it.partner_id), it.id.clone())).collect::<Vec<_>>();
        let parts = &self.parts;
        let upstream = new.accounts.iter().map(upstream::account).collect::<Result<Vec<_>, _>>();
        let upstream = upstream.map_err(|fault| vec![fault])?;
        self.add_to_store(&ids).await?;
        let indexes = parts.directory.indexes(ids.iter().map(|(seller, _)| seller));
        let shared = parts.upstream.shared();
        shared.endpoint.accounts().update(indexes.iter().copied().zip(upstream).collect());
        indexes.iter().for_each(|account| shared.circuits.begin(*account));
        let coming = |known: bool| {
            let of = ids.iter().filter(move |(seller, id)| {
                parts.directory.position(id).is_none() && parts.directory.knows(seller) == known
            });
            of.map(|(_, id)| id.clone()).collect::<Vec<AccountId>>()
        };
        let (fresh, returning) = (coming(false), coming(true));
        if !fresh.is_empty() {
            // Before the first call: operations that are open now belong to an earlier process.
            let taken = parts.mutations.take_over_accounts(&fresh).await;
            taken.map_err(|_| vec!["accounts: the store cannot be read or written".to_owned()])?;
        }
        // From here on nothing can fail.
        parts.directory.replace(&ids);
        parts.clients.replace(clients::from_config(&new, &parts.directory), |account| indexes.contains(&account));
        parts.client_accounts.replace(clients::scopes(&new));
        parts.webhooks.replace(&new.accounts);
        parts.counts.replace(&new.accounts, &parts.metrics);
        // The watched secrets are those of the new settings, which were read with them.
        self.secrets = SecretWatcher::counting(&new, self.secrets.refused());
        parts.mutations.resume_accounts(&returning).await;
        tracing::info!(
            accounts_added = accounts.added.join(","),
            accounts_changed = accounts.changed.join(","),
            accounts_removed = accounts.removed.join(","),
            clients_added = callers.added.join(","),
            clients_changed = callers.changed.join(","),
            clients_removed = callers.removed.join(","),
            "the settings changed and are in force"
        );
        parts.mutations.warn_of_removed(&accounts.removed).await;
        self.config = new;
        Ok(true)
    }

    /// Makes the sellers known to the store. A store that knows a seller by another account id, or an account id of
    /// another seller, renames them at the start only.
    async fn add_to_store(&self, ids: &[(SellerId, AccountId)]) -> Result<(), Vec<String>> {
        let ids = ids.iter().map(|(seller, id)| (id.clone(), seller.clone())).collect();
        let conflicts = self.parts.store.add_accounts(ids).await;
        let conflicts = conflicts.map_err(|_| vec!["accounts: the store cannot be read or written".to_owned()])?;
        let fault = |conflict: &AccountConflict| match conflict {
            AccountConflict::Renamed { account, from } => format!(
                "accounts.{account}.id: the seller's account was called {from}; an account is renamed at a restart only"
            ),
            AccountConflict::Taken { account } => format!(
                "accounts.{account}.partner_id: the account was another seller's; it changes hands at a restart only"
            ),
        };
        if conflicts.is_empty() { Ok(()) } else { Err(conflicts.iter().map(fault).collect()) }
    }
}

impl SettingsChanges {
    fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }

    fn between<T: PartialEq>(old: &[T], new: &[T], name: impl Fn(&T) -> &str) -> Self {
        let mut changes = Self::default();
        for entry in new {
            match old.iter().find(|known| name(known) == name(entry)) {
                None => changes.added.push(name(entry).to_owned()),
                Some(known) if known != entry => changes.changed.push(name(entry).to_owned()),
                Some(_) => {}
            }
        }
        let gone = old.iter().filter(|known| !new.iter().any(|entry| name(entry) == name(known)));
        changes.removed = gone.map(|known| name(known).to_owned()).collect();
        changes
    }
}

/// The changes of accounts and of clients.
fn changes(old: &Config, new: &Config) -> (SettingsChanges, SettingsChanges) {
    let accounts = SettingsChanges::between(&old.accounts, &new.accounts, |account| account.id.as_str());
    let clients = SettingsChanges::between(&old.clients, &new.clients, |client| client.name.as_str());
    (accounts, clients)
}
