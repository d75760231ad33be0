use std::time::Duration;

use super::*;
use crate::domain::operation::Operation;
use crate::emulator::disturbance::CallDisturbance;
use crate::emulator::lies::{self, LagKind};
use crate::emulator::target::Target;

const CREATE: Target = Target::CREATE;
const CANCEL: Target = Target::Call(Operation::Cancel);
const STATUS: Target = Target::Call(Operation::Status);

fn faults(text: &str) -> FaultRules {
    FaultRules::parse(text).unwrap()
}

#[test]
fn reads_every_key() {
    let faults = FaultRules::parse(
        "seed = 7\n[[fault]]\noperation = \"create\"\nprobability = 0.5\ncount = 2\ndelay = \"250ms\"\nstatus = 503\nwhen = \"after\"\nbody = \"x\"\n[[fault]]\ndrop = \"before\"\n",
    )
    .unwrap();
    assert_eq!((faults.seed, faults.len()), (Some(7), 2));
    let rule = &faults.rules[0];
    assert_eq!((rule.target, rule.probability, rule.count), (Some(CREATE), 0.5, Some(2)));
    let expected = CallDisturbance {
        delay: Duration::from_millis(250),
        drops: false,
        executes: true,
        status: Some(503),
        body: Some("x".into()),
        lie: None,
    };
    assert_eq!(rule.disturbance, expected);
    let drop = &faults.rules[1].disturbance;
    assert!(drop.drops && !drop.executes && faults.rules[1].target.is_none());
}

#[test]
fn every_fault_of_the_rules_is_named_in_one_line() {
    let text = "[[fault]]\noperation = \"x\"\nprobability = 2\nstatus = 99\ndelay = \"soon\"\n[[fault]]\n\
                [[fault]]\ndrop = \"after\"\nstatus = 500\n[[fault]]\ndelay = \"1s\"\nwhen = \"after\"\n[[fault]]\ndelay = \"11m\"";
    let error = FaultRules::parse(text).unwrap_err();
    for part in [
        "fault[0].operation",
        "fault[0].probability",
        "fault[0].status",
        "fault[0].delay",
        "fault[1].drop",
        "fault[2].drop",
        "fault[3].when",
        "fault[4].delay",
    ] {
        assert!(error.contains(part), "{part} in {error}");
    }
    for bad in [
        "[[fault]]\nstats = 500",
        "fault = 3",
        "[[fault]]\nstatus = ",
        "[[fault]\n",
        "[[fault]]\nprobability = nan\nstatus=500",
    ] {
        let error = FaultRules::parse(bad).unwrap_err();
        assert!(!error.contains('\n') && !error.is_empty(), "{error}");
    }
    assert!(FaultRules::parse("\n\n[[fault]]\nstats = 500").unwrap_err().starts_with("line 4: "));
}

fn sequence(injector: &mut Injector, number: &str) -> Vec<bool> {
    (0..40).map(|_| injector.draw(CREATE, number, || false).is_some()).collect()
}

#[test]
fn what_strikes_an_order_does_not_depend_on_other_orders() {
    let faults = FaultRules::parse("[[fault]]\nprobability = 0.5\nstatus = 500").unwrap();
    let mut alone = Injector::new(faults.clone(), 3);
    let expected = sequence(&mut alone, "A");
    assert!(expected.contains(&true) && expected.contains(&false));
    let mut crowded = Injector::new(faults.clone(), 3);
    let found: Vec<bool> = (0..40)
        .map(|i| {
            crowded.draw(CREATE, "B", || false);
            crowded.draw(CANCEL, "A", || false);
            (0..i % 3).for_each(|_| drop(crowded.draw(CREATE, "C", || false)));
            crowded.draw(CREATE, "A", || false).is_some()
        })
        .collect();
    assert_eq!(found, expected);
    assert_ne!(sequence(&mut Injector::new(faults, 4), "A"), expected);
}

#[test]
fn count_bounds_how_often_each_order_is_struck() {
    let faults = FaultRules::parse("[[fault]]\noperation = \"create\"\ncount = 2\nstatus = 500").unwrap();
    let mut injector = Injector::new(faults, 0);
    let struck = |injector: &mut Injector, number| sequence(injector, number).iter().filter(|s| **s).count();
    assert_eq!((struck(&mut injector, "A"), struck(&mut injector, "B")), (2, 2));
    assert!(injector.draw(Target::Token, "", || false).is_none());
}

