//! Random ways of a subscription.

use proptest::prelude::*;
use proptest::sample::Index;

use super::world::{CONSUMERS, KEYS, Off, Step, World};
use super::*;

fn any_room() -> impl Strategy<Value = ConsumerWindow> {
    (0..CONSUMERS.len(), 0usize..5, 0u64..150, any::<bool>()).prop_map(|(i, events, bytes, empty)| ConsumerWindow {
        consumer: CONSUMERS[i].into(),
        events,
        bytes,
        empty,
    })
}

fn any_lend() -> impl Strategy<Value = Step> {
    let rooms = prop::collection::vec(any_room(), 0..4);
    let before = prop_oneof![6 => Just(0i64), 1 => 1i64..4, 1 => -3i64..0];
    (rooms, 0usize..8, before, any::<bool>()).prop_map(|(rooms, read, before, to_the_end)| Step::Lend {
        rooms,
        read,
        before,
        to_the_end,
    })
}

fn any_verdict() -> impl Strategy<Value = SettleVerdict> {
    let delay = prop::option::of(prop::sample::select(vec![0u64, 1, 1_000, 10_000]).prop_map(Duration::from_millis));
    let reason = prop::sample::select(vec!["", "no such order"]);
    let by = prop::option::of((1u64..60).prop_map(Duration::from_secs));
    prop_oneof![
        4 => Just(SettleVerdict::Ack),
        3 => (delay, reason.clone()).prop_map(|(delay, reason)| SettleVerdict::Retry { delay, reason: reason.into() }),
        2 => reason.prop_map(|reason| SettleVerdict::Park { reason: reason.into() }),
        1 => by.prop_map(|by| SettleVerdict::Extend { by }),
        1 => Just(SettleVerdict::Release),
    ]
}

fn any_settle() -> impl Strategy<Value = Step> {
    let off = prop_oneof![
        12 => Just(Off::Not),
        1 => (-2i64..3).prop_map(Off::Generation),
        1 => (-4i64..20_000).prop_map(Off::Seq),
        1 => (-2i64..3).prop_map(Off::Attempt),
    ];
    let word = (any::<Index>(), off, any_verdict());
    (prop::collection::vec(word, 1..4), 0.0..=1.0).prop_map(|(words, fraction)| Step::Settle(words, fraction))
}

fn any_step() -> impl Strategy<Value = Step> {
    let skipped = prop_oneof![8 => Just(0u64), 3 => 1u64..4, 1 => 4_000u64..12_000];
    let event = (0..KEYS.len(), 1u32..120, skipped);
    let times = vec![1u64, 500, 999, 1_000, 1_001, 4_999, 5_000, 5_001, 60_000];
    prop_oneof![
        4 => prop::collection::vec(event, 1..5).prop_map(Step::Come),
        8 => any_lend(),
        8 => any_settle(),
        4 => prop::sample::select(times).prop_map(Step::Pass),
        2 => prop::sample::select(vec![90_000, -3_600_000, 40 * 86_400_000]).prop_map(Step::Set),
        1 => (0..CONSUMERS.len()).prop_map(Step::Release),
        2 => (0..CONSUMERS.len(), prop::sample::select(vec![3_000, 12_000, 60_000])).prop_map(|(i, most)| Step::Keep(i, most)),
        1 => (0..CONSUMERS.len()).prop_map(Step::Reclaim),
        2 => prop::option::of(prop::collection::vec(any::<Index>(), 0..4)).prop_map(Step::Redrive),
        1 => any::<Index>().prop_map(Step::Seek),
        1 => (0u32..4, prop::bool::weighted(0.3)).prop_map(|(attempts, paused)| Step::Update { attempts, paused }),
        1 => any::<Index>().prop_map(Step::Trim),
        1 => prop::collection::vec(any::<Index>(), 0..4).prop_map(Step::Void),
        4 => any::<bool>().prop_map(|reload| Step::Store { reload }),
    ]
}

fn any_config() -> impl Strategy<Value = SubscriptionConfig> {
    let mode = prop_oneof![3 => Just(OrderingMode::KeyOrdered), 1 => Just(OrderingMode::Unordered), 2 => Just(OrderingMode::Exclusive)];
    (mode, 0u32..4).prop_map(|(mode, max_attempts)| SubscriptionConfig {
        mode,
        max_attempts,
        lease_duration: Duration::from_secs(5),
        backoff_max: Duration::from_secs(3),
        ..SubscriptionConfig::default()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn every_random_way(config in any_config(), start in 0u64..3, steps in prop::collection::vec(any_step(), 1..80)) {
        let mut world = World::new(config, start);
        for step in &steps {
            world.step(step);
        }
        world.store(true);
    }
}
