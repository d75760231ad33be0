//! Writes settings as TOML which can be read back. Every key has its documentation; secrets are redacted.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use super::key::{DefaultValue, SettingKey};
use super::keys::{self, GroupForm, KeyGroup};
use super::sections::{PostgresTls, StoreConfig};
use super::values::{write_duration, write_time};
use super::{AccountConfig, AccountSet, ClientConfig, ClientTokens, Config, Secret, WebhookAuth};
use crate::domain::operation::Operation;

/// Replaces an inline secret.
const REDACTED: &str = "[redacted]";

/// Maximum width of a documentation line.
const WIDTH: usize = 118;

/// All keys with defaults, as in `config.defaults.toml`. Keys without a default are commented out.
pub fn defaults() -> String {
    let mut page = TomlWriter::default();
    page.comment(
        "Every setting of order-gateway with its default. Generated from src/config/keys.rs; a test fails if this file is \
         stale. An environment variable overrides a key: ORDER_GATEWAY__GRPC__LISTEN, ORDER_GATEWAY__ACCOUNTS__ACME__CLIENT_ID \
         (list items are separated by commas, but a secret is always a single item). A secret x can be given as x_file; a changed file takes \
         effect without a restart. Durations are whole numbers with a unit: ms, s, m, h, d. Lines with # and no space are examples.",
    );
    for group in keys::GROUPS {
        page.heading(group, group.form == GroupForm::Section);
        for key in group.keys {
            let commented = group.form != GroupForm::Section;
            match key.preset {
                DefaultValue::Is(value) if !commented => page.line(group, key, key.name, value),
                DefaultValue::Is(value) | DefaultValue::WithPostgres(value) | DefaultValue::Example(value) => {
                    page.example(group, key, value);
                }
            }
        }
    }
    page.text
}

impl Config {
    /// The effective settings as TOML. Secrets are `"[redacted]"`, or the name of the file for secrets in files.
    pub fn dump(&self) -> String {
        let mut page = TomlWriter::default();
        sections(self, &mut page);
        for account in &self.accounts {
            self::account(account, &mut page);
        }
        for client in &self.clients {
            self::client(client, &mut page);
        }
        page.text
    }

    /// The settings that count from a start on only: all but accounts and clients. Secrets are redacted.
    pub(crate) fn fixed_part(&self) -> String {
        let mut page = TomlWriter::default();
        sections(self, &mut page);
        page.text
    }
}

fn sections(config: &Config, page: &mut TomlWriter) {
    let Config { grpc, http, admin, store, walmart, ledger, feed, telemetry, shutdown, accounts: _, clients: _ } =
        config;
    page.section("grpc", |s| {
        s.text("listen", &grpc.listen);
        s.plain("reflection", grpc.reflection);
        s.text("max_connection_age", write_duration(grpc.max_connection_age));
        s.plain("max_calls_per_client", grpc.max_calls_per_client);
        s.plain("max_streams_per_client", grpc.max_streams_per_client);
    });
    if let Some(tls) = &grpc.tls {
        page.section("grpc.tls", |s| {
            s.text("cert_file", tls.cert_file.display());
            s.text("key_file", tls.key_file.display());
            s.maybe("client_ca_file", tls.client_ca_file.as_ref().map(|path| quoted(path.display())));
        });
    }
    page.section("http", |s| {
        s.text("listen", http.listen);
        s.plain("page", http.page);
    });
    page.section("admin", |s| {
        s.maybe("listen", admin.listen.map(quoted));
        s.plain("hosts", list(&admin.hosts));
    });
    self::store(store, page);
    page.section("walmart", |s| {
        s.text("profile", walmart.profile.name());
        s.text("base_url", &walmart.base_url);
        s.text("service_name", &walmart.service_name);
        s.text("attempt_timeout", write_duration(walmart.attempt_timeout));
        s.text("return_orders_path", &walmart.return_orders_path);
        s.text("webhook_check_interval", write_duration(walmart.webhook_check_interval));
    });
    page.section("walmart.limits", |s| {
        for operation in Operation::ALL {
            s.plain(operation.name(), walmart.limits.of(operation));
        }
    });
    page.section("walmart.retry", |s| s.plain("max_attempts", walmart.retry.max_attempts));
    page.section("walmart.promise_cache", |s| s.text("ttl", write_duration(walmart.promise_cache.ttl)));
    page.section("ledger", |s| {
        s.text("settle_window", write_duration(ledger.settle_window));
        s.plain("lookup_delays", list(ledger.lookup_delays.iter().map(|delay| write_duration(*delay))));
        s.text("not_after", write_duration(ledger.not_after));
        s.maybe("look_first_until", ledger.look_first_until.map(|time| quoted(write_time(time))));
        s.text("retention", write_duration(ledger.retention));
    });
    page.section("feed", |s| {
        s.text("heartbeat_interval", write_duration(feed.heartbeat_interval));
        s.text("retention", write_duration(feed.retention));
        s.text("max_retention", write_duration(feed.max_retention));
        s.plain("max_subscriptions_per_client", feed.max_subscriptions_per_client);
    });
    page.section("feed.backfill", |s| {
        s.plain("enabled", feed.backfill.enabled);
        s.text("interval", write_duration(feed.backfill.interval));
        s.text("window", write_duration(feed.backfill.window));
        s.plain("ship_node_types", list(&feed.backfill.ship_node_types));
    });
    page.section("telemetry", |s| {
        s.text("otlp_endpoint", telemetry.otlp_endpoint.as_ref().map_or("", |url| url.as_str()));
        s.plain("trace_sample_ratio", telemetry.trace_sample_ratio);
        s.text("access_log", telemetry.access_log.name());
    });
    page.section("shutdown", |s| s.text("grace", write_duration(shutdown.grace)));
}

