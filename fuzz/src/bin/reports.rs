//! Reports of CI elsewhere: the path of a request, and its body.
#![no_main]

use hostd::reports::read;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some((path, body)) = pilothouse_fuzz::line(data) {
        let _ = read(path, body);
    }
});
