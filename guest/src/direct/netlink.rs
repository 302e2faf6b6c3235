//! An address and routes of `lo`, by rtnetlink.

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink::SocketAddrNetlink, recv, sendto, socket_with,
};

/// Index of `lo`, the same in every network namespace.
const LO: u32 = 1;
/// The least of all routes: whatever else there is, e.g. to containers, goes before it.
const LEAST: u32 = i32::MAX.cast_unsigned();
/// Length of `struct nlmsghdr`, in bytes.
const HEADER: usize = 16;

/// Gives `lo` another address.
pub(super) fn add_address(address: Ipv4Addr) -> io::Result<()> {
    let octets = address.octets();
    // struct ifaddrmsg: family, length of the prefix, flags, scope, index.
    let mut body = vec![family(address.into()), 32, 0, 0];
    body.extend_from_slice(&LO.to_ne_bytes());
    attribute(&mut body, libc::IFA_LOCAL, &octets);
    attribute(&mut body, libc::IFA_ADDRESS, &octets);
    request(libc::RTM_NEWADDR, &body)
}

/// Makes all addresses that no other route leads to addresses of `lo`; connections to them come from `source`.
pub(super) fn add_route(source: IpAddr) -> io::Result<()> {
    // struct rtmsg: family, lengths of destination and source, TOS, table, protocol, scope, type, flags.
    let mut body = vec![family(source), 0, 0, 0, libc::RT_TABLE_MAIN, libc::RTPROT_STATIC, libc::RT_SCOPE_HOST];
    body.push(libc::RTN_LOCAL);
    body.extend_from_slice(&[0; 4]);
    attribute(&mut body, libc::RTA_OIF, &LO.to_ne_bytes());
    attribute(&mut body, libc::RTA_PRIORITY, &LEAST.to_ne_bytes());
    match source {
        IpAddr::V4(source) => attribute(&mut body, libc::RTA_PREFSRC, &source.octets()),
        IpAddr::V6(source) => attribute(&mut body, libc::RTA_PREFSRC, &source.octets()),
    }
    request(libc::RTM_NEWROUTE, &body)
}

fn family(address: IpAddr) -> u8 {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    u8::try_from(family.as_raw()).unwrap_or_default()
}

/// Appends a `struct rtattr`. All that are used here are aligned as they are.
fn attribute(body: &mut Vec<u8>, kind: u16, data: &[u8]) {
    let length = u16::try_from(4 + data.len()).unwrap_or_default();
    body.extend_from_slice(&length.to_ne_bytes());
    body.extend_from_slice(&kind.to_ne_bytes());
    body.extend_from_slice(data);
}

/// Asks the kernel for one thing, and hears whether it was done.
fn request(kind: u16, body: &[u8]) -> io::Result<()> {
    let flags = libc::NLM_F_REQUEST | libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_REPLACE;
    let mut message = u32::try_from(HEADER + body.len()).map_err(io::Error::other)?.to_ne_bytes().to_vec();
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(&u16::try_from(flags).map_err(io::Error::other)?.to_ne_bytes());
    message.extend_from_slice(&[0; 8]);
    message.extend_from_slice(body);
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    sendto(&socket, &message, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut answer = [0; 4096];
    // It is there already: the kernel does such things while they are sent.
    let (length, _) = recv(&socket, &mut answer[..], RecvFlags::DONTWAIT)?;
    outcome(&answer[..length])
}

/// The outcome that a `struct nlmsgerr` tells.
fn outcome(answer: &[u8]) -> io::Result<()> {
    let odd = || io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer is not understood");
    let (header, rest) = answer.split_first_chunk::<HEADER>().ok_or_else(odd)?;
    let (error, _) = rest.split_first_chunk().ok_or_else(odd)?;
    if i32::from(u16::from_ne_bytes([header[4], header[5]])) != libc::NLMSG_ERROR {
        return Err(odd());
    }
    match i32::from_ne_bytes(*error) {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error.wrapping_neg())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asked in a way that whoever is not root may, and that nobody's machine is changed by: for an interface that is not there.
    #[test]
    fn what_the_kernel_refuses_is_an_error() {
        let mut body = vec![family(Ipv4Addr::LOCALHOST.into()), 32, 0, 0];
        body.extend_from_slice(&i32::MAX.to_ne_bytes());
        attribute(&mut body, libc::IFA_LOCAL, &[127, 0, 0, 9]);
        let error = request(libc::RTM_NEWADDR, &body).unwrap_err().raw_os_error();
        assert!([Some(libc::ENODEV), Some(libc::EPERM)].contains(&error), "{error:?}");
    }

    #[test]
    fn what_is_no_answer_is_no_success() {
        let mut answer = vec![0; HEADER + 4];
        assert!(outcome(&answer).is_err());
        answer[4..6].copy_from_slice(&2_u16.to_ne_bytes());
        assert!(outcome(&answer).is_ok());
        assert!((0..answer.len()).all(|length| outcome(&answer[..length]).is_err()));
    }
}
