//! How a doubt is looked into and settled, by example: absences, windows, planned look-ups, and clocks that are set.

use super::*;

#[test]
fn what_only_a_person_may_send_again_is_never_sent_again_by_itself() {
    let never = || EntryEvent::Absent { by: LookedUpBy::Number, resend: ResendPolicy::Never };
    let entry = [500, 60_000, 120_000].into_iter().fold(unknown(), |entry, time| after(entry, time, never()));
    assert_eq!((entry.state, entry.effect), (NeedsOperator, Effect::Unknown));
}

/// A search stands for the earlier absences, and the last is by number.
#[test]
fn a_search_never_settles_an_absence() {
    let searched = [1_000, 20_000, 60_000, 120_000, 200_000].into_iter();
    let searched = searched.fold(unknown(), |entry, time| after(entry, time, not_in_search()));
    let progress = searched.unknown.unwrap();
    assert_eq!((searched.state, progress.absences, progress.last_absence), (Unknown, 2, Some(at(20_000))));
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
    // What was noted by the clock that was ahead begins again, and then both clocks have to say that the window has
    // passed.
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
    let taken = apply(absences.clone(), EntryEvent::TakenOver { boot: other }, now, &rules()).unwrap();
    let progress = taken.unknown.unwrap();
    assert_eq!((progress.last_byte, progress.since, progress.learned, progress.absences), (now, now, now, 0));
    assert_eq!((taken.boot, taken.next), (Some(other), Some(now)));
    let left = Duration::from_millis(15 * MINUTE - 200_000);
    assert_eq!(taken.not_after, Moment { wall: at(15 * MINUTE).wall, steady: now.steady.plus(left) });
    // On the same boot it goes on.
    let taken = after(absences.clone(), 100_000, taken_over());
    assert_eq!(taken.unknown, absences.unknown);
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
        let progress = entry.unknown.unwrap();
        assert_eq!((entry.state, progress.lookups, progress.absences), (Unknown, lookups, absences), "{time}");
        assert_eq!(entry.effect, Effect::Unknown);
    }
    assert_eq!(entry.next, Some(at(120_000)));
    let learned = at(120_000);
    let unknown =
        Some(UnknownSince { lookups: 7, absences: 4, last_absence: Some(learned), learned, ..unknown_doubt(0) });
    let (effect, next, updated) = (Effect::None, Some(at(120_000)), at(120_000).wall);
    let settled = Entry { state: Recorded, effect, unknown, next, updated, ..entry.clone() };
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
        let rules = LedgerRules { settle_window, lookup_delays: vec![last], ..rules() };
        let time = at(last_delay);
        for event in [absent(), no_answer()] {
            let asked = apply(unknown(), event, time, &rules).unwrap();
            assert_eq!(asked.next, Some(time.plus(Duration::from_millis(repeat))), "{settle_window:?}");
        }
    }
}

#[test]
fn when_walmart_cannot_be_asked_a_person_may_decide() {
    let no_late_delays = LedgerRules { lookup_delays: vec![Duration::from_secs(30)], ..rules() };
    let long_delays = LedgerRules { lookup_delays: vec![Duration::from_secs(200)], ..rules() };
    for (rules, given_up) in [(rules(), 120_000), (no_late_delays, 120_000), (long_delays, 200_000)] {
        for (time, state) in [(given_up - 1, Unknown), (given_up, NeedsOperator)] {
            for event in [no_answer(), not_asked()] {
                let entry = apply(unknown(), event, at(time), &rules).unwrap();
                let progress = entry.unknown.unwrap();
                assert_eq!(
                    (entry.state, entry.effect, entry.last_error.as_str()),
                    (state, Effect::Unknown, "no answer")
                );
                assert_eq!((progress.lookups, progress.absences), (1, 0));
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

/// No such row is made; a store may hold it all the same.
#[test]
fn an_unknown_entry_without_a_doubt_is_left_to_the_operator() {
    for state in [Unknown, NeedsOperator] {
        for event in [absent(), no_answer(), not_asked(), contradicted()] {
            assert_eq!(apply(made(state, &rules()), event, at(1), &rules()), Err(ImpossibleEventError(state)));
        }
    }
}
