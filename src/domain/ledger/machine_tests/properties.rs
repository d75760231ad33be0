//! What holds on every way an entry can go: on random ways, and on all ways of a small clock.

use std::collections::HashSet;
use std::fmt::Debug;

use proptest::prelude::*;

use super::*;

/// Follows one entry and says what may be done with it, from the events alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Watch {
    /// Whether an attempt may be made: there was none, the last was not carried out, its doubt was settled, or an
    /// operator said so.
    may_send: bool,
    /// Nothing is sent after this.
    deadline: Moment,
    /// When the last attempt was lost.
    lost: Moment,
    /// Absences since then of which each is far enough from the one before, at most three.
    absences: u32,
    last_absence: Option<Moment>,
    /// Whether a refusal said, after the last word of an operator, that the order is there; or plainly refused.
    refusal: LaterRefusal,
}

impl Watch {
    fn new(entry: &Entry) -> Self {
        let may_send = entry.state == Recorded;
        Self {
            may_send,
            deadline: entry.not_after,
            lost: START,
            absences: 0,
            last_absence: None,
            refusal: LaterRefusal::None,
        }
    }

    /// Takes one step and gives the entry after it. Panics when something does not hold.
    fn step(&mut self, before: &Entry, event: &EntryEvent, now: Moment, rules: &LedgerRules) -> Entry {
        let after = match apply(before.clone(), event.clone(), now, rules) {
            Ok(after) => after,
            Err(impossible) => {
                assert_eq!(impossible, ImpossibleEventError(before.state));
                return before.clone();
            }
        };
        let told = &(event, now, *self, before, &after);
        if matches!(event, EntryEvent::TakenOver { boot } if Some(*boot) != before.boot) {
            self.rebase(before, now);
        }
        self.not_ahead_of(now);
        let settled = self.is_settled_by(event, now, rules);
        let late = self.deadline.is_over(now);

        assert!(before.state.is_open(), "a final entry changed: {told:?}");
        check_kept(before, &after, told);
        let sends = *event == EntryEvent::Send;
        assert_eq!(after.state == Sending, sends, "sent unasked: {told:?}");
        assert_eq!(after.attempts, before.attempts + u32::from(sends), "wrong attempts: {told:?}");
        assert!(!sends || self.may_send, "sent in doubt: {told:?}");
        assert!(!sends || !late, "sent too late: {told:?}");
        check_ends(before, event, &after, self.refusal, settled, late, told);
        check_doubt(
            before,
            event,
            &after,
            settled && !late && self.refusal == LaterRefusal::None && !is_never(event),
            told,
        );
        check_content(&after, told);
        check_next(event, &after, now, rules, told);

        match event {
            EntryEvent::Send => self.may_send = false,
            EntryEvent::NotSent { .. } => self.may_send = true,
            EntryEvent::Absent { .. } => {
                self.may_send |= settled && self.refusal == LaterRefusal::None && !is_never(event);
            }
            EntryEvent::Resolved { verdict: OperatorVerdict::Resend, .. } => {
                self.may_send = true;
                self.refusal = LaterRefusal::None;
                self.deadline = now.plus(rules.not_after);
            }
            _ if before.state == Sending => {
                (self.lost, self.absences, self.last_absence) = (now, 0, None);
                let heard = match event {
                    EntryEvent::Refused { says_present: true, .. } => LaterRefusal::SaysPresent,
                    EntryEvent::Refused { .. } => LaterRefusal::Plain,
                    _ => LaterRefusal::None,
                };
                if self.refusal != LaterRefusal::SaysPresent {
                    self.refusal = heard;
                }
            }
            _ => {}
        }
        assert_eq!(after.not_after, self.deadline, "wrong deadline: {told:?}");
        after
    }

    /// A wall clock that was set back has noted times that never come.
    fn not_ahead_of(&mut self, now: Moment) {
        for noted in std::iter::once(&mut self.lost).chain(&mut self.last_absence) {
            if noted.wall > now.wall {
                *noted = now;
            }
        }
    }

    /// The machine was started again: no window that is under way counts.
    fn rebase(&mut self, before: &Entry, now: Moment) {
        let left = self.deadline.wall.since(now.wall);
        self.deadline = Moment { steady: now.steady.plus(left), ..self.deadline };
        if before.unknown.is_some() {
            (self.lost, self.absences, self.last_absence) = (now, 0, None);
        }
    }

