//! One run: the emulator, the gateway through all its lives, the callers, the quiet end, and the checks.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use order_gateway::pb;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::Channel;

use crate::answer::Answer;
use crate::callers::{Callers, Outcome, Told};
use crate::emulator::Emulator;
use crate::gateway::{Ended, Gateway, REPEAT, SETTLE_WINDOW};
use crate::operations::{self, OPEN};
use crate::power_cut::PowerCut;
use crate::requests::Sample;
use crate::schedule::Schedule;
use crate::{Options, backfilled, changes, invariants, observe, operator};

/// Connections that the callers share.
const CONNECTIONS: usize = 8;
/// The last life goes on under faults for this long after its orders have begun.
const LAST_FAULTS: Duration = Duration::from_secs(2);
/// On top of what I6 allows: a circuit that opened under the last faults lets nothing through for up to 30 seconds, and the
/// machine may have other work.
const SLACK: Duration = Duration::from_secs(35);
/// Between two looks at what is open; the gateway does not tell by itself.
const LOOK: Duration = Duration::from_millis(200);
/// Calls at a time when every answer is asked for once more.
const REPLAYS: usize = 16;

/// What a run came to.
#[derive(Default)]
pub(crate) struct Report {
    /// What must not be.
    pub violations: Vec<String>,
    /// What happened, in figures.
    pub figures: Vec<(&'static str, String)>,
}

/// Plays a schedule in `folder`, which is empty. An error is a run that could not be played to its end.
pub(crate) async fn run(options: &Options, schedule: &Schedule, folder: &Path) -> Result<Report, String> {
    let text = |error: io::Error| error.to_string();
    let client = reqwest::Client::builder().no_proxy().build().map_err(|error| error.to_string())?;
    let emulator = Emulator::start(&options.gateway, folder, schedule.seed, client.clone()).await.map_err(text)?;
    emulator.set_faults(&schedule.faults).await?;
    std::fs::create_dir(folder.join("store")).map_err(text)?;
    let power_cut = PowerCut::of(options.power_cut.as_deref(), folder, schedule.seed).map_err(text)?;
    let gateway = Gateway::new(&options.gateway, folder, emulator.address, backfilled::SETTINGS, client, power_cut)
        .map_err(text)?;
    let channels = gateway.channels(CONNECTIONS).map_err(|error| error.to_string())?;
    let sample = Sample::read().map_err(|error| error.to_string())?;
    let callers = Callers::new(channels.clone(), sample);
    let mut run = Run { gateway, emulator, callers, channels, playing: JoinSet::new(), report: Report::default() };
    run.lives(schedule).await?;
    run.quiet_end().await?;
    // A clock that is months off asks for other orders.
    run.check(!options.clock_steps).await
}

struct Run {
    gateway: Gateway,
    emulator: Emulator,
    callers: Callers,
    channels: Vec<Channel>,
    /// One task for each story.
    playing: JoinSet<()>,
    report: Report,
}

impl Run {
    /// From the first start to the last, which stays.
    async fn lives(&mut self, schedule: &Schedule) -> Result<(), String> {
        let began = Instant::now();
        let mut ends: BTreeMap<String, usize> = BTreeMap::new();
        let mut starts = Vec::new();
        for life in &schedule.lives {
            for story in &life.stories {
                self.playing.spawn(self.callers.clone().play(Arc::new(story.clone())));
            }
            for story in &life.changes {
                let customers = self.emulator.customers();
                self.playing.spawn(self.callers.clone().play_change(customers, Arc::new(story.clone())));
            }
            let (ended, start) = self.gateway.live(life.end, &life.clock_steps).await?;
            starts.extend(start);
            let end = match ended {
                Ended::AtPoint(point) => point.to_owned(),
                Ended::Killed => "kill -9".to_owned(),
                Ended::Lives => continue,
            };
            *ends.entry(end).or_default() += 1;
        }
        let kills = ends.values().sum::<usize>();
        let ends: Vec<String> = ends.iter().map(|(end, times)| format!("{end} {times}")).collect();
        let set = schedule.lives.iter().map(|life| life.clock_steps.matches(',').count()).sum::<usize>();
        if set > 0 {
            self.figure("the wall clock was to be set while the gateway ran", format!("{set} times"));
        }
        self.figure("kills", format!("{kills}: {}", ends.join(", ")));
        starts.sort();
        if let (Some(middle), Some(longest)) = (starts.get(starts.len() / 2), starts.last()) {
            self.figure("start until ready", format!("median {middle:.0?}, longest {longest:.0?}"));
        }
        self.figure("time under kills", format!("{:.0?}", began.elapsed()));
        Ok(())
    }

    /// The faults stop; every operation and every caller comes to its end in this same life.
    async fn quiet_end(&mut self) -> Result<(), String> {
        sleep(LAST_FAULTS).await;
        self.emulator.set_faults("").await?;
        let quiet = Instant::now();
        let channel = self.channels[0].clone();
        let mut decided = 0;
        let settled = async {
            while !operations::list(channel.clone(), &OPEN).await?.is_empty() || !self.playing.is_empty() {
                while self.playing.try_join_next().is_some() {}
                if quiet.elapsed() > SETTLE_WINDOW + REPEAT {
                    decided += operator::decide(&channel, &self.emulator).await?;
                }
                sleep(LOOK).await;
            }
            Ok::<(), String>(())
        };
        // What is not settled by then is told when everything is compared.
        let settled = timeout(SETTLE_WINDOW + REPEAT + SLACK, settled).await;
        if let Ok(Err(error)) = settled {
            self.report.violations.push(error);
        }
        self.callers.end();
        while self.playing.join_next().await.is_some() {}
        self.figure("left to an operator", decided.to_string());
        self.figure("settled after the last fault", format!("{:.1?}", quiet.elapsed()));
        if !self.gateway.lives() {
            self.report.violations.push("the gateway ended by itself in its last life".to_owned());
        }
        Ok(())
    }

