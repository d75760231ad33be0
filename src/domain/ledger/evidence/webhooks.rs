//! Evidence about webhook subscriptions, from the list of them.

use serde::de::MapAccess;

use super::answer::{AnswerStatus, LookupEnvelope, status_of};
use super::json::{JsonPart, JsonScalar, ObjectFields, object_of, once, part_of};
use super::others::{Change, OtherChanges};
use super::{AbsenceProof, Evidence, LookupAnswer, NoEvidence, PresenceProof, absence};
use crate::domain::hex;
use crate::domain::ledger::{Entry, Fingerprint};
use crate::domain::webhooks::comparable;
use crate::pb::{CreateWebhookSubscriptionRequest, WebhookSubscription};

/// The body in the forms that are no bare list.
#[derive(Debug, Default)]
struct SubscriptionsBody {
    events: Option<JsonPart<SubscriptionRow>>,
    event: Option<JsonPart<SubscriptionRow>>,
}

#[derive(Debug, Default)]
struct SubscriptionRow {
    id: Option<JsonScalar>,
    event_type: Option<JsonScalar>,
    event_version: Option<JsonScalar>,
    resource_name: Option<JsonScalar>,
    event_url: Option<JsonScalar>,
    status: Option<JsonScalar>,
}

impl ObjectFields for SubscriptionsBody {
    fn read<'de, A: MapAccess<'de>>(&mut self, key: &str, object: &mut A) -> Result<bool, A::Error> {
        match key {
            "events" => once(&mut self.events, object),
            "event" => once(&mut self.event, object),
            _ => Ok(false),
        }
    }
}

impl ObjectFields for SubscriptionRow {
    fn read<'de, A: MapAccess<'de>>(&mut self, key: &str, object: &mut A) -> Result<bool, A::Error> {
        match key {
            "subscriptionId" => once(&mut self.id, object),
            "eventType" => once(&mut self.event_type, object),
            "eventVersion" => once(&mut self.event_version, object),
            "resourceName" => once(&mut self.resource_name, object),
            "eventUrl" => once(&mut self.event_url, object),
            "status" => once(&mut self.status, object),
            _ => Ok(false),
        }
    }
}

fn text(shown: &Option<JsonScalar>) -> String {
    shown.as_ref().and_then(JsonScalar::shown).unwrap_or_default().into_owned()
}

impl SubscriptionRow {
    fn id(&self) -> String {
        text(&self.id)
    }

    /// Whether the row shows this value, or does not say.
    fn may_be(shown: &Option<JsonScalar>, wanted: &str) -> bool {
        let shown = text(shown);
        shown.is_empty() || shown == wanted
    }

    /// Whether events would come twice beside this subscription.
    fn stands_for(&self, wanted: &WebhookSubscription) -> bool {
        text(&self.event_type) == wanted.event_type()
            && comparable(&text(&self.event_url)) == comparable(wanted.event_url())
            && Self::may_be(&self.event_version, wanted.event_version())
            && Self::may_be(&self.resource_name, wanted.resource_name())
            && !text(&self.status).eq_ignore_ascii_case("INACTIVE")
    }
}

/// The subscriptions before others are made, and those that are to be made. Without URLs and secrets.
#[derive(Clone, PartialEq, prost::Message)]
pub struct WebhookSnapshot {
    /// The subscriptions that the call makes.
    #[prost(message, repeated, tag = "1")]
    pub wanted: Vec<WantedSubscription>,
    /// Walmart's ids of the subscriptions from before.
    #[prost(string, repeated, tag = "2")]
    pub known: Vec<String>,
}

/// One subscription that a call makes.
#[derive(Clone, PartialEq, prost::Message)]
pub struct WantedSubscription {
    /// Name of the event.
    #[prost(string, tag = "1")]
    pub event_type: String,
    /// Hash of the URL, which may have secrets.
    #[prost(bytes = "vec", tag = "2")]
    pub url_hash: Vec<u8>,
}

impl WantedSubscription {
    /// The name of its type and URL among the parts of an account's subscriptions.
    fn part(&self) -> String {
        format!("{} {}", self.event_type, hex::lower(&self.url_hash))
    }
}

impl WebhookSnapshot {
    /// Reads all subscriptions. `None` when the list is not whole, or one has no id.
    pub fn read(request: &CreateWebhookSubscriptionRequest, answer: &LookupAnswer) -> Option<Self> {
        let wanted = request.events.iter().map(|event| WantedSubscription {
            event_type: event.event_type().to_owned(),
            url_hash: url_hash(event.event_url()),
        });
        let known: Vec<String> = rows(answer).ok()?.iter().map(SubscriptionRow::id).collect();
        known.iter().all(|id| !id.is_empty()).then(|| Self { wanted: wanted.collect(), known })
    }

    /// The snapshot that the entry stores.
    pub fn of_entry(entry: &Entry) -> Option<Self> {
        use prost::Message as _;
        Self::decode(entry.snapshot.as_slice()).ok().filter(|snapshot| !snapshot.wanted.is_empty())
    }
}

fn url_hash(url: &str) -> Vec<u8> {
    Fingerprint::of_encoded(comparable(url).as_bytes()).0.to_vec()
}

