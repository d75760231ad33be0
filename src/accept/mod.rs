//! Accepts connections for both listeners, with limits in total and per address.
//!
//! A connection waiting for a request can be ended to make room for a new connection. Otherwise a few clients which
//! begin requests and never finish could shut out all others.

mod socket;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub use self::socket::{ListenSocket, PeerStream, SocketFile};

/// First and longest back-off after a failed accept, mostly for lack of file descriptors.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// A listener with at most `max` open connections. An address (for IPv6 a /64 network) gets at most half of the
/// places left by other addresses, so that a few addresses cannot take all places.
#[derive(Debug)]
pub struct Acceptor {
    listener: ListenSocket,
    places: Arc<ConnectionLimit>,
    back_off: Duration,
}

/// The result of an accept.
#[derive(Debug)]
pub enum AcceptOutcome {
    /// A connection. The place is taken until the permit is dropped.
    Connection(PeerStream, ConnectionPermit),
    /// A connection above the limit, already closed.
    Refused,
}

/// The place of a connection; free again when dropped.
#[derive(Debug)]
pub struct ConnectionPermit {
    places: Arc<ConnectionLimit>,
    address: IpAddr,
    id: u64,
    /// The beat at which the connection began to wait for a request; 0 while a request is in progress.
    since: AtomicU64,
    /// Cancelled when the connection must make room. The place is already free then.
    end: CancellationToken,
}

#[derive(Debug)]
struct ConnectionLimit {
    max: usize,
    taken: Mutex<OpenConnections>,
}

#[derive(Debug, Default)]
struct OpenConnections {
    all: usize,
    /// A logical clock: advances with every new connection, and every time a connection begins to wait.
    beat: u64,
    by_address: HashMap<IpAddr, AddressConnections>,
}

/// The connections of an address.
#[derive(Debug, Default)]
struct AddressConnections {
    open: HashSet<u64>,
    /// The connections waiting for a request, by the beat at which the wait began.
    waiting: BTreeMap<u64, IdleConnection>,
}

#[derive(Debug)]
struct IdleConnection {
    id: u64,
    end: CancellationToken,
}

impl Acceptor {
    /// Accepts connections from `listener`.
    pub fn new(listener: impl Into<ListenSocket>, max: usize) -> Self {
        Self { listener: listener.into(), places: Arc::new(ConnectionLimit::new(max)), back_off: BACK_OFF.0 }
    }

    /// Accepts the next connection. Errors are logged, and followed by a back-off, since a server must not stop
    /// accepting. Cancel-safe: dropping the future loses no connection.
    pub async fn next(&mut self) -> AcceptOutcome {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    self.back_off = BACK_OFF.0;
                    let Some(place) = self.places.take(peer) else { return AcceptOutcome::Refused };
                    return AcceptOutcome::Connection(stream, place);
                }
                Err(error) if is_the_peers(&error) => {}
                Err(error) => {
                    tracing::error!(%error, "cannot accept connections: {error}");
                    tokio::time::sleep(self.back_off).await;
                    self.back_off = (self.back_off * 2).min(BACK_OFF.1);
                }
            }
        }
    }
}

impl ConnectionLimit {
    fn new(max: usize) -> Self {
        Self { max, taken: Mutex::default() }
    }

    fn take(self: &Arc<Self>, peer: IpAddr) -> Option<ConnectionPermit> {
        let address = holder(peer);
        let mut taken = self.taken();
        let its_own = taken.count(address);
        let left = self.max.saturating_sub(taken.all - its_own);
        let is_full = taken.all >= self.max || its_own * 2 >= left;
        if is_full && !taken.end_longest_waiting(address) {
            return None;
        }
        taken.all += 1;
        let id = taken.next_beat();
        taken.by_address.entry(address).or_default().open.insert(id);
        let (since, end) = (AtomicU64::new(0), CancellationToken::new());
        Some(ConnectionPermit { places: self.clone(), address, id, since, end })
    }

    /// A poisoned lock is safe to use: the counts are right after a panic, too.
    fn taken(&self) -> MutexGuard<'_, OpenConnections> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenConnections {
    fn count(&self, address: IpAddr) -> usize {
        self.by_address.get(&address).map_or(0, |holder| holder.open.len())
    }

    /// Frees a place for a new connection of `address`. The address with the most connections loses the connection
    /// which has waited longest for a request. Addresses with no more connections than `address` lose none. Returns
    /// false if no connection may be ended.
    fn end_longest_waiting(&mut self, address: IpAddr) -> bool {
        let its_own = self.count(address);
        let may = |(other, holder): &(&IpAddr, &AddressConnections)| {
            !holder.waiting.is_empty() && (**other == address || holder.open.len() > its_own)
        };
        let most = self.by_address.iter().filter(may).max_by_key(|(_, holder)| holder.open.len());
        let Some(most) = most.map(|(address, _)| *address) else { return false };
        let first = self.by_address.get_mut(&most).and_then(|holder| holder.waiting.pop_first());
        let Some((since, IdleConnection { id, end })) = first else { return false };
        self.free(most, id, since);
        end.cancel();
        true
    }

