//! Everything that is decided by chance, drawn from one seed before anything happens: when the gateway is killed, what
//! Walmart's side disturbs, and what each caller does. The same seed gives the same schedule; the machine's own timing
//! still differs from run to run.

use std::time::Duration;

use order_gateway::ports::random::Random;

use crate::changes::{self, ChangePlan, ChangeStory};
use crate::world::{Lies, WallClock};

/// Seller accounts of the gateway. An order number is used in one of them only.
pub(crate) const ACCOUNTS: [&str; 4] = ["north", "east", "south", "west"];

/// Orders that begin in each life of the gateway.
const STORIES_A_LIFE: usize = 30;
/// Orders that begin in the last life, which is not killed.
const LAST_STORIES: usize = 120;
/// Orders of a life begin within this time after the gateway is started.
pub(crate) const BEGINNINGS: Duration = Duration::from_millis(1200);

/// The longest life that ends by kill -9, in milliseconds.
const LIFE: u64 = 2500;

/// What a run does.
pub(crate) struct Schedule {
    /// What all of it was drawn from.
    pub seed: u64,
    /// One for each start of the gateway. The last one is not killed.
    pub lives: Vec<Life>,
    /// The emulator's faults, as TOML.
    pub faults: String,
}

/// What is against the gateway besides kills and faults.
#[derive(Clone, Copy, Default)]
pub(crate) struct Hardships {
    /// What Walmart's side lies about.
    pub lies: Lies,
    /// The wall clock is set.
    pub clock_steps: bool,
}

/// From one start of the gateway to its end.
pub(crate) struct Life {
    /// How it ends.
    pub end: End,
    /// How the wall clock is set in it; empty: not at all.
    pub clock_steps: String,
    /// Orders that begin in it. They go on in the lives that follow.
    pub stories: Vec<Story>,
    /// Changes of seller orders and returns that begin in it, and go on likewise.
    pub changes: Vec<ChangeStory>,
}

/// How a life ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum End {
    /// The process ends itself when it comes by this place for the `count`-th time.
    At { point: &'static str, count: u64 },
    /// kill -9, so long after it was ready.
    After(Duration),
    /// It is not killed.
    Stays,
}

/// An order number, and all that is done with it.
#[derive(Clone, Debug)]
pub(crate) struct Story {
    /// Which of [`ACCOUNTS`].
    pub account: &'static str,
    /// The order number.
    pub number: String,
    /// After the start of the life.
    pub begins: Duration,
    /// Lines of the order.
    pub lines: usize,
    /// Who creates it: one, or several that contend for the number.
    pub creations: Vec<Creation>,
    /// What is cancelled once the first creation was accepted.
    pub cancellation: Option<Cancellation>,
}

/// One content under the story's order number.
#[derive(Clone, Debug)]
pub(crate) struct Creation {
    /// Units of each line: they tell at Walmart whose content an order has.
    pub units: u32,
    /// The caller's id.
    pub request_id: Option<String>,
    /// Walmart refuses it: its sales channel is unknown.
    pub refused: bool,
    /// All of them send the same, at about the same time.
    pub callers: Vec<Caller>,
}

/// One unit of every line is cancelled.
#[derive(Clone, Debug)]
pub(crate) struct Cancellation {
    /// The caller's id.
    pub request_id: Option<String>,
    /// All of them send the same, at about the same time.
    pub callers: Vec<Caller>,
}

/// Somebody who repeats a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    /// After the story began.
    pub begins: Duration,
    /// Of each call.
    pub deadline: Duration,
    /// At the deadline the caller hangs up, instead of telling the gateway the deadline.
    pub hangs_up: bool,
    /// Between two calls.
    pub pause: Duration,
    /// Calls after which the caller gives up; none: when there is a final answer.
    pub patience: Option<u32>,
}

