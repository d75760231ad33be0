//! Which module may use which inside the crate: the table of `docs/ARCHITECTURE.md`, checked against the source.
//!
//! One crate cannot enforce levels, so this reads every path that starts at the crate root, at `super` or at `self`
//! (`order_gateway::` in the binary). Comments, strings and `#[cfg(test)]` modules do not count. Three things fail: a use
//! that the table does not permit, a permission that no file uses, and a ring of neighbours in one folder which use each
//! other.

mod rings;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::{fmt, fs};

use self::rings::reaches;
use self::source::{ModulePath, SourceFile};

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
    ("limits", &[]),
    ("planted_bug", &[]),
    ("quota", &[]),
    ("rate_limiter", &[]),
    ("shutdown", &[]),
    ("single_flight", &["planted_bug"]),
    ("config", &["domain"]),
    ("ports", &["crash_point", "domain", "pb", "telemetry"]),
    // The use cases see traits only, never an implementation.
    (
        "service",
        &[
            "crash_point",
            "domain",
            "limits",
            "pb",
            "planted_bug",
            "ports",
            "quota",
            "shutdown",
            "single_flight",
            "telemetry",
        ],
    ),
    // Keeps what the ledger has; knows the port, not who uses it.
    ("store", &["config", "crash_point", "domain", "planted_bug", "ports", "telemetry"]),
    // The edges. They do not know each other.
    (
        "upstream",
        &[
            "crash_point",
            "domain",
            "limits",
            "pb",
            "planted_bug",
            "ports",
            "quota",
            "single_flight",
            "telemetry",
            "wire",
        ],
    ),
    (
        "grpc",
        &[
            "accept",
            "config",
            "domain",
            "limits",
            "pb",
            "ports",
            "quota",
            "rate_limiter",
            "service",
            "shutdown",
            "telemetry",
        ],
    ),
    (
        "http",
        &[
            "accept",
            "config",
            "crash_point",
            "domain",
            "limits",
            "pb",
            "ports",
            "quota",
            "rate_limiter",
            "service",
            "shutdown",
            "telemetry",
        ],
    ),
    // The other side of the wire: what it shares with `upstream` it could not check.
    ("emulator", &["domain"]),
    // Puts everything together.
    (
        "app",
        &[
            "accept",
            "config",
            "domain",
            "grpc",
            "http",
            "limits",
            "pb",
            "ports",
            "service",
            "shutdown",
            "store",
            "telemetry",
            "upstream",
        ],
    ),
    ("cli", &["app", "config", "emulator", "grpc", "pb", "ports", "shutdown", "telemetry", "upstream"]),
    // What unit tests share; it is not in the program.
    ("testing", &["domain", "pb", "ports", "service", "shutdown", "store", "telemetry", "upstream"]),
    // The binary.
    ("main", &["cli"]),
];

/// Parts of one whole may know each other.
const ONE_WHOLE: [&str; 2] = ["pb", "wire"];

/// What test files may use besides: what tests share, and the stores in memory.
const IN_TESTS: [&str; 2] = ["store", "testing"];

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

/// All files, and all modules with a file or a folder.
struct Crate {
    files: Vec<SourceFile>,
    modules: BTreeSet<ModulePath>,
}

impl Crate {
    fn new(sources: impl IntoIterator<Item = (String, String)>) -> Self {
        let files: Vec<_> = sources.into_iter().map(|(name, source)| SourceFile::new(&name, &source)).collect();
        let modules = files.iter().flat_map(|file| (1..=file.module.len()).map(|end| file.module[..end].to_vec()));
        let modules = modules.filter(|module| module != &["lib"]).collect();
        Self { files, modules }
    }

    fn read() -> Self {
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut sources = Vec::new();
        read_folder(&src, &src, &mut sources);
        Self::new(sources)
    }

