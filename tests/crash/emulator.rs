//! Walmart's side: the emulator as a process of its own that is never killed, and its control API.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::process::{Process, Ready, free_address};

const START_LIMIT: Duration = Duration::from_secs(20);
/// Tens of thousands of orders take their time to be written and read.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// The running emulator.
pub(crate) struct Emulator {
    /// Where it listens.
    pub address: SocketAddr,
    client: reqwest::Client,
    _process: Process,
}

impl Emulator {
    /// Starts it without faults: it accepts duplicates, and its limits are too high to count.
    pub(crate) async fn start(program: &Path, folder: &Path, seed: u64, client: reqwest::Client) -> io::Result<Self> {
        let address = free_address()?;
        let words = [
            "emulate",
            "--listen",
            &address.to_string(),
            "--seed",
            &seed.to_string(),
            "--duplicates",
            "accept",
            "--limit-scale",
            "100000",
        ];
        let mut process = Process::start(program, &words, &[], &folder.join("emulator.log"))?;
        let url = format!("http://{address}/_emulator/v1/stock");
        match process.answers(&client, &url, START_LIMIT).await? {
            Ready::Yes => Ok(Self { address, client, _process: process }),
            Ready::Ended(status) => Err(io::Error::other(format!("the emulator ended at its start: {status}"))),
        }
    }

    /// Replaces all faults; nothing ends them.
    pub(crate) async fn set_faults(&self, toml: &str) -> Result<(), String> {
        let request = self.client.put(self.url("faults")).body(toml.to_owned());
        let answer = request.timeout(ANSWER_LIMIT).send().await.map_err(|error| format!("faults: {error}"))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        Err(format!("faults: {status} {}", answer.text().await.unwrap_or_default()))
    }

    /// What a path of the control API tells.
    pub(crate) async fn get(&self, path: &str) -> Result<Value, String> {
        let request = self.client.get(self.url(path)).timeout(ANSWER_LIMIT);
        let told = async { request.send().await?.error_for_status()?.bytes().await };
        let body = told.await.map_err(|error| format!("{path}: {error}"))?;
        serde_json::from_slice(&body).map_err(|error| format!("{path}: {error}"))
    }

    /// Those who buy there.
    pub(crate) fn customers(&self) -> Customers {
        Customers { address: self.address, client: self.client.clone() }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/_emulator/v1/{path}", self.address)
    }
}

/// Customers of Walmart's, as the emulator simulates them. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Customers {
    address: SocketAddr,
    client: reqwest::Client,
}

impl Customers {
    /// Has a customer order something, or send it back.
    pub(crate) async fn simulate(&self, what: &str, wish: &Value) -> Result<Value, String> {
        let request = self.client.post(format!("http://{}/v1/simulations/{what}", self.address));
        let request = request.body(wish.to_string()).timeout(ANSWER_LIMIT);
        let told = async { request.send().await?.error_for_status()?.bytes().await };
        let body = told.await.map_err(|error| format!("{what}: {error}"))?;
        serde_json::from_slice(&body).map_err(|error| format!("{what}: {error}"))
    }
}
