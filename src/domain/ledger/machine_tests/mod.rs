//! Every way in which an entry changes, by example. How a doubt is settled stands in `doubt.rs`, what must
//! hold on any way in `properties.rs`.

use super::EntryState::*;
use super::*;
use crate::domain::account::AccountId;
use crate::domain::ledger::{Fingerprint, MutationKind, OperationId};
use crate::domain::moment::SteadyTime;

mod doubt;
mod late;
mod properties;

const START: Moment = Moment { wall: Timestamp(1_000_000_000), steady: SteadyTime(7_000_000) };
const BOOT: BootId = BootId([1; 16]);
const MINUTE: u64 = 60_000;

/// The default settings.
fn rules() -> LedgerRules {
    LedgerRules {
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
fn made(state: EntryState, rules: &LedgerRules) -> Entry {
    Entry {
        id: OperationId(1),
        fence: 1,
        account: AccountId::new("acme").unwrap(),
        kind: MutationKind::Create,
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
        unknown: None,
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
    after(settled, 120_000, EntryEvent::Send)
}

fn after(entry: Entry, millis: u64, event: EntryEvent) -> Entry {
    apply(entry, event, at(millis), &rules()).unwrap()
}

fn lost() -> EntryEvent {
    EntryEvent::Lost { error: "lost".into() }
}

fn no_answer() -> EntryEvent {
    EntryEvent::NoEvidence { error: "no answer".into() }
}

fn not_asked() -> EntryEvent {
    EntryEvent::NotAsked { error: "no answer".into(), again_in: Duration::from_secs(3) }
}

/// Absent, asked by number.
fn absent() -> EntryEvent {
    EntryEvent::Absent { by: LookedUpBy::Number, resend: ResendPolicy::AfterAbsence }
}

/// Absent from a complete search.
fn not_in_search() -> EntryEvent {
    EntryEvent::Absent { by: LookedUpBy::Search, resend: ResendPolicy::AfterAbsence }
}

fn taken_over() -> EntryEvent {
    EntryEvent::TakenOver { boot: BOOT }
}

fn contradicted() -> EntryEvent {
    EntryEvent::Contradicted { error: "another order".into() }
}

fn accepted() -> EntryEvent {
    EntryEvent::Accepted { answer: b"accepted".into() }
}

fn found() -> EntryEvent {
    EntryEvent::Present { answer: b"found".into() }
}

fn refused(says_present: bool) -> EntryEvent {
    EntryEvent::Refused { answer: b"refused".into(), error: "refused".into(), says_present }
}

fn not_sent(again_in: Option<u64>) -> EntryEvent {
    let again_in = again_in.map(Duration::from_millis);
    EntryEvent::NotSent { answer: b"not sent".into(), error: "not sent".into(), again_in }
}

fn resolved(verdict: OperatorVerdict) -> EntryEvent {
    EntryEvent::Resolved { verdict, reason: "looked it up".into(), answer: b"resolved".into() }
}

/// One of each, with all that an event decides by.
fn every_event() -> Vec<EntryEvent> {
    vec![
        EntryEvent::Send,
        accepted(),
        refused(false),
        refused(true),
        not_sent(None),
        not_sent(Some(0)),
        not_sent(Some(2_000)),
        lost(),
        taken_over(),
        EntryEvent::TakenOver { boot: BootId([2; 16]) },
        found(),
        absent(),
        not_in_search(),
        EntryEvent::Absent { by: LookedUpBy::Number, resend: ResendPolicy::Never },
        contradicted(),
        no_answer(),
        not_asked(),
        resolved(OperatorVerdict::Succeeded),
        resolved(OperatorVerdict::Rejected),
        resolved(OperatorVerdict::Resend),
        EntryEvent::TimeUp,
    ]
}

/// What a final entry looks like, made of what it was before.
fn closed_as(entry: &Entry, state: EntryState, effect: Effect, answer: &[u8], millis: u64) -> Entry {
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
    use EntryEvent as E;
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
            assert!(possible || result == Err(ImpossibleEventError(entry.state)), "{:?} {event:?}", entry.state);
        }
    }
    for state in [Succeeded, Rejected, NotSent, Expired] {
        for event in every_event() {
            let result = apply(made(state, &rules()), event, at(60 * MINUTE), &rules());
            assert_eq!(result, Err(ImpossibleEventError(state)));
        }
    }
}

#[test]
fn what_is_recorded_is_sent_until_it_is_too_late() {
    let entry = Entry { next: Some(at(5)), ..recorded() };
    for time in [0, 15 * MINUTE] {
        let effect = Effect::Unknown;
        let sent = Entry { state: Sending, effect, attempts: 1, next: None, updated: at(time).wall, ..entry.clone() };
        assert_eq!(after(entry.clone(), time, EntryEvent::Send), sent);
        assert_eq!(apply(entry.clone(), EntryEvent::TimeUp, at(time), &rules()), Err(ImpossibleEventError(Recorded)));
    }
    let late = 15 * MINUTE + 1;
    assert_eq!(apply(entry.clone(), EntryEvent::Send, at(late), &rules()), Err(ImpossibleEventError(Recorded)));
    assert_eq!(after(entry.clone(), late, EntryEvent::TimeUp), closed_as(&entry, Expired, Effect::None, b"", late));
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
    for (says_present, refusal) in [(false, LaterRefusal::Plain), (true, LaterRefusal::SaysPresent)] {
        let doubted = after(entry.clone(), 130_000, refused(says_present));
        assert_eq!((doubted.state, doubted.effect), (Unknown, Effect::Unknown));
        assert_eq!((doubted.last_error.as_str(), &doubted.answer[..]), ("refused", &b"refused"[..]));
        assert_eq!(doubted.unknown, Some(UnknownSince { refusal, ..UnknownSince::since(at(130_000)) }));
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
    let again = after(after(hinted.clone(), 140_000, resolved(OperatorVerdict::Resend)), 140_000, EntryEvent::Send);
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
        assert_eq!(after(waiting, 3_000, resolved(OperatorVerdict::Rejected)).state, Rejected);
    }
}

fn unknown_doubt(millis: u64) -> UnknownSince {
    UnknownSince::since(at(millis))
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
            unknown: Some(unknown_doubt(7)),
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

#[test]
fn an_operator_decides() {
    for entry in [recorded(), unknown(), needs_operator()] {
        let resolution = "looked it up".to_owned();
        let of = |state, effect| Entry {
            resolution: resolution.clone(),
            ..closed_as(&entry, state, effect, b"resolved", 200_000)
        };
        let decided = |verdict| after(entry.clone(), 200_000, resolved(verdict));
        assert_eq!(decided(OperatorVerdict::Succeeded), of(Succeeded, Effect::Applied));
        assert_eq!(decided(OperatorVerdict::Rejected), of(Rejected, Effect::None));
        let again = Entry {
            state: Recorded,
            effect: Effect::None,
            next: Some(at(200_000)),
            not_after: at(200_000 + 15 * MINUTE),
            updated: at(200_000).wall,
            resolution: resolution.clone(),
            ..entry.clone()
        };
        assert_eq!(decided(OperatorVerdict::Resend), again);
    }
}

#[test]
fn what_may_still_show_is_looked_at_once_more() {
    let expired = after(recorded(), 16 * MINUTE, EntryEvent::TimeUp);
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
        (after(needs_operator(), 130_000, resolved(OperatorVerdict::Succeeded)), all.clone()),
        (after(needs_operator(), 130_000, resolved(OperatorVerdict::Rejected)), all.clone()),
        (after(recorded(), 130_000, resolved(OperatorVerdict::Rejected)), all),
    ] {
        assert_eq!(audits(&entry), expected, "{:?} {}", entry.state, entry.attempts);
    }
}
