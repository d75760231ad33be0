//! The journal: requests received, their effects and the answers sent, for inspection by tests.
//!
//! The journal keeps the newest requests within a bound and counts the dropped ones. Secrets are not recorded: tokens
//! and credentials are replaced, and a token request keeps only its grant type.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};

use super::calls::CallEffect;
use super::history::History;
use super::records::CallRecord;
use super::requests::{ReceivedRequest, RequestFilter, RequestOutcome};

/// Requests kept at most.
const MAX_KEPT: usize = 10_000;
/// Bytes of bodies, headers and paths kept at most.
const MAX_BYTES: usize = 16 << 20;
/// The newest requests, and the counts of all.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    kept: VecDeque<(u64, ReceivedRequest, RequestOutcome)>,
    bytes: usize,
    received: u64,
    totals: BTreeMap<(&'static str, CallEffect), u64>,
    history: History,
}

impl Journal {
    pub(crate) fn record(&mut self, received: ReceivedRequest, outcome: RequestOutcome) {
        self.received += 1;
        *self.totals.entry((received.operation, outcome.effect)).or_default() += 1;
        self.bytes += received.size();
        self.history.record(self.received, &received, &outcome);
        self.kept.push_back((self.received, received, outcome));
        while self.kept.len() > MAX_KEPT || self.bytes > MAX_BYTES {
            let Some((_, oldest, _)) = self.kept.pop_front() else { break };
            self.bytes -= oldest.size();
        }
    }

    /// The kept requests that match, oldest first, and the counts of all received.
    pub(crate) fn show(&self, filter: &RequestFilter) -> Value {
        let requests: Vec<Value> = self
            .kept
            .iter()
            .filter(|(_, r, _)| filter.matches(r.operation, &r.order_number, &r.correlation_id))
            .map(|(id, received, outcome)| entry(*id, received, outcome))
            .collect();
        let mut totals: BTreeMap<&str, BTreeMap<&str, u64>> = BTreeMap::new();
        for ((operation, effect), count) in &self.totals {
            totals.entry(operation).or_default().insert(effect.name(), *count);
        }
        let forgotten = self.received - self.kept.len() as u64;
        json!({"received": self.received, "forgotten": forgotten, "totals": totals, "requests": requests})
    }

    /// All order calls in the history, oldest first.
    pub(crate) fn calls(&self) -> &[CallRecord] {
        self.history.calls()
    }

    /// The history of order calls as JSON.
    pub(crate) fn history(&self, filter: &RequestFilter) -> Value {
        self.history.show(filter)
    }
}

fn entry(id: u64, received: &ReceivedRequest, outcome: &RequestOutcome) -> Value {
    let headers: Value = serde_json::from_str(&received.headers).unwrap_or_default();
    let body = if received.operation == "token" {
        let grant = url::form_urlencoded::parse(&received.body).find(|(key, _)| key == "grant_type");
        grant.map_or(Value::Null, |(_, grant)| json!({"grant_type": grant}))
    } else if received.body.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&received.body)
            .unwrap_or_else(|_| String::from_utf8_lossy(&received.body).into_owned().into())
    };
    json!({"id": id, "time": received.time.to_string(), "operation": received.operation, "method": received.method,
        "path": received.path, "account": outcome.account, "order_number": received.order_number,
        "correlation_id": received.correlation_id, "headers": headers, "body": body,
        "effect": outcome.effect.name(), "disturbance": outcome.disturbance, "status": outcome.status,
        "dropped": outcome.status.is_none()})
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use jiff::Timestamp;

    use super::*;
    use crate::emulator::requests::{SECRET, harmless};

    fn received(body: Vec<u8>) -> ReceivedRequest {
        ReceivedRequest {
            time: Timestamp::UNIX_EPOCH,
            operation: "create",
            method: "POST".into(),
            path: String::new(),
            order_number: "1".into(),
            correlation_id: "c".into(),
            headers: String::new(),
            body: body.into(),
        }
    }

    fn outcome() -> RequestOutcome {
        RequestOutcome { account: None, effect: CallEffect::Created, disturbance: None, status: Some(202) }
    }

    #[test]
    fn it_forgets_the_oldest_and_counts_them() {
        let mut journal = Journal::default();
        (0..MAX_KEPT + 5).for_each(|_| journal.record(received(Vec::new()), outcome()));
        let shown = journal.show(&RequestFilter::default());
        assert_eq!(shown["received"], MAX_KEPT + 5);
        assert_eq!(shown["forgotten"], 5);
        assert_eq!(shown["totals"]["create"]["CREATED"], MAX_KEPT + 5);
        assert_eq!(shown["requests"][0]["id"], 6);

        let mut journal = Journal::default();
        (0..20).for_each(|_| journal.record(received(vec![b'x'; 1 << 20]), outcome()));
        assert_eq!(journal.show(&RequestFilter::default())["forgotten"], 4);
    }

    #[test]
    fn secrets_do_not_get_in() {
        let mut headers = HeaderMap::new();
        for name in SECRET {
            headers.insert(name, "hush".parse().unwrap());
        }
        headers.append("x-two", "1".parse().unwrap());
        headers.append("x-two", "2".parse().unwrap());
        let shown = harmless(&headers);
        assert!(!shown.contains("hush") && shown.contains(r#""x-two":"1, 2""#), "{shown}");
        let token = ReceivedRequest { operation: "token", ..received(b"grant_type=g&client_secret=hush".to_vec()) };
        let shown = entry(1, &token, &outcome());
        assert!(!shown.to_string().contains("hush"));
        assert_eq!(shown["body"]["grant_type"], "g");
    }
}
