//! Reads request bodies, with a limit on size and time.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use super::refusal::PostRefusal;
use super::unproved::UnprovedPost;

/// Time for a body, from the head of its request.
const TIME: Duration = Duration::from_secs(10);

/// Reads a body of at most `limit` bytes, with any framing. Call once per post.
///
/// # Errors The body is too large, too slow or broken off, or `post` had to make way for another.
pub(super) async fn read(mut body: Body, limit: usize, post: &mut UnprovedPost) -> Result<Bytes, PostRefusal> {
    let told = body.size_hint().lower();
    if usize::try_from(told).map_or(true, |told| told > limit) {
        return Err(PostRefusal::TooLarge);
    }
    let mut whole = Vec::new();
    let reading = async {
        loop {
            let frame = tokio::select! {
                // Prefer a frame that has arrived over the end of the post.
                biased;
                frame = body.frame() => frame,
                () = post.ended() => return Err(PostRefusal::Displaced),
            };
            let Some(frame) = frame else { return Ok(()) };
            let Ok(data) = frame.map_err(|_| PostRefusal::BrokenOff)?.into_data() else { continue };
            if data.len() > limit - whole.len() {
                return Err(PostRefusal::TooLarge);
            }
            post.heard(data.len());
            whole.extend_from_slice(&data);
        }
    };
    timeout(TIME, reading).await.unwrap_or(Err(PostRefusal::TooSlow))?;
    Ok(whole.into())
}
