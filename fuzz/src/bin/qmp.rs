//! What a QEMU says that a guest has taken over.
#![no_main]

use hostd::vm::qemu::fuzz::qmp;
use libfuzzer_sys::fuzz_target;
use pilothouse_fuzz::block_on;
use tokio::io::{join, sink};

fuzz_target!(|data: &[u8]| {
    let _ = block_on(qmp(join(data, sink())));
});
