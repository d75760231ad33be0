//! One run: the gateway through all its lives, everybody who posts, reads and works, the quiet end, and the checks.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use order_gateway::pb::Feed;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use super::book::{Book, Ending, Subject};
use super::consumers::Consumers;
use super::history::{Frame, History, Said, now};
use super::log::Log;
use super::operators::Operators;
use super::plan::{Crowd, Plan, Shared};
use super::senders::{HEADER, Senders, secret};
use super::watchers::Watchers;
use super::{floor_check, last_look, leases_check, watch_check, webhooks_check};
use crate::Options;
use crate::gateway::{Ended, Gateway};
use crate::power_cut::PowerCut;
use crate::process::free_address;
use crate::run::{Report, listed};

/// Connections that streams and calls share.
const CONNECTIONS: usize = 8;
/// Between two looks at what is left to do.
const LOOK: Duration = Duration::from_millis(100);
/// All that is posted has to be acknowledged by then, once nothing is killed any more.
const SEND_LIMIT: Duration = Duration::from_secs(120);
/// Readers and consumers come to the end of the log as long as anything changes; not when nothing has for this time, which is
/// that of the longest lease and more.
const STUCK: Duration = Duration::from_secs(15);
/// Requests at a time when everything is posted once more.
const REPEATS: usize = 64;

/// What the settings of the gateway say of the feed, besides the accounts: old events are dropped soon, and there are no orders
/// in which intents could be found.
const SETTINGS: &str = "[feed]\nretention = \"10s\"\nmax_retention = \"1d\"\n[feed.backfill]\nenabled = false\n";

/// How an account's webhooks are signed, as settings.
pub(crate) fn webhook_settings(account: &str) -> String {
    format!("[accounts.webhook]\nauth = \"hmac\"\nheader = \"{HEADER}\"\nsecret = \"{}\"\n", secret(account))
}

/// Plays a plan in `folder`, which is empty. An error is a run that could not be played to its end.
pub(crate) async fn run(options: &Options, plan: Plan, folder: &Path) -> Result<Report, String> {
    let text = |error: std::io::Error| error.to_string();
    std::fs::create_dir(folder.join("store")).map_err(text)?;
    let power_cut = PowerCut::of(options.power_cut.as_deref(), folder, plan.seed).map_err(text)?;
    let client = reqwest::Client::builder().no_proxy().build().map_err(|error| error.to_string())?;
    // Nothing of the feed goes to Walmart.
    let nobody = free_address().map_err(text)?;
    let gateway = Gateway::new(&options.gateway, folder, nobody, SETTINGS, client, power_cut).map_err(text)?;
    let channels = gateway.channels(CONNECTIONS).map_err(|error| error.to_string())?;
    let end = CancellationToken::new();
    let senders = Senders::new(gateway.http(), end.clone()).map_err(|error| error.to_string())?;
    let crowds = plan.crowds.iter().map(|crowd| People::new(&channels, plan.seed, crowd, &end)).collect();
    let report = Report::default();
    let mut run = Run {
        plan,
        gateway,
        channel: channels[0].clone(),
        senders,
        crowds,
        sending: JoinSet::new(),
        others: JoinSet::new(),
        caring: JoinSet::new(),
        quarantined: last_look::Quarantined::default(),
        end,
        report,
    };
    run.lives().await?;
    let endings = run.quiet_end().await?;
    run.check(endings).await
}

/// Those who follow a feed, at work.
struct People {
    feed: Feed,
    readers: usize,
    subscriptions: Vec<Arc<Shared>>,
    watchers: Watchers,
    consumers: Consumers,
    operators: Operators,
}

impl People {
    fn new(channels: &[Channel], seed: u64, crowd: &Crowd, end: &CancellationToken) -> Self {
        let seed = if crowd.feed == Feed::OrderUpdates { seed ^ 1 << 60 } else { seed };
        let watchers = Watchers::new(channels.to_vec(), seed, crowd, end.clone());
        let consumers = Consumers::new(channels.to_vec(), seed, crowd, end.clone());
        let operators =
            Operators::new(channels[0].clone(), seed, crowd, consumers.clone(), watchers.clone(), end.clone());
        let (feed, readers, subscriptions) = (crowd.feed, crowd.readers.len(), crowd.subscriptions.clone());
        Self { feed, readers, subscriptions, watchers, consumers, operators }
    }

