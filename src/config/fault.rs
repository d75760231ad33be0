//! Faults of the settings, worded for operators.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

/// A fault, displayed on a line with key and source. Values are never repeated, because any value might be a
/// misplaced secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFault {
    key: String,
    at: SettingSource,
    message: String,
}

/// The source of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SettingSource {
    /// No source: the key is missing, or a default applies.
    Nowhere,
    /// A line of a file, counted from 1. The file name is present if several files were given.
    Line(Option<Arc<str>>, usize),
    /// An environment variable, by name.
    Variable(String),
}

impl ConfigFault {
    pub(super) fn new(key: impl Into<String>, at: &SettingSource, message: impl Into<String>) -> Self {
        Self { key: key.into(), at: at.clone(), message: message.into() }
    }

    /// Path of the key, such as `accounts.acme.client_secret`. For a file which is not TOML, the position of the
    /// error.
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.message)?;
        match &self.at {
            SettingSource::Nowhere => Ok(()),
            SettingSource::Line(None, line) => write!(f, " (line {line})"),
            SettingSource::Line(Some(file), line) => write!(f, " ({file}, line {line})"),
            SettingSource::Variable(name) => write!(f, " ({name})"),
        }
    }
}

/// All faults found so far, shared by the readers of all sections.
#[derive(Debug, Default)]
pub(super) struct FaultList(RefCell<Vec<ConfigFault>>);

impl FaultList {
    pub(super) fn add(&self, key: impl Into<String>, at: &SettingSource, message: impl Into<String>) {
        self.0.borrow_mut().push(ConfigFault::new(key, at, message));
    }

    pub(super) fn into_vec(self) -> Vec<ConfigFault> {
        self.0.into_inner()
    }
}

/// Formats a key for a line of text: a key with special characters is quoted and escaped.
pub(super) fn printable(key: &str) -> String {
    let plain = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if plain { key.to_owned() } else { format!("{key:?}") }
}
