mod arbitrary;
mod environment;
mod rules;
mod several_files;

use std::fs;
use std::path::Path;
use std::time::Duration;

use secrecy::ExposeSecret;

use super::*;
use crate::domain::operation::Operation;

const ACCOUNT: &str = r#"
[[accounts]]
id = "acme"
partner_id = "10000000000"
client_id = "key"
client_secret = "canary-account"
"#;

/// Sets every key there is.
pub(super) const EVERYTHING: &str = include_str!("../testdata/everything.toml");

fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn load(text: &str) -> Result<Config, Vec<ConfigFault>> {
    Config::load(text, [])
}

/// The faults as an operator sees them, one a line.
pub(super) fn faults(text: &str, environment: &[(&str, &str)]) -> Vec<String> {
    match Config::load(text, variables(environment)) {
        Ok(_) => Vec::new(),
        Err(faults) => faults.iter().map(ToString::to_string).collect(),
    }
}

fn loaded(text: &str, environment: &[(&str, &str)]) -> Config {
    Config::load(text, variables(environment)).unwrap_or_else(|faults| panic!("{faults:#?}"))
}

#[test]
fn an_account_is_all_that_must_be_set() {
    let config = loaded(ACCOUNT, &[]);
    assert_eq!(config.grpc.listen.to_string(), "127.0.0.1:50051");
    assert_eq!(config.walmart.base_url.as_str(), "https://marketplace.walmartapis.com/");
    assert_eq!(config.ledger.lookup_delays.len(), 7);
    assert_eq!(config.feed.retention, Duration::from_secs(30 * 24 * 3600));
    assert_eq!(config.feed.max_retention, Duration::from_secs(90 * 24 * 3600));
    assert_eq!(config.telemetry.otlp_endpoint, None);
    assert_eq!(config.accounts[0].mart_id, "202");
    assert_eq!(config.accounts[0].client_secret.current().expose_secret(), "canary-account");
    for operation in Operation::ALL {
        assert_eq!(config.walmart.limits.of(operation).get(), operation.published_limit());
    }
}

#[test]
fn the_sandbox_has_its_own_address() {
    let config = loaded(&format!("[walmart]\nprofile = \"sandbox\"\n{ACCOUNT}"), &[]);
    assert_eq!(config.walmart.base_url.as_str(), "https://sandbox.walmartapis.com/");
}

#[test]
fn a_database_elsewhere_is_verified_unless_the_settings_say_otherwise() {
    let postgres = |url: &str, keys: &str| {
        let config = loaded(&format!("[store]\nurl = \"postgres://me@{url}/orders\"\n{keys}\n{ACCOUNT}"), &[]);
        match config.store {
            StoreConfig::Postgres(postgres) => postgres,
            StoreConfig::Sqlite(path) => panic!("{}", path.display()),
        }
    };
    for near in ["localhost", "LocalHost:1", "127.0.0.1:5432", "127.1.2.3", "[::1]:5432"] {
        assert_eq!(postgres(near, "").tls, PostgresTls::Off, "{near}");
        assert_eq!(postgres(near, "tls = \"verify\"").tls, PostgresTls::Verify { ca_file: None }, "{near}");
    }
    for far in ["db.example", "10.0.0.1:5432", "[2001:db8::1]", "localhost.example", "127.0.0.1.example"] {
        assert_eq!(postgres(far, "").tls, PostgresTls::Verify { ca_file: None }, "{far}");
        assert_eq!(postgres(far, "tls = \"off\"").tls, PostgresTls::Off, "{far}");
    }
    let by_default = postgres("db", "ca_file = \"Cargo.toml\"");
    assert_eq!(by_default.tls, PostgresTls::Verify { ca_file: Some("Cargo.toml".into()) });
    assert_eq!((by_default.connections.get(), by_default.lease), (8, Duration::from_secs(15)));
    assert_eq!((by_default.pooler, by_default.migrate, by_default.schema.as_str()), (false, true, "order_gateway"));
}

#[test]
fn a_lease_shorter_than_an_attempt_is_warned_of() {
    let text = format!("[store]\nurl = \"postgres://me@db/orders\"\n{ACCOUNT}");
    assert_eq!(loaded(&text, &[]).warnings(), [""; 0]);
    let short = loaded(&text, &[("ORDER_GATEWAY__STORE__LEASE", "10s")]).warnings();
    assert_eq!(short.len(), 1);
    assert!(short[0].starts_with("store.lease: should be longer than walmart.attempt_timeout (10s)"), "{short:?}");
    assert_eq!(loaded(ACCOUNT, &[]).warnings(), [""; 0]);
}

#[test]
fn effective_settings_read_back_as_the_same_and_show_no_secret() {
    let dump = loaded(EVERYTHING, &[]).dump();
    assert!(!dump.contains("canary"), "{dump}");
    // Every key there is can be seen in it.
    for group in keys::GROUPS {
        for key in group.keys {
            assert!(dump.contains(&format!("{} = ", key.name)), "{}.{}", group.path, key.name);
        }
    }
    // Tokens must differ, and both of the dump read "[redacted]"; only one client has one here.
    assert_eq!(loaded(&dump, &[]).dump(), dump);
    insta::assert_snapshot!(dump);
}

