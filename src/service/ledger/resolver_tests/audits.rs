//! What shows after the fact is raised, once.

use super::*;
use crate::domain::ledger::machine::EntryEvent;
use crate::domain::ledger::{AlertKind, AuditAlert};
use crate::ports::ledger::{PlannedAudit, SaveResult};

/// A creation that was sent again and accepted; it has its audits.
async fn sent_again(mutations: &Work) -> Entry {
    let entry = unknown(mutations, &["SO1"]).await.remove(0);
    tokio::time::sleep(SETTLE + LATENCY * 3).await;
    assert_eq!(now(mutations, &entry).await.attempts, 2);
    entry
}

#[tokio::test(start_paused = true)]
async fn an_order_that_is_there_twice_is_raised_once() {
    let walmart = Walmart::default().answering(Status, (0..7).map(|_| absent()));
    let mutations = mutations(&walmart, 20);
    let _guard = resolving(&mutations);
    let entry = sent_again(&mutations).await;
    for _ in 0..3 {
        let twice = [1, 2].map(|id| json!({"sellerOrderId": "SO1", "purchaseOrderId": id.to_string()}));
        let body = Some(json!({"status": "OK", "payload": twice}));
        walmart.push(Status, Ok(Said { body, ..Default::default() }));
    }
    tokio::time::sleep(DAY + MINUTE).await;
    assert_eq!(walmart.asked().iter().filter(|operation| **operation == Status).count(), 10);
    let alerts = mutations.ledger().alerts(entry.id).await.unwrap();
    assert_eq!(Vec::from_iter(alerts.iter().map(|(kind, _)| *kind)), [AlertKind::Duplicate]);
    assert_eq!(metric(&mutations, "operation_alerts_total{kind=\"duplicate\"}"), 1.0);
    // The audits came when they were planned, give or take the time between rounds.
    let times = walmart.times(Status);
    for (at, planned) in times[7..].iter().zip([MINUTE * 5, MINUTE * 60, DAY]) {
        let wait = *at - Duration::from_millis(121_500);
        assert!(wait >= planned && wait < planned + Duration::from_secs(16), "{wait:?}");
    }
    assert_eq!(mutations.ledger().due_audits(mutations.now().plus(DAY * 9), 9).await, Ok(Vec::new()));
}

/// A creation that was given up after its answer was lost.
async fn given_up(mutations: &Work) -> Entry {
    let entry = unknown(mutations, &["SO1"]).await.remove(0);
    let current = now(mutations, &entry).await;
    let Ok(SaveResult::Done(recorded)) =
        mutations.ledger().save(vec![Entry { state: EntryState::Recorded, ..current }], Vec::new()).await
    else {
        panic!()
    };
    tokio::time::sleep(MINUTE * 16).await;
    let expired = mutations.after(recorded[0].clone(), EntryEvent::TimeUp).unwrap();
    mutations.write(&expired).await.unwrap();
    entry
}

#[tokio::test(start_paused = true)]
async fn an_effect_after_it_was_given_up_is_raised_unless_the_order_is_anothers() {
    for used_again in [false, true] {
        let walmart = Walmart::default().answering(Status, [absent(), found("SO1"), found("SO1")]);
        let mutations = mutations(&walmart, 20);
        let entry = given_up(&mutations).await;
        if used_again {
            let new = put(mutations.ledger(), vec![creation("acme", "SO1", mutations.now())]).await.remove(0);
            let done = mutations.after(new, EntryEvent::Accepted { answer: Vec::new() }).unwrap();
            mutations.write(&done).await.unwrap();
        }
        let _guard = resolving(&mutations);
        tokio::time::sleep(DAY + MINUTE).await;
        let alerts = mutations.ledger().alerts(entry.id).await.unwrap();
        let expected = if used_again { vec![] } else { vec![AlertKind::LateEffect] };
        assert_eq!(Vec::from_iter(alerts.iter().map(|(kind, _)| *kind)), expected);
        let counted = metric(&mutations, "operation_alerts_total{kind=\"late_effect\"}");
        assert_eq!(counted, expected.len() as f64);
    }
}

