//! A world that is less kind: Walmart's side lies (`--lies none|look-ups|all`), and the wall clock is set while the gateway
//! runs and while it is down (`--clock-steps`).
//!
//! Both leave decidable what must hold. Every lie is one about an answer, so the emulator's own records stay true; an order
//! shows before the settle window of its create is over; and no look-up says of an order that exists, and shows, that it
//! does not. Walmart's side has a clock that nobody sets, and all times that are compared are its own.

use order_gateway::ports::random::Random;

use crate::schedule::Dice;

/// How look-ups lie: share of the calls (of the orders, for lags), and the lie.
const LOOK_UPS: [(f64, &str); 20] = [
    (0.3, "lie = \"read-lag\"\nlag = [\"50ms\", \"1200ms\"]"),
    (0.3, "lie = \"search-lag\"\nlag = [\"1s\", \"60s\"]"),
    (0.02, "lie = \"no-payload\""),
    (0.02, "lie = \"null-payload\""),
    (0.02, "lie = \"text-payload\""),
    (0.02, "lie = \"empty-object\""),
    (0.02, "lie = \"message-object\""),
    (0.02, "lie = \"error-rows\""),
    (0.02, "lie = \"partial\""),
    (0.02, "lie = \"partial-with-errors\""),
    (0.02, "lie = \"partial-content\""),
    (0.01, "lie = \"no-content\""),
    (0.02, "lie = \"errors-beside-list\""),
    (0.02, "lie = \"total-beside-nothing\""),
    (0.02, "lie = \"short-page\""),
    (0.03, "lie = \"gateway-404\""),
    (0.02, "lie = \"proxy-404\""),
    (0.01, "lie = \"bare-404\""),
    (0.02, "lie = \"not-found-among-errors\""),
    (0.02, "operation = \"status\"\nlie = \"cut-body\""),
];

/// Answers to what was carried out that do not say so.
const MUTATIONS: [(f64, &str); 8] = [
    (0.02, "operation = \"create\"\nlie = \"cut-body\"\nstatus = 400\nwhen = \"after\""),
    (0.01, "operation = \"create\"\nlie = \"bare-gzip-body\"\nstatus = 422\nwhen = \"after\""),
    (0.01, "operation = \"create\"\nlie = \"client-closed\"\nwhen = \"after\""),
    (0.01, "lie = \"outage-in-description\"\nwhen = \"after\""),
    (0.01, "operation = \"cancel\"\nlie = \"cut-body\"\nstatus = 400\nwhen = \"after\""),
    (0.02, "operation = \"ship\"\nlie = \"cut-body\"\nstatus = 400\nwhen = \"after\""),
    (0.02, "operation = \"refund\"\nlie = \"cut-body\"\nstatus = 400\nwhen = \"after\""),
    (0.02, "operation = \"return_refund\"\nlie = \"html-body\"\nstatus = 400\nwhen = \"after\""),
];

const SECOND: i64 = 1_000;
const DAY: i64 = 24 * 3_600 * SECOND;
/// By how much the wall clock is set at once, in milliseconds; each also the other way.
const STEPS: [i64; 4] = [6 * SECOND, 90 * SECOND, 3_600 * SECOND, 40 * DAY];
/// The wall clock is never further off than this.
const FURTHEST: i64 = 60 * DAY;

/// What Walmart's side lies about.
#[derive(Clone, Copy, Debug, Default, PartialEq, clap::ValueEnum)]
pub(crate) enum Lies {
    /// Nothing
    #[default]
    None,
    /// Look-ups lag, fail, and come back empty
    LookUps,
    /// Besides, some of what was carried out is refused with a body that cannot be read
    All,
}

impl Lies {
    /// The lies as rules of the emulator, to be told besides its faults.
    pub(crate) fn rules(self) -> String {
        let rule = |(share, lie): &(f64, &str)| format!("[[fault]]\nprobability = {share}\n{lie}\n");
        let told: [&[(f64, &str)]; 2] = match self {
            Lies::None => [&[], &[]],
            Lies::LookUps => [&LOOK_UPS, &[]],
            Lies::All => [&LOOK_UPS, &MUTATIONS],
        };
        told.into_iter().flatten().map(rule).collect()
    }
}

/// The wall clock of the machine that the gateway runs on, through all its lives.
pub(crate) struct WallClock {
    dice: Dice,
    /// How far it is off, in milliseconds.
    off: i64,
}

impl WallClock {
    /// With chances of its own, so that the rest of a schedule is the same with it and without.
    pub(crate) fn new(seed: u64) -> Self {
        Self { dice: Dice(Random::from_seed(seed ^ 0x57E9_57E9)), off: 0 }
    }

    /// How it runs in the next life: `ORDER_GATEWAY_CLOCK_STEPS` of that process.
    pub(crate) fn life(&mut self) -> String {
        if self.dice.share(0.3) {
            self.step();
        }
        let mut steps = vec![(0, self.off)];
        let mut when = 0;
        while self.dice.share(0.4) {
            when += self.dice.up_to(1_500);
            self.step();
            steps.push((when, self.off));
        }
        let text = |(when, off): &(u64, i64)| format!("{when}:{off}");
        steps.iter().map(text).collect::<Vec<_>>().join(",")
    }

    fn step(&mut self) {
        let step = self.dice.one_of(&STEPS);
        let ahead = if self.off.abs() + step > FURTHEST { self.off < 0 } else { self.dice.share(0.5) };
        self.off += if ahead { step } else { -step };
    }
}

#[cfg(test)]
mod tests {
    use order_gateway::emulator::FaultRules;

    use super::*;

    #[test]
    fn the_emulator_knows_every_lie() {
        let rules = |lies: Lies| FaultRules::parse(&lies.rules()).unwrap().len();
        assert_eq!(rules(Lies::All), LOOK_UPS.len() + MUTATIONS.len());
        assert_eq!((rules(Lies::LookUps), rules(Lies::None)), (LOOK_UPS.len(), 0));
    }

    #[test]
    fn the_wall_clock_is_set_both_ways_and_stays_in_reach() {
        let mut clock = WallClock::new(1);
        let lives: Vec<String> = (0..500).map(|_| clock.life()).collect();
        let offs: Vec<i64> = lives
            .iter()
            .flat_map(|life| life.split(','))
            .map(|step| step.split_once(':').unwrap().1.parse().unwrap())
            .collect();
        assert!(offs.iter().all(|off| off.abs() <= FURTHEST));
        let steps: Vec<i64> = offs.windows(2).map(|pair| pair[1] - pair[0]).collect();
        for step in STEPS {
            assert!(steps.contains(&step) && steps.contains(&-step), "{step}");
        }
        let mut again = WallClock::new(1);
        assert_eq!((0..500).map(|_| again.life()).collect::<Vec<_>>(), lives);
    }
}
