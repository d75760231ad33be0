//! Minutes come and go, and each of them is bounded.

use tokio::time::advance;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn failed(hour: &LastHour, reason: &'static str) {
    hour.note(Some(reason.into()), Some(Duration::from_millis(1)));
}

#[tokio::test(start_paused = true)]
async fn a_call_counts_in_the_minute_of_its_end() {
    let hour = LastHour::default();
    hour.note(None, None);
    advance(MINUTE - Duration::from_millis(1)).await;
    hour.note(None, None);
    advance(Duration::from_millis(1)).await;
    failed(&hour, "STORE_UNAVAILABLE");
    advance(2 * MINUTE).await;
    let calls: Vec<_> = hour.minutes().iter().map(|minute| minute.calls).collect();
    assert_eq!(calls, [2, 1, 0, 0]);
    assert_eq!(hour.minutes()[1].failures, [("STORE_UNAVAILABLE".into(), 1)].into());
}

#[tokio::test(start_paused = true)]
async fn an_hour_is_kept_whatever_happens_in_it() {
    let hour = LastHour::default();
    for minute in 0..200 {
        (0..minute).for_each(|_| hour.note(None, None));
        advance(MINUTE).await;
    }
    let minutes = hour.minutes();
    assert_eq!((minutes.len(), minutes[0].calls, minutes[MINUTES - 2].calls), (MINUTES, 141, 199));
    advance(1_000_000 * MINUTE).await;
    let minutes = hour.minutes();
    assert_eq!(minutes, vec![MinuteOfCalls::default(); MINUTES]);
}

#[tokio::test(start_paused = true)]
async fn further_reasons_and_failures_without_a_reason_count_as_others() {
    let hour = LastHour::default();
    let reasons: Vec<String> = (0..REASONS + 5).map(|number| format!("R{number:02}")).collect();
    for reason in &reasons {
        hour.note(Some(Cow::Owned(reason.clone())), None);
    }
    failed(&hour, "");
    hour.note(Some(Cow::Owned(reasons[0].clone())), None);
    let failures = &hour.minutes()[0].failures;
    assert_eq!((failures.len(), failures["R00"], failures[OTHER]), (REASONS + 1, 2, 6));
}

#[tokio::test(start_paused = true)]
async fn percentiles_are_off_by_a_fifth_at_most_and_know_no_streams() {
    let hour = LastHour::default();
    assert_eq!(hour.minutes()[0].percentile(0.5), None);
    for millis in 1..=100 {
        hour.note(None, Some(Duration::from_millis(millis)));
        hour.note(None, None);
    }
    let minute = &hour.minutes()[0];
    for (share, exact) in [(0.5, 0.050), (0.99, 0.099), (1.0, 0.100)] {
        let shown = minute.percentile(share).unwrap().as_secs_f64();
        assert!((exact..exact * 1.2).contains(&shown), "{share}: {shown}");
    }
    for (took, least) in [(Duration::ZERO, 0.0), (Duration::from_micros(64), 0.0), (Duration::from_secs(60), 60.0)] {
        let hour = LastHour::default();
        hour.note(None, Some(took));
        let shown = hour.minutes()[0].percentile(0.99).unwrap().as_secs_f64();
        assert!(shown >= least && shown <= (least * 1.2).max(64e-6), "{took:?}: {shown}");
    }
    hour.note(None, Some(Duration::MAX));
    assert!(hour.minutes()[0].percentile(1.0).unwrap() >= Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn a_minute_has_the_lowest_level_of_all_accounts() {
    let hour = LastHour::default();
    for level in [0.8, 0.2, 0.9] {
        hour.note_level(Operation::Create, level);
    }
    assert_eq!(hour.minutes()[0].levels, [("create", 0.2)].into());
}
