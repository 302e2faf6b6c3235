//! Connections of programs that ask no proxy: Node's own fetch, Java, raw dials of Go, ssh.
//!
//! ```text
//!  a program                         the guest                                                   the host
//!  getaddrinfo("a.example") ───────▶ resolver, 198.18.0.1:53: hands out 198.18.0.2 for the name
//!  connect(198.18.0.2, 443) ───────▶ steering: the listener takes it, whatever its port
//!                                    connections: CONNECT a.example:443 ───────────────────────▶ the gateway decides
//! ```
//!
//! The guest has no network. A route makes every address one of `lo`, and a program in the kernel hands each TCP connection to one
//! that is not the guest's own to a single listener; datagrams to such an address are refused at once, so that QUIC falls back. What
//! is allowed is decided by the gateway, as for the proxy: the resolver has an address for every name. What is refused is reset; on
//! port 80, where a request can be answered, the gateway's text is the answer.

mod bpf;
mod connections;
mod dns;
#[cfg(fuzzing)]
pub mod fuzz;
mod names;
mod netlink;
mod resolver;
mod steering;

use std::{convert::Infallible, fs, io, net::Ipv4Addr, path::Path, sync::Arc};

use tokio::net::{TcpListener, UdpSocket};

pub use connections::serve;
pub use names::Names;
pub use resolver::resolve;

use crate::{boot_log::report, tunnel::Gateway};

/// Address of the guest's resolver, and from which connections that are steered come. It is on `lo` beside 127.0.0.1: programs
/// that ask only for the kinds of address that the machine has ask for IPv4, and containers inside, who take no resolver on a
/// loopback address over, take this one.
pub const OWN: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// Network of [`OWN`] and of the addresses that stand for names: the one for benchmarks of network devices, which nobody else uses.
pub const NETWORK: (Ipv4Addr, u8) = (Ipv4Addr::new(198, 18, 0, 0), 15);

const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Serves such connections and the resolver, for ever.
///
/// # Errors
/// The kernel cannot steer connections, or an address is taken. Programs that heed a proxy's variables do without.
pub async fn run(gateway: Gateway) -> io::Result<Infallible> {
    let mut steering = steering::set_up()?;
    let (datagrams, streams) = (UdpSocket::bind((OWN, 53)).await?, TcpListener::bind((OWN, 53)).await?);
    steering.begin()?;
    if let Err(error) = point_to_resolver(Path::new(RESOLV_CONF)) {
        report(&format!("{RESOLV_CONF} stays as it is: {error}"));
    }
    let names = Arc::new(Names::new(NETWORK));
    let (v4, v6) = steering.listeners;
    let v6 = async {
        match v6 {
            Some(listener) => serve(TcpListener::from_std(listener)?, names.clone(), gateway.clone()).await,
            None => Ok(std::future::pending().await),
        }
    };
    tokio::select! {
        result = serve(TcpListener::from_std(v4)?, names.clone(), gateway.clone()) => result,
        result = v6 => result,
        result = resolve(datagrams, streams, names.clone()) => result,
    }
}

/// Names the guest's resolver in this file, if it does not already. Another resolver cannot be reached from the guest.
fn point_to_resolver(file: &Path) -> io::Result<()> {
    let text = format!("nameserver {OWN}\n");
    match fs::symlink_metadata(file) {
        Ok(found) if found.is_file() && found.len() == text.len() as u64 && fs::read_to_string(file)? == text => {
            return Ok(());
        }
        Ok(found) if found.is_file() => report(&format!("{RESOLV_CONF} names the guest's resolver now")),
        // A link to what a daemon writes that does not run here would be followed, and a pipe waited for.
        Ok(_) => fs::remove_file(file)?,
        Err(_) => {}
    }
    fs::write(file, text)
}