    /// The module that a path from the root leads to. A name that a module only imports leads on.
    fn target(&self, path: &[String], hops: usize) -> ModulePath {
        let mut end = 0;
        while end < path.len() && self.modules.contains(&path[..=end]) {
            end += 1;
        }
        let (module, rest) = path.split_at(end);
        let file = self.files.iter().find(|file| file.module == module);
        let imported = file.and_then(|file| file.resolve(file.imports.get(rest.first()?)?, &self.modules));
        match imported {
            Some(imported) if hops > 0 && imported != path[..path.len().min(end + 1)] => {
                self.target(&[&imported[..], &rest[1..]].concat(), hops - 1)
            }
            _ => module.to_vec(),
        }
    }

    /// The top-level modules that a file uses, with the lines.
    fn used_by(&self, file: &SourceFile) -> Vec<(usize, String)> {
        let used = file.paths.iter().filter_map(|(line, path)| {
            let first = file.resolve(path, &self.modules)?.into_iter().next()?;
            // `crate::VERSION` is no module, and in a module inside the file `super` climbs less far.
            let at_root = matches!(path[0].as_str(), "crate" | "order_gateway");
            let known = TABLE.iter().any(|(name, _)| *name == first);
            (known || (at_root && !first.starts_with(char::is_uppercase))).then_some((*line, first))
        });
        let mut used: Vec<_> = used.filter(|(_, used)| *used != file.module[0]).collect();
        used.dedup();
        used
    }

    /// Uses that the table does not permit.
    fn violations(&self) -> Vec<Violation> {
        let mut found = Vec::new();
        for file in self.files.iter().filter(|file| file.module[0] != "lib") {
            let module = &file.module[0];
            let violation = |line, text| Violation { file: format!("src/{}", file.name), line, text };
            let Some((_, allowed)) = TABLE.iter().find(|(name, _)| name == module) else {
                let text = format!("module `{module}` has no row in the table of tests/it/levels.rs");
                found.push(violation(1, text));
                continue;
            };
            for (line, used) in self.used_by(file) {
                let in_tests = file.is_test() && IN_TESTS.contains(&used.as_str());
                if !allowed.contains(&used.as_str()) && !in_tests {
                    found.push(violation(line, format!("`{module}` may not use `{used}`")));
                }
            }
        }
        found
    }

    /// Permissions of the table that no file uses, but for those of tests.
    fn unused_permissions(&self, table: &Table) -> Vec<String> {
        let used = self.files.iter().filter(|file| !file.is_test()).flat_map(|file| {
            let module = file.module[0].clone();
            self.used_by(file).into_iter().map(move |(_, used)| (module.clone(), used))
        });
        let used: BTreeSet<(String, String)> = used.collect();
        let permitted = table.iter().flat_map(|(module, allowed)| allowed.iter().map(move |used| (*module, *used)));
        permitted
            .filter(|(module, to)| !used.contains(&((*module).to_owned(), (*to).to_owned())))
            .map(|(module, to)| format!("nothing in `{module}` uses `{to}`"))
            .collect()
    }
}

fn read_folder(folder: &Path, root: &Path, sources: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_folder(&path, root, sources);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let name = path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
            sources.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
}

#[test]
fn every_module_keeps_to_its_level() {
    let list: Vec<String> = Crate::read().violations().iter().map(Violation::to_string).collect();
    assert!(list.is_empty(), "\n{}", list.join("\n"));
}

#[test]
fn every_permission_is_used() {
    // The code that build.rs makes of the protos uses `wire` in serde's attributes.
    let build = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("build.rs")).unwrap();
    assert!(build.contains("crate::wire::"));
    assert_eq!(Crate::read().unused_permissions(TABLE), ["nothing in `pb` uses `wire`"]);
}

#[test]
fn no_folder_has_a_ring() {
    let rings = Crate::read().rings();
    assert!(rings.is_empty(), "\n{}", rings.join("\n"));
}