    /// The resolve rule in the words of the design: both clocks have to agree, and the last absence is by number.
    fn is_settled_by(&mut self, event: &EntryEvent, now: Moment, rules: &LedgerRules) -> bool {
        let spans = |last: Moment| [now.wall.since(last.wall), now.steady.since(last.steady)];
        let far_enough = |last: Moment| spans(last).iter().all(|span| 8 * *span >= rules.settle_window);
        let EntryEvent::Absent { by, .. } = event else { return false };
        if !self.last_absence.is_none_or(far_enough) || (*by == LookedUpBy::Search && self.absences >= 2) {
            return false;
        }
        self.absences = 3.min(self.absences + 1);
        self.last_absence = Some(now);
        *by == LookedUpBy::Number
            && self.absences == 3
            && spans(self.lost).iter().all(|span| *span >= rules.settle_window)
    }
}

/// Whether only a person may have it sent again.
fn is_never(event: &EntryEvent) -> bool {
    matches!(event, EntryEvent::Absent { resend: ResendPolicy::Never, .. })
}

fn check_kept(before: &Entry, after: &Entry, told: &impl Debug) {
    let identity = |e: &Entry| {
        let number = (e.id, e.fence, e.account.clone(), e.kind, e.order_number.clone(), e.request_id.clone());
        (number, e.batch, e.batches, e.fingerprint, e.created, e.correlation_id)
    };
    assert_eq!(identity(before), identity(after), "another entry: {told:?}");
}

/// A known outcome frees the order number; the passing of time alone never does. An entry is SUCCEEDED only after an
/// acceptance or a look-up that showed the order.
fn check_ends(
    before: &Entry,
    event: &EntryEvent,
    after: &Entry,
    refusal: LaterRefusal,
    settled: bool,
    late: bool,
    told: &impl Debug,
) {
    let operator = |wanted| matches!(event, EntryEvent::Resolved { verdict, .. } if *verdict == wanted);
    let may_end = match (before.state, after.state) {
        (Sending, Succeeded) => matches!(event, EntryEvent::Accepted { .. }),
        (Recorded | Unknown | NeedsOperator, Succeeded) => {
            matches!(event, EntryEvent::Present { .. }) || operator(OperatorVerdict::Succeeded)
        }
        // Nothing of ours can be there: no look-up has to agree.
        (Sending | Recorded, Rejected) if before.unknown.is_none() && matches!(event, EntryEvent::Refused { .. }) => {
            true
        }
        (Unknown | NeedsOperator, Rejected) if settled => refusal == LaterRefusal::Plain,
        (_, Rejected) => operator(OperatorVerdict::Rejected),
        (Sending | Recorded, NotSent) => {
            matches!(event, EntryEvent::NotSent { again_in: None, .. }) && before.unknown.is_none()
        }
        (Sending | Recorded, Expired) if matches!(event, EntryEvent::NotSent { .. }) => {
            refusal != LaterRefusal::SaysPresent
        }
        (Recorded, Expired) => *event == EntryEvent::TimeUp && late && refusal != LaterRefusal::SaysPresent,
        (Unknown | NeedsOperator, Expired) => settled && late && refusal == LaterRefusal::None && !is_never(event),
        (_, state) => state.is_open(),
    };
    assert!(may_end, "ended without reason: {told:?}");
}

/// What was lost stays in doubt until it is settled, and is never forgotten.
fn check_doubt(before: &Entry, event: &EntryEvent, after: &Entry, settled: bool, told: &impl Debug) {
    let in_doubt = |entry: &Entry| matches!(entry.state, Unknown | NeedsOperator);
    if before.state == Sending && matches!(event, EntryEvent::Lost { .. } | EntryEvent::TakenOver { .. }) {
        assert_eq!(after.state, Unknown, "the loss was overlooked: {told:?}");
    }
    if in_doubt(before) && after.state == Recorded {
        let resend = matches!(event, EntryEvent::Resolved { verdict: OperatorVerdict::Resend, .. });
        assert!(settled || resend, "settled too early: {told:?}");
    }
    if in_doubt(before) && settled {
        assert_eq!(after.state, Recorded, "not settled in time: {told:?}");
    }
    assert!(before.unknown.is_none() || after.unknown.is_some(), "the doubt was forgotten: {told:?}");
    assert!(!in_doubt(after) || after.unknown.is_some(), "no doubt: {told:?}");
    let may_have_one = in_doubt(after) || after.state == Sending;
    assert_eq!(after.effect == Effect::Unknown, may_have_one, "wrong effect: {told:?}");
    assert_eq!(after.effect == Effect::Applied, after.state == Succeeded, "wrong effect: {told:?}");
}

