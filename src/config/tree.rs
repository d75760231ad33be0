//! The settings before they mean anything: one tree, made of the files, each laid over those before it, and of the
//! environment laid over all.

use std::collections::BTreeMap;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::{ConfigFault, FaultList, SettingSource, printable};
use super::keys;

/// Variables with this beginning are settings, all others are none of ours.
pub const PREFIX: &str = "ORDER_GATEWAY__";

/// More steps than any key has. The tree is walked by recursion, so its depth is bounded.
const DEEPEST: usize = 8;

pub(super) type Table = BTreeMap<String, SettingNode>;

/// A value and where it was given.
#[derive(Clone, Debug)]
pub(super) struct SettingNode {
    pub(super) at: SettingSource,
    pub(super) raw: RawValue,
}

#[derive(Clone, Debug)]
pub(super) enum RawValue {
    Text(String),
    Integer(i64),
    Float(f64),
    Flag(bool),
    List(Vec<SettingNode>),
    Table(Table),
    /// From the environment: text that may stand for any scalar, or for a list.
    Words(String),
    /// A TOML date, as it is written.
    Date(String),
    /// A number that does not fit.
    Other(&'static str),
}

impl RawValue {
    /// What it is, for a fault.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            RawValue::Text(_) | RawValue::Words(_) => "text",
            RawValue::Integer(_) | RawValue::Float(_) => "a number",
            RawValue::Flag(_) => "true or false",
            RawValue::List(_) => "a list",
            RawValue::Table(_) => "a section",
            RawValue::Date(_) => "a date",
            RawValue::Other(kind) => kind,
        }
    }
}

/// Reads a file, with the name that faults call it by. Its text is not repeated in the fault.
pub(super) fn parse(text: &str, file: Option<Arc<str>>) -> Result<Table, ConfigFault> {
    let lines = LineIndex::of(text, file);
    match DeTable::parse(text) {
        Ok(table) => Ok(read_table(table.into_inner(), &lines)),
        Err(error) => {
            let (line, column) = lines.position(text, error.span().map_or(0, |span| span.start));
            let message = format!("is not TOML: {}", error.message().replace(['\n', '\r'], " "));
            let file = lines.file.map(|file| format!("{file}, ")).unwrap_or_default();
            Err(ConfigFault::new(format!("{file}line {line}, column {column}"), &SettingSource::Nowhere, message))
        }
    }
}

/// Reads one value as it would stand in a file; used for defaults.
pub(super) fn parse_value(text: &str) -> Option<SettingNode> {
    let value = DeValue::parse(text).ok()?;
    let mut node = read_value(value, &LineIndex::of(text, None));
    node.at = SettingSource::Nowhere;
    Some(node)
}

fn read_table(table: DeTable<'_>, lines: &LineIndex) -> Table {
    table.into_iter().map(|(key, value)| (key.into_inner().into_owned(), read_value(value, lines))).collect()
}

