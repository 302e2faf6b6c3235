//! Records of a guest kernel's log.
#![no_main]

use guest::machine::oom::killed;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some(name) = killed(&String::from_utf8_lossy(data)) {
        assert!(name.chars().count() <= 64 && !name.chars().any(char::is_control));
    }
});
