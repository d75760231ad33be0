//! Faults of one simulation, each within its time: what the network does, what Walmart answers, and how the store fails.

use std::time::Duration;

use order_gateway::domain::operation::Operation;
use order_gateway::ports::random::Random;

use crate::draw::{Draw, millis, seconds};
use crate::plan::{ACCOUNTS, Settings};

/// Something goes wrong for a while.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) from: Duration,
    pub(crate) until: Duration,
    pub(crate) kind: FaultKind,
}

#[derive(Clone, Debug)]
pub(crate) enum FaultKind {
    /// What becomes of requests.
    Network { account: Option<usize>, aim: Aim, probability: f64, fate: Fate },
    /// A table of the emulator's faults, as TOML.
    Walmart(String),
    /// What becomes of calls to the store.
    Store { probability: f64, fate: StoreFate },
}

/// The calls that a fault is about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Aim {
    All,
    One(Operation),
    /// Changes of seller orders and returns.
    Changes,
    /// Reads of seller orders and returns.
    ReadsOfChanges,
}

impl Aim {
    pub(crate) fn is_at(self, operation: Option<Operation>) -> bool {
        let is_one_of = |operations: &[Operation]| operation.is_some_and(|one| operations.contains(&one));
        match self {
            Self::All => true,
            Self::One(one) => operation == Some(one),
            Self::Changes => is_one_of(&CHANGES),
            Self::ReadsOfChanges => is_one_of(&READS_OF_CHANGES),
        }
    }
}

/// Changes of seller orders and returns.
const CHANGES: [Operation; 6] = [
    Operation::CancelLines,
    Operation::Ship,
    Operation::Refund,
    Operation::ReturnRefund,
    Operation::McsReturnCreate,
    Operation::McsReturnCancel,
];
/// Reads of seller orders and returns.
const READS_OF_CHANGES: [Operation; 4] =
    [Operation::Order, Operation::Orders, Operation::Returns, Operation::McsReturns];

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It arrives and is answered.
    Answered,
    /// There is no connection: it never leaves.
    Refused,
    /// The connection breaks before it arrives.
    BrokenBefore,
    /// It is carried out, then the connection breaks.
    BrokenAfter,
    /// It never arrives, and nothing comes back.
    SilentBefore,
    /// It is carried out, and nothing comes back.
    SilentAfter,
    /// Nothing comes back; it is carried out after the gateway has given it up.
    LateSilent,
    /// The connection breaks; it is carried out some time after that.
    LateBroken,
    /// The answer takes seconds.
    Slow,
    /// The answer's body breaks off.
    BadBody,
}

/// What becomes of a call to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoreFate {
    /// It works.
    Works,
    /// It fails, and nothing was written.
    Fails,
    /// It takes seconds.
    Slow,
}

/// Lies of reads that neither show the order nor prove that there is none, or that show something else.
const READ_LIES: [&str; 29] = [
    "no-payload",
    "null-payload",
    "text-payload",
    "empty-object",
    "empty-object",
    "null-object",
    "message-object",
    "list-in-object",
    "odd-rows",
    "error-rows",
    "partial",
    "partial-with-errors",
    "partial-content",
    "accepted-read",
    "no-content",
    "errors-beside-list",
    "total-beside-nothing",
    "gateway-404",
    "proxy-404",
    "html-404",
    "bare-404",
    "not-found-among-errors",
    "other-channel",
    "other-date",
    "other-numbers",
    "no-number",
    "padded-number",
    "folded-number",
    "short-page",
];
/// Answers to reads of seller orders and returns that show nothing, or something else.
const READ_BODIES_OF_CHANGES: [&str; 12] = [
    "{}",
    "null",
    "[]",
    r#"{"order":null}"#,
    r#"{"order":{}}"#,
    r#"{"order":{"orderLines":{"orderLine":[]}}}"#,
    r#"{"order":{"purchaseOrderId":"1","orderLines":{"orderLine":[]}}}"#,
    r#"{"returnOrders":[]}"#,
    r#"{"returnOrders":[{"returnOrderId":null,"returnOrderLines":[]}]}"#,
    r#"{"status":"OK","payload":[{"returnOrderId":null,"sellerReturnOrderId":null}]}"#,
    r#"{"status":"OK","payload":[{"message":"none"}]}"#,
    r#"{"status":"FAIL","payload":[]}"#,
];
/// Failures of reads.
const FAILED_READS: [&str; 8] = [
    "status = 500",
    "status = 503",
    "status = 520",
    "status = 429",
    "drop = \"before\"",
    "delay = \"8s\"",
    "lie = \"cut-body\"",
    "lie = \"html-body\"",
];
/// Searches that show too little, or say so.
const SEARCH_LIES: [&str; 4] =
    ["lie = \"short-page\"", "lie = \"low-total\"", "lie = \"no-total\"", "lie = \"high-total\""];
