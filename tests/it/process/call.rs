//! `order-gateway call`: every kind of call against a real gateway, and how each way to fail is told.

use std::io::Write as _;
use std::process::{Output, Stdio};

use serde_json::Value;

use super::serve::Pair;
use crate::support::process::gateway;
use crate::support::tools::free_port;

const TOKEN: &str = "token-of-oms-0123456789abcdef";

fn call(address: &str, args: &[&str]) -> Output {
    gateway(["call", "--addr", address]).args(args).output().unwrap()
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", told(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn told(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_call_prints_its_answer_as_json() {
    let pair = Pair::start("", "", &[]);
    let address = pair.grpc.to_string();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("create.json");
    std::fs::write(&file, include_str!("../../../examples/create.json")).unwrap();
    let data = format!("@{}", file.display());
    let create = ["FulfillmentService/CreateOrder", "-d", &data];
    assert_eq!(json(&call(&address, &create))["status"], "ACCEPTED");
    assert_eq!(json(&call(&address, &create))["replayed"], true);

    let mut child =
        gateway(["call", "ordergateway.v1.FulfillmentService/GetOrderStatus", "-d", "@-", "--addr", &address])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
    child.stdin.take().unwrap().write_all(br#"{"orderNumber":"SO123"}"#).unwrap();
    assert_eq!(json(&child.wait_with_output().unwrap())["status"], "OK");
    assert_eq!(json(&call(&address, &["grpc.health.v1.Health/Check"]))["status"], "SERVING");
}

#[test]
fn a_gateway_behind_a_unix_socket_is_called_and_asked_for_its_health() {
    let folder = tempfile::tempdir().unwrap();
    let address = format!("unix:{}", folder.path().join("gateway.sock").display());
    let health = |address: &str| gateway(["health", "--addr", address]).output().unwrap();
    let nobody = format!("{address}: cannot connect: No such file or directory (os error 2)");
    for refused in [health(&address), call(&address, &["GatewayService/GetStatus"])] {
        assert_eq!(refused.status.code(), Some(1));
        assert!(told(&refused).contains(&nobody), "{}", told(&refused));
    }
    let _pair = Pair::start("", "", &[("ORDER_GATEWAY__GRPC__LISTEN", &address)]);
    assert_eq!(String::from_utf8(health(&address).stdout).unwrap(), "SERVING\n");
    let status = json(&call(&address, &["GatewayService/GetStatus"]));
    assert_eq!(status["accounts"][0]["account"], "acme", "{status}");
    let nameless = call(&address, &["GatewayService/GetStatus", "--tls-ca", "ca.crt"]);
    assert_eq!(nameless.status.code(), Some(2));
    assert!(told(&nameless).contains("--tls-server-name"), "{}", told(&nameless));
}

#[test]
fn a_failed_call_shows_its_details() {
    let pair = Pair::start("", "", &[]);
    let address = pair.grpc.to_string();
    let output = call(&address, &["FulfillmentService/CreateOrder", "-d", "{}"]);
    assert_eq!(output.status.code(), Some(1));
    let told = told(&output);
    assert!(told.starts_with("ERROR:\n  Code: InvalidArgument\n  Message: "), "{told}");
    for part in [
        "\"@type\": \"type.googleapis.com/google.rpc.BadRequest\"",
        "\"reason\": \"INVALID_REQUEST\"",
        "\"fieldViolations\"",
    ] {
        assert!(told.contains(part), "{part} is not in {told}");
    }
}

#[test]
fn a_stream_prints_a_frame_each_until_its_time_is_over() {
    let pair = Pair::start("", "", &[]);
    let watch = ["CancelIntentService/WatchCancelIntents", "-d", r#"{"start":{"latest":true}}"#, "--max-time", "1s"];
    let output = call(&pair.grpc.to_string(), &watch);
    let opened: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(opened["opened"].is_object(), "{opened}");
    assert_eq!(output.status.code(), Some(1));
    assert!(told(&output).starts_with("ERROR:\n  Code: DeadlineExceeded\n"), "{}", told(&output));
}

#[test]
fn a_token_comes_from_a_file_or_the_command_line() {
    let clients = format!("clients = [{{ name = \"oms\", token = {TOKEN:?}, accounts = [\"*\"] }}]");
    let pair = Pair::start(&clients, "", &[]);
    let address = pair.grpc.to_string();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let status = "GatewayService/GetStatus";
    assert!(call(&address, &[status, "--token-file", file.to_str().unwrap()]).status.success());
    assert!(call(&address, &[status, "--token", TOKEN]).status.success());
    for args in [&[status][..], &[status, "--token", "wrong"]] {
        let output = call(&address, args);
        assert_eq!(output.status.code(), Some(1));
        assert!(told(&output).starts_with("ERROR:\n  Code: Unauthenticated\n"), "{}", told(&output));
    }
}

#[test]
fn what_cannot_be_called_is_told_in_a_line() {
    let pair = Pair::start("", "", &[]);
    let address = pair.grpc.to_string();
    let create = "FulfillmentService/CreateOrder";
    for (args, code, expected) in [
        (&["FulfillmentService/Create"][..], 2, "ordergateway.v1.FulfillmentService has no method Create; it has "),
        (&[create, "-d", "{"], 2, "--data: EOF while parsing"),
        (&[create, "-d", r#"{"colour":1}"#], 2, "--data: unrecognized field name 'colour'"),
        (&[create, "-d", "{} {}"], 2, "--data: trailing characters"),
        (&[create, "-d", "@/no/such/file"], 2, "--data: /no/such/file: No such file"),
        (&["grpc.reflection.v1.ServerReflection/ServerReflectionInfo"], 2, "takes a stream of requests"),
        (&["NoService/Call"], 1, "Code: NotFound"),
    ] {
        let output = call(&address, args);
        let told = told(&output);
        assert!(output.status.code() == Some(code) && told.contains(expected), "{args:?}: {told}");
    }
    let nobody = format!("127.0.0.1:{}", free_port());
    let output = call(&nobody, &[create]);
    assert_eq!(told(&output), format!("{nobody}: cannot connect: Connection refused (os error 111)\n"));
    assert_eq!(call(&address, &["CreateOrder"]).status.code(), Some(2));
}

#[test]
fn every_shell_gets_its_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = gateway(["completions", shell]).output().unwrap();
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && script.contains("order-gateway") && script.contains("max-time"), "{shell}");
    }
}
