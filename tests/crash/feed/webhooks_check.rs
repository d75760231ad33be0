//! I7 and I8: what was acknowledged is stored once, in the order in which it was, and nothing else is.
//!
//! Pure: what the senders were told, the log and the quarantine go in; everything that must not be comes out, in words.

use std::collections::HashMap;

use order_gateway::pb::QuarantinedWebhook;

use super::facts::{Facts, sha256};
use super::history::{Micros, Post, Posted};
use super::log::{Entry, Log};

/// What was posted under one id: one webhook.
struct Case<'a> {
    posted: &'a Posted,
    /// What its bodies say; none where they cannot be read.
    facts: Vec<Option<Facts>>,
}

/// Everything that must not be, one line each.
pub(crate) fn violations(posted: &[Posted], log: &Log, quarantined: &[QuarantinedWebhook]) -> Vec<String> {
    let cases: Vec<Case<'_>> = posted.iter().map(Case::new).collect();
    let mut places: HashMap<(&str, &str), Vec<usize>> = HashMap::new();
    for (place, entry) in log.events.iter().enumerate().filter(|(_, entry)| entry.content.is_some()) {
        places.entry((&entry.event.account, &entry.event.event_id)).or_default().push(place);
    }
    let mut aside: HashMap<(&str, String), Vec<&QuarantinedWebhook>> = HashMap::new();
    for webhook in quarantined {
        aside.entry((&webhook.account, webhook.body_sha256.clone())).or_default().push(webhook);
    }
    let mut found = Vec::new();
    // For each event of the log, when its webhook was first posted and first acknowledged.
    let mut times = vec![(Micros::MIN, Micros::MAX); log.events.len()];
    for case in &cases {
        let account = case.posted.webhook.account;
        let mut wrong = case.answers();
        if let [Some(facts), ..] = &case.facts[..] {
            let here = places.remove(&(account, &facts.event_id)).unwrap_or_default();
            wrong.extend(case.is_where_it_belongs(facts.is_intent, &here, log));
            here.iter().for_each(|place| times[*place] = case.times());
            let stored = here.first().and_then(|place| log.events.get(*place)).map(Entry::body);
            for (body, bytes) in case.posted.webhook.bodies.iter().enumerate() {
                let kept = aside.remove(&(account, sha256(bytes))).unwrap_or_default();
                if let Some(stored) = stored {
                    let is_stored = stored == super::history::digest(bytes);
                    wrong.extend(case.is_a_conflict_once(body, is_stored, &kept));
                }
            }
        } else {
            let here = aside.remove(&(account, sha256(&case.posted.webhook.bodies[0]))).unwrap_or_default();
            wrong.extend(case.is_in_quarantine_once(&here));
        }
        found.extend(wrong.into_iter().map(|what| format!("{}: {what}", case.name())));
    }
    let strangers =
        places.into_iter().map(|((account, id), _)| format!("{account}/{id}: I7: is in the log, and was not sent"));
    found.extend(strangers);
    let strangers =
        aside.into_iter().map(|((account, id), _)| format!("{account}/{id}: I7: is in quarantine, and was not sent"));
    found.extend(strangers);
    found.extend(out_of_order(&times));
    for entry in log.events.iter().filter(|entry| entry.content.is_some()) {
        if let Some(field) = entry.untrue() {
            found.push(format!("log/{}: I8: {field} is not what the body says", entry.event.seq));
        }
    }
    found
}

/// The same of the log of order updates, which has every readable event that is no intent. What was answered and what is in
/// quarantine was looked at with the log of the intents.
pub(crate) fn violations_of_updates(posted: &[Posted], log: &Log) -> Vec<String> {
    let cases: Vec<Case<'_>> = posted.iter().map(Case::new).collect();
    let mut places: HashMap<(&str, &str), Vec<usize>> = HashMap::new();
    for (place, entry) in log.events.iter().enumerate().filter(|(_, entry)| entry.content.is_some()) {
        places.entry((&entry.event.account, &entry.event.event_id)).or_default().push(place);
    }
    let mut found = Vec::new();
    let mut times = vec![(Micros::MIN, Micros::MAX); log.events.len()];
    for case in &cases {
        let [Some(facts), ..] = &case.facts[..] else { continue };
        let here = places.remove(&(case.posted.webhook.account, &facts.event_id)).unwrap_or_default();
        let wrong = case.is_where_it_belongs(!facts.is_intent, &here, log);
        here.iter().for_each(|place| times[*place] = case.times());
        found.extend(wrong.into_iter().map(|what| format!("{}: order updates: {what}", case.name())));
    }
    found.extend(places.into_keys().map(|(account, id)| format!("{account}/{id}: I7: is an update, and was not sent")));
    found.extend(out_of_order(&times));
    for entry in log.events.iter().filter(|entry| entry.content.is_some()) {
        if let Some(field) = entry.untrue() {
            found.push(format!("updates/{}: I8: {field} is not what the body says", entry.event.seq));
        }
    }
    found
}

