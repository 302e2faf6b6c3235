//! The list of changed files, as git prints it.
#![no_main]

use hostd_core::diff::{Malformed, RawChanges};
use libfuzzer_sys::fuzz_target;
use pilothouse_fuzz::in_pieces;

fuzz_target!(|data: &[u8]| {
    let Some((all, pieces)) = in_pieces(data) else { return };
    let whole = read(std::iter::once(all));
    assert_eq!(read(pieces), whole, "it is another list in pieces");
});

fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Result<usize, Malformed> {
    let mut reader = RawChanges::default();
    let mut changes = 0;
    for piece in pieces {
        changes += reader.push(piece)?.len();
    }
    reader.end().map(|()| changes)
}
