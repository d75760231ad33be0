//! The address that a request comes from.

use std::net::{IpAddr, Ipv4Addr};

use http::Extensions;

/// Address of the connection's other end, as [`crate::accept`] counts addresses: of IPv6 a network of 64 bits. Every request
/// that [`super::serve`] serves has one among its extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct PeerAddress(pub(super) IpAddr);

impl PeerAddress {
    /// The address of a request. Requests that came over no connection share one.
    pub(super) fn of(extensions: &Extensions) -> Self {
        extensions.get().copied().unwrap_or(Self(IpAddr::V4(Ipv4Addr::UNSPECIFIED)))
    }
}
