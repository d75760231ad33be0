//! A crowd that polls: more status calls than Walmart allows, from callers who wait in line, while creations are in doubt and
//! nothing else is wrong. The look-ups have their share of the calls all the same.

use std::time::Duration;

use order_gateway::domain::operation::Operation;
use order_gateway::ports::random::Random;

use crate::draw::{Draw as _, millis, seconds};
use crate::faults::{Aim, Fate, Fault, FaultKind};
use crate::plan::{Call, Content, Plan, Story, What};

/// Faults of the plan before are not felt any more after this time.
const QUIET: Duration = seconds(7 * 60);
/// How long the crowd polls, and when in this time answers to creations are lost.
const POLLS_FOR: Duration = seconds(6 * 60);
const LOSES_AFTER: Duration = seconds(60);
const LOSES_FOR: Duration = seconds(2);
/// Creations whose answers are lost.
const LOST: u32 = 3;

/// Adds the crowd to the end of a plan.
pub(crate) fn add(plan: &mut Plan, draw: &Random) {
    let begins = plan.end + QUIET;
    plan.end = begins + POLLS_FOR;
    let polls = plan.settings.status_limit * 2 * (POLLS_FOR.as_secs() as u32) / 60;
    for poll in 0..polls {
        let time = begins + POLLS_FOR * poll / polls + draw.span(millis(0), millis(200));
        // Each asks for an order of its own: calls for one would be one.
        add_story(plan, format!("POLLED-{poll:04}"), time, What::Status);
    }
    let loses = begins + LOSES_AFTER;
    for creation in 0..LOST {
        let time = loses + LOSES_FOR / 2 + draw.span(millis(0), LOSES_FOR / 2);
        add_story(plan, format!("LOST-{creation}"), time, What::Create(0));
    }
    let fate = *draw.one_of(&[Fate::BrokenBefore, Fate::BrokenAfter]);
    let kind = FaultKind::Network { account: None, aim: Aim::One(Operation::Create), probability: 1.0, fate };
    plan.faults.push(Fault { from: loses, until: loses + LOSES_FOR * 2, kind });
}

fn add_story(plan: &mut Plan, number: String, time: Duration, what: What) {
    let contents = vec![Content { units: 1, lines: 1, placed: time, refused: false }];
    plan.stories.push(Story { number, contents, ..Story::default() });
    let story = plan.stories.len() - 1;
    plan.calls.push((time, Call { story, what, deadline: seconds(50), leaves: None, repeats: 0 }));
}
