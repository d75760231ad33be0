use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const CALLER: QueueSide = QueueSide::Caller;
const LEDGER: QueueSide = QueueSide::Ledger;

/// Takes a token that must be there at once.
fn take(bucket: &mut TokenBucket, now: Instant) {
    assert_eq!(bucket.take(CALLER, now, now), Ok(TakeOutcome::Token));
}

/// Takes a place in the callers' queue.
fn queue(bucket: &mut TokenBucket, now: Instant) -> QueueTicket {
    queue_of(CALLER, bucket, now)
}

fn queue_of(side: QueueSide, bucket: &mut TokenBucket, now: Instant) -> QueueTicket {
    match bucket.take(side, now, now + 1000 * SECOND) {
        Ok(TakeOutcome::Place(ticket)) => ticket,
        other => panic!("{other:?}"),
    }
}

#[test]
fn it_starts_full_and_refills_evenly() {
    let now = Instant::now();
    let mut bucket = TokenBucket::new(20, now);
    (0..20).for_each(|_| take(&mut bucket, now));
    assert_eq!(bucket.take(CALLER, now, now), Err(3 * SECOND), "20 a minute is one in three seconds");
    let (first, second) = (queue(&mut bucket, now), queue(&mut bucket, now));
    assert_eq!(bucket.turn(first, now), Some(now + 3 * SECOND));
    assert_eq!(bucket.turn(second, now), Some(now + 6 * SECOND), "the one before goes first");
    assert_eq!(bucket.take(CALLER, now, now + 8 * SECOND), Err(9 * SECOND));
}

#[test]
fn what_is_not_used_comes_back() {
    let now = Instant::now();
    let mut bucket = TokenBucket::new(1, now);
    take(&mut bucket, now);
    bucket.unused(CALLER, now);
    take(&mut bucket, now);
}

#[test]
fn a_clock_that_was_read_just_before_an_answer_costs_no_wait() {
    let before = Instant::now();
    let now = before + Duration::from_micros(50);
    let mut bucket = TokenBucket::new(20, before);
    take(&mut bucket, before);
    bucket.answered(now, Some(10), None, None);
    take(&mut bucket, before);
    // But what Walmart says of the time to come stands.
    bucket.answered(now, Some(0), Some(SECOND), None);
    assert_eq!(bucket.take(CALLER, before, before), Err(now + SECOND - before));
}

#[test]
fn walmarts_lower_count_is_obeyed() {
    let now = Instant::now();
    let mut bucket = TokenBucket::new(600, now);
    take(&mut bucket, now);
    bucket.answered(now, Some(2), None, None);
    assert_eq!(bucket.available(now), 2.0);
}

#[test]
fn walmarts_higher_count_helps_up_to_the_operators_limit() {
    let now = Instant::now();
    let mut bucket = TokenBucket::new(20, now);
    (0..20).for_each(|_| take(&mut bucket, now));
    (0..19).for_each(|_| bucket.answered(now, None, None, None));
    bucket.answered(now, Some(500), None, None);
    assert_eq!(bucket.available(now), 20.0);
}

#[test]
fn an_operators_limit_below_the_published_one_is_not_raised() {
    let now = Instant::now();
    let mut bucket = TokenBucket::new(2, now).beside_published(20);
    for left in [19, 18] {
        take(&mut bucket, now);
        bucket.answered(now, Some(left), None, None);
    }
    assert_eq!(bucket.available(now), 0.0);
    assert_eq!(bucket.available(now + 30 * SECOND), 1.0, "two a minute");
}

#[test]
fn calls_in_flight_are_taken_off_walmarts_count() {
    let now = Instant::now();
    let mut bucket = TokenBucket::new(600, now);
    (0..5).for_each(|_| take(&mut bucket, now));
    bucket.answered(now, Some(10), None, None);
    assert_eq!(bucket.available(now), 6.0, "10 less the 4 that may not be counted yet");
}

#[test]
fn empty_at_walmart_is_empty_until_it_says() {
    let now = Instant::now();
    let mut bucket = TokenBucket::new(60, now);
    take(&mut bucket, now);
    bucket.answered(now, Some(0), Some(7 * SECOND), None);
    assert_eq!(bucket.available(now + 6 * SECOND), 0.0);
    assert_eq!(bucket.take(CALLER, now, now), Err(7 * SECOND));
    take(&mut bucket, now + 7 * SECOND);
    assert_eq!(bucket.take(CALLER, now + 7 * SECOND, now), Err(SECOND), "then evenly");
}

#[test]
fn a_refusal_empties_it_whatever_we_thought() {
    let now = Instant::now();
    for (told, wait) in [(Some(4 * SECOND), 4 * SECOND), (None, UNKNOWN_WAIT)] {
        let mut bucket = TokenBucket::new(600, now);
        take(&mut bucket, now);
        bucket.answered(now, Some(50), None, Some(told));
        assert_eq!(bucket.take(CALLER, now, now), Err(wait));
    }
}

