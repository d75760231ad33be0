//! All that is decided by chance in a run of the feed, drawn from one seed before anything happens: when the gateway is
//! killed, what is posted, who reads, and who shares the work.

use std::sync::Arc;
use std::time::Duration;

use order_gateway::pb::{Feed, SubscriptionMode};
use order_gateway::ports::random::Random;

use super::bodies;
use super::facts::Choice;
use crate::schedule::{ACCOUNTS, Dice, End, Point};

/// Longest life that ends by kill -9, in milliseconds.
const LIFE: u64 = 1600;
/// The webhooks of a life are posted within so many milliseconds after the life before ended.
const BEGINNINGS: u64 = 1000;

/// The places of the feed at which a life can end. F6 is where old events are dropped, which a life may not come to.
const POINTS: [Point; 11] = [
    ("W1", 10, 60),
    ("W2", 12, 60),
    ("W3", 12, 60),
    ("W4", 8, 60),
    ("F1", 12, 40),
    ("F2", 10, 40),
    ("F3", 12, 30),
    ("F4", 6, 1),
    ("F5", 6, 1),
    ("F6", 8, 1),
    ("F7", 6, 1),
];

/// What a run does.
pub(crate) struct Plan {
    /// What all of it was drawn from.
    pub seed: u64,
    /// How each life ends. The last one stays.
    pub lives: Vec<End>,
    /// What is posted in each life, and goes on in those that follow.
    pub webhooks: Vec<Vec<Arc<Webhook>>>,
    /// Those who follow each feed.
    pub crowds: [Crowd; 2],
}

/// Those who follow a feed.
pub(crate) struct Crowd {
    /// Which.
    pub feed: Feed,
    /// Events by which a subscription is moved back, at most: few enough that they are not dropped yet.
    pub back: u64,
    /// Those who keep their own place. The first sees everything.
    pub readers: Vec<Arc<Reader>>,
    /// What is shared.
    pub subscriptions: Vec<Arc<Shared>>,
}

/// Something that Walmart, or somebody else, posts until it is answered 2xx.
#[derive(Debug)]
pub(crate) struct Webhook {
    /// Where to.
    pub account: &'static str,
    /// Whether its signature is good.
    pub is_authentic: bool,
    /// Two where another body comes under the same id.
    pub bodies: Vec<Vec<u8>>,
    /// After the beginning of the life.
    pub begins: Duration,
    /// Everybody who posts it.
    pub posters: Vec<Poster>,
}

/// Who posts a body, again and again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Poster {
    /// Which of the bodies.
    pub body: usize,
    /// After the webhook's beginning.
    pub begins: Duration,
    /// Between two tries.
    pub pause: Duration,
    /// Tries after which it gives up; none: when it is answered 2xx.
    pub patience: Option<u32>,
    /// Whether the signature is in hex, not base64.
    pub hex: bool,
}

/// Somebody who keeps their own place.
#[derive(Debug)]
pub(crate) struct Reader {
    /// For messages.
    pub name: String,
    /// Account that is asked for; empty: all.
    pub account: &'static str,
    /// Which events.
    pub choice: Choice,
    /// Where each history begins.
    pub begins: Beginning,
    /// After so many events a stream is to end; 0: never.
    pub limit: u64,
    /// Whether bodies are asked for.
    pub raw: bool,
    /// Longest silence asked for, in seconds; the gateway's own if none.
    pub heartbeat: Option<i64>,
    /// Milliseconds after which the reader leaves, at most; none: never.
    pub leaves: Option<u64>,
    /// Whether it goes on where it was; otherwise each stream begins anew.
    pub resumes: bool,
}

/// Where a reader begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// At the first event.
    Earliest,
    /// After the last.
    Latest,
    /// At what was received so many milliseconds ago.
    Ago(u64),
}

/// A subscription, and those who share it.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Its name.
    pub name: &'static str,
    /// Which events.
    pub choice: Choice,
    /// How they wait for each other.
    pub mode: SubscriptionMode,
    /// After so many failures an event is parked; 0: never.
    pub max_attempts: u32,
    /// Consumers.
    pub consumers: usize,
    /// Events that one takes at a time.
    pub window: u32,
    /// What operators do with it.
    pub operators: Operators,
}

/// What operators do with a subscription, beside looking at it and giving parked events out again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Operators {
    /// Nothing.
    #[default]
    Look,
    /// Pause it and let it go on.
    Pause,
    /// Move it.
    Seek,
    /// Delete it and make it again.
    Remake,
}

