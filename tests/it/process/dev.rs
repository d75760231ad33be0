//! `order-gateway dev` and the real grpcurl.

use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::bodies;
use crate::support::dev::{Dev, shell, stdout};
use crate::support::process::gateway;

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn grpcurl_lists_describes_and_calls() {
    let dev = Dev::start();
    let list = stdout(dev.grpcurl(&[], &["list"], ""));
    for service in ["grpc.health.v1.Health", "ordergateway.v1.FulfillmentService", "ordergateway.v1.GatewayService"] {
        assert!(list.lines().any(|line| line == service), "{list}");
    }
    let service = stdout(dev.grpcurl(&[], &["describe", "ordergateway.v1.FulfillmentService"], ""));
    assert!(service.contains("rpc CreateOrder"), "{service}");
    let message = stdout(dev.grpcurl(&[], &["describe", "ordergateway.v1.CreateOrderRequest"], ""));
    assert!(message.contains("request_id"), "{message}");

    let promise = json_of(&stdout(dev.call("FetchDeliveryPromise", &bodies::promise().to_string())));
    assert_eq!((&promise["status"], &promise["cache"]), (&json!("SUCCESS"), &json!("PROMISE_CACHE_MISS")));
    let created = json_of(&stdout(dev.call("CreateOrder", &bodies::create().to_string())));
    assert_eq!((&created["status"], &created["requestId"]), (&json!("ACCEPTED"), &json!("SO123")));
    let cancelled = json_of(&stdout(dev.call("CancelOrder", &bodies::cancel().to_string())));
    assert_eq!(cancelled["batches"][0]["status"], "BATCH_STATUS_ACCEPTED");
    let production = json_of(&stdout(dev.call("CancelOrder", &bodies::cancel_in_production().to_string())));
    assert_eq!(production["status"], "ACCEPTED");
}

