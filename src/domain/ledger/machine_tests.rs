//! Every way in which an entry changes, by example. What must hold on any way stands in `machine_properties.rs`.

use super::State::*;
use super::*;
use crate::domain::account::AccountId;
use crate::domain::ledger::{Fingerprint, Kind, OperationId};
use crate::domain::moment::SteadyTime;

#[path = "machine_properties.rs"]
mod properties;

const START: Moment = Moment { wall: Timestamp(1_000_000_000), steady: SteadyTime(7_000_000) };
const BOOT: BootId = BootId([1; 16]);
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
fn at(millis: u64) -> Moment {
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
        created: START.wall,
        updated: START.wall,
        not_after: START.plus(rules.not_after),
        next: None,
        boot: Some(BOOT),
        correlation_id: uuid::Uuid::from_u128(1),
        doubt: None,
        body: Bytes::from_static(b"body"),
        snapshot: b"snapshot".into(),
        answer: Bytes::new(),
        last_error: String::new(),
        resolution: String::new(),
        evidence: None,
        is_owed: false,
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
    let settled = [500, 60_000, 120_000].into_iter().fold(unknown(), |entry, time| after(entry, time, absent()));
    after(settled, 120_000, Event::Send)
}

fn after(entry: Entry, millis: u64, event: Event) -> Entry {
    apply(entry, event, at(millis), &rules()).unwrap()
}

fn lost() -> Event {
    Event::Lost { error: "lost".into() }
}

fn no_answer() -> Event {
    Event::NoEvidence { error: "no answer".into() }
}

fn not_asked() -> Event {
    Event::NotAsked { error: "no answer".into(), again_in: Duration::from_secs(3) }
}

/// Absent, asked by number.
fn absent() -> Event {
    Event::Absent { by: LookedUpBy::Number, resend: Resend::AfterAbsence }
}

/// Absent from a complete search.
fn not_in_search() -> Event {
    Event::Absent { by: LookedUpBy::Search, resend: Resend::AfterAbsence }
}

fn taken_over() -> Event {
    Event::TakenOver { boot: BOOT }
}

fn contradicted() -> Event {
    Event::Contradicted { error: "another order".into() }
}

fn accepted() -> Event {
    Event::Accepted { answer: b"accepted".into() }
}

fn found() -> Event {
    Event::Present { answer: b"found".into() }
}

fn refused(says_present: bool) -> Event {
    Event::Refused { answer: b"refused".into(), error: "refused".into(), says_present }
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
        taken_over(),
        Event::TakenOver { boot: BootId([2; 16]) },
        found(),
        absent(),
        not_in_search(),
        Event::Absent { by: LookedUpBy::Number, resend: Resend::Never },
        contradicted(),
        no_answer(),
        not_asked(),
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
        updated: at(millis).wall,
        ..entry.clone()
    }
}