/// The ids of ACTIVE subscriptions in the answer that are of the type, version, resource and URL of a wanted one. Empty
/// for an answer that is not the whole list, which is no snapshot either.
pub fn standing_subscriptions(request: &CreateWebhookSubscriptionRequest, answer: &LookupAnswer) -> Vec<String> {
    let rows = rows(answer).unwrap_or_default();
    let standing = rows.iter().filter(|row| request.events.iter().any(|wanted| row.stands_for(wanted)));
    standing.map(SubscriptionRow::id).collect()
}

/// What a creation changes: there is one more subscription of each type and URL.
pub fn change_of_created_subscriptions(snapshot: &WebhookSnapshot) -> Change {
    Change::of(snapshot.wanted.iter().map(|wanted| (wanted.part(), Some(1.0))))
}

/// Judges the list of subscriptions for those that a call was to make: new ones of each type and URL, or none at all.
pub fn judge_created_subscriptions(
    snapshot: Option<&WebhookSnapshot>,
    others: &OtherChanges,
    answer: &LookupAnswer,
) -> Evidence {
    judge(snapshot, others, answer).unwrap_or_else(Evidence::Nothing)
}

fn judge(
    snapshot: Option<&WebhookSnapshot>,
    others: &OtherChanges,
    answer: &LookupAnswer,
) -> Result<Evidence, NoEvidence> {
    let snapshot = snapshot.ok_or(NoEvidence::NoSnapshot)?;
    let rows = rows(answer)?;
    if rows.iter().any(|row| row.id().is_empty()) {
        return Err(NoEvidence::NumberMissing);
    }
    let new: Vec<&SubscriptionRow> = rows.iter().filter(|row| !snapshot.known.contains(&row.id())).collect();
    let of_type =
        |wanted: &WantedSubscription| new.iter().filter(|row| text(&row.event_type) == wanted.event_type).count();
    let of_url = |wanted: &WantedSubscription| {
        let is_wanted = |row: &&&SubscriptionRow| {
            text(&row.event_type) == wanted.event_type && url_hash(&text(&row.event_url)) == wanted.url_hash
        };
        new.iter().filter(is_wanted).count()
    };
    let found: Vec<usize> = snapshot.wanted.iter().map(of_url).collect();
    let shows_no_url = new.iter().any(|row| text(&row.event_url).is_empty());
    let may_be_of_others =
        found.iter().zip(&snapshot.wanted).any(|(found, wanted)| *found as f64 <= others.most(&wanted.part()));
    match (found.iter().min(), found.iter().max()) {
        (Some(1..), Some(_)) if may_be_of_others => Err(NoEvidence::OtherCalls),
        (Some(1..), Some(copies)) => Ok(Evidence::Present(PresenceProof { copies: *copies })),
        (Some(0), Some(0)) if !shows_no_url || snapshot.wanted.iter().all(|wanted| of_type(wanted) == 0) => {
            Ok(Evidence::Absent(AbsenceProof::NoSubscription))
        }
        _ => Err(NoEvidence::SubscriptionsUnclear),
    }
}

/// Reads a list that shows all of its rows, in each of Walmart's forms: `events`, `event`, one object, or a bare list.
fn rows(answer: &LookupAnswer) -> Result<Vec<SubscriptionRow>, NoEvidence> {
    match answer.http_status {
        _ if absence::is_not_found(answer) => return Ok(Vec::new()),
        200 => {}
        404 => return Err(NoEvidence::GatewayNotFound),
        _ => return Err(NoEvidence::HttpStatus),
    }
    if answer.body.trim_ascii_start().first() == Some(&b'[') {
        let list = part_of::<SubscriptionRow>(&answer.body).ok_or(NoEvidence::Unreadable)?;
        return all_of(list);
    }
    let envelope = LookupEnvelope::read(&answer.body).ok_or(NoEvidence::Unreadable)?;
    if envelope.errors().count > 0 {
        return Err(NoEvidence::Errors);
    }
    let one: SubscriptionRow = object_of(&answer.body).ok_or(NoEvidence::Unreadable)?;
    if !one.id().is_empty() {
        return Ok(vec![one]);
    }
    match status_of(&one.status) {
        AnswerStatus::Partial => return Err(NoEvidence::PartialSuccess),
        AnswerStatus::Failed => return Err(NoEvidence::StatusFailed),
        AnswerStatus::Unknown if !text(&one.status).is_empty() => return Err(NoEvidence::StatusUnknown),
        AnswerStatus::Unknown | AnswerStatus::Success => {}
    }
    let body: SubscriptionsBody = object_of(&answer.body).ok_or(NoEvidence::Unreadable)?;
    let rows = all_of(body.events.or(body.event).ok_or(NoEvidence::PayloadMissing)?)?;
    let totals = envelope.totals();
    if !totals.are_readable() {
        return Err(NoEvidence::TotalsUnreadable);
    }
    if !totals.end_at(rows.len()) {
        return Err(NoEvidence::ListNotComplete);
    }
    Ok(rows)
}

fn all_of(part: JsonPart<SubscriptionRow>) -> Result<Vec<SubscriptionRow>, NoEvidence> {
    match part {
        JsonPart::Null => Err(NoEvidence::PayloadNull),
        JsonPart::Scalar(_) => Err(NoEvidence::PayloadNotList),
        JsonPart::Object(one) => Ok(vec![*one]),
        JsonPart::List(many) => many.into_iter().collect::<Option<_>>().ok_or(NoEvidence::RowsNotOrders),
    }
}
