//! The small commands: health, config, emulate, and how wrong usage is answered.

use super::serve::Pair;
use crate::support::process::{Process, gateway};
use crate::support::tools::free_port;

#[test]
fn health_tells_by_its_exit_code() {
    let pair = Pair::start("", "", &[]);
    let health = |address: &str, service: &str| {
        let output = gateway(["health", "--addr", address, "--service", service]).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap().lines().count())
    };
    let address = pair.grpc.to_string();
    assert_eq!(health(&address, ""), (0, 0));
    assert_eq!(health(&address, "ordergateway.v1.FulfillmentService"), (0, 0));
    assert_eq!(health(&address, "nobody"), (1, 1));
    assert_eq!(health(&format!("127.0.0.1:{}", free_port()), ""), (1, 1));
    assert_eq!(gateway(["health", "--addr", "nowhere"]).output().unwrap().status.code(), Some(2));
}

#[test]
fn settings_are_checked_and_shown_without_their_secrets() {
    let pair = Pair::start("", "", &[]);
    let check = gateway(["config", "check", "--config"]).arg(pair.settings()).output().unwrap();
    assert!(check.status.success());
    assert!(String::from_utf8(check.stdout).unwrap().starts_with("The settings are good."));
    let dump = gateway(["config", "dump", "--config"]).arg(pair.settings()).output().unwrap();
    let text = String::from_utf8(dump.stdout).unwrap();
    assert!(text.contains(&pair.grpc.to_string()) && !text.contains("canary"), "{text}");
}

#[test]
fn a_secret_that_cannot_be_meant_is_refused_with_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let (secret, settings) = (folder.path().join("secret"), folder.path().join("settings.toml"));
    std::fs::write(&secret, "cse cret").unwrap();
    let account = "[[accounts]]\nid = \"acme\"\npartner_id = \"1\"\nclient_id = \"a\"\n";
    std::fs::write(&settings, format!("{account}client_secret_file = {secret:?}\n")).unwrap();
    for command in [&["serve", "--config"][..], &["config", "check", "--config"]] {
        let output = gateway([]).args(command).arg(&settings).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains("accounts.acme.client_secret_file: ") && !told.contains("cse"), "{told}");
    }
}

#[test]
fn the_emulator_stops_when_asked_and_refuses_bad_faults() {
    let mut emulator = Process::start(gateway(["emulate", "--listen", "127.0.0.1:0"]));
    emulator.wait_for_line("control API");
    emulator.terminate();
    let (status, lines) = emulator.wait_for_end();
    assert_eq!((status.code(), lines.len()), (Some(0), 1), "{lines:#?}");
    let output = gateway(["emulate", "--faults", "/no/such/faults.toml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(String::from_utf8(output.stderr).unwrap().lines().count(), 1);
}

#[test]
fn wrong_usage_is_exit_code_2_and_help_is_0() {
    for args in [&["bogus"][..], &["serve"], &["dev", "--exit"], &["health"], &["emulate", "--limit-scale", "0"]] {
        let output = gateway([]).args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
    }
    for args in [&["--help"][..], &["help", "serve"], &["dev", "--help"], &["emulate", "--help"]] {
        let output = gateway([]).args(args).output().unwrap();
        assert_eq!((output.status.code(), output.stdout.is_empty()), (Some(0), false), "{args:?}");
    }
}

#[test]
fn colors_are_for_terminals_and_the_version_names_the_commit() {
    let output = gateway(["--version"]).output().unwrap();
    let version = String::from_utf8(output.stdout).unwrap();
    // The build script was told the commit, or asked git; a build for development says that it is one.
    let (name, commit) = version.trim().split_once(" (").unwrap();
    assert_eq!(name, format!("order-gateway {}", env!("CARGO_PKG_VERSION")));
    let commit = commit.strip_suffix(')').unwrap();
    assert!(commit.starts_with("commit ") || commit == "a build for development", "{version}");
}

/// A terminal of its own shows what is colored, and that NO_COLOR is obeyed.
#[test]
fn no_color_is_obeyed_on_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("settings.toml");
    let account = "[[accounts]]\nid = \"acme\"\npartner_id = \"1\"\nclient_id = \"a\"\nclient_secret = \"s\"\n";
    let grpc =
        format!("[grpc]\nlisten = \"localhost:{}\"\n[http]\nlisten = \"localhost:{}\"\n", free_port(), free_port());
    let store = format!("[store]\nurl = \"sqlite://{}\"\n", folder.path().join("store.db").display());
    std::fs::write(&settings, [&grpc, &store, account].concat()).unwrap();
    let program = gateway([]).get_program().to_string_lossy().into_owned();
    let shown = |no_color: Option<&str>| {
        let line = format!("timeout -s TERM 3 {program} serve --config {}", settings.display());
        // `script` gives the program a terminal.
        let mut command = std::process::Command::new("script");
        command.args(["-qec", &line, "/dev/null"]).env_remove("NO_COLOR").stdin(std::process::Stdio::null());
        if let Some(value) = no_color {
            command.env("NO_COLOR", value);
        }
        let output = String::from_utf8_lossy(&command.output().unwrap().stdout).into_owned();
        assert!(output.contains("serving"), "{output}");
        output.contains('\u{1b}')
    };
    assert_eq!((shown(None), shown(Some("")), shown(Some("1"))), (true, true, false));
}
