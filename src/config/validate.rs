//! Rules for the meaning of values, and for combinations of values.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::HeaderName;
use rustls::pki_types::DnsName;
use url::Url;

use super::clients::{AccountSet, ClientConfig};
use super::fault::{FaultList, SettingSource};
use super::reader::SectionReader;
use super::sections::{BackfillConfig, GrpcListen, LedgerConfig, PostgresConfig};
use super::tree::SettingNode;
use super::values::{self, Parsed};
use crate::domain::account::AccountId;

/// Services to which a client can be limited.
const SERVICES: [&str; 7] = [
    "FulfillmentService",
    "CancelIntentService",
    "OrderUpdateService",
    "SellerOrderService",
    "ReturnService",
    "WebhookSubscriptionService",
    "GatewayService",
];

/// Values of `[grpc]` needed by other sections, present even if the section has faults.
pub(super) struct GrpcSummary {
    pub(super) listen: Option<GrpcListen>,
    pub(super) at: SettingSource,
    pub(super) mtls: bool,
}

/// An entry of a list of sections, before reading.
pub(super) struct ListEntry<'a> {
    pub(super) name: Option<String>,
    pub(super) at: SettingSource,
    pub(super) section: SectionReader<'a>,
}

/// Kind and location of a store.
pub(super) enum StoreUrl {
    /// The path of a file.
    Sqlite(PathBuf),
    /// A URL without password, query and fragment.
    Postgres(Url),
}

/// Without clients there is no authentication, so the gRPC listener must not be reachable from outside.
pub(super) fn open_door(door: &GrpcSummary, faults: &FaultList) {
    if door.listen.as_ref().is_some_and(|listen| !listen.is_local()) {
        faults.add("grpc.listen", &door.at, "must be a loopback address unless [[clients]] are configured");
    }
}

/// The operators' listener needs an address of its own. Port 0 picks a free port each time.
pub(super) fn doors_apart(
    listen: SocketAddr,
    at: &SettingSource,
    others: [(&str, Option<SocketAddr>); 2],
    faults: &FaultList,
) {
    for (key, other) in others {
        if listen.port() != 0 && other == Some(listen) {
            faults.add("admin.listen", at, format!("is also used by {key}"));
        }
    }
}

/// Parses a Host name for the operators' listener.
pub(super) fn host(text: &str) -> Parsed<String> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    match DnsName::try_from(name.as_str()) {
        Ok(_) => Ok(name),
        Err(_) => Err("must be DNS names without port and wildcard; localhost and IPs are always accepted".into()),
    }
}