fn store(store: &StoreConfig, page: &mut TomlWriter) {
    page.section("store", |s| match store {
        StoreConfig::Sqlite(path) => {
            s.text("url", format_args!("sqlite://{}", path.display()));
            for key in s.group.keys.iter().filter(|key| key.name != "url") {
                s.unset(key.name);
            }
        }
        StoreConfig::Postgres(postgres) => {
            s.text("url", &postgres.url);
            s.maybe_secret("password", postgres.password.as_ref());
            s.text("tls", postgres.tls.name());
            let ca_file = match &postgres.tls {
                PostgresTls::Verify { ca_file } => ca_file.as_ref(),
                PostgresTls::Off => None,
            };
            s.maybe("ca_file", ca_file.map(|path| quoted(path.display())));
            s.plain("connections", postgres.connections);
            s.text("lease", write_duration(postgres.lease));
            s.plain("pooler", postgres.pooler);
            s.plain("migrate", postgres.migrate);
            s.text("schema", &postgres.schema);
        }
    });
}

fn account(account: &AccountConfig, page: &mut TomlWriter) {
    page.section("accounts", |s| {
        s.text("id", &account.id);
        s.text("partner_id", &account.partner_id);
        s.text("client_id", &account.client_id);
        s.secret("client_secret", &account.client_secret);
        s.text("mart_id", &account.mart_id);
        s.text("bu_id", &account.bu_id);
        s.maybe("channel_type", account.channel_type.as_ref().map(quoted));
        s.maybe_secret("refresh_token", account.refresh_token.as_ref());
    });
    let Some(webhook) = &account.webhook else { return };
    page.section("accounts.webhook", |s| match webhook {
        WebhookAuth::Hmac { header, secrets } => {
            s.text("auth", "hmac");
            s.text("header", header);
            s.secrets("secret", secrets);
        }
        WebhookAuth::HmacV2 { secrets, timestamp_tolerance } => {
            s.text("auth", "hmac_v2");
            s.secrets("secret", secrets);
            s.text("timestamp_tolerance", write_duration(*timestamp_tolerance));
        }
        WebhookAuth::Basic { header, username, password } => {
            s.text("auth", "basic");
            s.text("header", header);
            s.text("username", username);
            s.secret("password", password);
        }
        WebhookAuth::Oauth { header, client_id, client_secrets } => {
            s.text("auth", "oauth");
            s.text("header", header);
            s.text("client_id", client_id);
            s.secrets("client_secret", client_secrets);
        }
        WebhookAuth::None => s.text("auth", "none"),
    });
}

fn client(client: &ClientConfig, page: &mut TomlWriter) {
    page.section("clients", |s| {
        s.text("name", &client.name);
        match client.tokens.as_slice() {
            [] => s.maybe("san", client.san.as_ref().map(|san| quoted(san.as_str()))),
            tokens => s.redacted("token", tokens.iter().map(ClientTokens::file)),
        }
        match &client.accounts {
            AccountSet::All => s.plain("accounts", list(["*"])),
            AccountSet::Some(ids) => s.plain("accounts", list(ids)),
        }
        s.maybe("services", client.services.as_ref().map(list));
        s.maybe("max_concurrent", client.max_concurrent.map(|most| most.to_string()));
        s.maybe("per_second", client.per_second.map(|most| most.to_string()));
    });
}

