use super::*;
use crate::domain::feed::notification::{DeliveryContent, WebhookDelivery};
use crate::pb::get_cancel_intent_request::Key;
use crate::service::AccountError;
use crate::testing::feed::*;
use bytes::Bytes;
use prost::Message as _;

fn error<T>(result: Result<T, ServiceError>) -> FeedError {
    match result.err() {
        Some(ServiceError::Feed(error)) => error,
        other => panic!("{other:?}"),
    }
}

fn is_not_allowed<T>(result: Result<T, ServiceError>) -> bool {
    matches!(result.err(), Some(ServiceError::Account(AccountError::NotAllowed)))
}

/// All pages; the number of pages too.
async fn listed(feed: &TestFeed, mut request: pb::ListCancelIntentsRequest, call: &CallContext) -> (Vec<u64>, usize) {
    let (mut seqs, mut pages) = (Vec::new(), 0);
    loop {
        let page = feed.feed.list(&request, call).await.unwrap();
        let size: usize = page.events.iter().map(pb::Event::encoded_len).sum();
        assert!(size < 4 * 1024 * 1024, "{size}");
        assert!(request.page_size == 0 || page.events.len() <= request.page_size as usize);
        seqs.extend(page.events.iter().map(|event| event.seq));
        pages += 1;
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return (seqs, pages);
        }
    }
}

fn asked() -> pb::ListCancelIntentsRequest {
    pb::ListCancelIntentsRequest::default()
}

#[tokio::test(start_paused = true)]
async fn pages_have_every_event_once() {
    let feed = feed();
    assert_eq!(listed(&feed, asked(), &anyone()).await, (vec![], 1));
    feed.post_many(250).await;
    let all: Vec<_> = (1..=250).collect();
    assert_eq!(listed(&feed, asked(), &anyone()).await, (all.clone(), 3));
    for (page_size, pages) in [(1, 250), (249, 2), (250, 1), (1000, 1)] {
        let request = pb::ListCancelIntentsRequest { page_size, ..asked() };
        assert_eq!(listed(&feed, request, &anyone()).await, (all.clone(), pages), "{page_size}");
    }
    let from = pb::ListCancelIntentsRequest { start: after(240), ..asked() };
    assert_eq!(listed(&feed, from, &anyone()).await, ((241..=250).collect(), 1));
    let from = pb::ListCancelIntentsRequest { start: latest(), ..asked() };
    assert_eq!(listed(&feed, from, &anyone()).await, (vec![], 1));
    let page = feed.feed.list(&pb::ListCancelIntentsRequest { include_raw: true, ..asked() }, &anyone()).await.unwrap();
    let event = &page.events[6];
    assert_eq!((event.seq, event.cursor.as_str(), event.event_id.as_str()), (7, "c0ffee00.7", "e-7"));
    assert_eq!(event.raw_body, b"{\"purchaseOrderId\":\"PO-7\"}");
    feed.trim_to(100).await;
    assert_eq!(listed(&feed, asked(), &anyone()).await.0, (100..=250).collect::<Vec<_>>());
    // A page token is a place, which may be gone.
    let gone = pb::ListCancelIntentsRequest { page_token: "c0ffee00.50".into(), ..asked() };
    let lost = error(feed.feed.list(&gone, &anyone()).await);
    assert_eq!(lost, FeedError::EventsExpired { first: 100, lost_from: 51 });
}

#[tokio::test(start_paused = true)]
async fn a_filter_that_matches_little_makes_short_pages_that_end() {
    let feed = feed();
    for number in 0..25_000 {
        feed.post(if number == 24_000 { "other" } else { "acme" }, "PO").await;
    }
    let filter = pb::Filter { accounts: vec!["other".into()], ..Default::default() };
    let request = pb::ListCancelIntentsRequest { filter: Some(filter), ..asked() };
    let (seqs, pages) = listed(&feed, request, &anyone()).await;
    assert_eq!(seqs, [24_001]);
    assert!((2..=4).contains(&pages), "{pages}");
    assert_eq!(listed(&feed, asked(), &limited(&[1])).await.0, [24_001]);
}

