//! Each thing that must not be is seen. The stream that is changed here is one in which all is well.

use std::sync::Arc;

use order_gateway::pb;

use super::super::facts::Choice;
use super::super::history::Content;
use super::super::plan::{Beginning, Reader};
use super::*;

fn log() -> Log {
    let event = |seq| pb::Event {
        seq,
        received_at: Some(prost_types::Timestamp { seconds: seq as i64, nanos: 0 }),
        raw_body: format!("{seq}").into_bytes(),
        ..Default::default()
    };
    Log::new((1..=9).map(event).collect(), Vec::new()).0
}

/// The reader wants what is even.
const WANTED: [u64; 4] = [2, 4, 6, 8];

fn event(seq: u64) -> Frame {
    Frame::Event(Content { raw: None, ..log().get(seq).and_then(|entry| entry.content).unwrap() })
}

fn bookmark(cursor: u64, head: u64) -> Frame {
    let left = WANTED.iter().filter(|seq| (cursor + 1..=head).contains(seq)).count() as u64;
    let state = if left == 0 { FeedState::Live } else { FeedState::CatchingUp };
    Frame::Heartbeat(Heartbeat { cursor, head, backlog: left, state })
}

fn all_is_well() -> Stream<Watch> {
    let reader = Reader {
        name: "one".into(),
        account: "",
        choice: Choice::default(),
        begins: Beginning::Earliest,
        limit: 0,
        raw: false,
        heartbeat: Some(1),
        leaves: None,
        resumes: true,
    };
    let opened = Opened { at: 100, position: 3, head: 5, first: 1, heartbeat: 1_000_000, ..Opened::default() };
    let frames = vec![event(4), bookmark(5, 9), event(6), event(8), bookmark(9, 9)];
    Stream {
        asked: Watch { reader: Arc::new(reader), start: Start::After(3) },
        requested: 0,
        opened: Some(opened),
        frames: frames.into_iter().enumerate().map(|(n, frame)| (200 + n as Micros, frame)).collect(),
        ended: 1000,
        end: End::HungUp,
    }
}

fn found(change: impl FnOnce(&mut Stream<Watch>)) -> Vec<String> {
    let mut stream = all_is_well();
    change(&mut stream);
    violations(&stream, &WANTED, &log())
}

#[track_caller]
fn sees(expected: &str, change: impl FnOnce(&mut Stream<Watch>)) {
    let found = found(change);
    assert!(found.iter().any(|line| line.contains(expected)), "{expected} is not in {found:#?}");
}

fn reader(stream: &mut Stream<Watch>) -> &mut Reader {
    Arc::get_mut(&mut stream.asked.reader).unwrap()
}

fn opened(stream: &mut Stream<Watch>) -> &mut Opened {
    stream.opened.as_mut().unwrap()
}

#[test]
fn a_good_stream_is_good() {
    assert_eq!(found(|_| ()), Vec::<String>::new());
    assert_eq!(
        found(|stream| {
            reader(stream).limit = 3;
            stream.end = End::Done;
        }),
        Vec::<String>::new()
    );
    // Broken off in the middle.
    assert_eq!(found(|stream| stream.frames.truncate(3)), Vec::<String>::new());
}

#[test]
fn i9_order_and_repeats() {
    sees("I9: event 8 came, and event 6 did not", |stream| stream.frames.swap(2, 3));
    sees("I9: event 6 came after everything up to 8 had been told", |stream| stream.frames.swap(2, 3));
    sees("I9: event 4 came after everything up to 4 had been told", |stream| {
        stream.frames.insert(1, stream.frames[0].clone());
    });
}

#[test]
fn i9_what_is_missing_or_not_wanted() {
    sees("I9: event 6 came, and event 4 did not", |stream| drop(stream.frames.drain(..2)));
    sees("I9: event 7 came, and is not wanted", |stream| stream.frames.insert(3, (203, event(7))));
    sees("I8: event 4 is another one than in the log", |stream| {
        let Frame::Event(content) = &mut stream.frames[0].1 else { panic!() };
        content.digest += 1;
    });
    sees("I8: event 4 has another body", |stream| {
        let Frame::Event(content) = &mut stream.frames[0].1 else { panic!() };
        content.raw = Some(1);
    });
    sees("I8: event 12 is not in the log", |stream| {
        stream.frames.push((300, Frame::Event(Content { seq: 12, digest: 0, raw: None })));
    });
}

#[test]
fn i9_bookmarks() {
    sees("I9: the bookmark 6 came before event 6", |stream| stream.frames[1].1 = bookmark(6, 9));
    sees("I9: event 6 came after everything up to 6 had been told", |stream| stream.frames[1].1 = bookmark(6, 9));
    sees("I9: the bookmark 7 came after 8 had been told", |stream| stream.frames[4].1 = bookmark(7, 9));
    sees("I9: the bookmark 10 is beyond the log", |stream| stream.frames[4].1 = bookmark(10, 10));
    sees("I9: the bookmark 9 is beyond the log", |stream| stream.frames[4].1 = bookmark(9, 8));
    sees("I9: 2 events were left, the heartbeat says 1", |stream| {
        let Frame::Heartbeat(heartbeat) = &mut stream.frames[1].1 else { panic!() };
        heartbeat.backlog = 1;
    });
    sees("I9: 2 events were left, the heartbeat says that it is live", |stream| {
        let Frame::Heartbeat(heartbeat) = &mut stream.frames[1].1 else { panic!() };
        heartbeat.state = FeedState::Live;
    });
}

#[test]
fn i9_where_it_begins() {
    sees("I9: asked for After(2), it began after 3", |stream| stream.asked.start = Start::After(2));
    sees("I9: asked for Earliest, it began after 3", |stream| stream.asked.start = Start::Earliest);
    sees("I9: asked for Latest, it began after 3", |stream| stream.asked.start = Start::Latest);
    let at = |millis: i64| move |stream: &mut Stream<Watch>| stream.asked.start = Start::ReceivedAt(millis * 1000);
    assert_eq!(found(at(3001)), Vec::<String>::new());
    assert_eq!(found(at(4000)), Vec::<String>::new());
    sees("I9: asked for ReceivedAt(3000000), it began after 3", at(3000));
    sees("I9: asked for ReceivedAt(4001000), it began after 3", at(4001));
}

#[test]
fn i9_how_it_ends() {
    sees("I9: ended with OK after 3 events", |stream| stream.end = End::Done);
    sees("I9: 3 events came, and the limit was 2", |stream| reader(stream).limit = 2);
    sees("I9: After(3) was refused with CURSOR_IN_FUTURE", |stream| {
        stream.end = End::Refused("CURSOR_IN_FUTURE".into());
    });
    sees("I9: Earliest was refused with EVENTS_EXPIRED", |stream| {
        stream.asked.start = Start::Earliest;
        stream.opened = None;
        stream.end = End::Refused("EVENTS_EXPIRED".into());
    });
    sees("I9: a second beginning", |stream| stream.frames[1].1 = Frame::Wrong("a second beginning".into()));
}

#[test]
fn i13_silence() {
    let longest = 1_250_000 + LATE;
    assert_eq!(found(|stream| stream.ended = 204 + longest), Vec::<String>::new());
    sees("I13: nothing came for 2000 ms", |stream| stream.ended = 204 + longest + 1);
    sees("I13: nothing came for 2000 ms", |stream| opened(stream).at = 200 - longest - 1);
}