/// A place at which a life can end, how often it is chosen, and the highest count that a life usually comes to.
pub(crate) type Point = (&'static str, u64, u64);

/// L12 is not among them: what the callers were told is compared with the whole ledger, so nothing of it is dropped here.
const POINTS: [Point; 11] = [
    ("L1", 4, 25),
    ("L2", 4, 2),
    ("L3", 10, 25),
    ("L4", 10, 25),
    ("L5", 14, 25),
    ("L6", 12, 20),
    ("L7", 12, 20),
    ("L8", 8, 6),
    ("L9", 4, 4),
    // Before the write and after it; a start seldom finds more than one write has room for.
    ("L10", 8, 2),
    ("L11", 3, 1),
];

/// Disturbances of the calls to Walmart: operation, share of the calls, what happens.
const FAULTS: [(&str, f64, &str); 18] = [
    ("create", 0.07, "drop = \"after\""),
    ("create", 0.04, "drop = \"before\""),
    ("create", 0.05, "status = 500\nwhen = \"after\""),
    ("create", 0.03, "status = 500\nwhen = \"before\""),
    ("create", 0.02, "status = 202\nbody = '{\"status\":\"ACC'\nwhen = \"after\""),
    ("create", 0.01, "status = 429"),
    ("create", 0.02, "status = 401"),
    ("create", 0.05, "delay = \"300ms\""),
    ("create", 0.02, "delay = \"1500ms\""),
    ("cancel", 0.07, "drop = \"after\""),
    ("cancel", 0.04, "drop = \"before\""),
    ("cancel", 0.05, "status = 503\nwhen = \"after\""),
    ("cancel", 0.03, "status = 500\nwhen = \"before\""),
    ("cancel", 0.02, "status = 401"),
    ("cancel", 0.05, "delay = \"300ms\""),
    ("status", 0.05, "status = 500"),
    ("status", 0.05, "drop = \"before\""),
    ("token", 0.05, "status = 503"),
];

impl Story {
    /// Whether a refusal has to be the same on every repeat of this creation. Without an id it has not: it freed the order
    /// number. With one it has, unless the same content came under another id as well and both stand for one operation.
    pub(crate) fn refusal_lasts(&self, creation: &Creation) -> bool {
        let same = self.creations.iter().filter(|other| other.units == creation.units).count();
        creation.request_id.is_some() && same == 1
    }
}

impl Schedule {
    /// The schedule of this seed with so many kills.
    pub(crate) fn draw(seed: u64, kills: usize, hardships: Hardships) -> Self {
        let mut clock = hardships.clock_steps.then(|| WallClock::new(seed));
        let dice = Dice(Random::from_seed(seed));
        let mut changes = ChangePlan::new(seed);
        let mut story = 0;
        let mut lives = Vec::new();
        for life in 0..=kills {
            let last = life == kills;
            let end = if last { End::Stays } else { dice.end(&POINTS, LIFE) };
            let count = if last { LAST_STORIES } else { STORIES_A_LIFE };
            let stories = (0..count).map(|_| {
                story += 1;
                dice.story(story, last)
            });
            let clock_steps = clock.as_mut().map(WallClock::life).unwrap_or_default();
            lives.push(Life { end, clock_steps, stories: stories.collect(), changes: changes.life(last) });
        }
        Self { seed, lives, faults: faults(seed) + &hardships.lies.rules() }
    }
}

fn faults(seed: u64) -> String {
    let rule = |(operation, share, what): &(&str, f64, &str)| {
        format!("[[fault]]\noperation = \"{operation}\"\nprobability = {share}\n{what}\n")
    };
    format!("seed = {seed}\n{}{}", FAULTS.iter().map(rule).collect::<String>(), changes::faults())
}

/// Draws one thing after the other.
pub(crate) struct Dice(pub Random);

impl Dice {
    /// True for this share of the throws.
    pub(crate) fn share(&self, share: f64) -> bool {
        self.0.fraction() < share
    }

    /// One of them, drawn evenly.
    pub(crate) fn one_of<T: Copy>(&self, choices: &[T]) -> T {
        choices[self.0.next_u64() as usize % choices.len()]
    }

    /// A number from 1 to `most`.
    pub(crate) fn up_to(&self, most: u64) -> u64 {
        1 + self.0.next_u64() % most
    }

    pub(crate) fn millis(&self, least: u64, most: u64) -> Duration {
        Duration::from_millis(least - 1 + self.up_to(most - least + 1))
    }

    /// Half of the lives end at a named place, the others within `life` milliseconds.
    pub(crate) fn end(&self, points: &[Point], life: u64) -> End {
        if self.share(0.5) {
            return End::After(self.millis(150, life));
        }
        let all = points.iter().map(|(_, weight, _)| weight).sum();
        let mut left = self.up_to(all);
        let chosen = points.iter().find(|(_, weight, _)| {
            let here = left <= *weight;
            left = left.saturating_sub(*weight);
            here
        });
        let &(point, _, most) = chosen.unwrap_or(&points[0]);
        End::At { point, count: self.up_to(most) }
    }

    fn story(&self, n: usize, last: bool) -> Story {
        let number = format!("ORDER-{n}");
        let many_lines = self.share(0.05);
        let mut creations = vec![self.creation(&number, 10, "a", last)];
        match self.0.fraction() {
            // Other content under the same number.
            x if x < 0.10 => creations.push(self.creation(&number, 11, "b", last)),
            // Other content under the same number and the same id.
            x if x < 0.15 => {
                let request_id = Some(format!("{number}-shared"));
                creations[0].request_id.clone_from(&request_id);
                creations.push(Creation { request_id, ..self.creation(&number, 11, "b", last) });
            }
            // The same content under two ids.
            x if x < 0.25 => {
                creations[0].request_id = Some(format!("{number}-one"));
                creations.push(Creation {
                    request_id: Some(format!("{number}-two")),
                    ..self.creation(&number, 10, "b", last)
                });
            }
            // Refused by Walmart, then put right under the same number.
            x if x < 0.32 => {
                creations[0].refused = true;
                creations[0].units = 12;
                creations.push(self.creation(&number, 10, "b", last));
            }
            _ => {}
        }
        let lines = if many_lines { 101 + self.up_to(60) as usize } else { self.up_to(3) as usize };
        let cancelled = many_lines || self.share(0.22);
        let cancellation = cancelled.then(|| Cancellation {
            // A call without an id that is repeated after its answer was lost is a new one. Only with one request to
            // Walmart can it be told afterwards how many of them there were.
            request_id: (many_lines || self.share(0.6)).then(|| format!("{number}-cancel")),
            callers: self.callers(last),
        });
        let begins = self.millis(1, BEGINNINGS.as_millis() as u64);
        Story { account: ACCOUNTS[n % ACCOUNTS.len()], number, begins, lines, creations, cancellation }
    }

    fn creation(&self, number: &str, units: u32, who: &str, last: bool) -> Creation {
        let request_id = self.share(0.5).then(|| format!("{number}-{who}"));
        Creation { units, request_id, refused: false, callers: self.callers(last) }
    }

    /// In the last life every third order is left by all who want it, most of them in the middle of the call: no restart
    /// takes over what they leave behind.
    pub(crate) fn callers(&self, last: bool) -> Vec<Caller> {
        let count = if self.share(0.25) { 1 + self.up_to(2) } else { 1 };
        let left = last && self.share(0.33);
        (0..count).map(|_| if left { self.leaving() } else { self.caller() }).collect()
    }

    fn leaving(&self) -> Caller {
        let deadline = self.millis(1, 60);
        Caller { begins: Duration::ZERO, deadline, hangs_up: true, pause: Duration::ZERO, patience: Some(1) }
    }

    fn caller(&self) -> Caller {
        let hangs_up = self.share(0.15);
        let deadline = match self.0.fraction() {
            _ if hangs_up => self.millis(5, 400),
            // Below 400 ms the gateway would not send anything, as often as it is asked.
            x if x < 0.2 => self.millis(450, 1200),
            _ => Duration::from_secs(10),
        };
        Caller {
            begins: if self.share(0.5) { Duration::ZERO } else { self.millis(1, 100) },
            deadline,
            hangs_up,
            pause: self.millis(20, 400),
            patience: self.share(0.15).then(|| self.up_to(3) as u32),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(schedule: &Schedule) -> String {
        let life = |life: &Life| format!("{:?} {:?} {:?} {}", life.end, life.stories, life.changes, life.clock_steps);
        schedule.lives.iter().map(life).collect()
    }

    #[test]
    fn a_seed_is_a_schedule() {
        let hard = Hardships { lies: Lies::All, clock_steps: true };
        let draw = |seed, hardships| told(&Schedule::draw(seed, 20, hardships));
        assert_eq!(draw(7, hard), draw(7, hard));
        assert_ne!(draw(7, hard), draw(8, hard));
        assert_ne!(draw(7, hard), draw(7, Hardships::default()));
    }

    #[test]
    fn hardships_change_nothing_else() {
        let hard = Schedule::draw(7, 20, Hardships { lies: Lies::All, clock_steps: true });
        let kind = Schedule::draw(7, 20, Hardships { lies: Lies::None, clock_steps: false });
        let lives = |schedule: &Schedule| -> String {
            schedule.lives.iter().map(|life| format!("{:?} {:?}", life.end, life.stories)).collect()
        };
        assert_eq!(lives(&hard), lives(&kind));
        assert!(hard.faults.starts_with(&kind.faults) && hard.faults.len() > kind.faults.len());
        assert!(kind.lives.iter().all(|life| life.clock_steps.is_empty()));
    }

    #[test]
    fn two_hundred_kills_come_with_all_that_is_promised() {
        let schedule = Schedule::draw(1, 200, Hardships::default());
        assert_eq!(schedule.lives.len(), 201);
        assert_eq!(schedule.lives[200].end, End::Stays);
        let stories: Vec<&Story> = schedule.lives.iter().flat_map(|life| &life.stories).collect();
        assert!(stories.len() >= 5000, "{} creates", stories.len());
        let cancels = stories.iter().filter(|story| story.cancellation.is_some()).count();
        assert!(cancels >= 1200, "{cancels} cancels");
        for (point, _, most) in POINTS {
            let counts = schedule.lives.iter().filter_map(|life| match life.end {
                End::At { point: p, count, .. } if p == point => Some(count),
                _ => None,
            });
            let counts: Vec<u64> = counts.collect();
            assert!(!counts.is_empty() && counts.iter().all(|count| (1..=most).contains(count)), "{point}: {counts:?}");
        }
    }
}
