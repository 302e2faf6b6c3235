//! What programs ask the guest's resolver.
#![no_main]

use guest::direct::fuzz::answer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((answer, given)) = answer(data) else { return };
    assert!(answer.len() < 512 && answer[..2] == data[..2] && answer[2] & 0x80 != 0);
    // What is given an address becomes a line of a request to the host.
    if let Some(name) = given {
        assert!(name.len() <= 253 && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'?'), "{name:?}");
    }
});
