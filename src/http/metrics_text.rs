//! The metrics as text, with a bound on the work: encoding all metrics takes a millisecond, which is nothing for a
//! scraper, but ten thousand requests a second would need ten cores.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::rate_limiter::RateLimiter;
use crate::telemetry::metrics::{Metrics, TextFormat};

/// Encodings per second, all readers together. Beyond this number the last text is served, up to the age below.
const PER_SECOND: u32 = 100;
const MAX_AGE: Duration = Duration::from_millis(50);

/// Encodes the metrics, or serves the last text. Clones share the cache.
#[derive(Clone)]
pub(super) struct MetricsText {
    metrics: Arc<Metrics>,
    cached: Arc<Mutex<CachedTexts>>,
}

struct CachedTexts {
    encodings: RateLimiter,
    texts: Vec<(TextFormat, Instant, Bytes)>,
}

impl MetricsText {
    /// Starts with an empty cache.
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        let cached = CachedTexts { encodings: RateLimiter::new(PER_SECOND.into(), Instant::now()), texts: Vec::new() };
        Self { metrics, cached: Arc::new(Mutex::new(cached)) }
    }

    /// Returns all metrics as text.
    ///
    /// # Errors A metric cannot be written, which is a bug.
    pub(super) fn text(&self, form: TextFormat) -> Result<Bytes, fmt::Error> {
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        let allowed = cached.encodings.take(Instant::now());
        let last = cached.texts.iter().find(|(of, written, _)| *of == form && written.elapsed() < MAX_AGE);
        if let (Err(_), Some((.., text))) = (allowed, last) {
            return Ok(text.clone());
        }
        let text = Bytes::from(self.metrics.encode(form)?);
        cached.texts.retain(|(of, ..)| *of != form);
        cached.texts.push((form, Instant::now(), text.clone()));
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_asks_too_often_is_told_what_was_written_last() {
        let metrics = Arc::new(Metrics::new([]));
        let scrapes = MetricsText::new(metrics.clone());
        let panics = || {
            metrics.panics.inc();
            let text = scrapes.text(TextFormat::Plain).unwrap();
            let text = String::from_utf8(text.to_vec()).unwrap();
            let line = text.lines().find_map(|line| line.strip_prefix("order_gateway_panics_total ")).unwrap();
            line.parse::<u32>().unwrap()
        };
        assert_eq!((0..PER_SECOND).map(|_| panics()).max(), Some(PER_SECOND));
        assert_eq!((panics(), panics()), (PER_SECOND, PER_SECOND));
        assert!(scrapes.text(TextFormat::OpenMetrics).unwrap().ends_with(b"# EOF\n"), "another form is written");
        tokio::time::advance(MAX_AGE).await;
        assert_eq!(panics(), PER_SECOND + 3);
    }
}
