mod several_files;

use std::fs;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
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
fn no_secret_shows_in_faults() {
    let text = EVERYTHING.replace("client_secret = \"canary", "client_secrets = \"canary");
    let all = faults(&text.replace("token = \"canary-token\"", "token = \"canary token\""), &[]);
    assert!(all.len() > 5, "{all:?}");
    assert!(!all.join("\n").contains("canary"), "{all:?}");
    let not_toml = faults("[[accounts]]\nclient_secret = \"canary\n", &[]);
    assert_eq!(not_toml.len(), 1);
    assert!(not_toml[0].starts_with("line 2, column "), "{not_toml:?}");
    assert!(!not_toml[0].contains("canary"), "{not_toml:?}");
    let url = faults(&format!("[store]\nurl = \"postgres://u:canary@h/d\"\n{ACCOUNT}"), &[]);
    assert_eq!(url, ["store.url: must not contain the password; give it as password or password_file (line 2)"]);
}

/// One file with one fault of every kind: each is found, none hides another.
#[test]
fn all_faults_at_once() {
    let text = include_str!("../testdata/faults.toml");
    let environment = [
        ("ORDER_GATEWAY__GRPC__LISTENN", "127.0.0.1:1"),
        ("ORDER_GATEWAY__WALMART__LIMITS__CANCEL", "many"),
        ("ORDER_GATEWAY__ACCOUNTS__BETA__COLOUR", "red"),
        ("ORDER_GATEWAY__ACCOUNTS__BETA__ID", "gamma"),
        ("ORDER_GATEWAY__A__B__C__D__E__F__G__H__I", "x"),
        ("UNRELATED", "x"),
    ];
    insta::assert_snapshot!(faults(text, &environment).join("\n"));
}

