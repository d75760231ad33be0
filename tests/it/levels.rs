//! Who may use whom inside the crate: the table of `docs/ARCHITECTURE.md`, checked against the source.
//!
//! One crate cannot enforce levels, so this reads every path that starts at the crate root (`crate::`, `super::` that
//! climbs there, `order_gateway::` in the binary). Comments, strings and `#[cfg(test)]` modules do not count.

use std::path::Path;
use std::{fmt, fs};

/// Module, and what it may use besides itself.
type Table = [(&'static str, &'static [&'static str])];

/// `telemetry` stands in the rows of those that may record something; pure parts may not.
const TABLE: &Table = &[
    // Pure. `wire` and the serde attributes of the generated `pb` know each other, they are one mirror.
    ("domain", &["pb", "planted_bug"]),
    ("wire", &["pb"]),
    ("pb", &["wire"]),
    ("telemetry", &["domain"]),
    ("accept", &[]),
    ("crash_point", &[]),
    ("planted_bug", &[]),
    ("quota", &[]),
    ("shutdown", &["domain", "telemetry"]),
    ("config", &["domain", "telemetry"]),
    ("ports", &["crash_point", "domain", "pb", "telemetry"]),
    // The use cases see traits only, never an implementation.
    ("service", &["config", "crash_point", "domain", "pb", "planted_bug", "ports", "shutdown", "telemetry"]),
    // Keeps what the ledger has; knows the port, not who uses it.
    ("store", &["config", "crash_point", "domain", "ports", "telemetry"]),
    // The edges. They do not know each other.
    (
        "upstream",
        &["config", "crash_point", "domain", "pb", "planted_bug", "ports", "quota", "shutdown", "telemetry", "wire"],
    ),
    ("grpc", &["accept", "config", "domain", "pb", "ports", "quota", "service", "shutdown", "telemetry"]),
    ("http", &["accept", "config", "crash_point", "domain", "pb", "ports", "service", "shutdown", "telemetry"]),
    // The other side of the wire: what it shares with `upstream` it could not check.
    ("emulator", &["config", "domain", "shutdown", "telemetry"]),
    // Puts everything together.
    (
        "app",
        &[
            "config",
            "domain",
            "emulator",
            "grpc",
            "http",
            "pb",
            "ports",
            "service",
            "shutdown",
            "store",
            "telemetry",
            "upstream",
            "wire",
        ],
    ),
    (
        "cli",
        &[
            "app",
            "config",
            "domain",
            "emulator",
            "grpc",
            "http",
            "pb",
            "ports",
            "service",
            "shutdown",
            "store",
            "telemetry",
            "upstream",
            "wire",
        ],
    ),
    // What unit tests share; it is not in the program.
    ("testing", &["config", "domain", "pb", "ports", "service", "store", "telemetry", "upstream"]),
    // The binary.
    ("main", &["cli"]),
];

/// Parts of one whole may know each other.
const ONE_WHOLE: [&str; 2] = ["pb", "wire"];

#[derive(Debug, PartialEq)]
struct Violation {
    file: String,
    line: usize,
    text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.text)
    }
}

/// Checks one file, named relative to `src/`.
fn check(file: &str, source: &str) -> Vec<Violation> {
    let segments: Vec<&str> = file.trim_end_matches(".rs").split('/').filter(|s| *s != "mod").collect();
    let module = segments[0];
    let violation = |line, text| Violation { file: format!("src/{file}"), line, text };
    if module == "lib" {
        return Vec::new();
    }
    let Some((_, allowed)) = TABLE.iter().find(|(name, _)| *name == module) else {
        return vec![violation(1, format!("module `{module}` has no row in the table of tests/it/levels.rs"))];
    };
    // Tests use what tests share, and those of the use cases run over the ledger in memory.
    let is_test = segments.iter().any(|s| *s == "tests" || s.ends_with("_tests"));
    let mut found = Vec::new();
    for (line, used) in used_modules(source, segments.len()) {
        let allowed = allowed.contains(&used.as_str()) || (is_test && matches!(used.as_str(), "store" | "testing"));
        if used != module && !allowed {
            found.push(violation(line, format!("`{module}` may not use `{used}`")));
        }
    }
    found
}

/// The top-level modules that `source` names, with their lines. `depth` is that of the file's module below the root.
fn used_modules(source: &str, depth: usize) -> Vec<(usize, String)> {
    let tokens = without_test_modules(tokens(source));
    let text = |i: usize| tokens.get(i).map_or("", |(_, t)| t.as_str());
    let mut used = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        // A path starts here, not in the middle of a longer one.
        let starts = text(i.wrapping_sub(1)) != "::";
        let mut next = i + 1;
        let root = match text(i) {
            "crate" | "order_gateway" => starts && text(next) == "::",
            "super" if starts => {
                let mut climbed = 1;
                while text(next) == "::" && text(next + 1) == "super" {
                    climbed += 1;
                    next += 2;
                }
                // In a module inside the file the same words stay below the root; then no module of ours follows.
                let ours = TABLE.iter().any(|(name, _)| *name == text(next + 1)) || text(next + 1) == "{";
                climbed >= depth && text(next) == "::" && ours
            }
            _ => false,
        };
        if root {
            let head = next + 1;
            for at in if text(head) == "{" { group_heads(&tokens, head) } else { vec![head] } {
                used.push((tokens[at].0, tokens[at].1.clone()));
            }
        }
        i = next;
    }
    used
}

