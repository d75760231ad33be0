//! Every way that a small subscription can go: three events of two keys, two consumers, two attempts.

use std::collections::HashSet;

use super::world::{Step, World};
use super::*;

const DEPTH: usize = 5;

fn steps() -> Vec<Step> {
    let lend = |rooms: &[ConsumerWindow]| Step::Lend { rooms: rooms.to_vec(), read: 9, before: 0, to_the_end: true };
    vec![
        lend(&[small("a", 1)]),
        lend(&[small("a", 1), small("b", 2)]),
        Step::Pass(5_000),
        Step::Release(0),
        Step::Reclaim(0),
        Step::Redrive(None),
    ]
}

/// Leases of all attempts there were, and one that never was.
fn leases(world: &World) -> Vec<Lease> {
    let model = &world.model;
    let of = |seq, attempts| (1..=attempts).map(move |attempt| Lease { generation: model.generation, seq, attempt });
    model.seen.iter().flat_map(|seen| of(seen.event.seq, seen.attempt)).chain([lease(9, 1)]).collect()
}

/// How many situations there are within so many steps, and what was answered.
fn walk(mode: OrderingMode) -> (usize, HashSet<String>) {
    let config = SubscriptionConfig {
        mode,
        max_attempts: 2,
        lease_duration: Duration::from_secs(5),
        ..SubscriptionConfig::default()
    };
    let mut world = World::new(config, 0);
    world.step(&Step::Come(vec![(0, 10, 0), (0, 10, 0), (1, 10, 0)]));
    world.store(true);
    let mut known = HashSet::from([world.situation()]);
    let mut answers = HashSet::new();
    let mut edge = vec![world];
    for _ in 0..DEPTH {
        let mut next = Vec::new();
        let mut arrive = |mut world: World| {
            world.store(true);
            if known.insert(world.situation()) {
                next.push(world);
            }
        };
        for world in &edge {
            for step in steps() {
                let mut world = world.clone();
                world.step(&step);
                arrive(world);
            }
            let mut begun_anew = world.clone();
            begun_anew.seek(0);
            arrive(begun_anew);
            for lease in leases(world) {
                for verdict in [SettleVerdict::Ack, retry(5), park("x"), SettleVerdict::Release] {
                    let mut world = world.clone();
                    let outcome = world.say(lease, verdict.clone());
                    answers.insert(format!("{verdict:?} {outcome:?}"));
                    if matches!(outcome, SettleOutcome::Applied(_)) {
                        arrive(world);
                    }
                }
            }
        }
        edge = next;
    }
    (known.len(), answers)
}

#[test]
fn every_way_of_a_small_world() {
    for mode in [OrderingMode::KeyOrdered, OrderingMode::Unordered, OrderingMode::Exclusive] {
        let (situations, answers) = walk(mode);
        println!("{mode:?}: {situations} situations");
        assert_eq!(answers.len(), 4 * 5, "each word had every answer: {answers:?}");
        assert!(situations > 1_000, "{situations}");
    }
}