#[tokio::test(start_paused = true)]
async fn audits_that_cannot_be_made_do_not_stand_before_the_others() {
    let walmart = Walmart::default().answering(Status, [found("SO1")]);
    let mutations = mutations(&walmart, 20);
    let ledger = mutations.ledger().clone();
    let one = creation("gone", "SO1", mutations.now());
    for number in 0..20 {
        let new = crate::domain::ledger::NewEntry { order_number: number.to_string().into(), ..one.clone() };
        let entry = put(&ledger, vec![new]).await.remove(0);
        ledger.save(Vec::new(), vec![PlannedAudit { operation: entry.id, time: mutations.now() }]).await.unwrap();
    }
    let entry = given_up(&mutations).await;
    let _guard = resolving(&mutations);
    tokio::time::sleep(MINUTE * 6).await;
    assert_eq!(ledger.alerts(entry.id).await.unwrap().len(), 1);
    // They are not kept for ever.
    assert_eq!(ledger.due_audits(mutations.now(), 99).await.unwrap().len(), 20);
    tokio::time::sleep(DAY).await;
    assert!(ledger.due_audits(mutations.now(), 99).await.unwrap().len() < 20);
}

/// A finding of an audit is not looked up a second time. While the store fails, the resolver repeats the write of the alert
/// until it commits.
#[tokio::test(start_paused = true)]
async fn what_was_found_while_the_store_failed_is_raised_when_it_works() {
    let (walmart, ledger) = (Walmart::default(), Faulty::default());
    let mutations = over(&walmart, ledger.clone(), 20);
    let resolver = Resolver::new(mutations.clone(), DAY * 90, TaskTracker::new());
    let entry = put(&ledger, vec![creation("acme", "SO1", mutations.now())]).await.remove(0);
    let time = mutations.now();
    let alert = AuditAlert { operation: entry.id, kind: AlertKind::Duplicate, time };
    ledger.fail(true, false);
    let raised =
        tokio::spawn(async move { resolver.raise(PlannedAudit { operation: entry.id, time }, Some(alert)).await });
    tokio::time::sleep(LATENCY).await;
    ledger.fail(false, false);
    raised.await.unwrap();
    assert_eq!(ledger.alerts(entry.id).await.unwrap(), [(AlertKind::Duplicate, time)]);
    assert_eq!(metric(&mutations, "operation_alerts_total{kind=\"duplicate\"}"), 1.0);
}

#[tokio::test(start_paused = true)]
async fn an_audit_waits_while_look_ups_of_its_account_do() {
    // A search that cannot be read leaves all to look-ups by number, each of which takes a second.
    let unreadable = Ok(Said { body: Some(json!({"status": "OK"})), ..Default::default() });
    let walmart = Walmart::default().answering(Status, [unreadable]);
    let mutations = mutations(&walmart, 20);
    let done = put(mutations.ledger(), vec![creation("acme", "SO1", mutations.now())]).await.remove(0);
    let refused = EntryEvent::Refused { answer: Vec::new(), error: String::new(), says_present: false };
    mutations.write(&mutations.after(done, refused).unwrap()).await.unwrap();
    // The audit is due 20 s after the look-ups have begun.
    tokio::time::sleep(MINUTE * 60 - Duration::from_secs(20)).await;
    let numbers: Vec<_> = (2..102).map(|number| format!("SO{number}")).collect();
    unknown(&mutations, &numbers.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let _guard = resolving(&mutations);
    let audits = || walmart.sent().iter().filter(|request| request.contains("\"SO1\"")).count();
    tokio::time::sleep(Duration::from_secs(90)).await;
    assert_eq!(audits(), 0, "look-ups are under way");
    tokio::time::sleep(MINUTE * 10).await;
    assert_eq!(audits(), 1);
}