#[test]
fn each_rule_alone() {
    let client = |keys: &str| format!("{ACCOUNT}[[clients]]\nname = \"oms\"\n{keys}\n");
    let cases: &[(String, &str)] = &[
        (String::new(), "accounts: at least one [[accounts]] is required"),
        ("accounts = []".into(), "accounts: at least one [[accounts]] is required"),
        (format!("{ACCOUNT}{ACCOUNT}"), "accounts.acme: is given more than once (line 8)"),
        (
            format!("[grpc]\nlisten = \"0.0.0.0:1\"\n{ACCOUNT}"),
            "grpc.listen: must be a loopback address unless [[clients]] are configured (line 2)",
        ),
        (
            client("token = \"a\"\naccounts = [\"other\"]"),
            "clients.oms.accounts: names the account \"other\", which is not configured (line 10)",
        ),
        (
            client("token = \"a\"\naccounts = [\"*\"]\nservices = [\"Fulfilment\"]"),
            "clients.oms.services: must contain only FulfillmentService, CancelIntentService, OrderUpdateService, \
             SellerOrderService, ReturnService, WebhookSubscriptionService, GatewayService (line 11)",
        ),
        (client("accounts = [\"*\"]"), "clients.oms.token: is required (or token_file, or san) (line 7)"),
        (client("san = \"a\"\naccounts = [\"*\"]"), "clients.oms.san: needs grpc.tls.client_ca_file (line 9)"),
        (
            client("token = \"a\"\nsan = \"a\"\naccounts = [\"*\"]"),
            "clients.oms.san: cannot be combined with a token (line 10)",
        ),
        (client("token = \"a\"\naccounts = []"), "clients.oms.accounts: must name an account, or be [\"*\"] (line 10)"),
        (
            client("token = \"a\"\naccounts = [\"*\"]\n[[clients]]\nname = \"b\"\ntoken = \"a\"\naccounts = [\"*\"]"),
            "clients.b.token: is also used by clients.oms",
        ),
        (
            format!("{ACCOUNT}client_secret_file = \"Cargo.toml\""),
            "accounts.acme.client_secret: must be given here or in client_secret_file, not in both (line 6)",
        ),
        (
            ACCOUNT.replace("client_secret = \"canary-account\"", "client_secret_file = \"/not/there\""),
            "accounts.acme.client_secret_file: cannot be read: No such file or directory (os error 2) (line 6)",
        ),
        (
            ACCOUNT.replace("client_secret = \"canary-account\"", "client_secret_file = \"/dev/zero\""),
            "accounts.acme.client_secret_file: its content must be at most 64 KiB (line 6)",
        ),
        (
            format!("{ACCOUNT}[accounts.webhook]\nauth = \"none\"\nsecret = \"s\""),
            "accounts.acme.webhook.secret: is not used with auth = \"none\" (line 9)",
        ),
        (
            format!("{ACCOUNT}[accounts.webhook]\nauth = \"hmac\""),
            "accounts.acme.webhook.secret: is required (or secret_file) (line 7)",
        ),
        (
            format!("{ACCOUNT}[accounts.webhook]\nauth = \"hmac\"\nsecret = []"),
            "accounts.acme.webhook.secret: must not be empty (line 9)",
        ),
        (
            format!("[walmart]\nbase_url = \"https://marketplace.walmartapis.com/v3/\"\n{ACCOUNT}"),
            "walmart.base_url: must not end in /v3, which is part of the path of every call (line 2)",
        ),
        (
            format!("{ACCOUNT}refresh_token = \"RT 1\""),
            "accounts.acme.refresh_token: must not contain a space, a control character or a byte order mark (line 7)",
        ),
        (format!("{ACCOUNT}channel_type = \"\""), "accounts.acme.channel_type: must not be empty (line 7)"),
        (format!("[store]\npassword = \"x\"\n{ACCOUNT}"), "store.password: is for postgres only (line 2)"),
        (
            format!("[store]\nurl = \"memory:\"\n{ACCOUNT}"),
            "store.url: keeps nothing across restarts; name a file instead, such as \
             \"sqlite://order-gateway.db\" (`order-gateway dev` keeps its own in a temporary folder) (line 2)",
        ),
        (
            format!("{ACCOUNT}{}", ACCOUNT.replace("acme", "beta")),
            "accounts.beta.partner_id: is also used by accounts.acme; a seller has one account (line 10)",
        ),
        (
            format!("[ledger]\nlook_first_until = 2026-11-30T18:00:00\n{ACCOUNT}"),
            "ledger.look_first_until: must be a time with its offset from UTC, such as \"2026-11-30T18:00:00Z\" (line 2)",
        ),
        (
            format!("[ledger]\nlook_first_until = \"1969-12-31T23:59:59Z\"\n{ACCOUNT}"),
            "ledger.look_first_until: must not be before 1970 (line 2)",
        ),
        (format!("[ledger]\nretention = \"89d\"\n{ACCOUNT}"), "ledger.retention: must be at least 90d (line 2)"),
        (
            format!("[feed]\nretention = \"31d\"\nmax_retention = \"30d\"\n{ACCOUNT}"),
            "feed.max_retention: must be at least feed.retention (line 3)",
        ),
        (
            format!("{ACCOUNT}[accounts.webhook]\nauth = \"hmac\"\nsecret = \"s\"\ntimestamp_tolerance = \"5m\""),
            "accounts.acme.webhook.timestamp_tolerance: is not used with auth = \"hmac\" (line 10)",
        ),
    ];
    for (text, fault) in cases {
        assert_eq!(faults(text, &[]), [*fault], "{text}");
    }
}

