//! Writes `docs/CONFIG.md`, the reference of all settings.

use std::fmt::Write as _;

use super::key::{DefaultValue, SettingKey, ValueKind};
use super::keys::{self, GroupForm, KeyGroup};
use super::tree::PREFIX;

const BEGINNING: &str = "\
# Settings

<!-- Generated from src/config/keys.rs by `UPDATE_DEFAULTS=1 cargo test --lib config`; a test fails if this file is stale. -->

This page lists every setting of order-gateway, for operators. Settings come from a TOML file (`order-gateway serve --config FILE`)
and from environment variables, which take precedence over the file. With several `--config` options, a key of a later file takes
precedence, and the accounts and clients of all files are combined. A key without a value has its default. Unknown keys are faults,
and so are variables with the prefix `ORDER_GATEWAY__` which match no key.

```sh
order-gateway config dump > settings.toml             # a file with every key and its default, to start from
order-gateway config check --config settings.toml     # every fault at once, with key and source
order-gateway config dump --config settings.toml      # the effective settings, secrets redacted
```

**Variables.** The tables show the variable of each key. `<ID>` and `<NAME>` stand for the id of the account and the name of the
client, in capitals and with `_` for `-`: `ORDER_GATEWAY__ACCOUNTS__ACME_US__CLIENT_ID`. A variable for an account or client missing
in the file creates the account or client. In a variable, list items are separated by commas, and text has no quotes. A variable
for a secret always contains a single secret, which may include commas. Several secrets at a time need the file, or secret files.

**Secrets** are given either inline, or as the path of a file with nothing but the secret, under the same name with `_file`. Giving
both is a fault. Spaces and line ends around a secret are ignored. A secret with a space, a control character or a byte order mark
inside is refused as damaged.

**Changes** of accounts, clients, secrets and certificates take effect without a restart and without ending the calls and streams of
others. Settings files, secret files and the files of `[grpc.tls]` are checked every two seconds, and at SIGHUP. Accounts and clients
are taken whole or not at all: a fault anywhere in the settings leaves everything as it was. An unusable file has no effect, and is
logged and counted (`order_gateway_settings_refused_total`, `order_gateway_secret_reloads_refused_total`,
`order_gateway_tls_reloads_refused_total`); GetStatus shows refused settings. An account gets another `id`, or an id another
`partner_id`, at a restart only. All other settings count from the next start on.

| type | is written |
|---|---|
| text | in quotes |
| choice | a listed word, in quotes |
| true or false | without quotes |
| whole number | at least 1, at most 4294967295; the table names the counted unit |
| share | a number from 0 to 1 |
| duration | a whole number with a unit, in quotes: `\"250ms\"`, `\"30s\"`, `\"15m\"`, `\"24h\"`, `\"90d\"`; at most `\"3650d\"` |
| time | RFC 3339 with an offset from UTC, in quotes or as a TOML date: `\"2026-11-30T18:00:00Z\"`, `2026-11-30T19:00:00+01:00` |
| address | IP address or `localhost`, and port, in quotes: `\"127.0.0.1:8080\"`, `\"localhost:8080\"`, `\"[::]:8080\"` |
| URL | begins with `http://` or `https://`, has no credentials, no query and no fragment; in quotes |
| file | a path, in quotes |
| list | `[\"a\", \"b\"]` |
";

/// Every key as Markdown, with variable, type, default, meaning, and the time at which a change takes effect.
pub fn reference() -> String {
    let mut page = BEGINNING.to_owned();
    for group in keys::GROUPS {
        section(&mut page, group);
    }
    page
}

fn section(page: &mut String, group: &KeyGroup) {
    let heading = match group.form {
        GroupForm::Section | GroupForm::Optional => format!("[{}]", group.path),
        GroupForm::List(_) => format!("[[{}]]", group.path),
    };
    // Writing to a `String` cannot fail.
    let _ = write!(
        page,
        "\n## `{heading}`\n\n{}\n\n| key and variable | type | default | meaning | a change takes effect |\n|---|---|---|---|---|\n",
        cell(group.doc)
    );
    for key in group.keys {
        let SettingKey { name, doc, .. } = key;
        let (variable, kind, default) = (variable(group.path, name), kind(key), default(key));
        let change = change(group, key);
        let or_file = if key.is_secret() { format!(" or `{name}_file`") } else { String::new() };
        let or_variable = if key.is_secret() { ", `…_FILE`" } else { "" };
        let _ = writeln!(
            page,
            "| `{name}`{or_file}<br>`{variable}`{or_variable} | {kind} | {default} | {} | {change} |",
            cell(doc)
        );
    }
}

/// The environment variable of a key. A placeholder in `<` and `>` stands for the id or name of a list entry.
pub(super) fn variable(group: &str, key: &str) -> String {
    let mut steps = Vec::new();
    let mut path = String::new();
    for step in group.split('.') {
        path = if path.is_empty() { step.to_owned() } else { format!("{path}.{step}") };
        steps.push(step.to_uppercase());
        steps.extend(keys::naming_key(&path).map(|naming| format!("<{}>", naming.to_uppercase())));
    }
    steps.push(key.to_uppercase());
    format!("{PREFIX}{}", steps.join("__"))
}

