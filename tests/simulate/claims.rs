//! What callers asked for, and how often Walmart did it. A claim is what one change may do once: it is read from the body
//! that Walmart receives, and compared with what was asked for. Uses no code of the gateway to judge.

use std::collections::{BTreeMap, BTreeSet};

use order_gateway::domain::operation::Operation;
use serde_json::Value;

use crate::changes::{Change, ChangeKind};
use crate::plan::ACCOUNTS;

/// Lines that the gateway puts into one request.
const LINES_OF_A_REQUEST: usize = 100;

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Claim {
    /// What is to happen once.
    pub(crate) what: String,
    /// The rest of its content.
    pub(crate) size: String,
}

/// All claims of callers.
#[derive(Default)]
pub(crate) struct Claims(BTreeMap<String, Wish>);

/// One of them.
#[derive(Default)]
struct Wish {
    sizes: BTreeSet<String>,
    /// Those who ask for it: each of them may have it once. Stories and positions of changes.
    askers: BTreeSet<(usize, usize)>,
    /// A call without an id is a new one once the last has ended.
    joins: bool,
    /// Calls of callers.
    calls: usize,
    guarded: bool,
    effects: usize,
}

impl Claims {
    /// A caller asks for a change. `number` is that of the object.
    pub(crate) fn ask(&mut self, account: usize, number: &str, asker: (usize, usize), change: &Change, guarded: bool) {
        let joins = change.kind.joins() && change.request_id.is_none();
        for Claim { what, size } in asked(number, &change.kind).into_iter().flatten() {
            let wish = self.0.entry(named(account, &what)).or_default();
            wish.sizes.insert(size);
            wish.askers.insert(asker);
            (wish.joins, wish.guarded) = (joins, guarded);
            wish.calls += 1;
        }
    }

    /// Whether Walmart refuses what these ask for once it was done.
    pub(crate) fn are_guarded(&self, account: usize, claims: &[Claim]) -> bool {
        let wish = |claim: &Claim| self.0.get(&named(account, &claim.what));
        !claims.is_empty() && claims.iter().all(|claim| wish(claim).is_some_and(|wish| wish.guarded))
    }

    /// Whether one call of each content is all that anybody wants.
    pub(crate) fn are_wanted_once(&self, account: usize, claims: &[Claim]) -> bool {
        let wish = |claim: &Claim| self.0.get(&named(account, &claim.what));
        !claims.is_empty() && claims.iter().all(|claim| wish(claim).is_some_and(|wish| wish.most() == 1 && !wish.joins))
    }

    /// Walmart has carried out a request. Gives what is wrong with it.
    pub(crate) fn carried_out(&mut self, account: usize, claims: &[Claim]) -> Option<String> {
        let mut wrong = None;
        for Claim { what, size } in claims {
            let name = named(account, what);
            let Some(wish) = self.0.get_mut(&name) else {
                return Some(format!("I7: {name} was carried out, and nobody asked for it"));
            };
            if !wish.sizes.contains(size) {
                let sizes = &wish.sizes;
                return Some(format!("I7: {name} was carried out with {size:?}, and was asked for with {sizes:?}"));
            }
            wish.effects += 1;
            if wish.effects > wish.most() {
                let (times, most) = (wish.effects, wish.most());
                wrong.get_or_insert(format!("I1: {name} was carried out {times} times, and asked for {most} times"));
            }
        }
        wrong
    }
}

impl Wish {
    /// How often it may be carried out.
    fn most(&self) -> usize {
        if self.joins { self.calls } else { self.askers.len() }
    }
}

fn named(account: usize, what: &str) -> String {
    format!("{}/{what}", ACCOUNTS[account])
}

fn claim(operation: Operation, number: &str, what: &str, size: impl ToString) -> Claim {
    let name = operation.name();
    Claim { what: format!("{name} {number} {what}"), size: size.to_string() }
}

fn cancelled<'a>(number: &str, lines: impl Iterator<Item = (String, &'a str)>) -> Claim {
    let lines: Vec<String> = lines.map(|(line, units)| format!("{units} of line {line}")).collect();
    claim(Operation::CancelLines, number, &lines.join(", "), "")
}

fn shipped(number: &str, line: &str, tracking: &str, units: &str) -> Claim {
    claim(Operation::Ship, number, &format!("line {line} in parcel {tracking}"), units)
}

fn refunded(number: &str, line: &str, cents: Option<u64>) -> Claim {
    let cents = cents.map_or("all".to_owned(), |cents| cents.to_string());
    claim(Operation::Refund, number, &format!("line {line} {cents}"), "")
}

fn refunded_return(number: &str, units: u64) -> Claim {
    claim(Operation::ReturnRefund, number, &units.to_string(), "")
}