/// All of them at once, whatever else is wrong; a window by a variable is judged as one in the file.
#[test]
fn production_refuses_a_ledger_that_cannot_hold_its_promise() {
    let hasty = "[ledger]\nsettle_window = \"29999ms\"\nlookup_delays = [\"1s\", \"2s\"]\nnot_after = \"29s\"\n";
    let all = [
        "ledger.settle_window: must be at least 30s with walmart.profile = \"production\" (line 2)",
        "ledger.lookup_delays: must be at least 3 with walmart.profile = \"production\" (line 3)",
        "ledger.not_after: must be at least ledger.settle_window with walmart.profile = \"production\" (line 4)",
    ];
    assert_eq!(faults(&format!("{hasty}{ACCOUNT}"), &[]), all);
    let with_another = faults(&format!("{hasty}[walmart]\nattempt_timeout = \"soon\"\n{ACCOUNT}"), &[]);
    assert_eq!(with_another[1..], all);
    let window = faults(ACCOUNT, &[("ORDER_GATEWAY__LEDGER__SETTLE_WINDOW", "1ms")]);
    let variable = "(ORDER_GATEWAY__LEDGER__SETTLE_WINDOW)";
    assert_eq!(window, [all[0].replace("(line 2)", variable)]);
    let just = "[ledger]\nsettle_window = \"30s\"\nlookup_delays = [\"1s\", \"2s\", \"3s\"]\nnot_after = \"30s\"\n";
    assert_eq!(faults(&format!("{just}{ACCOUNT}"), &[]), [""; 0]);
    assert_eq!(faults(&format!("{hasty}[walmart]\nprofile = \"sandbox\"\n{ACCOUNT}"), &[]), [""; 0]);
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
fn the_environment_wins_over_the_file() {
    let config = loaded(
        EVERYTHING,
        &[
            ("ORDER_GATEWAY__GRPC__LISTEN", "127.0.0.1:9"),
            ("ORDER_GATEWAY__GRPC__REFLECTION", "true"),
            ("ORDER_GATEWAY__WALMART__LIMITS__PROMISE", "7"),
            ("ORDER_GATEWAY__LEDGER__LOOKUP_DELAYS", "3s, 4s"),
            ("ORDER_GATEWAY__TELEMETRY__TRACE_SAMPLE_RATIO", "0.5"),
            ("ORDER_GATEWAY__TELEMETRY__OTLP_ENDPOINT", ""),
            ("ORDER_GATEWAY__ACCOUNTS__BETA_2__CLIENT_ID", "other"),
            ("ORDER_GATEWAY__ACCOUNTS__ACME__WEBHOOK__SECRET", "one,two,three"),
            ("ORDER_GATEWAY__ACCOUNTS__GAMMA__CLIENT_SECRET_FILE", "src/config/testdata/secret"),
            ("ORDER_GATEWAY__CLIENTS__OMS__ACCOUNTS", "gamma"),
        ],
    );
    assert_eq!(config.grpc.listen.to_string(), "127.0.0.1:9");
    assert!(config.grpc.reflection);
    assert_eq!(config.walmart.limits.of(Operation::Promise).get(), 7);
    assert_eq!(config.ledger.lookup_delays, [Duration::from_secs(3), Duration::from_secs(4)]);
    assert_eq!(config.telemetry.trace_sample_ratio, 0.5);
    assert_eq!(config.telemetry.otlp_endpoint, None);
    assert_eq!(config.accounts[1].client_id, "other");
    let Some(WebhookAuth::Hmac { secrets, .. }) = &config.accounts[0].webhook else { panic!("{config:?}") };
    assert_eq!(Vec::from_iter(secrets.iter().map(|s| s.current().expose_secret().to_owned())), ["one,two,three"]);
    assert_eq!(config.accounts[2].client_secret.file(), Some(Path::new("src/config/testdata/secret")));
    assert!(matches!(&config.clients[0].accounts, AccountSet::Some(ids) if ids[0].as_str() == "gamma"));
}

#[test]
fn a_secret_of_a_variable_is_one_and_whole() {
    let client = format!("{ACCOUNT}[[clients]]\nname = \"oms\"\ntoken = \"old\"\naccounts = [\"*\"]\n");
    let variables = [
        ("ORDER_GATEWAY__CLIENTS__OMS__TOKEN", "Ab1,x-of-16-letters"),
        ("ORDER_GATEWAY__ACCOUNTS__ACME__CLIENT_SECRET", "csecret\n"),
    ];
    let config = loaded(&client, &variables);
    assert_eq!(config.accounts[0].client_secret.current().expose_secret(), "csecret");
    let [tokens] = config.clients[0].tokens.as_slice() else { panic!("{config:?}") };
    let accepts = |token: &str| tokens.accept(&TokenHash::of(token.as_bytes()));
    assert_eq!(["Ab1,x-of-16-letters", "Ab1", "x-of-16-letters", "old"].map(accepts), [true, false, false, false]);
}

#[test]
fn a_secret_that_cannot_be_meant_is_refused_with_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    let by_file = ACCOUNT.replace("client_secret = \"canary-account\"", &format!("client_secret_file = {file:?}"));
    let rule = "must not contain a space, a control character or a byte order mark";
    for content in ["cse cret", "\u{feff}csecret", "one\ntwo"] {
        fs::write(&file, content).unwrap();
        let fault = format!("accounts.acme.client_secret_file: its content {rule} (line 6)");
        assert_eq!(faults(&by_file, &[]), [fault], "{content:?}");
        let variable = "ORDER_GATEWAY__ACCOUNTS__ACME__CLIENT_SECRET";
        let fault = format!("accounts.acme.client_secret: {rule} ({variable})");
        assert_eq!(faults(ACCOUNT, &[(variable, content)]), [fault], "{content:?}");
    }
    let webhook = "[accounts.webhook]\nauth = \"hmac\"\nsecret = [\"good\", \"b ad\"]\n";
    assert_eq!(faults(&format!("{ACCOUNT}{webhook}"), &[]), [format!("accounts.acme.webhook.secret: {rule} (line 9)")]);
}