/// What is personal goes with the last change; an answer comes with it.
fn check_content(after: &Entry, told: &impl Debug) {
    assert_eq!(after.body.is_empty(), !after.state.is_open(), "body: {told:?}");
    assert_eq!(after.snapshot.is_empty(), !after.state.is_open(), "snapshot: {told:?}");
    // A refusal that look-ups have to agree with is kept as the answer.
    let refused = after.state.is_open() && after.unknown.is_some_and(|unknown| unknown.refusal != LaterRefusal::None);
    let answered = refused || !(after.state.is_open() || after.state == Expired);
    assert!(after.answer.is_empty() || answered, "answer: {told:?}");
    assert!(!after.answer.is_empty() || !answered, "no answer: {told:?}");
}

/// Whatever waits is looked at again, and Walmart is never asked without end nor at once again.
fn check_next(event: &EntryEvent, after: &Entry, now: Moment, rules: &LedgerRules, told: &impl Debug) {
    let waits = after.state.is_open() && after.state != Sending;
    // One that waits for a person alone has no next look-up.
    assert!(waits || after.next.is_none(), "next: {told:?}");
    assert!(after.next.is_some() || !waits || after.state == NeedsOperator, "no next: {told:?}");
    let looked_up = matches!(event, EntryEvent::Absent { .. } | EntryEvent::NoEvidence { .. });
    if let (true, Unknown | NeedsOperator, Some(next)) = (looked_up, after.state, after.next) {
        assert!(next.steady > now.steady && next.wall > now.wall, "asked at once again: {told:?}");
        let planned = after.unknown.unwrap().since.plus(*rules.lookup_delays.last().unwrap()).steady;
        assert!(next.steady <= planned.max(now.plus(Duration::from_secs(300)).steady), "asked too late: {told:?}");
    }
}

fn final_entries_stay(entry: &Entry, now: Moment, rules: &LedgerRules) {
    for event in every_event() {
        for later in [0, 10_000_000] {
            let time = now.plus(Duration::from_millis(later));
            assert_eq!(apply(entry.clone(), event.clone(), time, rules), Err(ImpossibleEventError(entry.state)));
        }
    }
}

/// A clock of whole seconds: absences count a second apart and settle after eight, nothing is sent after nine.
fn small_rules() -> LedgerRules {
    LedgerRules {
        settle_window: Duration::from_secs(8),
        lookup_delays: [1, 4, 8].map(Duration::from_secs).into(),
        not_after: Duration::from_secs(9),
    }
}

/// Same for what follows, whatever differs elsewhere.
type Seen = (EntryState, bool, Option<UnknownSince>, Option<Moment>, Watch, Moment);

fn seen(entry: &Entry, watch: Watch, now: Moment) -> Seen {
    let unknown =
        entry.unknown.map(|unknown| UnknownSince { lookups: 0, absences: unknown.absences.min(3), ..unknown });
    (entry.state, entry.attempts > 1, unknown, entry.next, watch, now)
}

#[test]
fn every_way_of_a_small_clock() {
    const LAST_SECOND: u64 = 10;
    let rules = small_rules();
    let start = |entry: Entry| (entry.clone(), Watch::new(&entry), START);
    let mut open = vec![start(made(Recorded, &rules)), start(made(Sending, &rules))];
    let mut known = HashSet::new();
    let mut reached = HashSet::new();
    while let Some((entry, watch, now)) = open.pop() {
        if !known.insert(seen(&entry, watch, now)) {
            continue;
        }
        reached.insert((entry.state, entry.attempts > 1, entry.unknown.is_some()));
        if !entry.state.is_open() {
            final_entries_stay(&entry, now, &rules);
            continue;
        }
        for event in every_event() {
            let mut watch = watch;
            let after = watch.step(&entry, &event, now, &rules);
            open.push((after, watch, now));
        }
        if now.steady < at(LAST_SECOND * 1000).steady {
            open.push((entry, watch, now.plus(Duration::from_secs(1))));
        }
    }
    // All states but the one that no doubt leads to, each after a first attempt and after another.
    println!("{} situations", known.len());
    for state in EntryState::ALL {
        assert!(reached.contains(&(state, false, !matches!(state, Recorded | NotSent | Sending))), "{state:?}");
        assert_eq!(reached.contains(&(state, true, true)), state != NotSent, "{state:?}");
    }
}