#[tokio::test(start_paused = true)]
async fn a_page_of_large_events_is_short() {
    let feed = feed();
    for _ in 0..40 {
        feed.post_large("acme", "PO", 120_000).await;
    }
    let request = pb::ListCancelIntentsRequest { include_raw: true, ..asked() };
    let (seqs, pages) = listed(&feed, request, &anyone()).await;
    assert_eq!((seqs, pages), ((1..=40).collect(), 5));
}

#[tokio::test(start_paused = true)]
async fn bad_requests_are_refused() {
    let feed = feed();
    feed.post_many(5).await;
    let refused = async |request| feed.feed.list(&request, &anyone()).await;
    let bad = pb::ListCancelIntentsRequest { page_size: 1001, ..asked() };
    assert_eq!(faults(refused(bad).await), ("Invalid".into(), vec!["page_size".into()]));
    let bad = pb::ListCancelIntentsRequest { page_token: "5".into(), ..asked() };
    assert_eq!(faults(refused(bad).await), ("Cursor".into(), vec!["page_token".into()]));
    let bad = pb::ListCancelIntentsRequest { page_token: "c0ffee00.6".into(), ..asked() };
    assert_eq!(error(refused(bad).await), FeedError::CursorInFuture { head: 5 });
    let bad = pb::ListCancelIntentsRequest { page_token: "0badcafe.6".into(), ..asked() };
    assert!(matches!(error(refused(bad).await), FeedError::LogChanged { .. }));
    feed.store.fail(true, false);
    assert!(matches!(refused(asked()).await, Err(ServiceError::Store)));
}

#[tokio::test(start_paused = true)]
async fn one_event_by_each_of_its_names() {
    let feed = feed();
    for account in ["acme", "other", "acme"] {
        feed.post(account, "PO").await;
    }
    let get = async |key: Option<Key>, account: &str, call: &CallContext| {
        let request = pb::GetCancelIntentRequest { key, account: account.into(), include_raw: false };
        feed.feed.get(&request, call).await
    };
    let found =
        async |key: Key, account: &str, call: &CallContext| get(Some(key), account, call).await.map(|found| found.seq);
    let cursor = |seq: u64| Key::Cursor(LOG.cursor(seq).to_string());
    let id = |id: &str| Key::EventId(id.into());
    assert_eq!(found(Key::Seq(2), "", &anyone()).await.unwrap(), 2);
    assert_eq!(found(cursor(3), "", &anyone()).await.unwrap(), 3);
    assert_eq!(found(id("e-2"), "other", &anyone()).await.unwrap(), 2);
    for (key, account) in [
        (Key::Seq(0), ""),
        (Key::Seq(4), ""),
        (Key::Seq(u64::MAX), ""),
        (cursor(0), ""),
        (id("e-2"), "acme"),
        (id(""), "acme"),
        (Key::Seq(2), "acme"),
    ] {
        assert_eq!(error(found(key.clone(), account, &anyone()).await), FeedError::EventNotFound, "{key:?}");
    }
    assert_eq!(faults(get(None, "", &anyone()).await), ("Invalid".into(), vec!["key".into()]));
    let which = found(id("e-2"), "", &anyone()).await;
    assert_eq!(faults(which), ("Invalid".into(), vec!["account".into()]));
    assert_eq!(faults(found(Key::Cursor("x".into()), "", &anyone()).await), ("Cursor".into(), vec!["cursor".into()]));
    assert_eq!(error(found(cursor(4), "", &anyone()).await), FeedError::CursorInFuture { head: 3 });
    // What a caller may not see is not there.
    let acme = limited(&[0]);
    assert_eq!(found(Key::Seq(1), "", &acme).await.unwrap(), 1);
    assert_eq!(found(id("e-3"), "", &acme).await.unwrap(), 3);
    for key in [Key::Seq(2), cursor(2), id("e-2")] {
        assert_eq!(error(found(key, "", &acme).await), FeedError::EventNotFound);
    }
    for key in [Key::Seq(2), cursor(2), id("e-2")] {
        assert!(is_not_allowed(found(key, "other", &acme).await));
    }
    feed.trim_to(3).await;
    assert_eq!(error(found(Key::Seq(1), "", &anyone()).await), FeedError::EventsExpired { first: 3, lost_from: 1 });
    assert_eq!(error(found(cursor(2), "", &anyone()).await), FeedError::EventsExpired { first: 3, lost_from: 2 });
    assert_eq!(error(found(id("e-2"), "other", &anyone()).await), FeedError::EventNotFound);
}

