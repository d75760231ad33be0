//! Loads a [`Config`] from files and environment, or reports all faults.

use std::sync::Arc;

use url::Url;

use super::accounts::{AccountConfig, WebhookAuth};
use super::clients::{AccountSet, ClientConfig, SubjectAltName};
use super::fault::{ConfigFault, FaultList, SettingSource, printable};
use super::reader::SectionReader;
use super::sections::*;
use super::tree::{self, RawValue, SettingNode, Table};
use super::validate::{GrpcSummary, ListEntry, StoreUrl};
use super::values::{self, Parsed};
use super::{Config, keys, validate};
use crate::domain::account::AccountId;
use crate::domain::operation::Operation;

impl Config {
    /// Reads the settings from the text of a TOML file (empty for no file) and from environment variables, which take
    /// precedence. Variables without the prefix `ORDER_GATEWAY__` are ignored. Secret files are read; TLS files are
    /// only checked for existence.
    ///
    /// # Errors
    /// Returns all faults at once. Text which is not TOML is reported alone.
    pub fn load(text: &str, environment: impl IntoIterator<Item = (String, String)>) -> Result<Self, Vec<ConfigFault>> {
        Self::load_files(&[("", text)], environment)
    }

    /// Like [`Config::load`], from several files given as name and text. A key of a later file takes precedence;
    /// accounts and clients of all files are combined. With several files, faults name the file.
    ///
    /// # Errors
    /// Like [`Config::load`]; every file which is not TOML is reported.
    pub fn load_files(
        files: &[(&str, &str)],
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Vec<ConfigFault>> {
        let mut root = Table::new();
        let mut not_toml = Vec::new();
        for (name, text) in files {
            let name = (files.len() > 1).then(|| Arc::from(*name));
            match tree::parse(text, name) {
                Ok(table) => tree::lay_over(&mut root, table),
                Err(fault) => not_toml.push(fault),
            }
        }
        if !not_toml.is_empty() {
            return Err(not_toml);
        }
        let faults = FaultList::default();
        tree::overlay(&mut root, environment, &faults);
        let config = read(root, &faults);
        let faults = faults.into_vec();
        match config {
            Some(config) if faults.is_empty() => Ok(config),
            // Every missing value should have a fault. If not, do not return an empty list, which callers would print
            // as nothing.
            None if faults.is_empty() => {
                Err(vec![ConfigFault::new("settings", &SettingSource::Nowhere, "are incomplete")])
            }
            _ => Err(faults),
        }
    }
}

fn read(mut root: Table, faults: &FaultList) -> Option<Config> {
    let (grpc, door) = grpc(SectionReader::top(&mut root, "grpc", faults));
    let http = http(SectionReader::top(&mut root, "http", faults));
    let (admin, admin_at) = admin(SectionReader::top(&mut root, "admin", faults));
    if let Some(listen) = admin.listen {
        let others = [
            ("http.listen", http.as_ref().map(|http| http.listen)),
            ("grpc.listen", door.listen.as_ref().and_then(GrpcListen::address)),
        ];
        validate::doors_apart(listen, &admin_at, others, faults);
    }
    let store = store(SectionReader::top(&mut root, "store", faults));
    let (walmart, profile) = walmart(SectionReader::top(&mut root, "walmart", faults));
    let ledger = ledger(SectionReader::top(&mut root, "ledger", faults), profile);
    let feed = feed(SectionReader::top(&mut root, "feed", faults));
    let telemetry = telemetry(SectionReader::top(&mut root, "telemetry", faults));
    let shutdown = shutdown(SectionReader::top(&mut root, "shutdown", faults));

    let accounts = entries(&mut root, "accounts", faults);
    let clients = entries(&mut root, "clients", faults);
    let ids: Vec<String> = accounts.iter().filter_map(|entry| entry.name.clone()).collect();
    validate::names_unique("accounts", &accounts, faults);
    validate::sellers_unique(&accounts, faults);
    validate::names_unique("clients", &clients, faults);
    if accounts.is_empty() && !root.contains_key("accounts") {
        faults.add("accounts", &SettingSource::Nowhere, "at least one [[accounts]] is required");
    }
    if clients.is_empty() && !root.contains_key("clients") {
        validate::open_door(&door, faults);
    }
    let accounts: Option<Vec<AccountConfig>> = collect(accounts.into_iter().map(|entry| account(entry.section)));
    let clients = clients.into_iter().map(|entry| client(entry.section, &ids, door.mtls));
    let clients: Vec<Option<ClientConfig>> = clients.collect();
    validate::credentials_unique(clients.iter().flatten(), faults);
    let clients: Option<Vec<ClientConfig>> = collect(clients);

    let known: Vec<_> = keys::GROUPS.iter().map(|group| group.path).filter(|path| !path.contains('.')).collect();
    for (name, node) in root.iter().filter(|(name, _)| !known.contains(&name.as_str())) {
        faults.add(printable(name), &node.at, format!("unknown section; known are {}", known.join(", ")));
    }
    Some(Config {
        grpc: grpc?,
        http: http?,
        admin,
        store: store?,
        walmart: walmart?,
        ledger: ledger?,
        feed: feed?,
        telemetry: telemetry?,
        shutdown: shutdown?,
        accounts: accounts?,
        clients: clients?,
    })
}

/// Collects all items, or returns `None` if any is missing. All items are evaluated first, so that each reports its
/// faults.
fn collect<T>(items: impl IntoIterator<Item = Option<T>>) -> Option<Vec<T>> {
    let items: Vec<Option<T>> = items.into_iter().collect();
    items.into_iter().collect()
}

fn grpc(mut s: SectionReader<'_>) -> (Option<GrpcConfig>, GrpcSummary) {
    let at = s.at("listen");
    let listen = s.optional("listen", values::grpc_listen);
    let reflection = s.optional("reflection", values::flag);
    let max_connection_age = s.optional("max_connection_age", values::span);
    let max_calls_per_client = s.optional("max_calls_per_client", values::count);
    let max_streams_per_client = s.optional("max_streams_per_client", values::count);
    let inner = s.inner("tls");
    let mtls = inner.as_ref().is_some_and(|tls| tls.has("client_ca_file"));
    let tls = inner.map(tls);
    s.finish();
    let read = || {
        let tls = match tls {
            Some(tls) => Some(tls?),
            None => None,
        };
        Some(GrpcConfig {
            listen: listen.clone()?,
            reflection: reflection?,
            max_connection_age: max_connection_age?,
            max_calls_per_client: max_calls_per_client?,
            max_streams_per_client: max_streams_per_client?,
            tls,
        })
    };
    (read(), GrpcSummary { listen, at, mtls })
}

fn tls(mut s: SectionReader<'_>) -> Option<TlsConfig> {
    let file = |s: &mut SectionReader<'_>, name: &str, required: bool| {
        let at = s.at(name);
        let path = if required { s.required(name, values::path) } else { s.optional(name, values::path) };
        if let Some(path) = &path {
            validate::readable(s, name, &at, path);
        }
        path
    };
    let cert_file = file(&mut s, "cert_file", true);
    let key_file = file(&mut s, "key_file", true);
    let client_ca_file = file(&mut s, "client_ca_file", false);
    s.finish();
    Some(TlsConfig { cert_file: cert_file?, key_file: key_file?, client_ca_file })
}

