//! I10: nothing that a subscription wants is ever forgotten. Its floor passes only what is settled and never falls, and in
//! the end everything is acknowledged or parked.
//!
//! Pure: everything known of a subscription goes in; what must not be comes out, in words.

use super::book::{Book, Generation, Subject};
use super::history::{End, Frame, Micros, Said, What};

/// A floor that somebody was told.
struct Floor {
    generation: u64,
    floor: u64,
    /// It is from this time at the earliest; unknown of what comes by itself.
    from: Option<Micros>,
    at: Micros,
}

/// Everything that must not be.
pub(crate) fn violations(subject: &Subject<'_>, book: &Book) -> Vec<String> {
    let mut found = wrong_frames(subject);
    let floors = floors(subject);
    for (number, generation) in &book.generations {
        let mut here: Vec<&Floor> = floors.iter().filter(|floor| floor.generation == *number).collect();
        found.extend(passed_by(subject, generation, &here));
        found.extend(fallen(&mut here));
    }
    found.extend(ending(subject, book));
    found
}

/// All floors that anybody was told.
fn floors(subject: &Subject<'_>) -> Vec<Floor> {
    let mut floors = Vec::new();
    for stream in &subject.streams {
        let Some(opened) = &stream.opened else { continue };
        let generation = opened.generation;
        floors.push(Floor { generation, floor: opened.position, from: Some(stream.requested), at: opened.at });
        for (at, frame) in &stream.frames {
            if let Frame::Heartbeat(heartbeat) = frame {
                floors.push(Floor { generation, floor: heartbeat.cursor, from: None, at: *at });
            }
        }
    }
    for settle in &subject.settles {
        let Some(told) = &settle.told else { continue };
        // A verdict that was applied tells which generation the floor is of.
        let applied = told.results.iter().position(|(outcome, _)| *outcome == super::history::APPLIED);
        if let Some((lease, _)) = applied.and_then(|n| settle.said.get(n)) {
            let generation = lease.generation;
            floors.push(Floor { generation, floor: told.floor, from: Some(settle.begun), at: settle.ended });
        }
    }
    for operation in &subject.operations {
        let Some(told) = operation.told.filter(|told| told.generation != 0) else { continue };
        let (generation, floor) = (told.generation, told.floor);
        floors.push(Floor { generation, floor, from: Some(operation.begun), at: operation.ended });
    }
    floors
}

/// A floor that is above an event which nobody had settled.
fn passed_by(subject: &Subject<'_>, generation: &Generation, floors: &[&Floor]) -> Vec<String> {
    let after = subject.wanted.partition_point(|seq| *seq <= generation.start);
    let wanted = &subject.wanted[after..];
    // For each event, when all up to it can have been settled at the earliest, and which was the last.
    let mut settled = Vec::with_capacity(wanted.len());
    let mut last = (Micros::MIN, 0);
    for seq in wanted {
        let story = generation.events.get(seq);
        let mine = story.and_then(|story| story.settled_from(subject, *seq)).unwrap_or(Micros::MAX);
        last = last.max((mine, *seq));
        settled.push(last);
    }
    let mut found = Vec::new();
    for floor in floors {
        if floor.floor > subject.log.head() || floor.floor < generation.start {
            found.push(format!("I10: the floor {} is outside of the log", floor.floor));
        }
        let below = wanted.partition_point(|seq| *seq <= floor.floor);
        let Some((settled, seq)) = below.checked_sub(1).map(|last| settled[last]) else { continue };
        if settled > floor.at {
            found.push(format!("I10: the floor was {}, and event {seq} was not settled", floor.floor));
            // One is enough: those that follow say the same.
            break;
        }
    }
    found
}

/// Floors that are lower than one that was told before.
fn fallen(floors: &mut [&Floor]) -> Vec<String> {
    floors.sort_by_key(|floor| floor.at);
    let mut found = Vec::new();
    let mut highest = Vec::with_capacity(floors.len());
    let mut so_far = 0;
    for floor in floors.iter() {
        so_far = floor.floor.max(so_far);
        highest.push(so_far);
    }
    for floor in floors.iter() {
        let Some(from) = floor.from else { continue };
        let before = floors.partition_point(|other| other.at < from);
        if let Some(was) = before.checked_sub(1).map(|last| highest[last]).filter(|was| *was > floor.floor) {
            found.push(format!("I10: the floor fell from {was} to {}", floor.floor));
            break;
        }
    }
    found
}

