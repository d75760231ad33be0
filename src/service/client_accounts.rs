//! What each client may see, for what is done in a client's name while it does not call.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::watch;

use crate::domain::feed::AccountScope;

/// The accounts of the clients, by the name of the client. Cheap to clone, all clones are one.
#[derive(Clone, Debug)]
pub struct ClientAccounts(Arc<watch::Sender<HashMap<String, AccountScope>>>);

impl ClientAccounts {
    /// Of all clients in the settings.
    pub fn new(clients: HashMap<String, AccountScope>) -> Self {
        Self(Arc::new(watch::Sender::new(clients)))
    }

    /// The settings have changed.
    pub fn replace(&self, clients: HashMap<String, AccountScope>) {
        self.0.send_replace(clients);
    }

    /// The accounts that a client may see. `None`: the settings have no client of this name.
    pub fn of(&self, client: &str) -> Option<AccountScope> {
        self.0.borrow().get(client).cloned()
    }

    /// Tells of every change.
    pub fn changes(&self) -> watch::Receiver<HashMap<String, AccountScope>> {
        self.0.subscribe()
    }
}
