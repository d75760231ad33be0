//! Every way in which an entry changes, by example. What must hold on any way stands in `machine_properties.rs`.

use super::State::*;
use super::*;
use crate::domain::account::AccountId;
use crate::domain::ledger::{Fingerprint, Kind, OperationId};

#[path = "machine_properties.rs"]
mod properties;

const START: Timestamp = Timestamp(1_000_000_000);
const MINUTE: u64 = 60_000;

/// The default settings.
fn rules() -> Rules {
    Rules {
        settle_window: Duration::from_secs(120),
        lookup_delays: [500, 1_500, 5_000, 15_000, 30_000, 60_000, 120_000].map(Duration::from_millis).into(),
        not_after: Duration::from_secs(900),
    }
}

/// So many milliseconds after the start.
fn at(millis: u64) -> Timestamp {
    START.plus(Duration::from_millis(millis))
}

/// An entry whose call came at the start, as the store makes it.
fn made(state: State, rules: &Rules) -> Entry {
    Entry {
        id: OperationId(1),
        fence: 1,
        account: AccountId::new("acme").unwrap(),
        kind: Kind::Create,
        order_number: "SO1".into(),
        request_id: None,
        batch: 0,
        batches: 1,
        fingerprint: Fingerprint([1; Fingerprint::LENGTH]),
        state,
        effect: Effect::None,
        attempts: u32::from(state == Sending),
        created: START,
        updated: START,
        not_after: START.plus(rules.not_after),
        next: None,
        correlation_id: uuid::Uuid::from_u128(1),
        doubt: None,
        body: Bytes::from_static(b"body"),
        snapshot: b"snapshot".into(),
        answer: Bytes::new(),
        last_error: String::new(),
        resolution: String::new(),
    }
}

fn recorded() -> Entry {
    made(Recorded, &rules())
}

fn sending() -> Entry {
    made(Sending, &rules())
}

/// Lost at the start.
fn unknown() -> Entry {
    after(sending(), 0, lost())
}

fn needs_operator() -> Entry {
    after(unknown(), 2 * MINUTE, no_answer())
}

/// Sent, lost, settled by three absences at two minutes, sent again.
fn sent_again() -> Entry {
    let settled = [500, 60_000, 120_000].into_iter().fold(unknown(), |entry, time| after(entry, time, Event::Absent));
    after(settled, 120_000, Event::Send)
}

fn after(entry: Entry, millis: u64, event: Event) -> Entry {
    apply(entry, event, at(millis), &rules()).unwrap()
}

fn lost() -> Event {
    Event::Lost { error: "lost".into() }
}

fn no_answer() -> Event {
    Event::NoAnswer { error: "no answer".into() }
}

fn accepted() -> Event {
    Event::Accepted { answer: b"accepted".into() }
}

fn found() -> Event {
    Event::Found { answer: b"found".into() }
}

fn refused(duplicate: bool) -> Event {
    Event::Refused { answer: b"refused".into(), error: "refused".into(), duplicate }
}

fn not_sent(again_in: Option<u64>) -> Event {
    let again_in = again_in.map(Duration::from_millis);
    Event::NotSent { answer: b"not sent".into(), error: "not sent".into(), again_in }
}

fn resolved(verdict: Verdict) -> Event {
    Event::Resolved { verdict, reason: "looked it up".into(), answer: b"resolved".into() }
}

/// One of each, with all that an event decides by.
fn every_event() -> Vec<Event> {
    vec![
        Event::Send,
        accepted(),
        refused(false),
        refused(true),
        not_sent(None),
        not_sent(Some(0)),
        not_sent(Some(2_000)),
        lost(),
        Event::TakenOver,
        found(),
        Event::Absent,
        no_answer(),
        resolved(Verdict::Succeeded),
        resolved(Verdict::Rejected),
        resolved(Verdict::Resend),
        Event::TimeUp,
    ]
}

/// What a final entry looks like, made of what it was before.
fn closed_as(entry: &Entry, state: State, effect: Effect, answer: &[u8], millis: u64) -> Entry {
    let (body, snapshot) = (Bytes::new(), Vec::new());
    Entry {
        state,
        effect,
        answer: answer.to_vec().into(),
        next: None,
        body,
        snapshot,
        updated: at(millis),
        ..entry.clone()
    }
}

