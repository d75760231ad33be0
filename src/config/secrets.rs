//! Values that must not be seen: never in `Debug`, logs, dumps or errors, wiped from memory when dropped.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, io};

use arc_swap::ArcSwap;
use secrecy::{ExposeSecret, SecretString};

use super::files;

/// Longest secret in bytes. A larger file is none.
pub(super) const LONGEST: usize = 64 * 1024;

/// A secret, given inline or by a file. Clones share the value: a changed file is seen by all of them.
#[derive(Clone)]
pub struct Secret(Arc<Inner>);

struct Inner {
    key: String,
    value: ArcSwap<SecretString>,
    file: Option<PathBuf>,
}

/// Why a secret, or the file of one, is refused. Its text never holds the value.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("cannot be read: {0}")]
    Unreadable(#[source] io::Error),
    #[error("{0}")]
    Unfit(&'static str),
}

impl Refused {
    pub(super) const EMPTY: Self = Self::Unfit("must not be empty");
    pub(super) const TOO_LONG: Self = Self::Unfit("must be at most 64 KiB");
    pub(super) const NOT_TEXT: Self = Self::Unfit("must be UTF-8 text");
}

impl Secret {
    /// A secret that never changes.
    pub fn inline(value: impl Into<String>) -> Self {
        Self::with(String::new(), SecretString::from(value.into()), None)
    }

    /// A secret that stands in the settings at `key`.
    pub(super) fn checked(key: String, value: String) -> Result<Self, Refused> {
        let value = SecretString::from(value);
        if value.expose_secret().is_empty() { Err(Refused::EMPTY) } else { Ok(Self::with(key, value, None)) }
    }

    /// A secret that is the content of a file, without line ends at its end.
    pub(super) fn from_file(key: String, file: PathBuf) -> Result<Self, Refused> {
        let value = value(&files::read(&file, LONGEST).map_err(Refused::Unreadable)?)?;
        Ok(Self::with(key, value, Some(file)))
    }

    fn with(key: String, value: SecretString, file: Option<PathBuf>) -> Self {
        Self(Arc::new(Inner { key, value: ArcSwap::from_pointee(value), file }))
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

    /// Takes over what the file holds now. Answers whether the value is another one; a refused value changes nothing.
    pub(super) fn take(&self, content: &[u8]) -> Result<bool, Refused> {
        let value = value(content)?;
        let changed = value.expose_secret() != self.current().expose_secret();
        if changed {
            self.0.value.store(Arc::new(value));
        }
        Ok(changed)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// The secret in the content of a file.
fn value(content: &[u8]) -> Result<SecretString, Refused> {
    if content.len() > LONGEST {
        return Err(Refused::TOO_LONG);
    }
    let text = std::str::from_utf8(content).map_err(|_| Refused::NOT_TEXT)?;
    let value = text.trim_end_matches(['\n', '\r']);
    if value.is_empty() { Err(Refused::EMPTY) } else { Ok(SecretString::from(value)) }
}
