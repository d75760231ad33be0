//! Reads the keys of a section. Keys left unread are reported as unknown.

use std::path::PathBuf;

use super::fault::{FaultList, SettingSource, printable};
use super::key::{DefaultValue, SettingKey};
use super::keys;
use super::secrets::{Secret, SecretError};
use super::tokens::ClientTokens;
use super::tree::{self, RawValue, SettingNode, Table};
use super::values::{self, Parsed};

/// A section being read. Faults are recorded and reading continues, so that all faults are reported at once.
pub(super) struct SectionReader<'a> {
    /// Path for messages, such as `accounts.acme`.
    path: String,
    /// Path in the table of keys, such as `accounts`.
    group: String,
    at: SettingSource,
    table: Table,
    pub(super) faults: &'a FaultList,
}

impl<'a> SectionReader<'a> {
    pub(super) fn new(path: String, group: &str, at: SettingSource, table: Table, faults: &'a FaultList) -> Self {
        Self { path, group: group.to_owned(), at, table, faults }
    }

    /// Opens a top-level section; an absent section is empty.
    pub(super) fn top(root: &mut Table, name: &str, faults: &'a FaultList) -> Self {
        let (at, table) = take_table(root, name, name, faults).unwrap_or((SettingSource::Nowhere, Table::new()));
        Self::new(name.to_owned(), name, at, table, faults)
    }