#[test]
fn only_what_can_happen_changes_an_entry() {
    use Event as E;
    for entry in [recorded(), sending(), unknown(), needs_operator()] {
        for event in every_event() {
            let possible = match entry.state {
                Recorded => matches!(event, E::Send | E::TakenOver | E::Resolved { .. }),
                Sending => matches!(
                    event,
                    E::Accepted { .. } | E::Refused { .. } | E::NotSent { .. } | E::Lost { .. } | E::TakenOver
                ),
                _ => matches!(
                    event,
                    E::Found { .. } | E::Absent | E::NoAnswer { .. } | E::TakenOver | E::Resolved { .. }
                ),
            };
            let result = apply(entry.clone(), event.clone(), at(10), &rules());
            assert_eq!(result.is_ok(), possible, "{:?} {event:?}", entry.state);
            assert!(possible || result == Err(Impossible(entry.state)), "{:?} {event:?}", entry.state);
        }
    }
    for state in [Succeeded, Rejected, NotSent, Expired] {
        for event in every_event() {
            let result = apply(made(state, &rules()), event, at(60 * MINUTE), &rules());
            assert_eq!(result, Err(Impossible(state)));
        }
    }
}

#[test]
fn what_is_recorded_is_sent_until_it_is_too_late() {
    let entry = Entry { next: Some(at(5)), ..recorded() };
    for time in [0, 15 * MINUTE] {
        let effect = Effect::Unknown;
        let sent = Entry { state: Sending, effect, attempts: 1, next: None, updated: at(time), ..entry.clone() };
        assert_eq!(after(entry.clone(), time, Event::Send), sent);
        assert_eq!(apply(entry.clone(), Event::TimeUp, at(time), &rules()), Err(Impossible(Recorded)));
    }
    let late = 15 * MINUTE + 1;
    assert_eq!(apply(entry.clone(), Event::Send, at(late), &rules()), Err(Impossible(Recorded)));
    assert_eq!(after(entry.clone(), late, Event::TimeUp), closed_as(&entry, Expired, Effect::None, b"", late));
}

#[test]
fn a_definite_answer_ends_it() {
    let entry = sending();
    assert_eq!(after(entry.clone(), 7, accepted()), closed_as(&entry, Succeeded, Effect::Applied, b"accepted", 7));
    let rejected = Entry { last_error: "refused".into(), ..closed_as(&entry, Rejected, Effect::None, b"refused", 7) };
    assert_eq!(after(entry.clone(), 7, refused(false)), rejected);
    // Nothing of ours can be there already.
    assert_eq!(after(entry, 7, refused(true)), rejected);
}

#[test]
fn a_duplicate_may_be_an_earlier_attempt_of_ours() {
    let entry = sent_again();
    assert_eq!((entry.state, entry.attempts), (Sending, 2));
    let doubted = after(entry.clone(), 130_000, refused(true));
    assert_eq!((doubted.state, doubted.effect, doubted.last_error.as_str()), (Unknown, Effect::Unknown, "refused"));
    assert_eq!(doubted.doubt, Some(Doubt { since: at(130_000), ..unknown_doubt(130_000) }));
    assert_eq!(after(doubted, 131_000, found()).state, Succeeded);
    assert_eq!(after(entry, 130_000, refused(false)).state, Rejected);
}

fn unknown_doubt(millis: u64) -> Doubt {
    Doubt { since: at(millis), last_byte: at(millis), lookups: 0, absences: 0, last_absence: None }
}

#[test]
fn what_was_not_sent_is_tried_again_or_ends() {
    let last = 15 * MINUTE;
    for (entry, time, again_in, state, next) in [
        (sending(), 10, None, NotSent, None),
        (sending(), 10, Some(2_000), Recorded, Some(2_010)),
        (sending(), last - 2_000, Some(2_000), Recorded, Some(last)),
        (sending(), last - 1_999, Some(2_000), Expired, None),
        (sent_again(), 130_000, None, Expired, None),
        (sent_again(), 130_000, Some(2_000), Recorded, Some(132_000)),
    ] {
        let ended = after(entry.clone(), time, not_sent(again_in));
        let expected = match state {
            Recorded => Entry { state, effect: Effect::None, next: next.map(at), updated: at(time), ..entry },
            NotSent => closed_as(&entry, state, Effect::None, b"not sent", time),
            _ => closed_as(&entry, state, Effect::None, b"", time),
        };
        assert_eq!(ended, Entry { last_error: "not sent".into(), ..expected }, "{time} {again_in:?}");
    }
}

