//! Which destinations a guest may reach.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use hostd_core::{
    first_words::{Told, told},
    local_services::LocalServices,
    recipe::{Egress, HOST_LOOPBACK, Speaks, is_in_private_network},
};
use hyper::{Method, Request, StatusCode};
use tokio::{net::TcpStream, time::timeout};

use super::caller::Caller;
use crate::local_services::LocalFile;

/// Longest time for finding a name's addresses and connecting to one of them.
const CONNECT_DEADLINE: Duration = Duration::from_secs(15);
/// Longest time for connecting to one address, where there are others.
const ADDRESS_DEADLINE: Duration = Duration::from_secs(5);
/// Most addresses of one name that are tried.
const ADDRESSES: usize = 4;

/// Destination that a guest asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Destination {
    /// Name or address, in lower case, without brackets and without a dot at its end.
    pub(super) host: String,
    pub(super) port: u16,
}

impl Destination {
    /// The destination of a CONNECT, or of a request with a whole `http://` URL; None for anything else.
    pub(super) fn of<B>(request: &Request<B>) -> Option<Self> {
        let uri = request.uri();
        let port = match (request.method(), uri.scheme_str()) {
            (&Method::CONNECT, None) => uri.port_u16()?,
            (_, Some("http")) => uri.port_u16().unwrap_or(80),
            _ => return None,
        };
        let host = uri.host()?.to_ascii_lowercase();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&host);
        let host = host.strip_suffix('.').unwrap_or(host);
        (is_host(host) && port > 0).then(|| Self { host: host.into(), port })
    }

    /// The address of the host; None: the host is a name.
    fn literal(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// Whether only what a person says knowingly leads there: to the host's own loopback, or to an address that is not a public one.
    pub(super) fn is_private(&self) -> bool {
        self.host == HOST_LOOPBACK || self.literal().is_some_and(|address| !is_public(address))
    }

    /// Whether an egress entry names the destination.
    pub(super) fn is(&self, entry: &Egress) -> bool {
        entry.names(&self.host, self.port)
    }

    /// Whether people may let a session be led to this address by the destination.
    fn is_theirs(&self, address: IpAddr) -> bool {
        self.host == HOST_LOOPBACK || is_in_private_network(address)
    }

    /// Whether the destination is the guest itself, which it does not reach through the proxy.
    fn is_of(&self, caller: &Caller) -> bool {
        let own = |address: IpAddr| address.is_loopback() || address.is_unspecified();
        match self.literal() {
            Some(address) => own(address.to_canonical()),
            None => self.host == "localhost" || self.host.ends_with(".localhost") || self.host == caller.slug,
        }
    }
}

/// Whether a host is an address, or a name as the world's resolvers have them: people are shown it, and asked whether to allow it.
fn is_host(host: &str) -> bool {
    let of_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    let is_name = (1..=253).contains(&host.len()) && !host.starts_with(['.', '-']) && host.bytes().all(of_name);
    is_name || host.parse::<IpAddr>().is_ok()
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// Why a guest does not get to a destination; for the guest to read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error(
        "pilothouse: {destination} is not allowed from environment `{environment}`; to allow it, add \"{destination}\" to egress in its recipe and build it again"
    )]
    NotListed { destination: Destination, environment: String },
    #[error(
        "pilothouse: {destination} is this VM itself, and is not reached through the proxy; connect without it: NO_PROXY={}", .destination.host
    )]
    Own { destination: Destination },
    #[error(
        "pilothouse: {destination} leads to {address}, which is not a public address; to allow that, write {{ to = \"{destination}\", private = true }} in egress of environment `{environment}`, or add \"{address}\" to it, and build it again"
    )]
    NotPublic { destination: Destination, address: SocketAddr, environment: String },
    #[error(
        "pilothouse: with {destination} {spoken} alone may be spoken, as egress of environment `{environment}` has it"
    )]
    NotSpoken { destination: Destination, spoken: &'static str, environment: String },
    #[error(
        "pilothouse: {destination} leads to {address}, which is not a public address, and is none of the services that this host names; a person may add \"{destination}\" to `local` in egress.toml of hostd's data folder"
    )]
    NotOfHost { destination: Destination, address: SocketAddr },
    #[error("pilothouse: {destination} could not be reached from the host: {error}")]
    Unreachable { destination: Destination, error: io::Error },
}

