//! Magic values, which fail on purpose without any setting. A single table defines the behaviour, the text of `emulate
//! --help` and the list in the documentation.

use std::collections::HashSet;
use std::fmt::Write;
use std::time::Duration;

use bytes::Bytes;

use super::create::UNKNOWN_CHANNEL;
use super::disturbance::CallDisturbance;
use super::lies::{self, LagKind, Lie, LieKind};
use super::target::Target;
use crate::domain::operation::Operation;

/// Client ids and refresh tokens with this prefix are revoked: the token call answers 400.
pub(crate) const DEAD: &str = "MAGIC-DEAD-";

/// Creates of such a number lose their answer once; look-ups get the lies of `MAGIC-STATUS-`.
const LOST: &str = "MAGIC-LOST-";
/// The lag of orders whose number names a lag.
const LAG: Duration = Duration::from_secs(14);

#[derive(Debug)]
pub(crate) struct Magic {
    /// The value, or a prefix if it ends with `-`.
    pub(crate) value: &'static str,
    /// The description in the documentation.
    pub(crate) does: &'static str,
    kind: MagicKind,
}

#[derive(Debug)]
enum MagicKind {
    /// A SKU stocked at the start.
    Stock(u64),
    /// Handled elsewhere: a client id or a channel.
    Named,
    /// Disturbs a call, every time or only the first time per order.
    Disturb {
        once: bool,
        delay_seconds: u64,
        drops: bool,
        executes: bool,
        status: Option<u16>,
        body: Option<&'static str>,
    },
}

const fn refuse(status: u16) -> MagicKind {
    MagicKind::Disturb {
        once: false,
        delay_seconds: 0,
        drops: false,
        executes: false,
        status: Some(status),
        body: None,
    }
}

const fn refuse_with(status: u16, body: &'static str) -> MagicKind {
    MagicKind::Disturb {
        once: false,
        delay_seconds: 0,
        drops: false,
        executes: false,
        status: Some(status),
        body: Some(body),
    }
}

const fn once(executes: bool, status: u16, body: Option<&'static str>) -> MagicKind {
    MagicKind::Disturb { once: true, delay_seconds: 0, drops: false, executes, status: Some(status), body }
}

const fn drop_once(executes: bool) -> MagicKind {
    MagicKind::Disturb { once: true, delay_seconds: 0, drops: true, executes, status: None, body: None }
}

const SLOW: MagicKind =
    MagicKind::Disturb { once: true, delay_seconds: 15, drops: false, executes: true, status: None, body: None };

