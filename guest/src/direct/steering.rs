//! How the kernel comes to hand connections to anywhere to one listener.

use std::{
    fs::File,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    os::fd::{AsFd as _, OwnedFd},
};

use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, listen, socket_with,
    sockopt::{set_ipv6_v6only, set_socket_reuseaddr},
};

use super::{
    OWN,
    bpf::{self, Instruction, Sockets},
    netlink,
};
use crate::boot_log::report;

/// Port of the listeners on the loopback addresses, where nobody connects to them.
const PORT: u16 = 3129;
/// Most connections that wait to be taken.
const BACKLOG: i32 = 1024;
const NO_V6: &str = "no direct connections over IPv6";

/// What steers connections, for as long as it is kept.
#[derive(Debug)]
pub(super) struct Steering {
    /// The listener of IPv4 and that of IPv6, None where the kernel has no IPv6.
    pub(super) listeners: (TcpListener, Option<TcpListener>),
    _sockets: Sockets,
    _link: OwnedFd,
}

/// Sets up everything but the routes.
///
/// # Errors
/// The kernel lacks something for IPv4. What it lacks for IPv6 is reported.
pub(super) fn set_up() -> io::Result<Steering> {
    let doing = |what: &'static str| move |error: io::Error| io::Error::new(error.kind(), format!("{what}: {error}"));
    let sockets = Sockets::new(2).map_err(doing("a map of bpf"))?;
    let v4 = listener(IpAddr::V4(Ipv4Addr::LOCALHOST)).map_err(doing("a listener"))?;
    sockets.put(0, v4.as_fd()).map_err(doing("a socket in a map of bpf"))?;
    let v6 = listener(IpAddr::V6(Ipv6Addr::LOCALHOST)).and_then(|v6| sockets.put(1, v6.as_fd()).map(|()| v6));
    let program = bpf::load(&program(sockets.number())).map_err(doing("a program of bpf"))?;
    let namespace = File::open("/proc/self/ns/net")?;
    let link = bpf::attach(program.as_fd(), namespace.as_fd()).map_err(doing("attaching a program of bpf"))?;
    netlink::add_address(OWN).map_err(doing("an address of lo"))?;
    let v6 = v6.inspect_err(|error| report(&format!("{NO_V6}: {error}"))).ok();
    Ok(Steering { listeners: (v4, v6), _sockets: sockets, _link: link })
}

impl Steering {
    /// Has routes lead everything to the listeners: the last step, so that nothing is changed where an earlier one fails.
    ///
    /// # Errors
    /// There is no route for IPv4. That there is none for IPv6 is reported.
    pub(super) fn begin(&mut self) -> io::Result<()> {
        netlink::add_route(OWN.into())
            .map_err(|error| io::Error::new(error.kind(), format!("a route to lo: {error}")))?;
        if self.listeners.1.is_some()
            && let Err(error) = netlink::add_route(Ipv6Addr::LOCALHOST.into())
        {
            report(&format!("{NO_V6}: {error}"));
            self.listeners.1 = None;
        }
        Ok(())
    }
}

/// A listener that speaks for addresses that are nobody's.
fn listener(address: IpAddr) -> io::Result<TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv4() {
        speak_for_all(&socket)?;
    } else {
        set_ipv6_v6only(&socket, true)?;
    }
    bind(&socket, &SocketAddr::new(address, PORT))?;
    listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

/// Sets `IP_TRANSPARENT`: answers may come from any address, whatever routes programs like Docker add.
#[allow(unsafe_code)]
fn speak_for_all(socket: &OwnedFd) -> io::Result<()> {
    use std::os::fd::AsRawFd as _;
    let on: libc::c_int = 1;
    let length = libc::socklen_t::try_from(size_of_val(&on)).map_err(io::Error::other)?;
    let (level, option) = (libc::SOL_IP, libc::IP_TRANSPARENT);
    // SAFETY: the kernel reads one number.
    let set = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const on).cast(), length) };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Registers by their use.
