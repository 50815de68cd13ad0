//! Who is at the other end of a connection.

use std::net::SocketAddr;

/// The other end of a connection. Each request has it among its extensions, where no client can
/// put anything.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// Where it connects from: a client, or the proxy before it.
    pub(crate) address: SocketAddr,
}

impl Peer {
    /// The subject of its certificate, which was verified.
    pub(crate) fn subject(&self) -> Option<&str> {
        None
    }
}
