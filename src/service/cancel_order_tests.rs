//! Batches, and what is told of them.

use super::super::testing::{ACME, LATENCY, SETTLE, Walmart, call, error, kind, lost, refused, sample};
use super::*;
use crate::domain::operation::Operation::Cancel;
use crate::ports::upstream::ErrorKind;

const LONG: Duration = Duration::from_secs(60);

/// A cancellation of this many lines, `0`, `1`, ...
fn request(lines: usize) -> CancelOrderRequest {
    let mut request: CancelOrderRequest = sample("CancelOrderRequest", include_str!("../../examples/cancel.json"));
    let items = &mut request.payload.as_mut().unwrap().order_items;
    let line = items[0].clone();
    *items = (0..lines).map(|i| CancelItem { seller_line_id: Some(i.to_string()), ..line.clone() }).collect();
    request
}

fn service(walmart: &Walmart) -> CancelOrder<Walmart> {
    CancelOrder::new(walmart.clone(), SETTLE, Random::from_seed(1))
}

fn rejected() -> super::super::testing::Answer {
    refused(Cancel, ErrorKind::Rejected, "INVALID_MCS_REQUEST", "")
}

fn outcome(result: &Result<Cancelled, NotCancelled>) -> String {
    match result {
        Ok(done) => done.batches.iter().map(|batch| kind(&batch.result)).collect::<Vec<_>>().join(" "),
        Err(failed) => kind::<()>(&Err(failed.error.clone())),
    }
}

