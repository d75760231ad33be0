//! What is measured of the feed, and what is shown of it.

use clap::ValueEnum;

use super::Options;
use super::load::Figures;

/// A table.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Part {
    Ingest,
    Updates,
    Latency,
    FanOut,
    Replay,
    Idle,
    Slow,
    Lend,
    UpToDate,
}

/// Who has which core.
#[derive(Clone, Copy)]
pub(super) enum Cores {
    /// The gateway one, the load the other.
    Apart,
    /// Both have both.
    Shared,
}

/// What is in the file before.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    Nothing,
    /// Intents, as many as `--events` says.
    Intents,
    /// Order updates, as many as `--fill` says.
    Updates,
}

/// A line of a table.
pub(super) struct Case {
    pub(super) part: Part,
    pub(super) name: String,
    pub(super) goal: &'static str,
    pub(super) cores: Cores,
    pub(super) before: Before,
    /// The load, as its command line.
    pub(super) words: Vec<String>,
    pub(super) rounds: Vec<Figures>,
}

/// What a column shows.
pub(super) enum Show {
    Name,
    Goal,
    /// This figure, with so many decimals.
    Median(&'static str, usize),
}

/// Its head, and what stands in it.
pub(super) type Column = (&'static str, Show);

use Show::{Goal, Median, Name};

impl Part {
    pub(super) fn name(self) -> &'static str {
        match self {
            Part::Ingest => "ingest",
            Part::Updates => "updates",
            Part::Latency => "latency",
            Part::FanOut => "fan-out",
            Part::Replay => "replay",
            Part::Idle => "idle",
            Part::Slow => "slow",
            Part::Lend => "lend",
            Part::UpToDate => "up-to-date",
        }
    }

    pub(super) fn columns(self) -> Vec<Column> {
        let load = [
            ("a server core", Median("rate_per_core", 0)),
            ("server core", Median("server_cores", 2)),
            ("load core", Median("load_cores", 2)),
        ];
        let peak = [("peak RSS MiB", Median("peak_rss_mib", 1))];
        let (own, ends): (Vec<Column>, Vec<Column>) = match self {
            Part::Ingest => (
                vec![
                    ("ingest, 64 connections, HMAC", Name),
                    ("webhooks/s", Median("rate", 0)),
                    ("goal", Goal),
                    ("p50 ms", Median("post_p50_ms", 2)),
                    ("p99 ms", Median("post_p99_ms", 2)),
                    ("syncs per webhook", Median("syncs", 3)),
                ],
                load.into_iter().chain(peak).collect(),
            ),
            Part::Updates => (
                vec![
                    ("ingest of order updates", Name),
                    ("webhooks/s", Median("rate", 0)),
                    ("goal", Goal),
                    ("p50 ms", Median("post_p50_ms", 2)),
                    ("p99 ms", Median("post_p99_ms", 2)),
                    ("syncs per webhook", Median("syncs", 3)),
                    ("start to ready ms (goal 2000)", Median("start_ms", 0)),
                    ("file MiB", Median("file_mib", 0)),
                ],
                load.into_iter().chain(peak).collect(),
            ),
            Part::Latency => (
                vec![
                    ("200 webhooks/s to", Name),
                    ("200 to frame p50 ms", Median("after_answer_p50_ms", 2)),
                    ("p99 ms", Median("after_answer_p99_ms", 2)),
                    ("goal", Goal),
                    ("post to frame p50 ms", Median("after_post_p50_ms", 2)),
                    ("p99 ms", Median("after_post_p99_ms", 2)),
                    ("post to 200 p50 ms", Median("answer_p50_ms", 2)),
                    ("p99 ms", Median("answer_p99_ms", 2)),
                ],
                load.into_iter().skip(1).collect(),
            ),
            Part::FanOut => (
                vec![
                    ("watches", Name),
                    ("deliveries/s", Median("rate", 0)),
                    ("goal", Goal),
                    ("events per piece", Median("events_per_piece", 2)),
                ],
                load.into_iter().chain(peak).collect(),
            ),
            Part::Replay => (
                vec![
                    ("replay to one watch", Name),
                    ("events/s", Median("rate", 0)),
                    ("goal", Goal),
                    ("start to ready ms (goal 1000)", Median("start_ms", 0)),
                ],
                load.into_iter().chain(peak).collect(),
            ),
            Part::Idle => {
                (vec![("idle watches", Name), ("KiB a watch", Median("kib_a_stream", 1)), ("goal", Goal)], Vec::new())
            }
            Part::Slow => (
                vec![("one watch is read beside", Name), ("its events/s", Median("rate", 0))],
                load.into_iter().chain(peak).collect(),
            ),
            Part::Lend => (
                vec![
                    ("lent and settled by", Name),
                    ("events/s", Median("rate", 0)),
                    ("syncs per event", Median("syncs", 4)),
                    ("events per settle", Median("batch", 1)),
                ],
                load.into_iter().chain(peak).collect(),
            ),
            Part::UpToDate => (
                vec![
                    ("200 webhooks/s and 50 orders/s beside", Name),
                    ("webhook p50 ms", Median("webhook_p50_ms", 2)),
                    ("p99 ms", Median("webhook_p99_ms", 2)),
                    ("order p50 ms", Median("order_p50_ms", 2)),
                    ("p99 ms", Median("order_p99_ms", 2)),
                    ("goal", Goal),
                ],
                load.into_iter().skip(1).chain(peak).collect(),
            ),
        };
        own.into_iter().chain(ends).collect()
    }
}

/// The lines of a table.
pub(super) fn of(part: Part, options: &Options) -> Vec<Case> {
    let seconds = options.seconds.to_string();
    let events = options.events.to_string();
    let case = |name: String, goal, before, words: &[&str]| {
        let words = words.iter().map(|word| String::from(*word)).collect();
        Case { part, name, goal, cores: Cores::Apart, before, words, rounds: Vec::new() }
    };
    match part {
        Part::Ingest => {
            let words = ["ingest", "--webhooks", &options.webhooks.to_string()];
            let shared = case("load on the same two cores".into(), "10000", Before::Nothing, &words);
            let apart = case("gateway on one core".into(), "", Before::Nothing, &words);
            vec![apart, Case { cores: Cores::Shared, ..shared }]
        }
        Part::Updates => [(0, Before::Nothing), (options.fill, Before::Updates)]
            .map(|(kept, before)| {
                let words = ["ingest", "--updates", "--webhooks", &options.webhooks.to_string()];
                let name = format!("{kept} kept, load on the same two cores");
                Case { cores: Cores::Shared, ..case(name, "10000", before, &words) }
            })
            .into(),
        Part::Latency => [1, 100]
            .map(|watchers: usize| {
                let name = if watchers == 1 { "1 watch".into() } else { format!("{watchers} watches") };
                case(name, "5, 30", Before::Nothing, &["latency", "--watchers", &watchers.to_string()])
            })
            .into(),
        Part::FanOut => {
            let catching_up = options.streams.iter().map(|&streams| {
                let goal = if (100..=1_000).contains(&streams) { "1500000" } else { "" };
                let words = ["catch-up", "--streams", &streams.to_string(), "--events", &events, "--seconds", &seconds];
                case(format!("{streams} catching up"), goal, Before::Intents, &words)
            });
            let tip = options.streams.iter().map(|&streams| {
                let goal = match streams {
                    1_000 => "150000",
                    10_000 => "120000",
                    _ => "",
                };
                let words = ["tip", "--streams", &streams.to_string(), "--seconds", &seconds];
                case(format!("{streams} at the tip"), goal, Before::Intents, &words)
            });
            catching_up.chain(tip).collect()
        }
        Part::Replay => {
            vec![case(format!("{events} events"), "200000", Before::Intents, &["replay", "--events", &events])]
        }
        Part::Idle => [1_000, 10_000]
            .map(|streams: usize| {
                case(streams.to_string(), "8", Before::Nothing, &["idle", "--streams", &streams.to_string()])
            })
            .into(),
        Part::Slow => [0, 100]
            .map(|streams: usize| {
                let name = if streams == 0 { "no other".into() } else { format!("{streams} that are not read") };
                case(name, "", Before::Intents, &["slow", "--streams", &streams.to_string(), "--events", &events])
            })
            .into(),
        Part::Lend => [1, 8]
            .map(|consumers: usize| {
                let name = if consumers == 1 { "1 consumer".into() } else { format!("{consumers} consumers") };
                case(name, "", Before::Intents, &["lend", "--consumers", &consumers.to_string(), "--seconds", &seconds])
            })
            .into(),
        Part::UpToDate => [(10, false), (1_000, false), (10, true), (1_000, true)]
            .map(|(subscriptions, streaming): (usize, bool)| {
                let streams = if streaming { ", a stream each" } else { "" };
                let goal = if subscriptions > 10 { "twice those of 10" } else { "" };
                let count = subscriptions.to_string();
                let mut words = vec!["up-to-date", "--subscriptions", &count];
                words.extend(streaming.then_some("--streaming"));
                case(format!("{subscriptions} subscriptions{streams}"), goal, Before::Nothing, &words)
            })
            .into(),
    }
}
