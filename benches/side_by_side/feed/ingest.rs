//! Webhooks in a closed loop: each connection posts the next one when it has the answer to the last.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

use tokio::task::JoinSet;

use super::COMMITS;
use super::load::{Figures, Span, Target, Times};
use super::posts::{self, Poster, Sample};
use crate::{Result, servers};

#[derive(clap::Args)]
pub(crate) struct Load {
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Webhooks before measuring.
    #[arg(long, default_value_t = 10_000)]
    warm_up: u64,
    /// Webhooks measured.
    #[arg(long, default_value_t = 60_000)]
    webhooks: u64,
    /// Order updates, not intents.
    #[arg(long)]
    updates: bool,
}

struct Run {
    /// Signed beforehand, so that the load costs little.
    requests: RefCell<std::vec::IntoIter<Vec<u8>>>,
    times: RefCell<Times>,
    failure: Cell<Option<String>>,
}

impl Load {
    pub(crate) async fn run(&self, target: &Target) -> Result<Figures> {
        let sample = if self.updates { Sample::Update } else { Sample::Intent };
        let numbers = target.first..target.first + self.warm_up + self.webhooks;
        let requests: Vec<_> = numbers.map(|n| posts::request(sample, n)).collect();
        let (warm_up, measured) = requests.split_at(usize::try_from(self.warm_up)?);
        let mut posters = Vec::new();
        for _ in 0..self.connections {
            posters.push(Poster::connect(target.http).await?);
        }
        let (posters, _) = post_all(posters, warm_up.to_vec()).await?;

        let mut figures = Figures::default();
        let commits = servers::metric(target.http, COMMITS)?;
        let span = Span::begin(target)?;
        let (_, times) = post_all(posters, measured.to_vec()).await?;
        span.end(&mut figures)?;
        times.tell("post", &mut figures);
        let webhooks = self.webhooks as f64;
        figures.set("rate", webhooks / figures.get("seconds"));
        figures.set("syncs", (servers::metric(target.http, COMMITS)? - commits) / webhooks);
        Ok(figures)
    }
}

/// Posts everything over all connections, and gives them back.
async fn post_all(posters: Vec<Poster>, requests: Vec<Vec<u8>>) -> Result<(Vec<Poster>, Times)> {
    let run = Rc::new(Run {
        requests: RefCell::new(requests.into_iter()),
        times: RefCell::new(Times::new()?),
        failure: Cell::default(),
    });
    let mut connections = JoinSet::new();
    for mut poster in posters {
        let run = run.clone();
        connections.spawn_local(async move {
            loop {
                let Some(request) = run.requests.borrow_mut().next() else { return poster };
                let begin = Instant::now();
                if let Err(error) = poster.post(&request).await {
                    run.failure.set(Some(error.to_string()));
                    return poster;
                }
                run.times.borrow_mut().note(begin.elapsed());
            }
        });
    }
    let posters = connections.join_all().await;
    if let Some(failure) = run.failure.take() {
        return Err(failure.into());
    }
    let run = Rc::into_inner(run).ok_or("a connection is not done")?;
    Ok((posters, run.times.into_inner()))
}
