//! The table of what a failure means: all of it as text, and every row of the design with its reason.

use std::fmt::Write as _;
use std::time::Duration;

use crate::domain::effect::Effect;
use crate::domain::operation::Operation;
use crate::ports::upstream::ErrorKind;
use crate::upstream::classify::{RetryAdvice, Verdict, classify, says_order_exists};
use crate::upstream::failure::{AttemptFailure, LostAnswer, NotSent};
use crate::upstream::headers::RateLimitHeaders;
use crate::wire::error;

const WAIT: Duration = Duration::from_secs(7);

fn refused(status: u16, body: &str) -> AttemptFailure {
    AttemptFailure::Refused { status, body: error::read(body.as_bytes()), hint: RateLimitHeaders::default() }
}

fn told_to_wait(status: u16) -> AttemptFailure {
    let hint = RateLimitHeaders { retry_after: Some(WAIT), ..RateLimitHeaders::default() };
    AttemptFailure::Refused { status, body: Default::default(), hint }
}

fn code(code: &str) -> String {
    format!(r#"{{"status":"FAIL","errors":[{{"code":"{code}"}}]}}"#)
}

fn two(first: &str, second: &str) -> String {
    format!(r#"{{"status":"FAIL","errors":[{{"code":"{first}"}},{{"code":"{second}"}}]}}"#)
}

fn text(text: &str) -> String {
    format!(r#"{{"errors":{{"error":[{{"code":"INVALID_REQUEST_CONTENT.GMP_ORDER_API","description":"{text}"}}]}}}}"#)
}

const DISGUISED: &str = r#"{"errors":{"error":[{"code":"INVALID_REQUEST.GMP_ORDER_API","field":"data","description":"Invalid Request","info":"Request invalid.","causes":[]}]}}"#;

/// Everything that may happen, with its name.
fn failures() -> Vec<(String, AttemptFailure)> {
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
        all.push((format!("not sent: {reason:?}"), AttemptFailure::NotSent(reason)));
    }
    for lost in [LostAnswer::TimedOut, LostAnswer::Deadline, LostAnswer::Interrupted] {
        all.push((format!("lost: {lost:?}"), AttemptFailure::Lost(lost)));
    }
    all.push((
        "200 unreadable".into(),
        AttemptFailure::Unreadable { status: 200, hint: RateLimitHeaders::default(), cut: false },
    ));
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
        ("CONTENT_NOT_FOUND of a gateway", 404, code("CONTENT_NOT_FOUND.GMP_GATEWAY_API")),
        ("404.PROXY.1", 404, code("404.PROXY.1")),
        ("404.WSAAS.100 and another", 404, two("404.WSAAS.100", "INVALID_REQUEST_PARAM")),
        ("404.WSAAS.100 and another", 400, two("404.WSAAS.100", "INVALID_REQUEST_PARAM")),
        ("threshold", 200, code("REQUEST_THRESHOLD_VIOLATED.GMP_GATEWAY_API")),
        ("threshold", 400, code("REQUEST_THRESHOLD_VIOLATED")),
        ("threshold", 503, code("REQUEST_THRESHOLD_VIOLATED.GMP_GATEWAY_API")),
        ("500 in the code", 400, code("500.OS_SERVICE.200")),
        ("JSON", 408, code("INVALID_MCS_REQUEST")),
        ("JSON", 409, code("INVALID_MCS_REQUEST")),
        ("JSON", 415, code("INVALID_MCS_REQUEST")),
        ("JSON", 422, code("INVALID_MCS_REQUEST")),
        ("JSON", 451, code("INVALID_MCS_REQUEST")),
        ("JSON", 499, code("INVALID_MCS_REQUEST")),
        ("cut", 400, "{\"status\": \"FAIL\", \"errors\": [{\"code\": \"INV".to_owned()),
        ("cut", 422, "{\"errors\":".to_owned()),
        ("problem", 400, r#"{"type":"about:blank","title":"Bad Request","status":400}"#.to_owned()),
        ("duplicate sku", 400, text("Duplicate SKU in order items")),
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
    Operation::ALL.into_iter().filter(move |operation| operation.is_sent_once() == mutations)
}

#[test]
fn what_was_not_sent_had_no_effect_and_may_be_tried_again_where_that_helps() {
    let soon = |failure| Operation::ALL.map(|op| classify(op, &AttemptFailure::NotSent(failure)));
    assert!(soon(NotSent::Connect).iter().all(|v| v.retry == RetryAdvice::Soon && v.effect == Effect::None));
    // Before the pause is over there is no token to be had.
    for reason in [NotSent::TokenUnavailable(WAIT), NotSent::TokenLimited(WAIT)] {
        assert!(soon(reason).iter().all(|v| v.retry == RetryAdvice::After(WAIT) && v.effect == Effect::None));
    }
    // These have waited as long as they could, or would meet the same again.
    for reason in [
        NotSent::CredentialsRefused(WAIT),
        NotSent::RateLimited(WAIT),
        NotSent::CircuitOpen(WAIT),
        NotSent::Overloaded,
        NotSent::Deadline,
    ] {
        assert!(soon(reason).iter().all(|v| v.retry == RetryAdvice::Never && v.effect == Effect::None), "{reason:?}");
    }
}

#[test]
fn throttled_and_locked_were_not_executed_and_wait_for_the_hint() {
    for op in Operation::ALL {
        for status in [429, 423] {
            let verdict = classify(op, &told_to_wait(status));
            assert_eq!((verdict.retry, verdict.effect), (RetryAdvice::After(WAIT), Effect::None), "{op} {status}");
        }
        assert_eq!(classify(op, &refused(429, "")).retry, RetryAdvice::After(Duration::from_secs(60)), "told nothing");
        assert_eq!(classify(op, &refused(423, "")).retry, RetryAdvice::Later);
    }
}

#[test]
fn a_token_turned_away_was_not_executed_and_was_replayed_already() {
    for op in Operation::ALL {
        for failure in [refused(401, ""), refused(400, r#"{"error":[{"code":"INVALID_TOKEN.GMP_GATEWAY_API"}]}"#)] {
            assert!(failure.token_refused());
            let verdict = classify(op, &failure);
            assert_eq!((verdict.retry, verdict.kind), (RetryAdvice::Never, ErrorKind::CredentialsRefused));
            assert_eq!(verdict.effect, Effect::None);
        }
        assert!(!refused(403, "").token_refused(), "another token has the same rights");
        assert_eq!(classify(op, &refused(403, "")).kind, ErrorKind::CredentialsRefused);
    }
}

#[test]
fn an_ambiguous_outcome_is_resolved_for_a_mutation_and_asked_again_for_a_read() {
    let in_description =
        DISGUISED.replace("Invalid Request", "Request invalid.").replace(r#""info":"Request invalid.","#, "");
    let mut ambiguous = vec![
        refused(400, DISGUISED),
        refused(422, DISGUISED),
        refused(202, DISGUISED),
        refused(400, &in_description),
        refused(499, &code("INVALID_MCS_REQUEST")),
        refused(408, ""),
        AttemptFailure::Lost(LostAnswer::TimedOut),
        AttemptFailure::Lost(LostAnswer::Interrupted),
        AttemptFailure::Unreadable { status: 202, hint: RateLimitHeaders::default(), cut: true },
    ];
    ambiguous.extend((500..600).map(|status| refused(status, &code("404.WSAAS.100"))));
    for failure in ambiguous {
        for op in each(true) {
            let verdict = classify(op, &failure);
            assert_eq!((verdict.retry, verdict.effect), (RetryAdvice::Never, Effect::Unknown), "{op} {failure:?}");
        }
        for op in each(false) {
            let verdict = classify(op, &failure);
            assert_eq!((verdict.retry, verdict.effect), (RetryAdvice::Soon, Effect::None), "{op} {failure:?}");
        }
    }
    // At the deadline there is no time to ask again, and a read says so.
    assert!(each(true).all(|op| classify(op, &AttemptFailure::Lost(LostAnswer::Deadline)).effect == Effect::Unknown));
    assert!(
        each(false)
            .all(|op| classify(op, &AttemptFailure::Lost(LostAnswer::Deadline)).kind == ErrorKind::DeadlineExceeded)
    );
}

#[test]
fn a_duplicate_is_told_of_a_create_alone_and_by_the_words_of_the_order() {
    let fail = code("INVALID_MCS_REQUEST");
    for failure in
        [refused(409, &fail), refused(400, &text("Duplicate order")), refused(422, &text("ORDER ALREADY EXISTS"))]
    {
        assert_eq!(classify(Operation::Create, &failure).kind, ErrorKind::Duplicate, "{failure:?}");
        assert!(says_order_exists(Operation::Create, &failure));
        assert_ne!(classify(Operation::Cancel, &failure).kind, ErrorKind::Duplicate, "{failure:?}");
        assert!(!says_order_exists(Operation::Cancel, &failure));
    }
    let sku = refused(400, &text("Duplicate SKU in order items"));
    assert_eq!(classify(Operation::Create, &sku).kind, ErrorKind::Rejected);
    assert!(!says_order_exists(Operation::Create, &sku));
    // The hint stands wherever it is said, also where the refusal cannot be read or has other reasons.
    let beside = r#"{"errors":[{"code":"INVALID_ZIP"},{"code":"X","description":"the order number is not unique"}]}"#;
    assert!(says_order_exists(Operation::Create, &refused(400, beside)));
    assert!(says_order_exists(Operation::Create, &refused(409, "<html>")));
    assert!(says_order_exists(Operation::Create, &refused(500, beside)));
    assert!(!says_order_exists(Operation::Create, &refused(400, "")));
}

#[test]
fn a_refusal_of_a_mutation_is_final_only_if_it_can_be_read() {
    let gzip = String::from_utf8_lossy(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]).into_owned();
    let cut = r#"{"status": "FAIL", "errors": [{"code": "INV"#;
    let unreadable = ["", "<html><h1>Bad Request</h1></html>", "bad request", cut, &gzip, r#"{"message":"no"}"#, "{}"];
    let before_any_work = [401, 403, 404, 405, 413, 415, 423, 429, 431];
    for status in 400..500 {
        for body in unreadable {
            for op in each(true) {
                let verdict = classify(op, &refused(status, body));
                let want = if before_any_work.contains(&status) { Effect::None } else { Effect::Unknown };
                assert_eq!(verdict.effect, want, "{op} {status} {body}");
                let waits = matches!(status, 423 | 429);
                assert_eq!(verdict.retry == RetryAdvice::Never, !waits, "{op} {status} {body}");
            }
        }
    }
    let waits_or_open = [401, 403, 404, 405, 408, 423, 429, 499];
    for status in (200..500).filter(|status| !waits_or_open.contains(status)) {
        for body in [code("INVALID_MCS_REQUEST"), code("500.509"), r#"{"status":"FAIL"}"#.to_owned()] {
            for op in Operation::ALL {
                let verdict = classify(op, &refused(status, &body));
                assert_eq!((verdict.retry, verdict.effect), (RetryAdvice::Never, Effect::None), "{op} {status} {body}");
                let refusal = [ErrorKind::Rejected, ErrorKind::WrongState, ErrorKind::Duplicate];
                assert!(refusal.contains(&verdict.kind), "{op} {status} {body}: {:?}", verdict.kind);
            }
        }
    }
}

#[test]
fn an_edge_that_serves_no_such_path_says_nothing_of_orders() {
    for op in Operation::ALL {
        for status in [404, 405] {
            let others = [
                String::new(),
                "<html>".into(),
                code("CONTENT_NOT_FOUND.GMP_GATEWAY_API"),
                code("404.PROXY.1"),
                code("CONTENT_NOT_FOUND"),
                code("URI_NOT_FOUND"),
                two("404.WSAAS.100", "404.PROXY.1"),
                two("OS_NOT_FOUND_ERROR", "OS_NOT_FOUND_ERROR"),
            ];
            for body in others {
                let verdict = classify(op, &refused(status, &body));
                let want = Verdict {
                    retry: RetryAdvice::Never,
                    kind: ErrorKind::Unavailable,
                    effect: Effect::None,
                    retry_after: None,
                };
                assert_eq!(verdict, want, "{op} {status} {body}");
            }
        }
        for own in [
            "404.WSAAS.100",
            "OS_NOT_FOUND_ERROR",
            "CONTENT_NOT_FOUND.GMP_ORDER_API",
            "CONTENT_NOT_FOUND.MCS_FULFILLMENT",
        ] {
            for status in [200, 400, 404] {
                let verdict = classify(op, &refused(status, &code(own)));
                assert_eq!(
                    (verdict.retry, verdict.kind),
                    (RetryAdvice::Never, ErrorKind::NotFound),
                    "{op} {status} {own}"
                );
            }
        }
    }
    // As one of several errors it is no evidence of absence.
    let several = refused(400, &two("404.WSAAS.100", "INVALID_REQUEST_PARAM"));
    assert!(each(false).all(|op| classify(op, &several).kind == ErrorKind::Unavailable));
    assert!(each(true).all(|op| classify(op, &several).kind == ErrorKind::Rejected));
}

#[test]
fn a_violated_threshold_is_a_rate_limit_whatever_the_status() {
    for status in [200, 206, 400, 401, 403, 404, 422, 429, 500, 503] {
        let failure = refused(status, &code("REQUEST_THRESHOLD_VIOLATED.GMP_GATEWAY_API"));
        assert!(failure.is_throttled());
        for op in Operation::ALL {
            let verdict = classify(op, &failure);
            assert_eq!((verdict.kind, verdict.effect), (ErrorKind::RateLimited, Effect::None), "{op} {status}");
            assert_eq!(verdict.retry, RetryAdvice::After(Duration::from_secs(60)), "{op} {status}");
        }
    }
}

#[test]
fn a_wait_is_obeyed_on_503_as_on_429_and_is_never_nothing() {
    let hints = [
        (RateLimitHeaders { retry_after: Some(WAIT), ..RateLimitHeaders::default() }, WAIT),
        (RateLimitHeaders { replenished_in: Some(WAIT), ..RateLimitHeaders::default() }, WAIT),
        (RateLimitHeaders { replenished_in: Some(WAIT), tokens_left: Some(0), ..RateLimitHeaders::default() }, WAIT),
        (
            RateLimitHeaders { replenished_in: Some(Duration::ZERO), ..RateLimitHeaders::default() },
            Duration::from_secs(1),
        ),
    ];
    for (hint, wait) in hints {
        for status in [429, 503] {
            let failure = AttemptFailure::Refused { status, body: Default::default(), hint };
            for op in each(false) {
                let verdict = classify(op, &failure);
                assert_eq!(
                    (verdict.retry, verdict.retry_after),
                    (RetryAdvice::After(wait), Some(wait)),
                    "{op} {status}"
                );
            }
            assert!(each(true).all(|op| classify(op, &failure).retry_after == Some(wait)));
        }
    }
    let hint = RateLimitHeaders { replenished_in: Some(WAIT), tokens_left: Some(3), ..RateLimitHeaders::default() };
    let served = AttemptFailure::Refused { status: 503, body: Default::default(), hint };
    assert!(each(false).all(|op| classify(op, &served).retry == RetryAdvice::Soon), "tokens are left");
    let told = AttemptFailure::Refused {
        status: 503,
        body: Default::default(),
        hint: RateLimitHeaders { retry_after: Some(WAIT), ..hint },
    };
    assert!(
        each(true)
            .all(|op| classify(op, &told).effect == Effect::Unknown && classify(op, &told).retry == RetryAdvice::Never)
    );
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
