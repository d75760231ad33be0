//! The order of the layers, as one call tells it.

use std::io;
use std::sync::{Arc, Mutex};

use tracing_subscriber::EnvFilter;

use crate::upstream::testing::{World, answer, throttled};

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The events of the layers while one status call is made, one a line.
async fn events(world: &World) -> String {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new("order_gateway::upstream=trace"))
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .with_target(false)
        .with_level(false)
        .without_time()
        .finish();
    let recording = tracing::subscriber::set_default(subscriber);
    assert!(world.status().await.is_ok());
    drop(recording);
    let bytes = lines.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
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
