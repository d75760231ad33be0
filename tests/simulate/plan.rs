//! What happens in one simulation, drawn from its seed: settings, callers, faults, ends of the process and steps of the wall
//! clock. Nothing of it depends on what the gateway does.

use std::fmt;
use std::time::Duration;

use order_gateway::domain::operation::Operation;
use order_gateway::emulator::DuplicatePolicy;
use order_gateway::ports::random::Random;

use crate::changes::{self, Change, Object, Subject};
use crate::draw::{Draw, millis, seconds};
use crate::faults::{self, Fault};
use crate::pollers;

/// The accounts, by position.
pub(crate) const ACCOUNTS: [&str; 2] = ["acme", "other"];
/// 2026-11-01T00:00:00Z, when every simulation begins, in milliseconds since 1970.
pub(crate) const EPOCH: u64 = 1_793_491_200_000;
/// Callers and faults come within this time.
const SHORTEST: Duration = seconds(20 * 60);
const LONGEST: Duration = seconds(100 * 60);
/// Every so many seeds a crowd polls in the end.
const POLLED_EVERY: u64 = 10;
/// Part of the stories that change seller orders and returns.
const CHANGES: f64 = 0.4;
/// Part of the reads that are lists, page by page.
const PAGES: f64 = 0.1;
/// Walmart's number of the first return that is opened at the beginning; one is there already.
const FIRST_RETURN: u64 = 100_000_000_000_000_002;

/// One simulation.
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) settings: Settings,
    /// When the last fault ends and the last caller comes.
    pub(crate) end: Duration,
    pub(crate) lives: Vec<Life>,
    pub(crate) steps: Vec<WallStep>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) stories: Vec<Story>,
    pub(crate) calls: Vec<(Duration, Call)>,
    /// The pauses of callers before they ask again, from the shortest to the longest. `None`: as impatient people make them.
    pub(crate) pauses: Option<[Duration; 2]>,
    /// Whether somebody decides about what waits for an operator.
    pub(crate) has_operator: bool,
}

/// Settings of the gateway, and of the Walmart that it meets.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) settle_window: Duration,
    pub(crate) lookup_delays: Vec<Duration>,
    pub(crate) not_after: Duration,
    pub(crate) attempt_timeout: Duration,
    /// Calls a minute of promise, create, cancel and status.
    pub(crate) create_limit: u32,
    pub(crate) cancel_limit: u32,
    pub(crate) status_limit: u32,
    /// Factor on the published limits that the emulator keeps.
    pub(crate) limit_scale: f64,
    pub(crate) duplicates: DuplicatePolicy,
    /// Walmart's words to a used number, as a rule of the emulator, where it refuses them.
    pub(crate) refusal: Option<String>,
    /// The first attempt of a mutation may be carried out later than the settle window promises. Only where Walmart refuses used
    /// numbers: nothing else keeps an order from being made twice then.
    pub(crate) beyond: bool,
    /// How long after a request was given up Walmart may still carry it out. With the lag of reads it is shorter than the
    /// settle window, which is what the window promises to cover.
    pub(crate) lateness: Duration,
    /// How much older than the truth what reads tell may be.
    pub(crate) lag: Duration,
    /// Longest way of a request to Walmart, and of its answer.
    pub(crate) travel: Duration,
    /// Longest time of the store.
    pub(crate) store_time: Duration,
}

/// A process, from its start to its end by kill -9; the last one has no end.
pub(crate) struct Life {
    pub(crate) start: Duration,
    pub(crate) end: Option<Duration>,
    /// Which boot of the machine it runs on, and when that began.
    pub(crate) boot: u8,
    pub(crate) booted: Duration,
}

/// A step of the machine's wall clock, which outlives processes.
pub(crate) struct WallStep {
    pub(crate) time: Duration,
    /// Milliseconds ahead.
    pub(crate) ahead: i64,
}

/// An order, or a return, and what callers want of it.
#[derive(Default)]
pub(crate) struct Story {
    pub(crate) account: usize,
    /// The order number. Of a return: Walmart's number of it.
    pub(crate) number: String,
    /// What is to be created: the first of these, or two that contradict each other.
    pub(crate) contents: Vec<Content>,
    /// The `request_id` of all creations, if they have one.
    pub(crate) request_id: Option<String>,
    /// The `request_id` of the cancellation, if it has one.
    pub(crate) cancel_id: Option<String>,
    /// What exists at Walmart from the beginning.
    pub(crate) object: Object,
    /// What is to be changed of it.
    pub(crate) changes: Vec<Change>,
    /// Walmart refuses every change that comes again.
    pub(crate) guarded: bool,
}