    /// Waits until every reader was told everything and nothing is left to any consumer, or nothing changes any more.
    async fn settle(&self, head: u64) {
        let (mut before, mut since) = (Vec::new(), Instant::now());
        loop {
            let mut left = vec![self.watchers.left(head)];
            for n in 0..self.subscriptions.len() {
                let state = self.operators.look(n).await.unwrap_or_default();
                left.push(head.saturating_sub(state.floor) + state.backlog + state.outstanding);
            }
            if left.iter().all(|left| *left == 0) || since.elapsed() > STUCK {
                return;
            }
            if left != before {
                (before, since) = (left, Instant::now());
            }
            sleep(LOOK).await;
        }
    }

    /// Lets everybody come to the end of the log; tells how each subscription ends, and who does not come to it.
    async fn come_to_the_end(&self, channel: Channel) -> Result<(Vec<Option<Ending>>, Option<String>), String> {
        let head = last_look::log(channel, self.feed).await?.last().map_or(0, |event| event.seq);
        self.consumers.finish();
        for n in (0..self.subscriptions.len()).step_by(2) {
            self.operators.redrive(n, None).await;
        }
        self.settle(head).await;
        let behind = self.watchers.behind(head).join(", ");
        let behind = (!behind.is_empty()).then(|| format!("log: I9: readers do not come to the end: {behind}"));
        let mut endings = Vec::new();
        for n in 0..self.subscriptions.len() {
            let listed = now();
            let parked = self.operators.parked(n).await.map_err(|status| format!("ListParked: {status}"))?;
            let state = self.operators.look(n).await;
            endings.push(state.map(|state| Ending { state, parked: parked.into_iter().collect(), listed }));
        }
        Ok((endings, behind))
    }
}

struct Run {
    plan: Plan,
    gateway: Gateway,
    channel: Channel,
    senders: Senders,
    /// Of each crowd of the plan.
    crowds: Vec<People>,
    /// One task for each webhook.
    sending: JoinSet<()>,
    /// Readers and consumers.
    others: JoinSet<()>,
    /// Operators.
    caring: JoinSet<()>,
    quarantined: last_look::Quarantined,
    end: CancellationToken,
    report: Report,
}

impl Run {
    /// From the first start to the last, which stays.
    async fn lives(&mut self) -> Result<(), String> {
        let began = Instant::now();
        let (channel, quarantined) = (self.channel.clone(), self.quarantined.clone());
        self.others.spawn(last_look::keep_quarantine(channel, quarantined, self.end.clone()));
        for people in &self.crowds {
            for n in 0..people.readers {
                self.others.spawn(people.watchers.clone().read(n));
            }
            for (n, shared) in people.subscriptions.iter().enumerate() {
                self.caring.spawn(people.operators.clone().look_after(n));
                for consumer in 0..shared.consumers {
                    self.others.spawn(people.consumers.clone().work(n, consumer));
                }
            }
        }
        let mut ends: BTreeMap<String, usize> = BTreeMap::new();
        for (life, webhooks) in self.plan.lives.iter().zip(&self.plan.webhooks) {
            for webhook in webhooks {
                self.sending.spawn(self.senders.clone().send(webhook.clone()));
            }
            let (ended, _) = self.gateway.live(*life, "").await?;
            let end = match ended {
                Ended::AtPoint(point) => point.to_owned(),
                Ended::Killed => "kill -9".to_owned(),
                Ended::Lives => continue,
            };
            *ends.entry(end).or_default() += 1;
        }
        self.figure("kills", format!("{}: {}", ends.values().sum::<usize>(), listed(&ends)));
        self.figure("time under kills", format!("{:.0?}", began.elapsed()));
        Ok(())
    }