    /// Asks once more for every answer that lasts, then compares everything with everything. `finds_intents`: whether all
    /// intents in orders have to be found.
    async fn check(mut self, finds_intents: bool) -> Result<Report, String> {
        let mut told = self.callers.told();
        let began = Instant::now();
        let repeats: Vec<_> = told.iter_mut().map(|told| repeat(&self.callers, told)).collect();
        let wrong: Vec<Vec<String>> =
            futures_util::stream::iter(repeats).buffer_unordered(REPLAYS).collect::<Vec<_>>().await;
        self.report.violations.extend(wrong.into_iter().flatten());
        let mut changed = self.callers.changed();
        let repeats: Vec<_> = changed.iter_mut().map(|told| changes::repeat(&self.callers, told)).collect();
        let wrong: Vec<Vec<String>> =
            futures_util::stream::iter(repeats).buffer_unordered(REPLAYS).collect::<Vec<_>>().await;
        self.report.violations.extend(wrong.into_iter().flatten());
        self.figure("every lasting answer asked for again in", format!("{:.1?}", began.elapsed()));
        let observed = observe::observe(&self.emulator).await?;
        let ledger = operations::list(self.channels[0].clone(), &[]).await;
        let ledger = ledger.unwrap_or_else(|error| {
            self.report.violations.push(error);
            Vec::new()
        });
        self.report.violations.extend(invariants::violations(&told, &observed, &ledger));
        self.report.violations.extend(changes::violations(&changed, &observed, &ledger));
        self.report.violations.extend(backfilled::violations(&self.channels[0], finds_intents).await?);
        self.panics()?;
        self.count(&told, &observed, &ledger);
        self.report.figures.extend(changes::figures(&changed, &observed, &ledger));
        Ok(self.report)
    }

    fn panics(&mut self) -> Result<(), String> {
        let log = std::fs::read_to_string(self.gateway.log()).map_err(|error| error.to_string())?;
        let panics = log.lines().filter(|line| line.contains("panicked"));
        self.report.violations.extend(panics.map(|line| format!("the gateway panicked: {line}")));
        Ok(())
    }

    fn count(&mut self, told: &[Told], observed: &observe::Observed, ledger: &[pb::Operation]) {
        let cancels = told.iter().filter(|told| !told.cancellation.is_empty()).count();
        self.figure("creates, cancels", format!("{}, {cancels}", told.len()));
        self.figure("calls to the gateway", self.callers.calls().to_string());
        let calls = observed.calls.values().flatten();
        let mut received: BTreeMap<String, usize> = BTreeMap::new();
        for call in calls.filter(|call| call.effect != "READ") {
            *received.entry(format!("{} {}", call.operation, call.effect)).or_default() += 1;
        }
        self.figure("received by Walmart's side", listed(&received));
        let mut states: BTreeMap<String, usize> = BTreeMap::new();
        for row in ledger {
            let state = row.state().as_str_name().trim_start_matches("OPERATION_STATE_").to_lowercase();
            *states.entry(state).or_default() += 1;
        }
        self.figure("rows of the ledger", listed(&states));
        let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
        for outcome in told.iter().flat_map(|told| told.creations.iter().flatten().chain(&told.cancellation)) {
            *outcomes.entry(outcome.name()).or_default() += 1;
        }
        self.figure("callers", listed(&outcomes));
    }

    fn figure(&mut self, name: &'static str, value: String) {
        self.report.figures.push((name, value));
    }
}

/// Asks once more for what the ledger has to remember: successes, and whatever ended a request with an id. The answers
/// join those that the callers had, so that they are compared with them. Tells answers that were not replayed.
async fn repeat(callers: &Callers, told: &mut Told) -> Vec<String> {
    let mut wrong = Vec::new();
    let story = told.story.clone();
    let mut check = |answer: &Answer| match answer {
        Answer::Accepted(accepted) if !accepted.replayed => {
            wrong.push(format!("{}/{}: I3: a repeat was not answered from the ledger", story.account, story.number));
        }
        Answer::Pending => {
            wrong.push(format!("{}/{}: I3: a repeat was not answered at all", story.account, story.number));
        }
        _ => {}
    };
    for (creation, told) in story.creations.iter().zip(&mut told.creations) {
        if told.iter().any(|outcome| outcome.lasts(story.refusal_lasts(creation))) {
            let answer = callers.create_again(&story, creation).await;
            check(&answer);
            told.push(Outcome::Told(answer));
        }
    }
    if let Some(cancellation) = &story.cancellation
        && cancellation.request_id.is_some()
        && told.cancellation.iter().any(|outcome| outcome.lasts(true))
    {
        let answer = callers.cancel_again(&story, cancellation).await;
        check(&answer);
        told.cancellation.push(Outcome::Told(answer));
    }
    wrong
}

/// Counts in one line.
pub(crate) fn listed(counts: &BTreeMap<String, usize>) -> String {
    counts.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
}