#[test]
fn a_later_count_ends_the_wait() {
    let now = Instant::now();
    let mut bucket = TokenBucket::new(60, now);
    (0..2).for_each(|_| take(&mut bucket, now));
    bucket.answered(now, None, None, Some(Some(60 * SECOND)));
    bucket.answered(now, Some(9), None, None);
    assert_eq!(bucket.available(now), 9.0);
}

#[test]
fn a_refusal_moves_everyone_who_waits_and_keeps_their_order() {
    let now = Instant::now();
    let mut bucket = TokenBucket::new(60, now);
    (0..60).for_each(|_| take(&mut bucket, now));
    let waiters = [0; 3].map(|_| queue(&mut bucket, now));
    (0..59).for_each(|_| bucket.answered(now, None, None, None));
    bucket.answered(now, None, None, Some(Some(30 * SECOND)));
    for (ticket, seconds) in waiters.into_iter().zip(30..) {
        assert_eq!(bucket.turn(ticket, now), Some(now + seconds * SECOND));
    }
    assert_eq!(bucket.take(CALLER, now, now), Err(33 * SECOND), "a newcomer comes last");
}

#[test]
fn those_behind_one_who_leaves_move_up() {
    let now = Instant::now();
    let mut bucket = TokenBucket::new(60, now);
    (0..60).for_each(|_| take(&mut bucket, now));
    let (first, second) = (queue(&mut bucket, now), queue(&mut bucket, now));
    bucket.leave(first);
    bucket.leave(first);
    assert_eq!(bucket.turn(second, now + SECOND), None);
    assert!(!bucket.has_queue());
}

#[test]
fn a_newcomer_does_not_overtake() {
    let now = Instant::now();
    let mut bucket = TokenBucket::new(60, now);
    (0..60).for_each(|_| take(&mut bucket, now));
    let first = queue(&mut bucket, now);
    // Its token is there, but it has not come for it yet.
    assert_eq!(bucket.take(CALLER, now + SECOND, now), Err(SECOND));
    assert_eq!(bucket.available(now + SECOND), 0.0);
    assert_eq!(bucket.turn(first, now + SECOND), None);
}

#[test]
fn a_read_for_which_nobody_waits_goes_last() {
    let now = Instant::now();
    let mut bucket = TokenBucket::new(60, now);
    (0..60).for_each(|_| take(&mut bucket, now));
    let scan = queue_of(QueueSide::Background, &mut bucket, now);
    assert_eq!(bucket.turn(scan, now), Some(now + SECOND));
    // Those who come later go first, and do not count it.
    assert_eq!(bucket.take(CALLER, now, now), Err(SECOND));
    let (caller, look_up) = (queue(&mut bucket, now), queue_of(LEDGER, &mut bucket, now));
    assert_eq!(bucket.turn(scan, now), Some(now + 3 * SECOND));
    assert_eq!(bucket.turn(scan, now + SECOND), Some(now + 3 * SECOND), "the first token is another's");
    for (other, at) in [(look_up, 1), (caller, 2)] {
        assert_eq!(bucket.turn(other, now + at * SECOND), None);
    }
    assert_eq!(bucket.turn(scan, now + 3 * SECOND), None);
    assert!(!bucket.has_queue());
}

#[test]
fn a_limit_of_nothing_counts_as_one() {
    let now = Instant::now();
    let mut bucket = TokenBucket::new(0, now);
    take(&mut bucket, now);
    assert_eq!(bucket.take(CALLER, now, now), Err(60 * SECOND));
}

/// How many tokens this side can take at `now`.
fn take_all(side: QueueSide, bucket: &mut TokenBucket, now: Instant) -> usize {
    std::iter::repeat_with(|| bucket.take(side, now, now)).take_while(|taken| *taken == Ok(TakeOutcome::Token)).count()
}

#[test]
fn what_one_side_leaves_is_the_others() {
    let now = Instant::now();
    assert_eq!(take_all(CALLER, &mut TokenBucket::new(20, now), now), 20);
    assert_eq!(take_all(LEDGER, &mut TokenBucket::new(20, now), now), 20, "beyond its half too");
}

#[test]
fn a_look_up_that_waits_goes_first_and_newcomers_know() {
    let now = Instant::now();
    let mut bucket = TokenBucket::new(60, now);
    (0..60).for_each(|_| take(&mut bucket, now));
    let callers = [0; 3].map(|_| queue(&mut bucket, now));
    let look_up = queue_of(LEDGER, &mut bucket, now);
    assert_eq!(bucket.turn(look_up, now), Some(now + SECOND));
    assert_eq!(bucket.turn(callers[0], now), Some(now + 2 * SECOND), "it gave way");
    assert_eq!(bucket.take(CALLER, now, now), Err(5 * SECOND));
    let later = now + SECOND;
    assert_eq!(bucket.turn(callers[0], later), Some(later + SECOND), "also where it asks first");
    assert_eq!(bucket.turn(look_up, later), None);
    assert_eq!(bucket.turn(callers[0], later + SECOND), None);
}

