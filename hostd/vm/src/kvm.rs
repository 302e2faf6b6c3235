//! Whether /dev/kvm makes virtual machines: tried, because a device that opens proves little. It may be there for want of
//! nothing but the module, with virtualization off in the firmware, or in use by another hypervisor.

use std::{
    ffi::{c_int, c_void},
    fs::{File, OpenOptions},
    io,
    os::fd::{AsFd, FromRawFd, OwnedFd},
};

use rustix::{
    io::Errno,
    ioctl::{Ioctl, IoctlOutput, Opcode, ioctl},
};

const DEVICE: &str = "/dev/kvm";
/// Version of KVM's interface; the only one since Linux 2.6.22.
const VERSION: c_int = 12;
/// Numbers of KVM's requests, `_IO(KVMIO, ...)` of linux/kvm.h.
const GET_API_VERSION: Opcode = 0xae00;
const CREATE_VM: Opcode = 0xae01;
const CREATE_VCPU: Opcode = 0xae41;
/// Most attempts to create a VM: a signal may end one before it is done.
const TRIES: u32 = 10;

/// Opens the device for use.
///
/// # Errors
/// It is not there, or this user may not use it.
pub(super) fn open() -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(DEVICE)
}

/// Creates a VM with one processor through /dev/kvm; both are gone when this returns.
///
/// # Errors
/// Why it cannot, in words for a person.
pub fn probe() -> Result<(), String> {
    let device = open().map_err(|error| format!("{DEVICE} does not open: {error}"))?;
    let version = call(&device, GET_API_VERSION, 0).map_err(|error| format!("{DEVICE} is no KVM: {error}"))?;
    if version != VERSION {
        return Err(format!("{DEVICE} speaks version {version} of its interface, not {VERSION}"));
    }
    let vm = create(&device, CREATE_VM).map_err(|error| format!("{DEVICE} creates no VM: {}", advice(error)))?;
    let processor = create(&vm, CREATE_VCPU);
    processor.map(drop).map_err(|error| format!("{DEVICE} creates a VM, but no processor in it: {}", advice(error)))
}

fn advice(error: Errno) -> String {
    match error {
        Errno::BUSY => format!("{error}; another hypervisor has the processor's virtualization"),
        Errno::OPNOTSUPP | Errno::NODEV => {
            format!("{error}; switch the processor's virtualization on in the firmware, or this machine's in its host")
        }
        error => error.to_string(),
    }
}

/// A VM, or a processor of one, number 0.
fn create(of: impl AsFd, what: Opcode) -> Result<OwnedFd, Errno> {
    let mut tries = 1;
    let number = loop {
        match call(&of, what, 0) {
            Err(Errno::INTR) if tries < TRIES => tries += 1,
            done => break done?,
        }
    };
    Ok(owned(number))
}

#[allow(unsafe_code)]
fn owned(number: c_int) -> OwnedFd {
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// A request whose argument is a number and whose answer is another.
#[allow(unsafe_code)]
fn call(of: impl AsFd, request: Opcode, argument: usize) -> Result<c_int, Errno> {
    // SAFETY: none of the requests above reads or writes through its argument, which is a plain number.
    unsafe { ioctl(of, Call { request, argument }) }
}

struct Call {
    request: Opcode,
    argument: usize,
}

#[allow(unsafe_code)]
// SAFETY: the argument is passed by value, and the answer is what the kernel returns.
unsafe impl Ioctl for Call {
    type Output = c_int;

    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        self.request
    }

    fn as_ptr(&mut self) -> *mut c_void {
        std::ptr::without_provenance_mut(self.argument)
    }

    unsafe fn output_from_ptr(answer: IoctlOutput, _: *mut c_void) -> rustix::io::Result<c_int> {
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says which of the two it saw: a machine without KVM is an ordinary one for tests.
    #[test]
    fn a_device_that_opens_creates_a_vm_or_says_why_not() {
        match (open(), probe()) {
            (Ok(_), Ok(())) => eprintln!("{DEVICE} creates a VM and a processor"),
            (Ok(_), Err(why)) => {
                eprintln!("{DEVICE} opens and is of no use: {why}");
                assert!(why.starts_with(DEVICE) && why.contains(": "), "{why}");
            }
            (Err(error), probed) => {
                let why = probed.unwrap_err();
                eprintln!("NOT TRIED: {why}");
                assert!(why.contains("does not open") && why.contains(&error.to_string()), "{why}");
            }
        }
    }

    #[test]
    fn what_is_no_kvm_is_told_apart() {
        let null = File::open("/dev/null").unwrap();
        assert_eq!(call(&null, GET_API_VERSION, 0), Err(Errno::NOTTY));
        assert_eq!(create(&null, CREATE_VM).unwrap_err(), Errno::NOTTY);
        assert!(advice(Errno::BUSY).contains("another hypervisor"));
        assert!(advice(Errno::OPNOTSUPP).contains("firmware"));
    }
}
