//! What an accepted CONNECT leaves to be served.

use hyper::upgrade::OnUpgrade;
use tokio::net::TcpStream;

use super::{egress::Destination, forward::Tunnel};

/// An accepted CONNECT.
pub(super) enum Accepted {
    /// Bytes are copied.
    Tunnel(Tunnel),
    /// Requests are looked at.
    Inspected(Inspected),
    /// Requests are for hostd itself.
    Internal(OnUpgrade),
}

/// An accepted CONNECT to a host of credentials.
pub(super) struct Inspected {
    pub(super) destination: Destination,
    pub(super) guest: OnUpgrade,
    pub(super) world: TcpStream,
}
