//! What one test logs, kept apart from what the tests beside it do.

use std::io;
use std::sync::{Arc, LazyLock, Mutex};

use serde_json::Value;
use tracing::subscriber::NoSubscriber;
use tracing::{Dispatch, Subscriber};

/// Log lines in memory.
#[derive(Clone, Default)]
pub(crate) struct LogLines(Arc<Mutex<Vec<u8>>>);

impl LogLines {
    /// A subscriber that writes JSON lines here, as the gateway's own does.
    pub(crate) fn json(&self) -> Dispatch {
        let writer = self.clone();
        alone(crate::telemetry::log::json(move || writer.clone()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The lines that [`LogLines::json`] wrote.
    pub(crate) fn parsed(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl io::Write for LogLines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A dispatcher for one thread that misses nothing.
///
/// While a process has one dispatcher only, `tracing` asks the thread that comes to a callsite first whether the callsite
/// is of interest, for all threads and for good. A test on another thread, which has no dispatcher, would say no. With a
/// second dispatcher in the process `tracing` asks them all.
pub(crate) fn alone(subscriber: impl Subscriber + Send + Sync + 'static) -> Dispatch {
    static SECOND: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(NoSubscriber::default()));
    LazyLock::force(&SECOND);
    Dispatch::new(subscriber)
}