#[tokio::test(start_paused = true)]
async fn lines_go_in_order_in_batches_of_a_hundred() {
    for (lines, sizes) in [(1, vec![1]), (100, vec![100]), (101, vec![100, 1]), (250, vec![100, 100, 50])] {
        let walmart = Walmart::default();
        let done = service(&walmart).call(ACME, request(lines), &call(LONG)).await.unwrap();
        assert_eq!(Vec::from_iter(done.batches.iter().map(|batch| batch.line_ids.len())), sizes);
        let ids: Vec<_> = done.batches.iter().flat_map(|batch| batch.line_ids.clone()).collect();
        assert_eq!(ids, Vec::from_iter((0..lines).map(|i| i.to_string())));
        let sent = walmart.sent();
        assert_eq!(sent.len(), sizes.len());
        for ((sent, batch), size) in sent.iter().zip(&done.batches).zip(sizes) {
            assert_eq!(sent.matches("CancelItem {").count(), size);
            assert!(sent.contains(&format!("seller_line_id: Some({:?})", batch.line_ids[0])));
            // What is no line goes with every batch.
            assert!(sent.contains("SO123") && sent.contains("ACCOUNT_ID") && sent.contains("mart_id: Some(\"202\")"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_batch_does_not_stop_the_rest() {
    let walmart = Walmart::default().answering(Cancel, [rejected(), lost(Cancel)]);
    let result = service(&walmart).call(ACME, request(300), &call(LONG)).await;
    assert_eq!(outcome(&result), "Rejected Pending OK");
    let done = result.unwrap();
    assert_eq!(done.batches[2].result.as_ref().unwrap().answer.acceptance.request_id, "walmart-3");
    assert_eq!(Vec::from_iter(done.batches.iter().map(BatchOutcome::is_unknown)), [false, true, false]);
}

#[tokio::test(start_paused = true)]
async fn none_accepted_is_pending_if_any_is_unknown_and_else_the_first_error() {
    let not_found = || refused(Cancel, ErrorKind::NotFound, "404.WSAAS.100", "");
    for (answers, expected) in [
        ([rejected(), not_found()], "Rejected"),
        ([not_found(), rejected()], "NotFound"),
        ([rejected(), lost(Cancel)], "Pending"),
        ([lost(Cancel), rejected()], "Pending"),
    ] {
        let walmart = Walmart::default().answering(Cancel, answers);
        let result = service(&walmart).call(ACME, request(101), &call(LONG)).await;
        assert_eq!(outcome(&result), expected);
        assert_eq!(walmart.asked().len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn the_id_is_the_callers_or_one_that_is_made() {
    let walmart = Walmart::default().answering(Cancel, [rejected()]);
    let service = service(&walmart);
    let failed = service.call(ACME, request(1), &call(LONG)).await.unwrap_err();
    let first: uuid::Uuid = failed.request_id.parse().unwrap();
    let done = service.call(ACME, request(1), &call(LONG)).await.unwrap();
    let second: uuid::Uuid = done.request_id.parse().unwrap();
    assert_ne!(first, second);
    let mine = CancelOrderRequest { request_id: "mine".into(), ..request(1) };
    assert_eq!(service.call(ACME, mine, &call(LONG)).await.unwrap().request_id, "mine");
    let invalid = service.call(ACME, Default::default(), &call(LONG)).await.unwrap_err();
    assert!(matches!(invalid.error, ServiceError::Invalid(_)) && !invalid.request_id.is_empty());
    assert_eq!(walmart.asked().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn without_an_id_the_same_call_joins_the_one_under_way() {
    let walmart = Walmart::default();
    let service = service(&walmart);
    let long = call(LONG);
    let (one, two) = tokio::join!(service.call(ACME, request(1), &long), service.call(ACME, request(1), &long));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(one.request_id, two.request_id);
    assert_eq!((one.joined, two.joined), (false, true));
    assert_eq!(walmart.asked().len(), 1);
    // Afterwards it is a new one.
    let three = service.call(ACME, request(1), &long).await.unwrap();
    assert_ne!(one.request_id, three.request_id);
    assert_eq!(walmart.asked().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn other_ids_lines_and_accounts_are_calls_of_their_own() {
    let walmart = Walmart::default();
    let service = service(&walmart);
    let long = call(LONG);
    let with_id = |id: &str| CancelOrderRequest { request_id: id.into(), ..request(1) };
    let _ = tokio::join!(
        service.call(ACME, request(1), &long),
        service.call(ACME, request(2), &long),
        service.call(AccountIndex(1), request(1), &long),
        service.call(ACME, with_id("a"), &long),
        service.call(ACME, with_id("a"), &long),
        service.call(ACME, with_id("b"), &long),
    );
    assert_eq!(walmart.asked().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_batch_whose_answer_was_lost_is_not_sent_again_before_it_settles() {
    let walmart = Walmart::default().answering(Cancel, [lost(Cancel)]);
    let service = service(&walmart);
    for _ in 0..2 {
        assert_eq!(outcome(&service.call(ACME, request(1), &call(LONG)).await), "Pending");
    }
    assert_eq!(walmart.asked().len(), 1);
    tokio::time::advance(SETTLE).await;
    assert_eq!(outcome(&service.call(ACME, request(1), &call(LONG)).await), "OK");
    assert_eq!(walmart.asked().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_leaves_no_batch_out() {
    let walmart = Walmart::default();
    let service = service(&walmart);
    let long = call(LONG);
    assert!(tokio::time::timeout(LATENCY / 2, service.call(ACME, request(300), &long)).await.is_err());
    tokio::time::sleep(LATENCY * 3).await;
    assert_eq!(walmart.done(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_the_wait() {
    let walmart = Walmart::default().deaf();
    let short = call(LATENCY / 2);
    assert_eq!(outcome(&service(&walmart).call(ACME, request(1), &short).await), "Pending");
    assert!(tokio::time::Instant::now() <= short.deadline + SLACK * 2);
    let not_sent = Err(error(Cancel, ErrorKind::DeadlineExceeded, Effect::None));
    let walmart = Walmart::default().answering(Cancel, [not_sent]);
    assert_eq!(outcome(&service(&walmart).call(ACME, request(1), &call(LONG)).await), "DeadlineExceeded");
}