    /// Everything is posted and posted once more; then everybody comes to the end of the log.
    async fn quiet_end(&mut self) -> Result<Vec<Vec<Option<Ending>>>, String> {
        let quiet = Instant::now();
        let all_sent = async { while self.sending.join_next().await.is_some() {} };
        if timeout(SEND_LIMIT, all_sent).await.is_err() {
            self.wrong("log: I7: webhooks were never acknowledged".to_owned());
        }
        self.figure("all webhooks acknowledged after the last kill", format!("{:.1?}", quiet.elapsed()));
        self.crowds.iter().for_each(|people| people.operators.finish());
        while self.caring.join_next().await.is_some() {}
        let (mut endings, mut behind) = (Vec::new(), Vec::new());
        for people in &self.crowds {
            let (ends, late) = people.come_to_the_end(self.channel.clone()).await?;
            endings.push(ends);
            behind.extend(late);
        }
        self.report.violations.extend(behind);
        self.figure("settled after the last kill", format!("{:.1?}", quiet.elapsed()));
        Ok(endings)
    }

    /// Posts once more what was acknowledged, then compares everything with everything.
    async fn check(mut self, endings: Vec<Vec<Option<Ending>>>) -> Result<Report, String> {
        let began = Instant::now();
        let mut posted = self.senders.posted();
        let senders = &self.senders;
        let again = posted.iter_mut().filter(|posted| posted.posts.iter().any(|post| post.is_acknowledged()));
        let again = again.map(|posted| senders.repeat(posted));
        futures_util::stream::iter(again).buffer_unordered(REPEATS).collect::<Vec<()>>().await;
        self.figure("everything acknowledged posted again in", format!("{:.1?}", began.elapsed()));
        let mut listed = Vec::new();
        for people in &self.crowds {
            listed.push(last_look::log(self.channel.clone(), people.feed).await?);
        }
        let now = last_look::quarantine(self.channel.clone()).await?.into_iter().map(|webhook| (webhook.id, webhook));
        let mut quarantined = std::mem::take(&mut *self.quarantined.lock().unwrap_or_else(PoisonError::into_inner));
        quarantined.extend(now);
        let quarantined: Vec<_> = quarantined.into_values().collect();
        if !self.gateway.lives() {
            self.wrong("the gateway ended by itself in its last life".to_owned());
        }
        self.end.cancel();
        while self.others.join_next().await.is_some() {}
        self.panics()?;
        let crowds = std::mem::take(&mut self.crowds);
        for ((people, listed), endings) in crowds.into_iter().zip(listed).zip(endings) {
            let (watches, kept) = people.watchers.take();
            let (streams, settles, wrong) = people.consumers.take();
            let (operations, odd) = people.operators.take();
            let webhooks = std::mem::take(&mut posted);
            let history = History { webhooks, watches, consumers: streams, settles, operations };
            let is_of_updates = people.feed == Feed::OrderUpdates;
            self.figure("feed", people.feed.as_str_name().trim_start_matches("FEED_").to_lowercase());
            self.report.violations.extend(wrong.into_iter().chain(odd));
            self.count(&history);
            let (log, found) = Log::new(kept, listed);
            self.figure("events in the log, webhooks in quarantine", format!("{}, {}", log.head(), quarantined.len()));
            self.report.violations.extend(found);
            self.report.violations.extend(if is_of_updates {
                webhooks_check::violations_of_updates(&history.webhooks, &log)
            } else {
                webhooks_check::violations(&history.webhooks, &log, &quarantined)
            });
            self.report.violations.extend(watches_violated(&history, &log));
            for (n, ending) in endings.into_iter().enumerate() {
                let shared = people.subscriptions[n].clone();
                self.report.violations.extend(subscription_violated(&history, &log, &shared, n, ending));
            }
            posted = history.webhooks;
        }
        Ok(self.report)
    }

    fn panics(&mut self) -> Result<(), String> {
        let log = std::fs::read_to_string(self.gateway.log()).map_err(|error| error.to_string())?;
        let panics = log.lines().filter(|line| line.contains("panicked"));
        self.report.violations.extend(panics.map(|line| format!("the gateway panicked: {line}")));
        Ok(())
    }