/// The content of an order. Units tell contents of one number apart.
pub(crate) struct Content {
    pub(crate) units: u32,
    pub(crate) lines: u32,
    /// When the buyer placed it.
    pub(crate) placed: Duration,
    /// Whether Walmart would refuse it.
    pub(crate) refused: bool,
}

/// A call of somebody's.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) story: usize,
    pub(crate) what: What,
    /// How long the caller lets the gateway work.
    pub(crate) deadline: Duration,
    /// The caller leaves after this time.
    pub(crate) leaves: Option<Duration>,
    /// How often it is repeated while there is no final answer.
    pub(crate) repeats: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    /// Creates the content at this position.
    Create(usize),
    /// Cancels all lines of the first content.
    Cancel,
    /// Asks for the order.
    Status,
    /// Makes the change at this position.
    Change(usize),
    /// Reads all seller orders and returns, page by page.
    Pages,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, deadline, leaves, .. } = self;
        write!(f, "{what:?} within {deadline:?}")?;
        leaves.map_or(Ok(()), |leaves| write!(f, ", leaves after {leaves:?}"))
    }
}

impl Plan {
    /// About `operations` calls and `faults` faults.
    pub(crate) fn of(seed: u64, operations: usize, faults: usize) -> Self {
        let draw = Random::from_seed(seed ^ 0x5eed_0fa1_1000_0001);
        let end = draw.span(SHORTEST, LONGEST);
        let mut settings = Settings::draw(&draw);
        // Much comes together: callers in crowds, and trouble with them.
        let storms: Vec<_> = (0..draw.whole(1, 3)).map(|_| draw.span(seconds(60), end)).collect();
        let moment = || {
            if draw.chance(0.7) {
                (*draw.one_of(&storms) + draw.span(millis(0), seconds(120))).min(end)
            } else {
                draw.span(seconds(1), end)
            }
        };
        // Ends and steps are faults too.
        let ends = draw.whole(0, 3).min(faults as u64) as usize;
        let steps = draw.whole(0, 2).min((faults - ends) as u64) as usize;
        let others = faults - ends - steps;
        let lives = lives(&draw, (0..ends).map(|_| moment()).collect());
        let steps = wall_steps(&draw, (0..steps).map(|_| moment()).collect());
        // A clock that is set ahead ends the time for sending again.
        settings.beyond &= steps.is_empty();
        let faults = (0..others).map(|_| faults::draw(&draw, moment(), end, &settings)).collect();
        let (stories, calls) = stories(&draw, end, &storms, operations);
        let mut plan =
            Self { seed, settings, end, lives, steps, faults, stories, calls, pauses: None, has_operator: true };
        if seed.is_multiple_of(POLLED_EVERY) {
            pollers::add(&mut plan, &draw);
        }
        plan
    }

    /// How far the wall clock is ahead, in milliseconds.
    pub(crate) fn wall_ahead(&self, time: Duration) -> i64 {
        self.steps.iter().filter(|step| step.time <= time).map(|step| step.ahead).sum()
    }
}

impl Settings {
    /// Calls of an operation a minute, which are those that Walmart allows.
    pub(crate) fn limit(&self, operation: Operation) -> u32 {
        match operation {
            Operation::Promise => 20,
            Operation::Create => self.create_limit,
            Operation::Cancel => self.cancel_limit,
            Operation::Status => self.status_limit,
            Operation::Orders | Operation::Order => (5_000.0 * self.limit_scale) as u32,
            Operation::Returns => (50.0 * self.limit_scale) as u32,
            _ => (60.0 * self.limit_scale) as u32,
        }
    }