#[test]
fn only_what_can_happen_changes_an_entry() {
    use Event as E;
    for entry in [recorded(), sending(), unknown(), needs_operator()] {
        for event in every_event() {
            let possible = match entry.state {
                Recorded => matches!(
                    event,
                    E::Send
                        | E::TakenOver { .. }
                        | E::Resolved { .. }
                        | E::Present { .. }
                        | E::Refused { .. }
                        | E::NotSent { .. }
                ),
                Sending => matches!(
                    event,
                    E::Accepted { .. } | E::Refused { .. } | E::NotSent { .. } | E::Lost { .. } | E::TakenOver { .. }
                ),
                _ => matches!(
                    event,
                    E::Present { .. }
                        | E::Absent { .. }
                        | E::Contradicted { .. }
                        | E::NoEvidence { .. }
                        | E::NotAsked { .. }
                        | E::TakenOver { .. }
                        | E::Resolved { .. }
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
        let sent = Entry { state: Sending, effect, attempts: 1, next: None, updated: at(time).wall, ..entry.clone() };
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
fn no_refusal_after_a_doubt_is_final_before_a_look_up_agrees() {
    let entry = sent_again();
    assert_eq!((entry.state, entry.attempts), (Sending, 2));
    for (says_present, refusal) in [(false, Refusal::Plain), (true, Refusal::SaysPresent)] {
        let doubted = after(entry.clone(), 130_000, refused(says_present));
        assert_eq!((doubted.state, doubted.effect), (Unknown, Effect::Unknown));
        assert_eq!((doubted.last_error.as_str(), &doubted.answer[..]), ("refused", &b"refused"[..]));
        assert_eq!(doubted.doubt, Some(Doubt { refusal, ..Doubt::since(at(130_000)) }));
        assert_eq!(after(doubted.clone(), 131_000, found()).state, Succeeded);
        let times = [131_000, 200_000, 249_999, 270_000];
        let agreed = times.into_iter().fold(doubted, |entry, time| after(entry, time, absent()));
        if says_present {
            // Walmart's own words and its look-ups disagree, for good: nothing is sent, nothing ends without a person.
            assert_eq!((agreed.state, agreed.effect), (NeedsOperator, Effect::Unknown));
            assert!(agreed.next.is_some());
            let late = after(agreed.clone(), 60 * MINUTE, absent());
            assert_eq!((late.state, late.effect), (NeedsOperator, Effect::Unknown));
            assert_eq!(after(agreed, 280_000, found()).state, Succeeded);
        } else {
            let rejected = (Rejected, Effect::None, &b"refused"[..]);
            assert_eq!((agreed.state, agreed.effect, &agreed.answer[..]), rejected);
        }
    }
}

#[test]
fn walmarts_word_that_the_order_is_there_outlives_later_attempts() {
    let hinted = after(sent_again(), 130_000, refused(true));
    // A person has it sent again, which takes the word back; but not what comes after it.
    let again = after(after(hinted.clone(), 140_000, resolved(Verdict::Resend)), 140_000, Event::Send);
    assert!(!again.says_present());
    let hinted_again = after(again, 141_000, refused(true));
    assert!(hinted_again.says_present());
    let lost_again = in_doubt(hinted, "lost".into(), at(150_000), &rules());
    assert!(lost_again.says_present());
}

#[test]
fn a_contradiction_waits_for_a_person_and_is_not_looked_up_again() {
    for entry in [unknown(), needs_operator()] {
        let waiting = after(entry, 1_000, contradicted());
        assert_eq!((waiting.state, waiting.effect, waiting.next), (NeedsOperator, Effect::Unknown, None));
        assert_eq!(waiting.last_error, "another order");
        assert_eq!(after(waiting.clone(), 2_000, taken_over()).next, None);
        assert_eq!(after(waiting, 3_000, resolved(Verdict::Rejected)).state, Rejected);
    }
}

#[test]
fn what_only_a_person_may_send_again_is_never_sent_again_by_itself() {
    let never = || Event::Absent { by: LookedUpBy::Number, resend: Resend::Never };
    let entry = [500, 60_000, 120_000].into_iter().fold(unknown(), |entry, time| after(entry, time, never()));
    assert_eq!((entry.state, entry.effect), (NeedsOperator, Effect::Unknown));
}

/// A search stands for the earlier absences, and the last is by number.
#[test]
fn a_search_never_settles_an_absence() {
    let searched = [1_000, 20_000, 60_000, 120_000, 200_000].into_iter();
    let searched = searched.fold(unknown(), |entry, time| after(entry, time, not_in_search()));
    let doubt = searched.doubt.unwrap();
    assert_eq!((searched.state, doubt.absences, doubt.last_absence), (Unknown, 2, Some(at(20_000))));
    assert!(rules().is_ripe(&searched, at(200_000)));
    assert_eq!(after(searched, 200_001, absent()).state, Recorded);
    let early = [1_000, 20_000].into_iter().fold(unknown(), |entry, time| after(entry, time, not_in_search()));
    assert!(!rules().is_ripe(&early, at(119_999)) && rules().is_ripe(&early, at(120_000)));
    assert!(!rules().is_ripe(&unknown(), at(200_000)));
}

/// The same instant, with the wall clock set by so many milliseconds.
fn stepped(millis: u64, ahead: i64) -> Moment {
    let moment = at(millis);
    Moment { wall: Timestamp(moment.wall.0.saturating_add_signed(ahead)), ..moment }
}

#[test]
fn a_step_of_the_wall_clock_neither_settles_a_doubt_nor_stops_look_ups() {
    // A step of +90 s right after the loss: the window is over when the steady clock says so too.
    let ahead = |millis| stepped(millis, 90_000);
    let mut entry = unknown();
    for millis in [500, 16_000, 31_000, 100_000, 119_999] {
        entry = apply(entry, absent(), ahead(millis), &rules()).unwrap();
        assert_eq!(entry.state, Unknown, "{millis}");
        assert!(entry.next.unwrap().steady > at(millis).steady && entry.next.unwrap().wall > ahead(millis).wall);
    }
    assert_eq!(apply(entry, absent(), ahead(135_000), &rules()).unwrap().state, Recorded);
    // A step of -1 h: look-ups go on by the steady clock.
    let back = |millis| stepped(millis, -3_600_000);
    let entry = apply(unknown(), absent(), back(500), &rules()).unwrap();
    assert_eq!(entry.next, Some(back(1_500)));
    // Also where the clock was ahead by 40 days for a minute: a time that never comes keeps no window open.
    let far = |millis| stepped(millis, 40 * 24 * 3_600_000);
    let noted = apply(apply(sending(), lost(), far(0), &rules()).unwrap(), absent(), far(500), &rules()).unwrap();
    let right = [61_000, 100_000, 181_000].into_iter();
    let settled = right.fold(noted, |entry, millis| apply(entry, absent(), at(millis), &rules()).unwrap());
    assert_eq!(settled.state, Recorded);
    assert!(entry.next.unwrap().is_due(back(1_500)));
    assert_eq!(apply(entry.clone(), found(), back(1_500), &rules()).unwrap().state, Succeeded);
    // What was noted by the clock that was ahead begins again, and then both clocks have to say that the window has passed.
    let absences = |times: &[u64]| {
        times.iter().fold(entry.clone(), |entry, millis| apply(entry, absent(), back(*millis), &rules()).unwrap())
    };
    assert_eq!(absences(&[20_000, 60_000, 120_499]).state, Unknown, "settled by one clock alone");
    assert_eq!(absences(&[20_000, 60_000, 120_500]).state, Recorded);
}

#[test]
fn on_another_boot_every_window_begins_again() {
    let other = BootId([2; 16]);
    let absences = [500, 60_000].into_iter().fold(unknown(), |entry, time| after(entry, time, absent()));
    // The machine was started again: its steady clock begins anew.
    let now = Moment { wall: at(200_000).wall, steady: SteadyTime(5_000) };
    let taken = apply(absences.clone(), Event::TakenOver { boot: other }, now, &rules()).unwrap();
    let doubt = taken.doubt.unwrap();
    assert_eq!((doubt.last_byte, doubt.since, doubt.learned, doubt.absences), (now, now, now, 0));
    assert_eq!((taken.boot, taken.next), (Some(other), Some(now)));
    let left = Duration::from_millis(15 * MINUTE - 200_000);
    assert_eq!(taken.not_after, Moment { wall: at(15 * MINUTE).wall, steady: now.steady.plus(left) });
    // On the same boot it goes on.
    let taken = after(absences.clone(), 100_000, taken_over());
    assert_eq!(taken.doubt, absences.doubt);
}

fn unknown_doubt(millis: u64) -> Doubt {
    Doubt::since(at(millis))
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
            Recorded => Entry { state, effect: Effect::None, next: next.map(at), updated: at(time).wall, ..entry },
            NotSent => closed_as(&entry, state, Effect::None, b"not sent", time),
            _ => closed_as(&entry, state, Effect::None, b"", time),
        };
        assert_eq!(ended, Entry { last_error: "not sent".into(), ..expected }, "{time} {again_in:?}");
    }
}

#[test]
fn a_lost_answer_or_a_lost_process_is_a_doubt() {
    for (event, error) in [(lost(), "lost"), (taken_over(), "the process ended")] {
        let expected = Entry {
            state: Unknown,
            effect: Effect::Unknown,
            doubt: Some(unknown_doubt(7)),
            next: Some(at(507)),
            updated: at(7).wall,
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
        for (next, expected) in [(at(5), 10), (at(99), later)] {
            let expected = Entry { next: Some(at(expected)), updated: at(10).wall, ..entry.clone() };
            assert_eq!(after(Entry { next: Some(next), ..entry.clone() }, 10, taken_over()), expected);
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
        entry = after(entry, time, absent());
        let doubt = entry.doubt.unwrap();
        assert_eq!((entry.state, doubt.lookups, doubt.absences), (Unknown, lookups, absences), "{time}");
        assert_eq!(entry.effect, Effect::Unknown);
    }
    assert_eq!(entry.next, Some(at(120_000)));
    let learned = at(120_000);
    let doubt = Some(Doubt { lookups: 7, absences: 4, last_absence: Some(learned), learned, ..unknown_doubt(0) });
    let (effect, next, updated) = (Effect::None, Some(at(120_000)), at(120_000).wall);
    let settled = Entry { state: Recorded, effect, doubt, next, updated, ..entry.clone() };
    assert_eq!(after(entry.clone(), 120_000, absent()), settled);
    // No longer than the call may take.
    let last = after(entry.clone(), 15 * MINUTE, absent());
    assert_eq!((last.state, last.next), (Recorded, Some(at(15 * MINUTE))));
    let expired = after(entry, 15 * MINUTE + 1, absent());
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
        let entry = times.iter().fold(unknown(), |entry, time| after(entry, *time, absent()));
        assert_eq!(entry.state, state, "{times:?}");
    }
}

#[test]
fn after_the_planned_look_ups_the_interval_repeats() {
    let entry = after(unknown(), 120_000, absent());
    assert_eq!(entry.next, Some(at(120_000 + 300_000)));
    for (settle_window, last_delay, repeat) in [(1_000, 500, 2_500), (1_000, 9_000, 9_000), (600_000, 500, 300_000)] {
        let [settle_window, last] = [settle_window, last_delay].map(Duration::from_millis);
        let rules = Rules { settle_window, lookup_delays: vec![last], ..rules() };
        let time = at(last_delay);
        for event in [absent(), no_answer()] {
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
            for event in [no_answer(), not_asked()] {
                let entry = apply(unknown(), event, at(time), &rules).unwrap();
                let doubt = entry.doubt.unwrap();
                assert_eq!(
                    (entry.state, entry.effect, entry.last_error.as_str()),
                    (state, Effect::Unknown, "no answer")
                );
                assert_eq!((doubt.lookups, doubt.absences), (1, 0));
                assert!(entry.next.unwrap().steady > at(time).steady);
            }
        }
    }
    // Walmart is asked on (here after the clock was put back), and an answer brings the entry back.
    let waiting = needs_operator();
    assert_eq!(after(waiting.clone(), 60_000, no_answer()).state, NeedsOperator);
    assert_eq!(after(waiting, 130_000, absent()).state, Unknown);
    // What was learned in between counts from then on.
    let asked = after(unknown(), 100_000, absent());
    assert_eq!(after(asked.clone(), 219_999, no_answer()).state, Unknown);
    assert_eq!(after(asked, 220_000, not_asked()).state, NeedsOperator);
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
            updated: at(200_000).wall,
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
        for event in [absent(), no_answer(), not_asked(), contradicted()] {
            assert_eq!(apply(made(state, &rules()), event, at(1), &rules()), Err(Impossible(state)));
        }
    }
}

#[test]
fn what_may_still_show_is_looked_at_once_more() {
    let expired = after(recorded(), 16 * MINUTE, Event::TimeUp);
    let planned = |from: u64| [5, 60, 24 * 60].map(|minutes| at(from + minutes * MINUTE).wall).to_vec();
    assert_eq!(audits(&expired), planned(16 * MINUTE));
    let (all, once) = (planned(130_000), vec![at(130_000 + 60 * MINUTE).wall]);
    for (entry, expected) in [
        (sent_again(), vec![]),
        (after(sending(), 130_000, accepted()), vec![]),
        // Twice handed over, never in doubt.
        (Entry { attempts: 2, ..after(sending(), 130_000, accepted()) }, vec![]),
        (after(sent_again(), 130_000, accepted()), all.clone()),
        (after(sending(), 130_000, refused(false)), once.clone()),
        (after(sending(), 130_000, not_sent(None)), once),
        (after(unknown(), 130_000, found()), all.clone()),
        (after(needs_operator(), 130_000, resolved(Verdict::Succeeded)), all.clone()),
        (after(needs_operator(), 130_000, resolved(Verdict::Rejected)), all.clone()),
        (after(recorded(), 130_000, resolved(Verdict::Rejected)), all),
    ] {
        assert_eq!(audits(&entry), expected, "{:?} {}", entry.state, entry.attempts);
    }
}