fn opened(number: &str, seller_id: &str, units: u64) -> Claim {
    claim(Operation::McsReturnCreate, number, seller_id, units)
}

fn taken_back(number: &str) -> Claim {
    claim(Operation::McsReturnCancel, number, "", "")
}

/// What the requests of a change ask for, one list for each request.
fn asked(number: &str, kind: &ChangeKind) -> Vec<Vec<Claim>> {
    match kind {
        ChangeKind::CancelLines { lines, units } => {
            let (lines, units): (Vec<u32>, _) = ((1..=*lines).collect(), units.to_string());
            let request =
                |lines: &[u32]| cancelled(number, lines.iter().map(|line| (line.to_string(), units.as_str())));
            lines.chunks(LINES_OF_A_REQUEST).map(|lines| vec![request(lines)]).collect()
        }
        ChangeKind::Ship { parcels } => {
            vec![parcels.iter().map(|(tracking, units)| shipped(number, "1", tracking, &units.to_string())).collect()]
        }
        ChangeKind::Refund { lines, cents } => {
            vec![(1..=*lines).map(|line| refunded(number, &line.to_string(), *cents)).collect()]
        }
        ChangeKind::RefundReturn { units } => vec![vec![refunded_return(number, *units)]],
        ChangeKind::OpenReturn { seller_id, units } => vec![vec![opened(number, seller_id, *units)]],
        ChangeKind::CancelReturn { .. } => vec![vec![taken_back(number)]],
    }
}

/// What a request asks for. `number` stands in its path.
pub(crate) fn read(operation: Operation, number: &str, body: &Value) -> Vec<Claim> {
    match operation {
        Operation::CancelLines => {
            let lines = lines(&body["orderCancellation"]);
            vec![cancelled(number, lines.map(|line| (text(&line["lineNumber"]).to_owned(), cancelled_units(line))))]
        }
        Operation::Ship => {
            let parcels = lines(&body["orderShipment"]).flat_map(|line| {
                statuses(line).map(move |status| {
                    let tracking = text(&status["trackingInfo"]["trackingNumber"]);
                    shipped(number, text(&line["lineNumber"]), tracking, text(&status["statusQuantity"]["amount"]))
                })
            });
            parcels.collect()
        }
        Operation::Refund => {
            let line = |line: &Value| {
                let in_full = line["isFullRefund"] == true;
                refunded(number, text(&line["lineNumber"]), (!in_full).then(|| cents(line)))
            };
            lines(&body["orderRefund"]).map(line).collect()
        }
        Operation::ReturnRefund => {
            let units = |line: &Value| line["quantity"]["measurementValue"].as_f64().unwrap_or_default() as u64;
            items(&body["refundLines"]).map(|line| refunded_return(number, units(line))).collect()
        }
        Operation::McsReturnCreate => {
            let payload = &body["payload"];
            let units = items(&payload["orderItems"]).map(|item| item["qty"]["measurementValue"].as_f64());
            let units = units.map(|units| units.unwrap_or_default() as u64).sum();
            vec![opened(text(&payload["sellerOrderId"]), text(&payload["sellerReturnOrderId"]), units)]
        }
        Operation::McsReturnCancel => vec![taken_back(number)],
        _ => Vec::new(),
    }
}

/// Fields at the top of a body of this call.
const fn fields_of(operation: Operation) -> &'static [&'static str] {
    match operation {
        Operation::CancelLines => &["orderCancellation"],
        Operation::Ship => &["orderShipment"],
        Operation::Refund => &["orderRefund"],
        Operation::ReturnRefund => &["customerOrderId", "refundLines"],
        _ => &["header", "payload"],
    }
}

/// A field at the top of a body that Walmart's call does not have: one of the gateway's own.
pub(crate) fn odd_field(operation: Operation, body: &Value) -> Option<String> {
    let fields = body.as_object()?;
    fields.keys().find(|field| !fields_of(operation).contains(&field.as_str())).cloned()
}

fn cancelled_units(line: &Value) -> &str {
    statuses(line).next().map_or("", |status| text(&status["statusQuantity"]["amount"]))
}