/// Both clocks move on; where the step is negative the wall clock is set back by it.
fn moved(now: Moment, step: i64) -> Moment {
    let wall = Timestamp(now.wall.0.saturating_add_signed(step));
    Moment { wall, steady: now.steady.plus(Duration::from_millis(u64::try_from(step).unwrap_or(0))) }
}

/// Times at which something turns, a little before and after, and back: the machine's clock may be put right.
fn time_step(rules: &LedgerRules) -> impl Strategy<Value = i64> + use<> {
    let turns =
        [0, 1, 500, 1_000, millis(rules.settle_window / 8), millis(rules.settle_window), millis(rules.not_after)];
    (prop::sample::select(turns.to_vec()), -1i64..=1, prop::bool::weighted(0.05)).prop_map(|(turn, off, back)| {
        let step = turn + off;
        if back { -step } else { step.max(0) }
    })
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap()
}

/// Mostly what keeps an entry open.
fn any_event() -> impl Strategy<Value = EntryEvent> {
    prop_oneof![
        4 => Just(EntryEvent::Send),
        3 => Just(lost()),
        8 => Just(absent()),
        2 => Just(not_in_search()),
        2 => Just(no_answer()),
        1 => (0u64..100_000).prop_map(|wait| not_sent(Some(wait))),
        1 => Just(refused(true)),
        1 => Just(taken_over()),
        1 => Just(EntryEvent::TimeUp),
        1 => prop::sample::select(every_event()),
    ]
}

fn any_rules() -> impl Strategy<Value = LedgerRules> {
    let delays = prop::collection::btree_set(1u64..400_000, 1..8);
    (1u64..300_000, delays, 1u64..2_000_000).prop_map(|(settle_window, delays, not_after)| LedgerRules {
        settle_window: Duration::from_millis(settle_window),
        lookup_delays: delays.into_iter().map(Duration::from_millis).collect(),
        not_after: Duration::from_millis(not_after),
    })
}

fn any_way() -> impl Strategy<Value = (LedgerRules, bool, Vec<(EntryEvent, i64)>)> {
    prop_oneof![Just(rules()), any_rules()].prop_flat_map(|rules| {
        let steps = prop::collection::vec((any_event(), time_step(&rules)), 1..60);
        (Just(rules), any::<bool>(), steps)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn every_random_way((rules, recorded, steps) in any_way()) {
        let mut entry = made(if recorded { Recorded } else { Sending }, &rules);
        let mut watch = Watch::new(&entry);
        let mut now = START;
        for (event, step) in steps {
            now = moved(now, step);
            entry = watch.step(&entry, &event, now, &rules);
        }
        if !entry.state.is_open() {
            final_entries_stay(&entry, now, &rules);
        }
    }

    /// With two look-ups planned before the window ends that can count, as the settings have them; each is answered
    /// when it is due.
    #[test]
    fn a_doubt_is_settled_one_interval_after_the_window_at_the_latest(
        settle in 1_000u64..2_400_000,
        first in 0u64..870,
        others in prop::collection::btree_set(0u64..=1_000, 0..8),
        not_after in 1u64..2_000_000,
    ) {
        let mut delays: Vec<u64> = others.into_iter().chain([first, first + 127]).map(|part| part * settle / 1_000).collect();
        delays.sort_unstable();
        delays.dedup();
        let [settle_window, not_after] = [settle, not_after].map(Duration::from_millis);
        let rules = LedgerRules { settle_window, lookup_delays: delays.into_iter().map(Duration::from_millis).collect(), not_after };
        let mut entry = apply(made(Sending, &rules), lost(), START, &rules).unwrap();
        let mut watch = Watch::new(&entry);
        let mut now = START;
        while entry.state == Unknown {
            now = entry.next.unwrap();
            let repeat = (settle_window * 5 / 2).min(Duration::from_secs(300));
            prop_assert!(now.steady <= START.plus(settle_window + repeat).steady, "{entry:?}");
            entry = watch.step(&entry, &absent(), now, &rules);
        }
        prop_assert_eq!(entry.state, if START.plus(not_after).is_over(now) { Expired } else { Recorded });
    }
}
