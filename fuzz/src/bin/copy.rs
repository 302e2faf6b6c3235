//! Copies of a hostile sender: whatever it says, nothing beside the place changes.
#![no_main]

use std::{ffi::OsStr, fs};

use libfuzzer_sys::fuzz_target;
use pilothouse_copy::{Options, Place, Tally, receive};

fuzz_target!(|data: &[u8]| {
    let Some((how, mut data)) = data.split_first() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let (place, beside) = (folder.path().join("place"), folder.path().join("beside"));
    fs::create_dir(&place).expect("a place");
    fs::write(&beside, "as it was").expect("a file");
    let options = Options { replace: how & 1 == 1, bytes_max: 64 << 10 };
    let place = Place::of(&place, OsStr::new("copy")).expect("a place");
    let _ = receive(&mut data, &place, options, &Tally::default());
    let mut names: Vec<_> =
        fs::read_dir(folder.path()).expect("a folder").flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    assert_eq!(names, ["beside", "place"]);
    assert_eq!(fs::read(&beside).expect("a file"), b"as it was");
});
