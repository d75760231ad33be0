//! A timer that does not blame the server for time in which this process was stopped.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::trouble::PgError;

/// Time to read what has arrived, before silence counts. A process that was stopped wakes with its timers run out and the
/// answer in its socket.
const GRACE: Duration = Duration::from_millis(250);

/// Waits for an answer of the server, for `most` at most.
pub(super) async fn answered<T>(
    most: Duration,
    answer: impl Future<Output = Result<T, PgError>>,
) -> Result<T, PgError> {
    let mut answer = pin!(answer);
    if let Ok(answer) = timeout(most, answer.as_mut()).await {
        return answer;
    }
    tokio::select! {
        biased;
        answer = answer => answer,
        () = sleep(GRACE) => Err(PgError::Silent(most.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silence_ends_the_wait_and_an_answer_within_the_grace_counts() {
        let began = Instant::now();
        let never = answered(Duration::from_secs(10), std::future::pending::<Result<(), PgError>>()).await;
        assert!(matches!(never, Err(PgError::Silent(10))), "{never:?}");
        assert_eq!(began.elapsed(), Duration::from_secs(10) + GRACE);
        let late = async {
            sleep(Duration::from_secs(10) + GRACE / 2).await;
            Ok(7)
        };
        assert_eq!(answered(Duration::from_secs(10), late).await.unwrap(), 7);
    }
}
