use prost::Message as _;

use super::*;
use crate::domain::account::AccountId;
use crate::domain::rules::FieldPath;
use crate::domain::timestamp::Timestamp;
use crate::testing::feed::{LOG, encoded};

fn encode(out: &mut Vec<u8>, _: LogId, stored: &StoredEvent) {
    // Of another length each, so that a wrong cut shows.
    out.extend(std::iter::repeat_n(u8::try_from(stored.seq).unwrap(), stored.seq as usize));
}

/// Events of `acme`, the even ones of `other`.
fn events(seqs: std::ops::RangeInclusive<u64>) -> Vec<StoredEvent> {
    let event = |seq| {
        let account = if seq % 2 == 0 { "other" } else { "acme" };
        let message = pb::Event { account: account.into(), ..Default::default() }.encode_to_vec().into();
        StoredEvent { seq, received: Timestamp(seq), message, raw: Bytes::new() }
    };
    seqs.map(event).collect()
}

fn frames(seqs: impl IntoIterator<Item = u64>) -> Vec<u8> {
    let mut out = Vec::new();
    seqs.into_iter().for_each(|seq| events(seq..=seq).iter().for_each(|event| encode(&mut out, LOG, event)));
    out
}

#[test]
fn all_events_are_a_slice_of_the_same_bytes() {
    let block = LogBlock::new(FeedName::CancelIntents, LOG, events(11..=20), encode);
    assert_eq!((block.first(), block.last()), (11, 20));
    for (position, most, expected) in [
        (0, u64::MAX, 11..=20),
        (10, u64::MAX, 11..=20),
        (11, u64::MAX, 12..=20),
        (19, u64::MAX, 20..=20),
        (10, 3, 11..=13),
        (12, 1, 13..=13),
        (15, 5, 16..=20),
        (15, 6, 16..=20),
    ] {
        let (bytes, count, last) = block.all_after(position, most);
        assert_eq!(bytes, frames(expected.clone()), "{position} {most}");
        assert_eq!((count, last), (expected.clone().count() as u64, *expected.end()), "{position} {most}");
        // Not a copy.
        assert!(block.frames.as_ptr_range().contains(&bytes.as_ptr()));
    }
    for (position, most) in [(20, 5), (99, 5), (12, 0)] {
        assert_eq!(block.all_after(position, most), (Bytes::new(), 0, position), "{position} {most}");
    }
}

#[test]
fn a_filter_leaves_events_out_and_passes_them() {
    let block = LogBlock::new(FeedName::CancelIntents, LOG, events(11..=20), encode);
    let wanted = pb::Filter { accounts: vec!["other".into()], ..Default::default() };
    let filter = EventFilter::new(&wanted, &FieldPath::Top("filter")).unwrap();
    for (position, most, expected, last) in [
        (0, u64::MAX, vec![12, 14, 16, 18, 20], 20),
        (12, u64::MAX, vec![14, 16, 18, 20], 20),
        (13, 2, vec![14, 16], 16),
        (18, 1, vec![20], 20),
    ] {
        let count = expected.len() as u64;
        assert_eq!(block.some_after(position, most, &filter), (frames(expected).into(), count, last));
    }
    let nobody = filter.within([AccountId::new("acme").unwrap()]);
    assert_eq!(block.some_after(13, u64::MAX, &nobody), (Bytes::new(), 0, 20), "all of it was looked at");
}

#[test]
fn an_extended_block_is_as_one_that_was_made_whole() {
    let before = encoded();
    let block = LogBlock::new(FeedName::CancelIntents, LOG, events(1..=4), encode).extended(LOG, events(5..=9), encode);
    let block = block.extended(LOG, events(10..=10), encode);
    assert_eq!((block.first(), block.last()), (1, 10));
    assert_eq!(block.all_after(2, 7), (frames(3..=9).into(), 7, 9));
    let seqs: Vec<_> = block.events_after(3).map(|(stored, _)| stored.seq).collect();
    assert_eq!(seqs, (4..=10).collect::<Vec<_>>());
    assert_eq!(encoded(), before, "by the encoder that it was given");
    let whole = LogBlock::new(FeedName::CancelIntents, LOG, events(1..=10), encode);
    assert_eq!((whole.size(), &whole.ends), (block.size(), &block.ends));
}

#[test]
fn a_damaged_event_is_passed_on_without_its_content() {
    let mut damaged = events(1..=1).remove(0);
    damaged.message = Bytes::from_static(b"\xff\xff\xff");
    let event: pb::Event = message(LOG, &damaged);
    assert_eq!((event.seq, event.cursor.as_str(), event.account.as_str()), (1, "c0ffee00.1", ""));
}