#[test]
fn a_lie_that_does_not_fit_is_named() {
    for (rule, problem) in [
        ("lie = \"half-truth\"", "lie: \"half-truth\" is not known; known are no-payload, null-payload,"),
        ("lie = \"partial\"\noperation = \"create\"", "operation: partial is told about reads only"),
        ("lie = \"partial\"\nwhen = \"after\"", "when: a read changes nothing"),
        ("lie = \"late-shipped\"\noperation = \"create\"", "operation: late-shipped is told about cancel only"),
        ("lie = \"partial\"\nbody = \"x\"", "lie: says what is answered; body and drop"),
        ("lie = \"cut-body\"\ndrop = \"after\"", "lie: says what is answered; body and drop"),
        ("lie = \"read-lag\"", "lag: is needed"),
        ("lie = \"read-lag\"\nlag = \"soon\"", "lag: must be a duration"),
        ("lie = \"read-lag\"\nlag = [\"2s\", \"1s\"]", "lag: the least comes first"),
        ("lie = \"read-lag\"\nlag = \"721h\"", "lag: must be at most 43200 minutes"),
        ("lie = \"read-lag\"\nlag = \"1s\"\ncount = 1", "lag: belongs to orders, not to calls"),
        ("lie = \"partial\"\nlag = \"1s\"", "lag: only the lies that end in -lag"),
        ("lag = \"1s\"\nstatus = 500", "lag: only the lies that end in -lag"),
        ("lie = \"goaway\"\nstatus = 500", "status: there is no answer"),
        ("lie = \"goaway\"\nwhen = \"after\"", "when: what is turned away was not executed"),
        ("lie = \"hang-connect\"\ndelay = \"1s\"", "lie: belongs to connections"),
        ("lie = \"hang-connect\"\noperation = \"create\"", "operation: hang-connect is told about connections only"),
        ("status = 400\nwhen = \"duplicate\"", "when: \"duplicate\" needs operation = \"create\""),
    ] {
        let error = FaultRules::parse(&format!("[[fault]]\n{rule}")).unwrap_err();
        assert!(error.starts_with(&format!("fault[0].{problem}")) && !error.contains('\n'), "{rule}: {error}");
    }
    let error = FaultRules::parse("[[fault]]\nlie = \"x\"").unwrap_err();
    assert!(lies::all().all(|lie| error.contains(lie.name)), "{error}");
}

#[test]
fn a_lie_strikes_the_calls_that_it_is_about() {
    let rule = |text: &str| Injector::new(faults(&format!("[[fault]]\n{text}")), 1);
    for (text, struck) in [
        ("lie = \"partial\"", [false, false, false, true]),
        ("lie = \"duplicate-used\"", [false, true, false, false]),
        ("lie = \"late-window\"", [false, false, true, false]),
        ("lie = \"client-closed\"", [false, true, true, false]),
        ("lie = \"cut-body\"", [true; 4]),
        ("lie = \"cut-body\"\noperation = \"cancel\"", [false, false, true, false]),
        ("lie = \"read-lag\"\nlag = \"1s\"", [false; 4]),
        ("lie = \"hang-connect\"", [false; 4]),
    ] {
        let mut injector = rule(text);
        let found =
            [Target::Token, CREATE, CANCEL, STATUS].map(|target| injector.draw(target, "A", || false).is_some());
        assert_eq!(found, struck, "{text}");
    }
    let mut connections = rule("lie = \"hang-connect\"\ncount = 2");
    assert_eq!([(); 3].map(|()| connections.hangs_connection()), [true, true, false]);
    assert!(!rule("status = 500").hangs_connection());
}

#[test]
fn only_duplicates_are_struck_where_the_rule_says_so() {
    let text = "[[fault]]\noperation = \"create\"\ncount = 1\nlie = \"duplicate-used\"\nwhen = \"duplicate\"";
    let mut injector = Injector::new(faults(text), 1);
    assert!(injector.draw(CREATE, "A", || false).is_none());
    let (_, struck) = injector.draw(CREATE, "A", || true).unwrap();
    assert!(!struck.executes);
    assert!(injector.draw(CREATE, "A", || true).is_none(), "count");
}

#[test]
fn each_order_has_its_lag_whenever_it_is_asked_for() {
    let text = "seed = 3\n[[fault]]\nlie = \"search-lag\"\nprobability = 0.5\nlag = [\"1s\", \"5s\"]\n\
                [[fault]]\nlie = \"read-lag\"\nlag = \"250ms\"";
    let injector = Injector::new(faults(text), 0);
    let lags = |lagging| -> Vec<Duration> { (0..200).map(|n| injector.lag(lagging, &format!("SO{n}"))).collect() };
    let searches = lags(LagKind::Search);
    assert_eq!(searches, lags(LagKind::Search));
    let lagging: Vec<_> = searches.iter().filter(|lag| !lag.is_zero()).collect();
    assert!((70..130).contains(&lagging.len()), "{}", lagging.len());
    assert!(lagging.iter().all(|lag| (1_000..=5_000).contains(&lag.as_millis())));
    assert!(lagging.iter().any(|lag| **lag > Duration::from_secs(4)));
    assert!(lagging.iter().any(|lag| **lag < Duration::from_secs(2)));
    assert!(lags(LagKind::ByNumber).iter().all(|lag| *lag == Duration::from_millis(250)));
    assert_ne!(
        Injector::new(faults(&text.replace("seed = 3", "seed = 4")), 0).lag(LagKind::Search, "SO1"),
        searches[1]
    );
}

#[test]
fn the_examples_are_read() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/faults");
    let texts: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    assert_eq!(texts.len(), 4);
    for text in texts {
        assert!(!faults(&text).is_empty(), "{text}");
    }
}
