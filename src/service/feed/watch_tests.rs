use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::*;
use crate::pb::position::At;
use crate::service::{AccountError, ServiceError};
use crate::testing::feed::*;

fn asked(start: Option<pb::Position>) -> pb::WatchCancelIntentsRequest {
    pb::WatchCancelIntentsRequest { start, ..Default::default() }
}

async fn opened(watch: &mut WatchStream<impl FeedStore>) -> pb::Opened {
    match watch.next().await {
        Some(Ok(WatchFrame::Opened(opened))) => opened,
        other => panic!("{other:?}"),
    }
}

fn at(at: At) -> Option<pb::Position> {
    Some(pb::Position { at: Some(at) })
}

#[tokio::test(start_paused = true)]
async fn opened_says_where_the_stream_begins() {
    let feed = feed();
    let mut watch = feed.feed.watch(&asked(earliest()), &anyone()).await.unwrap();
    let first = opened(&mut watch).await;
    assert_eq!((first.position.as_str(), first.head, first.first_available), ("c0ffee00.0", 0, 1));
    feed.post_many(20).await;
    feed.trim_to(5).await;
    for (start, position) in [(earliest(), 4), (latest(), 20), (after(4), 4), (after(20), 20), (after(7), 7)] {
        let mut watch = feed.feed.watch(&asked(start), &anyone()).await.unwrap();
        let opened = opened(&mut watch).await;
        assert_eq!(opened.log_id, LOG.to_string());
        assert_eq!(opened.position, LOG.cursor(position).to_string());
        assert_eq!((opened.head, opened.first_available), (20, 5));
        assert_eq!(opened.heartbeat_interval, span(Duration::from_secs(10)));
        assert_eq!((opened.generation, opened.lease_duration), (0, None));
    }
}