/// Answers to mutations that leave open whether they were carried out, refusals of what was not, and acceptances.
const MUTATION_ANSWERS: [&str; 21] = [
    "status = 500\nwhen = \"after\"",
    "status = 500\nwhen = \"after\"",
    "status = 500",
    "status = 503\nwhen = \"after\"",
    "status = 503",
    "status = 429",
    "status = 423",
    "status = 520\nwhen = \"after\"",
    "drop = \"after\"",
    "drop = \"before\"",
    "lie = \"cut-body\"\nwhen = \"after\"",
    "lie = \"cut-body\"\nstatus = 400\nwhen = \"after\"",
    "lie = \"gzip-body\"\nstatus = 400\nwhen = \"after\"",
    "lie = \"html-body\"\nstatus = 400\nwhen = \"after\"",
    "lie = \"outage-in-info\"\nwhen = \"after\"",
    "lie = \"outage-in-description\"\nwhen = \"after\"",
    "lie = \"client-closed\"\nwhen = \"after\"",
    "lie = \"threshold-in-400\"",
    "lie = \"refused-in-200\"",
    "lie = \"errors-beside-acceptance\"",
    "lie = \"goaway\"",
];
/// How Walmart may say that a number is used, to a second creation of it.
const USED: [&str; 5] =
    ["duplicate-exists", "duplicate-unique", "duplicate-used", "duplicate-in-use", "duplicate-conflict"];

/// One fault, from this moment on.
pub(crate) fn draw(draw: &Random, from: Duration, end: Duration, settings: &Settings) -> Fault {
    let from = from.saturating_sub(draw.span(millis(0), seconds(60)));
    let longest = *draw.one_of(&[seconds(15), seconds(60), seconds(300), seconds(900)]);
    let until = (from + draw.span(seconds(5), longest)).min(end);
    let kind = match draw.whole(0, 18) {
        14 => network_of_changes(draw),
        15..=16 => FaultKind::Walmart(rules(draw, &CHANGES, answer(draw))),
        17 => FaultKind::Walmart(rules(draw, &READS_OF_CHANGES, &read_of_changes(draw))),
        18 => FaultKind::Walmart(lag("change-lag", settings.lag)),
        0..=3 => network(draw),
        4..=5 => FaultKind::Walmart(rule(draw, &["create", "create", "cancel"], &MUTATION_ANSWERS)),
        6..=7 => FaultKind::Walmart(rule(draw, &["status"], &[&format!("lie = \"{}\"", draw.one_of(&READ_LIES))])),
        8 => FaultKind::Walmart(rule(draw, &["status"], &FAILED_READS)),
        9 => FaultKind::Walmart(rule(draw, &["token"], &["status = 500", "status = 503", "delay = \"3s\""])),
        10 => FaultKind::Walmart(lag("read-lag", settings.lag)),
        // How late searches are is bounded by nothing.
        11 => FaultKind::Walmart(lag("search-lag", seconds(3_600))),
        12 => FaultKind::Walmart(rule(draw, &["status"], &SEARCH_LIES)),
        _ => FaultKind::Store {
            probability: 0.2 + 0.8 * draw.fraction(),
            fate: *draw.one_of(&[StoreFate::Fails, StoreFate::Slow]),
        },
    };
    // Reads that lie about what was just lost are what doubles orders, so both come together.
    let of_reads = |rule: &str| rule.contains("\"status\"") || rule.contains("\"order\"") || rule.contains("-lag\"");
    let longer = matches!(&kind, FaultKind::Walmart(rule) if of_reads(rule));
    let until = if longer { (from + settings.settle_window * 3).max(until).min(end) } else { until };
    Fault { from, until, kind }
}

