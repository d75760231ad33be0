//! Picks up changed files of secrets while the process runs.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::secrets::Refused;
use super::{Config, Secret, Webhook};

/// Reads the files of all secrets again and again. It polls the content, because the kubelet swaps a symbolic link
/// above the file, which no watch on the file itself sees.
///
/// A value that is refused leaves the one before in force; it is logged and counted once for each change of the file.
#[derive(Debug)]
pub struct Watcher {
    watched: Vec<Watched>,
    refused: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Watched {
    secret: Secret,
    /// Which fault was reported last. Nothing since the file was last fine.
    reported: Option<Reported>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reported {
    Unreadable(ErrorKind),
    /// By its content.
    Unfit(u64),
}

impl Watcher {
    /// Watches every secret of `config` that comes from a file.
    pub fn new(config: &Config) -> Self {
        let from_files = secrets(config).into_iter().filter(|secret| secret.file().is_some());
        let watched = from_files.map(|secret| Watched { secret: secret.clone(), reported: None }).collect();
        Self { watched, refused: Arc::default() }
    }

    /// How many changes of files were refused so far.
    pub fn refused(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.refused)
    }

    /// Checks every `every` until `stop`. Nothing to watch: returns at once.
    pub async fn run(mut self, every: Duration, stop: CancellationToken) {
        // An interval of nothing would panic.
        let mut ticks = interval(every.max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.watched.is_empty() {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => return,
            }
            // Files may be slow (a network, a stuck mount); calls must not wait for them.
            let checked = tokio::task::spawn_blocking(move || {
                self.check();
                self
            });
            let checked = tokio::select! {
                checked = checked => checked,
                () = stop.cancelled() => return,
            };
            match checked {
                Ok(back) => self = back,
                Err(error) => {
                    tracing::error!("changed secrets are no longer picked up: {error}");
                    return;
                }
            }
        }
    }

    /// Reads every file once.
    pub fn check(&mut self) {
        for Watched { secret, reported } in &mut self.watched {
            match secret.reload() {
                Ok(changed) => {
                    *reported = None;
                    if changed {
                        tracing::info!(key = secret.key(), "the secret changed, the new value is in use");
                    }
                }
                Err(fault) => {
                    let this = match &fault {
                        Refused::Unreadable(error) => Reported::Unreadable(error.kind()),
                        Refused::Unfit { fingerprint, .. } => Reported::Unfit(*fingerprint),
                    };
                    if *reported != Some(this) {
                        *reported = Some(this);
                        self.refused.fetch_add(1, Ordering::Relaxed);
                        tracing::warn!(
                            key = secret.key(),
                            "the changed secret is refused, the value before stays: {fault}"
                        );
                    }
                }
            }
        }
    }
}

/// Every secret there is.
fn secrets(config: &Config) -> Vec<&Secret> {
    let mut all: Vec<&Secret> = config.store.password.iter().collect();
    for account in &config.accounts {
        all.push(&account.client_secret);
        match &account.webhook {
            Some(Webhook::Hmac { secrets, .. } | Webhook::HmacV2 { secrets, .. }) => all.extend(secrets),
            Some(Webhook::Basic { password, .. }) => all.push(password),
            Some(Webhook::Oauth { client_secret, .. }) => all.push(client_secret),
            Some(Webhook::None) | None => {}
        }
    }
    all.extend(config.clients.iter().filter_map(|client| client.token.as_ref()));
    all
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use secrecy::ExposeSecret;

    use super::*;

    fn config_with(file: &Path) -> Config {
        let account = "[[accounts]]\nid = \"acme\"\npartner_id = \"1\"\nclient_id = \"key\"\n";
        Config::load(&format!("{account}client_secret_file = {file:?}"), []).unwrap()
    }

    #[test]
    fn a_changed_file_is_picked_up_and_a_bad_one_refused_once() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secret");
        fs::write(&file, "first\n").unwrap();
        let config = config_with(&file);
        let held = config.accounts[0].client_secret.clone();
        let mut watcher = Watcher::new(&config);
        let refused = watcher.refused();
        let mut after = |content: Option<&[u8]>| {
            match content {
                Some(content) => fs::write(&file, content).unwrap(),
                None => fs::remove_file(&file).unwrap(),
            }
            watcher.check();
            watcher.check();
            let now = held.current().expose_secret().to_owned();
            (now, refused.load(Ordering::Relaxed))
        };
        assert_eq!(after(Some(b"first\r\n")), ("first".into(), 0));
        assert_eq!(after(Some(b"second\n")), ("second".into(), 0));
        assert_eq!(after(Some(b"\n")), ("second".into(), 1));
        assert_eq!(after(Some(b"\xff")), ("second".into(), 2));
        assert_eq!(after(Some(b"\xfe")), ("second".into(), 3));
        assert_eq!(after(None), ("second".into(), 4));
        assert_eq!(after(Some(b"second")), ("second".into(), 4));
        assert_eq!(after(None), ("second".into(), 5));
        assert_eq!(after(Some(b"third")), ("third".into(), 5));
    }

    #[tokio::test(start_paused = true)]
    async fn the_watcher_runs_until_it_is_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secret");
        fs::write(&file, "first").unwrap();
        let config = config_with(&file);
        let stop = CancellationToken::new();
        let running = tokio::spawn(Watcher::new(&config).run(Duration::from_secs(5), stop.clone()));
        fs::write(&file, "second").unwrap();
        let secret = &config.accounts[0].client_secret;
        while secret.current().expose_secret() != "second" {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        stop.cancel();
        running.await.unwrap();
    }
}