#[test]
fn a_lost_answer_or_a_lost_process_is_a_doubt() {
    for (event, error) in [(lost(), "lost"), (Event::TakenOver, "the process ended")] {
        let expected = Entry {
            state: Unknown,
            effect: Effect::Unknown,
            doubt: Some(unknown_doubt(7)),
            next: Some(at(507)),
            updated: at(7),
            last_error: error.into(),
            ..sending()
        };
        assert_eq!(after(sending(), 7, event), expected);
    }
}

#[test]
fn a_take_over_keeps_what_is_planned_and_looks_at_the_rest_now() {
    for entry in [recorded(), unknown(), needs_operator()] {
        // A waiting entry's turn comes with the take-over.
        let later = if entry.state == Recorded { 10 } else { 99 };
        for (next, expected) in [(None, 10), (Some(at(5)), 10), (Some(at(99)), later)] {
            let expected = Entry { next: Some(at(expected)), updated: at(10), ..entry.clone() };
            assert_eq!(after(Entry { next, ..entry.clone() }, 10, Event::TakenOver), expected);
        }
    }
}

#[test]
fn what_is_found_was_carried_out() {
    for entry in [unknown(), needs_operator()] {
        let expected = closed_as(&entry, Succeeded, Effect::Applied, b"found", 9);
        assert_eq!(after(entry, 9, found()), expected);
    }
}

/// An absence counts when it is 15 s after the last that did.
#[test]
fn walmart_is_asked_as_planned_until_the_doubt_is_settled() {
    let mut entry = unknown();
    for (lookups, (time, absences)) in
        (1..).zip([(500, 1), (1_500, 1), (5_000, 1), (15_000, 1), (30_000, 2), (60_000, 3)])
    {
        assert_eq!(entry.next, Some(at(time)));
        entry = after(entry, time, Event::Absent);
        let doubt = entry.doubt.unwrap();
        assert_eq!((entry.state, doubt.lookups, doubt.absences), (Unknown, lookups, absences), "{time}");
        assert_eq!(entry.effect, Effect::Unknown);
    }
    assert_eq!(entry.next, Some(at(120_000)));
    let doubt = Some(Doubt { lookups: 7, absences: 4, last_absence: Some(at(120_000)), ..unknown_doubt(0) });
    let (effect, next, updated) = (Effect::None, Some(at(120_000)), at(120_000));
    let settled = Entry { state: Recorded, effect, doubt, next, updated, ..entry.clone() };
    assert_eq!(after(entry.clone(), 120_000, Event::Absent), settled);
    // No longer than the call may take.
    let last = after(entry.clone(), 15 * MINUTE, Event::Absent);
    assert_eq!((last.state, last.next), (Recorded, Some(at(15 * MINUTE))));
    let expired = after(entry, 15 * MINUTE + 1, Event::Absent);
    assert_eq!(
        (expired.state, expired.effect, expired.next, expired.body),
        (Expired, Effect::None, None, Bytes::new())
    );
}

#[test]
fn a_doubt_is_settled_by_three_absences_far_apart_and_the_last_late() {
    for (times, state) in [
        (&[90_000, 105_000, 120_000][..], Recorded),
        (&[90_000, 105_000, 119_999], Unknown),
        (&[90_001, 105_000, 120_000], Unknown),
        (&[90_000, 105_001, 120_000], Unknown),
        (&[105_000, 120_000], Unknown),
        // Enough of them before; the last does not count.
        (&[60_000, 90_000, 119_000, 120_000], Unknown),
        (&[60_000, 90_000, 119_000, 134_000], Recorded),
        // A clock that was put back.
        (&[130_000, 100_000, 110_000, 150_000], Unknown),
    ] {
        let entry = times.iter().fold(unknown(), |entry, time| after(entry, *time, Event::Absent));
        assert_eq!(entry.state, state, "{times:?}");
    }
}

