//! Each thing that must not be is seen. The run that is changed here is one in which all is well.

use std::sync::Arc;
use std::time::Duration;

use order_gateway::pb;

use super::super::plan::Webhook;
use super::*;

struct Run {
    posted: Vec<Posted>,
    kept: Vec<pb::Event>,
    listed: Vec<pb::Event>,
    quarantined: Vec<QuarantinedWebhook>,
}

fn body(id: &str, kind: &str, note: &str) -> Vec<u8> {
    format!(
        r#"{{"source":{{"eventType":"{kind}","eventId":"{id}"}},"payload":{{"purchaseOrderId":"1","customerOrderId":"{note}"}}}}"#
    )
    .into_bytes()
}

fn posted(bodies: Vec<Vec<u8>>, posts: &[(usize, Micros, Micros, bool)]) -> Posted {
    let webhook = Webhook { account: "north", is_authentic: true, bodies, begins: Duration::ZERO, posters: Vec::new() };
    let post = |(body, begun, ended, duplicate): &(usize, Micros, Micros, bool)| Post {
        body: *body,
        begun: *begun,
        ended: *ended,
        status: Some(200),
        duplicate: Some(*duplicate),
    };
    Posted { webhook: Arc::new(webhook), posts: posts.iter().map(post).collect() }
}

fn event(seq: u64, raw: &[u8]) -> pb::Event {
    let facts = Facts::read(raw).unwrap();
    pb::Event {
        seq,
        event_id: facts.event_id,
        event_type: facts.event_type,
        ordering_key: facts.key.clone(),
        intent: Some(pb::CancelIntent { purchase_order_id: facts.key, ..Default::default() }),
        body_sha256: sha256(raw),
        raw_body: raw.to_vec(),
        account: "north".into(),
        ..Default::default()
    }
}

/// Two intents, the second under two bodies; another event; one that cannot be read; one that nobody signed.
fn all_is_well() -> Run {
    let (a, b, c) =
        (body("a", "INTENT_TO_CANCEL", "1"), body("b", "INTENT_TO_CANCEL", "1"), body("c", "PO_CREATED", "1"));
    let b2 = body("b", "INTENT_TO_CANCEL", "2");
    let mut forged = posted(vec![body("f", "INTENT_TO_CANCEL", "1")], &[(0, 10, 20, false)]);
    Arc::get_mut(&mut forged.webhook).unwrap().is_authentic = false;
    forged.posts[0].status = Some(401);
    let aside = |body: &[u8]| QuarantinedWebhook {
        account: "north".into(),
        body_sha256: sha256(body),
        raw_body: body.to_vec(),
        ..Default::default()
    };
    let quarantined = vec![aside(b"?"), aside(&b2)];
    let events = vec![event(1, &a), event(2, &b)];
    Run {
        posted: vec![
            posted(vec![a], &[(0, 10, 20, false), (0, 15, 30, true)]),
            posted(vec![b, b2], &[(0, 25, 40, false), (1, 50, 60, true)]),
            posted(vec![c], &[(0, 10, 20, false)]),
            posted(vec![b"?".to_vec()], &[(0, 10, 20, false), (0, 30, 40, true)]),
            forged,
        ],
        kept: events.clone(),
        listed: events,
        quarantined,
    }
}

fn found(change: impl FnOnce(&mut Run)) -> Vec<String> {
    let mut run = all_is_well();
    change(&mut run);
    let (log, mut found) = Log::new(run.kept, run.listed);
    found.extend(violations(&run.posted, &log, &run.quarantined));
    found
}

#[track_caller]
fn sees(expected: &str, change: impl FnOnce(&mut Run)) {
    let found = found(change);
    assert!(found.iter().any(|line| line.contains(expected)), "{expected} is not in {found:#?}");
}

#[test]
fn a_good_run_is_good() {
    assert_eq!(found(|_| ()), Vec::<String>::new());
    // Nobody was told that it is stored, so it may be missing.
    assert_eq!(
        found(|run| {
            run.posted[1].posts.iter_mut().for_each(|post| post.status = None);
            run.kept.truncate(1);
            run.listed.truncate(1);
        }),
        Vec::<String>::new()
    );
}

#[test]
fn i7_what_was_acknowledged_and_is_not_there() {
    sees("b: I7: was acknowledged, and is not in the log", |run| {
        run.kept.truncate(1);
        run.listed.truncate(1);
    });
    sees("I7: was acknowledged, and is not in quarantine", |run| drop(run.quarantined.remove(0)));
    sees("b: I7: a conflict was acknowledged, and is not in quarantine", |run| run.quarantined.truncate(1));
}