    fn draw(draw: &Random) -> Self {
        let settle_window = seconds(*draw.one_of(&[30, 45, 60, 90, 120, 120, 120, 120, 240]));
        let lookup_delays = if draw.chance(0.5) {
            [500, 1_500, 5_000, 15_000, 30_000, 60_000, 120_000].map(millis).into()
        } else {
            let mut delay = draw.span(millis(200), seconds(3));
            let mut delays = Vec::new();
            for _ in 0..draw.whole(3, 9) {
                delays.push(delay);
                delay += draw.span(millis(500), delay * 2);
            }
            delays
        };
        let not_after = settle_window.max(*draw.one_of(&[settle_window, seconds(300), seconds(900), seconds(900)]));
        let lateness = settle_window.mul_f64(0.3 + 0.6 * draw.fraction());
        let refuses = draw.chance(0.3);
        let status_limit = *draw.one_of(&[10, 20, 20, 20, 60]);
        Self {
            lookup_delays,
            not_after,
            attempt_timeout: *draw.one_of(&[seconds(10), seconds(10), seconds(5)]),
            create_limit: *draw.one_of(&[60, 600, 600]),
            cancel_limit: *draw.one_of(&[60, 600]),
            status_limit,
            // Never below what the gateway was told: that is a fault of its own.
            limit_scale: f64::from(status_limit) / 20.0,
            duplicates: if refuses { DuplicatePolicy::Refuse } else { DuplicatePolicy::Accept },
            refusal: refuses.then(|| faults::refuses_used(draw)),
            beyond: refuses && not_after >= settle_window * 5 && draw.chance(0.7),
            lateness,
            lag: settle_window.saturating_sub(lateness + seconds(2)),
            settle_window,
            travel: draw.span(millis(2), millis(400)),
            store_time: draw.span(millis(0), millis(40)),
        }
    }
}

fn lives(draw: &Random, mut moments: Vec<Duration>) -> Vec<Life> {
    moments.sort();
    let (mut start, mut boot, mut booted) = (Duration::ZERO, 0, Duration::ZERO);
    let mut lives = Vec::new();
    for moment in moments {
        let ended = moment.max(start + millis(200));
        lives.push(Life { start, end: Some(ended), boot, booted });
        let longest = *draw.one_of(&[seconds(1), seconds(10), seconds(60), seconds(400)]);
        start = ended + draw.span(millis(50), longest);
        if draw.chance(0.3) {
            (boot, booted) = (boot + 1, start.saturating_sub(draw.span(millis(0), start - ended)));
        }
    }
    lives.push(Life { start, end: None, boot, booted });
    lives
}

fn wall_steps(draw: &Random, moments: Vec<Duration>) -> Vec<WallStep> {
    const DAY: i64 = 24 * 3_600_000;
    let mut steps = Vec::new();
    for time in moments {
        let (ahead, lasts) = *draw.one_of(&[
            (90_000, None),
            (90_000, Some(seconds(300))),
            (-3_600_000, None),
            (-3_600_000, Some(seconds(1_200))),
            (40 * DAY, Some(seconds(60))),
        ]);
        steps.push(WallStep { time, ahead });
        steps.extend(lasts.map(|lasts| WallStep { time: time + lasts, ahead: -ahead }));
    }
    steps.sort_by_key(|step| step.time);
    steps
}

fn stories(
    draw: &Random,
    end: Duration,
    storms: &[Duration],
    operations: usize,
) -> (Vec<Story>, Vec<(Duration, Call)>) {
    let (mut stories, mut calls): (Vec<Story>, Vec<(Duration, Call)>) = (Vec::new(), Vec::new());
    let crowded = draw.fraction();
    let patient = draw.fraction();
    let polls = (operations as f64 * (0.05 + 0.35 * draw.fraction())) as usize;
    // Repeats, which come by themselves, are about a third.
    while calls.len() < (operations - polls) * 2 / 3 {
        let begins = if draw.chance(crowded) {
            *draw.one_of(storms) + draw.span(millis(0), seconds(90))
        } else {
            draw.span(seconds(1), end)
        };
        if draw.chance(CHANGES) {
            tell_changes(draw, patient, begins, &mut stories, &mut calls);
        } else {
            tell(draw, patient, begins, &mut stories, &mut calls);
        }
    }
    for _ in 0..polls {
        let story = draw.whole(0, stories.len() as u64 - 1) as usize;
        let time = if draw.chance(crowded) {
            *draw.one_of(storms) + draw.span(millis(0), seconds(300))
        } else {
            draw.span(seconds(1), end)
        };
        let what = if draw.chance(PAGES) { What::Pages } else { What::Status };
        calls.push((time, call(draw, patient, story, what)));
    }
    (stories, calls)
}