/// I8: an event that was acknowledged before another was posted has the lower position.
fn out_of_order(times: &[(Micros, Micros)]) -> Vec<String> {
    let mut found = Vec::new();
    let (mut earliest, mut whose) = (Micros::MAX, 0);
    for (place, (posted, acknowledged)) in times.iter().enumerate().rev() {
        if *posted > earliest {
            let (seq, later) = (place + 1, whose + 1);
            found.push(format!("log/{seq}: I8: was posted after event {later} was acknowledged"));
        }
        if *acknowledged < earliest {
            (earliest, whose) = (*acknowledged, place);
        }
    }
    found
}

impl<'a> Case<'a> {
    fn new(posted: &'a Posted) -> Self {
        Self { facts: posted.webhook.bodies.iter().map(|body| Facts::read(body)).collect(), posted }
    }

    fn name(&self) -> String {
        let id = self.facts.first().and_then(Option::as_ref).map_or("unreadable", |facts| facts.event_id.as_str());
        format!("{}/{id}", self.posted.webhook.account)
    }

    fn acknowledged(&self) -> impl Iterator<Item = &Post> + Clone {
        self.posted.posts.iter().filter(|post| post.is_acknowledged())
    }

    /// When it was first posted, and first acknowledged.
    fn times(&self) -> (Micros, Micros) {
        let posted = self.posted.posts.iter().map(|post| post.begun).min();
        let acknowledged = self.acknowledged().map(|post| post.ended).min();
        (posted.unwrap_or(Micros::MIN), acknowledged.unwrap_or(Micros::MAX))
    }

    /// 200 to what is authentic, once as new, or 503; 401 to everything else.
    fn answers(&self) -> Vec<String> {
        let mut found = Vec::new();
        for status in self.posted.posts.iter().filter_map(|post| post.status) {
            let expected = if self.posted.webhook.is_authentic { [200, 503] } else { [401, 503] };
            if !expected.contains(&status) {
                found.push(format!("I7: was answered {status}"));
            }
        }
        let new = self.acknowledged().filter(|post| post.duplicate == Some(false));
        if new.clone().count() > 1 {
            found.push(format!("I7: was stored {} times as new", new.clone().count()));
        }
        let acknowledged = self.times().1;
        if new.clone().any(|post| post.begun > acknowledged) {
            found.push("I7: was stored as new after it had been acknowledged".to_owned());
        }
        found
    }

    /// In the log, once, if its event is of the log's feed, and else not.
    fn is_where_it_belongs(&self, is_of_the_feed: bool, here: &[usize], log: &Log) -> Vec<String> {
        let webhook = &self.posted.webhook;
        let belongs = webhook.is_authentic && is_of_the_feed;
        let mut found = Vec::new();
        match here.len() {
            0 if belongs && self.acknowledged().next().is_some() => {
                found.push("I7: was acknowledged, and is not in the log".to_owned());
            }
            0 => {}
            _ if !webhook.is_authentic => found.push("I7: is in the log without authentication".to_owned()),
            _ if !belongs => found.push("I7: is in the log, and is of the other feed".to_owned()),
            1 => {}
            times => found.push(format!("I7: is in the log {times} times")),
        }
        if let (true, Some(entry)) = (belongs, here.first().and_then(|place| log.events.get(*place))) {
            let stored = webhook.bodies.iter().position(|body| super::history::digest(body) == entry.body());
            match stored {
                None => found.push("I7: its body is none that was sent".to_owned()),
                Some(stored) => found.extend(self.kept_the_first(stored)),
            }
        }
        found
    }

    /// Of two bodies under one id the first that is acknowledged before the other is posted stands.
    fn kept_the_first(&self, stored: usize) -> Option<String> {
        let posted = self.posted.posts.iter().filter(|post| post.body == stored).map(|post| post.begun).min();
        let other = self.acknowledged().filter(|post| post.body != stored).map(|post| post.ended).min();
        let displaced = posted.zip(other).is_some_and(|(posted, other)| other < posted);
        displaced.then(|| "I7: another body of the same id was acknowledged before, and is gone".to_owned())
    }

    /// A body that did not come first under its id is in quarantine, once.
    fn is_a_conflict_once(&self, body: usize, is_stored: bool, here: &[&QuarantinedWebhook]) -> Vec<String> {
        let acknowledged = self.acknowledged().any(|post| post.body == body);
        match here.len() {
            0 if acknowledged && !is_stored => {
                vec!["I7: a conflict was acknowledged, and is not in quarantine".to_owned()]
            }
            0 => Vec::new(),
            _ if is_stored => vec!["I7: is in quarantine, and in its feed".to_owned()],
            1 => Vec::new(),
            times => vec![format!("I7: a conflict is in quarantine {times} times")],
        }
    }

    fn is_in_quarantine_once(&self, here: &[&QuarantinedWebhook]) -> Vec<String> {
        let webhook = &self.posted.webhook;
        let acknowledged = self.acknowledged().next().is_some();
        match here {
            [] if acknowledged => vec!["I7: was acknowledged, and is not in quarantine".to_owned()],
            [] => Vec::new(),
            [one] if one.raw_body != webhook.bodies[0] => vec!["I7: has another body in quarantine".to_owned()],
            [_] => Vec::new(),
            _ => vec![format!("I7: is in quarantine {} times", here.len())],
        }
    }
}

#[cfg(test)]
#[path = "webhooks_check_tests.rs"]
mod tests;