#[tokio::test(start_paused = true)]
async fn a_time_is_a_place() {
    let feed = feed();
    feed.post_many(10).await;
    feed.trim_to(3).await;
    let of = |millis: u64| {
        let time = std::time::SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
        at(At::ReceivedAt(time.into()))
    };
    for (start, position) in [
        (of(0), 2),
        (of(START), 2),
        (of(START + 4), 4),
        (of(START + 9), 9),
        (of(START + 10), 10),
        (of(START * 2), 10),
        (at(At::ReceivedAt(prost_types::Timestamp { seconds: i64::MAX, nanos: i32::MAX })), 10),
    ] {
        let mut watch = feed.feed.watch(&asked(start.clone()), &anyone()).await.unwrap();
        assert_eq!(opened(&mut watch).await.position, LOG.cursor(position).to_string(), "{start:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_place_that_is_none_is_refused() {
    let feed = feed();
    feed.post_many(10).await;
    feed.trim_to(5).await;
    let refused = async |start| feed.feed.watch(&asked(start), &anyone()).await;
    let invalid = |field: &str| ("Invalid".to_owned(), vec![field.to_owned()]);
    assert_eq!(faults(refused(None).await), invalid("start"));
    assert_eq!(faults(refused(Some(pb::Position { at: None })).await), invalid("start"));
    assert_eq!(faults(refused(at(At::Earliest(false))).await), invalid("start"));
    assert_eq!(faults(refused(at(At::Latest(false))).await), invalid("start"));
    for seconds in [i64::MIN, -1] {
        let time = prost_types::Timestamp { seconds, nanos: i32::MIN };
        assert_eq!(faults(refused(at(At::ReceivedAt(time))).await), invalid("start"));
    }
    for text in ["", "7", "c0ffee00", "c0ffee00.-1", "c0ffee00.07", "latest"] {
        let bad = refused(at(At::AfterCursor(text.into()))).await;
        assert_eq!(faults(bad), ("Cursor".into(), vec!["start.after_cursor".into()]), "{text}");
    }
    let error = async |start| match refused(start).await.err() {
        Some(ServiceError::Feed(error)) => error,
        other => panic!("{other:?}"),
    };
    let other_log = at(At::AfterCursor("0badcafe.7".into()));
    let (ours, theirs) = (LOG.to_string(), "0badcafe".to_owned());
    assert_eq!(error(other_log).await, FeedError::LogChanged { ours, theirs, first: 5, head: 10 });
    assert_eq!(error(after(11)).await, FeedError::CursorInFuture { head: 10 });
    assert_eq!(error(after(u64::MAX)).await, FeedError::CursorInFuture { head: 10 });
    assert_eq!(error(after(3)).await, FeedError::EventsExpired { first: 5, lost_from: 4 });
    assert_eq!(error(after(0)).await, FeedError::EventsExpired { first: 5, lost_from: 1 });
}

#[tokio::test(start_paused = true)]
async fn heartbeat_intervals_have_bounds() {
    let feed = feed();
    let with = |heartbeat_interval| pb::WatchCancelIntentsRequest { heartbeat_interval, ..asked(latest()) };
    for (seconds, nanos) in
        [(0, 999_999_999), (60, 1), (-1, 0), (0, 0), (i64::MIN, i32::MIN), (i64::MAX, i32::MAX), (5, -1)]
    {
        let refused = feed.feed.watch(&with(Some(prost_types::Duration { seconds, nanos })), &anyone()).await;
        assert_eq!(faults(refused), ("Bounds".into(), vec!["heartbeat_interval".into()]), "{seconds} {nanos}");
    }
    for (asked, interval) in [(span(Duration::from_secs(1)), 1), (span(Duration::from_secs(60)), 60), (None, 10)] {
        let mut watch = feed.feed.watch(&with(asked), &anyone()).await.unwrap();
        assert_eq!(opened(&mut watch).await.heartbeat_interval, span(Duration::from_secs(interval)));
        let before = Instant::now();
        beat(&mut watch).await;
        assert_eq!(before.elapsed(), Duration::from_secs(interval));
    }
}

#[tokio::test(start_paused = true)]
async fn events_come_in_order_once_and_then_as_they_happen() {
    let feed = feed();
    feed.post_many(3).await;
    let mut watch = feed.watch(after(1)).await;
    let events = read(&watch.next().await.unwrap().unwrap());
    let cursors: Vec<_> = events.iter().map(|event| event.cursor.as_str()).collect();
    assert_eq!(cursors, ["c0ffee00.2", "c0ffee00.3"]);
    let waiting = tokio::spawn(async move { (take(&mut watch, 1).await, watch) });
    tokio::time::sleep(Duration::from_secs(5)).await;
    let before = Instant::now();
    feed.post("acme", "PO").await;
    let (seqs, mut watch) = waiting.await.unwrap();
    assert_eq!((seqs, before.elapsed()), (vec![4], Duration::ZERO), "at once");
    let quiet = beat(&mut watch).await;
    assert_eq!(before.elapsed(), Duration::from_secs(10), "counted from the last frame");
    assert_eq!((quiet.cursor.as_str(), quiet.head, quiet.backlog), ("c0ffee00.4", 4, 0));
    assert_eq!(quiet.state(), pb::FeedState::Live);
    let time: std::time::SystemTime = quiet.server_time.unwrap().try_into().unwrap();
    assert_eq!(crate::domain::timestamp::Timestamp::from(time).0, START + 15_000);
}

#[tokio::test(start_paused = true)]
async fn latest_passes_by_what_is_there() {
    let feed = feed();
    feed.post_many(3).await;
    let mut watch = feed.watch(latest()).await;
    assert_eq!(beat(&mut watch).await.cursor, "c0ffee00.3");
    feed.post_many(1).await;
    assert_eq!(take(&mut watch, 1).await, [4]);
}

#[tokio::test(start_paused = true)]
async fn a_limit_ends_the_stream_well() {
    let feed = feed();
    feed.post_many(300).await;
    for limit in [1, 127, 128, 129, 300] {
        let mut watch = feed.watching(pb::WatchCancelIntentsRequest { limit, ..asked(earliest()) }).await;
        assert_eq!(take(&mut watch, limit as usize).await, (1..=limit).collect::<Vec<_>>());
        assert!(watch.next().await.is_none(), "{limit}");
        assert!(watch.next().await.is_none(), "{limit}");
    }
    // Of events that match; with others in between, and some yet to come.
    let filter = Some(pb::Filter { purchase_order_ids: vec!["PO-5".into(), "new".into()], ..Default::default() });
    let mut watch = feed.watching(pb::WatchCancelIntentsRequest { limit: 2, filter, ..asked(earliest()) }).await;
    assert_eq!(take(&mut watch, 1).await, [5]);
    assert_eq!(beat(&mut watch).await.cursor, "c0ffee00.300");
    feed.post("acme", "new").await;
    feed.post("acme", "new").await;
    assert_eq!(take(&mut watch, 1).await, [301]);
    assert!(watch.next().await.is_none());
}

/// Reads a stream with a filter to the end of the log and checks it against the log: ordered, unique, complete, and
/// nothing at or below a bookmark after it. Resumes at each bookmark.
async fn follow(feed: &TestFeed, filter: &pb::Filter, head: u64) -> Vec<u64> {
    let asked = |start| pb::WatchCancelIntentsRequest { filter: Some(filter.clone()), ..asked(start) };
    let mut watch = feed.watching(asked(earliest())).await;
    let mut seqs = Vec::new();
    loop {
        match watch.next().await.unwrap().unwrap() {
            WatchFrame::Heartbeat(beat) => {
                let cursor: crate::domain::feed::Cursor = beat.cursor.parse().unwrap();
                assert!(seqs.iter().all(|seq| *seq <= cursor.seq));
                if cursor.seq == head {
                    return seqs;
                }
                watch = feed.watching(asked(after(cursor.seq))).await;
            }
            frame => {
                for event in read(&frame) {
                    assert!(seqs.last().is_none_or(|last| *last < event.seq));
                    seqs.push(event.seq);
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn filters_choose_and_shards_divide() {
    let feed = feed();
    for number in 0..400 {
        feed.post(if number % 3 == 0 { "other" } else { "acme" }, &format!("PO-{}", number % 50)).await;
    }
    let accounts = |names: &[&str]| pb::Filter {
        accounts: names.iter().map(|name| (*name).to_owned()).collect(),
        ..Default::default()
    };
    let thirds: Vec<_> = (1..=400).filter(|seq| (seq - 1) % 3 == 0).collect();
    assert_eq!(follow(&feed, &accounts(&["other"]), 400).await, thirds);
    assert_eq!(follow(&feed, &accounts(&["other", "acme"]), 400).await.len(), 400);
    let order = pb::Filter { purchase_order_ids: vec!["PO-7".into()], ..accounts(&["other"]) };
    let of_order: Vec<_> = (0..400).filter(|n| n % 3 == 0 && n % 50 == 7).map(|n| n + 1).collect();
    assert_eq!(follow(&feed, &order, 400).await, of_order);
    let mut all = BTreeSet::new();
    for index in 0..3 {
        let share = pb::Filter { shard: Some(pb::Shard { index, count: 3 }), ..Default::default() };
        let seqs = follow(&feed, &share, 400).await;
        assert!(!seqs.is_empty());
        seqs.into_iter().for_each(|seq| assert!(all.insert(seq), "{seq} is in two shards"));
    }
    assert_eq!(all.len(), 400);
    let bad = pb::Filter { shard: Some(pb::Shard { index: 3, count: 3 }), ..accounts(&["no such!"]) };
    let request = pb::WatchCancelIntentsRequest { filter: Some(bad), ..asked(latest()) };
    let fields = vec!["filter.accounts[0]".into(), "filter.shard.index".into()];
    assert_eq!(faults(feed.feed.watch(&request, &anyone()).await), ("Filter".into(), fields));
}

#[tokio::test(start_paused = true)]
async fn silence_is_short_also_while_nothing_matches() {
    let feed = feed();
    let filter = Some(pb::Filter { purchase_order_ids: vec!["none".into()], ..Default::default() });
    let mut watch = feed.watching(pb::WatchCancelIntentsRequest { filter, ..asked(earliest()) }).await;
    let posting = async {
        for _ in 0..50 {
            feed.post("acme", "PO").await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let listening = async {
        for _ in 0..5 {
            let before = Instant::now();
            let quiet = beat(&mut watch).await;
            assert_eq!(before.elapsed(), Duration::from_secs(10));
            assert_eq!((quiet.backlog, quiet.state()), (0, pb::FeedState::Live));
            assert_eq!(quiet.cursor, LOG.cursor(quiet.head).to_string(), "events that do not match are passed");
        }
    };
    tokio::join!(posting, listening);
}

#[tokio::test(start_paused = true)]
async fn silence_is_short_also_while_the_store_is_slow() {
    let feed = feed();
    feed.post_many(300).await;
    let mut at_the_end = feed.watch(latest()).await;
    tokio::task::yield_now().await;
    let mut behind = feed.watch(after(1)).await;
    feed.store.open(false);
    feed.post_many(1).await;
    for _ in 0..2 {
        let before = Instant::now();
        let (slow, quiet) = tokio::join!(beat(&mut behind), beat(&mut at_the_end));
        assert_eq!(before.elapsed(), Duration::from_secs(10));
        assert_eq!((slow.cursor.as_str(), slow.head, slow.backlog), ("c0ffee00.1", 300, 299));
        assert_eq!((slow.state(), quiet.cursor.as_str()), (pb::FeedState::CatchingUp, "c0ffee00.300"));
    }
    feed.store.open(true);
    assert_eq!(take(&mut behind, 300).await, (2..=301).collect::<Vec<_>>());
    assert_eq!(take(&mut at_the_end, 1).await, [301]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_for_a_minute_is_let_go() {
    let feed = feed();
    feed.post_many(200).await;
    let mut watch = feed.watch(earliest()).await;
    take(&mut watch, 1).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(take(&mut watch, 72).await.len(), 72, "a minute is not too long");
    tokio::time::sleep(Duration::from_millis(60_001)).await;
    let ended = watch.next().await.unwrap().unwrap_err();
    assert_eq!((ended.error, ended.last), (FeedError::SlowConsumer, Some(LOG.cursor(200))));
    assert!(watch.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_waits_long_for_events_is_not_slow() {
    let feed = feed();
    let mut watch = feed.watch(latest()).await;
    for _ in 0..20 {
        beat(&mut watch).await;
    }
    feed.post_many(1).await;
    assert_eq!(take(&mut watch, 1).await, [1]);
}

#[tokio::test(start_paused = true)]
async fn streams_end_when_the_process_does() {
    let feed = feed();
    feed.post_many(300).await;
    let mut behind = feed.watch(earliest()).await;
    take(&mut behind, 128).await;
    let mut at_the_end = feed.watch(latest()).await;
    let waiting = tokio::spawn(async move { at_the_end.next().await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    feed.stopping.cancel();
    let ended = waiting.await.unwrap().unwrap().unwrap_err();
    assert_eq!((ended.error, ended.last), (FeedError::ShuttingDown, Some(LOG.cursor(300))));
    let ended = behind.next().await.unwrap().unwrap_err();
    assert_eq!((ended.error, ended.last), (FeedError::ShuttingDown, Some(LOG.cursor(128))));
    drop(behind);
    feed.tasks.close();
    tokio::time::timeout(LONG, feed.tasks.wait()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn there_are_places_for_so_many_streams() {
    let feed = feed();
    let open = async || *feed.feed.overview(100, &anyone()).await.unwrap().open_streams.of(FeedName::CancelIntents);
    let mut places: Vec<_> =
        (0..crate::limits::FEED_STREAMS).map(|_| feed.feed.place(FeedName::CancelIntents).unwrap()).collect();
    let full = async || feed.feed.watch(&asked(latest()), &anyone()).await;
    assert!(matches!(full().await.err(), Some(ServiceError::Feed(FeedError::TooManyStreams))));
    feed.create(plain("oms")).await;
    let consumer = feed.feed.subscribe(&asking("oms", "one"), &anyone()).await;
    assert!(matches!(consumer.err(), Some(ServiceError::Feed(FeedError::TooManyStreams))));
    places.pop();
    let watch = full().await.unwrap();
    assert!(full().await.is_err());
    drop(watch);
    full().await.unwrap();
    assert_eq!(open().await, 19_999);
}

#[tokio::test(start_paused = true)]
async fn a_refused_stream_takes_no_place() {
    let feed = feed();
    for start in [None, after(9)] {
        assert!(feed.feed.watch(&asked(start), &anyone()).await.is_err());
    }
    assert!(feed.feed.subscribe(&asking("none", "one"), &anyone()).await.is_err());
    let open = feed.feed.overview(100, &anyone()).await.unwrap().open_streams;
    assert_eq!(*open.of(FeedName::CancelIntents), 0);
}

#[tokio::test(start_paused = true)]
async fn a_caller_sees_its_accounts_only() {
    let feed = feed();
    for number in 0..10 {
        feed.post(if number % 2 == 0 { "acme" } else { "other" }, "PO").await;
    }
    let seen = async |account: &str, filter: &[&str], call: &CallContext| {
        let filter =
            pb::Filter { accounts: filter.iter().map(|name| (*name).to_owned()).collect(), ..Default::default() };
        let request =
            pb::WatchCancelIntentsRequest { account: account.into(), filter: Some(filter), ..asked(earliest()) };
        let mut watch = match feed.feed.watch(&request, call).await {
            Ok(watch) => watch,
            Err(ServiceError::Account(error)) => return Err(error),
            Err(other) => panic!("{other:?}"),
        };
        opened(&mut watch).await;
        Ok(take(&mut watch, 10).await)
    };
    let (odd, even) = (Ok(vec![1, 3, 5, 7, 9]), Ok(vec![2, 4, 6, 8, 10]));
    let acme = limited(&[0]);
    assert_eq!(seen("", &[], &acme).await, odd);
    assert_eq!(seen("acme", &["acme"], &acme).await, odd);
    for (account, filter) in
        [("other", &[][..]), ("", &["other"]), ("acme", &["other"]), ("nobody", &[]), ("", &["nobody"])]
    {
        assert_eq!(seen(account, filter, &acme).await, Err(AccountError::NotAllowed), "{account} {filter:?}");
    }
    assert_eq!(seen("", &[], &limited(&[])).await, Ok(vec![]));
    assert_eq!(seen("", &[], &limited(&[0, 1])).await.unwrap().len(), 10);
    assert_eq!(seen("other", &[], &anyone()).await, even);
    assert_eq!(seen("", &["other"], &anyone()).await, even);
    assert_eq!(seen("acme", &["other"], &anyone()).await, Ok(vec![]), "both must hold");
    assert_eq!(seen("nobody", &[], &anyone()).await, Err(AccountError::NotFound));
    assert_eq!(seen("", &["nobody"], &anyone()).await, Err(AccountError::NotFound));
}
