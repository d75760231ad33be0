//! `order-gateway trigger` against `dev`, and the emulator's own intents.

use std::process::Output;

use serde_json::{Value, json};

use crate::support::app::get;
use crate::support::dev::{Dev, stdout};
use crate::support::process::gateway;

fn trigger(dev: &Dev, args: &[&str]) -> Output {
    let url = format!("http://{}", dev.http);
    gateway(["trigger", "cancel-intent", "--url", &url]).args(args).output().unwrap()
}

fn counted(dev: &Dev, outcome: &str) -> f64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (_, text) = runtime.block_on(get(dev.http, "/metrics"));
    let series = format!("order_gateway_webhooks_total{{account=\"demo\",outcome=\"{outcome}\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&series)?.parse().ok()).unwrap()
}

#[test]
fn events_are_stored_and_each_answer_told() {
    let dev = Dev::start();
    let told = stdout(trigger(&dev, &["--duplicate"]));
    assert!(told.contains("  200 stored\n") && told.contains("  200 duplicate\n"), "{told}");
    let told = stdout(trigger(&dev, &["--event", "order-updates", "--count", "200", "--rate", "1000"]));
    assert!(told.starts_with("200 answers in ") && told.contains("      200  200 stored\n"), "{told}");
    let told = stdout(trigger(&dev, &["--bad-signature"]));
    assert!(told.contains("  401 the proof is wrong\n"), "{told}");
    assert!(counted(&dev, "stored") >= 201.0);
    assert_eq!((counted(&dev, "duplicate"), counted(&dev, "unauthenticated")), (1.0, 1.0));
}

#[test]
fn an_answer_that_is_not_as_it_should_be_is_exit_code_1() {
    let dev = Dev::start();
    let failed = trigger(&dev, &["--secret", "another"]);
    assert_eq!(failed.status.code(), Some(1));
    let text = String::from_utf8(failed.stderr).unwrap();
    assert!(text.contains("1 of 1 answers were not as they should be") && text.lines().count() == 1, "{text}");
    assert_eq!(gateway(["trigger", "cancel-intent", "--count", "0"]).output().unwrap().status.code(), Some(2));
}

#[test]
fn the_emulators_intents_arrive() {
    let mut command = gateway(["dev", "--intent-every", "20ms"]);
    command.args(["--grpc-listen=127.0.0.1:0", "--http-listen=127.0.0.1:0", "--emulator-listen=127.0.0.1:0"]);
    let dev = Dev::started(command);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let posted = runtime.block_on(async {
        loop {
            let (_, text) = get(dev.emulator, "/_emulator/v1/intents").await;
            let posted: Value = serde_json::from_str(&text).unwrap();
            if posted["intents"].as_array().unwrap().len() >= 3 {
                return posted;
            }
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(posted["webhook"], json!(format!("http://{}/webhooks/walmart/demo", dev.http)));
    for intent in posted["intents"].as_array().unwrap() {
        assert_eq!((&intent["delivered"], &intent["order_number"]), (&json!(true), &json!("sellername001ABC123")));
        assert_eq!(intent["tries"], json!([{"status": 200, "body": "{\"stored\":true,\"duplicate\":false}"}]));
    }
    assert!(counted(&dev, "stored") >= 3.0);
}
