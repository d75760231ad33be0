//! Values that must not be seen: never in `Debug`, logs, dumps or errors, wiped from memory when dropped.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, fs, io};

use arc_swap::ArcSwap;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};

/// Longest secret in bytes. A larger file is none.
const LONGEST: usize = 64 * 1024;

/// A secret, given inline or by a file. Clones share the value: a changed file is seen by all of them.
#[derive(Clone)]
pub struct Secret(Arc<Inner>);

struct Inner {
    key: String,
    value: ArcSwap<SecretString>,
    rule: Rule,
    file: Option<PathBuf>,
}

/// What a secret must look like; answers with what is wrong.
pub(super) type Rule = fn(&str) -> Result<(), &'static str>;

/// Why a secret, or the file of one, is refused. Its text never holds the value.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("cannot be read: {0}")]
    Unreadable(#[source] io::Error),
    #[error("{what}")]
    Unfit {
        what: &'static str,
        /// Tells one refused value from the next without keeping it.
        fingerprint: u64,
    },
}

impl Refused {
    fn unfit(what: &'static str, value: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        Self::Unfit { what, fingerprint: hasher.finish() }
    }
}

impl Secret {
    /// A secret that never changes.
    pub fn inline(value: impl Into<String>) -> Self {
        Self::with(String::new(), SecretString::from(value.into()), not_empty, None)
    }

    /// A secret that stands in the settings at `key`.
    pub(super) fn checked(key: String, value: String, rule: Rule) -> Result<Self, Refused> {
        let value = Zeroizing::new(value);
        check(&value, rule)?;
        Ok(Self::with(key, SecretString::from(value.as_str()), rule, None))
    }

    /// A secret that is the content of a file, without line ends at its end.
    pub(super) fn from_file(key: String, file: PathBuf, rule: Rule) -> Result<Self, Refused> {
        let value = read(&file, rule)?;
        Ok(Self::with(key, value, rule, Some(file)))
    }

    fn with(key: String, value: SecretString, rule: Rule, file: Option<PathBuf>) -> Self {
        Self(Arc::new(Inner { key, value: ArcSwap::from_pointee(value), rule, file }))
    }

    /// The value to use now. Ask again for each use, and do not keep what [`ExposeSecret`] shows.
    pub fn current(&self) -> Arc<SecretString> {
        self.0.value.load_full()
    }

    /// Where it was read from.
    pub fn file(&self) -> Option<&Path> {
        self.0.file.as_deref()
    }

    /// Where it stands in the settings, such as `accounts.acme.client_secret_file`.
    pub(super) fn key(&self) -> &str {
        &self.0.key
    }

    /// Reads the file again. Answers whether the value is another one now; a refused value changes nothing.
    pub(super) fn reload(&self) -> Result<bool, Refused> {
        let Some(file) = self.file() else { return Ok(false) };
        let value = read(file, self.0.rule)?;
        let changed = value.expose_secret() != self.current().expose_secret();
        if changed {
            self.0.value.store(Arc::new(value));
        }
        Ok(changed)
    }

    /// Whether both hold the same value now. Not for the credentials of callers: it takes longer the more is equal.
    pub(super) fn is_same(&self, other: &Secret) -> bool {
        self.current().expose_secret() == other.current().expose_secret()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Any text but the empty one.
pub(super) fn not_empty(_: &str) -> Result<(), &'static str> {
    Ok(())
}

/// Text that can follow `Bearer`.
pub(super) fn bearer(value: &str) -> Result<(), &'static str> {
    let visible = value.bytes().all(|b| b.is_ascii_graphic());
    if visible { Ok(()) } else { Err("must be visible ASCII characters without spaces") }
}

fn check(value: &str, rule: Rule) -> Result<(), Refused> {
    if value.is_empty() {
        return Err(Refused::unfit("must not be empty", &[]));
    }
    rule(value).map_err(|what| Refused::unfit(what, value.as_bytes()))
}

fn read(file: &Path, rule: Rule) -> Result<SecretString, Refused> {
    // A file that never ends, such as a device, must not be read whole.
    let open = fs::File::open(file).map_err(Refused::Unreadable)?;
    let mut bytes = Zeroizing::new(Vec::new());
    let most = u64::try_from(LONGEST).unwrap_or(u64::MAX).saturating_add(1);
    io::Read::read_to_end(&mut io::Read::take(open, most), &mut bytes).map_err(Refused::Unreadable)?;
    if bytes.len() > LONGEST {
        return Err(Refused::unfit("must be at most 64 KiB", &bytes));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| Refused::unfit("must be UTF-8 text", &bytes))?;
    let value = text.trim_end_matches(['\n', '\r']);
    check(value, rule)?;
    Ok(SecretString::from(value))
}
