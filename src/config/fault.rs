//! What is wrong with the settings, in words that an operator can act on.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

/// One fault. Displayed on one line, with its key and where it was given. It never repeats a value: it might be a
/// secret in the wrong place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFault {
    key: String,
    at: SettingSource,
    message: String,
}

/// Where a setting was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SettingSource {
    /// Nowhere: it is missing, or a default.
    Nowhere,
    /// In a file: its name when there are several, and the line, counted from 1.
    Line(Option<Arc<str>>, usize),
    /// In the environment.
    Variable(String),
}

impl ConfigFault {
    pub(super) fn new(key: impl Into<String>, at: &SettingSource, message: impl Into<String>) -> Self {
        Self { key: key.into(), at: at.clone(), message: message.into() }
    }

    /// Path of the key, such as `accounts.acme.client_secret`; for a file that is no TOML the position in it.
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

/// All faults found so far. Shared by the readers of all sections.
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

/// A key as it may stand in a line of text: one that is no plain word is quoted and escaped.
pub(super) fn printable(key: &str) -> String {
    let plain = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if plain { key.to_owned() } else { format!("{key:?}") }
}
