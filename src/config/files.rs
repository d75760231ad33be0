//! Files that change while the process runs: read with a limit, and judged only when they are whole.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Read as _};
use std::path::Path;
use std::time::Duration;

use secrecy::zeroize::Zeroizing;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// The content of a file, wiped from memory when dropped. One longer than `most` bytes, such as a device that never ends,
/// is not read whole: it comes as `most` + 1 bytes.
///
/// # Errors
/// As the system has them.
pub fn read(file: &Path, most: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let most = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let mut open = std::fs::File::open(file)?.take(most);
    let mut bytes = Zeroizing::new(Vec::new());
    open.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Calls `check` every `every` until `stop`. It polls, because the kubelet swaps a symbolic link above the files, which no
/// watch on the files themselves sees.
pub async fn poll(every: Duration, stop: CancellationToken, check: impl FnMut() + Send + 'static) {
    // An interval of nothing would panic.
    let mut ticks = interval(every.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut check = check;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => return,
        }
        // Files may be slow (a network, a stuck mount); calls must not wait for them.
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

/// Whether a file, or some that belong together, changed for good. What they hold counts when it was read twice the same,
/// so that files which are just being written are not taken for whole.
#[derive(Debug, Default)]
pub struct FileChanges {
    /// What was read last.
    last: Option<u64>,
    in_force: Option<u64>,
    /// What was complained about last, and nothing good was read since.
    refused: Option<u64>,
}

impl FileChanges {
    /// Whether what was read now is to be judged: it is settled, and not what is in force. Something refused is judged
    /// each time: time may have mended it.
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

    /// What was judged is in force now.
    pub fn taken(&mut self, read: u64) {
        (self.in_force, self.refused) = (Some(read), None);
    }

    /// What was judged is refused. Answers whether that is news.
    pub fn refused(&mut self, read: u64) -> bool {
        self.refused.replace(read) != Some(read)
    }
}

/// Tells one reading of some files from the next without keeping what is in them.
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
