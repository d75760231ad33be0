//! The address of a request's sender.

use std::net::{IpAddr, Ipv4Addr};

use http::Extensions;

/// The peer's address as [`crate::accept`] counts addresses: an IPv6 address stands for its network of 64 bits.
/// [`super::serve`] adds the address to the extensions of every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct PeerAddress(pub(super) IpAddr);

impl PeerAddress {
    /// Returns the address of a request. Requests without a connection share one address.
    pub(super) fn of(extensions: &Extensions) -> Self {
        extensions.get().copied().unwrap_or(Self(IpAddr::V4(Ipv4Addr::UNSPECIFIED)))
    }
}