#[test]
fn the_environment_alone_is_enough() {
    let config = loaded(
        "",
        &[
            ("ORDER_GATEWAY__ACCOUNTS__ACME_US__CLIENT_ID", "key"),
            ("ORDER_GATEWAY__ACCOUNTS__ACME_US__CLIENT_SECRET", "s"),
            ("ORDER_GATEWAY__ACCOUNTS__ACME_US__ID", "Acme-US"),
            ("ORDER_GATEWAY__ACCOUNTS__ACME_US__PARTNER_ID", "1"),
        ],
    );
    assert_eq!(config.accounts[0].id.as_str(), "Acme-US");
}

#[test]
fn one_form_of_a_secret_takes_the_place_of_the_other() {
    let by_file = ACCOUNT.replace("client_secret = \"canary-account\"", "client_secret_file = \"/not/there\"");
    let config = loaded(&by_file, &[("ORDER_GATEWAY__ACCOUNTS__ACME__CLIENT_SECRET", "inline")]);
    assert_eq!(config.accounts[0].client_secret.current().expose_secret(), "inline");
    // Within the environment there is no order, so both are as wrong there as in a file.
    let both = [
        ("ORDER_GATEWAY__ACCOUNTS__ACME__CLIENT_SECRET", "inline"),
        ("ORDER_GATEWAY__ACCOUNTS__ACME__CLIENT_SECRET_FILE", "rustfmt.toml"),
    ];
    assert_eq!(
        faults(ACCOUNT, &both),
        ["accounts.acme.client_secret: must be given here or in client_secret_file, not in both \
             (ORDER_GATEWAY__ACCOUNTS__ACME__CLIENT_SECRET)"]
    );
}

#[test]
fn a_name_in_certificates_belongs_to_one_client() {
    let twice =
        format!("{EVERYTHING}[[clients]]\nname = \"b\"\nsan = \"spiffe://example.com/oms\"\naccounts = [\"*\"]");
    assert_eq!(faults(&twice, &[]), ["clients.b.san: is also used by clients.mesh"]);
}

#[test]
fn a_variable_cannot_be_a_whole_list() {
    let all = faults("", &[("ORDER_GATEWAY__ACCOUNTS", "acme")]);
    assert_eq!(all, ["accounts: must be a list of sections ([[accounts]]), is text (ORDER_GATEWAY__ACCOUNTS)"]);
}

#[test]
fn a_variable_for_two_entries_is_refused() {
    let text =
        format!("{}{ACCOUNT}", ACCOUNT.replace("acme", "a-b").replace("10000000000", "2")).replace("acme", "a_b");
    let fault = "accounts.a_b: matches more than one entry of the file; set the key in the file \
                 (ORDER_GATEWAY__ACCOUNTS__A_B__CLIENT_ID)";
    assert_eq!(faults(&text, &[("ORDER_GATEWAY__ACCOUNTS__A_B__CLIENT_ID", "x")]), [fault]);
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

/// Tables, keys and values that mostly exist, in combinations that mostly do not fit.
fn toml_like() -> impl Strategy<Value = String> {
    let names: Vec<&'static str> = keys::GROUPS.iter().flat_map(|g| g.keys.iter().map(|k| k.name)).collect();
    let heads: Vec<&'static str> = keys::GROUPS.iter().map(|group| group.path).collect();
    let value = prop_oneof![
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_map(|n| format!("{n:?}").to_lowercase()),
        any::<String>().prop_map(|s| toml::Value::String(s).to_string()),
        Just("[[], {}, 1, \"a\"]".to_owned()),
        Just("{ a = { b = [1979-05-27] } }".to_owned()),
        Just("99999999999999999999".to_owned()),
        "[a-z*:/.@0-9]{0,12}".prop_map(|s| format!("{s:?}")),
    ];
    let line = prop_oneof![
        (prop::sample::select(names), value).prop_map(|(name, value)| format!("{name} = {value}")),
        prop::sample::select(heads.clone()).prop_map(|head| format!("[{head}]")),
        prop::sample::select(heads).prop_map(|head| format!("[[{head}]]")),
    ];
    prop::collection::vec(line, 0..20).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #[test]
    fn no_text_panics(text in any::<String>()) {
        let _ = load(&text);
    }

    #[test]
    fn no_settings_panic_and_each_fault_is_one_line(text in toml_like(), name in "[A-Z_]{0,24}", value in any::<String>()) {
        let all = faults(&text, &[(&format!("ORDER_GATEWAY__{name}"), &value)]);
        for fault in all {
            prop_assert!(!fault.contains(['\n', '\r']), "{fault:?}");
        }
    }
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