fn http(mut s: SectionReader<'_>) -> Option<HttpConfig> {
    let listen = s.optional("listen", values::address);
    let page = s.optional("page", values::flag);
    s.finish();
    Some(HttpConfig { listen: listen?, page: page? })
}

fn admin(mut s: SectionReader<'_>) -> (AdminConfig, SettingSource) {
    let at = s.at("listen");
    let listen = s.optional("listen", values::address);
    let hosts =
        s.optional("hosts", |node| values::list(node, values::text)?.iter().map(|host| validate::host(host)).collect());
    s.finish();
    (AdminConfig { listen, hosts: hosts.unwrap_or_default() }, at)
}

fn store(mut s: SectionReader<'_>) -> Option<StoreConfig> {
    let is_faulty = s.peek("url", |node| validate::store_url(node).err()).is_some();
    match s.optional("url", validate::store_url) {
        Some(StoreUrl::Sqlite(path)) if !is_faulty => {
            s.finish_with("is for Postgres only");
            Some(StoreConfig::Sqlite(path))
        }
        Some(StoreUrl::Postgres(url)) => postgres(s, Some(url)),
        // The kind of store is not known: faults of the other keys are reported still.
        _ => postgres(s, None),
    }
}

fn postgres(mut s: SectionReader<'_>, url: Option<Url>) -> Option<StoreConfig> {
    let password = s.optional_secret("password");
    let tls = s.optional("tls", |node| values::choice(node, &[("verify", true), ("off", false)]));
    let is_near = url.as_ref().is_some_and(validate::is_loopback);
    let ca_at = s.at("ca_file");
    let ca_file = s.optional("ca_file", values::path);
    if let Some(path) = &ca_file {
        match tls {
            Some(false) => s.fault("ca_file", &ca_at, r#"is not used with tls = "off""#),
            None if is_near => s.fault("ca_file", &ca_at, r#"needs tls = "verify" at a loopback address"#),
            _ => validate::readable(&s, "ca_file", &ca_at, path),
        }
    }
    let tls = if tls.unwrap_or(!is_near) { PostgresTls::Verify { ca_file } } else { PostgresTls::Off };
    let connections = s.optional("connections", |node| validate::connections(values::count(node)?));
    let lease = s.optional("lease", |node| validate::lease(values::span(node)?));
    let pooler = s.optional("pooler", values::flag);
    let migrate = s.optional("migrate", values::flag);
    let schema = s.optional("schema", |node| validate::schema(values::text(node)?));
    s.finish();
    Some(StoreConfig::Postgres(PostgresConfig {
        url: url?,
        password,
        tls,
        connections: connections?,
        lease: lease?,
        pooler: pooler?,
        migrate: migrate?,
        schema: schema?,
    }))
}

/// Reads the section. The profile is returned even if the section has faults.
fn walmart(mut s: SectionReader<'_>) -> (Option<WalmartConfig>, Option<WalmartProfile>) {
    let profiles = [WalmartProfile::Production, WalmartProfile::Sandbox].map(|profile| (profile.name(), profile));
    let profile = s.optional("profile", |node| values::choice(node, &profiles));
    let base_url = s.optional("base_url", validate::walmart_url);
    let base_url = base_url.or_else(|| profile?.base_url().parse().ok());
    let service_name = s.optional("service_name", values::word);
    let attempt_timeout = s.optional("attempt_timeout", values::span);
    let return_orders_path = s.optional("return_orders_path", values::url_path);
    let webhook_check_interval = s.optional("webhook_check_interval", values::duration);

    let mut inner = s.inner_or_empty("limits");
    let limits = Operation::ALL.map(|operation| inner.optional(operation.name(), values::count));
    inner.finish();
    let mut inner = s.inner_or_empty("retry");
    let max_attempts = inner.optional("max_attempts", values::count);
    inner.finish();
    let mut inner = s.inner_or_empty("promise_cache");
    let ttl = inner.optional("ttl", values::duration);
    inner.finish();
    s.finish();
    let read = || {
        Some(WalmartConfig {
            profile: profile?,
            base_url: base_url?,
            service_name: service_name?,
            attempt_timeout: attempt_timeout?,
            return_orders_path: return_orders_path?,
            webhook_check_interval: webhook_check_interval?,
            limits: LimitsConfig(collect(limits)?.try_into().ok()?),
            retry: RetryConfig { max_attempts: max_attempts? },
            promise_cache: PromiseCacheConfig { ttl: ttl? },
        })
    };
    (read(), profile)
}

fn ledger(mut s: SectionReader<'_>, profile: Option<WalmartProfile>) -> Option<LedgerConfig> {
    let at = ["settle_window", "lookup_delays", "not_after"].map(|name| s.at(name));
    let settle_window = s.optional("settle_window", values::span);
    let lookup_delays = s.optional("lookup_delays", |node| validate::rising(values::list(node, values::span)?));
    let not_after = s.optional("not_after", values::span);
    let look_first_until = s.optional("look_first_until", values::time);
    if profile == Some(WalmartProfile::Production) {
        validate::ledger_promise(&s, &at, settle_window, lookup_delays.as_deref(), not_after);
    }
    let retention = s.optional("retention", |node| validate::ledger_retention(values::span(node)?));
    s.finish();
    Some(LedgerConfig {
        settle_window: settle_window?,
        lookup_delays: lookup_delays?,
        not_after: not_after?,
        look_first_until,
        retention: retention?,
    })
}

fn feed(mut s: SectionReader<'_>) -> Option<FeedConfig> {
    let heartbeat_interval = s.optional("heartbeat_interval", values::span);
    let retention = s.optional("retention", values::span);
    let at = s.at("max_retention");
    let max_retention = s.optional("max_retention", values::span);
    validate::max_retention(&s, &at, retention, max_retention);
    let max_subscriptions_per_client = s.optional("max_subscriptions_per_client", values::count);
    let backfill = backfill(s.inner_or_empty("backfill"));
    s.finish();
    Some(FeedConfig {
        heartbeat_interval: heartbeat_interval?,
        retention: retention?,
        max_retention: max_retention?,
        max_subscriptions_per_client: max_subscriptions_per_client?,
        backfill: backfill?,
    })
}

fn backfill(mut s: SectionReader<'_>) -> Option<BackfillConfig> {
    let enabled = s.optional("enabled", values::flag);
    let interval = s.optional("interval", values::span);
    let window = s.optional("window", |node| validate::backfill_window(values::span(node)?));
    let ship_node_types = s.optional("ship_node_types", validate::ship_node_types);
    s.finish();
    Some(BackfillConfig { enabled: enabled?, interval: interval?, window: window?, ship_node_types: ship_node_types? })
}

fn telemetry(mut s: SectionReader<'_>) -> Option<TelemetryConfig> {
    let logs = [AccessLog::Failures, AccessLog::All, AccessLog::Off].map(|log| (log.name(), log));
    let otlp_endpoint = s.optional("otlp_endpoint", |node| match values::text(node)?.as_str() {
        "" => Ok(None),
        _ => values::web_address(node).map(Some),
    });
    let trace_sample_ratio = s.optional("trace_sample_ratio", values::ratio);
    let access_log = s.optional("access_log", |node| values::choice(node, &logs));
    s.finish();
    Some(TelemetryConfig {
        otlp_endpoint: otlp_endpoint?,
        trace_sample_ratio: trace_sample_ratio?,
        access_log: access_log?,
    })
}

fn shutdown(mut s: SectionReader<'_>) -> Option<ShutdownConfig> {
    let grace = s.optional("grace", values::duration);
    s.finish();
    Some(ShutdownConfig { grace: grace? })
}

fn entries<'a>(root: &mut Table, list: &str, faults: &'a FaultList) -> Vec<ListEntry<'a>> {
    let node = match root.get(list) {
        Some(SettingNode { raw: RawValue::List(_), .. }) => root.remove(list),
        Some(node) => {
            faults.add(list, &node.at, format!("must be a list of sections ([[{list}]]), is {}", node.raw.kind()));
            // Leave the node in the tree, so that the section is not reported as missing as well.
            None
        }
        None => None,
    };
    let Some(SettingNode { raw: RawValue::List(nodes), .. }) = node else { return Vec::new() };
    let naming = keys::naming_key(list).unwrap_or_default();
    let mut all = Vec::new();
    for (position, SettingNode { at, raw }) in nodes.into_iter().enumerate() {
        let RawValue::Table(table) = raw else {
            faults.add(
                format!("{list}[{position}]"),
                &at,
                format!("must be a section ([[{list}]]), is {}", raw.kind()),
            );
            continue;
        };
        let name = tree::name_of(&table, naming).filter(|name| AccountId::new(*name).is_ok()).map(str::to_owned);
        let path = name.as_ref().map_or_else(|| format!("{list}[{position}]"), |name| format!("{list}.{name}"));
        let section = SectionReader::new(path, list, at.clone(), table, faults);
        all.push(ListEntry { name, at, section });
    }
    all
}