/// Reports entries of a list with the same name.
pub(super) fn names_unique(list: &str, entries: &[ListEntry<'_>], faults: &FaultList) {
    let mut seen: Vec<&str> = Vec::new();
    for ListEntry { name, at, .. } in entries {
        let Some(name) = name else { continue };
        if seen.contains(&name.as_str()) {
            faults.add(format!("{list}.{name}"), at, "is given more than once");
        }
        seen.push(name);
    }
}

/// Reports sellers with more than one account: data is stored by seller, and would mix.
pub(super) fn sellers_unique(accounts: &[ListEntry<'_>], faults: &FaultList) {
    let mut seen: Vec<(String, &ListEntry<'_>)> = Vec::new();
    for account in accounts {
        let Some(seller) = account.section.peek("partner_id", |node| values::word(node).ok()) else { continue };
        // Equal names are reported by `names_unique`.
        let same = |(known, first): &&(String, &ListEntry<'_>)| {
            *known == seller && (first.name.is_none() || first.name != account.name)
        };
        if let Some((_, first)) = seen.iter().find(same) {
            let path = account.section.key("partner_id");
            let message = format!("is also used by {}; a seller has one account", first.section.path());
            faults.add(path, &account.section.at("partner_id"), message);
        }
        seen.push((seller, account));
    }
}

/// Reports clients with the same credentials: the caller would be ambiguous.
pub(super) fn credentials_unique<'a>(clients: impl Iterator<Item = &'a ClientConfig>, faults: &FaultList) {
    let mut seen: Vec<&ClientConfig> = Vec::new();
    for client in clients {
        for other in &seen {
            let fault = |key: &str| {
                let path = format!("clients.{}.{key}", client.name);
                faults.add(path, &SettingSource::Nowhere, format!("is also used by clients.{}", other.name));
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

/// Reports an unreadable file. The content is checked by the users of the file.
pub(super) fn readable(s: &SectionReader<'_>, name: &str, at: &SettingSource, path: &Path) {
    if let Err(error) = std::fs::File::open(path) {
        s.fault(name, at, format!("cannot be read: {error}"));
    }
}

/// Parses Walmart's base URL. The paths of all calls begin with `/v3`.
pub(super) fn walmart_url(node: &SettingNode) -> Parsed<Url> {
    let url = values::web_address(node)?;
    if url.path().trim_end_matches('/').ends_with("/v3") {
        return Err("must not end in /v3, which is part of the path of every call".into());
    }
    Ok(url)
}

pub(super) fn store_url(node: &SettingNode) -> Parsed<StoreUrl> {
    let text = values::text(node)?;
    if text.starts_with("memory:") {
        return Err("keeps nothing across restarts; name a file instead, such as \"sqlite://order-gateway.db\" \
                    (`order-gateway dev` keeps its own in a temporary folder)"
            .into());
    }
    if let Some(path) = text.strip_prefix("sqlite://") {
        return match path {
            "" => Err("must name a file after sqlite://".into()),
            _ if path.contains(['?', '#']) => Err("must not contain a query or a fragment".into()),
            _ => Ok(StoreUrl::Sqlite(path.into())),
        };
    }
    let form = "must be sqlite://PATH or postgres://user@host:5432/db";
    let url = Url::parse(&text).map_err(|_| form)?;
    let host = url.host_str().unwrap_or_default();
    if !matches!(url.scheme(), "postgres" | "postgresql") {
        return Err(form.into());
    }
    if url.password().is_some() {
        return Err("must not contain the password; give it as password or password_file".into());
    }
    if host.is_empty() || url.username().is_empty() || url.path().len() < 2 {
        return Err(form.into());
    }
    if host.contains(',') {
        return Err("must name one host: a failover moves its address".into());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must not contain a query or a fragment; store.tls and store.schema are keys of their own".into());
    }
    Ok(StoreUrl::Postgres(url))
}

/// Whether a database is at a loopback address. Other names are not looked up.
pub(super) fn is_loopback(url: &Url) -> bool {
    // Only URLs of schemes which the crate knows have addresses as such.
    let host = url.host_str().unwrap_or_default();
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || address.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

pub(super) fn connections(number: NonZeroU32) -> Parsed<NonZeroU32> {
    let (least, most) = (PostgresConfig::LEAST_CONNECTIONS, PostgresConfig::MOST_CONNECTIONS);
    if (least..=most).contains(&number.get()) { Ok(number) } else { Err(format!("must be from {least} to {most}")) }
}

pub(super) fn lease(span: Duration) -> Parsed<Duration> {
    if PostgresConfig::LEASE.contains(&span) {
        return Ok(span);
    }
    let [least, most] =
        [PostgresConfig::LEASE.start(), PostgresConfig::LEASE.end()].map(|end| values::write_duration(*end));
    Err(format!("must be from {least} to {most}"))
}

/// Parses the name of a schema, which is written into SQL without quotes.
pub(super) fn schema(name: String) -> Parsed<String> {
    let most = PostgresConfig::LONGEST_SCHEMA;
    let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    let begins = name.bytes().next().is_some_and(|b| !b.is_ascii_digit());
    if !plain || !begins || name.len() > most {
        return Err(format!(
            "must be 1 to {most} lower-case letters, digits and underscores, not beginning with a digit"
        ));
    }
    if name.starts_with("pg_") || name == "public" {
        return Err("must not be \"public\", and must not begin with pg_: the schema is for the gateway alone".into());
    }
    Ok(name)
}

pub(super) fn rising(delays: Vec<Duration>) -> Parsed<Vec<Duration>> {
    if delays.is_empty() {
        return Err("must not be empty".into());
    }
    if delays.is_sorted_by(|a, b| a < b) { Ok(delays) } else { Err("must increase from entry to entry".into()) }
}

pub(super) fn ledger_retention(span: Duration) -> Parsed<Duration> {
    let days = LedgerConfig::LEAST_RETENTION.as_secs() / (24 * 60 * 60);
    if span < LedgerConfig::LEAST_RETENTION { Err(format!("must be at least {days}d")) } else { Ok(span) }
}

/// Checks the limits for production, without which an order could be created twice while Walmart is slow to show the
/// first. `at` has the sources of the settle window, the delays and `not_after`.
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

/// Events held for a subscription must be kept at least as long as other events.
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

/// Walmart shows orders up to an age.
pub(super) fn backfill_window(window: Duration) -> Parsed<Duration> {
    let most = BackfillConfig::LONGEST_WINDOW;
    if window <= most { Ok(window) } else { Err(format!("must be at most {}", values::write_duration(most))) }
}

/// Parses types of ship nodes. Walmart may add types.
pub(super) fn ship_node_types(node: &SettingNode) -> Parsed<Vec<String>> {
    let types = values::list(node, values::text)?;
    let is_type = |name: &String| (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric());
    if !types.is_empty() && types.iter().all(is_type) {
        return Ok(types);
    }
    Err("must be names of letters and digits: SellerFulfilled, WFSFulfilled, 3PLFulfilled".into())
}

pub(super) fn header_name(node: &SettingNode) -> Parsed<HeaderName> {
    values::text(node)?.parse().map_err(|_| "must be the name of a header".into())
}

/// Parses a user name: the part before the colon of `user:password`.
pub(super) fn username(node: &SettingNode) -> Parsed<String> {
    let name = values::word(node)?;
    if name.contains(':') { Err("must not contain a colon".into()) } else { Ok(name) }
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
            // An account id has only printable characters.
            Ok(id) => {
                s.fault("accounts", at, format!("names the account {id:?}, which is not configured", id = id.as_str()))
            }
            Err(error) => s.fault("accounts", at, format!("names an invalid account: an id {error}")),
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
    Err(format!("must contain only {}", SERVICES.join(", ")))
}
