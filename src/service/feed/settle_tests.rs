use std::time::Duration;

use super::super::consumer::ConsumerStream;
use super::*;
use crate::pb::SettleOutcome::{AlreadyApplied, Applied, LeaseLost, StaleGeneration, UnknownLease};
use crate::service::AccountError;
use crate::service::feed::ConsumerFrame;
use crate::testing::feed::*;

fn retry(delay: Option<prost_types::Duration>, reason: &str) -> Said {
    Said::Retry(pb::Retry { delay, reason: reason.into() })
}

fn park(reason: &str) -> Said {
    Said::Park(pb::Park { reason: reason.into() })
}

fn extend(by: Option<prost_types::Duration>) -> Said {
    Said::Extend(pb::Extend { by })
}

fn release() -> Said {
    Said::Release(pb::Release {})
}

/// A feed with a subscription `oms`, and so many events on loan to its only consumer.
async fn lent(count: u64) -> (TestFeed, ConsumerStream<impl FeedStore>, Vec<pb::Delivery>) {
    let feed = feed();
    feed.post_many(count).await;
    feed.create(plain("oms")).await;
    let mut stream = feed.consumer("oms", "one").await;
    let got = deliveries(&mut stream, usize::try_from(count).unwrap()).await;
    (feed, stream, got)
}

