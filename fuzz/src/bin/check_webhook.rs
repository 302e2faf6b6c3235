//! Reports of CI elsewhere: the name of a check, and the body of a request.
#![no_main]

use hostd::check_webhook::read;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some((name, body)) = pilothouse_fuzz::line(data) {
        let _ = read(name.to_owned(), body);
    }
});