    /// Opens a nested section, if present.
    pub(super) fn inner(&mut self, name: &str) -> Option<SectionReader<'a>> {
        let path = self.key(name);
        let (at, table) = take_table(&mut self.table, name, &path, self.faults)?;
        Some(SectionReader::new(path, &format!("{}.{name}", self.group), at, table, self.faults))
    }

    /// Opens a nested section; an absent section is empty.
    pub(super) fn inner_or_empty(&mut self, name: &str) -> SectionReader<'a> {
        let group = format!("{}.{name}", self.group);
        let empty = SectionReader::new(self.key(name), &group, SettingSource::Nowhere, Table::new(), self.faults);
        self.inner(name).unwrap_or(empty)
    }

    /// The section's path, for messages.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Reads a key without removing the key from the section.
    pub(super) fn peek<T>(&self, name: &str, read: impl Fn(&SettingNode) -> Option<T>) -> Option<T> {
        self.table.get(name).and_then(read)
    }

    /// The full path of a key.
    pub(super) fn key(&self, name: &str) -> String {
        format!("{}.{}", self.path, printable(name))
    }

    /// Whether a key is present and not yet read.
    pub(super) fn has(&self, name: &str) -> bool {
        self.table.contains_key(name)
    }

    /// The source of a key, or of the section if the key is absent.
    pub(super) fn at(&self, name: &str) -> SettingSource {
        self.table.get(name).map_or(&self.at, |node| &node.at).clone()
    }

    pub(super) fn fault(&self, name: &str, at: &SettingSource, message: impl Into<String>) {
        self.faults.add(self.key(name), at, message);
    }

    /// Reads a key, or the default. Returns `None` without a default. A faulty value is reported and replaced by the
    /// default.
    pub(super) fn optional<T>(&mut self, name: &str, parse: impl Fn(&SettingNode) -> Parsed<T>) -> Option<T> {
        if let Some(node) = self.table.remove(name) {
            match parse(&node) {
                Ok(value) => return Some(value),
                Err(message) => self.fault(name, &node.at, message),
            }
        }
        match keys::find(&self.group, name)?.preset {
            DefaultValue::Is(default) | DefaultValue::WithPostgres(default) => parse(&tree::parse_value(default)?).ok(),
            DefaultValue::Example(_) => None,
        }
    }

    /// Like [`SectionReader::optional`], but an absent key is a fault.
    pub(super) fn required<T>(&mut self, name: &str, parse: impl Fn(&SettingNode) -> Parsed<T>) -> Option<T> {
        let (given, at) = (self.has(name), self.at(name));
        let value = self.optional(name, parse);
        if value.is_none() && !given {
            self.fault(name, &at, "is required");
        }
        value
    }

    /// Reads a secret from `name` or `name_file`, if present.
    pub(super) fn optional_secret(&mut self, name: &str) -> Option<Secret> {
        let (node, form) = self.secret_node(name)?;
        self.secret(&node, form, name, SECRET)
    }

    /// Reads a secret from `name` or `name_file`.
    pub(super) fn required_secret(&mut self, name: &str) -> Option<Secret> {
        if !self.has_secret(name) {
            self.fault(name, &self.at.clone(), format!("is required (or {name}_file)"));
            return None;
        }
        self.optional_secret(name)
    }

    /// Reads secrets from `name` or `name_file`.
    pub(super) fn required_secrets(&mut self, name: &str) -> Option<Vec<Secret>> {
        if !self.has_secret(name) {
            self.fault(name, &self.at.clone(), format!("is required (or {name}_file)"));
        }
        self.secrets(name, SECRET)
    }

    /// Reads a caller's tokens from `name` or `name_file`; empty if absent.
    pub(super) fn optional_tokens(&mut self, name: &str) -> Option<Vec<ClientTokens>> {
        if self.has_secret(name) { self.secrets(name, TOKENS) } else { Some(Vec::new()) }
    }

    fn secrets<T>(&mut self, name: &str, kind: SecretKind<T>) -> Option<Vec<T>> {
        let (node, form) = self.secret_node(name)?;
        let items = match (&node.raw, form) {
            // A secret in a variable is a single secret, since commas may be part of the secret. File paths in a
            // variable are a list.
            (RawValue::Words(_), SecretForm::Inline) => Ok(vec![node.clone()]),
            _ => values::one_or_more(&node, |item| Ok(item.clone())),
        };
        match items {
            Ok(items) => items
                .into_iter()
                .map(|item| SettingNode { at: node.at.clone(), ..item })
                .map(|item| self.secret(&item, form, name, kind))
                .collect(),
            Err(message) => {
                self.fault(&form.key(name), &node.at, message);
                None
            }
        }
    }

    pub(super) fn has_secret(&self, name: &str) -> bool {
        self.has(name) || self.has(&SecretForm::File.key(name))
    }

    fn secret_node(&mut self, name: &str) -> Option<(SettingNode, SecretForm)> {
        let (inline, file) = (self.table.remove(name), self.table.remove(&SecretForm::File.key(name)));
        match (inline, file) {
            (Some(inline), Some(_)) => {
                self.fault(name, &inline.at, format!("must be given here or in {name}_file, not in both"));
                None
            }
            (Some(inline), None) => Some((inline, SecretForm::Inline)),
            (None, Some(file)) => Some((file, SecretForm::File)),
            (None, None) => None,
        }
    }

    fn secret<T>(&self, node: &SettingNode, form: SecretForm, name: &str, kind: SecretKind<T>) -> Option<T> {
        let (name, key) = (form.key(name), self.key(&form.key(name)));
        let read = match form {
            SecretForm::Inline => values::text(node).map(|value| (kind.inline)(key, value)),
            SecretForm::File => values::path(node).map(|file| (kind.file)(key, file)),
        };
        let fault = match read {
            Ok(Ok(secret)) => return Some(secret),
            Ok(Err(SecretError::Unfit(what))) if form == SecretForm::File => format!("its content {what}"),
            Ok(Err(refused)) => refused.to_string(),
            Err(message) => message,
        };
        self.fault(&name, &node.at, fault);
        None
    }

    /// Reports all unread keys.
    pub(super) fn finish(self) {
        self.finish_with("is not used here");
    }

    /// Reports all unread keys; `idle` is the message for known keys.
    pub(super) fn finish_with(self, idle: &str) {
        for (name, node) in &self.table {
            let known =
                |key: &SettingKey| key.name == name || (key.is_secret() && SecretForm::File.key(key.name) == *name);
            let keys = keys::group(&self.group).map_or(&[] as &[_], |group| group.keys);
            if keys.iter().any(known) {
                self.fault(name, &node.at, idle);
            } else {
                let names: Vec<_> = keys.iter().map(|key| key.name).collect();
                self.fault(name, &node.at, format!("unknown key; known are {}", names.join(", ")));
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SecretForm {
    Inline,
    File,
}

impl SecretForm {
    fn key(self, name: &str) -> String {
        match self {
            SecretForm::Inline => name.to_owned(),
            SecretForm::File => format!("{name}_file"),
        }
    }
}

/// Constructors for a kind of secret: from key and value, and from key and file.
struct SecretKind<T> {
    inline: fn(String, String) -> Result<T, SecretError>,
    file: fn(String, PathBuf) -> Result<T, SecretError>,
}

impl<T> Clone for SecretKind<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for SecretKind<T> {}

const SECRET: SecretKind<Secret> = SecretKind { inline: Secret::checked, file: Secret::from_file };
const TOKENS: SecretKind<ClientTokens> = SecretKind { inline: ClientTokens::checked, file: ClientTokens::from_file };

fn take_table(table: &mut Table, name: &str, path: &str, faults: &FaultList) -> Option<(SettingSource, Table)> {
    let node = table.remove(name)?;
    match node.raw {
        RawValue::Table(inner) => Some((node.at, inner)),
        other => {
            faults.add(path, &node.at, format!("must be a section ([{path}]), is {}", other.kind()));
            None
        }
    }
}
