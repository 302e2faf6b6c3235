//! What the unit tests of several modules share: a VMM and guests that are fakes.

mod fake_exec;
mod fake_guest;
mod fake_vmm;

pub(crate) use fake_guest::FakeGuest;
pub(crate) use fake_vmm::{FakeVm, FakeVmm, Save};