fn cents(line: &Value) -> u64 {
    let refunds = items(&line["refunds"]["refund"]);
    let charges = refunds.flat_map(|refund| items(&refund["refundCharges"]["refundCharge"]));
    let amounts = charges.map(|charge| charge["charge"]["chargeAmount"]["amount"].as_f64().unwrap_or_default());
    (amounts.sum::<f64>() * -100.0).round() as u64
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn lines(body: &Value) -> impl Iterator<Item = &Value> {
    items(&body["orderLines"]["orderLine"])
}

fn statuses(line: &Value) -> impl Iterator<Item = &Value> {
    items(&line["orderLineStatuses"]["orderLineStatus"])
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn change(kind: ChangeKind, request_id: Option<&str>) -> Change {
        Change { kind, request_id: request_id.map(str::to_owned), clashes: false }
    }

    fn units(units: u64) -> ChangeKind {
        ChangeKind::CancelLines { lines: 1, units }
    }

    fn body(units: u64) -> Value {
        let status = json!({"status": "Cancelled", "statusQuantity": {"amount": units.to_string()}});
        json!({"orderCancellation": {"orderLines": {"orderLine": [
            {"lineNumber": "1", "orderLineStatuses": {"orderLineStatus": [status]}}]}}})
    }

    #[test]
    fn what_comes_twice_or_was_not_asked_for_is_told() {
        let mut claims = Claims::default();
        claims.ask(0, "1", (0, 0), &change(units(2), Some("a")), false);
        let two = read(Operation::CancelLines, "1", &body(2));
        assert!(claims.are_wanted_once(0, &two) && !claims.are_guarded(0, &two));
        assert_eq!(claims.carried_out(0, &two), None);
        assert!(claims.carried_out(0, &two).unwrap().starts_with("I1: "));
        assert!(claims.carried_out(1, &two).unwrap().starts_with("I7: "), "of another account");
        let three = read(Operation::CancelLines, "1", &body(3));
        assert!(claims.carried_out(0, &three).unwrap().starts_with("I7: "));
        claims.ask(0, "1", (0, 1), &change(units(2), Some("b")), false);
        assert!(claims.carried_out(0, &two).unwrap().starts_with("I1: "), "three times, and asked for twice");
    }

    #[test]
    fn without_an_id_each_call_may_be_a_new_one() {
        let mut claims = Claims::default();
        let one = change(units(2), None);
        let claim = read(Operation::CancelLines, "1", &body(2));
        claims.ask(0, "1", (0, 0), &one, false);
        assert_eq!(claims.carried_out(0, &claim), None);
        claims.ask(0, "1", (0, 0), &one, false);
        assert_eq!(claims.carried_out(0, &claim), None);
        assert!(claims.carried_out(0, &claim).is_some());
    }

    #[test]
    fn a_parcel_is_known_by_its_number_and_has_the_units_asked_for() {
        let mut claims = Claims::default();
        let ship = |units| ChangeKind::Ship { parcels: vec![("T".into(), units)] };
        let body = |units: &str| {
            let status = json!({"statusQuantity": {"amount": units}, "trackingInfo": {"trackingNumber": "T"}});
            json!({"orderShipment": {"orderLines": {"orderLine": [
                {"lineNumber": "1", "orderLineStatuses": {"orderLineStatus": [status]}}]}}})
        };
        claims.ask(0, "1", (0, 0), &change(ship(1), None), false);
        let other = read(Operation::Ship, "1", &body("2"));
        assert!(claims.carried_out(0, &other).unwrap().starts_with("I7: "));
        assert_eq!(claims.carried_out(0, &read(Operation::Ship, "1", &body("1"))), None);
        claims.ask(0, "1", (0, 0), &change(ship(2), None), false);
        assert!(claims.carried_out(0, &other).unwrap().starts_with("I1: "), "the parcel has been shipped");
    }

    #[test]
    fn bodies_are_read_as_they_were_asked_for() {
        let refund = |amount: f64| {
            json!({"lineNumber": "1", "isFullRefund": false, "refunds": {"refund": [
            {"refundCharges": {"refundCharge": [{"charge": {"chargeAmount": {"amount": amount}}}]}}]}})
        };
        let lines = json!({"orderRefund": {"orderLines": {"orderLine": [refund(-0.25)]}}});
        let kind = ChangeKind::Refund { lines: 1, cents: Some(25) };
        assert_eq!(vec![read(Operation::Refund, "1", &lines)], asked("1", &kind));
        let all = json!({"orderRefund": {"orderLines": {"orderLine": [{"lineNumber": "1", "isFullRefund": true}]}}});
        let kind = ChangeKind::Refund { lines: 1, cents: None };
        assert_eq!(vec![read(Operation::Refund, "1", &all)], asked("1", &kind));
        let units = json!({"refundLines": [{"quantity": {"measurementValue": 3}}]});
        let kind = ChangeKind::RefundReturn { units: 3 };
        assert_eq!(vec![read(Operation::ReturnRefund, "1", &units)], asked("1", &kind));
    }

    #[test]
    fn fields_of_the_gateways_own_are_odd() {
        assert_eq!(odd_field(Operation::ReturnRefund, &json!({"customerOrderId": "1", "refundLines": []})), None);
        let odd = odd_field(Operation::ReturnRefund, &json!({"refundLines": [], "account": "acme"}));
        assert_eq!(odd.as_deref(), Some("account"));
    }
}
