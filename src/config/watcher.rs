//! Picks up changed secret and token files while the process runs.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::files::{self, FileChanges};
use super::secrets::{LONGEST, SecretError};
use super::{ClientTokens, Config, Secret, WebhookAuth};

/// Watches the files of all secrets and tokens. [`check`](Self::check) must be called repeatedly ([`files::poll`]).
///
/// A change takes effect after two equal readings ([`FileChanges`]). A refused change leaves the old value in force,
/// and is logged and counted once.
#[derive(Debug)]
pub struct SecretWatcher {
    watched: Vec<WatchedFile>,
    refused: Arc<AtomicU64>,
}

struct WatchedFile {
    key: String,
    file: PathBuf,
    take: Take,
    changes: FileChanges,
}

/// Takes over file content. Returns whether anything changed.
type Take = Box<dyn Fn(&[u8]) -> Result<bool, SecretError> + Send + Sync>;

impl SecretWatcher {
    /// Watches every file with secrets or tokens in `config`.
    pub fn new(config: &Config) -> Self {
        Self::counting(config, Arc::default())
    }

    /// Like [`Self::new`], and counts refused changes in `refused`.
    pub(crate) fn counting(config: &Config, refused: Arc<AtomicU64>) -> Self {
        let secrets = secrets(config).into_iter().filter_map(of_secret);
        let watched = secrets.chain(tokens(config)).collect();
        Self { watched, refused }
    }

    /// Whether there are no files to watch.
    pub fn is_empty(&self) -> bool {
        self.watched.is_empty()
    }

    /// The number of refused changes.
    pub fn refused(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.refused)
    }

    /// Reads every file once.
    pub fn check(&mut self) {
        for watched in &mut self.watched {
            watched.check(&self.refused);
        }
    }
}

impl WatchedFile {
    fn check(&mut self, refused: &AtomicU64) {
        let read = files::read(&self.file, LONGEST);
        let fingerprint = files::fingerprint([&read]);
        if !self.changes.settled(fingerprint) {
            return;
        }
        let key = self.key.as_str();
        match read.map_err(SecretError::Unreadable).and_then(|content| (self.take)(&content)) {
            Ok(changed) => {
                self.changes.taken(fingerprint);
                if changed {
                    tracing::info!(key, "the secret changed, the new value is in use");
                }
            }
            Err(fault) => {
                if self.changes.refused(fingerprint) {
                    refused.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(key, "the changed secret is refused, the old value stays in use: {fault}");
                }
            }
        }
    }
}

impl fmt::Debug for WatchedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchedFile").field("key", &self.key).field("changes", &self.changes).finish_non_exhaustive()
    }
}

fn of_secret(secret: &Secret) -> Option<WatchedFile> {
    let (key, file) = (secret.key().to_owned(), secret.file()?.to_owned());
    let secret = secret.clone();
    Some(WatchedFile {
        key,
        file,
        take: Box::new(move |content| secret.take(content)),
        changes: FileChanges::default(),
    })
}

fn of_tokens(tokens: &ClientTokens, others: Vec<ClientTokens>) -> Option<WatchedFile> {
    let (key, file) = (tokens.key().to_owned(), tokens.file()?.to_owned());
    let tokens = tokens.clone();
    Some(WatchedFile {
        key,
        file,
        take: Box::new(move |content| tokens.take(content, &others)),
        changes: FileChanges::default(),
    })
}

/// All secrets of the settings.
fn secrets(config: &Config) -> Vec<&Secret> {
    let mut all: Vec<&Secret> = config.store.password().into_iter().collect();
    for account in &config.accounts {
        all.push(&account.client_secret);
        all.extend(&account.refresh_token);
        match &account.webhook {
            Some(WebhookAuth::Hmac { secrets, .. } | WebhookAuth::HmacV2 { secrets, .. }) => all.extend(secrets),
            Some(WebhookAuth::Basic { password, .. }) => all.push(password),
            Some(WebhookAuth::Oauth { client_secrets, .. }) => all.extend(client_secrets),
            Some(WebhookAuth::None) | None => {}
        }
    }
    all
}

/// The tokens of each client with the tokens of all other clients, which must not overlap.
fn tokens(config: &Config) -> impl Iterator<Item = WatchedFile> {
    config.clients.iter().flat_map(|client| {
        let others = config.clients.iter().filter(|other| other.name != client.name);
        let others: Vec<ClientTokens> = others.flat_map(|other| &other.tokens).cloned().collect();
        client.tokens.iter().filter_map(move |tokens| of_tokens(tokens, others.clone()))
    })
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
        let mut watcher = SecretWatcher::new(&config);
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

    #[test]
    fn tokens_are_rotated_and_stay_their_callers() {
        use crate::config::TokenHash;

        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        fs::write(&file, "old\n").unwrap();
        let client = format!(
            "[[clients]]\nname = \"oms\"\ntoken_file = {file:?}\naccounts = [\"*\"]\n\
             [[clients]]\nname = \"shop\"\ntoken = \"shops\"\naccounts = [\"*\"]\n"
        );
        let account = "[[accounts]]\nid = \"acme\"\npartner_id = \"1\"\nclient_id = \"key\"\nclient_secret = \"s\"\n";
        let config = Config::load(&format!("{account}{client}"), []).unwrap();
        let held = config.clients[0].tokens[0].clone();
        let mut watcher = SecretWatcher::new(&config);
        let refused = watcher.refused();
        let mut after = |content: &str| {
            fs::write(&file, content).unwrap();
            watcher.check();
            watcher.check();
            let good = ["old", "new", "shops"].map(|token| held.accept(&TokenHash::of(token.as_bytes())));
            (good, refused.load(Ordering::Relaxed))
        };
        assert_eq!(after("old\n"), ([true, false, false], 0));
        assert_eq!(after("old\nnew\n"), ([true, true, false], 0));
        assert_eq!(after("new\n"), ([false, true, false], 0));
        assert_eq!(after("new\nshops\n"), ([false, true, false], 1));
        assert_eq!(after(""), ([false, true, false], 2));
    }

    #[test]
    fn a_file_that_is_being_written_is_not_taken_for_whole() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secret");
        fs::write(&file, "first").unwrap();
        let config = config_with(&file);
        let mut watcher = SecretWatcher::new(&config);
        for part in ["", "sec", "second"] {
            fs::write(&file, part).unwrap();
            watcher.check();
            assert_eq!(config.accounts[0].client_secret.current().expose_secret(), "first", "{part:?}");
        }
        watcher.check();
        assert_eq!(config.accounts[0].client_secret.current().expose_secret(), "second");
        assert_eq!(watcher.refused().load(Ordering::Relaxed), 0);
    }
}
