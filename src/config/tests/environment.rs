//! Settings of environment variables, which win over the files.

use std::path::Path;
use std::time::Duration;

use secrecy::ExposeSecret as _;

use super::*;
use crate::domain::operation::Operation;

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
