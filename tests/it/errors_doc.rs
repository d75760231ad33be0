//! `docs/ERRORS.md` has a row for each reason in the code, with its codes, details and metadata, and no other row.

use std::collections::{BTreeMap, BTreeSet};

const STATUS: &str = include_str!("../../src/grpc/status.rs");
const DOC: &str = include_str!("../../docs/ERRORS.md");

type Codes = BTreeMap<String, BTreeSet<String>>;

/// Reasons with their codes, from `Problem::new(Code::X, "REASON", ..)`.
fn in_the_code() -> Codes {
    let mut codes = Codes::new();
    for call in STATUS.split("Problem::new(").skip(1) {
        let mut parts = call.splitn(3, ',').map(str::trim);
        let code = parts.next().unwrap().strip_prefix("Code::").unwrap();
        let reason = parts.next().unwrap().trim_matches('"').to_owned();
        codes.entry(reason).or_default().insert(screaming(code));
    }
    codes
}

/// `NotFound` as `NOT_FOUND`.
fn screaming(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(c.to_ascii_uppercase());
    }
    out
}

/// Rows of the first table, cell by cell.
fn rows() -> Vec<Vec<&'static str>> {
    let table = DOC.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    let rows = table.take_while(|line| line.starts_with('|'));
    rows.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

fn in_the_document() -> Codes {
    let codes = |cell: &str| cell.split(", ").map(str::to_owned).collect();
    rows().into_iter().map(|row| (row[0].trim_matches('`').to_owned(), codes(row[1]))).collect()
}

#[test]
fn reasons_and_codes_are_those_of_the_code() {
    let code = in_the_code();
    assert!(code.len() >= 17, "{code:?}");
    assert_eq!(in_the_document(), code);
    assert_eq!(rows().len(), code.len(), "a reason has two rows");
}

#[test]
fn details_and_metadata_are_those_that_callers_were_shown() {
    let mut seen: BTreeMap<&str, (BTreeSet<String>, BTreeSet<String>)> = BTreeMap::new();
    let tables = [
        include_str!("snapshots/it__status_table__every_operation_status_and_shape.snap"),
        include_str!("snapshots/it__status_table__every_way_to_have_no_answer.snap"),
        include_str!("snapshots/it__status_table__every_error_that_is_not_walmarts.snap"),
    ];
    let reasons = in_the_code();
    for line in tables.iter().flat_map(|table| table.lines()).filter(|line| line.ends_with(']')) {
        let Some(reason) = line.split_whitespace().find(|word| reasons.contains_key(*word)) else { continue };
        let (details, metadata) = seen.entry(reason).or_default();
        details.extend(line.split_whitespace().filter_map(|word| word.strip_prefix('+')).map(str::to_owned));
        let keys = line.rsplit_once('[').unwrap().1.trim_end_matches(']');
        metadata.extend(keys.split(',').filter(|key| !key.is_empty()).map(str::to_owned));
    }
    assert_eq!(seen.len(), reasons.len());
    for row in rows() {
        let told = |cell: &str| -> BTreeSet<String> {
            cell.split(", ").map(|name| name.trim_matches('`').to_owned()).filter(|name| !name.is_empty()).collect()
        };
        let (details, metadata) = &seen[row[0].trim_matches('`')];
        assert_eq!(&told(row[5]), details, "{}", row[0]);
        // The tables show no call with an id that failed at Walmart's, and one of an account that cannot be there.
        assert!(metadata.iter().filter(|key| *key != "account").all(|key| told(row[6]).contains(key)), "{row:?}");
        let explained = |key: &String| DOC.contains(&format!("| `{key}` |"));
        assert!(told(row[6]).iter().all(explained), "{row:?}");
    }
}
