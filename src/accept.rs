//! Accepts TCP connections for both listeners: bounded in number, in all and from one address, and through errors.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

/// First and longest wait after an accept failed, for want of file descriptors above all.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// A listener that allows `max` open connections. One address (of IPv6: one network of 64 bits) gets at most half of the places
/// that others left, so that a few cannot take all of them.
#[derive(Debug)]
pub struct Acceptor {
    listener: TcpListener,
    places: Arc<Places>,
    back_off: Duration,
}

/// What came in.
#[derive(Debug)]
pub enum Accepted {
    /// A connection; it is open until the place is dropped.
    Connection(TcpStream, Place),
    /// One connection too many; it is closed already.
    Refused,
}

/// The room of one connection; free again when dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    address: IpAddr,
}

#[derive(Debug)]
struct Places {
    max: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

impl Acceptor {
    /// Accepts from `listener`.
    pub fn new(listener: TcpListener, max: usize) -> Self {
        Self { listener, places: Arc::new(Places::new(max)), back_off: BACK_OFF.0 }
    }

    /// The next connection. Errors are logged and waited out: a server that stops accepting helps nobody. Nothing is
    /// lost when this future is dropped.
    pub async fn next(&mut self) -> Accepted {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    self.back_off = BACK_OFF.0;
                    let Some(place) = self.places.take(peer.ip()) else { return Accepted::Refused };
                    // Small frames must not wait for each other. Fails only on a dead connection.
                    let _ = stream.set_nodelay(true);
                    return Accepted::Connection(stream, place);
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

impl Places {
    fn new(max: usize) -> Self {
        Self { max, taken: Mutex::default() }
    }

    fn take(self: &Arc<Self>, peer: IpAddr) -> Option<Place> {
        let address = holder(peer);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let its_own = taken.by_address.get(&address).copied().unwrap_or_default();
        let left = self.max.saturating_sub(taken.all - its_own);
        if taken.all >= self.max || its_own * 2 >= left {
            return None;
        }
        taken.all += 1;
        taken.by_address.insert(address, its_own + 1);
        Some(Place { places: self.clone(), address })
    }
}

impl Place {
    /// The address that it counts for: the peer's, of IPv6 its network of 64 bits.
    pub const fn address(&self) -> IpAddr {
        self.address
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        match taken.by_address.get_mut(&self.address) {
            Some(its_own) if *its_own > 1 => *its_own -= 1,
            _ => {
                taken.by_address.remove(&self.address);
            }
        }
    }
}

/// One host may have as many IPv6 addresses as it likes in its network of 64 bits.
fn holder(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

/// The connection broke before it was accepted.
fn is_the_peers(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_cannot_take_the_places_of_others() {
        let places = Arc::new(Places::new(3));
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
        let taken = places.taken.lock().unwrap();
        assert_eq!((taken.all, taken.by_address.len()), (0, 0), "nothing is remembered of who has left");
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
