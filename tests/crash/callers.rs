//! Callers: each sends its call again and again, through whatever happens to the gateway, until there is a final answer
//! or its patience ends.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use order_gateway::pb::fulfillment_service_client::FulfillmentServiceClient;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::Request;
use tonic::transport::Channel;

use crate::answer::{self, Answer};
use crate::changes::ChangeTold;
use crate::requests::{self, Sample};
use crate::schedule::{Caller, Cancellation, Creation, Story};

/// What one caller came to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// A final answer, or a bug.
    Told(Answer),
    /// It lost patience.
    GaveUp,
    /// The run ended before.
    Unfinished,
}

impl Outcome {
    /// Whether the ledger has to give this answer again; `refusal_lasts` says whether that is so for refusals.
    pub(crate) fn lasts(&self, refusal_lasts: bool) -> bool {
        match self {
            Outcome::Told(Answer::Accepted(_)) => true,
            Outcome::Told(Answer::Refused(refused)) => refusal_lasts && refused.ended_an_operation(),
            _ => false,
        }
    }

    /// For counts.
    pub(crate) fn name(&self) -> String {
        match self {
            Outcome::Told(Answer::Accepted(_)) => "accepted".to_owned(),
            Outcome::Told(Answer::Refused(refused)) => refused.reason.clone(),
            Outcome::Told(Answer::Pending) => "pending".to_owned(),
            Outcome::Told(Answer::Bug(_)) => "bug".to_owned(),
            Outcome::GaveUp => "gave up".to_owned(),
            Outcome::Unfinished => "unfinished".to_owned(),
        }
    }
}

/// What all callers of a story came to.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    /// The story.
    pub story: Arc<Story>,
    /// For each creation, for each of its callers.
    pub creations: Vec<Vec<Outcome>>,
    /// For each caller of the cancellation; empty when it was not begun.
    pub cancellation: Vec<Outcome>,
}

/// All callers of a run.
#[derive(Clone)]
pub(crate) struct Callers {
    shared: Arc<Shared>,
}

struct Shared {
    channels: Vec<Channel>,
    sample: Sample,
    told: Mutex<Vec<Told>>,
    changed: Mutex<Vec<ChangeTold>>,
    calls: std::sync::atomic::AtomicU64,
    /// Ends those that still repeat.
    end: CancellationToken,
}

impl Callers {
    /// Callers that go over these connections.
    pub(crate) fn new(channels: Vec<Channel>, sample: Sample) -> Self {
        let end = CancellationToken::new();
        let (told, changed) = Default::default();
        Self { shared: Arc::new(Shared { channels, sample, told, changed, calls: 0.into(), end }) }
    }

    /// Lets callers that still repeat end as [`Outcome::Unfinished`].
    pub(crate) fn end(&self) {
        self.shared.end.cancel();
    }