#[tokio::test(start_paused = true)]
async fn a_body_comes_where_it_is_asked_for() {
    let feed = feed();
    feed.post("acme", "PO").await;
    for (include_raw, body) in [(true, &b"{\"purchaseOrderId\":\"PO\"}"[..]), (false, b"")] {
        for key in [Key::Seq(1), Key::EventId("e-1".into())] {
            let request = pb::GetCancelIntentRequest { key: Some(key), account: "acme".into(), include_raw };
            let event = feed.feed.get(&request, &anyone()).await.unwrap();
            assert_eq!((event.raw_body.as_slice(), event.cursor.as_str()), (body, "c0ffee00.1"));
        }
    }
}

async fn quarantine(feed: &TestFeed, account: &str, number: u8, bytes: usize) {
    let raw = Bytes::from(vec![number; bytes]);
    let content = DeliveryContent::Unreadable { reason: "is no JSON".into() };
    let arrival = WebhookDelivery { raw, content, body_hash: [number; 32], ..arrival(account, "", u64::from(number)) };
    feed.store.append(arrival).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_read_is_listed_to_those_who_may_see_it() {
    let feed = feed();
    for number in 1..=40 {
        quarantine(&feed, if number % 2 == 0 { "other" } else { "acme" }, number, 200_000).await;
    }
    let list = async |account: &str, page_size, include_raw, call: &CallContext| {
        let (mut ids, mut pages) = (Vec::new(), 0);
        let mut request = pb::ListQuarantinedWebhooksRequest {
            account: account.into(),
            page_size,
            include_raw,
            ..Default::default()
        };
        loop {
            let page = feed.feed.quarantined(&request, call).await?;
            assert!(page.encoded_len() < 4 * 1024 * 1024);
            assert!(page.webhooks.iter().all(|one| one.raw_body.is_empty() != include_raw && one.body_size == 200_000));
            ids.extend(page.webhooks.iter().map(|one| one.id));
            pages += 1;
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                return Ok::<_, ServiceError>((ids, pages));
            }
        }
    };
    let all: Vec<_> = (1..=40).collect();
    let odd: Vec<_> = all.iter().copied().filter(|id| id % 2 == 1).collect();
    for (size, pages) in [(0, 1), (40, 1), (39, 2), (1, 40), (16, 3)] {
        assert_eq!(list("", size, false, &anyone()).await.unwrap(), (all.clone(), pages), "{size}");
    }
    assert_eq!(list("", 0, true, &anyone()).await.unwrap(), (all, 4));
    assert_eq!(list("acme", 0, false, &anyone()).await.unwrap(), (odd.clone(), 1));
    assert_eq!(list("", 0, true, &limited(&[0])).await.unwrap().0, odd);
    assert!(is_not_allowed(list("other", 0, false, &limited(&[0])).await));
    assert!(is_not_allowed(list("", 0, false, &limited(&[])).await));
    let request = pb::ListQuarantinedWebhooksRequest { page_size: 1, ..Default::default() };
    let one = feed.feed.quarantined(&request, &anyone()).await.unwrap().webhooks.remove(0);
    assert_eq!((one.account.as_str(), one.reason.as_str()), ("acme", "is no JSON"));
    assert_eq!(one.body_sha256, "01".repeat(32));
    let bad = pb::ListQuarantinedWebhooksRequest { page_token: "x".into(), page_size: -1, ..Default::default() };
    let refused = faults(feed.feed.quarantined(&bad, &anyone()).await);
    assert_eq!(refused, ("Invalid".into(), vec!["page_size".into(), "page_token".into()]));
    // None of it is an event.
    assert_eq!(listed(&feed, asked(), &anyone()).await, (vec![], 1));
}