fn read_value(value: Spanned<DeValue<'_>>, lines: &LineIndex) -> SettingNode {
    let at = SettingSource::Line(lines.file.clone(), lines.line(value.span().start));
    let raw = match value.into_inner() {
        DeValue::String(text) => RawValue::Text(text.into_owned()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or(RawValue::Other("a number that is too large"), RawValue::Integer),
        DeValue::Float(number) => {
            number.as_str().parse().map_or(RawValue::Other("an unreadable number"), RawValue::Float)
        }
        DeValue::Boolean(flag) => RawValue::Flag(flag),
        DeValue::Datetime(date) => RawValue::Date(date.to_string()),
        DeValue::Array(list) => RawValue::List(list.into_iter().map(|item| read_value(item, lines)).collect()),
        DeValue::Table(table) => RawValue::Table(read_table(table, lines)),
    };
    SettingNode { at, raw }
}

/// Lays a file over those before it: its keys win, its accounts and clients come after theirs.
pub(super) fn lay_over(root: &mut Table, later: Table) {
    merge(root, "", later);
}

fn merge(table: &mut Table, group: &str, later: Table) {
    // All before the first is set: both forms of a secret in one file stay the fault that they are.
    for name in later.keys() {
        drop_other_form(table, group, name);
    }
    for (name, node) in later {
        match (table.get_mut(&name), node) {
            (Some(SettingNode { raw: RawValue::Table(inner), .. }), SettingNode { raw: RawValue::Table(more), .. }) => {
                merge(inner, &below(group, &name), more);
            }
            (Some(SettingNode { raw: RawValue::List(entries), .. }), SettingNode { raw: RawValue::List(more), .. })
                if group.is_empty() && keys::naming_key(&name).is_some() =>
            {
                entries.extend(more);
            }
            (_, node) => {
                table.insert(name, node);
            }
        }
    }
}

/// Path of a section inside the one at `group`.
fn below(group: &str, name: &str) -> String {
    if group.is_empty() { name.to_owned() } else { format!("{group}.{name}") }
}

/// Lays the environment over the file.
///
/// `ORDER_GATEWAY__WALMART__LIMITS__PROMISE` sets `walmart.limits.promise`, `ORDER_GATEWAY__ACCOUNTS__ACME__CLIENT_ID`
/// sets `client_id` of the account `acme`. Case does not matter and `-` of an id is written `_`. An account or client
/// that the file does not have comes into being, with the name in small letters (its `ID` or `NAME` variable may spell
/// it with `-` or capitals).
pub(super) fn overlay(root: &mut Table, environment: impl IntoIterator<Item = (String, String)>, faults: &FaultList) {
    let mut variables: Vec<_> = environment.into_iter().filter(|(name, _)| name.starts_with(PREFIX)).collect();
    variables.sort();
    for (name, value) in variables {
        let path = name[PREFIX.len()..].to_lowercase();
        let steps: Vec<&str> = path.split("__").collect();
        if steps.len() > DEEPEST {
            faults.add("settings", &SettingSource::Variable(printable(&name)), "no key lies this deep");
            continue;
        }
        let leaf = SettingNode { at: SettingSource::Variable(printable(&name)), raw: RawValue::Words(value) };
        match steps.as_slice() {
            [list, entry, rest @ ..] if !rest.is_empty() && keys::naming_key(list).is_some() => {
                set_in_list(root, list, entry, rest, leaf, faults);
            }
            _ => set(root, "", &steps, leaf),
        }
    }
}

/// Sets a value below `table`, whose own path (without names of list entries) is `group`.
fn set(table: &mut Table, group: &str, steps: &[&str], leaf: SettingNode) {
    match steps {
        [] => {}
        [name] => {
            drop_other_form(table, group, name);
            table.insert((*name).to_owned(), leaf);
        }
        [name, rest @ ..] => {
            let at = leaf.at.clone();
            let inner = table
                .entry((*name).to_owned())
                .or_insert_with(|| SettingNode { at, raw: RawValue::Table(Table::new()) });
            let group = below(group, name);
            // What is no section here is reported by the reader of that key.
            if let RawValue::Table(inner) = &mut inner.raw {
                set(inner, &group, rest, leaf);
            }
        }
    }
}

/// One form of a secret takes the place of the other.
fn drop_other_form(table: &mut Table, group: &str, name: &str) {
    if let Some(stem) = name.strip_suffix("_file").filter(|stem| keys::is_secret(group, stem)) {
        drop_from_file(table, stem);
    } else if keys::is_secret(group, name) {
        drop_from_file(table, &format!("{name}_file"));
    }
}

fn drop_from_file(table: &mut Table, key: &str) {
    if table.get(key).is_some_and(|node| matches!(node.at, SettingSource::Line(..))) {
        table.remove(key);
    }
}

fn set_in_list(root: &mut Table, list: &str, entry: &str, rest: &[&str], leaf: SettingNode, faults: &FaultList) {
    let Some(naming) = keys::naming_key(list) else { return };
    let at = leaf.at.clone();
    let key = format!("{list}.{}", printable(entry));
    let node =
        root.entry(list.to_owned()).or_insert_with(|| SettingNode { at: at.clone(), raw: RawValue::List(Vec::new()) });
    let RawValue::List(entries) = &mut node.raw else { return };

    if let ([last], RawValue::Words(name)) = (rest, &leaf.raw)
        && *last == naming
        && simplified(name) != entry
    {
        faults.add(format!("{key}.{naming}"), &at, "cannot be another name than the variable's own");
        return;
    }
    let named = |node: &SettingNode| match &node.raw {
        RawValue::Table(table) => name_of(table, naming).is_some_and(|name| simplified(name) == entry),
        _ => false,
    };
    let matching = entries.iter().filter(|node| named(node)).count();
    if matching > 1 {
        faults.add(key, &at, "stands for more than one entry of the file; set it there");
        return;
    }
    if matching == 0 {
        let name = SettingNode { at: at.clone(), raw: RawValue::Words(entry.to_owned()) };
        entries.push(SettingNode { at, raw: RawValue::Table(Table::from([(naming.to_owned(), name)])) });
    }
    if let Some(SettingNode { raw: RawValue::Table(table), .. }) = entries.iter_mut().find(|node| named(node)) {
        set(table, list, rest, leaf);
    }
}

/// The name that an entry of a list gives itself.
pub(super) fn name_of<'a>(table: &'a Table, naming: &str) -> Option<&'a str> {
    match &table.get(naming)?.raw {
        RawValue::Text(name) | RawValue::Words(name) => Some(name),
        _ => None,
    }
}

/// A name as variables spell it.
fn simplified(name: &str) -> String {
    name.to_lowercase().replace('-', "_")
}

/// Where the lines of a text begin.
struct LineIndex {
    file: Option<Arc<str>>,
    starts: Vec<usize>,
}

impl LineIndex {
    fn of(text: &str, file: Option<Arc<str>>) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { file, starts }
    }

    /// Counted from 1.
    fn line(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset)
    }

    /// Line and column, counted from 1, the column in characters.
    fn position(&self, text: &str, offset: usize) -> (usize, usize) {
        let line = self.line(offset);
        let start = line.checked_sub(1).and_then(|at| self.starts.get(at)).copied().unwrap_or(0);
        let before = text.get(start..offset.min(text.len())).unwrap_or("");
        (line, before.chars().count() + 1)
    }
}
