//! Rules about meaning: what a value may say, and which values fit together.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use http::HeaderName;
use rustls::pki_types::DnsName;
use url::Url;

use super::clients::{AccountSet, ClientConfig};
use super::fault::{FaultList, SettingSource};
use super::load::{GrpcSummary, ListEntry};
use super::reader::SectionReader;
use super::sections::{LedgerConfig, StoreUrl};
use super::tree::SettingNode;
use super::values::{self, Parsed};
use crate::domain::account::AccountId;

/// Services that a client may be limited to.
const SERVICES: [&str; 7] = [
    "FulfillmentService",
    "CancelIntentService",
    "OrderUpdateService",
    "SellerOrderService",
    "ReturnService",
    "WebhookSubscriptionService",
    "GatewayService",
];

/// Without clients there is no authentication, so nobody from outside may reach the door.
pub(super) fn open_door(door: &GrpcSummary, faults: &FaultList) {
    if door.listen.is_some_and(|listen| !listen.ip().is_loopback()) {
        faults.add("grpc.listen", &door.at, "must be a loopback address, or [[clients]] must say who may call");
    }
}

/// The operators' door has an address of its own. Port 0 is a free one each time.
pub(super) fn doors_apart(
    listen: SocketAddr,
    at: &SettingSource,
    others: [(&str, Option<SocketAddr>); 2],
    faults: &FaultList,
) {
    for (key, other) in others {
        if listen.port() != 0 && other == Some(listen) {
            faults.add("admin.listen", at, format!("is also that of {key}"));
        }
    }
}

/// A name under which the operators' door may be asked for.
pub(super) fn host(text: &str) -> Parsed<String> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    match DnsName::try_from(name.as_str()) {
        Ok(_) => Ok(name),
        Err(_) => Err("must be DNS names without port and wildcard; localhost and IPs are good without".into()),
    }
}

