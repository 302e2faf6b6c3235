//! What the fuzz targets feed.

use pilothouse_terminal::Emulator;

use super::size::Size;

/// Feeds pieces of output to an emulator; after each it is resized and drawn.
pub fn emulator<'a>(pieces: impl Iterator<Item = (&'a [u8], Size)>) {
    let mut emulator = Emulator::new(Size::USUAL.columns, Size::USUAL.rows, 3000, 0);
    for (bytes, size) in pieces {
        emulator.feed(bytes);
        emulator.resize(size.columns, size.rows);
        let _ = emulator.draw(20);
    }
    emulator.feed(b"\x18\x1bcstill here");
    assert!(emulator.draw(0).bytes.windows(10).any(|part| part == b"still here"), "it draws no more");
}