/// A seller order or a return, and the first calls that are to change it.
fn tell_changes(
    draw: &Random,
    patient: f64,
    begins: Duration,
    stories: &mut Vec<Story>,
    calls: &mut Vec<(Duration, Call)>,
) {
    let position = stories.len();
    let name = format!("{position:04}");
    let Subject { object, changes, guarded } = changes::draw(draw, &name);
    let number = match object {
        Object::Delivered => format!("MAGIC-DELIVERED-{name}"),
        Object::Return => {
            let returns = stories.iter().filter(|story| matches!(story.object, Object::Return)).count();
            (FIRST_RETURN + returns as u64).to_string()
        }
        Object::None | Object::SellerOrder { .. } => format!("19{name:0>11}"),
    };
    let mut time = begins;
    for what in (0..changes.len()).map(What::Change) {
        let callers = *draw.one_of(&[1, 1, 1, 2, 3]);
        for caller in 0..callers {
            let spread = *draw.one_of(&[millis(0), millis(5), seconds(2), seconds(120)]);
            let later = if caller == 0 { Duration::ZERO } else { draw.span(millis(0), spread) };
            calls.push((time + later, call(draw, patient, position, what)));
        }
        // Changes of one object come together, or one after the other.
        let pause = *draw.one_of(&[millis(0), seconds(1), seconds(60), seconds(600)]);
        time += draw.span(millis(0), pause);
    }
    let account = draw.whole(0, 1) as usize;
    stories.push(Story { account, number, object, changes, guarded, ..Story::default() });
}

/// One more story and its first calls.
fn tell(draw: &Random, patient: f64, begins: Duration, stories: &mut Vec<Story>, calls: &mut Vec<(Duration, Call)>) {
    let (mut account, mut number) = (draw.whole(0, 1) as usize, format!("S-{:04}", stories.len()));
    let of_orders = |story: &&Story| matches!(story.object, Object::None);
    if let Some(last) = stories.last().filter(of_orders).filter(|_| draw.chance(0.05)) {
        (account, number) = (1 - last.account, last.number.clone());
    }
    // Two stories of one account and number would be one.
    if stories.iter().any(|story| story.account == account && story.number == number) {
        number = format!("S-{:04}-", stories.len());
    }
    let lines = if draw.chance(0.01) { 120 } else { draw.whole(1, 3) as u32 };
    let content = |units| Content {
        units,
        lines,
        placed: begins.saturating_sub(draw.span(millis(0), seconds(3_600))),
        refused: draw.chance(0.03),
    };
    let contents = if draw.chance(0.05) { vec![content(1), content(2)] } else { vec![content(1)] };
    let story = Story {
        account,
        request_id: draw.chance(0.3).then(|| format!("create-{number}")),
        cancel_id: draw.chance(0.6).then(|| format!("cancel-{number}")),
        number,
        contents,
        ..Story::default()
    };
    let position = stories.len();
    let creators = *draw.one_of(&[1, 1, 1, 2, 3]);
    for creator in 0..creators {
        let content = if creator == 0 { 0 } else { draw.whole(0, story.contents.len() as u64 - 1) as usize };
        let spread = *draw.one_of(&[millis(0), millis(5), seconds(2), seconds(120)]);
        let time = if creator == 0 { begins } else { begins + draw.span(millis(0), spread) };
        calls.push((time, call(draw, patient, position, What::Create(content))));
    }
    if draw.chance(0.25) {
        let time = begins + draw.span(millis(0), seconds(600));
        calls.push((time, call(draw, patient, position, What::Cancel)));
        if draw.chance(0.3) {
            let time = time + draw.span(millis(0), seconds(10));
            calls.push((time, call(draw, patient, position, What::Cancel)));
        }
    }
    if draw.chance(0.3) {
        let time = begins + draw.span(millis(0), seconds(120));
        calls.push((time, call(draw, patient, position, What::Status)));
    }
    stories.push(story);
}

/// `patient`: which part of the callers has time.
fn call(draw: &Random, patient: f64, story: usize, what: What) -> Call {
    let deadline =
        if draw.chance(patient) { draw.span(seconds(10), seconds(60)) } else { draw.span(millis(300), seconds(5)) };
    let leaves = draw.chance(0.15).then(|| draw.span(millis(1), deadline));
    Call { story, what, deadline, leaves, repeats: draw.whole(0, 4) as u32 }
}