/// All magic values.
///
/// A row `MAGIC-NAME-` applies to creates of order numbers with this prefix, to cancels of `MAGIC-CANCEL-NAME-`, to
/// status calls for `MAGIC-STATUS-NAME-`, and to promises with a SKU with the prefix `SKU-NAME`.
pub(crate) const TABLE: &[Magic] = &[
    Magic { value: "SKU-1", does: "a billion in stock", kind: MagicKind::Stock(1_000_000_000) },
    Magic { value: "SKU-OUT-OF-STOCK", does: "none in stock: promise 206, create 400", kind: MagicKind::Stock(0) },
    Magic {
        value: "SKU-ONLY-ONE",
        does: "one in stock: two are too many, and an order takes it",
        kind: MagicKind::Stock(1),
    },
    Magic { value: "MAGIC-400-", does: "400 INVALID_MCS_REQUEST, not executed", kind: refuse(400) },
    Magic { value: "MAGIC-403-", does: "403 FORBIDDEN, not executed", kind: refuse(403) },
    Magic { value: "MAGIC-500-", does: "500 WFS_INTERNAL_SERVER_ERROR, not executed", kind: refuse(500) },
    Magic { value: "MAGIC-500-AFTER-", does: "500 once, but executed", kind: once(true, 500, None) },
    Magic { value: "MAGIC-503-", does: "503 without a body, not executed", kind: refuse(503) },
    Magic { value: "MAGIC-520-", does: "520 SYSTEM_ERROR, not executed", kind: refuse(520) },
    Magic {
        value: "MAGIC-429-",
        does: "429 once, though the bucket is not empty; not executed",
        kind: once(false, 429, None),
    },
    Magic { value: "MAGIC-SLOW-", does: "executed at once, answered after 15 s; only the first call", kind: SLOW },
    Magic { value: "MAGIC-DROP-BEFORE-", does: "connection ends once, not executed", kind: drop_once(false) },
    Magic { value: "MAGIC-DROP-AFTER-", does: "connection ends once, but executed", kind: drop_once(true) },
    Magic {
        value: "MAGIC-DUPLICATE-",
        does: "409, order number already used; not executed",
        kind: refuse_with(409, super::create::DUPLICATE_BODY),
    },
    Magic {
        value: "MAGIC-FAIL-",
        does: "200 with status FAIL, not executed",
        kind: refuse_with(
            200,
            r#"{"status":"FAIL","errors":[{"code":"INVALID_MCS_REQUEST","description":"Request is not valid","severity":"ERROR","category":"DATA"}]}"#,
        ),
    },
    Magic {
        value: "MAGIC-UNREADABLE-",
        does: "202 once with JSON that is cut off, but executed",
        kind: once(true, 202, Some(r#"{"status":"ACCEPTED","header":{"headerAttr"#)),
    },
    Magic {
        value: "MAGIC-HTML-",
        does: "502 once with an HTML page, not executed",
        kind: once(false, 502, Some("<html><body><h1>502 Bad Gateway</h1></body></html>")),
    },
    Magic {
        value: "MAGIC-OUTAGE-",
        does: "400 once that is really an outage (INVALID_REQUEST.GMP_ORDER_API), not executed",
        kind: once(
            false,
            400,
            Some(
                r#"{"errors":{"error":[{"code":"INVALID_REQUEST.GMP_ORDER_API","field":"data","description":"Invalid Request","info":"Request invalid.","severity":"ERROR","category":"DATA","causes":[],"errorIdentifiers":{}}]}}"#,
            ),
        ),
    },
    Magic { value: "MAGIC-TOKEN-EXPIRED-", does: "401 once, not executed", kind: once(false, 401, None) },
    Magic {
        value: LOST,
        does: "connection ends once, but executed; `MAGIC-LOST-NAME-` also disturbs status, as `MAGIC-STATUS-NAME-` does",
        kind: MagicKind::Named,
    },
    Magic {
        value: UNKNOWN_CHANNEL,
        does: "as orderChannelId: create 400 ERR_EXT_DATA_0021001",
        kind: MagicKind::Named,
    },
    Magic {
        value: DEAD,
        does: "as client id or refresh token: the token call answers 400 in plain text",
        kind: MagicKind::Named,
    },
];

/// The table as text, for `--help`.
pub(crate) fn help() -> String {
    let mut out = String::from("Values that fail without any setting:\n");
    for row in TABLE {
        let name = if row.value.ends_with('-') { format!("{}…", row.value) } else { row.value.to_owned() };
        let _ = writeln!(out, "  {name:<22} {}", row.does); // writing to a String does not fail
    }
    out.push_str(
        "Order numbers MAGIC-NAME-… act on create, MAGIC-CANCEL-NAME-… on cancel, MAGIC-STATUS-NAME-… on status,\n\
         SKUs SKU-NAME… on promise. \"Once\": the first call for that number and operation.\n\
         NAME may also be a lie of docs/EMULATOR.md in capitals: MAGIC-STATUS-EMPTY-OBJECT-1.\n",
    );
    out
}

/// SKUs in stock at the start, with their units.
pub(crate) fn stock() -> impl Iterator<Item = (&'static str, u64)> {
    TABLE.iter().filter_map(|row| match row.kind {
        MagicKind::Stock(units) => Some((row.value, units)),
        _ => None,
    })
}

/// The single-use values that were used.
#[derive(Debug, Default)]
pub(crate) struct UsedMagic(HashSet<(Operation, String)>);

impl UsedMagic {
    /// Finds the disturbance of a call by its values: the order number, or a promise's SKUs. The longest name wins.
    pub(crate) fn find(&mut self, operation: Operation, values: &[&str]) -> Option<(&'static str, CallDisturbance)> {
        let rows = values.iter().flat_map(|value| {
            let struck = TABLE.iter().filter(|row| row.strikes(operation, value));
            struck.map(move |row| (row.value.len(), MagicMatch::Row(row), value))
        });
        let lies = values.iter().flat_map(|value| {
            let told = lies::all().filter(|lie| lie.is_told_by_call() && is_told_for(lie, operation, value));
            told.map(move |lie| ("MAGIC-".len() + lie.name.len() + 1, MagicMatch::Lie(lie), value))
        });
        let (_, found, value) = rows.chain(lies).max_by_key(|(length, ..)| *length)?;
        let (name, once, disturbance) = match found {
            MagicMatch::Lie(lie) => (
                lie.name,
                false,
                CallDisturbance { executes: lie.executes(), lie: Some(lie), ..CallDisturbance::default() },
            ),
            MagicMatch::Row(row) if row.value == LOST => {
                (row.value, true, CallDisturbance { drops: true, executes: true, ..CallDisturbance::default() })
            }
            MagicMatch::Row(row) => {
                let MagicKind::Disturb { once, delay_seconds, drops, executes, status, body } = row.kind else {
                    return None;
                };
                let body = body.map(|text| Bytes::from_static(text.as_bytes()));
                let delay = Duration::from_secs(delay_seconds);
                (row.value, once, CallDisturbance { delay, drops, executes, status, body, lie: None })
            }
        };
        if once && !self.0.insert((operation, (*value).to_owned())) {
            return None;
        }
        Some((name, disturbance))
    }
}

/// The match of a value.
enum MagicMatch {
    Row(&'static Magic),
    Lie(&'static Lie),
}

/// The lag of an order whose number names a lag: `MAGIC-STATUS-READ-LAG-…`, `MAGIC-LOST-SEARCH-LAG-…` and similar.
pub(crate) fn lag(lagging: LagKind, number: &str) -> Duration {
    let lags = |lie: &&Lie| matches!(lie.tell, LieKind::Lags(of) if of == lagging);
    let named = |lie: &Lie| is_told_for(lie, Operation::Status, number);
    // Most numbers are not magic, and a search asks for every order.
    if number.starts_with("MAGIC-") && lies::all().filter(lags).any(named) { LAG } else { Duration::ZERO }
}

/// The part of a magic number after the operation.
fn name_in(operation: Operation, value: &str) -> Option<&str> {
    match operation {
        Operation::Promise => value.strip_prefix("SKU-"),
        Operation::Create => value.strip_prefix("MAGIC-"),
        Operation::Cancel => value.strip_prefix("MAGIC-CANCEL-"),
        Operation::Status => value.strip_prefix("MAGIC-STATUS-").or_else(|| value.strip_prefix(LOST)),
        _ => {
            let name = operation.name().replace('_', "-").to_uppercase();
            value.strip_prefix("MAGIC-")?.strip_prefix(name.as_str())?.strip_prefix('-')
        }
    }
}

/// Whether the value names the lie, in capitals and followed by a dash (a SKU may end with the name).
fn is_told_for(lie: &Lie, operation: Operation, value: &str) -> bool {
    if !lie.about.includes(Target::Call(operation)) {
        return false;
    }
    let Some((name, rest)) = name_in(operation, value).and_then(|named| named.split_at_checked(lie.name.len())) else {
        return false;
    };
    let ends = rest.starts_with('-') || (rest.is_empty() && operation == Operation::Promise);
    ends && name.bytes().zip(lie.name.bytes()).all(|(has, wanted)| has == wanted.to_ascii_uppercase())
}

impl Magic {
    fn strikes(&self, operation: Operation, value: &str) -> bool {
        if self.value == LOST {
            return operation == Operation::Create && value.starts_with(LOST);
        }
        let Some(name) = self.value.strip_prefix("MAGIC-").filter(|_| matches!(self.kind, MagicKind::Disturb { .. }))
        else {
            return false;
        };
        let name = if operation == Operation::Promise { name.trim_end_matches('-') } else { name };
        name_in(operation, value).is_some_and(|rest| rest.starts_with(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_name_wins_and_once_means_once() {
        let mut seen = UsedMagic::default();
        assert_eq!(seen.find(Operation::Create, &["MAGIC-500-1"]).unwrap().0, "MAGIC-500-");
        assert_eq!(seen.find(Operation::Create, &["MAGIC-500-1"]).unwrap().0, "MAGIC-500-");
        assert_eq!(seen.find(Operation::Create, &["MAGIC-500-AFTER-1"]).unwrap().0, "MAGIC-500-AFTER-");
        assert!(seen.find(Operation::Create, &["MAGIC-500-AFTER-1"]).is_none());
        assert!(seen.find(Operation::Create, &["MAGIC-500-AFTER-2"]).is_some());
    }

    #[test]
    fn each_operation_has_its_own_prefix() {
        let mut seen = UsedMagic::default();
        assert!(seen.find(Operation::Cancel, &["MAGIC-500-1"]).is_none());
        assert!(seen.find(Operation::Create, &["MAGIC-CANCEL-500-1"]).is_none());
        assert!(seen.find(Operation::Cancel, &["MAGIC-CANCEL-500-1"]).is_some());
        assert!(seen.find(Operation::Status, &["MAGIC-STATUS-DROP-BEFORE-1"]).unwrap().1.drops);
        assert!(seen.find(Operation::Promise, &["SKU-1", "SKU-500"]).is_some());
        assert!(seen.find(Operation::Promise, &["SKU-1", "SKU-OUT-OF-STOCK"]).is_none());
        assert!(seen.find(Operation::Create, &["SO123"]).is_none());
    }

    #[test]
    fn no_two_rows_share_a_value_and_the_help_shows_all() {
        let values: HashSet<_> = TABLE.iter().map(|row| row.value).collect();
        assert_eq!(values.len(), TABLE.len());
        assert!(values.iter().all(|value| help().contains(value)));
    }

    #[test]
    fn the_documentation_lists_every_row() {
        let docs = include_str!("../../docs/EMULATOR.md");
        for row in TABLE {
            assert!(docs.contains(&format!("| `{}` | {} |", row.value, row.does)), "{} in docs/EMULATOR.md", row.value);
        }
    }
}