/// One name, one entry.
pub(super) fn names_unique(list: &str, entries: &[ListEntry<'_>], faults: &FaultList) {
    let mut seen: Vec<&str> = Vec::new();
    for ListEntry { name, at, .. } in entries {
        let Some(name) = name else { continue };
        if seen.contains(&name.as_str()) {
            faults.add(format!("{list}.{name}"), at, "stands there more than once");
        }
        seen.push(name);
    }
}

/// One seller, one account: what is kept by the seller would be that of both.
pub(super) fn sellers_unique(accounts: &[ListEntry<'_>], faults: &FaultList) {
    let mut seen: Vec<(String, &ListEntry<'_>)> = Vec::new();
    for account in accounts {
        let Some(seller) = account.section.peek("partner_id", |node| values::word(node).ok()) else { continue };
        // That a name stands there twice is told already.
        let same = |(known, first): &&(String, &ListEntry<'_>)| {
            *known == seller && (first.name.is_none() || first.name != account.name)
        };
        if let Some((_, first)) = seen.iter().find(same) {
            let path = account.section.key("partner_id");
            let message = format!("is also that of {}; a seller has one account", first.section.path());
            faults.add(path, &account.section.at("partner_id"), message);
        }
        seen.push((seller, account));
    }
}

/// No two clients may prove themselves the same way: it would not be known who called.
pub(super) fn credentials_unique<'a>(clients: impl Iterator<Item = &'a ClientConfig>, faults: &FaultList) {
    let mut seen: Vec<&ClientConfig> = Vec::new();
    for client in clients {
        for other in &seen {
            let fault = |key: &str| {
                let path = format!("clients.{}.{key}", client.name);
                faults.add(path, &SettingSource::Nowhere, format!("is also that of clients.{}", other.name));
            };
            if client.tokens.iter().any(|own| other.tokens.iter().any(|its| own.overlap(its))) {
                fault("token");
            }
            if client.san.is_some() && client.san == other.san {
                fault("san");
            }
        }
        seen.push(client);
    }
}

/// Whether a file is there and may be read. What is in it is the business of those who use it.
pub(super) fn readable(s: &SectionReader<'_>, name: &str, at: &SettingSource, path: &Path) {
    if let Err(error) = std::fs::File::open(path) {
        s.fault(name, at, format!("cannot be read: {error}"));
    }
}

pub(super) fn store_url(node: &SettingNode) -> Parsed<StoreUrl> {
    let text = values::text(node)?;
    if text.starts_with("memory:") {
        return Err(
            "keeps nothing, so it cannot hold a promise; name a file instead, such as \"sqlite://order-gateway.db\" \
                    (`order-gateway dev` keeps its own in a temporary folder)"
                .into(),
        );
    }
    if let Some(path) = text.strip_prefix("sqlite://") {
        return match path {
            "" => Err("must name a file after sqlite://".into()),
            _ if path.contains(['?', '#']) => Err("must not hold a query or a fragment".into()),
            _ => Ok(StoreUrl::Sqlite(path.into())),
        };
    }
    let form = "must be sqlite://PATH or postgres://user@host:5432/db";
    let url = Url::parse(&text).map_err(|_| form)?;
    let complete = url.has_host() && !url.username().is_empty() && url.path().len() > 1;
    match url.scheme() {
        "postgres" | "postgresql" if url.password().is_some() => {
            Err("must not hold the password; give it as password or password_file".into())
        }
        "postgres" | "postgresql" if complete => Ok(StoreUrl::Postgres { url }),
        _ => Err(form.into()),
    }
}

pub(super) fn rising(delays: Vec<Duration>) -> Parsed<Vec<Duration>> {
    if delays.is_empty() {
        return Err("must not be empty".into());
    }
    if delays.is_sorted_by(|a, b| a < b) { Ok(delays) } else { Err("must rise from one to the next".into()) }
}

pub(super) fn ledger_retention(span: Duration) -> Parsed<Duration> {
    let days = LedgerConfig::LEAST_RETENTION.as_secs() / (24 * 60 * 60);
    if span < LedgerConfig::LEAST_RETENTION { Err(format!("must be at least {days}d")) } else { Ok(span) }
}

/// What production must have, so that an order is not made twice when Walmart is slow to show it. `at`: where the settle
/// window, the delays and the last moment were given.
pub(super) fn ledger_promise(
    s: &SectionReader<'_>,
    at: &[SettingSource; 3],
    settle_window: Option<Duration>,
    lookup_delays: Option<&[Duration]>,
    not_after: Option<Duration>,
) {
    let [window_at, delays_at, not_after_at] = at;
    if settle_window.is_some_and(|window| window < LedgerConfig::LEAST_SETTLE_WINDOW) {
        let least = values::write_duration(LedgerConfig::LEAST_SETTLE_WINDOW);
        s.fault("settle_window", window_at, format!(r#"must be at least {least} with walmart.profile = "production""#));
    }
    if lookup_delays.is_some_and(|delays| delays.len() < LedgerConfig::LEAST_LOOKUPS) {
        let least = LedgerConfig::LEAST_LOOKUPS;
        s.fault("lookup_delays", delays_at, format!(r#"must be at least {least} with walmart.profile = "production""#));
    }
    if settle_window.zip(not_after).is_some_and(|(window, not_after)| not_after < window) {
        let message = r#"must be at least ledger.settle_window with walmart.profile = "production""#;
        s.fault("not_after", not_after_at, message);
    }
}

/// What is held is kept at least as long as what is not.
pub(super) fn max_retention(
    s: &SectionReader<'_>,
    at: &SettingSource,
    retention: Option<Duration>,
    most: Option<Duration>,
) {
    if retention.zip(most).is_some_and(|(retention, most)| most < retention) {
        s.fault("max_retention", at, "must be at least feed.retention");
    }
}

pub(super) fn header_name(node: &SettingNode) -> Parsed<HeaderName> {
    values::text(node)?.parse().map_err(|_| "must be the name of a header".into())
}

/// What stands before the colon of `user:password`.
pub(super) fn username(node: &SettingNode) -> Parsed<String> {
    let name = values::word(node)?;
    if name.contains(':') { Err("must not hold a colon".into()) } else { Ok(name) }
}

pub(super) fn account_set(
    s: &SectionReader<'_>,
    at: &SettingSource,
    ids: &[String],
    known: &[String],
) -> Option<AccountSet> {
    if ids.is_empty() {
        s.fault("accounts", at, r#"must name an account, or be ["*"]"#);
        return None;
    }
    if ids.iter().any(|id| id == "*") {
        if ids.len() > 1 {
            s.fault("accounts", at, r#"must be ["*"] alone when it means all"#);
        }
        return Some(AccountSet::All);
    }
    let mut set = Vec::new();
    for id in ids {
        match AccountId::new(id.as_str()) {
            Ok(id) if known.iter().any(|known| known == id.as_str()) => set.push(id),
            // The form of ids leaves nothing in them that must not be printed.
            Ok(id) => {
                s.fault("accounts", at, format!("names the account {id:?}, which is not configured", id = id.as_str()))
            }
            Err(error) => s.fault("accounts", at, format!("names an account that cannot be: an id {error}")),
        }
    }
    Some(AccountSet::Some(set))
}

pub(super) fn services(names: Vec<String>) -> Parsed<Vec<String>> {
    if names.is_empty() {
        return Err("must name a service, or be left out for all".into());
    }
    if names.iter().all(|name| SERVICES.contains(&name.as_str())) {
        return Ok(names);
    }
    Err(format!("must hold only {}", SERVICES.join(", ")))
}
