//! The log as readers saw it: what all other checks measure the gateway by.

use std::collections::BTreeMap;

use order_gateway::pb;

use super::facts::{Choice, Facts};
use super::history::{Content, Micros, digest, micros};

/// All events, by position.
#[derive(Default)]
pub(crate) struct Log {
    /// The first has position 1.
    pub events: Vec<Entry>,
}

/// One of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entry {
    /// As the gateway tells it.
    pub event: pb::Event,
    /// What its body says.
    pub facts: Facts,
    /// To compare frames with.
    pub content: Option<Content>,
    /// When the gateway says that it came.
    pub received: Micros,
}

impl Log {
    /// From what the keeper of everything was sent, and from what is listed in the end. Old events may be dropped by then. Tells
    /// where positions are missing, or mean different events at different times (I8).
    pub(crate) fn new(kept: Vec<pb::Event>, listed: Vec<pb::Event>) -> (Self, Vec<String>) {
        let mut found = Vec::new();
        let mut by_seq: BTreeMap<u64, pb::Event> = BTreeMap::new();
        let first_listed = listed.first().map(|event| event.seq);
        let last_listed = listed.last().map_or(0, |event| event.seq);
        let positions: Vec<u64> = listed.iter().map(|event| event.seq).collect();
        if positions.windows(2).any(|pair| pair[0] + 1 != pair[1]) {
            found.push("log: I8: the list of all events is out of order, or has gaps".to_owned());
        }
        for event in kept.into_iter().chain(listed) {
            match by_seq.get(&event.seq) {
                Some(known) if *known != event => {
                    let (was, is) = (&known.event_id, &event.event_id);
                    found.push(format!("log: I8: position {} was {was}, and is {is}", event.seq));
                }
                _ => drop(by_seq.insert(event.seq, event)),
            }
        }
        let head = by_seq.last_key_value().map_or(0, |(seq, _)| *seq);
        if head != last_listed && first_listed.is_some() {
            found.push(format!("log: I8: position {head} was sent, and the log ends with {last_listed}"));
        }
        let missing: Vec<u64> = (1..=head).filter(|seq| !by_seq.contains_key(seq)).collect();
        if let Some(first) = missing.first() {
            found.push(format!("log: I8: {} positions are missing, the first is {first}", missing.len()));
        }
        let mut log = Self::default();
        for seq in 1..=head {
            log.events.push(by_seq.remove(&seq).map(Entry::new).unwrap_or_default());
        }
        (log, found)
    }

    /// Position of the last event.
    pub(crate) fn head(&self) -> u64 {
        self.events.len() as u64
    }

    /// The event of a position.
    pub(crate) fn get(&self, seq: u64) -> Option<&Entry> {
        self.events.get(usize::try_from(seq.checked_sub(1)?).ok()?)
    }

    /// Positions, in order, that a reader of this account (empty: all) and choice wants.
    pub(crate) fn wanted(&self, account: &str, choice: &Choice) -> Vec<u64> {
        let wants = |entry: &&Entry| {
            (account.is_empty() || account == entry.event.account) && choice.wants(&entry.event.account, &entry.facts)
        };
        self.events.iter().filter(wants).map(|entry| entry.event.seq).collect()
    }

    /// What is wrong with an event that a frame had (I8: the same position is always the same event).
    pub(crate) fn differs(&self, content: &Content) -> Option<String> {
        let seq = content.seq;
        let Some(entry) = self.get(seq).and_then(|entry| entry.content) else {
            return Some(format!("I8: event {seq} is not in the log"));
        };
        if entry.digest != content.digest {
            return Some(format!("I8: event {seq} is another one than in the log"));
        }
        (content.raw.is_some() && content.raw != entry.raw).then(|| format!("I8: event {seq} has another body"))
    }
}

impl Entry {
    fn new(event: pb::Event) -> Self {
        Self {
            facts: Facts::read(&event.raw_body).unwrap_or_default(),
            content: Some(Content::of(event.clone())),
            received: micros(event.received_at),
            event,
        }
    }

    /// What is told of it that its body does not say.
    pub(crate) fn untrue(&self) -> Option<&'static str> {
        let (event, facts) = (&self.event, &self.facts);
        let head = [
            (event.event_id == facts.event_id, "event_id"),
            (event.id_synthesized == facts.made, "id_synthesized"),
            (event.event_type == facts.event_type, "event_type"),
            (event.sub_event_type == facts.sub_event_type, "sub_event_type"),
            (event.ordering_key == facts.key, "ordering_key"),
            (event.body_sha256 == super::facts::sha256(&event.raw_body), "body_sha256"),
        ];
        let wrong = |fields: &[(bool, &'static str)]| fields.iter().find(|(right, _)| !right).map(|(_, field)| *field);
        if !facts.is_intent {
            return wrong(&head);
        }
        let intent = event.intent.clone().unwrap_or_default();
        let content = [
            (intent.purchase_order_id == facts.key, "purchase_order_id"),
            (intent.partner_id == facts.partner_id, "partner_id"),
            (intent.ship_node_type == facts.ship_node_type, "ship_node_type"),
            (intent.order_lines.iter().map(|line| &line.sku).eq(&facts.skus), "sku"),
        ];
        wrong(&head).or_else(|| wrong(&content))
    }

    /// To compare bodies by.
    pub(crate) fn body(&self) -> u64 {
        digest(&self.event.raw_body)
    }
}
