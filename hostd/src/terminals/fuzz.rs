//! What the fuzz targets feed.

use super::{Size, emulator::Emulator};

/// Feeds pieces of output to an emulator; after each it is resized and drawn.
pub fn emulator<'a>(pieces: impl Iterator<Item = (&'a [u8], Size)>) {
    let mut emulator = Emulator::new(Size::USUAL);
    for (bytes, size) in pieces {
        emulator.feed(bytes);
        emulator.resize(size);
        let _ = emulator.draw(20);
    }
    emulator.feed(b"\x18\x1bcstill here");
    let (drawn, _) = emulator.draw(0);
    assert!(drawn.windows(10).any(|part| part == b"still here"), "it draws no more");
}
