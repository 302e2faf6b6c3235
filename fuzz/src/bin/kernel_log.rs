//! What a guest writes to its serial console, and records of a host's kernel's log.
#![no_main]

use hostd_core::{Cause, kernel_log};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = kernel_log::complaint(data);
    let _ = kernel_log::killed(&String::from_utf8_lossy(data));
    let cause = Cause::of_reset(data, String::new());
    assert!(cause.lines().len() <= kernel_log::LINES);
    for line in cause.lines() {
        assert!(line.len() <= kernel_log::LINE_MAX && !line.contains(char::is_control));
    }
    let _ = cause.cleaned(kernel_log::LINE_MAX).to_string();
});
