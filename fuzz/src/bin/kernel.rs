//! A kernel image: a `vmlinuz` of Debian's, or what was fetched in its place.
#![no_main]

use hostd::vm::unpack;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some(kernel) = unpack(data) {
        assert!(kernel.starts_with(b"\x7fELF"));
    }
});
