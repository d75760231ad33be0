use prost::Message as _;

use super::*;
use crate::testing::feed::*;

#[tokio::test(start_paused = true)]
async fn parked_events_are_listed_and_given_out_again() {
    let feed = feed();
    feed.post_many(10).await;
    feed.create(plain("oms")).await;
    let mut stream = feed.consumer("oms", "one").await;
    for one in deliveries(&mut stream, 10).await {
        let reason = format!("because of {}", one.lease);
        feed.settle("oms", &one.lease, pb::verdict::Verdict::Park(pb::Park { reason })).await;
    }
    assert_eq!(feed.shown("oms").await.floor, "c0ffee00.10", "they hold up nothing");
    feed.trim_to(4).await;
    let page = async |page_size, page_token: &str, include_raw| {
        let page_token = page_token.to_owned();
        let subscription = "oms".into();
        let request = pb::ListParkedCancelIntentsRequest { subscription, page_size, page_token, include_raw };
        feed.feed.parked(&request, &anyone()).await.unwrap()
    };
    let seqs_of = |page: &pb::ListParkedCancelIntentsResponse| -> Vec<u64> {
        page.parked.iter().map(|one| one.event.as_ref().unwrap().seq).collect()
    };
    let first = page(4, "", true).await;
    let second = page(4, &first.next_page_token, false).await;
    assert_eq!((seqs_of(&first), seqs_of(&second)), (vec![4, 5, 6, 7], vec![8, 9, 10]), "those of the log");
    assert_eq!(second.next_page_token, "");
    let one = &first.parked[0];
    assert_eq!(
        (one.attempt, one.reason.as_str(), one.park_time),
        (1, "because of g1.s4.a1", timestamp(feed.feed.now()))
    );
    let event = one.event.as_ref().unwrap();
    assert_eq!(
        (event.cursor.as_str(), event.ordering_key.as_str(), event.raw_body.is_empty()),
        ("c0ffee00.4", "PO-4", false)
    );
    assert!(second.parked[0].event.as_ref().unwrap().raw_body.is_empty());
    let redrive = async |seqs: &[u64], all| {
        let request = pb::RedriveCancelIntentsRequest { subscription: "oms".into(), seqs: seqs.to_vec(), all };
        feed.feed.redrive(&request, &anyone()).await
    };
    assert_eq!(redrive(&[5, 5, 7, 1, 99, u64::MAX], false).await.unwrap(), 2);
    let again = deliveries(&mut stream, 2).await;
    assert_eq!(seqs(&again), [5, 7]);
    assert!(again.iter().all(|one| one.cause() == pb::DeliveryCause::Redriven && one.attempt == 2));
    assert_eq!(redrive(&[], true).await.unwrap(), 5);
    assert_eq!(seqs(&deliveries(&mut stream, 5).await), [4, 6, 8, 9, 10]);
    assert_eq!(feed.shown("oms").await.floor, "c0ffee00.10", "it never falls");
    assert_eq!(redrive(&[], true).await.unwrap(), 0);
    assert_eq!(faults(redrive(&[], false).await), ("Invalid".into(), vec!["seqs".into()]));
    assert_eq!(faults(redrive(&[1], true).await), ("Invalid".into(), vec!["seqs".into()]));
    assert_eq!(faults(redrive(&[1; 1001], false).await), ("Bounds".into(), vec!["seqs".into()]));
    let bad = pb::ListParkedCancelIntentsRequest {
        subscription: "oms".into(),
        page_size: -1,
        page_token: "x".into(),
        include_raw: false,
    };
    let refused = faults(feed.feed.parked(&bad, &anyone()).await);
    assert_eq!(refused, ("Invalid".into(), vec!["page_size".into(), "page_token".into()]));
}

#[tokio::test(start_paused = true)]
async fn a_page_of_large_parked_events_is_short() {
    let feed = feed();
    for _ in 0..40 {
        feed.post_large("acme", "", 120_000).await;
    }
    feed.create(plain("oms")).await;
    let asked = pb::SubscribeCancelIntentsRequest { max_outstanding_bytes: Some(1 << 28), ..asking("oms", "one") };
    let (mut stream, _) = feed.subscribing(asked).await;
    for one in deliveries(&mut stream, 40).await {
        feed.settle("oms", &one.lease, pb::verdict::Verdict::Park(pb::Park::default())).await;
    }
    let (mut all, mut token, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let request = pb::ListParkedCancelIntentsRequest {
            subscription: "oms".into(),
            page_size: 0,
            page_token: token,
            include_raw: true,
        };
        let page = feed.feed.parked(&request, &anyone()).await.unwrap();
        assert!(page.encoded_len() < 4 * 1024 * 1024, "{}", page.encoded_len());
        all.extend(page.parked.iter().map(|one| one.event.as_ref().unwrap().seq));
        pages += 1;
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!((all, pages), ((1..=40).collect::<Vec<_>>(), 5));
}