#[test]
fn i7_what_is_there_twice() {
    sees("a: I7: is in the log 2 times", |run| {
        let again = pb::Event { seq: 3, ..run.kept[0].clone() };
        run.kept.push(again.clone());
        run.listed.push(again);
    });
    sees("I7: is in quarantine 2 times", |run| run.quarantined.push(run.quarantined[0].clone()));
    sees("b: I7: a conflict is in quarantine 2 times", |run| run.quarantined.push(run.quarantined[1].clone()));
    sees("b: I7: is in quarantine, and in its feed", |run| {
        let raw_body = run.posted[1].webhook.bodies[0].clone();
        run.quarantined[1] =
            QuarantinedWebhook { body_sha256: sha256(&raw_body), raw_body, ..run.quarantined[1].clone() };
    });
    sees("a: I7: was stored 2 times as new", |run| run.posted[0].posts[1].duplicate = Some(false));
    sees("a: I7: was stored as new after it had been acknowledged", |run| {
        run.posted[0].posts[0].duplicate = Some(true);
        run.posted[0].posts[1] = Post { begun: 21, duplicate: Some(false), ..run.posted[0].posts[1] };
    });
}

#[test]
fn i7_what_has_no_place_there() {
    let adds = |seq: u64, id: &'static str, kind: &'static str| {
        move |run: &mut Run| {
            run.listed.push(event(seq, &body(id, kind, "1")));
        }
    };
    sees("f: I7: is in the log without authentication", adds(3, "f", "INTENT_TO_CANCEL"));
    sees("c: I7: is in the log, and is of the other feed", adds(3, "c", "PO_CREATED"));
    sees("x: I7: is in the log, and was not sent", adds(3, "x", "INTENT_TO_CANCEL"));
    sees("I7: is in quarantine, and was not sent", |run| run.quarantined[0].body_sha256 = sha256(b"!"));
    sees("f: I7: was answered 200", |run| run.posted[4].posts[0].status = Some(200));
    sees("a: I7: was answered 400", |run| run.posted[0].posts[0].status = Some(400));
}

#[test]
fn i7_another_body() {
    sees("b: I7: its body is none that was sent", |run| {
        run.kept[1] = event(2, &body("b", "INTENT_TO_CANCEL", "3"));
        run.listed[1] = run.kept[1].clone();
    });
    sees("b: I7: another body of the same id was acknowledged before, and is gone", |run| {
        run.kept[1] = event(2, &run.posted[1].webhook.bodies[1]);
        run.listed[1] = run.kept[1].clone();
    });
    sees("I7: has another body in quarantine", |run| run.quarantined[0].raw_body = b"!".to_vec());
}

#[test]
fn i8_positions() {
    sees("log: I8: position 2 was b, and is a", |run| run.listed[1] = pb::Event { seq: 2, ..run.listed[0].clone() });
    sees("log: I8: position 2 was sent, and the log ends with 1", |run| run.listed.truncate(1));
    sees("log: I8: 1 positions are missing, the first is 1", |run| {
        run.kept.remove(0);
        run.listed.remove(0);
    });
    sees("log: I8: the list of all events is out of order, or has gaps", |run| run.listed.swap(0, 1));
    sees("log/1: I8: was posted after event 2 was acknowledged", |run| {
        run.posted[1].posts[0].ended = 26;
        run.posted[0].posts.iter_mut().for_each(|post| (post.begun, post.ended) = (27, 30));
    });
    sees("log/1: I8: ordering_key is not what the body says", |run| {
        run.kept[0].ordering_key = "2".into();
        run.listed[0].ordering_key = "2".into();
    });
}

/// What is found of the log of order updates when it has these events.
fn found_of_updates(events: Vec<pb::Event>) -> Vec<String> {
    let (log, mut found) = Log::new(events, Vec::new());
    found.extend(violations_of_updates(&all_is_well().posted, &log));
    found
}

#[test]
fn an_update_is_in_the_log_of_updates_once_and_nothing_else_is() {
    let update = |seq, id: &str, kind: &str| pb::Event { intent: None, ..event(seq, &body(id, kind, "1")) };
    let c = || update(1, "c", "PO_CREATED");
    assert_eq!(found_of_updates(vec![c()]), Vec::<String>::new());
    for (expected, events) in [
        ("c: order updates: I7: was acknowledged, and is not in the log", vec![]),
        ("c: order updates: I7: is in the log 2 times", vec![c(), update(2, "c", "PO_CREATED")]),
        (
            "a: order updates: I7: is in the log, and is of the other feed",
            vec![c(), update(2, "a", "INTENT_TO_CANCEL")],
        ),
        ("north/x: I7: is an update, and was not sent", vec![c(), update(2, "x", "PO_CREATED")]),
        ("updates/1: I8: ordering_key is not what the body says", vec![pb::Event { ordering_key: "2".into(), ..c() }]),
    ] {
        let found = found_of_updates(events);
        assert!(found.iter().any(|line| line.contains(expected)), "{expected} is not in {found:#?}");
    }
}