#[test]
fn without_a_turn_a_look_up_lets_those_who_wait_go_first() {
    let now = Instant::now();
    let mut bucket = TokenBucket::new(20, now);
    take_all(LEDGER, &mut bucket, now);
    let caller = queue(&mut bucket, now);
    let look_up = queue_of(LEDGER, &mut bucket, now);
    assert_eq!(bucket.turn(caller, now), Some(now + 3 * SECOND));
    assert_eq!(bucket.turn(look_up, now), Some(now + 6 * SECOND));
    // By then it has a turn again, and goes before whoever came meanwhile.
    let later = now + 6 * SECOND;
    assert_eq!(bucket.turn(caller, later), None);
    let newcomer = queue(&mut bucket, later);
    assert_eq!(bucket.turn(newcomer, later), Some(later + 3 * SECOND));
    assert_eq!(bucket.turn(look_up, later), None);
}

#[test]
fn a_look_up_that_is_not_made_gives_its_turn_back() {
    let now = Instant::now();
    let mut bucket = TokenBucket::new(2, now);
    take(&mut bucket, now);
    let caller = |bucket: &mut TokenBucket| bucket.take(CALLER, now, now).unwrap_err();
    assert_eq!(bucket.take(LEDGER, now, now), Ok(TakeOutcome::Token));
    queue_of(LEDGER, &mut bucket, now);
    assert_eq!(caller(&mut bucket), 30 * SECOND, "the one turn was taken");
    bucket.unused(LEDGER, now);
    assert_eq!(caller(&mut bucket), 30 * SECOND, "the token that came back is for the look-up that waits");
}

/// Both sides want as much as they can get, for ten minutes. What each gets.
fn contended(bucket: &mut TokenBucket, start: Instant) -> [usize; 2] {
    let mut served = [0; 2];
    let mut waiting = [LEDGER, CALLER].map(|side| [0; 4].map(|_| queue_of(side, bucket, start)));
    for millis in (0..600_000).step_by(100) {
        let now = start + Duration::from_millis(millis);
        for (side, tickets) in [LEDGER, CALLER].into_iter().zip(&mut waiting) {
            for ticket in tickets {
                if bucket.turn(*ticket, now).is_none() {
                    served[side as usize] += 1;
                    bucket.answered(now, None, None, None);
                    *ticket = queue_of(side, bucket, now);
                }
            }
        }
    }
    served
}

#[test]
fn each_side_is_sure_of_its_half() {
    let now = Instant::now();
    for per_minute in [2, 20, 600] {
        let mut bucket = TokenBucket::new(per_minute, now);
        // Nothing is left of the beginning.
        take_all(LEDGER, &mut bucket, now);
        (0..per_minute).for_each(|_| bucket.answered(now, None, None, None));
        let half = per_minute as usize * 5;
        let [callers, ledger] = contended(&mut bucket, now);
        let fair = half * 9 / 10 - 1..=half * 11 / 10 + 1;
        assert!(fair.contains(&callers) && fair.contains(&ledger), "{per_minute}: {callers} {ledger} of {half} each");
    }
}

#[test]
fn an_empty_bucket_is_believed_for_a_minute_where_the_call_was_answered() {
    let now = Instant::now();
    let tomorrow = 24 * 60 * 60 * SECOND;
    let mut bucket = TokenBucket::new(60, now);
    take(&mut bucket, now);
    bucket.answered(now, Some(0), Some(tomorrow), None);
    assert_eq!(bucket.take(CALLER, now, now), Err(60 * SECOND));
    let mut bucket = TokenBucket::new(60, now);
    take(&mut bucket, now);
    bucket.answered(now, Some(0), None, Some(Some(300 * SECOND)));
    assert_eq!(bucket.take(CALLER, now, now), Err(300 * SECOND), "a refusal is believed as it is told");
}

proptest! {
    /// Whatever is said, no more tokens are handed out in any time than the bucket holds and refills in it.
    #[test]
    fn never_more_than_the_limit(
        per_minute in 1u32..100,
        steps in prop::collection::vec((0u64..4000, prop::option::of(0u32..200), any::<bool>(), any::<bool>()), 1..200),
    ) {
        let start = Instant::now();
        let mut now = start;
        let mut bucket = TokenBucket::new(per_minute, start);
        let mut handed_out = 0;
        for (millis, count, refused, ledgers) in steps {
            now += Duration::from_millis(millis);
            if bucket.take(if ledgers { LEDGER } else { CALLER }, now, now) == Ok(TakeOutcome::Token) {
                handed_out += 1;
                // Walmart never counts more than we do unless it allows more; cap at what is left of ours.
                let left = count.map(|c| c.min(bucket.available(now) as u32));
                bucket.answered(now, left, None, refused.then_some(None));
            }
            let refilled = (now - start).as_secs_f64() * f64::from(per_minute) / 60.0;
            prop_assert!(f64::from(handed_out) <= f64::from(per_minute) + refilled + 1.0);
            prop_assert!(bucket.available(now) <= f64::from(per_minute));
        }
    }
}
