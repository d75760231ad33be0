//! The newcomer's lines of README.md, run exactly as they stand there against `dev`, but on free ports.
//!
//! In its fenced `sh` blocks the lines that begin with `grpcurl`, `curl` or the `trigger` command are taken, with what follows a backslash. The
//! comment behind a line says what it does: words in capitals must be in the output, and what stands there as `"key": value`;
//! with a word that is a code or reason of a refusal, or with the word `fails`, the line must fail. A block with `kill -9` is
//! a story of its own and is run as a whole.

use std::path::Path;

use crate::support::dev::{Dev, shell};
use crate::support::process::gateway;

/// A command of a document, and what its comment promises.
#[derive(Debug, PartialEq)]
struct Line {
    command: String,
    told: Vec<String>,
    fails: bool,
}

/// How values begin that stand in good answers.
const GOOD: [&str; 15] = [
    "FEED_ORDER_UPDATES",
    "PROMISE_CACHE_",
    "ACCEPTED",
    "CREATED",
    "READ",
    "BATCH_STATUS_",
    "PARTIAL_SUCCESS",
    "CIRCUIT_STATE_",
    "TOKEN_STATE_",
    "OPERATION_STATE_",
    "DELIVERY_CAUSE_",
    "SETTLE_OUTCOME_",
    "SUBSCRIPTION_STATE_",
    "SUBSCRIPTION_MODE_",
    "FEED_STATE_",
];

/// The fenced shell blocks of a document.
fn blocks(document: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut inside = None;
    for line in document.lines() {
        if line.trim_start().starts_with("```") {
            let opens = inside.is_none();
            found.extend(inside.take().filter(|(shell, _)| *shell).map(|(_, block)| block));
            inside = opens.then(|| (["```sh", "```shell", "```bash"].contains(&line.trim()), String::new()));
        } else if let Some((_, block)) = &mut inside {
            block.push_str(line);
            block.push('\n');
        }
    }
    found
}

fn is_story(block: &str) -> bool {
    block.contains("kill -9")
}

/// The commands in the shell blocks of a document.
fn lines(document: &str) -> Vec<Line> {
    let mut found = Vec::new();
    let blocks: String = blocks(document).into_iter().filter(|block| !is_story(block)).collect();
    let mut text = blocks.lines();
    while let Some(line) = text.next() {
        if !["grpcurl ", "curl ", "target/release/order-gateway trigger "].iter().any(|name| line.starts_with(name)) {
            continue;
        }
        let mut whole = line.to_owned();
        // A backslash at its end, or a quote that is still open, goes on in the next line.
        loop {
            let quoted = whole.matches('\'').count() % 2 == 1;
            if !quoted && !whole.ends_with('\\') {
                break;
            }
            if !quoted {
                whole.pop();
            }
            let Some(next) = text.next() else { break };
            whole.push_str(next.trim_start());
        }
        let (command, comment) = whole.split_once("  # ").or_else(|| whole.split_once(" # ")).unwrap_or((&whole, ""));
        found.push(promised(command.trim(), comment));
    }
    found
}

fn promised(command: &str, comment: &str) -> Line {
    let code = |word: &&str| word.len() > 3 && word.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    let mut told: Vec<String> =
        comment.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).filter(code).map(str::to_owned).collect();
    // The rest are codes and reasons of refusals.
    let good = |word: &String| GOOD.iter().any(|start| word.starts_with(start));
    let fails = comment.contains("fails") || !told.iter().all(good);
    told.extend(comment.trim().starts_with('"').then(|| comment.trim().to_owned()));
    Line { command: command.to_owned(), told, fails }
}

/// The same text with the ports of this `dev`.
fn on_ports_of(dev: &Dev, text: &str) -> String {
    let ports = [(50051, dev.grpc), (8080, dev.http), (8090, dev.emulator)];
    ports.into_iter().fold(text.to_owned(), |text, (port, address)| {
        let address = address.to_string();
        text.replace(&format!("127.0.0.1:{port}"), &address).replace(&format!("localhost:{port}"), &address)
    })
}