    fn free(&mut self, address: IpAddr, id: u64, since: u64) {
        let Some(holder) = self.by_address.get_mut(&address) else { return };
        holder.waiting.remove(&since);
        // A displaced connection has given up the place already.
        if holder.open.remove(&id) {
            self.all -= 1;
        }
        if holder.open.is_empty() {
            self.by_address.remove(&address);
        }
    }

    fn next_beat(&mut self) -> u64 {
        self.beat += 1;
        self.beat
    }
}

impl ConnectionPermit {
    /// The address by which the connection is counted: the peer's address, or for IPv6 the /64 network.
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// Marks the connection as waiting for a request. From now on the connection may be ended to make room.
    pub fn waits(&self) {
        let mut taken = self.places.taken();
        let beat = taken.next_beat();
        // A displaced connection has no place any more.
        let holder = taken.by_address.get_mut(&self.address).filter(|holder| holder.open.contains(&self.id));
        if let Some(holder) = holder
            && self.since.load(Ordering::Relaxed) == 0
        {
            // Relaxed is enough: all changes happen under the lock.
            self.since.store(beat, Ordering::Relaxed);
            holder.waiting.insert(beat, IdleConnection { id: self.id, end: self.end.clone() });
        }
    }

    /// Marks the connection as working on a request.
    pub fn works(&self) {
        let mut taken = self.places.taken();
        let since = self.since.swap(0, Ordering::Relaxed);
        if let Some(holder) = taken.by_address.get_mut(&self.address) {
            holder.waiting.remove(&since);
        }
    }

    /// Cancelled when the connection must make room.
    pub const fn end(&self) -> &CancellationToken {
        &self.end
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let since = *self.since.get_mut();
        self.places.taken().free(self.address, self.id, since);
    }
}

/// Masks an IPv6 address to the /64 network, because a host can use any address of the network.
fn holder(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

/// Whether the peer closed the connection before the accept.
fn is_the_peers(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_cannot_take_the_places_of_others() {
        let places = Arc::new(ConnectionLimit::new(3));
        let one: IpAddr = "192.0.2.1".parse().unwrap();
        let other: IpAddr = "192.0.2.2".parse().unwrap();
        let first = places.take(one);
        let second = places.take(one);
        assert!(first.is_some() && second.is_some() && places.take(one).is_none());
        let others = places.take(other);
        assert!(others.is_some() && places.take(other).is_none(), "three in all");
        drop((first, others));
        assert!(places.take(one).is_some(), "what is free can be taken");
        drop(second);
        let taken = places.taken();
        assert_eq!((taken.all, taken.by_address.len()), (0, 0), "nothing is remembered of who has left");
    }

    #[test]
    fn one_that_waits_for_a_request_makes_way() {
        let places = Arc::new(ConnectionLimit::new(4));
        let one: IpAddr = "192.0.2.1".parse().unwrap();
        let other: IpAddr = "192.0.2.2".parse().unwrap();
        let [first, second] = [(); 2].map(|()| places.take(one).unwrap());
        assert!(places.take(one).is_none(), "both work");
        second.waits();
        first.waits();
        first.waits();
        // The one that has waited longest.
        let third = places.take(one).unwrap();
        let ended =
            |places: &[&ConnectionPermit]| Vec::from_iter(places.iter().map(|place| place.end().is_cancelled()));
        assert_eq!(ended(&[&first, &second, &third]), [false, true, false]);
        // It has no place any more, whatever becomes of it.
        second.waits();
        second.works();
        drop(second);
        first.works();
        assert!(places.take(one).is_none());
        assert_eq!(places.taken().all, 2);
        // Another address finds one as long as there are some, and then that of who has more.
        first.waits();
        let others = places.take(other).unwrap();
        let more = places.take(other).unwrap();
        assert_eq!(ended(&[&first, &third, &others, &more]), [true, false, false, false]);
        third.waits();
        assert!(places.take(other).is_none(), "it has as many itself");
        drop((first, third, others, more));
        let taken = places.taken();
        assert_eq!((taken.all, taken.by_address.len()), (0, 0));
    }

    #[test]
    fn a_network_of_ipv6_is_one_holder_and_mapped_addresses_are_ipv4() {
        let held = |text: &str| holder(text.parse().unwrap());
        assert_eq!(held("2001:db8:1:2::1"), held("2001:db8:1:2:ffff::9"));
        assert_ne!(held("2001:db8:1:2::1"), held("2001:db8:1:3::1"));
        assert_eq!(held("::ffff:192.0.2.1"), held("192.0.2.1"));
        assert_ne!(held("192.0.2.1"), held("192.0.2.2"));
    }
}
