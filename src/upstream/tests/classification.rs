//! The table of what a failure means: all of it as text, and every row of the design with its reason.

use std::fmt::Write as _;
use std::time::Duration;

use crate::domain::effect::Effect;
use crate::domain::operation::Operation;
use crate::ports::upstream::ErrorKind;
use crate::upstream::classify::{Retry, Verdict, classify};
use crate::upstream::failure::{Failure, Lost, NotSent};
use crate::upstream::headers::Hint;
use crate::wire::error;

const WAIT: Duration = Duration::from_secs(7);

fn refused(status: u16, body: &str) -> Failure {
    Failure::Refused { status, body: error::read(body.as_bytes()), hint: Hint::default() }
}

fn told_to_wait(status: u16) -> Failure {
    let hint = Hint { retry_after: Some(WAIT), ..Hint::default() };
    Failure::Refused { status, body: Default::default(), hint }
}

fn code(code: &str) -> String {
    format!(r#"{{"status":"FAIL","errors":[{{"code":"{code}"}}]}}"#)
}

fn text(text: &str) -> String {
    format!(r#"{{"errors":{{"error":[{{"code":"INVALID_REQUEST_CONTENT.GMP_ORDER_API","description":"{text}"}}]}}}}"#)
}

const DISGUISED: &str = r#"{"errors":{"error":[{"code":"INVALID_REQUEST.GMP_ORDER_API","field":"data","description":"Invalid Request","info":"Request invalid.","causes":[]}]}}"#;

/// Everything that may happen, with its name.
fn failures() -> Vec<(String, Failure)> {
    let mut all = Vec::new();
    for reason in [
        NotSent::Connect,
        NotSent::TokenUnavailable(WAIT),
        NotSent::TokenLimited(WAIT),
        NotSent::CredentialsRefused(WAIT),
        NotSent::RateLimited(WAIT),
        NotSent::CircuitOpen(WAIT),
        NotSent::Overloaded,
        NotSent::Deadline,
    ] {
        all.push((format!("not sent: {reason:?}"), Failure::NotSent(reason)));
    }
    for lost in [Lost::TimedOut, Lost::Deadline, Lost::Interrupted] {
        all.push((format!("lost: {lost:?}"), Failure::Lost(lost)));
    }
    all.push(("200 unreadable".into(), Failure::Unreadable { status: 200, hint: Hint::default() }));
    for status in [
        100, 200, 202, 206, 301, 304, 400, 401, 402, 403, 404, 405, 406, 408, 409, 410, 413, 415, 422, 423, 425, 428,
        429, 431, 451, 499, 500, 501, 502, 503, 504, 520, 521, 599,
    ] {
        all.push((format!("{status}"), refused(status, "")));
    }
    for status in [423, 429, 503] {
        all.push((format!("{status} retry-after"), told_to_wait(status)));
    }
    for (name, status, body) in [
        ("disguised outage", 400, DISGUISED.to_owned()),
        ("disguised outage", 422, DISGUISED.to_owned()),
        ("INVALID_TOKEN", 400, r#"{"error":[{"code":"INVALID_TOKEN.GMP_GATEWAY_API"}]}"#.to_owned()),
        ("FAIL", 202, code("INVALID_MCS_REQUEST")),
        ("FAIL 404.WSAAS.100", 202, code("404.WSAAS.100")),
        ("404.WSAAS.100", 400, code("404.WSAAS.100")),
        ("OS_NOT_FOUND_ERROR", 400, code("OS_NOT_FOUND_ERROR")),
        ("CONTENT_NOT_FOUND", 404, code("CONTENT_NOT_FOUND.GMP_ORDER_API")),
        ("500 in the code", 400, code("500.OS_SERVICE.200")),
        ("duplicate", 400, text("Duplicate order")),
        ("already exists", 400, text("order SO1 already exists")),
        ("is already SHIPPED", 400, text("Line 1 of PO 17 is already SHIPPED")),
        ("cannot be cancelled", 400, text("Order cannot be cancelled")),
        ("HTML", 400, "<html><h1>Bad Request</h1></html>".to_owned()),
        ("HTML", 502, "<html><h1>Bad Gateway</h1></html>".to_owned()),
        ("XML", 400, "<errors><error><code>INVALID_REQUEST_HEADER</code></error></errors>".to_owned()),
    ] {
        all.push((format!("{status} {name}"), refused(status, &body)));
    }
    all
}

#[test]
fn the_whole_table() {
    let mut table = String::new();
    for (name, failure) in failures() {
        let verdicts = Operation::ALL.map(|operation| (operation, classify(operation, &failure)));
        let mut rows: Vec<(String, Vec<&str>)> = Vec::new();
        for (operation, Verdict { retry, kind, effect, retry_after }) in verdicts {
            let row = format!("{retry:?}, {kind:?}, effect {effect:?}, retry after {retry_after:?}");
            match rows.iter_mut().find(|(known, _)| *known == row) {
                Some((_, operations)) => operations.push(operation.name()),
                None => rows.push((row, vec![operation.name()])),
            }
        }
        for (row, operations) in rows {
            let who = if operations.len() == 4 { "all".to_owned() } else { operations.join(" ") };
            writeln!(table, "{name:<38} {who:<22} {row}").unwrap();
        }
    }
    insta::assert_snapshot!(table);
}

fn each(mutations: bool) -> impl Iterator<Item = Operation> {
    Operation::ALL.into_iter().filter(move |operation| operation.is_mutation() == mutations)
}

#[test]
fn what_was_not_sent_had_no_effect_and_may_be_tried_again_where_that_helps() {
    let soon = |failure| Operation::ALL.map(|op| classify(op, &Failure::NotSent(failure)));
    assert!(soon(NotSent::Connect).iter().all(|v| v.retry == Retry::Soon && v.effect == Effect::None));
    // Before the pause is over there is no token to be had.
    for reason in [NotSent::TokenUnavailable(WAIT), NotSent::TokenLimited(WAIT)] {
        assert!(soon(reason).iter().all(|v| v.retry == Retry::After(WAIT) && v.effect == Effect::None));
    }
    // These have waited as long as they could, or would meet the same again.
    for reason in [
        NotSent::CredentialsRefused(WAIT),
        NotSent::RateLimited(WAIT),
        NotSent::CircuitOpen(WAIT),
        NotSent::Overloaded,
        NotSent::Deadline,
    ] {
        assert!(soon(reason).iter().all(|v| v.retry == Retry::Never && v.effect == Effect::None), "{reason:?}");
    }
}

#[test]
fn throttled_and_locked_were_not_executed_and_wait_for_the_hint() {
    for op in Operation::ALL {
        for status in [429, 423] {
            let verdict = classify(op, &told_to_wait(status));
            assert_eq!((verdict.retry, verdict.effect), (Retry::After(WAIT), Effect::None), "{op} {status}");
        }
        assert_eq!(classify(op, &refused(429, "")).retry, Retry::After(Duration::from_secs(60)), "told nothing");
        assert_eq!(classify(op, &refused(423, "")).retry, Retry::Later);
    }
}

#[test]
fn a_token_turned_away_was_not_executed_and_was_replayed_already() {
    for op in Operation::ALL {
        for failure in [refused(401, ""), refused(400, r#"{"error":[{"code":"INVALID_TOKEN.GMP_GATEWAY_API"}]}"#)] {
            assert!(failure.token_refused());
            let verdict = classify(op, &failure);
            assert_eq!((verdict.retry, verdict.kind), (Retry::Never, ErrorKind::CredentialsRefused));
            assert_eq!(verdict.effect, Effect::None);
        }
        assert!(!refused(403, "").token_refused(), "another token has the same rights");
        assert_eq!(classify(op, &refused(403, "")).kind, ErrorKind::CredentialsRefused);
    }
}

#[test]
fn an_ambiguous_outcome_is_resolved_for_a_mutation_and_asked_again_for_a_read() {
    let mut ambiguous = vec![
        refused(400, DISGUISED),
        refused(408, ""),
        Failure::Lost(Lost::TimedOut),
        Failure::Lost(Lost::Interrupted),
        Failure::Unreadable { status: 202, hint: Hint::default() },
    ];
    ambiguous.extend((500..600).map(|status| refused(status, &code("404.WSAAS.100"))));
    for failure in ambiguous {
        for op in each(true) {
            let verdict = classify(op, &failure);
            assert_eq!((verdict.retry, verdict.effect), (Retry::Never, Effect::Unknown), "{op} {failure:?}");
        }
        for op in each(false) {
            let verdict = classify(op, &failure);
            assert_eq!((verdict.retry, verdict.effect), (Retry::Soon, Effect::None), "{op} {failure:?}");
        }
    }
    // At the deadline there is no time to ask again, and a read says so.
    assert!(each(true).all(|op| classify(op, &Failure::Lost(Lost::Deadline)).effect == Effect::Unknown));
    assert!(each(false).all(|op| classify(op, &Failure::Lost(Lost::Deadline)).kind == ErrorKind::DeadlineExceeded));
}

#[test]
fn a_duplicate_is_told_of_a_create_alone() {
    for failure in [refused(409, ""), refused(400, &text("Duplicate order")), refused(422, &text("ALREADY EXISTS"))] {
        assert_eq!(classify(Operation::Create, &failure).kind, ErrorKind::Duplicate, "{failure:?}");
        assert_ne!(classify(Operation::Cancel, &failure).kind, ErrorKind::Duplicate, "{failure:?}");
    }
}

#[test]
fn every_other_refusal_is_final_readable_or_not() {
    let special = [401, 403, 408, 423, 429];
    for status in (100..500).filter(|status| !special.contains(status)) {
        for body in ["", "<html>", &code("INVALID_MCS_REQUEST"), &code("500.509"), "{\"errors\":"] {
            for op in Operation::ALL {
                let verdict = classify(op, &refused(status, body));
                assert_eq!((verdict.retry, verdict.effect), (Retry::Never, Effect::None), "{op} {status} {body}");
            }
        }
    }
}

#[test]
fn only_the_real_refusal_in_disguise_is_one() {
    for body in [
        r#"{"error":[{"code":"INVALID_REQUEST.GMP_ORDER_API","info":"sku is missing"}]}"#,
        r#"{"error":[{"code":"INVALID_REQUEST_CONTENT.GMP_ORDER_API","info":"Request invalid."}]}"#,
    ] {
        assert_eq!(classify(Operation::Create, &refused(400, body)).kind, ErrorKind::Rejected, "{body}");
    }
}
