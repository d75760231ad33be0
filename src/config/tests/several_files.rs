//! Several files of settings, each laid over those before it.

use secrecy::ExposeSecret;

use super::*;
use crate::domain::operation::Operation;

#[test]
fn later_files_win_and_add_accounts_and_clients() {
    let first = "[grpc]\nlisten = \"127.0.0.1:1\"\nreflection = false\n[walmart.limits]\npromise = 5\ncreate = 7\n[store]\n\
                 url = \"postgres://me@db/orders\"\npassword_file = \"/not/there\"\n";
    let second = "[grpc]\nlisten = \"127.0.0.1:2\"\n[walmart.limits]\ncreate = 9\n[store]\npassword = \"canary\"\n";
    let another = ACCOUNT.replace("acme", "other").replace("10000000000", "2");
    let files = [("a.toml", first), ("b.toml", second), ("c.toml", ACCOUNT), ("d.toml", &another)];
    let config =
        Config::load_files(&files, [("ORDER_GATEWAY__WALMART__LIMITS__STATUS".to_owned(), "3".to_owned())]).unwrap();
    assert_eq!(config.grpc.listen.to_string(), "127.0.0.1:2");
    assert!(!config.grpc.reflection);
    let limits =
        [Operation::Promise, Operation::Create, Operation::Status].map(|of| config.walmart.limits.of(of).get());
    assert_eq!(limits, [5, 9, 3]);
    assert_eq!(config.store.password().unwrap().current().expose_secret(), "canary");
    let ids: Vec<_> = config.accounts.iter().map(|account| account.id.as_str()).collect();
    assert_eq!(ids, ["acme", "other"]);
}

#[test]
fn faults_of_several_files_name_the_file() {
    let of = |files: &[(&str, &str)]| {
        let faults = Config::load_files(files, []).map(|_| ()).unwrap_err();
        faults.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let twice = of(&[("a.toml", "[grpc]\nport = 1\n"), ("b.toml", ACCOUNT), ("c.toml", ACCOUNT)]);
    assert!(twice[0].ends_with("(a.toml, line 2)"), "{twice:?}");
    assert_eq!(twice[1..], ["accounts.acme: is given more than once (c.toml, line 2)"]);
    // Both forms in one file are a fault, whatever the file before has.
    let both = "[store]\nurl = \"postgres://me@db/orders\"\npassword = \"a\"\npassword_file = \"/b\"\n";
    let both = of(&[("a.toml", "[store]\npassword = \"x\"\n"), ("b.toml", both), ("c.toml", ACCOUNT)]);
    assert_eq!(both, ["store.password: must be given here or in password_file, not in both (b.toml, line 3)"]);
    let not_toml = of(&[("a.toml", "a = \n"), ("b.toml", ACCOUNT), ("c.toml", "\n=\n")]);
    assert_eq!(not_toml.len(), 2, "{not_toml:?}");
    assert!(not_toml[0].starts_with("a.toml, line 1, column "), "{not_toml:?}");
    assert!(not_toml[1].starts_with("c.toml, line 2, column "), "{not_toml:?}");
}