impl Refusal {
    /// The word of metrics.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::NotListed { .. } => "not-listed",
            Self::Own { .. } => "own",
            Self::NotPublic { .. } => "not-public",
            Self::NotSpoken { .. } => "not-spoken",
            Self::NotOfHost { .. } => "not-of-host",
            Self::Unreachable { .. } => "unreachable",
        }
    }

    /// The refusal in a few words, for those who look at it from the host; None: it was allowed, and failed.
    pub(super) fn word(&self) -> Option<String> {
        match self {
            Self::NotListed { destination, .. } if destination.is_private() => {
                Some("not in egress, a private address".into())
            }
            Self::NotListed { .. } => Some("not in egress".into()),
            Self::Own { .. } => Some("the VM itself".into()),
            Self::NotPublic { address, destination, .. } if destination.is_theirs(address.ip()) => {
                Some(format!("a private address, {}", address.ip()))
            }
            Self::NotPublic { address, .. } => Some(format!("of this host or its cloud: {}", address.ip())),
            Self::NotOfHost { .. } => Some("not in the host's egress.toml".into()),
            Self::NotSpoken { .. } => Some("speaks something else than its entry in egress".into()),
            Self::Unreachable { .. } => None,
        }
    }

    /// What a person has to say for it to be allowed; None: it is not theirs to allow.
    pub(super) fn allowed_by(&self, slug: &str) -> Option<String> {
        match self {
            Self::NotListed { destination, .. } if destination.is_private() => {
                Some(format!("pilothouse allow --private {slug} {destination}"))
            }
            Self::NotListed { destination, .. } | Self::NotSpoken { destination, .. } => {
                Some(format!("pilothouse allow {slug} {destination}"))
            }
            Self::NotPublic { destination, address, .. } if destination.is_theirs(address.ip()) => {
                Some(format!("pilothouse allow --private {slug} {destination}"))
            }
            Self::Own { .. } | Self::NotPublic { .. } | Self::NotOfHost { .. } | Self::Unreachable { .. } => None,
        }
    }

    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::NotListed { .. }
            | Self::Own { .. }
            | Self::NotPublic { .. }
            | Self::NotOfHost { .. }
            | Self::NotSpoken { .. } => StatusCode::FORBIDDEN,
            Self::Unreachable { error, .. } if error.kind() == io::ErrorKind::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            Self::Unreachable { .. } => StatusCode::BAD_GATEWAY,
        }
    }
}

