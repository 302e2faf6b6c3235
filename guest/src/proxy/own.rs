//! What programs ask the proxy for that is the guest itself, by the name that it has now or as `[::1]`.
//!
//! A program keeps the NO_PROXY that it was started with. In a fork that names the original; what its programs ask of the fork's
//! own name comes here, and is answered here. So is `[::1]`, which NO_PROXY cannot name.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use rustix::{net::sockopt::set_socket_linger, system::uname};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::TcpStream,
    time::timeout,
};

/// Longest head of a request that is looked at, in bytes; a longer one is the host's to judge.
const HEAD_MAX: usize = 64 << 10;
/// Longest name of a method, in bytes.
const METHOD_MAX: usize = 16;
/// Longest wait for the head of a request. What takes longer is the host's to wait for.
const WITHIN: Duration = Duration::from_secs(30);
/// Addresses to which the guest's own name leads (see /etc/hosts), and on which its servers listen else.
const ADDRESSES: [IpAddr; 3] =
    [IpAddr::V4(Ipv4Addr::new(127, 0, 1, 1)), IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
/// The guest itself as an address of IPv6, as URLs have it.
const LOOPBACK: &str = "[::1]";
const CONNECTED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// A connection that a program wants to the guest itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Own {
    port: u16,
    /// Whether the connection is a tunnel, and not a single request.
    tunnel: bool,
    /// Bytes that the server gets first.
    start: Bytes,
}

/// Reads what a program says first, as far as it takes to tell whether it wants the guest itself. Whatever was read is in
/// `first`.
pub(super) async fn wanted(stream: &mut TcpStream, first: &mut BytesMut) -> Option<Own> {
    let name = uname().nodename().to_string_lossy().into_owned();
    let reads = async {
        loop {
            match look(first, &name) {
                Look::Own(own) => return Some(own),
                Look::Other => return None,
                Look::More => {}
            }
            first.reserve(1024);
            let Ok(1..) = stream.read_buf(first).await else { return None };
        }
    };
    timeout(WITHIN, reads).await.ok().flatten()
}

/// Carries it to the server that listens there, and back.
pub(super) async fn carry(mut program: TcpStream, own: Own) {
    if let Err(error) = carried(&mut program, &own).await {
        let text = format!("pilothouse: nothing answers on port {} of this VM: {error}\n", own.port);
        let head = "Content-Type: text/plain; charset=utf-8\r\nConnection: close";
        let answer = format!("HTTP/1.1 502 Bad Gateway\r\n{head}\r\nContent-Length: {}\r\n\r\n{text}", text.len());
        let _ = program.write_all(answer.as_bytes()).await;
        let _ = program.shutdown().await;
    }
}

/// An error: nothing was said to the program yet.
async fn carried(program: &mut TcpStream, own: &Own) -> io::Result<()> {
    let mut server = connect(own.port).await?;
    let _ = server.set_nodelay(true);
    let started = async {
        if own.tunnel {
            program.write_all(CONNECTED).await?;
        }
        server.write_all(&own.start).await?;
        copy_bidirectional(program, &mut server).await
    };
    if started.await.is_err() {
        // One of the two broke it, which the other is to see as well. Where that fails, it is gone already.
        for stream in [&*program, &server] {
            let _ = set_socket_linger(stream, Some(Duration::ZERO));
        }
    }
    Ok(())
}

async fn connect(port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::ConnectionRefused);
    for address in ADDRESSES {
        match TcpStream::connect((address, port)).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[derive(Debug, PartialEq, Eq)]
enum Look {
    /// What came so far does not tell yet what the program wants.
    More,
    /// The program wants something else, or nothing that can be understood here.
    Other,
    Own(Own),
}

fn look(first: &[u8], name: &str) -> Look {
    let Some(end) = first.iter().position(|&byte| byte == b'\n') else {
        return if first.len() < HEAD_MAX && may_be_a_request(first) { Look::More } else { Look::Other };
    };
    let Some(target) = Target::of(&first[..end], name) else { return Look::Other };
    let Some(head) = first.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
        return if first.len() < HEAD_MAX { Look::More } else { Look::Other };
    };
    let (head, rest) = first.split_at(head + 4);
    let mut start = BytesMut::new();
    if !target.tunnel {
        start.extend_from_slice(&target.line);
        // The head that goes on to the server: one request, because the program's next one may want something else.
        for header in head[end + 1..].split_inclusive(|&byte| byte == b'\n').filter(|line| *line != b"\r\n") {
            if !of_one_hop(header) {
                start.extend_from_slice(header);
            }
        }
        start.extend_from_slice(b"Connection: close\r\n\r\n");
    }
    start.extend_from_slice(rest);
    Look::Own(Own { port: target.port, tunnel: target.tunnel, start: start.freeze() })
}

/// Whether what came so far may become the line of a request.
fn may_be_a_request(bytes: &[u8]) -> bool {
    let method = bytes.split(|&byte| byte == b' ').next().unwrap_or_default();
    method.len() <= METHOD_MAX && method.iter().all(u8::is_ascii_uppercase)
}

