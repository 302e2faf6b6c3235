//! What a QEMU that a guest has taken over writes of its processors: against itself, and against its other half.
#![no_main]

use hostd::vm::qemu::cpu_state::differences;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(told) = differences(data, data) {
        assert!(told.is_empty(), "{told:?}");
    }
    let (then, now) = data.split_at(data.len() / 2);
    let _ = differences(then, now);
});
