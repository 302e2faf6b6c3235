//! What a program says first where egress lets HTTP or TLS through alone: it must not break, and more bytes must not take back what was told.
#![no_main]

use hostd_core::{
    first_words::{Told, told},
    recipe::Speaks,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for speaks in [Speaks::Http, Speaks::Tls] {
        let all = told(data, "api.example", speaks);
        let half = told(&data[..data.len() / 2], "api.example", speaks);
        assert!(half == Told::More || half == all, "{speaks:?}: {half:?}, then {all:?}");
    }
});