fn id(node: &SettingNode) -> Parsed<AccountId> {
    AccountId::new(values::text(node)?).map_err(|error| error.to_string())
}

fn account(mut s: SectionReader<'_>) -> Option<AccountConfig> {
    let id = s.required("id", id);
    let [partner_id, client_id, mart_id, bu_id] =
        ["partner_id", "client_id", "mart_id", "bu_id"].map(|name| s.required(name, values::word));
    let client_secret = s.required_secret("client_secret");
    let channel_type = s.optional("channel_type", values::word);
    let has_refresh_token = s.has_secret("refresh_token");
    let refresh_token = s.optional_secret("refresh_token");
    let webhook = s.inner("webhook").map(webhook);
    s.finish();
    let webhook = match webhook {
        Some(webhook) => Some(webhook?),
        None => None,
    };
    if has_refresh_token && refresh_token.is_none() {
        return None;
    }
    Some(AccountConfig {
        id: id?,
        partner_id: partner_id?,
        client_id: client_id?,
        client_secret: client_secret?,
        mart_id: mart_id?,
        bu_id: bu_id?,
        channel_type,
        refresh_token,
        webhook,
    })
}

fn webhook(mut s: SectionReader<'_>) -> Option<WebhookAuth> {
    let kinds = ["hmac", "hmac_v2", "basic", "oauth", "none"].map(|kind| (kind, kind));
    // The kind of authentication decides which keys apply; without a valid kind the remaining keys cannot be checked.
    let auth = s.required("auth", |node| values::choice(node, &kinds))?;
    let header = |s: &mut SectionReader<'_>| s.required("header", validate::header_name);
    let webhook = match auth {
        "hmac" => {
            let (header, secrets) = (header(&mut s), s.required_secrets("secret"));
            header.zip(secrets).map(|(header, secrets)| WebhookAuth::Hmac { header, secrets })
        }
        "hmac_v2" => {
            let tolerance = s.optional("timestamp_tolerance", values::span);
            let secrets = s.required_secrets("secret");
            secrets
                .zip(tolerance)
                .map(|(secrets, timestamp_tolerance)| WebhookAuth::HmacV2 { secrets, timestamp_tolerance })
        }
        "basic" => {
            let (header, username) = (header(&mut s), s.required("username", validate::username));
            let password = s.required_secret("password");
            header.zip(username).zip(password).map(|((header, username), password)| WebhookAuth::Basic {
                header,
                username,
                password,
            })
        }
        "oauth" => {
            let (header, client_id) = (header(&mut s), s.required("client_id", validate::username));
            let secrets = s.required_secrets("client_secret");
            header.zip(client_id).zip(secrets).map(|((header, client_id), client_secrets)| WebhookAuth::Oauth {
                header,
                client_id,
                client_secrets,
            })
        }
        _ => Some(WebhookAuth::None),
    };
    s.finish_with(&format!("is not used with auth = {auth:?}"));
    webhook
}

