use super::*;
use crate::domain::feed::notification::{CONFLICT, DeliveryContent, WebhookDelivery};
use crate::domain::timestamp::Timestamp;
use crate::ports::event_log::EventLog as _;
use crate::testing::feed::*;
use sha2::{Digest as _, Sha256};

/// Puts a body into quarantine that the reader of an earlier version did not understand.
async fn quarantine(feed: &TestFeed, account: &str, body: &str, received: u64) {
    let arrival = WebhookDelivery {
        account: AccountId::new(account).unwrap(),
        received: Timestamp(START + received),
        raw: Bytes::from(body.to_owned()),
        body_hash: Sha256::digest(body).into(),
        content: DeliveryContent::Unreadable { reason: "is of another form".into() },
    };
    feed.store.append(arrival).await.unwrap();
}

async fn reread(feed: &TestFeed, account: &str, page_size: i32, call: &CallContext) -> Vec<pb::RereadWebhook> {
    let mut request =
        pb::RereadQuarantinedWebhooksRequest { account: account.into(), page_size, page_token: String::new() };
    let mut all = Vec::new();
    loop {
        let page = feed.feed.reread(&request, call).await.unwrap();
        assert!(page_size == 0 || page.webhooks.len() <= page_size as usize);
        all.extend(page.webhooks);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return all;
        }
    }
}

async fn listed(feed: &TestFeed) -> Vec<pb::QuarantinedWebhook> {
    let request = pb::ListQuarantinedWebhooksRequest { include_raw: true, ..Default::default() };
    feed.feed.quarantined(&request, &anyone()).await.unwrap().webhooks
}

#[tokio::test(start_paused = true)]
async fn what_is_understood_now_goes_into_its_feed_and_the_rest_stays() {
    let feed = feed();
    for (number, body) in (1..).zip(["intent 17", "nothing", "update 18", "intent 19"]) {
        quarantine(&feed, if number == 4 { "other" } else { "acme" }, body, number).await;
    }
    let outcomes = |all: &[pb::RereadWebhook]| {
        Vec::from_iter(all.iter().map(|one| (one.id, one.outcome(), one.cursor.split('.').nth(1).map(str::to_owned))))
    };
    use pb::RereadOutcome::{CancelIntents, Kept, OrderUpdates};
    let one = Some("1".to_owned());
    assert_eq!(
        outcomes(&reread(&feed, "", 2, &limited(&[0])).await),
        [(1, CancelIntents, one.clone()), (2, Kept, None), (3, OrderUpdates, one)]
    );
    assert_eq!(
        outcomes(&reread(&feed, "", 0, &anyone()).await),
        [(2, Kept, None), (4, CancelIntents, Some("2".to_owned()))]
    );
    let request = pb::ListCancelIntentsRequest { include_raw: true, ..Default::default() };
    let events: Vec<pb::Event> = feed.feed.list(&request, &anyone()).await.unwrap().events;
    let told: Vec<_> =
        events.iter().map(|it| (it.account.as_str(), it.ordering_key.as_str(), &it.raw_body[..])).collect();
    assert_eq!(told, [("acme", "17", &b"intent 17"[..]), ("other", "19", b"intent 19")]);
    assert_eq!(events[0].received_at, timestamp(Timestamp(START + 1)), "as it was received");
    assert!(events.iter().all(|event| event.intent_key.len() == 64));
    let left = listed(&feed).await;
    assert_eq!((left.len(), left[0].reason.as_str()), (1, "is of no form of the tests"));
    assert_eq!(left[0].cause(), pb::QuarantineCause::Unreadable);
}

#[tokio::test(start_paused = true)]
async fn a_conflict_says_of_which_event_and_stays() {
    let feed = feed();
    feed.post("acme", "PO").await;
    let WebhookDelivery { content, .. } = arrival("acme", "PO", 1);
    let second =
        WebhookDelivery { content, body_hash: [9; 32], raw: Bytes::from("update 2"), ..arrival("acme", "PO", 2) };
    feed.store.append(second).await.unwrap();
    let kept = listed(&feed).await;
    assert_eq!((kept.len(), kept[0].cause(), kept[0].reason.as_str()), (1, pb::QuarantineCause::Conflict, CONFLICT));
    assert_eq!(
        (kept[0].event_id.as_str(), kept[0].event_type.as_str(), kept[0].sub_event_type.as_str()),
        ("e-1", "INTENT_TO_CANCEL", "")
    );
}

#[tokio::test(start_paused = true)]
async fn only_those_who_may_see_an_account_have_its_bodies_read_again() {
    let feed = feed();
    quarantine(&feed, "other", "intent 17", 1).await;
    let request = pb::RereadQuarantinedWebhooksRequest { account: "other".into(), ..Default::default() };
    for call in [limited(&[0]), limited(&[])] {
        let refused = feed.feed.reread(&request, &call).await;
        assert!(matches!(refused, Err(ServiceError::Account(AccountError::NotAllowed))), "{refused:?}");
    }
    let bad = pb::RereadQuarantinedWebhooksRequest { page_size: -1, page_token: "x".into(), ..Default::default() };
    let refused = feed.feed.reread(&bad, &anyone()).await;
    assert!(matches!(refused, Err(ServiceError::Invalid(_))), "{refused:?}");
    assert_eq!(listed(&feed).await.len(), 1);
    feed.store.fail(true, false);
    assert!(matches!(feed.feed.reread(&request, &anyone()).await, Err(ServiceError::Store)));
}

#[tokio::test(start_paused = true)]
async fn many_are_read_again_in_their_order() {
    let feed = feed();
    for number in 1..=50 {
        quarantine(&feed, "acme", &format!("intent {number}"), number).await;
    }
    assert_eq!(reread(&feed, "acme", 20, &anyone()).await.len(), 50);
    let events = feed.feed.list(&pb::ListCancelIntentsRequest::default(), &anyone()).await.unwrap().events;
    let keys: Vec<_> = events.iter().map(|event: &pb::Event| event.ordering_key.clone()).collect();
    assert_eq!(keys, Vec::from_iter((1..=50).map(|number| number.to_string())));
    assert!(listed(&feed).await.is_empty());
}
