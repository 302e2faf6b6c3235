//! Two contents, compared line by line.
#![no_main]

use hostd_core::diff::{Contents, Event, Kind, Limits, diff};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [context, cut, bytes @ ..] = data else { return };
    let (old, new) = bytes.split_at(bytes.len() * usize::from(*cut) / 256);
    let Contents::Text(text) = diff(old, new, Limits::default()) else { return };
    let (added, removed) = (text.added, text.removed);
    let mut hunks = text.hunks((*context).into());
    let mut seen = [0, 0];
    while let Some(event) = hunks.next() {
        if let Event::Line(line) = event {
            let bytes = hunks.bytes(&line);
            assert!(!bytes.contains(&b'\n'));
            assert!(line.marks.iter().all(|mark| mark.start < mark.end && mark.end as usize <= bytes.len()));
            seen[0] += u64::from(line.kind == Kind::Added);
            seen[1] += u64::from(line.kind == Kind::Removed);
        }
    }
    assert_eq!(seen, [added, removed]);
});