/// Connects to a destination that the caller may reach. Only addresses that were judged are connected to: a name cannot
/// change its mind in between. `local` is what the host names of its own services; None: it bounds nothing.
pub(super) async fn connect(
    caller: &Caller,
    destination: &Destination,
    local: Option<&LocalFile>,
) -> Result<TcpStream, Refusal> {
    if !listed(caller, destination) {
        if destination.is_of(caller) {
            return Err(Refusal::Own { destination: destination.clone() });
        }
        let environment = caller.environment.clone();
        return Err(Refusal::NotListed { destination: destination.clone(), environment });
    }
    let unreachable = |error| Refusal::Unreachable { destination: destination.clone(), error };
    let connected = async {
        let addresses = addresses(caller, destination).await?;
        if let Some(named) = local.map(LocalFile::named) {
            let barred = |address: &&SocketAddr| {
                !is_public(address.ip()) && !of_host(caller, destination, named.as_deref(), address.ip())
            };
            if let Some(&address) = addresses.iter().find(barred) {
                return Err(Refusal::NotOfHost { destination: destination.clone(), address });
            }
        }
        let mut error = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in addresses.into_iter().take(ADDRESSES) {
            match timeout(ADDRESS_DEADLINE, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // A keystroke to the other end must not wait for an acknowledgement; without it, it is only slower.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Ok(Err(failed)) => error = failed,
                Err(_) => error = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(unreachable(error))
    };
    timeout(CONNECT_DEADLINE, connected).await.unwrap_or_else(|_| Err(unreachable(io::ErrorKind::TimedOut.into())))
}

/// Whether the caller may reach the destination.
pub(super) fn listed(caller: &Caller, destination: &Destination) -> bool {
    caller.reach().any(|entry| destination.is(entry))
}

/// Whether the caller may speak HTTP with the destination, over TLS or without it.
pub(super) fn listed_for_http(caller: &Caller, destination: &Destination, encrypted: bool) -> bool {
    let spoken = if encrypted { Speaks::Tls } else { Speaks::Http };
    let lets = |entry: &Egress| [Speaks::Anything, spoken].contains(&entry.speaks());
    caller.reach().any(|entry| destination.is(entry) && lets(entry))
}

/// Whether the host has it that the caller is led to this address, which is not a public one: a credential of the host leads there, or
/// its file names the service. Where it has no file, recipes alone decide on its loopback by its name and on private networks, and
/// nobody on anything else.
fn of_host(caller: &Caller, destination: &Destination, named: Option<&LocalServices>, address: IpAddr) -> bool {
    let is_place = destination.host == HOST_LOOPBACK || destination.literal().is_some();
    let leads = |entry: &Egress| destination.is(entry) && (is_place || entry.may_lead_to(address));
    if caller.beside.credentials.iter().any(leads) {
        return true;
    }
    let Some(named) = named else {
        let port = destination.port;
        let of_address = |entry: &Egress| entry.names(&address.to_canonical().to_string(), port);
        return (destination.host == HOST_LOOPBACK || is_in_private_network(address))
            && caller.egress.iter().any(|entry| leads(entry) || of_address(entry));
    };
    named.name(&destination.host, destination.port, address)
}

/// What may be spoken with a destination that the caller may reach.
#[derive(Clone, Debug)]
pub(super) struct Spoken {
    destination: Destination,
    /// Never anything; not empty.
    kinds: Vec<Speaks>,
}

impl Spoken {
    /// What the entries that name the destination let through; None: anything.
    pub(super) fn with(caller: &Caller, destination: &Destination) -> Option<Self> {
        let naming = caller.reach().filter(|entry| destination.is(entry));
        let kinds: Vec<_> = naming.map(Egress::speaks).collect();
        let bounded = !kinds.is_empty() && !kinds.contains(&Speaks::Anything);
        bounded.then(|| Self { destination: destination.clone(), kinds })
    }

    /// Whether requests in plain HTTP are among it.
    pub(super) fn has_http(&self) -> bool {
        self.kinds.contains(&Speaks::Http)
    }

    /// What the first bytes of a program tell.
    pub(super) fn told(&self, said: &[u8]) -> Told {
        let all: Vec<_> = self.kinds.iter().map(|&kind| told(said, &self.destination.host, kind)).collect();
        [Told::Fits, Told::More].into_iter().find(|told| all.contains(told)).unwrap_or(Told::Other)
    }

    /// The refusal of all else.
    pub(super) fn refusal(&self, caller: &Caller) -> Refusal {
        let spoken = match (self.has_http(), self.kinds.contains(&Speaks::Tls)) {
            (true, true) => "HTTP, and TLS that asks for its name,",
            (true, false) => "HTTP",
            (false, _) => "TLS that asks for its name",
        };
        let (destination, environment) = (self.destination.clone(), caller.environment.clone());
        Refusal::NotSpoken { destination, spoken, environment }
    }

    /// What it is of.
    pub(super) fn destination(&self) -> &Destination {
        &self.destination
    }
}

/// Addresses of a listed destination: the address that it is, the host's own loopback, or what its name leads to as far as the
/// caller may go there.
async fn addresses(caller: &Caller, destination: &Destination) -> Result<Vec<SocketAddr>, Refusal> {
    let port = destination.port;
    let unreachable = |error| Refusal::Unreachable { destination: destination.clone(), error };
    let addresses = match destination.literal() {
        Some(address) => vec![SocketAddr::new(address, port)],
        None if destination.host == HOST_LOOPBACK => {
            vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]
        }
        None => resolve(destination).await.map_err(unreachable)?,
    };
    let leads = |address| {
        is_public(address) || by_host(caller, destination, address) || by_people(caller, destination, address)
    };
    match addresses.iter().find(|address| !leads(address.ip())) {
        None => Ok(addresses),
        Some(&address) => {
            let environment = caller.environment.clone();
            Err(Refusal::NotPublic { destination: destination.clone(), address, environment })
        }
    }
}

/// Whether the caller's recipe, or a credential, leads to this address, which is not a public one.
fn by_host(caller: &Caller, destination: &Destination, address: IpAddr) -> bool {
    let is_place = destination.host == HOST_LOOPBACK || destination.literal().is_some();
    let itself = Destination { host: address.to_string(), port: destination.port };
    let leads = |entry: &Egress| destination.is(entry) && (is_place || entry.may_lead_to(address)) || itself.is(entry);
    caller.egress.iter().chain(&caller.beside.credentials).any(leads)
}

/// Whether people have let the caller go to this address, which is not a public one. They are asked by a session: what they say leads
/// to private networks alone, and to the host's own loopback by its name.
fn by_people(caller: &Caller, destination: &Destination, address: IpAddr) -> bool {
    let itself = Destination { host: address.to_string(), port: destination.port };
    let leads = |entry: &Egress| entry.private && (destination.is(entry) || itself.is(entry));
    destination.is_theirs(address) && caller.beside.people.iter().any(leads)
}

async fn resolve(destination: &Destination) -> io::Result<Vec<SocketAddr>> {
    let lookup = tokio::net::lookup_host((destination.host.as_str(), destination.port));
    Ok(lookup.await?.collect())
}

/// Whether an address is one of the public internet: not this machine, not its networks, not a special range.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let shared = a == 100 && (64..128).contains(&b);
    let special = a == 0 || a >= 224 || (a == 192 && b == 0 && c == 0) || (a == 198 && (b == 18 || b == 19));
    !(address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_documentation()
        || shared
        || special)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    // Only 2000::/3 is given out; in it, 6to4 and NAT64's neighbours carry IPv4 addresses that would have to be judged again.
    match address.segments() {
        [0x2001, second, ..] => second >= 0x200 && second != 0xdb8,
        [0x2002, ..] => false,
        [first, ..] => (0x2000..0x4000).contains(&first),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("127.0.0.1", false)]
    #[case("10.1.2.3", false)]
    #[case("172.16.0.1", false)]
    #[case("192.168.0.1", false)]
    #[case("169.254.169.254", false)]
    #[case("100.64.0.1", false)]
    #[case("0.0.0.0", false)]
    #[case("224.0.0.1", false)]
    #[case("255.255.255.255", false)]
    #[case("198.18.0.1", false)]
    #[case("::1", false)]
    #[case("::", false)]
    #[case("::ffff:127.0.0.1", false)]
    #[case("::ffff:8.8.8.8", true)]
    #[case("fe80::1", false)]
    #[case("fd00::1", false)]
    #[case("64:ff9b::7f00:1", false)]
    #[case("2002:7f00:1::", false)]
    #[case("2001:db8::1", false)]
    #[case("2606:4700::1111", true)]
    #[case("2001:4860:4860::8888", true)]
    #[case("8.8.8.8", true)]
    fn addresses_are_judged(#[case] address: &str, #[case] public: bool) {
        assert_eq!(is_public(address.parse().unwrap()), public);
    }

    #[rstest]
    #[case("GET", "http://Example.com./x", Some("example.com:80"))]
    #[case("GET", "http://example.com:8080/", Some("example.com:8080"))]
    #[case("GET", "http://[::1]/", Some("[::1]:80"))]
    #[case("GET", "http://user@example.com/", Some("example.com:80"))]
    #[case("GET", "https://example.com/", None)]
    #[case("GET", "/x", None)]
    #[case("CONNECT", "example.com:443", Some("example.com:443"))]
    #[case("CONNECT", "example.com", None)]
    #[case("CONNECT", "example.com:0", None)]
    #[case("CONNECT", "*.example.com:443", None)]
    #[case("CONNECT", "$(id).example.com:443", None)]
    #[case("CONNECT", "a_b-c.example.com:443", Some("a_b-c.example.com:443"))]
    #[case("CONNECT", "-x.example.com:443", None)]
    #[case("GET", "http://a;b.example.com/", None)]
    fn destinations_are_read(#[case] method: &str, #[case] uri: &str, #[case] expected: Option<&str>) {
        let request = Request::builder().method(method).uri(uri).body(()).unwrap();
        assert_eq!(Destination::of(&request).map(|d| d.to_string()).as_deref(), expected);
    }
}