/// The TOML text being written.
#[derive(Default)]
struct TomlWriter {
    text: String,
    /// Groups and keys already documented: repeated entries of a list get no second explanation.
    explained: BTreeSet<(&'static str, &'static str)>,
}

impl TomlWriter {
    fn section(&mut self, path: &str, write: impl FnOnce(&mut SectionWriter<'_>)) {
        let Some(group) = keys::group(path) else { return };
        self.heading(group, true);
        write(&mut SectionWriter { page: self, group });
    }

    fn heading(&mut self, group: &'static KeyGroup, given: bool) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.explain(group.path, "", group.doc);
        let mark = if given { "" } else { "#" };
        match group.form {
            GroupForm::List(_) => self.push(format_args!("{mark}[[{}]]", group.path)),
            GroupForm::Section | GroupForm::Optional => self.push(format_args!("{mark}[{}]", group.path)),
        }
    }

    fn line(&mut self, group: &'static KeyGroup, key: &'static SettingKey, name: &str, value: impl fmt::Display) {
        self.explain(group.path, key.name, key.doc);
        self.push(format_args!("{name} = {value}"));
    }

    fn example(&mut self, group: &'static KeyGroup, key: &'static SettingKey, value: &str) {
        self.explain(group.path, key.name, key.doc);
        self.push(format_args!("#{} = {value}", key.name));
    }

    fn explain(&mut self, group: &'static str, key: &'static str, doc: &str) {
        if self.explained.insert((group, key)) {
            self.comment(doc);
        }
    }

    fn comment(&mut self, doc: &str) {
        let mut line = String::from("#");
        for word in doc.split_whitespace() {
            if line.len() + 1 + word.len() > WIDTH {
                self.push(format_args!("{line}"));
                line = String::from("#");
            }
            line.push(' ');
            line.push_str(word);
        }
        self.push(format_args!("{line}"));
    }

    fn push(&mut self, line: fmt::Arguments<'_>) {
        self.text.push_str(&line.to_string());
        self.text.push('\n');
    }
}

/// Writes the keys of a section.
struct SectionWriter<'a> {
    page: &'a mut TomlWriter,
    group: &'static KeyGroup,
}

impl SectionWriter<'_> {
    fn plain(&mut self, name: &str, value: impl fmt::Display) {
        self.named(name, name, value);
    }

    fn text(&mut self, name: &str, value: impl fmt::Display) {
        self.named(name, name, quoted(value));
    }

    fn maybe(&mut self, name: &str, value: Option<String>) {
        match value {
            Some(value) => self.plain(name, value),
            None => self.unset(name),
        }
    }

    fn secret(&mut self, name: &str, secret: &Secret) {
        self.redacted(name, [secret.file()]);
    }

    fn maybe_secret(&mut self, name: &str, secret: Option<&Secret>) {
        match secret {
            Some(secret) => self.secret(name, secret),
            None => self.unset(name),
        }
    }

    fn secrets(&mut self, name: &str, secrets: &[Secret]) {
        self.redacted(name, secrets.iter().map(Secret::file));
    }

    /// Writes secrets as file names, or as redacted values. Either all secrets of a key are in files, or none.
    fn redacted<'f>(&mut self, name: &str, files: impl IntoIterator<Item = Option<&'f Path>>) {
        let files: Vec<Option<&Path>> = files.into_iter().collect();
        let count = files.len();
        let (written, values): (_, Vec<String>) = match files.into_iter().collect::<Option<Vec<_>>>() {
            Some(files) => (format!("{name}_file"), files.iter().map(|file| file.display().to_string()).collect()),
            None => (name.to_owned(), vec![REDACTED.to_owned(); count]),
        };
        match values.as_slice() {
            [one] => self.named(name, &written, quoted(one)),
            all => self.named(name, &written, list(all)),
        }
    }

    fn unset(&mut self, name: &str) {
        if let Some(key) = self.key(name) {
            let (DefaultValue::Is(value) | DefaultValue::WithPostgres(value) | DefaultValue::Example(value)) =
                key.preset;
            self.page.example(self.group, key, value);
        }
    }

    fn named(&mut self, name: &str, written: &str, value: impl fmt::Display) {
        if let Some(key) = self.key(name) {
            self.page.line(self.group, key, written, value);
        }
    }

    fn key(&self, name: &str) -> Option<&'static SettingKey> {
        self.group.keys.iter().find(|key| key.name == name)
    }
}

fn quoted(text: impl fmt::Display) -> String {
    toml::Value::String(text.to_string()).to_string()
}

fn list<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(quoted).collect();
    format!("[{}]", items.join(", "))
}
