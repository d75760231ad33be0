//! Values that must not be seen: never in `Debug`, logs, dumps or errors, wiped from memory when dropped.
//!
//! Every secret is judged alike, wherever it comes from ([`fit`]): a file that an editor wrote, a variable that a shell filled
//! and a line of the settings bring spaces and line ends that nobody means.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, io};

use arc_swap::ArcSwap;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};

use super::files;

/// Longest secret in bytes. A larger file is none.
pub(super) const LONGEST: usize = 64 * 1024;

/// A secret, given inline or by a file. Clones share the value: a changed file is seen by all of them.
#[derive(Clone)]
pub struct Secret(Arc<SecretCell>);

struct SecretCell {
    key: String,
    value: ArcSwap<SecretString>,
    file: Option<PathBuf>,
}

/// Why a secret, or the file of one, is refused. Its text never holds the value.
#[derive(Debug, thiserror::Error)]
pub(super) enum SecretError {
    #[error("cannot be read: {0}")]
    Unreadable(#[source] io::Error),
    #[error("{0}")]
    Unfit(&'static str),
}

impl SecretError {
    pub(super) const EMPTY: Self = Self::Unfit("must not be empty");
    pub(super) const TOO_LONG: Self = Self::Unfit("must be at most 64 KiB");
    pub(super) const NOT_TEXT: Self = Self::Unfit("must be UTF-8 text");
    pub(super) const SPOILT: Self = Self::Unfit("must not hold a space, a control character or a byte order mark");
}

impl Secret {
    /// A secret that never changes.
    pub fn inline(value: impl Into<String>) -> Self {
        Self::with(String::new(), SecretString::from(value.into()), None)
    }

    /// A secret that stands in the settings at `key`.
    pub(super) fn checked(key: String, value: String) -> Result<Self, SecretError> {
        let value = Zeroizing::new(value);
        Ok(Self::with(key, SecretString::from(fit(&value)?), None))
    }

    /// A secret that is the content of a file.
    pub(super) fn from_file(key: String, file: PathBuf) -> Result<Self, SecretError> {
        let value = value(&files::read(&file, LONGEST).map_err(SecretError::Unreadable)?)?;
        Ok(Self::with(key, value, Some(file)))
    }

    fn with(key: String, value: SecretString, file: Option<PathBuf>) -> Self {
        Self(Arc::new(SecretCell { key, value: ArcSwap::from_pointee(value), file }))
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
    pub(super) fn take(&self, content: &[u8]) -> Result<bool, SecretError> {
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
fn value(content: &[u8]) -> Result<SecretString, SecretError> {
    if content.len() > LONGEST {
        return Err(SecretError::TOO_LONG);
    }
    let text = std::str::from_utf8(content).map_err(|_| SecretError::NOT_TEXT)?;
    Ok(SecretString::from(fit(text)?))
}

/// The secret in a text: without the spaces and line ends around it.
///
/// # Errors
/// Nothing is left, or what is left cannot be meant: a space, a control character or a byte order mark in a secret comes from
/// two values that ran together, or from an editor.
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