const RESULT: u8 = 0;
const FIRST: u8 = 1;
const SECOND: u8 = 2;
const THIRD: u8 = 3;
const CONTEXT: u8 = 6;
const KEPT: u8 = 7;
const FRAME: u8 = 10;

/// Offsets in `struct bpf_sk_lookup`. The remote end is who connects, the local end what is connected to.
const FAMILY: i16 = 8;
const PROTOCOL: i16 = 12;
const REMOTE_V4: i16 = 16;
const REMOTE_V6: i16 = 20;
const LOCAL_V4: i16 = 40;
const LOCAL_V6: i16 = 44;
const INTERFACE: i16 = 64;

const PASS: i32 = 1;
const DROP: i32 = 0;
/// Number of `lo`.
const LO: i32 = 1;

const MAP_LOOKUP_ELEM: i32 = 1;
const SK_RELEASE: i32 = 86;
const SK_ASSIGN: i32 = 124;

/// Networks that containers inside have and their bridges are in: (address, mask).
const PRIVATE: [(Ipv4Addr, Ipv4Addr); 5] = [
    (Ipv4Addr::new(10, 0, 0, 0), Ipv4Addr::new(255, 0, 0, 0)),
    (Ipv4Addr::new(127, 0, 0, 0), Ipv4Addr::new(255, 0, 0, 0)),
    (Ipv4Addr::new(169, 254, 0, 0), Ipv4Addr::new(255, 255, 0, 0)),
    (Ipv4Addr::new(172, 16, 0, 0), Ipv4Addr::new(255, 240, 0, 0)),
    (Ipv4Addr::new(192, 168, 0, 0), Ipv4Addr::new(255, 255, 0, 0)),
];

/// The program that the kernel asks for the first packet of a connection, and for each datagram that no connected socket takes.
///
/// A connection to an address that some interface has comes from that very address; only one that went by the route to everywhere
/// comes from [`OWN`] or `::1`. What a container sends comes by another interface: it is steered, unless it is to a private address,
/// such as its bridge's. TCP is handed to the listener, and a datagram refused. What is not steered goes where it would without us.
fn program(sockets: i32) -> Vec<Instruction> {
    let mut code = Assembly::default();
    code.copy(CONTEXT, FIRST);
    code.set(KEPT, 0);
    code.load(SECOND, CONTEXT, FAMILY);
    code.jump_if(SECOND, libc::AF_INET, Label::V4);
    code.jump_unless(SECOND, libc::AF_INET6, Label::Pass);
    let loopback = [0, 0, 0, i32::from_ne_bytes([0, 0, 0, 1])];
    for (offset, word) in (REMOTE_V6..).step_by(4).zip(loopback) {
        code.load(SECOND, CONTEXT, offset);
        code.jump_unless(SECOND, word, Label::Pass);
    }
    code.set(KEPT, 1);
    for (offset, word) in (LOCAL_V6..).step_by(4).zip(loopback) {
        code.load(SECOND, CONTEXT, offset);
        code.jump_unless(SECOND, word, Label::Steer);
    }
    code.jump(Label::Pass);

    code.label(Label::V4);
    code.load(SECOND, CONTEXT, LOCAL_V4);
    code.jump_if(SECOND, word(OWN), Label::Pass);
    code.load(THIRD, CONTEXT, REMOTE_V4);
    code.jump_if(THIRD, word(OWN), Label::Steer);
    code.load(THIRD, CONTEXT, INTERFACE);
    code.jump_if(THIRD, LO, Label::Pass);
    for (network, mask) in PRIVATE {
        code.copy(THIRD, SECOND);
        code.and(THIRD, word(mask));
        code.jump_if(THIRD, word(network), Label::Pass);
    }

    code.label(Label::Steer);
    code.load(SECOND, CONTEXT, PROTOCOL);
    code.jump_unless(SECOND, libc::IPPROTO_TCP, Label::Drop);
    code.store(FRAME, -4, KEPT);
    code.copy(SECOND, FRAME);
    code.add(SECOND, -4);
    code.set_map(FIRST, sockets);
    code.call(MAP_LOOKUP_ELEM);
    code.jump_if_null(RESULT, Label::Drop);
    code.copy(KEPT, RESULT);
    code.copy(FIRST, CONTEXT);
    code.copy(SECOND, KEPT);
    code.set(THIRD, 0);
    code.call(SK_ASSIGN);
    code.copy(FIRST, KEPT);
    code.call(SK_RELEASE);
    code.label(Label::Pass);
    code.set(RESULT, PASS);
    code.exit();
    code.label(Label::Drop);
    code.set(RESULT, DROP);
    code.exit();
    code.finished()
}

