//! Answers that come after another process has taken the entry over.

use super::*;
use crate::domain::ledger::AlertKind;
use crate::domain::ledger::late_word::{LateWord, judge};

const OTHER_BOOT: BootId = BootId([2; 16]);

/// What becomes of `word` half a minute after the start, at the process that sent `sent`.
fn late(stored: &Entry, sent: &Entry, word: EntryEvent) -> LateWord {
    judge(stored.clone(), sent, word, at(30_000), BOOT, &rules()).unwrap()
}

fn counted(stored: &Entry, sent: &Entry, word: EntryEvent) -> Entry {
    match late(stored, sent, word) {
        LateWord::Counts(entry) => *entry,
        other => panic!("{other:?}"),
    }
}

/// As another machine makes it of the entry: its steady clock reads something else.
fn taken(sent: &Entry) -> Entry {
    let now = Moment { wall: at(20_000).wall, steady: SteadyTime(5) };
    let taken = apply(sent.clone(), EntryEvent::TakenOver { boot: OTHER_BOOT }, now, &rules()).unwrap();
    Entry { fence: sent.fence + 1, ..taken }
}

#[test]
fn an_answer_to_the_last_attempt_counts_as_if_nobody_had_taken_over() {
    let operator = Entry { state: NeedsOperator, next: None, ..taken(&sending()) };
    for stored in [taken(&sending()), operator] {
        for word in [accepted(), refused(false), refused(true), not_sent(None), not_sent(Some(2_000))] {
            let told = counted(&stored, &sending(), word.clone());
            let expected = after(sending(), 30_000, word);
            let not_after = told.not_after;
            assert_eq!(told, Entry { fence: stored.fence, not_after, ..expected });
            // Measured by this machine again, or by none.
            assert_eq!(told.not_after.wall, stored.not_after.wall);
            assert_eq!(told.boot, Some(BOOT));
        }
    }
}

#[test]
fn a_refusal_after_an_earlier_doubt_waits_for_look_ups() {
    let sent = sent_again();
    let told = counted(&taken(&sent), &sent, refused(false));
    assert_eq!((told.state, told.unknown.unwrap().refusal), (Unknown, LaterRefusal::Plain));
    assert_eq!(&told.answer[..], b"refused");
}

#[test]
fn that_the_number_is_taken_is_not_forgotten() {
    let mut stored = taken(&sending());
    stored.unknown.as_mut().unwrap().refusal = LaterRefusal::SaysPresent;
    let told = counted(&stored, &sending(), refused(false));
    assert_eq!((told.state, told.says_present()), (Unknown, true));
    assert_eq!(counted(&stored, &sending(), accepted()).state, Succeeded);
}

#[test]
fn an_acceptance_keeps_what_was_given_up_from_being_sent_again() {
    let absences = [500, 60_000, 150_000].into_iter();
    let given_up = absences.fold(unknown(), |entry, time| after(entry, time, absent()));
    assert_eq!(given_up.state, Recorded);
    assert_eq!(counted(&given_up, &sending(), accepted()).state, Succeeded);
    for word in [refused(false), not_sent(None), not_sent(Some(0)), lost()] {
        assert_eq!(late(&given_up, &sending(), word), LateWord::Stands);
    }
}

#[test]
fn an_acceptance_of_an_attempt_before_the_last_is_a_duplicate() {
    let again = sent_again();
    let later = [again.clone(), after(again.clone(), 121_000, lost()), after(again, 121_000, accepted())];
    for stored in later {
        assert_eq!(late(&stored, &sending(), accepted()), LateWord::Alert(AlertKind::Duplicate));
        for word in [refused(true), not_sent(None), lost()] {
            assert_eq!(late(&stored, &sending(), word), LateWord::Stands);
        }
    }
}

#[test]
fn an_acceptance_after_the_end_is_told_if_the_end_says_otherwise() {
    for state in [Rejected, NotSent, Expired] {
        let ended = Entry { state, ..sending() };
        assert_eq!(late(&ended, &sending(), accepted()), LateWord::Alert(AlertKind::LateEffect));
        assert_eq!(late(&ended, &sending(), refused(false)), LateWord::Stands);
    }
    assert_eq!(late(&after(sending(), 1, accepted()), &sending(), accepted()), LateWord::Stands);
    assert_eq!(late(&taken(&sending()), &sending(), lost()), LateWord::Stands);
}

#[test]
fn only_an_attempt_has_an_answer() {
    assert!(judge(unknown(), &unknown(), accepted(), at(1), BOOT, &rules()).is_err());
}
