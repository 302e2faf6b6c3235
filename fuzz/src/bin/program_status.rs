//! What programs report of themselves by OSC 7501, in sequences and as a stream in pieces.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pilothouse_fuzz::in_pieces;
use pilothouse_terminal::{
    Emulator, Event,
    status::{ANSWER, BEGIN, RECORDS_MAX, Report, SEQUENCE_MAX, parse},
};

fuzz_target!(|data: &[u8]| {
    let Some((rest, pieces)) = in_pieces(data) else { return };
    if let Some(Report::Set(id, record)) = parse(&[BEGIN, rest].concat()) {
        assert!(BEGIN.len() + rest.len() <= SEQUENCE_MAX);
        assert!(id.len() <= 128 && id.split('/').count() <= 8 && record.app.len() <= 32);
        assert!(record.title.len() <= 192 && record.message.len() <= 2048);
        assert!(!record.title.contains(char::is_control) && !record.message.contains(char::is_control));
    }
    let (mut whole, mut cut) = (Emulator::new(20, 5, 0, 0), Emulator::new(20, 5, 0, 0));
    whole.feed(rest);
    for piece in pieces {
        cut.feed(piece);
        cut.events().into_iter().for_each(|event| {
            if let Event::StatusAnswer(bytes) = event {
                assert!(bytes.chunks(ANSWER.len()).all(|answer| answer == ANSWER));
            }
        });
    }
    // However the stream is cut, it says the same.
    let all = |emulator: &Emulator| {
        emulator.status().iter().map(|(id, record)| (id.to_owned(), record.clone())).collect::<Vec<_>>()
    };
    assert_eq!(all(&whole), all(&cut));
    assert!(all(&whole).len() <= RECORDS_MAX);
    assert_eq!(whole.status().foremost().is_some(), !all(&whole).is_empty());
    whole.process_ended();
    whole.feed(b"\x18\x1bc");
    assert_eq!(whole.status().iter().count(), 0);
});
