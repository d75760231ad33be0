//! The order of the layers, as one call tells it.

use tracing_subscriber::EnvFilter;

use crate::testing::logs::{self, LogLines};
use crate::testing::upstream::{World, answer, throttled};

/// The events of the layers while one status call is made, one a line.
async fn events(world: &World) -> String {
    let lines = LogLines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new("order_gateway::upstream=trace"))
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .with_target(false)
        .with_level(false)
        .without_time()
        .finish();
    let recording = tracing::dispatcher::set_default(&logs::alone(subscriber));
    assert!(world.status().await.is_ok());
    drop(recording);
    lines.text()
}

#[tokio::test(start_paused = true)]
async fn a_429_in_the_middle() {
    let world = World::new();
    world.walmart.calls([throttled("1")]);
    insta::assert_snapshot!(events(&world).await);
}

#[tokio::test(start_paused = true)]
async fn a_token_turned_away() {
    let world = World::new();
    world.walmart.calls([answer(401, "")]);
    insta::assert_snapshot!(events(&world).await);
}
