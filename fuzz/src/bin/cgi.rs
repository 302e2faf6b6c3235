//! The head of what `git http-backend` answers.
#![no_main]

use hostd::gateway::fuzz::cgi_head;
use libfuzzer_sys::fuzz_target;
use pilothouse_fuzz::block_on;

fuzz_target!(|data: &[u8]| {
    let _ = block_on(cgi_head(data));
});