fn client(mut s: SectionReader<'_>, known: &[String], mtls: bool) -> Option<ClientConfig> {
    let name = s.required("name", id);
    let san_at = s.at("san");
    let (has_token, has_san) = (s.has_secret("token"), s.has("san"));
    let tokens = s.optional_tokens("token");
    let san = s.optional("san", |node| SubjectAltName::parse(&values::word(node)?));
    match (has_token, has_san) {
        (false, false) => s.fault("token", &s.at("token"), "is required (or token_file, or san)"),
        (true, true) => s.fault("san", &san_at, "cannot be combined with a token"),
        (false, true) if !mtls => s.fault("san", &san_at, "needs grpc.tls.client_ca_file"),
        _ => {}
    }
    let accounts_at = s.at("accounts");
    let accounts = s.required("accounts", |node| values::list(node, values::text));
    let accounts = accounts.and_then(|ids| validate::account_set(&s, &accounts_at, &ids, known));
    let services = s.optional("services", |node| validate::services(values::list(node, values::text)?));
    let max_concurrent = s.optional("max_concurrent", values::count);
    let per_second = s.optional("per_second", values::count);
    s.finish();
    let accounts: AccountSet = accounts?;
    Some(ClientConfig { name: name?.to_string(), tokens: tokens?, san, accounts, services, max_concurrent, per_second })
}