#[test]
fn the_table_has_no_cycle() {
    let whole = |user: &str, used: &str| ONE_WHOLE.contains(&user) && ONE_WHOLE.contains(&used);
    let uses = TABLE.iter().flat_map(|(user, allowed)| allowed.iter().map(move |used| (*user, *used)));
    let uses = uses.filter(|(user, used)| !whole(user, used));
    let uses = uses.map(|(user, used)| ((user.to_owned(), used.to_owned()), String::new())).collect();
    for (user, used) in BTreeMap::keys(&uses) {
        assert!(!reaches(&uses, used, user, &mut BTreeSet::new()), "`{user}` uses itself by way of `{used}`");
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
        let found = violations("service/create.rs", source);
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
    assert_eq!(violations("service/create.rs", source), []);
}

#[test]
fn an_unknown_module_is_a_failure() {
    assert_eq!(violations("nowhere/to/be.rs", "").len(), 1);
    assert_eq!(violations("domain/account.rs", "use crate::secret_room::Key;").len(), 1);
}

#[test]
fn only_tests_use_what_tests_share() {
    let source = "use crate::testing::store::time;";
    assert_eq!(violations("service/create_tests.rs", source), []);
    assert_eq!(violations("service/feed/tests/mod.rs", source), []);
    assert_eq!(violations("service/create.rs", source).len(), 1);
}

#[test]
fn a_permission_that_only_a_test_uses_is_unused() {
    let table: &Table = &[("service", &["store", "ports", "domain"])];
    let of = |sources: &[(&str, &str)]| krate(sources).unused_permissions(table);
    let ports = ("service/mutate.rs", "use crate::ports::ledger::Ledger;");
    assert_eq!(of(&[ports]), ["nothing in `service` uses `store`", "nothing in `service` uses `domain`"]);
    let test = ("service/mutate_tests.rs", "use crate::{domain::effect::Effect, store};");
    assert_eq!(of(&[ports, test]).len(), 2);
    let path = ("service/read.rs", "fn f() { crate::domain::effect::none() } type T = super::super::store::Store;");
    assert_eq!(of(&[ports, path]), [""; 0]);
}

#[test]
fn a_ring_is_found_through_folders_and_through_names_that_are_passed_on() {
    let line = ("service/line.rs", "use super::desk::Desk;");
    let found = |more: &[(&str, &str)]| krate(&[&[line], more].concat()).rings();
    assert_eq!(found(&[("service/desk.rs", "use super::paper;"), ("service/paper.rs", "")]), [""; 0]);
    let direct = found(&[("service/desk.rs", "fn f() { super::line::f() }")]);
    let expected =
        |place: &str, from: &str, to: &str| format!("src/{place}: in `service`, `{from}` uses `{to}`, which uses it");
    let there = expected("service/line.rs:1", "line", "desk");
    assert_eq!(direct, [expected("service/desk.rs:1", "desk", "line"), there.clone()]);
    let folder =
        [("service/desk/mod.rs", "mod top;\n"), ("service/desk/top.rs", "\nuse crate::service::line::{self};")];
    assert_eq!(found(&folder), [expected("service/desk/top.rs:2", "desk", "line"), there.clone()]);
    let passed_on =
        [("service/mod.rs", "mod desk;\npub use self::line::Line;"), ("service/desk.rs", "use super::Line;")];
    assert_eq!(found(&passed_on), [expected("service/desk.rs:1", "desk", "line"), there.clone()]);
    let round = [("service/desk.rs", "use super::paper::Sheet;"), ("service/paper.rs", "use crate::service::line;")];
    assert_eq!(found(&round).len(), 3);
    // The parent uses its children, and tests may use what they like.
    let parent = [("service/mod.rs", "use self::line::Line; struct Desk;"), ("service/paper.rs", "use super::Desk;")];
    assert_eq!(found(&parent), [""; 0]);
    assert_eq!(found(&[("service/desk_tests.rs", "use super::line::Line;"), ("service/desk.rs", "")]), [""; 0]);
}

fn krate(sources: &[(&str, &str)]) -> Crate {
    Crate::new(sources.iter().map(|(name, source)| ((*name).to_owned(), (*source).to_owned())))
}

fn violations(file: &str, source: &str) -> Vec<Violation> {
    krate(&[(file, source)]).violations()
}