/// Where the paths of a group `{a, b::{c, d}}` start; `open` is its brace.
fn group_heads(tokens: &[(usize, String)], open: usize) -> Vec<usize> {
    let mut heads = Vec::new();
    let mut depth = 0;
    for (at, (_, token)) in tokens.iter().enumerate().skip(open) {
        match token.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ if depth == 1 && matches!(tokens[at - 1].1.as_str(), "{" | ",") => heads.push(at),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    heads
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

fn check_folder(folder: &Path, root: &Path, found: &mut Vec<Violation>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            check_folder(&path, root, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let name = path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
            found.extend(check(&name, &fs::read_to_string(&path).unwrap()));
        }
    }
}

#[test]
fn every_module_keeps_to_its_level() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    check_folder(&src, &src, &mut found);
    let list: Vec<String> = found.iter().map(Violation::to_string).collect();
    assert!(list.is_empty(), "\n{}", list.join("\n"));
}

#[test]
fn the_table_has_no_cycle() {
    fn reaches(from: &str, to: &str) -> bool {
        let row = TABLE.iter().find(|(name, _)| *name == from).unwrap_or_else(|| panic!("no row for {from}"));
        let whole = |used: &str| ONE_WHOLE.contains(&from) && ONE_WHOLE.contains(&used);
        row.1.iter().any(|used| !whole(used) && (*used == to || reaches(used, to)))
    }
    for (name, _) in TABLE {
        assert!(!reaches(name, name), "`{name}` uses itself by way of others");
    }
}

#[test]
fn a_forbidden_use_is_found_in_every_spelling() {
    for source in [
        "use crate::upstream::Stack;",
        "use crate::{domain::effect::Effect, upstream};",
        "use crate::{\n    domain::{account, effect},\n    upstream::{self, client},\n};",
        "fn f() -> crate::upstream::Stack { built() }",
        "use super::super::upstream;",
        "type T<'a> = &'a crate::upstream::Stack; // '",
        "const C: char = '\"'; use crate::upstream; const D: char = '\"';",
        "#[cfg(test)]\nmod tests { fn a() { if x { } } }\nuse crate::upstream;",
    ] {
        let found = check("service/create.rs", source);
        let line = source.lines().position(|l| l.contains("upstream")).unwrap() + 1;
        let text = "`service` may not use `upstream`".to_owned();
        assert_eq!(found, [Violation { file: "src/service/create.rs".into(), line, text }], "{source}");
    }
}

#[test]
fn what_is_allowed_or_only_mentioned_is_not_found() {
    let source = r##"
        //! As crate::upstream says.
        /* crate::upstream /* nested */ crate::grpc */
        use crate::{domain::effect::Effect, ports::{self, upstream::Upstream}};
        use crate::service::other;
        use super::promise;
        pub(crate) const TEXT: &str = "use crate::upstream; \" crate::upstream";
        const RAW: &str = r#"use "crate::upstream"#;
        mod inner { use super::super::neighbour; }
        #[cfg(test)]
        mod tests {
            use crate::emulator::World;
        }
    "##;
    assert_eq!(check("service/create.rs", source), []);
}

#[test]
fn an_unknown_module_is_a_failure() {
    assert_eq!(check("nowhere/to/be.rs", "").len(), 1);
    assert_eq!(check("domain/account.rs", "use crate::VERSION;").len(), 1);
}
