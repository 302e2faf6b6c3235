//! What an agent writes to its terminal, as hostd keeps and draws it.
#![no_main]

use hostd::terminals::{Size, fuzz::emulator};
use libfuzzer_sys::fuzz_target;

fuzz_target!(
    // The emulator catches its parser's panics; only one that gets out is a bug.
    init: std::panic::set_hook(Box::new(|_| {})),
    |data: &[u8]| {
        let piece = |bytes: &[u8]| match bytes {
            [columns, rows, ..] => Size::clamped(u32::from(*columns), u32::from(*rows)),
            _ => Size::USUAL,
        };
        let pieces = data.chunks(256).map(|bytes| (bytes.get(2..).unwrap_or_default(), piece(bytes)));
        emulator(pieces.chain([(&[][..], Size::USUAL)]));
    }
);
