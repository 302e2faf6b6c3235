//! What a session's guest answers when its working tree is asked for.
#![no_main]

use hostd::diff::head_line;
use libfuzzer_sys::fuzz_target;
use pilothouse_fuzz::in_pieces;

fuzz_target!(|data: &[u8]| {
    let Some((all, pieces)) = in_pieces(data) else { return };
    let whole = head_line(std::iter::once(all.to_vec())).ok();
    assert_eq!(head_line(pieces.map(<[u8]>::to_vec)).ok(), whole, "it is another answer in pieces");
});
