//! Walmart's side of a webhook, with more patience: whatever happens to the gateway, everything is posted again until it is
//! answered 2xx.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::facts::{hex, hmac};
use super::history::{Post, Posted, now};
use super::plan::{Poster, Webhook};

/// Requests at a time, each on a connection of its own.
const CONNECTIONS: usize = 64;
/// An answer that has not come by then does not count.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// The header that carries the signature.
pub(crate) const HEADER: &str = "X-Walmart-Auth";

/// With what an account's webhooks are signed.
pub(crate) fn secret(account: &str) -> String {
    format!("{account}-secret")
}

/// All senders of a run.
#[derive(Clone)]
pub(crate) struct Senders {
    shared: Arc<Shared>,
}

struct Shared {
    client: reqwest::Client,
    gateway: SocketAddr,
    places: Semaphore,
    posted: Mutex<Vec<Posted>>,
    /// Ends those that still try.
    end: CancellationToken,
}

impl Senders {
    /// Senders to this address.
    pub(crate) fn new(gateway: SocketAddr, end: CancellationToken) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(CONNECTIONS).build()?;
        let (places, posted) = (Semaphore::new(CONNECTIONS), Mutex::default());
        Ok(Self { shared: Arc::new(Shared { client, gateway, places, posted, end }) })
    }

    /// Posts a webhook to the end of everybody's patience.
    pub(crate) async fn send(self, webhook: Arc<Webhook>) {
        sleep(webhook.begins).await;
        let posters = webhook.posters.iter().map(|poster| self.post_until_acknowledged(&webhook, *poster));
        let posts = futures_util::future::join_all(posters).await.into_iter().flatten().collect();
        self.shared.posted.lock().unwrap_or_else(PoisonError::into_inner).push(Posted { webhook, posts });
    }

    /// Everything that was posted by those who came to their end, and each answer.
    pub(crate) fn posted(&self) -> Vec<Posted> {
        self.shared.posted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Posts once more what was acknowledged.
    pub(crate) async fn repeat(&self, posted: &mut Posted) {
        let poster = Poster { body: 0, begins: Duration::ZERO, pause: Duration::ZERO, patience: Some(3), hex: false };
        posted.posts.extend(self.post_until_acknowledged(&posted.webhook, poster).await);
    }

    async fn post_until_acknowledged(&self, webhook: &Webhook, poster: Poster) -> Vec<Post> {
        sleep(poster.begins).await;
        let mut posts = Vec::new();
        loop {
            let post = self.post(webhook, poster).await;
            posts.push(post);
            let given_up = poster.patience.is_some_and(|patience| posts.len() >= patience as usize);
            // Who may not post at all is told so, and does not try again.
            let over = post.status.is_some_and(|status| status != 503);
            if over || given_up || self.shared.end.run_until_cancelled(sleep(poster.pause)).await.is_none() {
                return posts;
            }
        }
    }

    async fn post(&self, webhook: &Webhook, poster: Poster) -> Post {
        let _place = self.shared.places.acquire().await;
        let body = &webhook.bodies[poster.body];
        let secret = if webhook.is_authentic { secret(webhook.account) } else { "another secret".to_owned() };
        let signature = hmac(secret.as_bytes(), body);
        let signature = if poster.hex { hex(&signature) } else { STANDARD.encode(signature) };
        let url = format!("http://{}/webhooks/walmart/{}", self.shared.gateway, webhook.account);
        let request = self.shared.client.post(url).timeout(ANSWER_LIMIT).body(body.clone());
        let request = request.header("content-type", "application/json").header(HEADER, signature);
        let begun = now();
        let (status, duplicate) =
            answer(request).await.map_or((None, None), |(status, duplicate)| (Some(status), duplicate));
        Post { body: poster.body, begun, ended: now(), status, duplicate }
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Result<(u16, Option<bool>), reqwest::Error> {
    let answer = request.send().await?;
    let status = answer.status().as_u16();
    // What breaks off before its end was not answered.
    let body = answer.bytes().await?;
    let told: Value = serde_json::from_slice(&body).unwrap_or_default();
    Ok((status, told["duplicate"].as_bool()))
}