impl Plan {
    /// The plan of this seed, with so many kills and webhooks.
    pub(crate) fn draw(seed: u64, kills: usize, webhooks: usize) -> Self {
        let dice = Dice(Random::from_seed(seed));
        let lives: Vec<End> =
            (0..=kills).map(|life| if life == kills { End::Stays } else { dice.end(&POINTS, LIFE) }).collect();
        // One purchase order has eight events or so, a few have many.
        let orders = (webhooks / 8).max(4) as u64;
        let mut posted: Vec<Vec<Arc<Webhook>>> = lives.iter().map(|_| Vec::new()).collect();
        for n in 0..webhooks {
            posted[n * lives.len() / webhooks].push(Arc::new(webhook(&dice, n, orders)));
        }
        let intents =
            Crowd { feed: Feed::CancelIntents, back: 200, readers: readers(), subscriptions: subscriptions() };
        let updates = Crowd {
            feed: Feed::OrderUpdates,
            back: 5,
            readers: readers_of_updates(),
            subscriptions: subscriptions_to_updates(),
        };
        Self { seed, lives, webhooks: posted, crowds: [intents, updates] }
    }
}

fn webhook(dice: &Dice, n: usize, orders: u64) -> Webhook {
    let account = ACCOUNTS[n % ACCOUNTS.len()];
    let few = dice.share(0.2);
    let order = dice.up_to(if few { 5 } else { orders });
    let (mut bodies, is_authentic) = match dice.0.fraction() {
        x if x < 0.56 => (vec![bodies::intent(dice, n, order)], true),
        x if x < 0.66 => (vec![bodies::update(dice, n, order, true)], true),
        x if x < 0.76 => (vec![bodies::update(dice, n, order, false)], true),
        x if x < 0.82 => (vec![bodies::other(dice, n, order)], true),
        x if x < 0.86 => (vec![bodies::without_an_id(dice, n, order)], true),
        x if x < 0.90 => (vec![bodies::unreadable(dice, n)], true),
        x if x < 0.94 => (vec![bodies::intent(dice, n, order)], false),
        // Another body under the same id.
        _ => (vec![bodies::intent(dice, n, order), bodies::intent(dice, n, order)], true),
    };
    let mut posters = vec![poster(dice, 0, Duration::ZERO)];
    if dice.share(0.3) {
        let begins = if dice.share(0.5) { Duration::ZERO } else { dice.millis(1, 2000) };
        posters.push(poster(dice, 0, begins));
    }
    if bodies.len() == 2 {
        let begins = if dice.share(0.5) { Duration::ZERO } else { dice.millis(1, 500) };
        posters.push(poster(dice, 1, begins));
        bodies.dedup();
        posters.iter_mut().for_each(|poster| poster.body = poster.body.min(bodies.len() - 1));
    }
    Webhook { account, is_authentic, bodies, begins: dice.millis(1, BEGINNINGS), posters }
}

fn poster(dice: &Dice, body: usize, begins: Duration) -> Poster {
    let patience = dice.share(0.03).then(|| dice.up_to(3) as u32);
    Poster { body, begins, pause: dice.millis(10, 150), patience, hex: dice.share(0.3) }
}

fn reader(name: &str, choice: Choice) -> Reader {
    Reader {
        name: name.to_owned(),
        account: "",
        choice,
        begins: Beginning::Earliest,
        limit: 0,
        raw: false,
        heartbeat: Some(1),
        leaves: Some(3000),
        resumes: true,
    }
}

fn readers() -> Vec<Arc<Reader>> {
    let shard = |index, count| Choice { shard: Some((index, count)), ..Choice::default() };
    let mut readers = vec![
        Reader { raw: true, leaves: None, ..reader("keeper", Choice::default()) },
        Reader { account: "north", raw: true, ..reader("one-account", Choice::default()) },
        reader("two-accounts", Choice { accounts: vec!["east", "west"], ..Choice::default() }),
        Reader {
            account: "east",
            ..reader("both-accounts", Choice { accounts: vec!["east", "west"], ..Choice::default() })
        },
        Reader { heartbeat: Some(2), ..reader("shard-0", shard(0, 3)) },
        Reader { leaves: None, ..reader("shard-1", shard(1, 3)) },
        reader("shard-2", shard(2, 3)),
        reader("articles", Choice { skus: bodies::some_skus(), ..Choice::default() }),
        Reader { leaves: None, ..reader("rare", Choice { keys: vec!["PO-7".into()], ..Choice::default() }) },
        reader(
            "wfs",
            Choice { ship_node_types: vec!["wfsfulfilled"], partner_ids: vec!["101".into()], ..Choice::default() },
        ),
        Reader { begins: Beginning::Latest, ..reader("latest", Choice::default()) },
        Reader { begins: Beginning::Latest, resumes: false, leaves: Some(700), ..reader("latest-anew", shard(1, 2)) },
        Reader {
            begins: Beginning::Ago(1500),
            resumes: false,
            leaves: Some(1000),
            ..reader("ago-anew", Choice::default())
        },
        Reader { limit: 200, resumes: false, ..reader("limit-anew", Choice::default()) },
    ];
    readers.push(Reader { limit: 37, ..reader("limit", shard(0, 2)) });
    readers.into_iter().map(Arc::new).collect()
}

