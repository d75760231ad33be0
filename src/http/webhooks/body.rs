//! Bodies as they come over the wire, with a limit on what one may hold, on the time it may take, and on all of them
//! together.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// For a body, from the head of its request.
const TIME: Duration = Duration::from_secs(10);

/// Why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoBody {
    /// Longer than its limit. The rest was not read.
    TooLarge,
    /// It did not come in time.
    TooSlow,
    /// The sender broke it off.
    BrokenOff,
    /// All bodies together hold too much.
    NoRoom,
}

/// Reads a body of at most `limit` bytes, however it is framed. Its bytes are taken from `room` while the permit is held.
pub(super) async fn read(
    mut body: Body,
    limit: usize,
    room: &Semaphore,
) -> Result<(Bytes, SemaphorePermit<'_>), NoBody> {
    let told = body.size_hint().lower();
    if usize::try_from(told).map_or(true, |told| told > limit) {
        return Err(NoBody::TooLarge);
    }
    let reading = async {
        let mut whole = Vec::new();
        let mut held = room.try_acquire_many(0).map_err(|_| NoBody::NoRoom)?;
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| NoBody::BrokenOff)?.into_data() else { continue };
            if data.len() > limit - whole.len() {
                return Err(NoBody::TooLarge);
            }
            // Fits: it is at most the limit.
            let more = u32::try_from(data.len()).map_err(|_| NoBody::TooLarge)?;
            held.merge(room.try_acquire_many(more).map_err(|_| NoBody::NoRoom)?);
            whole.extend_from_slice(&data);
        }
        Ok((Bytes::from(whole), held))
    };
    timeout(TIME, reading).await.unwrap_or(Err(NoBody::TooSlow))
}
