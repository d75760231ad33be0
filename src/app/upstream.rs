//! Builds the outbound edge from the settings.

use std::sync::Arc;

use http::{HeaderValue, Uri};

use crate::config::{AccountConfig, Config, WalmartProfile};
use crate::domain::operation::Operation;
use crate::limits::UPSTREAM_CALLS;
use crate::pb::HeaderAttributes;
use crate::ports::clock::Clock;
use crate::ports::random::Random;
use crate::service::AccountDirectory;
use crate::telemetry::metrics::{BucketLevel, Metrics};
use crate::telemetry::trace::Tracer;
use crate::upstream::accounts::{ClientCredentials, SellerRefresh, UpstreamAccount, UpstreamAccounts};
use crate::upstream::client::RestUpstream;
use crate::upstream::layers::circuit::AccountCircuits;
use crate::upstream::layers::rate_limit::AccountBuckets;
use crate::upstream::token::TokenCache;
use crate::upstream::transport::{Endpoint, HttpService};
use crate::upstream::{StackResources, StackSettings};

pub(super) fn build<H: HttpService>(
    config: &Config,
    directory: &AccountDirectory,
    http: H,
    clock: Clock,
    random: &Random,
    tracer: Tracer,
    metrics: Arc<Metrics>,
) -> Result<RestUpstream<H>, String> {
    let walmart = &config.walmart;
    let accounts = config.accounts.iter().map(account).collect::<Result<_, _>>()?;
    let accounts = UpstreamAccounts::new(accounts);
    let base: Uri = walmart.base_url.as_str().parse().map_err(|error| format!("walmart.base_url: {error}"))?;
    let service_name = header("walmart.service_name", &walmart.service_name)?;
    let sandbox = walmart.profile == WalmartProfile::Sandbox;
    let endpoint = Endpoint::new(&base, service_name, sandbox, accounts.clone(), tracer)
        .map_err(|error| format!("walmart.base_url: {error}"))?
        .with_return_orders_path(&walmart.return_orders_path);
    let settings = StackSettings {
        max_in_flight: UPSTREAM_CALLS,
        max_attempts: walmart.retry.max_attempts.get(),
        attempt_timeout: walmart.attempt_timeout,
    };
    let buckets = AccountBuckets::new(|operation| walmart.limits.of(operation).get());
    let (server_address, server_port) = endpoint.server();
    metrics.upstream.set_server(server_address, server_port);
    metrics.upstream.watch_buckets(levels(directory, &buckets));
    let shared = StackResources {
        buckets,
        circuits: AccountCircuits::new(&accounts, &metrics),
        tokens: TokenCache::new(
            http.clone(),
            endpoint.clone(),
            clock,
            random.clone(),
            metrics.clone(),
            walmart.attempt_timeout,
        ),
        endpoint,
        metrics,
    };
    Ok(RestUpstream::new(http, settings, shared, clock, random.clone()))
}

/// Returns a function which reads the current levels of all buckets.
fn levels(
    directory: &AccountDirectory,
    buckets: &AccountBuckets,
) -> impl Fn() -> Vec<BucketLevel> + Send + Sync + 'static {
    let (directory, buckets) = (directory.clone(), buckets.clone());
    move || {
        let all = directory.all().into_iter().flat_map(|account| Operation::ALL.map(|o| (account, o)));
        let level = |(account, operation)| BucketLevel {
            account: directory.id(account),
            operation,
            tokens: buckets.state(account, operation).available,
        };
        all.map(level).collect()
    }
}

pub(super) fn account(settings: &AccountConfig) -> Result<UpstreamAccount, String> {
    let key = |name: &str| format!("accounts.{}.{name}", settings.id);
    let (client_id, client_secret) = (settings.client_id.clone(), settings.client_secret.clone());
    let partner_id = header(&key("partner_id"), &settings.partner_id)?;
    let refresh = settings.refresh_token.clone();
    let channel_type = settings.channel_type.as_deref();
    Ok(UpstreamAccount {
        id: settings.id.clone(),
        header: HeaderAttributes {
            mart_id: Some(settings.mart_id.clone()),
            bu_id: Some(settings.bu_id.clone()),
            ..Default::default()
        },
        mart_id: header(&key("mart_id"), &settings.mart_id)?,
        bu_id: header(&key("bu_id"), &settings.bu_id)?,
        channel_type: channel_type.map(|value| header(&key("channel_type"), value)).transpose()?,
        credentials: Arc::new(move || ClientCredentials {
            client_id: client_id.clone(),
            client_secret: client_secret.current(),
            refresh: refresh
                .as_ref()
                .map(|token| SellerRefresh { partner_id: partner_id.clone(), token: token.current() }),
        }),
    })
}

fn header(key: &str, value: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_str(value).map_err(|_| format!("{key}: must be printable ASCII"))
}
