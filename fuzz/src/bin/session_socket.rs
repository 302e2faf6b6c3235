//! What processes in a guest write to the socket of `session`.
#![no_main]

use guest::session_socket::read;
use libfuzzer_sys::fuzz_target;
use pilothouse_fuzz::block_on;

fuzz_target!(|data: &[u8]| {
    if let Ok(Ok(request)) = block_on(read(&mut &*data)) {
        assert_eq!(request.check(), Ok(()));
    }
});