    /// Calls made so far.
    pub(crate) fn calls(&self) -> u64 {
        self.shared.calls.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// What the callers of stories that ended came to.
    pub(crate) fn told(&self) -> Vec<Told> {
        self.shared.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the callers of changes came to.
    pub(crate) fn changed(&self) -> Vec<ChangeTold> {
        self.shared.changed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps what the callers of a change came to.
    pub(crate) fn tell(&self, told: ChangeTold) {
        self.shared.changed.lock().unwrap_or_else(PoisonError::into_inner).push(told);
    }

    /// Plays a story to its end.
    pub(crate) async fn play(self, story: Arc<Story>) {
        sleep(story.begins).await;
        let mut creations = Vec::new();
        let mut playing = JoinSet::new();
        for (n, creation) in story.creations.iter().enumerate() {
            let all = self.clone();
            let (story, creation) = (story.clone(), creation.clone());
            playing.spawn(async move { (n, all.create(&story, &creation).await) });
        }
        while let Some(Ok(ended)) = playing.join_next().await {
            creations.push(ended);
        }
        creations.sort_by_key(|(n, _)| *n);
        let creations: Vec<Vec<Outcome>> = creations.into_iter().map(|(_, told)| told).collect();
        let is_there = creations.iter().flatten().any(|o| matches!(o, Outcome::Told(Answer::Accepted(_))));
        let cancellation = match &story.cancellation {
            Some(cancellation) if is_there => self.cancel(&story, cancellation).await,
            _ => Vec::new(),
        };
        let told = Told { story, creations, cancellation };
        self.shared.told.lock().unwrap_or_else(PoisonError::into_inner).push(told);
    }

    /// Sends a creation once more, patiently. For the end of the run.
    pub(crate) async fn create_again(&self, story: &Story, creation: &Creation) -> Answer {
        self.create_once(story, creation, &PATIENT).await
    }

    /// Sends a cancellation once more, patiently. For the end of the run.
    pub(crate) async fn cancel_again(&self, story: &Story, cancellation: &Cancellation) -> Answer {
        self.cancel_once(story, cancellation, &PATIENT).await
    }

    async fn create(&self, story: &Story, creation: &Creation) -> Vec<Outcome> {
        self.all(&creation.callers, |caller| self.create_once(story, creation, caller)).await
    }

    async fn cancel(&self, story: &Story, cancellation: &Cancellation) -> Vec<Outcome> {
        self.all(&cancellation.callers, |caller| self.cancel_once(story, cancellation, caller)).await
    }

    /// What each of these callers comes to.
    pub(crate) async fn all<'a, F: Future<Output = Answer>>(
        &self,
        callers: &'a [Caller],
        call: impl Fn(&'a Caller) -> F + Copy,
    ) -> Vec<Outcome> {
        futures_util::future::join_all(callers.iter().map(|caller| self.repeat(caller, call))).await
    }

    async fn repeat<'a, F: Future<Output = Answer>>(
        &self,
        caller: &'a Caller,
        call: impl Fn(&'a Caller) -> F,
    ) -> Outcome {
        sleep(caller.begins).await;
        let mut made = 0;
        loop {
            match call(caller).await {
                Answer::Pending => {}
                answer => return Outcome::Told(answer),
            }
            made += 1;
            if caller.patience.is_some_and(|patience| made >= patience) {
                return Outcome::GaveUp;
            }
            if self.pause(caller).await.is_none() {
                return Outcome::Unfinished;
            }
        }
    }

    /// Waits before the next call; `None` when the run ends. Callers are processes of their own in life, with pauses of their
    /// own: nothing tells them when to go on.
    pub(crate) async fn pause(&self, caller: &Caller) -> Option<()> {
        self.shared.end.run_until_cancelled(sleep(caller.pause)).await
    }

    async fn create_once(&self, story: &Story, creation: &Creation, caller: &Caller) -> Answer {
        let request = self.shared.sample.create(story, creation);
        let mut client = FulfillmentServiceClient::new(self.channel(&story.number));
        let call = client.create_order(with_deadline(request, caller));
        self.bounded(caller, async { answer::of_creation(call.await.map(tonic::Response::into_inner)) }).await
    }

    async fn cancel_once(&self, story: &Story, cancellation: &Cancellation, caller: &Caller) -> Answer {
        let request = requests::cancel(story, cancellation);
        let mut client = FulfillmentServiceClient::new(self.channel(&story.number));
        let call = client.cancel_order(with_deadline(request, caller));
        self.bounded(caller, async { answer::of_cancellation(call.await.map(tonic::Response::into_inner)) }).await
    }

    /// Hangs up at the deadline if the caller is of that kind; the others at last when the gateway should have.
    pub(crate) async fn bounded(&self, caller: &Caller, call: impl Future<Output = Answer>) -> Answer {
        self.shared.calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let limit = if caller.hangs_up { caller.deadline } else { caller.deadline + Duration::from_secs(2) };
        timeout(limit, call).await.unwrap_or(Answer::Pending)
    }

    /// The connection for calls about this number.
    pub(crate) fn channel(&self, number: &str) -> Channel {
        let n = number.bytes().fold(0, |sum: usize, byte| sum + usize::from(byte));
        self.shared.channels[n % self.shared.channels.len()].clone()
    }
}

/// Who asks at the end.
pub(crate) const PATIENT: Caller = Caller {
    begins: Duration::ZERO,
    deadline: Duration::from_secs(10),
    hangs_up: false,
    pause: Duration::from_millis(100),
    patience: None,
};

/// The request with the caller's deadline, if the caller tells it.
pub(crate) fn with_deadline<T>(request: T, caller: &Caller) -> Request<T> {
    let mut request = Request::new(request);
    if !caller.hangs_up {
        request.set_timeout(caller.deadline);
    }
    request
}
