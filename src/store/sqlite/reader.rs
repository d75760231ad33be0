//! A reading thread beside the writer, because SQLite blocks and the runtime may have only one thread. Look-ups, lists
//! and the feed have separate threads, and do not wait for one another.

use std::path::PathBuf;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::{failure, open};
use crate::ports::store_error::StoreError;

/// Most queued reads of a thread.
const QUEUE: usize = 1024;

/// A read, which sends its own answer.
pub(super) type Read = Box<dyn FnOnce(Result<&Connection, StoreError>) + Send>;

/// The queue of the thread, and the signal of its end.
pub(super) type Handles = (mpsc::Sender<Option<Read>>, oneshot::Receiver<()>);

/// Starts the thread. The file is opened with the first read. `None` ends the thread.
pub(super) fn start(name: &str, path: PathBuf) -> std::io::Result<Handles> {
    let (send, mut queue) = mpsc::channel::<Option<Read>>(QUEUE);
    let (ended, end) = oneshot::channel();
    let run = move || {
        let mut connection = None;
        while let Some(job) = queue.blocking_recv() {
            let Some(read) = job else {
                queue.close();
                continue;
            };
            if connection.is_none() {
                connection = match open::reader(&path) {
                    Ok(opened) => Some(opened),
                    Err(error) => {
                        read(Err(failure::of(&error)));
                        continue;
                    }
                };
            }
            if let Some(connection) = &connection {
                read(Ok(connection));
            }
        }
        drop(connection);
        // The receiver may be gone.
        let _ = ended.send(());
    };
    std::thread::Builder::new().name(name.into()).spawn(run)?;
    Ok((send, end))
}
