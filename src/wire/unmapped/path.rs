//! The path to a value in an answer.

use std::fmt::Write as _;

use serde_json::Value;

/// Longest name of a field. A longer name, or one with other characters than letters, digits and `_`, is no name of a
/// field but data.
const MAX_NAME: usize = 64;
/// Stands for the names that are data.
const DATA: &str = "*";

/// The path to a value, as steps towards the root.
pub(super) enum Step<'a> {
    Root,
    Field(&'a Step<'a>, &'a str),
    Element(&'a Step<'a>, usize),
}

impl Step<'_> {
    /// The path, with positions in lists or without.
    pub(super) fn write(&self, exact: bool, path: &mut String) {
        match self {
            Self::Root => {}
            Self::Field(before, name) => {
                before.write(exact, path);
                let name = match (is_name(name), exact) {
                    (true, _) => (*name).to_owned(),
                    (false, true) => format!("[{}]", Value::from(*name)),
                    (false, false) => DATA.to_owned(),
                };
                if !path.is_empty() && !name.starts_with('[') {
                    path.push('.');
                }
                path.push_str(&name);
            }
            Self::Element(before, index) => {
                before.write(exact, path);
                // Writing to a `String` cannot fail.
                let _ = if exact { write!(path, "[{index}]") } else { path.write_str("[]") };
            }
        }
    }
}

/// Whether this is the name of a field, and no data in its place.
fn is_name(name: &str) -> bool {
    name.len() <= MAX_NAME
        && name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