/// Whether a header speaks of the connection to the proxy alone.
fn of_one_hop(header: &[u8]) -> bool {
    let name = header.split(|&byte| byte == b':').next().unwrap_or_default();
    [&b"connection"[..], b"keep-alive", b"proxy-connection", b"proxy-authorization"]
        .iter()
        .any(|hop| name.eq_ignore_ascii_case(hop))
}

/// What the first line of a request asks for.
struct Target {
    port: u16,
    tunnel: bool,
    /// First line of the request as the server gets it.
    line: Vec<u8>,
}

impl Target {
    /// Parses the first line of a request. None: it is not for the machine of this name.
    fn of(line: &[u8], name: &str) -> Option<Self> {
        let line = std::str::from_utf8(line).ok()?.strip_suffix('\r')?;
        let mut words = line.split(' ');
        let (method, target, version) = (words.next()?, words.next()?, words.next()?);
        let tunnel = method == "CONNECT";
        let (authority, path) = if tunnel {
            (target, "")
        } else {
            let rest = target.strip_prefix("http://")?;
            rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()))
        };
        let colon = if authority.starts_with(LOOPBACK) { Some(LOOPBACK.len()) } else { authority.find(':') };
        let (host, port) = authority.split_at(colon.unwrap_or(authority.len()));
        let port = match port.strip_prefix(':') {
            Some(port) => port.parse().ok()?,
            None if tunnel || !port.is_empty() => return None,
            None => 80,
        };
        let slash = if path.starts_with('/') { "" } else { "/" };
        let line = format!("{method} {slash}{path} {version}\r\n").into_bytes();
        let host = host.strip_suffix('.').unwrap_or(host);
        let own = host == LOOPBACK || host.eq_ignore_ascii_case(name);
        (words.next().is_none() && port > 0 && own).then_some(Self { port, tunnel, line })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(port: u16, tunnel: bool, start: &str) -> Look {
        Look::Own(Own { port, tunnel, start: Bytes::copy_from_slice(start.as_bytes()) })
    }

    #[test]
    fn what_names_this_machine_is_its_own_request_without_the_proxy() {
        let asked = b"POST http://Fix-3f:8000/a?b HTTP/1.1\r\nHost: fix-3f:8000\r\nProxy-Connection: keep-alive\r\n\
            connection: keep-alive, x\r\nContent-Length: 2\r\n\r\nhi";
        let gets = "POST /a?b HTTP/1.1\r\nHost: fix-3f:8000\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi";
        assert_eq!(look(asked, "fix-3f"), own(8000, false, gets));
        assert_eq!(look(asked, "fix-4f"), Look::Other);
        // In whatever pieces it comes.
        let head = asked.len() - 2;
        assert!((0..head).all(|length| look(&asked[..length], "fix-3f") == Look::More));
        assert_eq!(
            look(b"CONNECT fix-3f.:22 HTTP/1.1\r\nHost: x\r\n\r\n\x16\x03", "fix-3f"),
            own(22, true, "\x16\x03")
        );
        let root = "GET / HTTP/1.0\r\nConnection: close\r\n\r\n";
        assert_eq!(look(b"GET http://[::1] HTTP/1.0\r\n\r\n", "fix-3f"), own(80, false, root));
        assert_eq!(look(b"CONNECT [::1]:22 HTTP/1.1\r\n\r\n", "fix-3f"), own(22, true, ""));
        assert_eq!(look(b"GET http://fix-3f HTTP/1.0\r\n\r\n", "fix-3f"), own(80, false, root));
    }

    #[test]
    fn all_else_is_the_hosts_to_judge_as_soon_as_that_is_clear() {
        for other in [
            &b"hello"[..],
            b"!",
            b"\x16\x03\x01",
            b"GETTINGVERYLONGNOW",
            b"GET / HTTP/1.1\r\n",
            b"GET http://fix-3f.example.com/ HTTP/1.1\r\n",
            b"GET https://fix-3f/ HTTP/1.1\r\n",
            b"GET http://ann:word@fix-3f/ HTTP/1.1\r\n",
            b"CONNECT fix-3f HTTP/1.1\r\n",
            b"CONNECT fix-3f:0 HTTP/1.1\r\n",
            b"CONNECT [::1] HTTP/1.1\r\n",
            b"GET http://[::1]8/ HTTP/1.1\r\n",
            b"GET http://[::2]:8/ HTTP/1.1\r\n",
            b"CONNECT fix-3f:70000 HTTP/1.1\r\n",
            b"GET http://fix-3f/ a HTTP/1.1\r\n",
            b"GET http://fix-3f/ HTTP/1.1\n",
            b"\n",
        ] {
            assert_eq!(look(other, "fix-3f"), Look::Other, "{:?}", String::from_utf8_lossy(other));
        }
        let long = [b"GET http://fix-3f/ HTTP/1.1\r\nA: ".to_vec(), vec![b'a'; HEAD_MAX]].concat();
        assert_eq!(look(&long, "fix-3f"), Look::Other);
        assert_eq!(look(&long[..1000], "fix-3f"), Look::More);
        assert_eq!(look(b"", "fix-3f"), Look::More);
    }
}
