//! The raw settings as a tree: files merged in order, then overlaid by the environment.

use std::collections::BTreeMap;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::{ConfigFault, FaultList, SettingSource, printable};
use super::keys;

/// Prefix of variables which are settings. All other variables are ignored.
pub const PREFIX: &str = "ORDER_GATEWAY__";

/// Maximum depth of a variable, beyond any key. The limit bounds the recursion over the tree.
const DEEPEST: usize = 8;

pub(super) type Table = BTreeMap<String, SettingNode>;

/// A value and its source.
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
    /// Text from the environment, for any scalar or list.
    Words(String),
    /// A TOML date as written.
    Date(String),
    /// A number out of range.
    Other(&'static str),
}

impl RawValue {
    /// The type of the value, for a fault.
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

/// Parses a file. `file` is the name in faults; the text is not repeated in faults.
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

/// Parses a single value, for defaults.
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

/// Merges a later file into the tree. Keys of the later file take precedence; accounts and clients are appended.
pub(super) fn lay_over(root: &mut Table, later: Table) {
    merge(root, "", later);
}

fn merge(table: &mut Table, group: &str, later: Table) {
    // Drop all other forms first, then set: a file with both forms of a secret must still be reported.
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

/// Path of a section nested in `group`.
fn below(group: &str, name: &str) -> String {
    if group.is_empty() { name.to_owned() } else { format!("{group}.{name}") }
}

/// Overlays the environment.
///
/// `ORDER_GATEWAY__WALMART__LIMITS__PROMISE` sets `walmart.limits.promise`,
/// `ORDER_GATEWAY__ACCOUNTS__ACME__CLIENT_ID` sets `client_id` of the account `acme`. Case is ignored, and `-` of an
/// id is written `_`. A variable for an account or client missing in the files creates the entry, with the name in
/// lower case; the `ID` or `NAME` variable of the entry can spell the name with `-` or capitals.
pub(super) fn overlay(root: &mut Table, environment: impl IntoIterator<Item = (String, String)>, faults: &FaultList) {
    let mut variables: Vec<_> = environment.into_iter().filter(|(name, _)| name.starts_with(PREFIX)).collect();
    variables.sort();
    for (name, value) in variables {
        let path = name[PREFIX.len()..].to_lowercase();
        let steps: Vec<&str> = path.split("__").collect();
        if steps.len() > DEEPEST {
            faults.add("settings", &SettingSource::Variable(printable(&name)), "no key is nested this deep");
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

/// Sets a value below `table`. `group` is the path of `table` without names of list entries.
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
            // A value in place of a section is reported by the reader of the key.
            if let RawValue::Table(inner) = &mut inner.raw {
                set(inner, &group, rest, leaf);
            }
        }
    }
}

/// Removes the other form of a secret, inline or file, if set by a file.
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
        faults.add(format!("{key}.{naming}"), &at, "must match the name in the variable");
        return;
    }
    let named = |node: &SettingNode| match &node.raw {
        RawValue::Table(table) => name_of(table, naming).is_some_and(|name| simplified(name) == entry),
        _ => false,
    };
    let matching = entries.iter().filter(|node| named(node)).count();
    if matching > 1 {
        faults.add(key, &at, "matches more than one entry of the file; set the key in the file");
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

/// The name of a list entry.
pub(super) fn name_of<'a>(table: &'a Table, naming: &str) -> Option<&'a str> {
    match &table.get(naming)?.raw {
        RawValue::Text(name) | RawValue::Words(name) => Some(name),
        _ => None,
    }
}

/// The name as spelled in variables.
fn simplified(name: &str) -> String {
    name.to_lowercase().replace('-', "_")
}

/// The positions of line starts in a text.
struct LineIndex {
    file: Option<Arc<str>>,
    starts: Vec<usize>,
}

impl LineIndex {
    fn of(text: &str, file: Option<Arc<str>>) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { file, starts }
    }

    /// The line of an offset, counted from 1.
    fn line(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset)
    }

    /// Line and column, counted from 1; the column in characters.
    fn position(&self, text: &str, offset: usize) -> (usize, usize) {
        let line = self.line(offset);
        let start = line.checked_sub(1).and_then(|at| self.starts.get(at)).copied().unwrap_or(0);
        let before = text.get(start..offset.min(text.len())).unwrap_or("");
        (line, before.chars().count() + 1)
    }
}
