use super::*;

const CALLER: CallPurpose = CallPurpose::Caller;

/// A call of the present generation ends.
fn record(circuit: &mut Circuit, outcome: CallOutcome, now: Instant) {
    circuit.record(circuit.generation, outcome, || now);
}

fn fail(circuit: &mut Circuit, times: usize, now: Instant) {
    (0..times).for_each(|_| record(circuit, CallOutcome::Failure, now));
}

#[test]
fn five_failures_in_a_row_open_it_for_a_second() {
    let (mut circuit, now) = (Circuit::default(), Instant::now());
    fail(&mut circuit, 4, now);
    record(&mut circuit, CallOutcome::Success, now);
    fail(&mut circuit, 4, now);
    record(&mut circuit, CallOutcome::Neither, now);
    assert!(circuit.admit(CALLER, now).is_ok());
    fail(&mut circuit, 1, now);
    assert_eq!(circuit.admit(CALLER, now), Err(FIRST_PAUSE));
}

#[test]
fn half_of_the_last_twenty_open_it_when_another_fails() {
    let (mut circuit, now) = (Circuit::default(), Instant::now());
    for n in 0..20 {
        record(&mut circuit, if n % 2 == 0 { CallOutcome::Failure } else { CallOutcome::Success }, now);
        assert!(circuit.admit(CALLER, now).is_ok(), "a success is no reason to stop");
    }
    record(&mut circuit, CallOutcome::Failure, now);
    assert_eq!(circuit.admit(CALLER, now), Err(FIRST_PAUSE));
}

#[test]
fn one_probe_at_a_time_decides() {
    let (mut circuit, now) = (Circuit::default(), Instant::now());
    fail(&mut circuit, 5, now);
    let later = now + FIRST_PAUSE;
    assert!(circuit.admit(CALLER, later).is_ok());
    assert!(circuit.admit(CALLER, later).is_err(), "only one");
    record(&mut circuit, CallOutcome::Success, later);
    assert!(circuit.admit(CALLER, later).is_ok());
    fail(&mut circuit, 4, later);
    assert!(circuit.admit(CALLER, later).is_ok(), "closed again with a clean slate");
}

#[test]
fn failing_probes_double_the_pause_up_to_thirty_seconds() {
    let (mut circuit, mut now) = (Circuit::default(), Instant::now());
    fail(&mut circuit, 5, now);
    let mut pauses = Vec::new();
    for _ in 0..7 {
        let pause = circuit.admit(CALLER, now).unwrap_err();
        pauses.push(pause.as_secs());
        now += pause;
        assert!(circuit.admit(CALLER, now).is_ok());
        record(&mut circuit, CallOutcome::Failure, now);
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
}

#[test]
fn a_probe_that_tells_nothing_makes_room_for_the_next() {
    let (mut circuit, now) = (Circuit::default(), Instant::now());
    fail(&mut circuit, 5, now);
    let later = now + FIRST_PAUSE;
    assert!(circuit.admit(CALLER, later).is_ok());
    record(&mut circuit, CallOutcome::Neither, later);
    assert!(circuit.admit(CALLER, later).is_ok());
}

#[test]
fn calls_from_before_it_opened_are_no_probes() {
    for outcome in [CallOutcome::Success, CallOutcome::Failure, CallOutcome::Neither] {
        let (mut circuit, now) = (Circuit::default(), Instant::now());
        let early = circuit.admit(CALLER, now).unwrap();
        fail(&mut circuit, 5, now);
        circuit.record(early, outcome, || now);
        assert_eq!(circuit.admit(CALLER, now), Err(FIRST_PAUSE));
        let later = now + FIRST_PAUSE;
        let probe = circuit.admit(CALLER, later).unwrap();
        circuit.record(early, outcome, || later);
        assert_eq!(circuit.state().0, CircuitState::HalfOpen, "only the probe decides: {outcome:?}");
        circuit.record(probe, CallOutcome::Success, || later);
        circuit.record(early, CallOutcome::Failure, || later);
        assert!(circuit.recent.is_empty(), "nor does it count once closed again");
    }
}

#[test]
fn a_look_up_passes_as_the_probe() {
    let (mut circuit, now) = (Circuit::default(), Instant::now());
    fail(&mut circuit, 5, now);
    assert_eq!(circuit.admit(CALLER, now), Err(FIRST_PAUSE));
    assert_eq!(circuit.admit(CallPurpose::Resend, now), Err(FIRST_PAUSE), "only look-ups");
    let probe = circuit.admit(CallPurpose::Lookup, now).unwrap();
    assert_eq!(circuit.state().0, CircuitState::HalfOpen);
    assert_eq!(circuit.admit(CallPurpose::Lookup, now), Ok(probe), "one after another's probe has begun");
    assert!(circuit.admit(CALLER, now).is_err());
    circuit.record(probe, CallOutcome::Success, || now);
    assert!(circuit.admit(CALLER, now).is_ok());
}