/// Fewer than of the intents: what differs between the feeds is in the log and in the messages.
fn readers_of_updates() -> Vec<Arc<Reader>> {
    let readers = [
        Reader { raw: true, leaves: None, ..reader("updates-keeper", Choice::default()) },
        Reader { account: "east", ..reader("updates-one-account", Choice::default()) },
        reader("updates-shard", Choice { shard: Some((0, 2)), ..Choice::default() }),
        reader("updates-articles", Choice { skus: bodies::some_skus(), ..Choice::default() }),
        Reader { limit: 29, ..reader("updates-limit", Choice::default()) },
    ];
    readers.into_iter().map(Arc::new).collect()
}

fn subscriptions_to_updates() -> Vec<Arc<Shared>> {
    use Operators::{Look, Remake, Seek};
    use SubscriptionMode::{Exclusive, KeyOrdered, Unordered};
    let all = Choice::default;
    vec![
        shared("updates-keyed", KeyOrdered, all(), 3, 100, Look),
        shared("updates-exclusive", Exclusive, Choice { accounts: vec!["west"], ..all() }, 0, 100, Look),
        shared("updates-sought", Unordered, all(), 0, 40, Seek),
        shared("updates-remade", KeyOrdered, Choice { partner_ids: vec!["102".into()], ..all() }, 0, 60, Remake),
    ]
}

fn shared(
    name: &'static str,
    mode: SubscriptionMode,
    choice: Choice,
    max_attempts: u32,
    window: u32,
    operators: Operators,
) -> Arc<Shared> {
    let consumers = if mode == SubscriptionMode::Exclusive { 2 } else { 4 };
    Arc::new(Shared { name, choice, mode, max_attempts, consumers, window, operators })
}

fn subscriptions() -> Vec<Arc<Shared>> {
    use Operators::{Look, Pause, Remake, Seek};
    use SubscriptionMode::{Exclusive, KeyOrdered, Unordered};
    let all = Choice::default;
    let shard = |index| Choice { shard: Some((index, 2)), ..Choice::default() };
    let accounts = |accounts: &[&'static str]| Choice { accounts: accounts.to_vec(), ..Choice::default() };
    vec![
        shared("keyed", KeyOrdered, all(), 0, 100, Look),
        shared("keyed-accounts", KeyOrdered, accounts(&["north", "east"]), 3, 50, Pause),
        shared("keyed-shard-0", KeyOrdered, shard(0), 5, 200, Look),
        shared("keyed-shard-1", KeyOrdered, shard(1), 0, 3, Look),
        shared("unordered", Unordered, all(), 20, 100, Look),
        shared("unordered-articles", Unordered, Choice { skus: bodies::some_skus(), ..all() }, 3, 30, Pause),
        shared("exclusive", Exclusive, accounts(&["west"]), 0, 100, Look),
        shared("sought-keyed", KeyOrdered, all(), 4, 100, Seek),
        shared("sought-unordered", Unordered, accounts(&["south"]), 0, 40, Seek),
        shared("remade", KeyOrdered, Choice { partner_ids: vec!["102".into()], ..all() }, 0, 60, Remake),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::facts::Facts;
    use super::*;

    fn told(plan: &Plan) -> String {
        format!("{:?} {:?} {:?}", plan.lives, plan.webhooks, plan.crowds[0].readers)
    }

    #[test]
    fn a_seed_is_a_plan() {
        assert_eq!(told(&Plan::draw(7, 5, 300)), told(&Plan::draw(7, 5, 300)));
        assert_ne!(told(&Plan::draw(7, 5, 300)), told(&Plan::draw(8, 5, 300)));
    }

    #[test]
    fn two_hundred_kills_come_with_all_that_is_promised() {
        let plan = Plan::draw(1, 200, 4000);
        assert_eq!((plan.lives.len(), plan.lives[200]), (201, End::Stays));
        let all: Vec<&Arc<Webhook>> = plan.webhooks.iter().flatten().collect();
        assert_eq!(all.len(), 4000);
        let share = |of: &dyn Fn(&Webhook) -> bool| all.iter().filter(|one| of(one)).count() as f64 / 4000.0;
        let is_intent = |one: &Webhook| Facts::read(&one.bodies[0]).is_some_and(|facts| facts.is_intent);
        assert!(share(&is_intent) > 0.8);
        assert!(share(&|one| Facts::read(&one.bodies[0]).is_none()) > 0.03);
        assert!(share(&|one| !one.is_authentic) > 0.03);
        assert!(share(&|one| one.bodies.len() == 2) > 0.04);
        let doubled = share(&|one| one.posters.iter().filter(|poster| poster.body == 0).count() == 2);
        assert!((0.27..0.33).contains(&doubled), "{doubled}");
        for (point, _, most) in POINTS {
            let at = |end: &&End| matches!(end, End::At { point: p, count } if *p == point && *count <= most);
            assert!(plan.lives.iter().filter(at).count() > 0, "{point}");
        }
    }
}