#[test]
fn no_secret_shows_in_debug() {
    let debug = format!("{:#?}", loaded(EVERYTHING, &[]));
    assert!(debug.contains("[redacted]"));
    assert!(!debug.contains("canary"), "{debug}");
}

#[test]
fn a_time_is_text_or_a_date_of_toml() {
    let until = |given: &str| {
        let config = loaded(&format!("[ledger]\nlook_first_until = {given}\n{ACCOUNT}"), &[]);
        config.ledger.look_first_until.unwrap().0
    };
    let moment = 1_796_065_200_000;
    for given in [
        "\"2026-11-30T19:00:00Z\"",
        "2026-11-30T19:00:00Z",
        "2026-11-30 19:00:00z",
        "2026-11-30T20:00:00+01:00",
        "\"2026-11-30T19:00:00.000000000-00:00\"",
    ] {
        assert_eq!(until(given), moment, "{given}");
    }
    let config = loaded(ACCOUNT, &[("ORDER_GATEWAY__LEDGER__LOOK_FIRST_UNTIL", "2026-11-30T19:00:00Z")]);
    assert_eq!(config.ledger.look_first_until.unwrap().0, moment);
    assert!(config.dump().contains("\nlook_first_until = \"2026-11-30T19:00:00Z\"\n"), "{}", config.dump());
    assert_eq!(loaded(ACCOUNT, &[]).ledger.look_first_until, None);
    for given in ["2026-11-30", "19:00:00", "2026-11-30T19:00:00", "1796065200", "\"now\"", "\"\""] {
        let text = format!("[ledger]\nlook_first_until = {given}\n{ACCOUNT}");
        assert_eq!(faults(&text, &[]).len(), 1, "{given}");
    }
}

#[test]
fn durations_read_back_as_written() {
    for (text, written) in
        [("250ms", "250ms"), ("1500ms", "1500ms"), ("60s", "1m"), ("90s", "90s"), ("24h", "1d"), ("0m", "0s")]
    {
        let node = tree::parse_value(&format!("{text:?}")).unwrap();
        assert_eq!(values::write_duration(values::duration(&node).unwrap()), written);
    }
    for text in ["", "5", "s", "1.5s", "-1s", "1 s", "1s1", "3651d", "99999999999999999999s", "99999999999999d", "1µs"]
    {
        let node = tree::parse_value(&format!("{text:?}")).unwrap();
        assert!(values::duration(&node).is_err(), "{text}");
    }
}

#[test]
fn every_default_can_be_read() {
    // Whatever has a default is set by it, or the account alone would not be enough; and the page says the same.
    assert_eq!(faults(&defaults(), &[]), ["accounts: at least one [[accounts]] is required"]);
    assert_eq!(loaded(&format!("{}{ACCOUNT}", defaults()), &[]).dump(), loaded(ACCOUNT, &[]).dump());
}

#[test]
fn generated_pages_are_current() {
    for (name, page) in [("config.defaults.toml", defaults()), ("docs/CONFIG.md", reference())] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        if std::env::var_os("UPDATE_DEFAULTS").is_some() {
            fs::write(&path, &page).unwrap();
        }
        let found = fs::read_to_string(&path).unwrap_or_default();
        assert!(found == page, "{name} is stale: run `UPDATE_DEFAULTS=1 cargo test --lib config` and commit it");
    }
}

#[test]
fn the_example_is_accepted() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/serve.toml")).unwrap();
    let environment = [
        ("ORDER_GATEWAY__ACCOUNTS__ACME__CLIENT_SECRET", "s"),
        ("ORDER_GATEWAY__ACCOUNTS__ACME__WEBHOOK__SECRET", "w"),
        ("ORDER_GATEWAY__CLIENTS__OMS__TOKEN", "t"),
    ];
    let config = loaded(&text, &environment);
    assert_eq!(config.accounts.len(), 1);
}

#[test]
fn a_listen_address_is_an_address_or_localhost() {
    for (text, address) in [
        ("localhost:50051", "127.0.0.1:50051"),
        ("LOCALHOST:0", "127.0.0.1:0"),
        ("[::1]:50051", "[::1]:50051"),
        ("0.0.0.0:1", "0.0.0.0:1"),
    ] {
        assert_eq!(listen_address(text).unwrap().to_string(), address, "{text}");
    }
    for text in ["", "localhost", "localhost:", "localhost:+1", "localhost:65536", "example.com:1", "[::1]", "::1:1:x"]
    {
        assert!(listen_address(text).is_err(), "{text}");
    }
    // Both are loopback addresses, which need no clients.
    for listen in ["localhost:50051", "[::1]:50051", "unix:/run/gateway.sock", "unix:///run/gateway.sock"] {
        assert!(loaded(&format!("[grpc]\nlisten = \"{listen}\"\n{ACCOUNT}"), &[]).grpc.listen.is_local());
    }
}
