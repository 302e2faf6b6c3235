//! What agents' programs hand `session hook`.
#![no_main]

use guest::hooks::{PROGRAMS, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((first, json)) = data.split_first() else { return };
    let program = PROGRAMS[usize::from(*first) % PROGRAMS.len()];
    if let Some(report) = read(program, json, first & 0x80 != 0, 1_764_500_000_000) {
        assert_eq!(report.check(), Ok(()));
        assert!(!report.text.contains(char::is_control));
        assert!(first & 0x80 == 0 || report.state != "blocked");
    }
});
