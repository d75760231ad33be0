//! The paths of a source file: its `use` lines, and what it names from the root of the crate, from `super` or from `self`.

use std::collections::{BTreeMap, BTreeSet};

/// A path of modules and names, without the root.
pub(super) type ModulePath = Vec<String>;

/// A file of the crate.
pub(super) struct SourceFile {
    /// The name, relative to `src/`.
    pub(super) name: String,
    pub(super) module: ModulePath,
    /// Paths in the order of the file, as written, with their lines.
    pub(super) paths: Vec<(usize, ModulePath)>,
    /// The names that the file imports, with the paths as written.
    pub(super) imports: BTreeMap<String, ModulePath>,
}

impl SourceFile {
    pub(super) fn new(name: &str, source: &str) -> Self {
        let module = name.trim_end_matches(".rs").split('/').filter(|s| *s != "mod").map(str::to_owned).collect();
        let tokens = without_test_modules(tokens(source));
        let mut file = Self { name: name.into(), module, paths: Vec::new(), imports: BTreeMap::new() };
        let mut i = 0;
        while i < tokens.len() {
            let token = tokens[i].1.as_str();
            let starts = i == 0 || tokens[i - 1].1 != "::";
            let root = matches!(token, "crate" | "order_gateway" | "super" | "self");
            if token == "use" {
                let mut imported = Vec::new();
                i = read_path(&tokens, i + 1, &[], &mut imported);
                for (line, path) in imported {
                    let name = path.last().cloned().unwrap_or_default();
                    file.imports.insert(name, path.clone());
                    file.paths.push((line, path));
                }
            } else if root && starts && tokens.get(i + 1).is_some_and(|(_, t)| t == "::") {
                i = read_path(&tokens, i, &[], &mut file.paths);
            } else {
                i += 1;
            }
        }
        file
    }

    /// Whether the file has tests only.
    pub(super) fn is_test(&self) -> bool {
        let tests = |s: &String| s == "tests" || s == "conformance" || s.ends_with("_tests");
        self.module.iter().any(tests)
    }

    /// A path as written in this file, from the crate's root. `None` for paths of other crates.
    pub(super) fn resolve(&self, path: &[String], modules: &BTreeSet<ModulePath>) -> Option<ModulePath> {
        let rest = |from: usize, of: &[String]| [of, &path[from..]].concat();
        match path.first()?.as_str() {
            "crate" | "order_gateway" => Some(rest(1, &[])),
            "self" => Some(rest(1, &self.module)),
            "super" => {
                let climbed = path.iter().take_while(|s| *s == "super").count();
                Some(rest(climbed, &self.module[..self.module.len().checked_sub(climbed)?]))
            }
            _ => {
                let own = rest(0, &self.module);
                modules.contains(&own[..=self.module.len()]).then_some(own)
            }
        }
    }
}

/// Reads the path, or the group of paths, that begins at the token `i` after `before`; returns the token behind.
fn read_path(
    tokens: &[(usize, String)],
    mut i: usize,
    before: &[String],
    into: &mut Vec<(usize, ModulePath)>,
) -> usize {
    let text = |i: usize| tokens.get(i).map_or("", |(_, t)| t.as_str());
    let mut path = before.to_vec();
    loop {
        match text(i) {
            "{" => {
                i += 1;
                while !matches!(text(i), "}" | "") {
                    i = read_path(tokens, i, &path, into);
                    i += usize::from(text(i) == ",");
                }
                return i + 1;
            }
            word if word.starts_with(|c: char| c.is_alphanumeric() || c == '_') => {
                let line = tokens[i].0;
                // `self` behind a path is the path itself.
                if word != "self" || path.is_empty() {
                    path.push(word.into());
                }
                i += 1;
                if text(i) == "::" {
                    i += 1;
                    continue;
                }
                if text(i) == "as" {
                    i += 2;
                }
                into.push((line, path));
                return i;
            }
            _ => {
                into.extend(tokens.get(i).map(|(line, _)| (*line, path)));
                return i + 1;
            }
        }
    }
}

/// Leaves out `#[cfg(test)] mod name { ... }`.
fn without_test_modules(tokens: Vec<(usize, String)>) -> Vec<(usize, String)> {
    const START: [&str; 8] = ["#", "[", "cfg", "(", "test", ")", "]", "mod"];
    let mut kept = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        let here = tokens[i..].iter().map(|(_, t)| t.as_str());
        if here.clone().take(START.len()).eq(START) && here.clone().nth(START.len() + 1) == Some("{") {
            i += START.len() + 1;
            let mut depth = 0;
            while i < tokens.len() {
                depth += match tokens[i].1.as_str() {
                    "{" => 1,
                    "}" => -1,
                    _ => 0,
                };
                i += 1;
                if depth == 0 {
                    break;
                }
            }
        } else {
            kept.push(tokens[i].clone());
            i += 1;
        }
    }
    kept
}

/// Words, `::` and single signs with their lines; no comments, no literals of text.
fn tokens(source: &str) -> Vec<(usize, String)> {
    let chars: Vec<char> = source.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let mut all = Vec::new();
    let mut line = 1;
    let mut i = 0;
    while i < chars.len() {
        let start = i;
        match at(i) {
            '/' if at(i + 1) == '/' => i = end_of(&chars, i, |i| at(i) == '\n'),
            '/' if at(i + 1) == '*' => {
                let mut depth = 0;
                loop {
                    match (at(i), at(i + 1)) {
                        ('/', '*') => (depth, i) = (depth + 1, i + 2),
                        ('*', '/') => (depth, i) = (depth - 1, i + 2),
                        _ => i += 1,
                    }
                    if depth == 0 || i >= chars.len() {
                        break;
                    }
                }
            }
            '"' => i = end_of_text(&chars, i),
            // A character, not a lifetime.
            '\'' if at(i + 1) == '\\' => i = end_of(&chars, i + 3, |i| at(i) == '\'') + 1,
            '\'' if at(i + 2) == '\'' => i += 3,
            c if word(c) => {
                i = end_of(&chars, i, |i| !word(at(i)));
                let found: String = chars[start..i].iter().collect();
                let hashes = end_of(&chars, i, |i| at(i) != '#') - i;
                if matches!(found.as_str(), "r" | "br" | "cr") && at(i + hashes) == '"' {
                    let close = format!("\"{}", "#".repeat(hashes));
                    let close: Vec<char> = close.chars().collect();
                    i = end_of(&chars, i + hashes + 1, |i| chars[i..].starts_with(&close)) + close.len();
                } else {
                    all.push((line, found));
                }
            }
            ':' if at(i + 1) == ':' => {
                all.push((line, "::".into()));
                i += 2;
            }
            c => {
                if !c.is_whitespace() {
                    all.push((line, c.into()));
                }
                i += 1;
            }
        }
        i = i.min(chars.len());
        line += chars[start..i].iter().filter(|c| **c == '\n').count();
    }
    all
}

fn end_of(chars: &[char], from: usize, ends: impl Fn(usize) -> bool) -> usize {
    (from..chars.len()).find(|i| ends(*i)).unwrap_or(chars.len())
}

fn end_of_text(chars: &[char], open: usize) -> usize {
    let mut i = open + 1;
    while i < chars.len() && chars[i] != '"' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}
