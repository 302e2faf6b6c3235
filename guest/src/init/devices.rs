//! Devices that a guest cannot live without.

use std::{
    fs, io,
    os::fd::OwnedFd,
    path::PathBuf,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SocketFlags, SocketType, bind,
        netlink::{KOBJECT_UEVENT, SocketAddrNetlink},
        recv, socket_with,
    },
};

use super::error::BootError;

/// Devices that a guest cannot live without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Devices {
    /// Path of the root file system's disk.
    pub disk: PathBuf,
    /// Path of the port `pilothouse.link`.
    pub link: PathBuf,
    /// Path of the port `pilothouse.tunnel`.
    pub tunnel: PathBuf,
}

const DISK: &str = "/dev/vda";
const LINK: &str = "pilothouse.link";
const TUNNEL: &str = "pilothouse.tunnel";

/// The kernel's news of devices. Only that there is some matters here, not what: the device tree is looked at again.
pub(super) struct News(OwnedFd);

impl News {
    pub(super) fn listen() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(KOBJECT_UEVENT))?;
        // Group 1 is the kernel's own.
        bind(&socket, &SocketAddrNetlink::new(0, 1))?;
        Ok(Self(socket))
    }

    /// Waits for news until `deadline`; true if there was some.
    fn wait(&self, deadline: Instant) -> io::Result<bool> {
        let left = deadline.saturating_duration_since(Instant::now());
        let left =
            Timespec { tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX), tv_nsec: left.subsec_nanos().into() };
        if poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&left))? == 0 {
            return Ok(false);
        }
        let mut message = [0; 8192];
        loop {
            match recv(&self.0, &mut message[..], RecvFlags::empty()) {
                // More than fits the socket's buffer: news all the same.
                Ok(_) | Err(Errno::NOBUFS) => {}
                Err(_) => return Ok(true),
            }
        }
    }
}

/// Waits until disk and ports are there.
pub(super) fn wait(news: &News, within: Duration) -> Result<Devices, BootError> {
    let deadline = Instant::now() + within;
    loop {
        let (link, tunnel) = (port(LINK), port(TUNNEL));
        let disk = PathBuf::from(DISK);
        if let (Some(link), Some(tunnel), true) = (link.clone(), tunnel.clone(), disk.exists()) {
            return Ok(Devices { disk, link, tunnel });
        }
        if !news.wait(deadline).unwrap_or(false) {
            let missing = [(disk.exists(), DISK), (link.is_some(), LINK), (tunnel.is_some(), TUNNEL)];
            let missing: Vec<&str> = missing.into_iter().filter_map(|(there, name)| (!there).then_some(name)).collect();
            let what = format!("waiting for {} for {} s", missing.join(", "), within.as_secs());
            return Err(BootError { what, error: io::ErrorKind::TimedOut.into() });
        }
    }
}

/// Path of the virtio-serial port with this name; None: it is not there.
fn port(name: &str) -> Option<PathBuf> {
    let ports = fs::read_dir("/sys/class/virtio-ports").ok()?;
    let found =
        ports.flatten().find(|port| fs::read_to_string(port.path().join("name")).is_ok_and(|n| n.trim() == name))?;
    let device = PathBuf::from("/dev").join(found.file_name());
    device.exists().then_some(device)
}