fn kind(key: &SettingKey) -> String {
    match key.kind {
        ValueKind::Text => "text".into(),
        ValueKind::Texts => "list of texts".into(),
        ValueKind::Choice(words) => {
            let words: Vec<String> = words.iter().map(|word| format!("`\"{word}\"`")).collect();
            format!("choice: {}", words.join(", "))
        }
        ValueKind::Flag => "true or false".into(),
        ValueKind::Count(what) => format!("whole number, {what}"),
        ValueKind::Share => "share".into(),
        ValueKind::Duration => "duration".into(),
        ValueKind::Span => "duration, not zero".into(),
        ValueKind::Spans => "list of durations".into(),
        ValueKind::Time => "time".into(),
        ValueKind::Address => "address".into(),
        ValueKind::Url => "URL".into(),
        ValueKind::File => "file".into(),
        ValueKind::Secret => "text, secret".into(),
        ValueKind::Secrets => "text or a list of texts, secret".into(),
    }
}

fn default(key: &SettingKey) -> String {
    match key.preset {
        DefaultValue::Is(value) | DefaultValue::WithPostgres(value) => format!("`{value}`"),
        DefaultValue::Example(_) if key.is_secret() => "none".into(),
        DefaultValue::Example(example) => format!("none; such as `{example}`"),
    }
}

fn change(group: &KeyGroup, key: &SettingKey) -> &'static str {
    let is_reloaded = matches!(group.path.split('.').next(), Some("accounts" | "clients"));
    match key.kind {
        _ if is_reloaded => "within seconds",
        ValueKind::Secret | ValueKind::Secrets => "in the file: within seconds",
        ValueKind::File if group.path != "store" => "in the file: within seconds",
        _ => "restart",
    }
}

/// Escapes text for a table cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{EVERYTHING, faults};
    use super::*;

    /// What readers of other kinds than text say.
    const NOT_OF_TEXT: [&str; 5] = ["whole number", "true or false", "0 to 1", "must be one of", "address"];

    /// What the reader says of a value that is wrong for the kind, in the variable that the page names.
    #[test]
    fn every_key_has_the_kind_and_the_variable_that_its_page_says() {
        let form = "must be a whole number with a unit (ms, s, m, h, d), such as";
        for group in keys::GROUPS {
            for SettingKey { name, kind, .. } in group.keys {
                let (wrong, fault) = match kind {
                    ValueKind::Text => ("", String::new()),
                    ValueKind::Texts => ("no such thing", String::new()),
                    ValueKind::Choice(words) => {
                        let words: Vec<_> = words.iter().map(|word| format!("{word:?}")).collect();
                        ("x", format!("must be one of {} (", words.join(", ")))
                    }
                    ValueKind::Flag => ("x", "must be true or false".into()),
                    ValueKind::Count(_) => ("x", "must be a whole number (".into()),
                    ValueKind::Share => ("2", "must be from 0 to 1".into()),
                    ValueKind::Duration | ValueKind::Spans => ("x", form.into()),
                    ValueKind::Span => ("0s", "must be more than zero".into()),
                    ValueKind::Time => ("2026-11-30", "must be a time with its offset from UTC".into()),
                    ValueKind::Address => ("x", "must be an address and a port".into()),
                    ValueKind::Url => ("ftp://x", "must begin with http:// or https://".into()),
                    ValueKind::File => ("/not/there", "cannot be read: ".into()),
                    ValueKind::Secret | ValueKind::Secrets => ("/not/there", "cannot be read: ".into()),
                };
                let written = match kind {
                    ValueKind::Secret | ValueKind::Secrets => format!("{name}_file"),
                    _ => (*name).to_owned(),
                };
                let pattern = variable(group.path, &written);
                // Which keys a webhook has depends on how it is proved: an account of EVERYTHING for each way.
                let found = ["ACME", "BETA_2", "GAMMA", "DELTA"].iter().any(|account| {
                    let client = if *name == "san" { "MESH" } else { "OMS" };
                    let variable = pattern.replace("<ID>", account).replace("<NAME>", client);
                    let all = faults(EVERYTHING, &[(&variable, wrong)]);
                    let mut of_it = all.iter().filter(|one| one.ends_with(&format!("({variable})")));
                    let of_text = |one: &str| !NOT_OF_TEXT.iter().any(|other| one.contains(other));
                    of_it.any(|one| {
                        let fits = if fault.is_empty() { of_text(one) } else { one.contains(&fault) };
                        fits && !one.contains("unknown key") && !one.contains("is not used")
                    })
                });
                assert!(found, "{}.{name}, {pattern}", group.path);
            }
        }
    }

    #[test]
    fn a_span_of_the_page_may_not_be_zero_and_a_duration_may() {
        for group in keys::GROUPS {
            for key in group.keys.iter().filter(|key| matches!(key.kind, ValueKind::Duration)) {
                let variable = variable(group.path, key.name);
                assert_eq!(faults(EVERYTHING, &[(&variable, "0s")]), [""; 0], "{variable}");
            }
        }
    }
}
