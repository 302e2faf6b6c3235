//! Real VMs: one QEMU process each, machine `microvm`, no network card.
//!
//! In the data folder: `kernel/RELEASE/`, `initramfs/HASH.cpio`. In a VM's folder: the sockets `qmp.sock`, `link.sock`,
//! `tunnel.sock`, its record `vm.json`, and, when there was something to write, `serial.log` and `qemu.log`.
//!
//! QEMU drops what rights it can by itself (seccomp, no new privileges). A jail around it, with its own user and root, is
//! for a later step; until then a QEMU that a guest has taken over has the rights of hostd's user.

mod address;
mod adopt;
mod age;
mod ahead;
mod argv;
mod bare;
mod cpu_model;
pub mod cpu_state;
mod deadlines;
mod death;
mod diagnosis;
mod disk;
mod driver;
mod errors;
mod exit_status;
#[cfg(fuzzing)]
pub mod fuzz;
mod halt;
mod hashes;
mod images;
mod installation;
mod kills;
mod launch;
mod layout;
mod loaded;
mod machine;
mod merge;
mod migration;
mod orphan;
mod plan;
mod prelaunch;
mod process;
mod proof;
mod qmp;
mod record;
mod sealed;
mod serial;
mod snapshot;
mod sockets;
mod stall;
mod standby;
mod templates;
#[cfg(test)]
mod tests;
mod version;
mod vmm;

pub use bare::Loaded;
pub use diagnosis::{Confinement, KernelFiles, Tool};
pub use images::BLANK;
pub use proof::Proof;
pub use vmm::{Prover, Qemu};

pub use crate::accelerator::{Accelerator, Choice};