#[tokio::test(start_paused = true)]
async fn each_verdict_has_its_result_in_the_order_of_the_request() {
    let (feed, mut stream, _) = lent(6).await;
    let before = tokio::time::Instant::now();
    let settled = feed
        .settled(
            "oms",
            [
                ("g1.s5.a1", release()),
                ("g1.s1.a1", ack()),
                ("g1.s1.a1", ack()),
                ("g1.s9.a1", ack()),
                ("g2.s1.a1", ack()),
                ("g0.s1.a1", ack()),
                ("g1.s1.a2", ack()),
                ("g1.s2.a1", retry(span(Duration::from_secs(3)), "busy")),
                ("g1.s3.a1", park("no such order")),
                ("g1.s4.a1", extend(span(Duration::from_secs(60)))),
                ("g1.s3.a1", park("again")),
                ("g1.s3.a1", extend(None)),
            ],
        )
        .await;
    let leases: Vec<_> = settled.results.iter().map(|result| result.lease.as_str()).collect();
    assert_eq!(leases[..4], ["g1.s5.a1", "g1.s1.a1", "g1.s1.a1", "g1.s9.a1"]);
    let outcomes: Vec<_> = settled.results.iter().map(pb::SettleResult::outcome).collect();
    assert_eq!(
        outcomes,
        [
            Applied,
            Applied,
            AlreadyApplied,
            UnknownLease,
            UnknownLease,
            UnknownLease,
            UnknownLease,
            Applied,
            Applied,
            Applied,
            AlreadyApplied,
            LeaseLost
        ]
    );
    let until: Vec<_> = settled.results.iter().map(|result| result.lease_expires_at.is_some()).collect();
    assert_eq!(until.iter().position(|is_told| *is_told), Some(9));
    assert_eq!(until.iter().filter(|is_told| **is_told).count(), 1);
    // 1 acked, 2 waits, 3 parked, 4 on loan, 5 given back, 6 on loan.
    assert_eq!((settled.floor.as_str(), settled.backlog), ("c0ffee00.1", 4));
    let again = deliveries(&mut stream, 2).await;
    assert_eq!(seqs(&again), [5, 2]);
    assert_eq!(before.elapsed(), Duration::from_secs(3));
    assert_eq!(feed.shown("oms").await.parked, 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_changes_nothing() {
    let (feed, stream, got) = lent(1).await;
    drop(stream);
    tokio::time::sleep(Duration::from_secs(31)).await;
    // Late, but nobody got it since: only an ack counts.
    for said in [retry(None, ""), park(""), extend(None), release()] {
        assert_eq!(feed.settle("oms", &got[0].lease, said).await, LeaseLost);
    }
    let mut other = feed.consumer("oms", "two").await;
    let again = delivery(&mut other).await;
    for said in [ack(), retry(None, ""), park(""), extend(None), release()] {
        assert_eq!(feed.settle("oms", &got[0].lease, said).await, LeaseLost);
    }
    let shown = feed.shown("oms").await;
    assert_eq!((shown.outstanding, shown.parked, shown.floor.as_str()), (1, 0, "c0ffee00.0"));
    assert_eq!(feed.settle("oms", &again.lease, ack()).await, Applied);
    assert_eq!(feed.settle("oms", &again.lease, ack()).await, AlreadyApplied);
    let request = pb::SeekSubscriptionRequest { name: "oms".into(), position: earliest() };
    feed.feed.seek(&request, &anyone()).await.unwrap();
    assert_eq!(feed.settle("oms", &again.lease, ack()).await, StaleGeneration);
}

#[tokio::test(start_paused = true)]
async fn a_late_ack_counts_while_nobody_got_the_event() {
    let (feed, stream, got) = lent(1).await;
    drop(stream);
    tokio::time::sleep(LONG).await;
    assert_eq!(feed.settle("oms", &got[0].lease, ack()).await, Applied);
    assert_eq!(feed.shown("oms").await.floor, "c0ffee00.1");
}

#[tokio::test(start_paused = true)]
async fn the_backoff_is_the_subscriptions() {
    let feed = feed();
    feed.post_many(1).await;
    let backoff = pb::Backoff { min: span(Duration::from_secs(8)), max: span(Duration::from_secs(20)) };
    feed.create(pb::Subscription { backoff: Some(backoff), max_attempts: Some(0), ..plain("oms") }).await;
    let mut stream = feed.consumer("oms", "one").await;
    let mut one = delivery(&mut stream).await;
    let mut pauses = Vec::new();
    for _ in 0..40 {
        let before = tokio::time::Instant::now();
        assert_eq!(feed.settle("oms", &one.lease, retry(None, "")).await, Applied);
        while let Some(Ok(frame)) = stream.next().await {
            if let ConsumerFrame::Delivery(next) = frame {
                one = next.into();
                break;
            }
        }
        pauses.push(before.elapsed());
    }
    assert_eq!(one.attempt, 41);
    assert!(pauses[0] <= Duration::from_secs(8) && pauses[1] <= Duration::from_secs(16), "{pauses:?}");
    let longest = *pauses.iter().max().unwrap();
    assert!(longest <= Duration::from_secs(20) && longest > Duration::from_secs(16), "{longest:?}");
    assert!(*pauses.iter().min().unwrap() < Duration::from_secs(4), "drawn from 0 on: {pauses:?}");
}

#[tokio::test(start_paused = true)]
async fn a_thousand_verdicts_are_taken_and_no_more() {
    let feed = feed();
    feed.create(plain("oms")).await;
    let request = |count| pb::SettleCancelIntentsRequest {
        subscription: "oms".into(),
        verdicts: vec![pb::Verdict { lease: "g1.s1.a1".into(), verdict: Some(ack()) }; count],
    };
    let refused = async |count| faults(feed.feed.settle(&request(count), &anyone()).await);
    assert_eq!(refused(0).await, ("Invalid".into(), vec!["verdicts".into()]));
    assert_eq!(refused(1001).await, ("Bounds".into(), vec!["verdicts".into()]));
    assert_eq!(feed.feed.settle(&request(1000), &anyone()).await.unwrap().results.len(), 1000);
}

#[tokio::test(start_paused = true)]
async fn faults_are_told_with_their_places_and_nothing_is_carried_out() {
    let (feed, _stream, _) = lent(3).await;
    let refused = async |verdicts: Vec<(&str, Option<Said>)>| {
        let verdict = |(lease, verdict): (&str, _)| pb::Verdict { lease: lease.into(), verdict };
        let good = pb::Verdict { lease: "g1.s1.a1".into(), verdict: Some(ack()) };
        let verdicts = [good].into_iter().chain(verdicts.into_iter().map(verdict)).collect();
        let request = pb::SettleCancelIntentsRequest { subscription: "oms".into(), verdicts };
        faults(feed.feed.settle(&request, &anyone()).await)
    };
    let lease = "g1.s2.a1";
    assert_eq!(refused(vec![(lease, None)]).await, ("Invalid".into(), vec!["verdicts[1]".into()]));
    let bad = refused(vec![("", Some(ack())), (lease, Some(ack())), ("g1.s2", Some(ack()))]).await;
    assert_eq!(bad, ("Lease".into(), vec!["verdicts[1].lease".into(), "verdicts[3].lease".into()]));
    let of = |seconds, nanos| Some(prost_types::Duration { seconds, nanos });
    let long = "é".repeat(501);
    let bad = refused(vec![
        (lease, Some(retry(of(86_400, 1), ""))),
        (lease, Some(retry(of(-1, 0), &long))),
        (lease, Some(retry(of(i64::MIN, i32::MIN), ""))),
        (lease, Some(park(&long))),
        (lease, Some(extend(of(4, 999_999_999)))),
        (lease, Some(extend(of(600, 1)))),
        (lease, Some(extend(of(i64::MIN, 0)))),
        (lease, Some(park(&long[2..]))),
    ])
    .await;
    let fields = [
        "verdicts[1].retry.delay",
        "verdicts[2].retry.delay",
        "verdicts[2].retry.reason",
        "verdicts[3].retry.delay",
        "verdicts[4].park.reason",
        "verdicts[5].extend.by",
        "verdicts[6].extend.by",
        "verdicts[7].extend.by",
    ];
    assert_eq!(bad, ("Bounds".into(), fields.map(str::to_owned).to_vec()));
    let shown = feed.shown("oms").await;
    assert_eq!((shown.outstanding, shown.backlog), (3, 3));
    // The bounds themselves.
    let longest = &long[2..];
    let outcome = async |seq: u64, said| feed.settle("oms", &format!("g1.s{seq}.a1"), said).await;
    assert_eq!(outcome(1, extend(of(5, 0))).await, Applied);
    assert_eq!(outcome(1, extend(of(600, 0))).await, Applied);
    assert_eq!(outcome(1, park(longest)).await, Applied);
    assert_eq!(outcome(2, retry(of(86_400, 0), longest)).await, Applied);
    assert_eq!(outcome(3, retry(of(0, 0), "")).await, Applied);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_settled_that_the_store_did_not_keep() {
    let (feed, _stream, got) = lent(1).await;
    feed.store.fail(false, true);
    let verdicts = vec![pb::Verdict { lease: got[0].lease.clone(), verdict: Some(ack()) }];
    let request = pb::SettleCancelIntentsRequest { subscription: "oms".into(), verdicts };
    assert!(matches!(feed.feed.settle(&request, &anyone()).await, Err(ServiceError::Store)));
    feed.store.fail(false, false);
    assert_eq!(feed.shown("oms").await.backlog, 1);
    assert_eq!(feed.settle("oms", &got[0].lease, ack()).await, Applied, "safe to repeat");
}

#[tokio::test(start_paused = true)]
async fn only_who_may_use_a_subscription_settles_in_it() {
    let (feed, _stream, got) = lent(1).await;
    let verdicts = vec![pb::Verdict { lease: got[0].lease.clone(), verdict: Some(ack()) }];
    let request = |subscription: &str| pb::SettleCancelIntentsRequest {
        subscription: subscription.into(),
        verdicts: verdicts.clone(),
    };
    let refused = feed.feed.settle(&request("oms"), &limited(&[0])).await;
    assert!(matches!(refused, Err(ServiceError::Account(AccountError::NotAllowed))));
    assert_eq!(feed.shown("oms").await.backlog, 1);
    let missing = feed.feed.settle(&request("none"), &anyone()).await;
    assert!(matches!(missing, Err(ServiceError::Feed(FeedError::SubscriptionNotFound { name })) if name == "none"));
}
