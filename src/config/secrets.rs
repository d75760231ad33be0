//! Secrets: never shown in `Debug`, logs, dumps or errors, and wiped from memory when dropped.
//!
//! All secrets follow the same rules ([`fit`]), from any source: editors, shells and settings files add spaces and
//! line ends which are not part of the secret.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, io};

use arc_swap::ArcSwap;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};

use super::files;

/// Maximum length of a secret in bytes. A larger file is refused.
pub(super) const LONGEST: usize = 64 * 1024;

/// A secret, inline or from a file. Clones share the value, so all clones see a changed file.
#[derive(Clone)]
pub struct Secret(Arc<SecretCell>);

struct SecretCell {
    key: String,
    value: ArcSwap<SecretString>,
    file: Option<PathBuf>,
}

/// The reason for refusing a secret or a secret file. The message never contains the value.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    #[error("cannot be read: {0}")]
    Unreadable(#[source] io::Error),
    #[error("{0}")]
    Unfit(&'static str),
}

impl SecretError {
    pub(super) const EMPTY: Self = Self::Unfit("must not be empty");
    pub(super) const TOO_LONG: Self = Self::Unfit("must be at most 64 KiB");
    pub(super) const NOT_TEXT: Self = Self::Unfit("must be UTF-8 text");
    pub(super) const SPOILT: Self = Self::Unfit("must not contain a space, a control character or a byte order mark");
}

impl Secret {
    /// Creates a secret which never changes.
    pub fn inline(value: impl Into<String>) -> Self {
        Self::with(String::new(), SecretString::from(value.into()), None)
    }

    /// Creates a secret from the value of the setting `key`.
    pub(super) fn checked(key: String, value: String) -> Result<Self, SecretError> {
        let value = Zeroizing::new(value);
        Ok(Self::with(key, SecretString::from(fit(&value)?), None))
    }

    /// Creates a secret from a file.
    pub(crate) fn from_file(key: String, file: PathBuf) -> Result<Self, SecretError> {
        let value = value(&files::read(&file, LONGEST).map_err(SecretError::Unreadable)?)?;
        Ok(Self::with(key, value, Some(file)))
    }

    fn with(key: String, value: SecretString, file: Option<PathBuf>) -> Self {
        Self(Arc::new(SecretCell { key, value: ArcSwap::from_pointee(value), file }))
    }

    /// The current value. Read anew for each use, and do not store the result of [`ExposeSecret`].
    pub fn current(&self) -> Arc<SecretString> {
        self.0.value.load_full()
    }

    /// The value as its file has it now, or the current value if the file cannot be read or has none. Reads the file each
    /// time, for uses as rare as a connect.
    pub fn read_again(&self) -> Arc<SecretString> {
        if let Some(file) = self.file()
            && let Ok(content) = files::read(file, LONGEST)
        {
            // A refused value has no effect.
            let _ = self.take(&content);
        }
        self.current()
    }

    /// The file of the secret, if not inline.
    pub fn file(&self) -> Option<&Path> {
        self.0.file.as_deref()
    }

    /// Path of the key, such as `accounts.acme.client_secret_file`.
    pub(super) fn key(&self) -> &str {
        &self.0.key
    }

    /// Takes over new file content. Returns whether the value changed. A refused value has no effect.
    pub(super) fn take(&self, content: &[u8]) -> Result<bool, SecretError> {
        let value = value(content)?;
        let changed = value.expose_secret() != self.current().expose_secret();
        if changed {
            self.0.value.store(Arc::new(value));
        }
        Ok(changed)
    }
}

impl PartialEq for Secret {
    /// Whether source and current value are the same.
    fn eq(&self, other: &Self) -> bool {
        self.file() == other.file() && self.current().expose_secret() == other.current().expose_secret()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Extracts the secret from the content of a file.
fn value(content: &[u8]) -> Result<SecretString, SecretError> {
    if content.len() > LONGEST {
        return Err(SecretError::TOO_LONG);
    }
    let text = std::str::from_utf8(content).map_err(|_| SecretError::NOT_TEXT)?;
    Ok(SecretString::from(fit(text)?))
}

/// Trims spaces and line ends around a secret.
///
/// # Errors
/// Fails if the rest is empty, or contains a space, a control character or a byte order mark. Such characters come
/// from joined values or from an editor.
pub(super) fn fit(text: &str) -> Result<&str, SecretError> {
    let value = text.trim();
    let spoils = |c: char| c.is_whitespace() || c.is_control() || c == '\u{feff}';
    match value {
        "" => Err(SecretError::EMPTY),
        _ if value.contains(spoils) => Err(SecretError::SPOILT),
        _ => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_around_a_secret_goes_and_what_spoils_it_is_refused() {
        for (text, value) in
            [("s", "s"), (" s\r\n", "s"), ("\t\u{a0}s,t\u{2003}\n", "s,t"), ("pä$$=\"\u{1f511}", "pä$$=\"\u{1f511}")]
        {
            assert_eq!(fit(text).unwrap(), value);
            // From a file and in place alike.
            let (of_file, inline) =
                (super::value(text.as_bytes()).unwrap(), Secret::checked(String::new(), text.into()));
            assert_eq!((of_file.expose_secret(), inline.unwrap().current().expose_secret()), (value, value));
        }
        for text in ["a b", "a\nb", "a\u{0}", "a\tb", "\u{feff}a", "a\u{feff}", "a\u{a0}b", "a\u{7f}b", "a\u{85}b"] {
            assert_eq!(fit(text).unwrap_err().to_string(), SecretError::SPOILT.to_string(), "{text:?}");
        }
        for text in ["", " ", "\r\n\t"] {
            assert_eq!(fit(text).unwrap_err().to_string(), "must not be empty");
        }
    }
}