#[test]
fn after_the_planned_look_ups_the_interval_repeats() {
    let entry = after(unknown(), 120_000, Event::Absent);
    assert_eq!(entry.next, Some(at(120_000 + 300_000)));
    for (settle_window, last_delay, repeat) in [(1_000, 500, 2_500), (1_000, 9_000, 9_000), (600_000, 500, 300_000)] {
        let [settle_window, last] = [settle_window, last_delay].map(Duration::from_millis);
        let rules = Rules { settle_window, lookup_delays: vec![last], ..rules() };
        let time = at(last_delay);
        for event in [Event::Absent, no_answer()] {
            let asked = apply(unknown(), event, time, &rules).unwrap();
            assert_eq!(asked.next, Some(time.plus(Duration::from_millis(repeat))), "{settle_window:?}");
        }
    }
}

#[test]
fn when_walmart_cannot_be_asked_a_person_may_decide() {
    let no_late_delays = Rules { lookup_delays: vec![Duration::from_secs(30)], ..rules() };
    let long_delays = Rules { lookup_delays: vec![Duration::from_secs(200)], ..rules() };
    for (rules, given_up) in [(rules(), 120_000), (no_late_delays, 120_000), (long_delays, 200_000)] {
        for (time, state) in [(given_up - 1, Unknown), (given_up, NeedsOperator)] {
            let entry = apply(unknown(), no_answer(), at(time), &rules).unwrap();
            let doubt = entry.doubt.unwrap();
            assert_eq!((entry.state, entry.effect, entry.last_error.as_str()), (state, Effect::Unknown, "no answer"));
            assert_eq!((doubt.lookups, doubt.absences), (1, 0));
            assert!(entry.next > Some(at(time)));
        }
    }
    // It is asked on (here after the clock was put back), and an answer brings it back.
    let waiting = needs_operator();
    assert_eq!(after(waiting.clone(), 60_000, no_answer()).state, NeedsOperator);
    assert_eq!(after(waiting, 130_000, Event::Absent).state, Unknown);
}

#[test]
fn an_operator_decides() {
    for entry in [recorded(), unknown(), needs_operator()] {
        let resolution = "looked it up".to_owned();
        let of = |state, effect| Entry {
            resolution: resolution.clone(),
            ..closed_as(&entry, state, effect, b"resolved", 200_000)
        };
        let decided = |verdict| after(entry.clone(), 200_000, resolved(verdict));
        assert_eq!(decided(Verdict::Succeeded), of(Succeeded, Effect::Applied));
        assert_eq!(decided(Verdict::Rejected), of(Rejected, Effect::None));
        let again = Entry {
            state: Recorded,
            effect: Effect::None,
            next: Some(at(200_000)),
            not_after: at(200_000 + 15 * MINUTE),
            updated: at(200_000),
            resolution: resolution.clone(),
            ..entry.clone()
        };
        assert_eq!(decided(Verdict::Resend), again);
    }
}

/// No such row is made; a store may hold it all the same.
#[test]
fn an_unknown_entry_without_a_doubt_is_left_to_the_operator() {
    for state in [Unknown, NeedsOperator] {
        for event in [Event::Absent, no_answer()] {
            assert_eq!(apply(made(state, &rules()), event, at(1), &rules()), Err(Impossible(state)));
        }
    }
}

#[test]
fn what_may_still_show_is_looked_at_once_more() {
    let expired = after(recorded(), 16 * MINUTE, Event::TimeUp);
    let planned = |from: u64| [5, 60, 24 * 60].map(|minutes| at(from + minutes * MINUTE)).to_vec();
    assert_eq!(audits(&expired), planned(16 * MINUTE));
    for (entry, audited) in [
        (sent_again(), false),
        (after(sent_again(), 130_000, accepted()), true),
        (after(sent_again(), 130_000, refused(false)), true),
        (after(sending(), 130_000, accepted()), false),
        (after(sending(), 130_000, refused(false)), false),
        (after(sending(), 130_000, not_sent(None)), false),
        (after(unknown(), 130_000, found()), false),
        (after(needs_operator(), 130_000, resolved(Verdict::Succeeded)), false),
        (after(needs_operator(), 130_000, resolved(Verdict::Rejected)), true),
        (after(recorded(), 130_000, resolved(Verdict::Rejected)), false),
        // Twice handed over, never in doubt.
        (Entry { attempts: 2, ..after(sending(), 130_000, accepted()) }, false),
    ] {
        let expected = if audited { planned(130_000) } else { Vec::new() };
        assert_eq!(audits(&entry), expected, "{:?} {}", entry.state, entry.attempts);
    }
}