/// Runs every line in its order. Gives how many there were.
fn run(document: &str) -> usize {
    let dev = Dev::start();
    let lines = lines(document);
    for line in &lines {
        let command = on_ports_of(&dev, &line.command)
            .replace("target/release/order-gateway", env!("CARGO_BIN_EXE_order-gateway"));
        let output = shell(&command);
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.success(), !line.fails, "{line:?}\n{text}");
        assert!(!text.trim().is_empty(), "{line:?} printed nothing");
        // grpcurl writes gRPC's codes as ResourceExhausted.
        let plain = |text: &str| text.to_ascii_uppercase().replace('_', "");
        for told in &line.told {
            assert!(plain(&text).contains(&plain(told)), "{told} is promised by {line:?}\n{text}");
        }
    }
    lines.len()
}

const SAMPLE: &str = r#"
Not this: `grpcurl nonsense`.

```sh
cargo run --release -- dev
```

```sh
grpcurl -plaintext 127.0.0.1:50051 list
grpcurl -plaintext -d @ 127.0.0.1:50051 \
  ordergateway.v1.FulfillmentService/FetchDeliveryPromise < examples/promise.json   # PROMISE_CACHE_MISS
grpcurl -plaintext -d '{}' 127.0.0.1:50051 ordergateway.v1.FulfillmentService/CreateOrder # INVALID_REQUEST, all faults
curl -s 127.0.0.1:8080/metrics | grep order_gateway_
curl -s localhost:8090/_emulator/v1/orders
```

```toml
curl = "no"
```

```sh
kill -9 1
curl -s localhost:8090/nowhere
```
"#;

#[test]
fn the_commands_of_a_document_are_found() {
    let found = lines(SAMPLE);
    assert_eq!(found.len(), 5, "{found:#?}");
    assert!(found[1].command.ends_with(
        "-d @ 127.0.0.1:50051 ordergateway.v1.FulfillmentService/FetchDeliveryPromise < examples/promise.json"
    ));
    assert_eq!((found[1].told.as_slice(), found[1].fails), (&["PROMISE_CACHE_MISS".to_owned()][..], false));
    assert_eq!((found[2].told.as_slice(), found[2].fails), (&["INVALID_REQUEST".to_owned()][..], true));
}

#[test]
fn a_sample_document_runs() {
    assert_eq!(run(SAMPLE), 5);
}

#[test]
#[should_panic(expected = "NO_SUCH_REASON is promised by")]
fn a_promise_that_is_not_kept_is_found() {
    run(
        "```sh\ngrpcurl -plaintext -d '{}' 127.0.0.1:50051 ordergateway.v1.FulfillmentService/CreateOrder # NO_SUCH_REASON\n```\n",
    );
}

fn readme() -> String {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    std::fs::read_to_string(&readme).unwrap_or_else(|error| panic!("{}: {error}", readme.display()))
}

#[test]
fn every_command_of_the_readme_runs() {
    let count = run(&readme());
    assert!(count >= 4, "README.md shows {count} commands; list, promise, create and cancel are the least");
}

#[test]
fn the_story_of_kill_9_is_true() {
    let folder = tempfile::tempdir().unwrap();
    let ports = ["--grpc-listen=127.0.0.1:0", "--http-listen=127.0.0.1:0", "--emulator-listen=127.0.0.1:0"];
    let mut command = gateway(["dev", "--data-dir"]);
    command.arg(folder.path()).args(ports);
    let dev = Dev::started(command);
    let stories: Vec<_> = blocks(&readme()).into_iter().filter(|block| is_story(block)).collect();
    let [story] = stories.as_slice() else { panic!("{stories:#?}") };
    let story = on_ports_of(&dev, story)
        .replace("target/release/order-gateway", env!("CARGO_BIN_EXE_order-gateway"))
        .replace("demo/", &format!("{}/", folder.path().display()));
    let script = folder.path().join("story.sh");
    std::fs::write(&script, story).unwrap();
    dev.process.terminate();
    dev.process.wait_for_end();
    // It ends whatever the script has begun, too.
    let output = shell(&format!("timeout 90 sh {}", script.display()));
    let [told, log] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(output.status.success(), "{told}\n{log}");
    assert_eq!(told.matches("\"replayed\": true").count(), 1, "{told}\n{log}");
    assert_eq!(told.matches("\"effect\":\"CREATED\"").count(), 1, "{told}\n{log}");
}
