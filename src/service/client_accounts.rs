//! The accounts visible to every client, for work done in a client's name between its calls.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::watch;

use crate::domain::feed::AccountScope;

/// The visible accounts of the clients, by client name. Cheap to clone; all clones share one map.
#[derive(Clone, Debug)]
pub struct ClientAccounts(Arc<watch::Sender<HashMap<String, AccountScope>>>);

impl ClientAccounts {
    /// Takes the accounts of all clients in the settings.
    pub fn new(clients: HashMap<String, AccountScope>) -> Self {
        Self(Arc::new(watch::Sender::new(clients)))
    }

    /// Replaces the map after a change of the settings.
    pub fn replace(&self, clients: HashMap<String, AccountScope>) {
        self.0.send_replace(clients);
    }

    /// The accounts visible to a client; `None` for a client missing from the settings.
    pub fn of(&self, client: &str) -> Option<AccountScope> {
        self.0.borrow().get(client).cloned()
    }

    /// A channel that signals every change.
    pub fn changes(&self) -> watch::Receiver<HashMap<String, AccountScope>> {
        self.0.subscribe()
    }
}
