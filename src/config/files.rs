//! Reads files which change while the process runs. File sizes are limited, and files are used only when completely
//! written.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Read as _};
use std::path::Path;
use std::time::Duration;

use secrecy::zeroize::Zeroizing;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// Reads a file into memory which is wiped when dropped. A file longer than `most` bytes, such as an endless device,
/// is cut to `most` + 1 bytes.
///
/// # Errors
/// Fails with the error of the operating system.
pub fn read(file: &Path, most: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let most = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let mut open = std::fs::File::open(file)?.take(most);
    let mut bytes = Zeroizing::new(Vec::new());
    open.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Calls `check` at the interval `every` until `stop`. Polling is necessary, because the kubelet swaps a symbolic
/// link above the files, which a watch on the files does not see.
pub async fn poll(every: Duration, stop: CancellationToken, check: impl FnMut() + Send + 'static) {
    // `interval` panics with a period of zero.
    let mut ticks = interval(every.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut check = check;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => return,
        }
        // File systems can block (a network, a stuck mount), so read on a blocking thread.
        let checked = tokio::task::spawn_blocking(move || {
            check();
            check
        });
        let checked = tokio::select! {
            checked = checked => checked,
            () = stop.cancelled() => return,
        };
        match checked {
            Ok(back) => check = back,
            Err(error) => {
                tracing::error!("changed files are no longer picked up: {error}");
                return;
            }
        }
    }
}

/// Detects changes of a file or a set of files. A change counts after two equal readings, so that a partly written
/// file is not used.
#[derive(Debug, Default)]
pub struct FileChanges {
    /// The fingerprint of the last reading.
    last: Option<u64>,
    in_force: Option<u64>,
    /// The fingerprint of the last refused content; cleared by good content.
    refused: Option<u64>,
}

impl FileChanges {
    /// Records a reading. Returns true if the content should be checked: equal to the reading before, and not in
    /// force. Refused content is checked again each time, because the reason may have gone with time.
    pub fn settled(&mut self, read: u64) -> bool {
        if self.last.replace(read) != Some(read) {
            return false;
        }
        if self.in_force == Some(read) {
            self.refused = None;
            return false;
        }
        true
    }

    /// Records the checked content as in force.
    pub fn taken(&mut self, read: u64) {
        (self.in_force, self.refused) = (Some(read), None);
    }

    /// Records the checked content as refused. Returns true for the first refusal of this content.
    pub fn refused(&mut self, read: u64) -> bool {
        self.refused.replace(read) != Some(read)
    }
}

/// Hashes readings, to compare contents without keeping them.
pub fn fingerprint<'a>(read: impl IntoIterator<Item = &'a io::Result<Zeroizing<Vec<u8>>>>) -> u64 {
    let mut hasher = DefaultHasher::new();
    for read in read {
        match read {
            Ok(bytes) => (true, bytes.as_slice()).hash(&mut hasher),
            Err(error) => (false, error.kind()).hash(&mut hasher),
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_still_being_written_is_not_judged() {
        let mut changes = FileChanges::default();
        assert!(!changes.settled(1) && changes.settled(1));
        changes.taken(1);
        assert!(!changes.settled(1));
        // Half of it, then all.
        assert!(!changes.settled(2) && !changes.settled(3) && changes.settled(3));
        changes.taken(3);
        assert!(!changes.settled(3));
    }

    #[test]
    fn what_is_refused_is_judged_again_and_told_once() {
        let mut changes = FileChanges::default();
        changes.taken(1);
        assert!(!changes.settled(2) && changes.settled(2));
        assert!(changes.refused(2));
        assert!(changes.settled(2) && !changes.refused(2));
        // Good again, then bad in the same way: that is told.
        assert!(!changes.settled(1) && !changes.settled(1));
        assert!(!changes.settled(2) && changes.settled(2) && changes.refused(2));
        changes.taken(2);
        assert!(!changes.settled(2));
    }

    #[test]
    fn no_more_is_read_than_may_be() {
        assert_eq!(read(Path::new("/dev/zero"), 10).unwrap().len(), 11);
        assert_eq!(read(Path::new("/not/there"), 10).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[tokio::test(start_paused = true)]
    async fn polling_goes_on_until_it_is_stopped() {
        let stop = CancellationToken::new();
        let (tell, mut told) = tokio::sync::mpsc::channel(8);
        let polling = tokio::spawn(poll(Duration::from_secs(2), stop.clone(), move || tell.try_send(()).unwrap()));
        for _ in 0..3 {
            told.recv().await.unwrap();
        }
        stop.cancel();
        polling.await.unwrap();
        assert!(told.recv().await.is_none());
    }
}