/// An address as the program finds it in memory.
fn word(address: Ipv4Addr) -> i32 {
    i32::from_ne_bytes(address.octets())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Label {
    V4,
    Steer,
    Pass,
    Drop,
}

/// A program under way.
#[derive(Default)]
struct Assembly {
    code: Vec<Instruction>,
    /// Where labels are.
    labels: Vec<(Label, usize)>,
    /// Which instructions jump to them.
    jumps: Vec<(usize, Label)>,
}

impl Assembly {
    fn push(&mut self, code: u8, to: u8, from: u8, offset: i16, immediate: i32) {
        self.code.push(Instruction { code, registers: from << 4 | to, offset, immediate });
    }

    fn copy(&mut self, to: u8, from: u8) {
        self.push(0xbf, to, from, 0, 0);
    }

    fn set(&mut self, to: u8, number: i32) {
        self.push(0xb7, to, 0, 0, number);
    }

    fn add(&mut self, to: u8, number: i32) {
        self.push(0x07, to, 0, 0, number);
    }

    /// Of the lower 32 bits; the upper ones are zero then.
    fn and(&mut self, to: u8, number: i32) {
        self.push(0x54, to, 0, 0, number);
    }

    /// Loads 32 bits from memory.
    fn load(&mut self, to: u8, from: u8, offset: i16) {
        self.push(0x61, to, from, offset, 0);
    }

    /// Stores 32 bits to memory.
    fn store(&mut self, to: u8, offset: i16, from: u8) {
        self.push(0x63, to, from, offset, 0);
    }

    /// The address of a map, which takes the room of two instructions.
    fn set_map(&mut self, to: u8, map: i32) {
        /// `BPF_PSEUDO_MAP_FD`: the number is a file descriptor.
        const MAP_FD: u8 = 1;
        self.push(0x18, to, MAP_FD, 0, map);
        self.push(0, 0, 0, 0, 0);
    }

    fn call(&mut self, function: i32) {
        self.push(0x85, 0, 0, 0, function);
    }

    fn exit(&mut self) {
        self.push(0x95, 0, 0, 0, 0);
    }

    fn jump(&mut self, to: Label) {
        self.jump_by(0x05, 0, 0, to);
    }

    /// Compares 32 bits, as do the others.
    fn jump_if(&mut self, register: u8, is: i32, to: Label) {
        self.jump_by(0x16, register, is, to);
    }

    fn jump_unless(&mut self, register: u8, is: i32, to: Label) {
        self.jump_by(0x56, register, is, to);
    }

    /// Compares a whole address.
    fn jump_if_null(&mut self, register: u8, to: Label) {
        self.jump_by(0x15, register, 0, to);
    }

    fn jump_by(&mut self, code: u8, register: u8, number: i32, to: Label) {
        self.jumps.push((self.code.len(), to));
        self.push(code, register, 0, 0, number);
    }

    fn label(&mut self, label: Label) {
        self.labels.push((label, self.code.len()));
    }

    /// The program, its jumps by as many instructions as they skip. One to a label that is nowhere would be refused by the kernel.
    fn finished(mut self) -> Vec<Instruction> {
        for (at, label) in self.jumps {
            let to = self.labels.iter().find(|(known, _)| *known == label).map(|&(_, to)| to);
            let skipped = to.and_then(|to| to.checked_sub(at + 1)).and_then(|skipped| i16::try_from(skipped).ok());
            self.code[at].offset = skipped.unwrap_or(i16::MAX);
        }
        self.code
    }
}