#[test]
fn grpcurl_shows_errors_with_their_details() {
    let dev = Dev::start();
    let failure = |method: &str, body: Value| {
        let output = dev.call(method, &body.to_string());
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let mut bad = bodies::create();
    bad["payload"]["orderItems"][0]["qty"]["measurementValue"] = json!(0);
    bad["payload"]["orderItems"][0].as_object_mut().unwrap().remove("shippingTo");
    bad["payload"].as_object_mut().unwrap().remove("customer");
    let (code, text) = failure("CreateOrder", bad);
    assert_eq!(code, 64 + 3, "{text}");
    for told in [
        "INVALID_REQUEST",
        "payload.customer",
        "payload.order_items[0].qty.measurement_value",
        "payload.order_items[0].shipping_to",
    ] {
        assert!(text.contains(told), "{told} in {text}");
    }
    let (code, text) = failure("GetOrderStatus", json!({"orderNumber": "NOBODY"}));
    assert_eq!(code, 64 + 5, "{text}");
    assert!(text.contains("UPSTREAM_NOT_FOUND"), "{text}");
    let (code, text) = failure("CreateOrder", bodies::create_as("MAGIC-DROP-BEFORE-1"));
    assert_eq!(code, 64 + 14, "{text}");
    assert!(
        text.contains("OUTCOME_PENDING") && text.contains("EFFECT_UNKNOWN") && text.contains("RetryInfo"),
        "{text}"
    );
}

#[test]
fn grpcurl_lists_and_resolves_what_is_open() {
    let dev = Dev::start();
    let ask = |method: &str, body: Value| {
        let method = format!("ordergateway.v1.GatewayService/{method}");
        dev.grpcurl(&["-d", "@"], &[&method], &body.to_string())
    };
    stdout(dev.call("CreateOrder", &bodies::create().to_string()));
    let lost = bodies::create_as("MAGIC-DROP-BEFORE-1").to_string();
    let method = "ordergateway.v1.FulfillmentService/CreateOrder";
    let hurried = dev.grpcurl(&["-max-time", "2", "-d", "@"], &[method], &lost);
    let text = String::from_utf8(hurried.stderr).unwrap();
    assert!(text.contains("OUTCOME_PENDING"), "{text}");

    let open = json_of(&stdout(ask("ListOperations", json!({"states": ["OPERATION_STATE_UNKNOWN"]}))));
    let [operation] = open["operations"].as_array().unwrap().as_slice() else { panic!("{open}") };
    assert_eq!((&operation["name"], &operation["state"]), (&json!("operations/2"), &json!("OPERATION_STATE_UNKNOWN")));
    assert_eq!(operation["orderNumber"], "MAGIC-DROP-BEFORE-1");
    let shown = json_of(&stdout(ask("GetOperation", json!({"name": "operations/2"}))));
    assert_eq!(shown["operation"]["correlationId"], operation["correlationId"]);
    let decided = json!({"name": "operations/2", "outcome": "RESOLVE_OUTCOME_RESEND", "reason": "it was never there"});
    let resolved = json_of(&stdout(ask("ResolveOperation", decided)));
    assert_eq!(resolved["operation"]["resolution"], "it was never there");
    let created = json_of(&stdout(dev.call("CreateOrder", &lost)));
    assert_eq!((&created["status"], &created["replayed"]), (&json!("ACCEPTED"), &json!(true)));
}

#[test]
fn the_lines_of_the_banner_work_when_pasted() {
    let dev = Dev::start();
    // The watch waits for five, as a newcomer would; this test does not wait for the emulator's customers.
    let url = format!("http://{}", dev.http);
    assert!(gateway(["trigger", "cancel-intent", "--count", "5", "--url", &url]).status().unwrap().success());
    for line in &dev.lines {
        let answer = stdout(shell(line));
        assert!(
            answer.contains("ordergateway.v1") || answer.contains("\"status\"") || answer.contains("\"seq\""),
            "{line}\n{answer}"
        );
    }
    assert_eq!(dev.lines.len(), 5);
}

#[test]
fn the_tour_plays_and_ends() {
    let ports = ["--grpc-listen=127.0.0.1:0", "--http-listen=127.0.0.1:0", "--emulator-listen=127.0.0.1:0"];
    let output = gateway(["dev", "--tour", "--exit"]).args(ports).output().unwrap();
    let told = stdout(output);
    let calls = told.lines().filter(|line| line.starts_with("$ grpcurl"));
    let calls = calls.filter_map(|line| line.split_once("ordergateway.v1."));
    let calls: Vec<_> = calls.filter_map(|(_, call)| call.split(' ').next()).collect();
    let story = [
        "FulfillmentService/FetchDeliveryPromise",
        "FulfillmentService/FetchDeliveryPromise",
        "FulfillmentService/CreateOrder",
        "FulfillmentService/CreateOrder",
        "FulfillmentService/GetOrderStatus",
        "FulfillmentService/CancelOrder",
        "CancelIntentService/WatchCancelIntents",
        "SellerOrderService/CancelOrderLines",
        "SellerOrderService/CancelOrderLines",
        "ReturnService/ListReturns",
        "ReturnService/RefundReturn",
        "ReturnService/RefundReturn",
    ];
    assert_eq!(calls, story, "{told}");
    let (_, simulated) = told.split_once("/v1/simulations/returns\n").unwrap();
    assert!(
        simulated.starts_with(r#"{"customerOrderId":"5700000000003","returnOrderId":"100000000000000002"}"#),
        "{told}"
    );
    assert!(told.contains("PROMISE_CACHE_HIT") && told.contains("BATCH_STATUS_ACCEPTED"), "{told}");
    assert_eq!(told.matches("\"replayed\": true").count(), 3, "{told}");
    let (_, arrived) = told.split_once("ordergateway.v1.CancelIntentService/WatchCancelIntents").unwrap();
    assert!(arrived.contains("200 stored") && arrived.contains("\"orderingKey\": \"1700000000001\""), "{told}");
}

#[test]
fn a_taken_port_is_one_line_and_exit_code_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flag in ["--grpc-listen", "--http-listen", "--emulator-listen"] {
        let mut command = gateway(["dev"]);
        for other in ["--grpc-listen", "--http-listen", "--emulator-listen"] {
            command.arg(other).arg(if other == flag { &address } else { "127.0.0.1:0" });
        }
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{flag}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(text.lines().count(), 1, "{flag}: {text}");
        assert!(text.contains(&address) && text.contains("in use"), "{flag}: {text}");
    }
}

#[test]
fn the_temporary_folder_is_removed_and_a_named_one_kept() {
    let here = tempfile::tempdir().unwrap();
    let ports = ["--grpc-listen=127.0.0.1:0", "--http-listen=127.0.0.1:0", "--emulator-listen=127.0.0.1:0"];
    let run = |more: &[&str]| {
        let mut command = gateway(["dev"]);
        command.args(ports).args(more).env("TMPDIR", here.path());
        let dev = Dev::started(command);
        let during = std::fs::read_dir(here.path()).unwrap().count();
        dev.process.terminate();
        let (status, lines) = dev.process.wait_for_end();
        assert!(status.success() && status.signal().is_none(), "{lines:#?}");
        during
    };
    assert_eq!(run(&[]), 1);
    assert_eq!(std::fs::read_dir(here.path()).unwrap().count(), 0);
    let kept = here.path().join("kept");
    run(&["--data-dir", kept.to_str().unwrap()]);
    assert!(Path::new(&kept).join("settings.toml").is_file());
}

#[test]
fn starts_soon_and_stays_small() {
    let began = tokio::time::Instant::now();
    let dev = Dev::start();
    let started = began.elapsed();
    let status = std::fs::read_to_string(format!("/proc/{}/status", dev.process.id())).unwrap_or_default();
    let resident: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.trim().parse().ok())
        .unwrap_or_default();
    println!("serving after {started:?}, {:.1} MiB resident", resident as f64 / 1024.0);
    // Ten times the goal: this is an unoptimized build on a machine that does other things.
    assert!(started.as_millis() < 1000 * 5 && resident < 200 * 1024, "{started:?}, {resident} kB");
}