/// Reads see what is so only after a while; each order has a lag of its own.
fn lag(lie: &str, longest: Duration) -> String {
    format!("[[fault]]\nlie = \"{lie}\"\nlag = [\"0s\", \"{}s\"]\n", longest.as_secs())
}

/// Walmart's words for a used number, while it refuses used numbers.
pub(crate) fn refuses_used(draw: &Random) -> String {
    format!("[[fault]]\noperation = \"create\"\nlie = \"{}\"\nwhen = \"duplicate\"\n", draw.one_of(&USED))
}

/// Fates of requests; some are drawn more often.
const FATES: [Fate; 11] = [
    Fate::Refused,
    Fate::BrokenBefore,
    Fate::BrokenAfter,
    Fate::SilentBefore,
    Fate::SilentAfter,
    Fate::SilentAfter,
    Fate::LateSilent,
    Fate::LateSilent,
    Fate::LateBroken,
    Fate::Slow,
    Fate::BadBody,
];

fn network(draw: &Random) -> FaultKind {
    let aims = [
        Aim::All,
        Aim::One(Operation::Create),
        Aim::One(Operation::Create),
        Aim::One(Operation::Cancel),
        Aim::One(Operation::Status),
    ];
    aimed(draw, *draw.one_of(&aims))
}

fn answer(draw: &Random) -> &'static str {
    let answer: &&'static str = draw.one_of(&MUTATION_ANSWERS);
    answer
}

fn network_of_changes(draw: &Random) -> FaultKind {
    aimed(draw, *draw.one_of(&[Aim::Changes, Aim::Changes, Aim::ReadsOfChanges]))
}

fn aimed(draw: &Random, aim: Aim) -> FaultKind {
    FaultKind::Network {
        account: draw.chance(0.4).then(|| draw.whole(0, ACCOUNTS.len() as u64 - 1) as usize),
        aim,
        probability: *draw.one_of(&[0.1, 0.5, 0.9, 1.0]),
        fate: *draw.one_of(&FATES),
    }
}

/// A lie about a read of seller orders or returns, an answer that shows nothing of them, or a failure.
fn read_of_changes(draw: &Random) -> String {
    match draw.whole(0, 2) {
        0 => format!("lie = \"{}\"", draw.one_of(&READ_LIES)),
        1 => format!("status = 200\nbody = '{}'", draw.one_of(&READ_BODIES_OF_CHANGES)),
        _ => (*draw.one_of(&FAILED_READS)).to_owned(),
    }
}

/// The same rule for each of these calls.
fn rules(draw: &Random, operations: &[Operation], answer: &str) -> String {
    let probability = draw.one_of(&[0.2, 0.5, 0.9, 1.0]);
    let rule = |operation: &Operation| {
        format!("[[fault]]\noperation = \"{}\"\nprobability = {probability}\n{answer}\n", operation.name())
    };
    operations.iter().map(rule).collect()
}

fn rule(draw: &Random, operations: &[&str], answers: &[&str]) -> String {
    let (operation, answer) = (draw.one_of(operations), draw.one_of(answers));
    let probability = draw.one_of(&[0.2, 0.5, 0.9, 1.0]);
    format!("[[fault]]\noperation = \"{operation}\"\nprobability = {probability}\n{answer}\n")
}