/// Frames that must not come, and floors that fall within a stream.
fn wrong_frames(subject: &Subject<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for stream in &subject.streams {
        let mut floor = stream.opened.as_ref().map_or(0, |opened| opened.position);
        for (_, frame) in &stream.frames {
            match frame {
                Frame::Event(_) => found.push("I10: an event without a lease came".to_owned()),
                Frame::Wrong(what) => found.push(format!("I10: {what}")),
                Frame::Delivery { content, .. } => found.extend(subject.log.differs(content)),
                Frame::Heartbeat(heartbeat) if heartbeat.cursor < floor => {
                    found.push(format!("I10: the floor fell from {floor} to {}", heartbeat.cursor));
                }
                Frame::Heartbeat(heartbeat) => floor = heartbeat.cursor,
            }
        }
        match &stream.end {
            End::Refused(reason) if reason == "EVENTS_EXPIRED" => {
                found.push("I10: events that it held were lost".to_owned());
            }
            End::Done => found.push("I10: a stream ended with OK".to_owned()),
            _ => {}
        }
    }
    if subject.operations.iter().any(|operation| operation.told.is_some_and(|told| told.lost)) {
        found.push("I10: events that it held were lost".to_owned());
    }
    found
}

/// In the end everything is acknowledged or parked, and the floor is at the end of the log.
fn ending(subject: &Subject<'_>, book: &Book) -> Vec<String> {
    let Some(ending) = &subject.ending else { return Vec::new() };
    let Some((number, generation)) = book.generations.last_key_value() else { return Vec::new() };
    let mut found = Vec::new();
    let (state, head) = (ending.state, subject.log.head());
    if state.generation != *number {
        found.push(format!("I10: it is of generation {}, {number} was expected", state.generation));
        return found;
    }
    if state.floor != head || state.backlog != 0 || state.outstanding != 0 {
        found.push(format!("I10: the log ends with {head}, and it is not through with it: {state:?}"));
    }
    if state.parked != ending.parked.len() as u64 {
        found.push(format!("I10: {} parked events are listed, and it says {}", ending.parked.len(), state.parked));
    }
    let after = subject.wanted.partition_point(|seq| *seq <= generation.start);
    for seq in &subject.wanted[after..] {
        let story = generation.events.get(seq);
        let verdicts = story.map(|story| &story.verdicts[..]).unwrap_or_default();
        let acks = || verdicts.iter().filter(|verdict| verdict.said == Said::Ack && verdict.may_hold());
        // One whose answer was lost counts if nobody got the event after it.
        let acked = acks().any(|ack| ack.holds() || story.is_some_and(|story| ack.lease.attempt >= story.attempts));
        let parked = verdicts.iter().rfind(|verdict| verdict.said == Said::Park && verdict.may_hold());
        let used_up = story.is_some_and(|story| story.may_be_used_up(subject, *seq));
        let listed = ending.parked.contains_key(seq);
        if !acked && !listed {
            found.push(format!("I10: event {seq} is neither acknowledged nor parked, and comes no more"));
        }
        if listed && parked.is_none() && !used_up {
            found.push(format!("I10: event {seq} is parked, and nobody did that"));
        }
        // A consumer whose lease ran out may still acknowledge the parked event, also after the list was made.
        if listed && acks().any(|ack| ack.holds() && ack.ended < ending.listed) {
            found.push(format!("I12: event {seq} was acknowledged, and is parked"));
        }
        let kept = parked.filter(|parked| parked.holds() && !redriven(subject, *seq, parked.begun));
        // Its last consumer may still acknowledge what is parked.
        if kept.is_some_and(|parked| !acks().any(|ack| ack.lease == parked.lease)) && !listed {
            found.push(format!("I12: event {seq} was parked, and is not any more"));
        }
    }
    let strangers =
        ending.parked.keys().filter(|seq| **seq > generation.start && subject.wanted.binary_search(seq).is_err());
    found.extend(strangers.map(|seq| format!("I10: event {seq} is parked, and is not wanted")));
    found
}

/// Whether an operator may have given the event out again after this.
fn redriven(subject: &Subject<'_>, seq: u64, after: Micros) -> bool {
    subject.operations.iter().any(|operation| {
        operation.ended > after
            && match &operation.what {
                What::Redrive(None) => true,
                What::Redrive(Some(seqs)) => seqs.contains(&seq),
                _ => false,
            }
    })
}

#[cfg(test)]
#[path = "floor_check_tests.rs"]
mod tests;
