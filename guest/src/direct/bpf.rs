//! The bpf(2) syscall, as far as it takes to have the kernel look up sockets by a program (Linux 5.17).

use std::{
    ffi::c_int,
    io,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
};

const MAP_CREATE: c_int = 0;
const MAP_UPDATE_ELEM: c_int = 2;
const PROG_LOAD: c_int = 5;
const LINK_CREATE: c_int = 28;

const MAP_TYPE_SOCKMAP: u32 = 15;
const PROG_TYPE_SK_LOOKUP: u32 = 30;
const ATTACH_SK_LOOKUP: u32 = 36;
/// Length of what the kernel may say of a program that it does not take, in bytes.
const LOG: usize = 16 << 10;

/// `struct bpf_insn`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Instruction {
    pub(super) code: u8,
    /// The source register in the upper four bits, the destination in the lower.
    pub(super) registers: u8,
    pub(super) offset: i16,
    pub(super) immediate: i32,
}

/// Calls bpf(2). The answer is a file descriptor, or zero.
///
/// # Safety
/// `attributes` has the shape that the command takes, without padding, and what its addresses point to is there.
#[allow(unsafe_code)]
unsafe fn bpf<T>(command: c_int, attributes: &T) -> io::Result<c_int> {
    // SAFETY: as of this function; the kernel reads `size_of::<T>()` bytes, and takes what is not there for zero.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>()) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { c_int::try_from(answer).map_err(io::Error::other) }
}

/// A map of sockets.
#[derive(Debug)]
pub(super) struct Sockets(OwnedFd);

impl Sockets {
    /// A map with room for this many.
    #[allow(unsafe_code)]
    pub(super) fn new(most: u32) -> io::Result<Self> {
        /// Type, sizes of key and value, entries, flags.
        type Attributes = [u32; 5];
        let attributes: Attributes = [MAP_TYPE_SOCKMAP, 4, 8, most, 0];
        // SAFETY: BPF_MAP_CREATE takes these five numbers.
        let map = unsafe { bpf(MAP_CREATE, &attributes) }?;
        // SAFETY: the kernel has just opened it for us.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(map) }))
    }

    /// Puts a listening socket at this place. The map does not keep it open.
    #[allow(unsafe_code)]
    pub(super) fn put(&self, at: u32, socket: BorrowedFd<'_>) -> io::Result<()> {
        #[repr(C)]
        struct Attributes {
            map: i32,
            unused: u32,
            key: *const u32,
            value: *const u64,
            flags: u64,
        }
        let value = u64::try_from(socket.as_raw_fd()).map_err(io::Error::other)?;
        let (key, value) = (&raw const at, &raw const value);
        let attributes = Attributes { map: self.number(), unused: 0, key, value, flags: 0 };
        // SAFETY: BPF_MAP_UPDATE_ELEM takes such a struct, and reads four bytes of the key and eight of the value.
        unsafe { bpf(MAP_UPDATE_ELEM, &attributes) }.map(drop)
    }

    /// The descriptor, as an instruction names the map.
    pub(super) fn number(&self) -> i32 {
        self.0.as_raw_fd()
    }
}

/// A program that is asked which socket gets a connection. An error has what the kernel says of it.
#[allow(unsafe_code)]
pub(super) fn load(program: &[Instruction]) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attributes {
        kind: u32,
        count: u32,
        instructions: *const Instruction,
        license: *const std::ffi::c_char,
        log_level: u32,
        log_size: u32,
        log: *mut u8,
        kernel: u32,
        flags: u32,
        name: [u8; 16],
        interface: u32,
        attach: u32,
    }
    let mut log = vec![0_u8; LOG];
    let mut attributes = Attributes {
        kind: PROG_TYPE_SK_LOOKUP,
        count: u32::try_from(program.len()).map_err(io::Error::other)?,
        instructions: program.as_ptr(),
        license: c"MIT".as_ptr(),
        log_level: 0,
        log_size: 0,
        log: std::ptr::null_mut(),
        kernel: 0,
        flags: 0,
        name: *b"pilothouse\0\0\0\0\0\0",
        interface: 0,
        attach: ATTACH_SK_LOOKUP,
    };
    // SAFETY: BPF_PROG_LOAD takes such a struct, and reads the instructions and the licence.
    let loaded = unsafe { bpf(PROG_LOAD, &attributes) }.or_else(|error| {
        // Once more, to hear why: that is not asked at first, because it takes time.
        (attributes.log_level, attributes.log_size, attributes.log) = (1, log.len() as u32, log.as_mut_ptr());
        // SAFETY: the same, and it writes at most `log_size` bytes to the log.
        unsafe { bpf(PROG_LOAD, &attributes) }.map_err(|_| {
            let said = String::from_utf8_lossy(&log);
            let last = said.trim_end_matches('\0').trim_end().lines().rev().take(3).collect::<Vec<_>>().join("; ");
            io::Error::new(error.kind(), format!("{error} {last}"))
        })
    })?;
    // SAFETY: the kernel has just opened it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(loaded) })
}

/// Has the program asked in a network namespace, for as long as the answer is kept open.
#[allow(unsafe_code)]
pub(super) fn attach(program: BorrowedFd<'_>, namespace: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let number = |fd: BorrowedFd<'_>| u32::try_from(fd.as_raw_fd()).map_err(io::Error::other);
    // Program, what it is attached to, how, flags.
    let attributes = [number(program)?, number(namespace)?, ATTACH_SK_LOOKUP, 0];
    // SAFETY: BPF_LINK_CREATE takes these four numbers.
    let link = unsafe { bpf(LINK_CREATE, &attributes) }?;
    // SAFETY: the kernel has just opened it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(link) })
}
