//! How a link's connections begin, on both sides.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pilothouse_fuzz::{block_on, in_pieces};
use pilothouse_proto::{
    greet::{greet, receive},
    guest::v1::{HandshakeAnswer, HandshakeRequest, TerminalResponse},
    link::{LENGTH, MAGIC, Scanner, preamble},
};
use tokio::io::{AsyncReadExt as _, join};

fuzz_target!(|data: &[u8]| {
    let Some((stream, pieces)) = in_pieces(data) else { return };
    finds(MAGIC, stream, pieces.clone());
    finds(preamble(*b"PLTHLNK1PLTHLNPL"), stream, pieces);
    let mut said = stream;
    if block_on(receive::<HandshakeAnswer>(&mut said)).is_ok() {
        let _ = block_on(receive::<TerminalResponse>(&mut said));
    }
    let mut answers = Vec::new();
    if let Ok(mut greeted) = block_on(greet(join(stream, &mut answers))) {
        let mut rest = Vec::new();
        let read = block_on(greeted.read_to_end(&mut rest)).expect("bytes in memory");
        let _ = block_on(receive::<HandshakeRequest>(&mut rest.as_slice()));
        assert!(read >= MAGIC.len() && read + LENGTH <= stream.len());
    }
    assert!(answers.chunks(LENGTH).all(|answer| answer.len() == LENGTH && answer.starts_with(&MAGIC)));
});

/// Checks that the first match is found, and where it ends, in whatever pieces the stream comes.
fn finds<'a, const N: usize>(wanted: [u8; N], stream: &[u8], pieces: impl Iterator<Item = &'a [u8]>) {
    let mut scanner = Scanner::new(wanted);
    let mut before = 0;
    let found = pieces.into_iter().find_map(|piece| {
        let found = scanner.find(piece).map(|end| before + end);
        before += piece.len();
        found
    });
    let expected = stream.windows(N).position(|part| part == wanted).map(|at| at + N);
    assert_eq!(found, expected);
}
