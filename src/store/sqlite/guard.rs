//! Makes sure that only one process uses the file.
//!
//! Three guards are necessary, because every single one can be circumvented. A lock file beside the database stops a
//! second process at once, and may be removed. A lock on the database itself cannot be removed, and holds under any
//! name of the file. Neither lock notices a file that is moved away or gets a second name (a hard link with a WAL of
//! its own) while in use: [`FileGuard::check`] notices within a second, and ends the process. For up to that second two
//! processes may run on two files; the owner epoch (`owner.rs`) keeps two processes on one file from both writing.

use std::fs::{self, File, Metadata, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Interval at which the watcher compares the file with its path.
pub(super) const EVERY: Duration = Duration::from_secs(1);

/// The two locks. Must not be dropped before SQLite has closed the file: closing any descriptor of a file releases all
/// POSIX locks of the process on that file, including SQLite's locks.
pub(super) struct FileGuard {
    /// The path in the settings.
    path: PathBuf,
    database: File,
    _beside: File,
}

impl FileGuard {
    /// Locks the file, creating a missing file.
    ///
    /// # Errors
    /// One line for the operator.
    pub(super) fn take(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let cannot = |error| format!("the store {shown} cannot be locked: {error}");
        let used =
            || format!("the store {shown} is in use by another order-gateway; a file is for one process at a time");
        if path.is_dir() {
            return Err(format!("the store {shown} is a directory"));
        }
        // The canonical path makes two ways to the same file one lock. The file must exist before, also behind a
        // dangling symbolic link.
        let place = match path.canonicalize() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                File::options().create(true).truncate(false).write(true).open(path).map_err(cannot)?;
                path.canonicalize()
            }
            place => place,
        };
        let place = place.map_err(cannot)?;
        if !fs::metadata(&place).map_err(cannot)?.is_file() {
            return Err(format!("the store {shown} is not a file"));
        }
        let mut beside = place.clone().into_os_string();
        beside.push("-lock");
        let beside = File::options().create(true).truncate(false).write(true).open(beside).map_err(cannot)?;
        let lock = |file: &File| match file.try_lock() {
            Ok(()) => Ok(()),
            Err(TryLockError::WouldBlock) => Err(used()),
            Err(TryLockError::Error(error)) => Err(cannot(error)),
        };
        lock(&beside)?;
        let database = File::open(&place).map_err(cannot)?;
        lock(&database)?;
        let guard = Self { path: path.to_owned(), database, _beside: beside };
        guard.check()?;
        Ok(guard)
    }

    /// Checks that the path still leads to this file, and that the file has no second name.
    ///
    /// # Errors
    /// One line for the operator.
    pub(super) fn check(&self) -> Result<(), String> {
        let shown = self.path.display();
        let same = |one: &Metadata, other: &Metadata| (one.dev(), one.ino()) == (other.dev(), other.ino());
        // A failed query proves nothing.
        let Ok(own) = self.database.metadata() else { return Ok(()) };
        let replaced = match fs::metadata(&self.path) {
            Ok(now) => !same(&own, &now),
            Err(error) => error.kind() == ErrorKind::NotFound,
        };
        if replaced || own.nlink() == 0 {
            return Err(format!(
                "the store {shown} was replaced or removed while it was in use: stop the gateway before a file is put \
                 in its place, then start it again"
            ));
        }
        if own.nlink() > 1 {
            return Err(format!(
                "the store {shown} has {} names (hard links), and each would have a log of its own: keep one of them, then \
                 start the gateway again",
                own.nlink()
            ));
        }
        Ok(())
    }
}

/// A thread that checks the file until dropped.
pub(super) struct FileWatcher {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl FileWatcher {
    /// Starts the thread, which reports the first finding and ends.
    pub(super) fn start(
        guard: Arc<FileGuard>,
        every: Duration,
        on_fatal: Arc<dyn Fn(&str) + Send + Sync>,
    ) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let run = move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(every) {
                if let Err(why) = guard.check() {
                    on_fatal(&why);
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("store-watcher".into()).spawn(run)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for FileWatcher {
    fn drop(&mut self) {
        drop(self.stop.take());
        // Joining releases the thread's reference to the guard.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tempfile::TempDir;

    use super::*;

    fn place() -> (TempDir, PathBuf) {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("db");
        (folder, path)
    }

    #[test]
    fn the_lock_file_may_go_and_the_file_is_still_taken() {
        let (folder, path) = place();
        let first = FileGuard::take(&path).unwrap();
        fs::remove_file(folder.path().join("db-lock")).unwrap();
        let why = FileGuard::take(&path).err().unwrap();
        assert!(why.contains("in use by another order-gateway"), "{why}");
        drop(first);
        FileGuard::take(&path).unwrap();
    }

    #[test]
    fn a_link_that_leads_nowhere_yet_and_its_target_are_one_file() {
        let (folder, path) = place();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let _first = FileGuard::take(&link).unwrap();
        assert!(path.is_file());
        let why = FileGuard::take(&path).err().unwrap();
        assert!(why.contains("in use by another order-gateway"), "{why}");
    }

    #[test]
    fn a_second_name_is_refused_at_the_start_and_seen_later() {
        let (folder, path) = place();
        let guard = FileGuard::take(&path).unwrap();
        guard.check().unwrap();
        let second = folder.path().join("second");
        fs::hard_link(&path, &second).unwrap();
        assert!(guard.check().unwrap_err().contains("2 names (hard links)"));
        drop(guard);
        for name in [&path, &second] {
            let why = FileGuard::take(name).err().unwrap();
            assert!(why.contains("2 names (hard links)") && why.lines().count() == 1, "{why}");
        }
        fs::remove_file(second).unwrap();
        FileGuard::take(&path).unwrap();
    }

    #[test]
    fn a_file_that_is_replaced_or_removed_is_seen() {
        let (folder, path) = place();
        let guard = FileGuard::take(&path).unwrap();
        fs::rename(&path, folder.path().join("elsewhere")).unwrap();
        assert!(guard.check().unwrap_err().contains("replaced or removed"));
        fs::write(&path, "another").unwrap();
        assert!(guard.check().unwrap_err().contains("replaced or removed"));
        fs::rename(folder.path().join("elsewhere"), &path).unwrap();
        guard.check().unwrap();
        fs::remove_file(&path).unwrap();
        assert!(guard.check().unwrap_err().contains("replaced or removed"));
    }

    #[test]
    fn the_watcher_tells_once_and_ends_with_its_owner() {
        let (_folder, path) = place();
        let guard = Arc::new(FileGuard::take(&path).unwrap());
        let (told, heard) = mpsc::channel();
        let tell: Arc<dyn Fn(&str) + Send + Sync> = Arc::new(move |why| told.send(why.to_owned()).unwrap());
        fs::remove_file(&path).unwrap();
        let watcher = FileWatcher::start(guard.clone(), Duration::from_millis(1), tell.clone()).unwrap();
        assert!(heard.recv_timeout(Duration::from_secs(10)).unwrap().contains("replaced or removed"));
        drop(watcher);
        drop(FileWatcher::start(guard.clone(), Duration::from_secs(3600), tell).unwrap());
        assert_eq!(Arc::strong_count(&guard), 1);
        assert!(heard.try_recv().is_err());
    }
}
