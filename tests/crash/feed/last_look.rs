//! What is asked for besides: the whole log, and what is in quarantine.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use order_gateway::pb::cancel_intent_service_client::CancelIntentServiceClient;
use order_gateway::pb::{Event, Feed, ListCancelIntentsRequest, ListQuarantinedWebhooksRequest, QuarantinedWebhook};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use super::client::FeedClient;

const PAGE: i32 = 1000;
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// Between two looks at the quarantine: much less than the time after which it is emptied.
const LOOK: Duration = Duration::from_millis(700);

/// Everything that was ever seen in quarantine, by number.
pub(crate) type Quarantined = Arc<Mutex<BTreeMap<u64, QuarantinedWebhook>>>;

/// Keeps what is in quarantine, until the run ends.
pub(crate) async fn keep_quarantine(channel: Channel, seen: Quarantined, end: CancellationToken) {
    while end.run_until_cancelled(sleep(LOOK)).await.is_some() {
        // While nobody answers nothing is dropped either.
        let Ok(Ok(webhooks)) = timeout(ANSWER_LIMIT, quarantine(channel.clone())).await else { continue };
        let webhooks = webhooks.into_iter().map(|webhook| (webhook.id, webhook));
        seen.lock().unwrap_or_else(PoisonError::into_inner).extend(webhooks);
    }
}

/// Every event of a feed that is kept, with its body, in the order in which they are listed.
pub(crate) async fn log(channel: Channel, feed: Feed) -> Result<Vec<Event>, String> {
    let mut client = FeedClient::new(channel, feed);
    let (mut events, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListCancelIntentsRequest { page_size: PAGE, page_token, include_raw: true, ..Default::default() };
        let page = client.list(request).await.map_err(|status| format!("{feed:?}: the list: {status}"))?;
        events.extend(page.events);
        if page.next_page_token.is_empty() {
            return Ok(events);
        }
        page_token = page.next_page_token;
    }
}

/// Everything in quarantine, with its body.
pub(crate) async fn quarantine(channel: Channel) -> Result<Vec<QuarantinedWebhook>, String> {
    let mut client = CancelIntentServiceClient::new(channel);
    let (mut webhooks, mut page_token) = (Vec::new(), String::new());
    loop {
        let request =
            ListQuarantinedWebhooksRequest { page_size: PAGE, page_token, include_raw: true, ..Default::default() };
        let answer = client.list_quarantined_webhooks(request).await;
        let page = answer.map_err(|status| format!("ListQuarantinedWebhooks: {status}"))?.into_inner();
        webhooks.extend(page.webhooks);
        if page.next_page_token.is_empty() {
            return Ok(webhooks);
        }
        page_token = page.next_page_token;
    }
}
