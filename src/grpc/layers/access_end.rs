//! The end of a client's access while its streams are open, when the settings change.

use std::sync::Arc;

use tokio::sync::watch;
use tonic::Status;

use crate::grpc::status;

/// Tells the streams of a client that its access has ended. Cheap to clone; all clones share the end.
#[derive(Clone, Debug)]
pub(crate) struct AccessEnd(Arc<watch::Sender<Option<AccessLoss>>>);

/// The loss of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AccessLoss {
    /// The client is no longer in the settings.
    Removed,
    /// The client has fewer accounts or services than before.
    Narrowed,
}

impl Default for AccessEnd {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }
}

impl AccessEnd {
    /// Ends the access of all streams that are open.
    pub(super) fn lost(&self, loss: AccessLoss) {
        self.0.send_replace(Some(loss));
    }

    /// The status to end with, if the access has ended.
    pub(super) fn has_come(&self) -> Option<Status> {
        self.0.borrow().map(AccessLoss::status)
    }

    /// Waits for the end of the access.
    pub(super) async fn wait(&self) -> Status {
        let mut changes = self.0.subscribe();
        let loss = match changes.wait_for(Option::is_some).await {
            Ok(loss) => *loss,
            // Cannot happen: the sender is alive as long as `self`.
            Err(_) => None,
        };
        match loss {
            Some(loss) => loss.status(),
            None => std::future::pending().await,
        }
    }
}

impl AccessLoss {
    fn status(self) -> Status {
        match self {
            Self::Removed => status::caller_unauthenticated(),
            Self::Narrowed => status::access_narrowed(),
        }
    }
}
