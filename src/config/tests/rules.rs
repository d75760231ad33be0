//! The faults of settings, each worded for operators.

use std::fs;

use super::*;

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
    let postgres = |keys: &str| format!("[store]\nurl = \"postgres://gateway@db:5432/orders\"\n{keys}\n{ACCOUNT}");
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
        (format!("[store]\npassword = \"x\"\n{ACCOUNT}"), "store.password: is for Postgres only (line 2)"),
        (postgres("tls = \"on\""), "store.tls: must be one of \"verify\", \"off\" (line 3)"),
        (
            postgres("ca_file = \"/not/there\""),
            "store.ca_file: cannot be read: No such file or directory (os error 2) (line 3)",
        ),
        (postgres("ca_file = \"Cargo.toml\"\ntls = \"off\""), "store.ca_file: is not used with tls = \"off\" (line 3)"),
        (
            postgres("ca_file = \"Cargo.toml\"").replace("@db", "@[::1]"),
            "store.ca_file: needs tls = \"verify\" at a loopback address (line 3)",
        ),
        (postgres("connections = 7"), "store.connections: must be from 8 to 100 (line 3)"),
        (postgres("connections = 101"), "store.connections: must be from 8 to 100 (line 3)"),
        (postgres("lease = \"4999ms\""), "store.lease: must be from 5s to 1m (line 3)"),
        (postgres("lease = \"61s\""), "store.lease: must be from 5s to 1m (line 3)"),
        (postgres("pooler = \"yes\""), "store.pooler: must be true or false (line 3)"),
        (
            postgres("schema = \"1; DROP\""),
            "store.schema: must be 1 to 40 lower-case letters, digits and underscores, not beginning with a digit (line 3)",
        ),
        (
            postgres("schema = \"public\""),
            "store.schema: must not be \"public\", and must not begin with pg_: the schema is for the gateway alone (line 3)",
        ),
        (postgres("").replace("@db", "@a,b"), "store.url: must name one host: a failover moves its address (line 2)"),
        (
            postgres("").replace("/orders", "/orders?sslmode=disable"),
            "store.url: must not contain a query or a fragment; store.tls and store.schema are keys of their own (line 2)",
        ),
        (
            postgres("").replace("gateway@", ""),
            "store.url: must be sqlite://PATH or postgres://user@host:5432/db (line 2)",
        ),
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
            format!("[feed.backfill]\nwindow = \"181d\"\n{ACCOUNT}"),
            "feed.backfill.window: must be at most 180d (line 2)",
        ),
        (
            format!("[feed.backfill]\nship_node_types = []\n{ACCOUNT}"),
            "feed.backfill.ship_node_types: must be names of letters and digits: SellerFulfilled, WFSFulfilled, \
             3PLFulfilled (line 2)",
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

/// A key for Postgres that would do nothing is a mistake: whoever set it believes in another store.
#[test]
fn sqlite_refuses_every_key_for_postgres() {
    let keys = "tls = \"off\"\nca_file = \"x\"\nconnections = 8\nlease = \"15s\"\npooler = false\nmigrate = true\nschema = \"a\"\n";
    let all = faults(&format!("[store]\npassword_file = \"x\"\n{keys}{ACCOUNT}"), &[]);
    let mut named: Vec<_> = all.iter().filter_map(|line| line.split_once(": is for Postgres only (line ")).collect();
    named.sort_unstable();
    let names = ["ca_file", "connections", "lease", "migrate", "password_file", "pooler", "schema", "tls"];
    let expected: Vec<_> = names.iter().map(|name| format!("store.{name}")).collect();
    assert_eq!(named.iter().map(|(key, _)| *key).collect::<Vec<_>>(), expected);
    assert_eq!(all.len(), expected.len(), "{all:?}");
    // A store that is not known refuses none, and checks them.
    let unknown = faults(&format!("[store]\nurl = \"mysql://db\"\nlease = \"1s\"\npooler = true\n{ACCOUNT}"), &[]);
    let form = "store.url: must be sqlite://PATH or postgres://user@host:5432/db (line 2)";
    assert_eq!(unknown, [form, "store.lease: must be from 5s to 1m (line 3)"]);
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
fn a_name_in_certificates_belongs_to_one_client() {
    let twice =
        format!("{EVERYTHING}[[clients]]\nname = \"b\"\nsan = \"spiffe://example.com/oms\"\naccounts = [\"*\"]");
    assert_eq!(faults(&twice, &[]), ["clients.b.san: is also used by clients.mesh"]);
}