    fn count(&mut self, history: &History) {
        let posts: Vec<_> = history.webhooks.iter().flat_map(|posted| &posted.posts).collect();
        let mut statuses: BTreeMap<String, usize> = BTreeMap::new();
        for post in &posts {
            *statuses.entry(post.status.map_or("no answer".to_owned(), |status| status.to_string())).or_default() += 1;
        }
        self.figure("webhooks", history.webhooks.len().to_string());
        self.figure("requests to the receiver", format!("{}: {}", posts.len(), listed(&statuses)));
        let frames = history.watches.iter().flat_map(|stream| &stream.frames);
        let events = frames.filter(|(_, frame)| matches!(frame, Frame::Event(_))).count();
        self.figure("streams of readers, events", format!("{}, {events}", history.watches.len()));
        let mut causes: BTreeMap<String, usize> = BTreeMap::new();
        for (_, frame) in history.consumers.iter().flat_map(|stream| &stream.frames) {
            if let Frame::Delivery { cause, .. } = frame {
                let cause = cause.as_str_name().trim_start_matches("DELIVERY_CAUSE_").to_lowercase();
                *causes.entry(cause).or_default() += 1;
            }
        }
        let deliveries = causes.values().sum::<usize>();
        let streams = history.consumers.len();
        self.figure("streams of consumers, deliveries", format!("{streams}, {deliveries}: {}", listed(&causes)));
        let mut results: BTreeMap<String, usize> = BTreeMap::new();
        for settle in &history.settles {
            for (n, (_, said)) in settle.said.iter().enumerate() {
                let said = if let Said::Retry(_) = said { "Retry".to_owned() } else { format!("{said:?}") };
                let outcome = settle.told.as_ref().and_then(|told| told.results.get(n));
                let outcome = outcome
                    .map_or("no answer", |(outcome, _)| outcome.as_str_name().trim_start_matches("SETTLE_OUTCOME_"));
                *results.entry(format!("{said} {outcome}").to_lowercase()).or_default() += 1;
            }
        }
        self.figure("verdicts", listed(&results));
        let mut done: BTreeMap<String, usize> = BTreeMap::new();
        for operation in history.operations.iter().filter(|operation| operation.told.is_some()) {
            let name = format!("{:?}", operation.what);
            let name = name.split('(').next().unwrap_or_default().to_lowercase();
            *done.entry(name).or_default() += 1;
        }
        self.figure("operators", listed(&done));
    }

    fn figure(&mut self, name: &'static str, value: String) {
        self.report.figures.push((name, value));
    }

    fn wrong(&mut self, what: String) {
        self.report.violations.push(what);
    }
}

fn watches_violated(history: &History, log: &Log) -> Vec<String> {
    let mut wanted: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    let mut found = Vec::new();
    for (n, stream) in history.watches.iter().enumerate() {
        let reader = &stream.asked.reader;
        let wanted = wanted.entry(&reader.name).or_insert_with(|| log.wanted(reader.account, &reader.choice));
        let violations = watch_check::violations(stream, wanted, log);
        found.extend(violations.into_iter().map(|what| format!("{}/{n}: {what}", reader.name)));
    }
    found
}

fn subscription_violated(
    history: &History,
    log: &Log,
    shared: &Shared,
    n: usize,
    ending: Option<Ending>,
) -> Vec<String> {
    let wanted = log.wanted("", &shared.choice);
    let mine = history.operations.iter().filter(|operation| operation.subscription == n);
    let editions = mine.clone().map(|operation| operation.edition).max().unwrap_or_default();
    let mut found = Vec::new();
    for edition in 0..=editions {
        let is_mine = |subscription: usize, of: usize| subscription == n && of == edition;
        let subject = Subject {
            shared,
            log,
            wanted: &wanted,
            streams: history
                .consumers
                .iter()
                .filter(|stream| is_mine(stream.asked.subscription, stream.asked.edition))
                .collect(),
            settles: history.settles.iter().filter(|settle| is_mine(settle.subscription, settle.edition)).collect(),
            operations: mine.clone().filter(|operation| operation.edition == edition).collect(),
            ending: if edition == editions { ending.clone() } else { None },
        };
        let (book, mut violations) = Book::new(&subject);
        violations.extend(subject.streams.iter().flat_map(|stream| watch_check::silences(stream)));
        violations.extend(leases_check::violations(&subject, &book));
        violations.extend(floor_check::violations(&subject, &book));
        found.extend(violations.into_iter().map(|what| format!("{}/{edition}: {what}", shared.name)));
    }
    found
}
